//! What administrators see and set: every registration of the device, its quotas, and the counters.
//!
//! Cites san.md: R54; storport-map.md: S05, S12; security.md: C32.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nt_host::RegistryValue;
use sanproxy_abi::{
    ControlCode, Error, Kind, RegisterFlags,
    wire::{
        ByteCount, Count, EnumerateInput, EnumerateOutput, EnumeratePiecesInput, Header,
        PieceIndex, QueryRegistrationOutput, Reserved, Serial, SetQuotaInput,
    },
};
use sanproxy_provider::{Access, HostMemoryOptions, Quotas, RegisterOptions, UserBufferOptions};
use sanproxy_tests::{
    scene::{Scene, in_runs, scene, scene_of},
    stage::{Setting, accepted},
    wire::{ask, failures, good_register, register, statistics},
};

const MIB: u64 = 1 << 20;

const QUOTAS: Quotas = Quotas {
    bytes_per_file: 4 * MIB,
    count_per_file: 5,
    bytes_per_device: 6 * MIB,
    count_per_device: 7,
};

fn capabilities_quotas(scene: &Scene) -> Quotas {
    let told = scene.provider.capabilities().expect("capabilities");
    Quotas {
        bytes_per_file: told.bytes_per_file,
        count_per_file: told.count_per_file,
        bytes_per_device: told.bytes_per_device,
        count_per_device: told.count_per_device,
    }
}

fn registry_number(scene: &Scene, name: &str) -> Option<u64> {
    let key = scene.stage.host.hardware_key(&scene.stage.device);
    let (kind, bytes) = scene.stage.host.registry_value(&key, name)?;
    assert_eq!(kind, 11, "REG_QWORD");
    Some(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}

#[test]
fn quotas_set_are_in_force_and_in_the_registry() {
    let scene = scene();
    scene.provider.set_quotas(&QUOTAS).expect("set");
    assert_eq!(capabilities_quotas(&scene), QUOTAS);
    for (name, value) in [
        ("MaximumBytesPerFile", 4 * MIB),
        ("MaximumCountPerFile", 5),
        ("MaximumBytesPerDevice", 6 * MIB),
        ("MaximumCountPerDevice", 7),
    ] {
        assert_eq!(registry_number(&scene, name), Some(value), "{name}");
    }
    // The device's hold at once, for everybody.
    let over = scene
        .provider
        .register(&RegisterOptions::common_buffer(7 * MIB))
        .err()
        .expect("over it");
    assert_eq!(over.status(), Some(Error::DeviceQuota.status()));
    // The file's hold for files opened from now on.
    let (_, late) = scene.stage.provider().expect("a provider");
    let over = late
        .register(&RegisterOptions::common_buffer(5 * MIB))
        .err()
        .expect("over it");
    assert_eq!(over.status(), Some(Error::FileQuota.status()));
    drop(late);
    scene.finish();
}

#[test]
fn quotas_set_survive_a_restart_of_the_device() {
    let scene = scene();
    scene.provider.set_quotas(&QUOTAS).expect("set");
    accepted(scene.stage.device.query_stop()).expect("nothing is registered");
    accepted(scene.stage.device.stop()).expect("a stop");
    accepted(scene.stage.device.start()).expect("a second start");
    assert_eq!(capabilities_quotas(&scene), QUOTAS);
    scene.finish();
}

#[test]
fn quotas_that_cannot_be_written_are_as_they_were() {
    for call in 1..=4 {
        let scene = scene();
        let before = capabilities_quotas(&scene);
        let faults = scene.stage.host.faults();
        faults.fail_routine("ZwSetValueKey", call);
        let refused = scene.provider.set_quotas(&QUOTAS).expect_err("not written");
        scene.stage.host.faults().clear();
        assert_eq!(refused.status(), Some(Error::RegistryFailed.status()));
        assert_eq!(capabilities_quotas(&scene), before);
        accepted(scene.stage.device.query_stop()).expect("nothing is registered");
        accepted(scene.stage.device.stop()).expect("a stop");
        accepted(scene.stage.device.start()).expect("a second start");
        assert_eq!(capabilities_quotas(&scene), before, "call {call}");
        scene.finish();
    }
}

#[test]
fn quotas_without_a_work_item_are_as_they_were() {
    let scene = scene();
    let before = capabilities_quotas(&scene);
    let faults = scene.stage.host.faults();
    faults.fail_routine("IoAllocateWorkItem", 1);
    let refused = scene
        .provider
        .set_quotas(&QUOTAS)
        .expect_err("no work item");
    assert_eq!(faults.injected(), ["IoAllocateWorkItem"]);
    assert_eq!(refused.status(), Some(Error::NoMemory.status()));
    assert_eq!(capabilities_quotas(&scene), before);
    assert_eq!(registry_number(&scene, "MaximumCountPerFile"), None);
    scene.provider.set_quotas(&QUOTAS).expect("set");
    scene.finish();
}

#[test]
fn quotas_of_a_device_that_is_not_started_cannot_be_set() {
    let scene = scene();
    accepted(scene.stage.device.query_stop()).expect("nothing is registered");
    accepted(scene.stage.device.stop()).expect("a stop");
    let refused = scene.provider.set_quotas(&QUOTAS).expect_err("stopped");
    assert_eq!(refused.status(), Some(Error::NotStarted.status()));
    assert_eq!(registry_number(&scene, "MaximumCountPerFile"), None);
    accepted(scene.stage.device.start()).expect("a second start");
    scene.finish();
}

/// Waits until the driver waits for a thread of the system.
fn wait_for_a_work_item(scene: &Scene) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !scene.stage.host.calls().contains_key("IoQueueWorkItem") {
        assert!(Instant::now() < deadline, "no work item is queued");
        thread::yield_now();
    }
}

#[test]
fn change_of_quotas_that_waits_does_not_hold_up_a_stop() {
    let scene = scene();
    let before = capabilities_quotas(&scene);
    thread::scope(|scope| {
        let busy = scene.stage.host.busy_workers();
        let change = scope.spawn(|| scene.provider.set_quotas(&QUOTAS));
        wait_for_a_work_item(&scene);
        accepted(scene.stage.device.query_stop()).expect("nothing is registered");
        accepted(scene.stage.device.stop()).expect("a stop");
        accepted(scene.stage.device.start()).expect("a second start");
        assert_eq!(capabilities_quotas(&scene), before);
        assert!(!change.is_finished());
        drop(busy);
        change.join().expect("no panic").expect("set");
    });
    assert_eq!(capabilities_quotas(&scene), QUOTAS);
    assert_eq!(registry_number(&scene, "MaximumCountPerFile"), Some(5));
    scene.finish();
}

#[test]
fn change_of_quotas_that_waits_does_not_hold_up_a_surprise_removal() {
    let scene = scene();
    thread::scope(|scope| {
        let busy = scene.stage.host.busy_workers();
        let change = scope.spawn(|| scene.provider.set_quotas(&QUOTAS));
        wait_for_a_work_item(&scene);
        accepted(scene.stage.device.surprise_removal()).expect("removed by surprise");
        assert!(!change.is_finished());
        drop(busy);
        // The device's key is there until REMOVE, which waits for the request.
        change.join().expect("no panic").expect("set");
    });
    scene.finish();
}

/// Stops and starts the device while a change of quotas waits, which goes on at that call of the start; how many
/// calls that makes.
fn changed_at_call_of_a_start(call: u64) -> u64 {
    let scene = scene();
    let host = &scene.stage.host;
    let total = || host.calls().values().sum::<u64>();
    let changed = Arc::new(AtomicBool::new(false));
    let mut calls = 0;
    thread::scope(|scope| {
        let busy = host.busy_workers();
        let change = scope.spawn(|| {
            let outcome = scene.provider.set_quotas(&QUOTAS);
            changed.store(true, Ordering::SeqCst);
            outcome
        });
        wait_for_a_work_item(&scene);
        accepted(scene.stage.device.query_stop()).expect("nothing is registered");
        accepted(scene.stage.device.stop()).expect("a stop");
        let before = total();
        let seen = Arc::clone(&changed);
        host.at_call(call, move || {
            drop(busy);
            let deadline = Instant::now() + Duration::from_millis(40);
            // Not if the start keeps it from going on.
            while !seen.load(Ordering::SeqCst) && Instant::now() < deadline {
                thread::yield_now();
            }
        });
        accepted(scene.stage.device.start()).expect("a second start");
        calls = total() - before;
        // If the start was shorter, the next call lets it go on.
        capabilities_quotas(&scene);
        change.join().expect("no panic").expect("set");
    });
    assert_eq!(capabilities_quotas(&scene), QUOTAS, "call {call}");
    assert_eq!(registry_number(&scene, "MaximumCountPerFile"), Some(5));
    scene.finish();
    calls
}

#[test]
fn quotas_changed_at_any_point_of_a_start_are_in_force_after_it() {
    let mut call = 1;
    while call <= changed_at_call_of_a_start(call) {
        call += 1;
    }
    assert!(call > 20, "a start makes {call} calls");
}

#[test]
fn quota_out_of_its_range_is_refused_and_changes_nothing() {
    let scene = scene();
    let file = scene.provider.channel().file();
    let good = SetQuotaInput {
        header: Header::of::<SetQuotaInput>(),
        bytes_per_file: ByteCount(MIB),
        count_per_file: Count(1),
        bytes_per_device: ByteCount(MIB),
        count_per_device: Count(1),
    };
    let before = capabilities_quotas(&scene);
    for bad in [
        SetQuotaInput {
            bytes_per_file: ByteCount(u64::MAX),
            ..good
        },
        SetQuotaInput {
            count_per_file: Count((1 << 24) + 1),
            ..good
        },
        SetQuotaInput {
            bytes_per_device: ByteCount(u64::MAX),
            ..good
        },
        SetQuotaInput {
            count_per_device: Count((1 << 26) + 1),
            ..good
        },
    ] {
        let refused = ask::<_, Header>(file, ControlCode::SetQuota, &bad);
        assert_eq!(refused, Err(Error::QuotaRange.status()));
    }
    assert_eq!(capabilities_quotas(&scene), before);
    assert_eq!(failures(&statistics(file), Error::QuotaRange), 4);
    ask::<_, Header>(file, ControlCode::SetQuota, &good).expect("the good one is taken");
    scene.finish();
}

#[test]
fn setting_of_a_wrong_type_or_out_of_range_is_not_taken_as_it_is() {
    let setting = Setting::default()
        .parameter("MaximumBytesPerFile", RegistryValue::String("1".to_owned()))
        .parameter("MaximumCountPerFile", RegistryValue::Qword(u64::MAX));
    let scene = scene_of(setting);
    let quotas = capabilities_quotas(&scene);
    assert_eq!(quotas.bytes_per_file, 1 << 30, "the default");
    assert_eq!(
        quotas.count_per_file,
        1 << 24,
        "the nearest that is allowed"
    );
    scene.finish();
}

#[test]
fn who_is_no_administrator_neither_sees_nor_sets() {
    let scene = scene();
    scene.process.set_administrator(false);
    let denied = Some(Error::NotAdministrator.status());
    assert_eq!(
        scene.provider.enumerate().expect_err("denied").status(),
        denied
    );
    let refused = scene.provider.set_quotas(&QUOTAS).expect_err("denied");
    assert_eq!(refused.status(), denied);
    assert_eq!(registry_number(&scene, "MaximumCountPerFile"), None);
    let dumped = RegisterOptions::common_buffer(1).dump();
    let refused = scene.provider.register(&dumped).err().expect("denied");
    assert_eq!(refused.status(), denied);
    // He may do everything else.
    let memory = scene.provider.register(&RegisterOptions::common_buffer(1));
    drop(memory.expect("memory"));
    scene.process.set_administrator(true);
    let counted = scene.provider.statistics().expect("statistics");
    assert_eq!(counted.failures_of(Error::NotAdministrator), 3);
    scene.finish();
}

#[test]
fn enumeration_tells_owner_kind_length_and_pieces_of_every_file() {
    let scene = scene();
    let (other_process, other) = scene.stage.provider().expect("a second provider");
    let buffer = scene
        .provider
        .register(&RegisterOptions::common_buffer(MIB).map())
        .expect("memory");
    let contiguous = other
        .register(&RegisterOptions::contiguous(8192))
        .expect("memory");
    let host = other
        .register_host_memory(&HostMemoryOptions::new(2 * MIB, MIB))
        .expect("memory");
    let listed = scene.provider.enumerate().expect("an administrator");
    assert_eq!(listed.len(), 3);
    for (one, (memory, process)) in listed.iter().zip([
        (&buffer, &scene.process),
        (&contiguous, &other_process),
        (&host, &other_process),
    ]) {
        assert_eq!(one.process, process.id());
        assert_eq!(one.kind, Some(memory.kind()));
        assert_eq!(one.length, memory.length());
        assert_eq!(one.pieces as usize, memory.pieces().len());
        assert_eq!(one.device_address, memory.device_address());
        assert_eq!(one.address_kind, memory.address_kind());
    }
    assert!(listed[0].flags.contains(RegisterFlags::MAP));
    drop((buffer, contiguous, host));
    assert_eq!(scene.provider.enumerate().expect("an administrator"), []);
    drop(other);
    scene.finish();
}

#[test]
fn pieces_of_every_registration_are_told_to_administrators() {
    let scene = scene_of(in_runs(64, 64 << 10));
    let (process, other) = scene.stage.provider().expect("a second provider");
    let start = process.allocate(8192).expect("memory") + 100;
    let own = UserBufferOptions::new(start, 5000, Access::Read);
    let theirs = [
        other.register(&RegisterOptions::contiguous(8192)),
        other.register_host_memory(&HostMemoryOptions::new(40 * (64 << 10), MIB)),
        other.register_user_buffer(&own),
    ];
    let theirs = theirs.map(|memory| memory.expect("memory"));
    let listed = scene.provider.enumerate().expect("an administrator");
    for (one, memory) in listed.iter().zip(&theirs) {
        let told = scene.provider.enumerate_pieces(one.serial);
        let told = told.expect("an administrator");
        let own = memory.pieces().iter();
        let own: Vec<_> = own
            .map(|piece| (piece.device_address, piece.length))
            .collect();
        let told: Vec<_> = told
            .iter()
            .map(|piece| (piece.device_address, piece.length))
            .collect();
        assert_eq!(told, own);
    }
    // The middle one has more pieces than fit into a reply.
    assert!(listed[1].pieces > 32, "{listed:?}");
    let refusal = |serial| {
        let told = scene.provider.enumerate_pieces(serial);
        told.expect_err("nothing to tell").status()
    };
    let unknown = Some(Error::UnknownSerial.status());
    let last = listed[2].serial;
    assert_eq!(refusal(0), unknown);
    assert_eq!(refusal(last + 1), unknown);
    assert_eq!(refusal(u64::MAX), unknown);
    drop(theirs);
    assert_eq!(refusal(last), unknown, "released");
    let secured = scene.process.allocate(4096).expect("memory");
    let secured = scene.provider.secure(secured, 4096, Access::Read);
    let secured = secured.expect("secured");
    let listed = scene.provider.enumerate().expect("an administrator");
    assert_eq!(
        refusal(listed[0].serial),
        unknown,
        "no memory of the device"
    );
    scene.process.set_administrator(false);
    let denied = Some(Error::NotAdministrator.status());
    assert_eq!(refusal(listed[0].serial), denied);
    scene.process.set_administrator(true);
    drop((secured, other));
    scene.finish();
}

#[test]
fn piece_beyond_the_last_is_out_of_range() {
    let scene = scene();
    let file = scene.provider.channel().file();
    let memory = scene.provider.register(&RegisterOptions::contiguous(4096));
    let memory = memory.expect("memory");
    let serial = scene.provider.enumerate().expect("listed")[0].serial;
    let told = |first| {
        let input = EnumeratePiecesInput {
            header: Header::of::<EnumeratePiecesInput>(),
            serial: Serial(serial),
            first_piece: PieceIndex(first),
            reserved: Reserved(0),
        };
        ask::<_, QueryRegistrationOutput>(file, ControlCode::EnumeratePieces, &input)
    };
    let whole = told(0).expect("told");
    assert_eq!((whole.total.0, whole.returned.0), (1, 1));
    assert_eq!(whole.pieces[0].user_address.0, 0);
    for first in [1, 2, u32::MAX] {
        assert_eq!(told(first).err(), Some(Error::OutOfRange.status()));
    }
    drop(memory);
    scene.finish();
}

#[test]
fn enumeration_tells_of_secured_ranges() {
    let scene = scene();
    let start = scene.process.allocate(8192).expect("memory");
    let secured = scene
        .provider
        .secure(start + 100, 5000, Access::Read)
        .expect("secured");
    let listed = scene.provider.enumerate().expect("an administrator");
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].kind, listed[0].length, listed[0].pieces),
        (None, 5000, 0)
    );
    assert_eq!(listed[0].process, scene.process.id());
    let counters = scene.provider.statistics().expect("statistics");
    assert_eq!((counters.live_registrations, counters.live_bytes), (1, 0));
    let timed: u64 = counters.latencies().map(|(_, count)| count).sum();
    assert_eq!(timed, 1);
    secured.unsecure().expect("unsecured");
    assert_eq!(scene.provider.enumerate().expect("an administrator"), []);
    scene.finish();
}

/// One reply of an enumeration.
fn page(scene: &Scene, after: u64) -> EnumerateOutput {
    let input = EnumerateInput {
        header: Header::of::<EnumerateInput>(),
        after: Serial(after),
    };
    let file = scene.provider.channel().file();
    ask(file, ControlCode::Enumerate, &input).expect("an administrator")
}

#[test]
fn enumeration_lists_what_stays_exactly_once_whatever_comes_and_goes() {
    let scene = scene();
    let options = RegisterOptions::common_buffer(4096);
    let make = || scene.provider.register(&options).expect("memory");
    let mut goes: Vec<_> = (0..50).map(|_| make()).collect();
    let mut stays = Vec::new();
    for index in (0..50).rev().step_by(2) {
        stays.push(goes.remove(index));
    }
    let (mut after, mut seen) = (0, BTreeMap::new());
    loop {
        let reply = page(&scene, after);
        for one in &reply.registrations[..reply.returned.0 as usize] {
            assert!(one.serial.0 > after, "in order");
            after = one.serial.0;
            assert_eq!(seen.insert(one.serial.0, one.device_address.0), None);
        }
        assert_eq!(reply.last.0, after);
        if reply.returned.0 < 16 {
            break;
        }
        // Between two replies some go and one comes.
        goes.truncate(goes.len().saturating_sub(7));
        stays.push(make());
    }
    for memory in &stays {
        let times = seen
            .values()
            .filter(|address| **address == memory.device_address())
            .count();
        assert!(times >= 1, "{:#x} is missing", memory.device_address());
    }
    drop((goes, stays));
    scene.finish();
}

#[test]
fn enumeration_after_the_last_number_there_is_finds_nothing() {
    let scene = scene();
    let reply = page(&scene, u64::MAX);
    assert_eq!((reply.returned.0, reply.last.0), (0, u64::MAX));
    scene.finish();
}

#[test]
fn enumeration_adds_up_with_the_counters() {
    let scene = scene();
    let (_, other) = scene.stage.provider().expect("a second provider");
    let mut kept = Vec::new();
    for round in 0..40_u64 {
        let provider = if round % 3 == 0 {
            &other
        } else {
            &scene.provider
        };
        kept.push(
            provider
                .register(&RegisterOptions::new(
                    if round % 2 == 0 {
                        Kind::CommonBuffer
                    } else {
                        Kind::Contiguous
                    },
                    4096 * (1 + round % 5),
                ))
                .expect("memory"),
        );
        if round % 4 == 3 {
            kept.remove(kept.len() / 2);
        }
        let listed = scene.provider.enumerate().expect("an administrator");
        let counters = scene.provider.statistics().expect("statistics");
        assert_eq!(counters.live_registrations, listed.len() as u64);
        let bytes: u64 = listed.iter().map(|one| one.length).sum();
        assert_eq!(counters.live_bytes, bytes);
        assert_eq!(
            counters.made - counters.released,
            counters.live_registrations
        );
        let timed: u64 = counters.latencies().map(|(_, count)| count).sum();
        assert_eq!(
            timed, counters.made,
            "each registration is in the histogram"
        );
        assert!(counters.peak_bytes >= counters.live_bytes);
    }
    drop(kept);
    drop(other);
    scene.finish();
}

#[test]
fn registrations_of_a_process_that_dies_leave_the_list() {
    let scene = scene();
    let (process, file) = scene.stage.open().expect("a file");
    register(&file, &good_register()).expect("a page");
    assert_eq!(scene.provider.enumerate().expect("listed").len(), 1);
    process.exit().expect("killed");
    assert_eq!(scene.provider.enumerate().expect("listed"), []);
    drop(file);
    scene.finish();
}
