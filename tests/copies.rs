//! User buffers that the device has as a copy, bringing registrations up to date, and moving bytes from and to user buffers.
//!
//! Cites san.md: R22-R36, R52; storport-map.md: S13-S17; security.md: C15-C20; verifier-rules.md: V122-V124, V143-V176.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use nt_host::{DmaConfig, File, Protection, RegistryValue};
use nt_machine::BusMaster;
use sanproxy_abi::{
    ControlCode, Error, RegisterFlags, Side,
    wire::{
        AddressBound, ByteCount, Choice, Flags, Handle, Header, Message, MoveInput, RangeStart,
        RegisterOutput, RegisterUserBufferInput, ReleaseInput, Reserved, SynchronizeInput,
        UserRange,
    },
};
use sanproxy_provider::{
    Access, Kind, Method, RegisterOptions, Registration, Status, UserBufferOptions,
};
use sanproxy_tests::{
    channel::HostChannel,
    scene::{Scene, scene, scene_of},
    stage::Setting,
    wire::{self, ask, failures, register, send, statistics},
};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

type Buffer = Registration<HostChannel>;

/// A device of 32 bits, memory of processes above 4 GiB, and nobody to translate.
fn out_of_reach() -> Setting {
    Setting::default().dma(DmaConfig {
        remapping: false,
        ..DmaConfig::default()
    })
}

fn memory(scene: &Scene, length: u64) -> u64 {
    let length = usize::try_from(length).expect("a length");
    scene.process.allocate(length).expect("memory")
}

fn options(start: u64, length: u64, access: Access) -> UserBufferOptions {
    UserBufferOptions::new(start, length, access).allow_pieces()
}

fn make(scene: &Scene, options: &UserBufferOptions) -> Result<Buffer, Status> {
    let made = scene.provider.register_user_buffer(options);
    made.map_err(|error| error.status().expect("the driver refuses"))
}

fn copied(scene: &Scene, start: u64, length: u64, access: Access) -> Buffer {
    let buffer = make(scene, &options(start, length, access).allow_copy()).expect("registered");
    assert!(buffer.is_copy());
    buffer
}

fn pattern(length: u64, seed: u64) -> Vec<u8> {
    (0..length)
        .map(|at| ((at * 7 + seed) % 251) as u8)
        .collect()
}

fn read(scene: &Scene, start: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).expect("a length")];
    scene.process.read(start, &mut bytes).expect("its memory");
    bytes
}

fn write(scene: &Scene, start: u64, bytes: &[u8]) {
    scene.process.write(start, bytes).expect("its memory");
}

/// Where the device finds bytes of a registration, piece by piece.
fn parts(buffer: &Buffer, offset: u64, length: u64) -> Vec<(u64, usize)> {
    let (mut skip, mut left, mut parts) = (offset, length, Vec::new());
    for piece in buffer.pieces() {
        let here = piece.length.saturating_sub(skip).min(left);
        if here > 0 {
            let here = usize::try_from(here).expect("a length");
            parts.push((piece.device_address + skip, here));
        }
        skip = skip.saturating_sub(piece.length);
        left -= here;
    }
    assert_eq!(left, 0);
    parts
}

fn device_read(nic: &BusMaster, buffer: &Buffer, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (address, count) in parts(buffer, offset, length) {
        let mut part = vec![0; count];
        nic.read(address, &mut part).expect("within reach");
        bytes.extend(part);
    }
    bytes
}

fn device_write(nic: &BusMaster, buffer: &Buffer, offset: u64, mut bytes: &[u8]) {
    for (address, count) in parts(buffer, offset, bytes.len() as u64) {
        let (part, rest) = bytes.split_at(count);
        nic.write(address, part).expect("within reach");
        bytes = rest;
    }
}

fn status(result: Result<(), sanproxy_provider::Error>) -> Option<Status> {
    result.err().and_then(|error| error.status())
}

/// The process ends, the driver unloads, and the judge has found nothing.
fn finish(scene: Scene) {
    scene.process.exit().expect("the process ends");
    scene.finish();
}

#[test]
fn copy_shows_the_device_what_the_memory_held_until_it_is_synchronised() {
    let scene = scene_of(out_of_reach());
    let start = memory(&scene, MIB) + 100;
    let old = pattern(300_000, 1);
    write(&scene, start, &old);
    let buffer = copied(&scene, start, 300_000, Access::Read);
    assert_eq!(buffer.kind(), Kind::UserBuffer);
    assert_eq!(buffer.length(), 300_000);
    assert_eq!(device_read(&scene.nic, &buffer, 0, 300_000), old);
    let new = pattern(300_000, 2);
    write(&scene, start, &new);
    assert_eq!(device_read(&scene.nic, &buffer, 0, 300_000), old);
    buffer
        .synchronize(Side::Device, 5000, 90_001)
        .expect("synchronised");
    let seen = device_read(&scene.nic, &buffer, 0, 300_000);
    assert_eq!(seen[..5000], old[..5000]);
    assert_eq!(seen[5000..95_001], new[5000..95_001]);
    assert_eq!(seen[95_001..], old[95_001..]);
    drop(buffer);
    assert_eq!(read(&scene, start, 300_000), new);
    finish(scene);
}

#[test]
fn what_the_device_wrote_to_a_copy_is_there_when_it_is_synchronised_or_released() {
    let scene = scene_of(out_of_reach());
    let start = memory(&scene, MIB) + 4000;
    let own = pattern(50_000, 3);
    write(&scene, start, &own);
    let buffer = copied(&scene, start, 50_000, Access::ReadWrite);
    let theirs = pattern(10_000, 9);
    device_write(&scene.nic, &buffer, 20_000, &theirs);
    assert_eq!(read(&scene, start, 50_000), own);
    buffer
        .synchronize(Side::Processor, 20_000, 1000)
        .expect("synchronised");
    let seen = read(&scene, start, 50_000);
    assert_eq!(seen[20_000..21_000], theirs[..1000]);
    assert_eq!(seen[21_000..], own[21_000..]);
    buffer.release().expect("released");
    let seen = read(&scene, start, 50_000);
    assert_eq!(seen[..20_000], own[..20_000]);
    assert_eq!(seen[20_000..30_000], theirs);
    assert_eq!(seen[30_000..], own[30_000..]);
    finish(scene);
}

#[test]
fn memory_within_reach_is_not_copied_though_it_may_be() {
    let scene = scene();
    let start = memory(&scene, MIB);
    let buffer = make(&scene, &options(start, MIB, Access::ReadWrite).allow_copy());
    let buffer = buffer.expect("registered");
    assert!(!buffer.is_copy());
    assert_eq!(buffer.method(), Method::GetScatterGatherListEx);
    device_write(&scene.nic, &buffer, 70_000, b"at once");
    assert_eq!(read(&scene, start + 70_000, 7), b"at once");
    drop(buffer);
    finish(scene);
}

#[test]
fn copy_is_made_where_the_pages_do_not_lie_as_asked() {
    let dma = DmaConfig {
        remapping: false,
        address_bits: 64,
        ..DmaConfig::default()
    };
    let width = RegistryValue::Dword(64);
    let scene = scene_of(
        Setting::default()
            .dma(dma)
            .parameter("DmaAddressWidth", width),
    );
    let start = memory(&scene, MIB);
    let low = UserBufferOptions::new(start, 40_000, Access::ReadWrite).low_memory();
    assert_eq!(
        make(&scene, &low).err(),
        Some(Status::CONFLICTING_ADDRESSES)
    );
    let buffer = make(&scene, &low.allow_copy()).expect("registered");
    assert!(buffer.is_copy() && buffer.is_low());
    assert_eq!(buffer.pieces().len(), 1);
    drop(buffer);
    finish(scene);
}

#[test]
fn device_writes_to_a_read_only_copy_never_reach_the_memory() {
    let scene = scene_of(out_of_reach());
    let start = memory(&scene, PAGE);
    let buffer = copied(&scene, start, PAGE, Access::Read);
    device_write(&scene.nic, &buffer, 0, &[7; 64]);
    let refused = buffer.synchronize(Side::Processor, 0, 64);
    assert_eq!(status(refused), Some(Error::Access.status()));
    drop(buffer);
    assert_eq!(read(&scene, start, 64), [0; 64]);
    finish(scene);
}

#[test]
fn synchronising_grants_no_more_than_the_registration() {
    for setting in [Setting::default(), out_of_reach()] {
        let scene = scene_of(setting);
        let start = memory(&scene, PAGE);
        for (access, side) in [
            (Access::Write, Side::Device),
            (Access::Read, Side::Processor),
        ] {
            let buffer = make(&scene, &options(start, PAGE, access).allow_copy());
            let refused = buffer.expect("registered").synchronize(side, 0, 1);
            assert_eq!(status(refused), Some(Error::Access.status()));
        }
        finish(scene);
    }
}

#[test]
fn copy_counts_as_well_as_the_pages_and_is_gone_from_the_counters_afterwards() {
    let scene = scene_of(out_of_reach());
    let start = memory(&scene, MIB);
    let buffer = copied(&scene, start + 4095, 2, Access::Read);
    let bytes = || scene.provider.statistics().expect("counters").live_bytes;
    assert_eq!(bytes(), 3 * PAGE);
    drop(buffer);
    assert_eq!(bytes(), 0);
    finish(scene);
}

#[test]
fn process_that_ends_leaves_no_page_locked_and_no_copy() {
    let scene = scene_of(out_of_reach());
    let start = memory(&scene, MIB);
    let buffer = copied(&scene, start, MIB, Access::ReadWrite);
    let _: sanproxy_provider::Handle = buffer.into_handle();
    let other = scene.stage.host.create_process("other.exe");
    let other = other.expect("a process");
    let file = scene.provider.channel().file();
    let duplicate = file.duplicate(&other).expect("a duplicate");
    scene.process.exit().expect("the process ends");
    assert_eq!(statistics(&duplicate).live_bytes.0, 0);
    drop(duplicate);
    other.exit().expect("the other process ends");
    scene.finish();
}

#[test]
fn removal_by_surprise_brings_back_what_the_device_wrote() {
    let scene = scene_of(out_of_reach());
    let start = memory(&scene, MIB);
    let buffer = copied(&scene, start, MIB, Access::ReadWrite);
    device_write(&scene.nic, &buffer, 12_345, b"the last word");
    let gone = scene.stage.device.surprise_removal();
    assert!(gone.is_ok_and(|status| status.is_success()));
    assert_eq!(read(&scene, start + 12_345, 13), b"the last word");
    let _: sanproxy_provider::Handle = buffer.into_handle();
    finish(scene);
}

#[test]
fn registration_of_a_copy_that_fails_anywhere_changes_no_byte() {
    let mut failed = 0;
    for number in 1..300 {
        let scene = scene_of(out_of_reach());
        let start = memory(&scene, MIB);
        let bytes = pattern(100_000, 5);
        write(&scene, start, &bytes);
        scene.stage.host.faults().fail_nth(number);
        let wish = options(start + 9, 50_000, Access::ReadWrite).allow_copy();
        let result = make(&scene, &wish);
        let spent = scene.stage.host.faults().seen() < number;
        scene.stage.host.faults().clear();
        if let Err(status) = &result {
            failed += 1;
            assert_eq!(*status, Status::INSUFFICIENT_RESOURCES, "call {number}");
        }
        drop(result);
        assert_eq!(read(&scene, start, 100_000), bytes, "call {number}");
        assert_eq!(scene.provider.statistics().expect("counters").live_bytes, 0);
        finish(scene);
        if spent {
            break;
        }
    }
    assert!(failed > 5, "only {failed} calls failed");
}

/// A machine whose devices do not see what the processor's caches hold.
fn incoherent(table_size: u32) -> Setting {
    Setting::default().dma(DmaConfig {
        coherent: false,
        table_size,
        ..DmaConfig::default()
    })
}

#[test]
fn synchronising_brings_the_sides_of_an_incoherent_machine_together() {
    let scene = scene_of(incoherent(0));
    let start = memory(&scene, MIB);
    write(&scene, start, &pattern(MIB, 1));
    let buffer = make(&scene, &options(start, MIB, Access::ReadWrite)).expect("registered");
    assert!(!buffer.is_copy());
    write(&scene, start + 5000, b"from the process");
    assert_ne!(
        device_read(&scene.nic, &buffer, 5000, 16),
        b"from the process"
    );
    buffer
        .synchronize(Side::Device, 5000, 16)
        .expect("synchronised");
    assert_eq!(
        device_read(&scene.nic, &buffer, 5000, 16),
        b"from the process"
    );
    device_write(&scene.nic, &buffer, 600_000, b"from the device");
    assert_ne!(read(&scene, start + 600_000, 15), b"from the device");
    buffer
        .synchronize(Side::Processor, 600_000, 15)
        .expect("synchronised");
    assert_eq!(read(&scene, start + 600_000, 15), b"from the device");
    drop(buffer);
    finish(scene);
}

#[test]
fn synchronising_without_a_way_to_do_it_is_not_supported() {
    // A table that ends before `FlushDmaBuffer`.
    let scene = scene_of(incoherent(232));
    let start = memory(&scene, PAGE);
    let buffer = make(&scene, &options(start, PAGE, Access::ReadWrite)).expect("registered");
    let refused = buffer.synchronize(Side::Device, 0, 1);
    assert_eq!(status(refused), Some(Status::NOT_SUPPORTED));
    drop(buffer);
    finish(scene);
}

#[test]
fn memory_of_the_driver_needs_no_synchronising() {
    let scene = scene_of(incoherent(0));
    let wish = RegisterOptions::common_buffer(PAGE).map();
    let memory = scene.provider.register(&wish).expect("registered");
    let flushes = || scene.stage.host.calls().get("FlushDmaBuffer").copied();
    device_write(&scene.nic, &memory, 8, b"seen");
    for side in [Side::Device, Side::Processor] {
        memory.synchronize(side, 0, PAGE).expect("nothing to do");
    }
    assert_eq!(flushes(), None);
    let mut seen = [0; 4];
    memory.read_at(8, &mut seen).expect("mapped");
    assert_eq!(&seen, b"seen");
    drop(memory);
    finish(scene);
}

#[test]
fn bytes_move_between_user_buffers_and_other_memory_both_ways() {
    for (remapping, map_registers) in [(true, 1 << 18), (true, 3), (false, 3)] {
        let scene = scene_of(Setting::default().dma(DmaConfig {
            remapping,
            map_registers,
            ..DmaConfig::default()
        }));
        let start = memory(&scene, MIB) + 123;
        let bytes = pattern(100_000, 4);
        write(&scene, start, &bytes);
        let wish = options(start, 100_000, Access::ReadWrite).allow_copy();
        let user = make(&scene, &wish).expect("registered");
        let wish = RegisterOptions::common_buffer(100_000).allow_pieces().map();
        let other = scene.provider.register(&wish).expect("registered");
        scene
            .provider
            .copy((&user, 11), (&other, 4000), 90_000)
            .expect("moved");
        let mut seen = vec![0; 90_000];
        other.read_at(4000, &mut seen).expect("mapped");
        assert_eq!(seen, bytes[11..90_011]);
        let back = pattern(60_000, 8);
        other.write_at(7, &back).expect("mapped");
        scene
            .provider
            .copy((&other, 7), (&user, 30_001), 60_000)
            .expect("moved");
        assert_eq!(device_read(&scene.nic, &user, 30_001, 60_000), back);
        // Within one, as if all were read before any is written.
        let before = device_read(&scene.nic, &user, 0, 50_000);
        scene
            .provider
            .copy((&user, 0), (&user, 5001), 50_000)
            .expect("moved");
        assert_eq!(device_read(&scene.nic, &user, 5001, 50_000), before);
        let after = device_read(&scene.nic, &user, 0, 100_000);
        drop((user, other));
        assert_eq!(read(&scene, start, 100_000), after);
        finish(scene);
    }
}

#[test]
fn moving_grants_no_more_than_the_registration() {
    let scene = scene();
    let start = memory(&scene, PAGE);
    let only_read = make(&scene, &options(start, PAGE, Access::Read)).expect("registered");
    let only_written = make(&scene, &options(start, PAGE, Access::Write)).expect("registered");
    let wish = RegisterOptions::common_buffer(PAGE);
    let other = scene.provider.register(&wish).expect("registered");
    let copy = |from, to| status(scene.provider.copy((from, 0), (to, 0), 8));
    assert_eq!(copy(&other, &only_read), Some(Error::Access.status()));
    assert_eq!(copy(&only_written, &other), Some(Error::Access.status()));
    assert_eq!(copy(&only_read, &other), None);
    assert_eq!(copy(&other, &only_written), None);
    assert_eq!(copy(&only_read, &only_written), None);
    drop((only_read, only_written, other));
    finish(scene);
}

#[test]
fn many_map_registers_are_not_needed() {
    for registers in [1, 2, 16] {
        let scene = scene_of(Setting::default().dma(DmaConfig {
            map_registers: registers,
            ..DmaConfig::default()
        }));
        let start = memory(&scene, MIB) + 5;
        let bytes = pattern(300_000, 6);
        write(&scene, start, &bytes);
        let buffer = make(&scene, &options(start, 300_000, Access::ReadWrite)).expect("registered");
        assert_eq!(device_read(&scene.nic, &buffer, 0, 300_000), bytes);
        device_write(&scene.nic, &buffer, 299_990, &[1; 10]);
        assert_eq!(read(&scene, start + 299_990, 10), [1; 10]);
        drop(buffer);
        finish(scene);
    }
}

#[test]
fn shortage_of_map_registers_leaves_nothing_locked_and_disturbs_nobody() {
    // The routine of version 3 fails when the system has none left; the older one would wait, so as much is refused as
    // one transfer may have.
    for (version, first_pages, most) in [(3, 20, 256), (2, 5, 20), (1, 5, 20)] {
        let scene = scene_of(Setting::default().dma(DmaConfig {
            interface_version: version,
            map_registers: 16,
            system_map_registers: 64,
            ..DmaConfig::default()
        }));
        let first = memory(&scene, MIB);
        let wish = options(first, first_pages * PAGE, Access::ReadWrite);
        let kept = make(&scene, &wish).expect("registered");
        let start = memory(&scene, MIB);
        let refused = make(&scene, &options(start, most * PAGE, Access::ReadWrite)).err();
        assert_eq!(
            refused,
            Some(Status::INSUFFICIENT_RESOURCES),
            "version {version}"
        );
        device_write(&scene.nic, &kept, 20_000, b"still there");
        assert_eq!(read(&scene, first + 20_000, 11), b"still there");
        let live = scene.provider.statistics().expect("counters");
        let expected = (first_pages * PAGE, 1);
        assert_eq!((live.live_bytes, live.live_registrations), expected);
        let more = make(&scene, &options(start, 6 * PAGE, Access::Read)).expect("room for this");
        drop((kept, more));
        finish(scene);
    }
}

#[test]
fn long_range_that_fails_in_the_middle_leaves_nothing_locked() {
    for routine in [
        "MmProbeAndLockPages",
        "GetScatterGatherListEx",
        "IoAllocateMdl",
    ] {
        let scene = scene_of(Setting::default().dma(DmaConfig {
            map_registers: 16,
            ..DmaConfig::default()
        }));
        let start = memory(&scene, MIB);
        scene.stage.host.faults().fail_routine(routine, 9);
        let refused = make(&scene, &options(start, MIB, Access::Read)).err();
        scene.stage.host.faults().clear();
        assert_eq!(refused, Some(Status::INSUFFICIENT_RESOURCES), "{routine}");
        assert_eq!(scene.provider.statistics().expect("counters").live_bytes, 0);
        finish(scene);
    }
}

/// What a process may do to its memory while it is being registered.
#[derive(Clone, Copy, Debug)]
enum Change {
    Free,
    Replace,
    ReadOnly,
    Nothing,
}

/// Has the process do it at every so many calls of the driver, registers, and uses what was registered.
fn changed_midway(setting: &Setting, change: Change) {
    let calls = AtomicU64::new(0);
    let mut call = 1;
    loop {
        let scene = scene_of(setting.clone());
        let start = memory(&scene, 40 * PAGE);
        let total = || scene.stage.host.calls().values().sum::<u64>();
        let before = total();
        let process = scene.process.clone();
        let (tell, changed) = std::sync::mpsc::channel();
        scene.stage.host.at_call(call, move || {
            let _ = match change {
                Change::Free => process.free(start),
                Change::Replace => process.replace(start),
                Change::ReadOnly => process.protect(start, Protection::Read),
                Change::Nothing => process.protect(start, Protection::None),
            };
            let _ = tell.send(());
        });
        let result = make(
            &scene,
            &options(start + 5, 39 * PAGE, Access::ReadWrite).allow_copy(),
        );
        let made = total() - before;
        let came = made >= call;
        if came {
            changed.recv().expect("it is done");
        }
        match result {
            Ok(buffer) => {
                // The pages that were locked, whatever is at the address now.
                device_write(&scene.nic, &buffer, 0, &[9; 100]);
                assert_eq!(device_read(&scene.nic, &buffer, 0, 100), [9; 100]);
                buffer.release().expect("released");
            }
            Err(status) => assert_eq!(status, Status::ACCESS_VIOLATION, "{change:?} at {call}"),
        }
        assert_eq!(scene.provider.statistics().expect("counters").live_bytes, 0);
        finish(scene);
        calls.fetch_max(made, Ordering::Relaxed);
        if !came {
            break;
        }
        call += 3;
    }
    assert!(calls.into_inner() > 20);
}

#[test]
fn memory_changed_midway_is_refused_or_registered_as_it_was() {
    let few = Setting::default().dma(DmaConfig {
        map_registers: 16,
        ..DmaConfig::default()
    });
    for setting in [few, out_of_reach()] {
        for change in [
            Change::Free,
            Change::Replace,
            Change::ReadOnly,
            Change::Nothing,
        ] {
            changed_midway(&setting, change);
        }
    }
}

#[test]
fn copy_may_be_synchronised_from_several_threads_while_its_memory_changes() {
    let scene = scene_of(out_of_reach());
    let start = memory(&scene, MIB);
    let buffer = Arc::new(copied(&scene, start, MIB, Access::ReadWrite));
    thread::scope(|scope| {
        for side in [Side::Device, Side::Processor, Side::Device] {
            let buffer = Arc::clone(&buffer);
            scope.spawn(move || {
                for round in 0..40 {
                    buffer
                        .synchronize(side, round * 1000, 50_000)
                        .expect("synchronised");
                }
            });
        }
        let process = &scene.process;
        scope.spawn(move || {
            for round in 0..40_u8 {
                process.write(start, &[round; 4096]).expect("its memory");
                thread::sleep(Duration::from_micros(50));
            }
        });
    });
    drop(buffer);
    finish(scene);
}

/// Asks, if the handle is still open; the reply if it is a success.
fn try_to<O: Message>(file: &File, code: ControlCode, input: &impl Message) -> Option<O> {
    let mut output = vec![0; size_of::<O>()];
    let result = file.device_control(code.value(), input.as_bytes(), &mut output);
    let success = result.is_ok_and(|result| result.status.is_success());
    success.then(|| O::parse(&output).expect("a sound reply"))
}

/// Registers, synchronises both ways, moves bytes, releases; how each request ends depends on what happens meanwhile.
fn use_copy(file: &File, start: u64) {
    let mut wish = good_user_buffer(start + 7);
    wish.range.length = ByteCount(20_000);
    let flags = RegisterFlags::COPY.with(RegisterFlags::ALLOW_PIECES);
    wish.flags = Flags(flags.bits());
    if let Some(made) = try_to::<RegisterOutput>(file, ControlCode::RegisterUserBuffer, &wish) {
        let mut order = good_synchronize(made.handle);
        let _: Option<Header> = try_to(file, ControlCode::Synchronize, &order);
        let moving = MoveInput {
            header: Header::of::<MoveInput>(),
            source: made.handle,
            source_offset: ByteCount(0),
            destination: made.handle,
            destination_offset: ByteCount(9000),
            length: ByteCount(9000),
        };
        let _: Option<Header> = try_to(file, ControlCode::Move, &moving);
        order.side = Choice(Side::Processor.value());
        let _: Option<Header> = try_to(file, ControlCode::Synchronize, &order);
        let release = ReleaseInput {
            header: Header::of::<ReleaseInput>(),
            handle: made.handle,
        };
        let _: Option<Header> = try_to(file, ControlCode::Release, &release);
    }
    // One that nobody releases.
    let _: Option<RegisterOutput> = try_to(file, ControlCode::RegisterUserBuffer, &wish);
}

/// Has something done to a scene while it uses copies, at every so many calls of the driver.
fn interrupted(what: impl Fn(&Scene) -> Box<dyn FnOnce() + Send>) {
    for setting in [Setting::default(), out_of_reach()] {
        let mut call = 1;
        loop {
            let scene = scene_of(setting.clone());
            let start = memory(&scene, 8 * PAGE);
            let total = || scene.stage.host.calls().values().sum::<u64>();
            let before = total();
            let work = what(&scene);
            let (tell, ended) = std::sync::mpsc::channel();
            let over = Arc::new(Mutex::new(false));
            let is_over = Arc::clone(&over);
            scene.stage.host.at_call(call, move || {
                if !*is_over.lock().expect("no panic") {
                    work();
                }
                let _ = tell.send(());
            });
            // The file stays when its opener is gone: whoever still uses it is answered.
            let keeper = scene.stage.host.create_process("keeper.exe");
            let keeper = keeper.expect("a process");
            let file = scene.provider.channel().file();
            let kept = file.duplicate(&keeper).expect("a duplicate");
            use_copy(file, start);
            let came = total() - before >= call;
            if came {
                ended.recv().expect("it is done");
            }
            // The PnP manager sends one request at a time: nothing is torn out while the device is removed below.
            *over.lock().expect("no panic") = true;
            drop(scene.provider);
            drop(kept);
            keeper.exit().expect("the keeper ends");
            scene.process.exit().expect("the process ends");
            let report = scene.stage.finish().expect("the driver unloads");
            assert!(report.is_clean(), "call {call}: {report}");
            if !came {
                break;
            }
            call += 5;
        }
    }
}

#[test]
fn process_may_die_at_any_point_of_its_requests() {
    interrupted(|scene| {
        let process = scene.process.clone();
        Box::new(move || drop(process.exit()))
    });
}

#[test]
fn device_may_be_torn_out_at_any_point_of_a_request() {
    interrupted(|scene| {
        let device = scene.stage.device.clone();
        Box::new(move || drop(device.surprise_removal()))
    });
}

fn good_user_buffer(start: u64) -> RegisterUserBufferInput {
    RegisterUserBufferInput {
        header: Header::of::<RegisterUserBufferInput>(),
        range: UserRange {
            start: RangeStart(start),
            length: ByteCount(PAGE),
        },
        access: Choice(Access::ReadWrite.value()),
        flags: Flags(0),
        lowest: AddressBound(0),
        highest: AddressBound(u64::MAX),
        reserved: Reserved(0),
        reserved_end: Reserved(0),
    }
}

/// Each byte of a good request is changed in turn; what the driver makes of it is released again if it is good, too.
fn change_each_byte(scene: &Scene, code: ControlCode, good: &[u8], output: usize, ways: &[u8]) {
    let file: &File = scene.provider.channel().file();
    let before = statistics(file);
    for at in 0..good.len() {
        for change in ways {
            let mut input = good.to_vec();
            input[at] ^= change;
            let reply = send(file, code.value(), &input, output);
            if reply.status.is_success() {
                assert_eq!(reply.information, output as u64);
                if let Ok(made) = RegisterOutput::parse(&reply.output)
                    && output == size_of::<RegisterOutput>()
                {
                    wire::release(file, made.handle).expect("released");
                }
            } else {
                assert_eq!(reply.information, 0);
                assert!(reply.output.iter().all(|byte| *byte == wire::POISON));
            }
        }
    }
    let after = statistics(file);
    assert_eq!(after.live_bytes, before.live_bytes);
    assert_eq!(after.live_registrations, before.live_registrations);
}

#[test]
fn user_buffer_request_changed_in_any_byte_is_refused_or_sound() {
    for setting in [Setting::default(), out_of_reach()] {
        let scene = scene_of(setting);
        let start = memory(&scene, 4 * PAGE) + PAGE;
        let good = good_user_buffer(start);
        let output = size_of::<RegisterOutput>();
        let code = ControlCode::RegisterUserBuffer;
        change_each_byte(
            &scene,
            code,
            zerocopy::IntoBytes::as_bytes(&good),
            output,
            &[1, 0x20, 0x80, 0xFF],
        );
        finish(scene);
    }
}

fn good_synchronize(handle: Handle) -> SynchronizeInput {
    SynchronizeInput {
        header: Header::of::<SynchronizeInput>(),
        handle,
        offset: ByteCount(0),
        length: ByteCount(PAGE),
        side: Choice(Side::Device.value()),
        reserved: Reserved(0),
    }
}

#[test]
fn synchronise_request_changed_in_any_byte_is_refused_or_sound() {
    for setting in [Setting::default(), out_of_reach()] {
        let scene = scene_of(setting);
        let start = memory(&scene, 4 * PAGE);
        let wish = options(start, PAGE, Access::ReadWrite).allow_copy();
        let buffer = make(&scene, &wish).expect("registered");
        let good = good_synchronize(buffer.handle());
        let code = ControlCode::Synchronize;
        change_each_byte(
            &scene,
            code,
            zerocopy::IntoBytes::as_bytes(&good),
            size_of::<Header>(),
            &[1, 2, 0x80, 0xFF],
        );
        drop(buffer);
        finish(scene);
    }
}

/// Asserts that a synchronise request that would succeed but for `change` is refused for `cause`, which is counted.
fn synchronise_refused(cause: Error, change: impl FnOnce(&mut SynchronizeInput)) {
    let scene = scene();
    let start = memory(&scene, PAGE);
    let buffer = make(&scene, &options(start, PAGE, Access::ReadWrite)).expect("registered");
    let file = scene.provider.channel().file();
    let mut input = good_synchronize(buffer.handle());
    ask::<_, Header>(file, ControlCode::Synchronize, &input).expect("the good one");
    change(&mut input);
    let reply = ask::<_, Header>(file, ControlCode::Synchronize, &input);
    assert_eq!(reply.err(), Some(cause.status()));
    assert_eq!(failures(&statistics(file), cause), 1);
    drop(buffer);
    finish(scene);
}

#[test]
fn synchronise_of_nothing_is_refused_for_its_length() {
    synchronise_refused(Error::Length, |input| input.length = ByteCount(0));
}

#[test]
fn synchronise_beyond_the_end_is_out_of_range() {
    synchronise_refused(Error::OutOfRange, |input| input.offset = ByteCount(1));
}

#[test]
fn synchronise_whose_end_wraps_is_out_of_range() {
    synchronise_refused(Error::OutOfRange, |input| {
        input.offset = ByteCount(u64::MAX)
    });
}

#[test]
fn synchronise_for_nobody_is_refused() {
    synchronise_refused(Error::UnknownSide, |input| input.side = Choice(0));
}

#[test]
fn synchronise_with_a_reserved_bit_is_refused() {
    synchronise_refused(Error::ReservedBits, |input| input.reserved = Reserved(1));
}

#[test]
fn synchronise_of_an_unknown_handle_is_invalid_handle() {
    synchronise_refused(Error::UnknownHandle, |input| input.handle.0 ^= 1);
}

#[test]
fn copy_flag_is_for_user_buffers_alone() {
    let scene = scene();
    let file = scene.provider.channel().file();
    let mut input = wire::good_register();
    input.flags = Flags(RegisterFlags::COPY.bits());
    assert_eq!(
        register(file, &input).err(),
        Some(Error::ReservedBits.status())
    );
    finish(scene);
}
