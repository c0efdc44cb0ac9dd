//! A program may suspend its threads at any point, also inside of the driver: nobody else waits for them.
//!
//! Cites security.md: C30, C31, C35; io-pnp-rules.md sections 2-5.

use std::{
    thread,
    time::{Duration, Instant},
};

use nt_host::{Control, Process, RegistryValue, Suspension};
use sanproxy_abi::{
    ControlCode, RegisterFlags,
    wire::{ByteCount, Count, EventsOutput, Flags, Header, SetQuotaInput},
};
use sanproxy_tests::{
    stage::{INTERFACE, Setting, Stage, accepted},
    wire::{ask, good_register, register, release},
};
use zerocopy::IntoBytes;

/// As for interruptions: every so many calls, with no factor in common with the length of a request.
const STEP: usize = 5;

/// Opens the device, waits for events and cancels that, registers, releases, leaves something registered,
/// sets the quotas, closes.
fn use_device(process: &Process) {
    let Ok(file) = process.open(&INTERFACE) else {
        return;
    };
    let header = Header::of::<Header>();
    let wait = Control::new(
        ControlCode::WaitEvent.value(),
        header.as_bytes(),
        size_of::<EventsOutput>(),
    );
    if let Ok(waiting) = file.begin(&wait) {
        drop(waiting.cancel());
    }
    let mut input = good_register();
    input.flags = Flags(RegisterFlags::MAP.bits());
    if let Ok(made) = register(&file, &input) {
        let _ = release(&file, made.handle);
    }
    let _ = register(&file, &input);
    let quotas = SetQuotaInput {
        header: Header::of::<SetQuotaInput>(),
        bytes_per_file: ByteCount(1 << 30),
        count_per_file: Count(100),
        bytes_per_device: ByteCount(1 << 30),
        count_per_device: Count(100),
    };
    let _ = ask::<_, Header>(&file, ControlCode::SetQuota, &quotas);
    let _ = file.write(b"nobody is connected", 0);
    drop(file);
}

fn started() -> Stage {
    Setting::default()
        // Each page comes from the system: more calls to be suspended at.
        .parameter("ReserveBytes", RegistryValue::Dword(0))
        .started()
        .expect("the device starts")
}

/// How many calls the driver makes for it.
fn calls() -> u64 {
    let stage = started();
    let process = stage
        .host
        .create_process("provider.exe")
        .expect("a process");
    let total = || stage.host.calls().values().sum::<u64>();
    let before = total();
    use_device(&process);
    let calls = total() - before;
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
    calls
}

/// Waits until the thread stands still or has come to its end.
fn wait(suspension: &Suspension, user: &thread::ScopedJoinHandle<'_, ()>) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !suspension.is_stopped() && !user.is_finished() {
        assert!(
            Instant::now() < limit,
            "the thread does neither stop nor end"
        );
        thread::yield_now();
    }
}

/// Suspends a thread at every so many calls, and has `work` done while it stands still; how often it did.
fn suspended_at_any_call(work: impl Fn(&Stage)) -> u32 {
    let mut stopped = 0;
    for call in (1..=calls()).step_by(STEP) {
        let stage = started();
        let process = stage
            .host
            .create_process("provider.exe")
            .expect("a process");
        thread::scope(|scope| {
            let suspension = stage.host.suspend_at_call(call);
            let user = scope.spawn(|| use_device(&process));
            wait(&suspension, &user);
            if suspension.is_stopped() {
                stopped += 1;
                work(&stage);
            }
            suspension.resume();
        });
        process.exit().expect("the process ends");
        // After a surprise removal this only tells how the removal ended.
        let report = stage.finish().expect("the driver unloads");
        assert!(report.is_clean(), "call {call}: {report}");
    }
    stopped
}

#[test]
fn suspended_thread_does_not_hold_up_a_surprise_removal() {
    let stopped = suspended_at_any_call(|stage| {
        accepted(stage.device.surprise_removal()).expect("removed by surprise");
    });
    assert!(stopped > 3, "{stopped}");
}

#[test]
fn suspended_thread_does_not_hold_up_a_stop() {
    let stopped = suspended_at_any_call(|stage| {
        // Refused while something is registered.
        if accepted(stage.device.query_stop()).is_ok() {
            accepted(stage.device.stop()).expect("stopped");
            accepted(stage.device.start()).expect("started again");
        }
    });
    assert!(stopped > 3, "{stopped}");
}

#[test]
fn suspended_thread_does_not_hold_up_another_program() {
    let stopped = suspended_at_any_call(|stage| {
        let (process, file) = stage.open().expect("a file");
        let made = register(&file, &good_register()).expect("a page");
        release(&file, made.handle).expect("released");
        drop(file);
        process.exit().expect("ended");
    });
    assert!(stopped > 3, "{stopped}");
}
