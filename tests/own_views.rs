//! What the driver has mapped into a process is not the process's own memory: it is neither locked nor secured.
//!
//! Its pages are given back when their registration is released, whoever has locked them by then. Cites security.md:
//! C11, C15; san.md: R22, R49; verifier-rules.md: V122, V132, V133; the host's own rule V312.

use nt_host::{File, Process};
use sanproxy_abi::{
    ControlCode, Error, Kind, RegisterFlags, Status,
    wire::{
        AddressBound, ByteCount, Choice, Flags, Handle, Header, MapStatusPageOutput, RangeStart,
        RegisterInput, RegisterOutput, RegisterUserBufferInput, Reserved, SecureInput,
        SecureOutput, UserRange,
    },
};
use sanproxy_provider::{Access, HostMemoryOptions};
use sanproxy_tests::{
    scene::{Scene, no_reserve, scene, scene_of},
    stage::{INTERFACE, Setting},
    wire::{ask, failures, good_register, register, release, statistics},
};

const PAGE: u64 = 4096;
const ANY_ADDRESS: u64 = u64::MAX;
/// What the driver answers, whichever of the two is asked for.
const REFUSED: Status = Error::UserRange.status();

/// The provider's file.
fn file(scene: &Scene) -> &File {
    scene.provider.channel().file()
}

/// Asks for memory that the process sees.
fn mapped(file: &File, kind: Kind, length: u64) -> RegisterOutput {
    let input = RegisterInput {
        kind: Choice(kind.value()),
        flags: Flags(RegisterFlags::MAP.bits()),
        length: ByteCount(length),
        ..good_register()
    };
    register(file, &input).expect("memory")
}

/// A range of the process's.
fn range(start: u64, length: u64) -> UserRange {
    UserRange {
        start: RangeStart(start),
        length: ByteCount(length),
    }
}

/// Asks to lock a range for the device.
fn lock(file: &File, range: UserRange, access: Access) -> Result<Handle, Status> {
    let input = RegisterUserBufferInput {
        header: Header::of::<RegisterUserBufferInput>(),
        range,
        access: Choice(access.value()),
        flags: Flags(RegisterFlags::ALLOW_PIECES.bits()),
        lowest: AddressBound(0),
        highest: AddressBound(ANY_ADDRESS),
        reserved: Reserved(0),
        reserved_end: Reserved(0),
    };
    ask::<_, RegisterOutput>(file, ControlCode::RegisterUserBuffer, &input)
        .map(|reply| reply.handle)
}

/// Asks to secure a range.
fn secure(file: &File, range: UserRange, access: Access) -> Result<Handle, Status> {
    let input = SecureInput {
        header: Header::of::<SecureInput>(),
        range,
        access: Choice(access.value()),
        reserved: Reserved(0),
    };
    ask::<_, SecureOutput>(file, ControlCode::Secure, &input).map(|reply| reply.handle)
}

/// Both are refused, by the right cause, and leave nothing behind.
#[track_caller]
fn assert_refused(process: &Process, file: &File, range: UserRange) {
    let before = statistics(file);
    for access in [Access::Read, Access::ReadWrite] {
        assert_eq!(lock(file, range, access), Err(REFUSED), "lock {range:?}");
        assert_eq!(
            secure(file, range, access),
            Err(REFUSED),
            "secure {range:?}"
        );
    }
    let after = statistics(file);
    let cause = Error::UserRange;
    assert_eq!(failures(&after, cause), failures(&before, cause) + 4);
    assert_eq!(after.live_registrations, before.live_registrations);
    assert_eq!(after.live_bytes, before.live_bytes);
    assert_eq!(process.secured(), []);
}

/// Ranges that have at least a byte of a view: whole, part, and beyond either edge.
fn ranges(view: u64, length: u64) -> [UserRange; 7] {
    [
        range(view, length),
        range(view + 1, 1),
        range(view + length - PAGE, PAGE),
        range(view + length - 1, 1),
        range(view - 1, 2),
        range(view + length - 1, 2),
        range(view - PAGE, length + 2 * PAGE),
    ]
}

/// Memory of that kind is no process's to lock, and is released without complaint.
#[track_caller]
fn assert_not_the_processs(setting: Setting, kind: Kind) {
    let scene = scene_of(setting);
    let view = mapped(file(&scene), kind, 4 * PAGE);
    for range in ranges(view.user_address.0, 4 * PAGE) {
        assert_refused(&scene.process, file(&scene), range);
    }
    release(file(&scene), view.handle).expect("released");
    scene.finish();
}

#[test]
fn view_of_a_common_buffer_is_refused() {
    assert_not_the_processs(no_reserve(), Kind::CommonBuffer);
}

#[test]
fn view_of_memory_from_the_reserve_is_refused() {
    assert_not_the_processs(Setting::default(), Kind::CommonBuffer);
}

#[test]
fn view_of_contiguous_memory_is_refused() {
    assert_not_the_processs(no_reserve(), Kind::Contiguous);
}

#[test]
fn view_of_host_memory_is_refused() {
    let scene = scene();
    let options = HostMemoryOptions::new(1 << 20, 1 << 20).map();
    let memory = scene
        .provider
        .register_host_memory(&options)
        .expect("memory");
    for piece in memory.pieces() {
        let view = piece.user_address.expect("mapped");
        for range in ranges(view, piece.length) {
            assert_refused(&scene.process, file(&scene), range);
        }
    }
    drop(memory);
    scene.finish();
}

#[test]
fn status_page_is_refused() {
    let scene = scene();
    let page: MapStatusPageOutput = ask(
        file(&scene),
        ControlCode::MapStatusPage,
        &Header::of::<Header>(),
    )
    .expect("mapped");
    for range in ranges(page.user_address.0, page.length.0) {
        assert_refused(&scene.process, file(&scene), range);
    }
    scene.finish();
}

#[test]
fn view_of_another_file_of_the_process_is_refused() {
    let scene = scene();
    let other = scene.process.open(&INTERFACE).expect("opened again");
    let view = mapped(file(&scene), Kind::CommonBuffer, 2 * PAGE);
    for range in ranges(view.user_address.0, 2 * PAGE) {
        assert_refused(&scene.process, &other, range);
    }
    drop(other);
    release(file(&scene), view.handle).expect("released");
    scene.finish();
}

#[test]
fn view_of_another_process_is_refused() {
    let scene = scene();
    let (process, other) = scene.stage.open().expect("opened by another process");
    let view = mapped(file(&scene), Kind::CommonBuffer, 2 * PAGE);
    for range in ranges(view.user_address.0, 2 * PAGE) {
        assert_refused(&process, &other, range);
    }
    drop(other);
    process.exit().expect("the process ends");
    release(file(&scene), view.handle).expect("released");
    scene.finish();
}

#[test]
fn rest_of_the_last_page_of_a_view_is_refused() {
    let scene = scene_of(no_reserve());
    for kind in [Kind::CommonBuffer, Kind::Contiguous] {
        let view = mapped(file(&scene), kind, PAGE + 100);
        let end = view.user_address.0 + PAGE + 100;
        for range in [range(end, 1), range(end, PAGE - 100), range(end + 1000, 8)] {
            assert_refused(&scene.process, file(&scene), range);
        }
        release(file(&scene), view.handle).expect("released");
    }
    scene.finish();
}

#[test]
fn view_that_is_gone_is_refused() {
    let scene = scene();
    let gone = mapped(file(&scene), Kind::CommonBuffer, 2 * PAGE);
    release(file(&scene), gone.handle).expect("released");
    assert_refused(
        &scene.process,
        file(&scene),
        range(gone.user_address.0, 2 * PAGE),
    );
    scene.finish();
}

/// Whatever comes of an attempt on a view: nothing is locked or secured when its memory is given back.
fn release_after(attempt: impl Fn(&File, UserRange) -> bool) {
    let scene = scene_of(no_reserve());
    let view = mapped(file(&scene), Kind::CommonBuffer, 2 * PAGE);
    let _succeeded = attempt(file(&scene), range(view.user_address.0, 2 * PAGE));
    release(file(&scene), view.handle).expect("released");
    scene.finish();
}

#[test]
fn memory_released_after_an_attempt_to_lock_its_view_is_not_locked() {
    release_after(|file, view| lock(file, view, Access::Read).is_ok());
}

#[test]
fn memory_released_after_an_attempt_to_secure_its_view_is_not_secured() {
    release_after(|file, view| secure(file, view, Access::Read).is_ok());
}

#[test]
fn memory_of_the_process_is_locked_and_secured_beside_a_view() {
    let scene = scene();
    let view = mapped(file(&scene), Kind::CommonBuffer, 2 * PAGE);
    let own = range(scene.process.allocate(8192).expect("memory"), 2 * PAGE);
    let locked = lock(file(&scene), own, Access::ReadWrite).expect("locked");
    let secured = secure(file(&scene), own, Access::ReadWrite);
    assert!(secured.is_ok(), "{secured:?}");
    release(file(&scene), locked).expect("released");
    release(file(&scene), view.handle).expect("released");
    scene.finish();
}

#[test]
fn message_is_not_received_in_a_view() {
    let scene = scene_of(no_reserve());
    let (_, other) = scene.stage.provider().expect("a second provider");
    let endpoint = scene.provider.endpoint().expect("told").own;
    other.connect(endpoint).expect("named");
    let theirs = other.endpoint().expect("told").own;
    scene.provider.connect(theirs).expect("connected");
    let view = mapped(file(&scene), Kind::CommonBuffer, 2 * PAGE);
    for offset in [0, PAGE + 8] {
        let pending = file(&scene)
            .begin_read_into(view.user_address.0 + offset, 64, 0)
            .expect("the driver comes back");
        let outcome = pending.finish(&mut []).expect("it ends");
        assert_eq!(outcome.status.0, REFUSED.0, "{offset}");
    }
    // Nothing waits with the pages locked.
    release(file(&scene), view.handle).expect("released");
    drop(other);
    scene.finish();
}
