//! Secured memory: a program cannot free it unnoticed, and it is unsecured with its owner, whatever the way.
//!
//! Cites san.md: R49, R51, R52, R53; security.md: C11, C15, C26; verifier-rules.md: V132, V133.

use nt_host::{File, NtStatus, Process, Protection};
use sanproxy_abi::{
    ControlCode, Error, Status,
    wire::{
        ByteCount, Choice, Handle, Header, RangeStart, Reserved, SecureInput, SecureOutput,
        UnsecureInput, UserRange,
    },
};
use sanproxy_provider::{Access, RegisterOptions, UserBufferOptions};
use sanproxy_tests::{
    stage::{Setting, Stage, accepted},
    wire::{ask, failures, good_register, register, release, statistics},
};

const REFUSED: Result<(), NtStatus> = Err(NtStatus::INVALID_PAGE_PROTECTION);

fn started() -> Stage {
    Setting::default().started().expect("the device starts")
}

fn assert_clean(stage: Stage) {
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

fn memory(process: &Process) -> u64 {
    process.allocate(8192).expect("two pages")
}

fn input(start: u64, length: u64, access: u32) -> SecureInput {
    SecureInput {
        header: Header::of::<SecureInput>(),
        range: UserRange {
            start: RangeStart(start),
            length: ByteCount(length),
        },
        access: Choice(access),
        reserved: Reserved(0),
    }
}

fn secure(file: &File, input: &SecureInput) -> Result<Handle, Status> {
    ask::<_, SecureOutput>(file, ControlCode::Secure, input).map(|reply| reply.handle)
}

fn unsecure(file: &File, handle: Handle) -> Result<(), Status> {
    let input = UnsecureInput {
        header: Header::of::<UnsecureInput>(),
        handle,
    };
    ask::<_, Header>(file, ControlCode::Unsecure, &input).map(drop)
}

#[test]
fn secured_memory_is_not_freed_until_it_is_unsecured() {
    let stage = started();
    let (process, provider) = stage.provider().expect("a provider");
    let address = memory(&process);
    let secured = provider
        .secure(address + 4000, 200, Access::Read)
        .expect("secured");
    assert_eq!(process.secured(), [(address, 8192)]);
    assert_eq!(process.free(address), REFUSED);
    secured.unsecure().expect("unsecured");
    assert_eq!(process.secured(), []);
    assert_eq!(process.free(address), Ok(()));
    drop(provider);
    assert_clean(stage);
}

#[test]
fn access_that_is_secured_cannot_be_taken_away() {
    let stage = started();
    let (process, provider) = stage.provider().expect("a provider");
    for access in [Access::Write, Access::ReadWrite] {
        let address = memory(&process);
        let secured = provider.secure(address, 8192, access).expect("secured");
        assert_eq!(process.protect(address, Protection::Read), REFUSED);
        drop(secured);
        assert_eq!(process.protect(address, Protection::Read), Ok(()));
        let secured = provider.secure(address, 1, Access::Read).expect("secured");
        assert_eq!(process.protect(address, Protection::None), REFUSED);
        drop(secured);
    }
    drop(provider);
    assert_clean(stage);
}

#[test]
fn handle_of_a_secured_range_is_not_what_the_kernel_gave_and_no_registration() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let made = register(&file, &good_register()).expect("a page");
    let handle = secure(&file, &input(memory(&process), 1, 1)).expect("secured");
    assert_ne!(handle.0 >> 32, 0xFFFF_C000, "the host's own value");
    let unknown = Err(Error::UnknownHandle.status());
    assert_eq!(release(&file, handle), unknown);
    assert_eq!(unsecure(&file, made.handle), unknown);
    assert_eq!(unsecure(&file, Handle(0)), unknown);
    unsecure(&file, handle).expect("unsecured");
    assert_eq!(unsecure(&file, handle), unknown, "a second time");
    release(&file, made.handle).expect("released");
    drop(file);
    assert_clean(stage);
}

#[test]
fn bad_range_or_access_is_refused_and_counted() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let address = memory(&process);
    let cases = [
        (input(address, 0, 1), Error::UserRange),
        (input(address, 8193, 1), Error::UserRange),
        (input(address + 8192, 1, 1), Error::UserRange),
        (input(address, u64::MAX, 1), Error::UserRange),
        (input(u64::MAX, 1, 1), Error::UserRange),
        (input(0, 4096, 3), Error::UserRange),
        (input(0xFFFF_8000_0000_0000, 4096, 1), Error::UserRange),
        (input(0x7FFF_FFFF_0000, 1, 1), Error::UserRange),
        (input(address, 1, 0), Error::Access),
        (input(address, 1, 4), Error::Access),
        (input(address, 1, u32::MAX), Error::Access),
    ];
    for (input, cause) in cases {
        let before = statistics(&file);
        assert_eq!(secure(&file, &input), Err(cause.status()), "{input:?}");
        let after = statistics(&file);
        assert_eq!(failures(&after, cause), failures(&before, cause) + 1);
        assert_eq!(after.live_registrations, before.live_registrations);
    }
    let reserved = SecureInput {
        reserved: Reserved(1),
        ..input(address, 1, 1)
    };
    assert_eq!(secure(&file, &reserved), Err(Error::ReservedBits.status()));
    process.protect(address, Protection::Read).expect("reading");
    let writing = secure(&file, &input(address, 1, 2));
    assert_eq!(writing, Err(Error::UserRange.status()));
    assert_eq!(process.secured(), []);
    drop(file);
    assert_clean(stage);
}

#[test]
fn only_the_process_that_opened_the_file_can_secure_and_others_can_unsecure() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let other = stage.host.create_process("other.exe").expect("a process");
    let duplicate = file.duplicate(&other).expect("a duplicate");
    let theirs = secure(&duplicate, &input(memory(&other), 1, 1));
    assert_eq!(theirs, Err(Error::WrongProcess.status()));
    let handle = secure(&file, &input(memory(&process), 1, 1)).expect("secured");
    unsecure(&duplicate, handle).expect("unsecured, in the process that has the memory");
    assert_eq!(process.secured(), []);
    drop((file, duplicate));
    assert_clean(stage);
}

#[test]
fn killed_process_has_its_memory_unsecured_before_it_ends() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let other = stage.host.create_process("other.exe").expect("a process");
    let duplicate = file.duplicate(&other).expect("a duplicate");
    let handle = secure(&file, &input(memory(&process), 1, 3)).expect("secured");
    process.exit().expect("killed");
    assert_eq!(statistics(&duplicate).file_registrations.0, 0);
    let unknown = Err(Error::UnknownHandle.status());
    assert_eq!(unsecure(&duplicate, handle), unknown);
    drop((file, duplicate));
    assert_clean(stage);
}

#[test]
fn closing_the_last_handle_elsewhere_unsecures_in_the_owner() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let address = memory(&process);
    secure(&file, &input(address, 8192, 1)).expect("secured");
    let other = stage.host.create_process("other.exe").expect("a process");
    let duplicate = file.duplicate(&other).expect("a duplicate");
    drop(file);
    assert_eq!(process.free(address), REFUSED);
    drop(duplicate);
    assert_eq!(process.free(address), Ok(()));
    assert_clean(stage);
}

#[test]
fn device_that_is_removed_unsecures_everything() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let handle = secure(&file, &input(memory(&process), 1, 1)).expect("secured");
    accepted(stage.device.surprise_removal()).expect("gone");
    assert_eq!(process.secured(), []);
    assert_eq!(unsecure(&file, handle), Err(Error::Removed.status()));
    drop(file);
    assert_clean(stage);
}

#[test]
fn secured_ranges_count_as_registrations_of_no_bytes() {
    let setting = Setting::default();
    let stage = setting
        .parameter("MaximumCountPerFile", nt_host::RegistryValue::Dword(2))
        .started()
        .expect("the device starts");
    let (process, file) = stage.open().expect("a file");
    let wish = input(memory(&process), 1, 1);
    let first = secure(&file, &wish).expect("the first");
    secure(&file, &wish).expect("the second, of the same memory");
    assert_eq!(secure(&file, &wish), Err(Error::FileQuota.status()));
    let counters = statistics(&file);
    assert_eq!(
        (counters.file_registrations.0, counters.file_bytes.0),
        (2, 0)
    );
    unsecure(&file, first).expect("unsecured");
    secure(&file, &wish).expect("room again");
    let counters = statistics(&file);
    assert_eq!((counters.made.0, counters.released.0), (3, 1));
    drop(file);
    assert_clean(stage);
}

#[test]
fn racing_threads_lose_no_secured_range() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let wish = input(memory(&process), 1, 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let handle = secure(&file, &wish).expect("secured");
                    unsecure(&file, handle).expect("unsecured");
                }
            });
        }
    });
    assert_eq!(process.secured(), []);
    drop(file);
    assert_clean(stage);
}

#[test]
fn what_the_driver_has_mapped_is_neither_secured_nor_registered_as_ones_own() {
    let stage = started();
    let (_, provider) = stage.provider().expect("a provider");
    let mapped = provider.register(&RegisterOptions::common_buffer(8192).map());
    let mapped = mapped.expect("memory");
    let address = mapped.user_address().expect("mapped");
    let page = provider.status_page().expect("mapped").user_address();
    for start in [address, address + 4096, page] {
        let status = Some(Error::UserRange.status());
        let refused = provider.secure(start, 1, Access::Read).err();
        assert_eq!(refused.and_then(|error| error.status()), status);
        let options = UserBufferOptions::new(start, 1, Access::Read).allow_pieces();
        let refused = provider.register_user_buffer(&options).err();
        assert_eq!(refused.and_then(|error| error.status()), status);
    }
    drop((mapped, provider));
    assert_clean(stage);
}
