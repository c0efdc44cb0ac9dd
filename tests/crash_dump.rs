//! Crash dumps: registered memory that is to be in them is, and nothing else.
//!
//! Cites storport-map.md: S22; ddi.md section 9; verifier-rules.md: V298, V310.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    time::Duration,
};

use nt_host::CrashDump;
use sanproxy_abi::RegisterFlags;
use sanproxy_provider::{HostMemoryOptions, RegisterOptions, Registration};
use sanproxy_tests::{
    channel::HostChannel,
    scene::{Scene, scene},
};

const CODE: u32 = 0xE2;

/// Leaves memory registered: who drops a registration asks the driver, and that is gone after a crash.
fn leave(memory: Registration<HostChannel>) {
    let _ = memory.into_handle();
}

/// Stops the system; the judge must have found nothing, at `HIGH_LEVEL` either.
fn crash(scene: &Scene) -> CrashDump {
    let dump = scene.stage.host.crash(CODE).expect("the callbacks survive");
    let report = scene.stage.host.report();
    assert!(report.is_clean(), "{report}");
    dump
}

fn bytes(dump: &CrashDump) -> Vec<u8> {
    dump.ranges
        .iter()
        .flat_map(|range| range.bytes.clone())
        .collect()
}

#[test]
fn memory_flagged_for_dumps_is_in_the_dump_byte_for_byte() {
    let scene = scene();
    let options = RegisterOptions::common_buffer(8192).map().dump();
    let memory = scene.provider.register(&options).expect("memory");
    memory
        .write_at(5000, b"what the device was told")
        .expect("mapped");
    leave(memory);
    let dump = crash(&scene);
    assert_eq!(dump.ranges.len(), 1);
    assert_eq!(dump.ranges[0].component, "sanproxy");
    assert_eq!(dump.ranges[0].bytes.len(), 8192);
    assert_eq!(
        &dump.ranges[0].bytes[5000..5024],
        b"what the device was told"
    );
}

#[test]
fn memory_without_the_flag_is_not_in_the_dump() {
    let scene = scene();
    let options = RegisterOptions::common_buffer(4096).map();
    leave(scene.provider.register(&options).expect("memory"));
    assert_eq!(crash(&scene), CrashDump::default());
}

#[test]
fn released_memory_is_not_in_the_dump() {
    let scene = scene();
    let options = RegisterOptions::contiguous(4096).dump();
    let gone = scene.provider.register(&options).expect("memory");
    let stays = RegisterOptions::contiguous(12288).map().dump();
    let stays = scene.provider.register(&stays).expect("memory");
    stays.write_at(0, &[0x3C; 12288]).expect("mapped");
    gone.release().expect("released");
    leave(stays);
    assert_eq!(bytes(&crash(&scene)), [0x3C; 12288]);
}

#[test]
fn every_piece_of_every_registration_is_in_the_dump() {
    let scene = scene();
    // More ranges than a block of the table holds, some of them given back and used again.
    let page = RegisterOptions::common_buffer(4096).map().dump();
    let mut kept: Vec<_> = (0..150)
        .map(|_| scene.provider.register(&page).expect("memory"))
        .collect();
    kept.drain(20..90);
    kept.extend((0..30).map(|_| scene.provider.register(&page).expect("memory")));
    for (number, memory) in (1_u8..).zip(&kept) {
        memory.write_at(0, &[number; 4096]).expect("mapped");
    }
    let host = HostMemoryOptions::new(1 << 20, 4096).dump();
    let host = scene.provider.register_host_memory(&host).expect("memory");
    assert!(
        host.query()
            .expect("known")
            .flags
            .contains(RegisterFlags::DUMP)
    );
    leave(host);
    kept.into_iter().for_each(leave);
    let dump = crash(&scene);
    let mut numbers: Vec<u8> = dump
        .ranges
        .iter()
        .filter(|range| range.bytes.len() == 4096)
        .map(|range| range.bytes[7])
        .collect();
    numbers.sort_unstable();
    let all: Vec<u8> = (1..=110).collect();
    assert_eq!(numbers, all);
    assert_eq!(bytes(&dump).len(), 110 * 4096 + (1 << 20));
}

#[test]
fn dump_flag_without_a_crash_leaves_nothing() {
    let scene = scene();
    for _ in 0..3 {
        let options = RegisterOptions::common_buffer(4096).dump();
        let memory = scene.provider.register(&options).expect("memory");
        let more = scene.provider.register(&options).expect("memory");
        drop(memory);
        drop(more);
    }
    scene.finish();
}

#[test]
fn dump_taken_in_the_middle_of_a_registration_is_sound() {
    // At each call that a registration makes of the system, the system stops.
    for call in 1..60 {
        let scene = scene();
        let options = RegisterOptions::common_buffer(4096).dump();
        let first = scene.provider.register(&options).expect("memory");
        leave(first);
        let host = scene.stage.host.clone();
        let (sender, dumps) = mpsc::channel();
        scene.stage.host.at_call(call, move || {
            let _ = sender.send(host.crash(CODE));
        });
        // The request of a system that has stopped does not come back.
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            scene.provider.register(&options).map(leave)
        }));
        let Ok(dump) = dumps.recv_timeout(Duration::from_secs(2)) else {
            // A registration makes fewer calls than that.
            assert!(call > 10 && matches!(outcome, Ok(Ok(()))), "call {call}");
            return;
        };
        let dump = dump.expect("the callbacks survive");
        assert!(
            (1..=2).contains(&dump.ranges.len()),
            "call {call}: {dump:?}"
        );
        let report = scene.stage.host.report();
        assert!(
            !report.to_string().contains("V310"),
            "call {call}: {report}"
        );
    }
}
