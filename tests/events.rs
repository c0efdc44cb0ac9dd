//! Events: one request that waits per file; nothing is lost, told twice, or left behind.
//!
//! Cites san.md: R54, R58; security.md: C28-C31; verifier-rules.md: V236, V237, V267, V284.

use std::time::Duration;

use nt_host::{Control, File, IoResult, NtStatus, Pending, RegistryValue};
use sanproxy_abi::{
    ControlCode, Error, EventKind, Status,
    wire::{EventsOutput, Header, Message},
};
use sanproxy_tests::{
    stage::{INTERFACE, Setting, Stage, accepted},
    wire::{good_register, register, release, send},
};
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(20);

fn started() -> Stage {
    Setting::default().started().expect("the device starts")
}

fn assert_clean(stage: Stage) {
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

/// Sends a request for events; it may be pending afterwards.
fn begin(file: &File) -> Pending {
    let header = Header::of::<Header>();
    let control = Control::new(
        ControlCode::WaitEvent.value(),
        header.as_bytes(),
        size_of::<EventsOutput>(),
    );
    file.begin(&control).expect("the driver comes back")
}

fn status(result: IoResult) -> Status {
    Status(result.status.0)
}

/// The events of a request that has ended, or will.
fn events(pending: Pending) -> Result<EventsOutput, Status> {
    let mut output = vec![0; size_of::<EventsOutput>()];
    let result = pending.finish(&mut output).expect("it ends");
    if !status(result).is_success() {
        assert_eq!(result.information, 0, "an error carries no bytes");
        return Err(status(result));
    }
    assert_eq!(result.information, output.len() as u64);
    Ok(EventsOutput::parse(&output).expect("a sound reply"))
}

/// The counts of some events, by kind.
fn counts(events: &EventsOutput) -> Vec<(EventKind, u64)> {
    EventKind::ALL
        .iter()
        .map(|kind| (*kind, events.counts[kind.index() as usize].0))
        .filter(|(kind, count)| {
            assert_eq!(*count > 0, events.kinds.0 & kind.value() != 0, "{kind:?}");
            *count > 0
        })
        .collect()
}

/// Stops the device and starts it again.
fn restart(stage: &Stage) {
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.stop()).expect("a stop");
    accepted(stage.device.start()).expect("a second start");
}

#[test]
fn wait_without_an_event_is_pending_and_its_cancellation_ends_it() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let pending = begin(&file);
    assert_eq!(pending.result(), None);
    assert!(
        pending.cancel().expect("the driver survives"),
        "it has a cancel routine"
    );
    assert_eq!(events(pending), Err(Status::CANCELLED));
    drop(file);
    assert_clean(stage);
}

#[test]
fn second_wait_of_a_file_is_refused_and_the_first_goes_on() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let first = begin(&file);
    assert_eq!(events(begin(&file)), Err(Error::WaitPending.status()));
    assert_eq!(first.result(), None);
    first.cancel().expect("the driver survives");
    assert_eq!(events(first), Err(Status::CANCELLED));
    let third = begin(&file);
    assert_eq!(third.result(), None, "there is room for one again");
    drop(file);
    assert_eq!(events(third), Err(Status::CANCELLED));
    assert_clean(stage);
}

#[test]
fn wait_of_another_file_is_its_own() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let other = process.open(&INTERFACE).expect("another file");
    let (first, second) = (begin(&file), begin(&other));
    assert_eq!((first.result(), second.result()), (None, None));
    drop(file);
    assert_eq!(events(first), Err(Status::CANCELLED));
    assert_eq!(second.result(), None);
    drop(other);
    assert_eq!(events(second), Err(Status::CANCELLED));
    assert_clean(stage);
}

#[test]
fn stop_and_start_complete_a_wait_each() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let first = begin(&file);
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.stop()).expect("a stop");
    let told = events(first).expect("an event");
    assert_eq!(counts(&told), [(EventKind::DeviceStopped, 1)]);
    let second = begin(&file);
    assert_eq!(second.result(), None, "a stopped device can be waited for");
    accepted(stage.device.start()).expect("a second start");
    let told = events(second).expect("an event");
    assert_eq!(counts(&told), [(EventKind::DeviceStarted, 1)]);
    drop(file);
    assert_clean(stage);
}

#[test]
fn events_that_nobody_waits_for_are_kept_counted_and_told_once() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    for _ in 0..3 {
        restart(&stage);
    }
    let told = events(begin(&file)).expect("events");
    assert_eq!(
        counts(&told),
        [(EventKind::DeviceStopped, 3), (EventKind::DeviceStarted, 3)]
    );
    assert_eq!(told.coalesced.0, 4, "two of each kind came on top of one");
    assert_eq!(begin(&file).result(), None, "told once");
    drop(file);
    assert_clean(stage);
}

#[test]
fn surprise_removal_tells_the_waiting_reader_and_then_refuses() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    for _ in 0..3 {
        register(&file, &good_register()).expect("a page");
    }
    let pending = begin(&file);
    accepted(stage.device.surprise_removal()).expect("the device is gone");
    let told = events(pending).expect("events");
    assert_eq!(
        counts(&told),
        [(EventKind::Invalidated, 3), (EventKind::DeviceRemoved, 1)]
    );
    assert_eq!(events(begin(&file)), Err(Error::Removed.status()));
    drop(file);
    assert_clean(stage);
}

#[test]
fn removal_that_came_while_nobody_waited_is_told_first() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    accepted(stage.device.surprise_removal()).expect("the device is gone");
    let told = events(begin(&file)).expect("an event");
    assert_eq!(counts(&told), [(EventKind::DeviceRemoved, 1)]);
    assert_eq!(events(begin(&file)), Err(Error::Removed.status()));
    drop(file);
    assert_clean(stage);
}

#[test]
fn removal_with_a_wait_pending_ends_it() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let pending = begin(&file);
    accepted(stage.device.surprise_removal()).expect("the device is gone");
    let told = events(pending).expect("an event");
    assert_eq!(counts(&told), [(EventKind::DeviceRemoved, 1)]);
    drop(file);
    assert_clean(stage);
}

#[test]
fn exit_of_the_waiting_thread_cancels_the_wait() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let thread = process.create_thread().expect("a thread");
    let pending = thread.run(|| begin(&file));
    assert_eq!(pending.result(), None);
    thread.exit().expect("the driver survives");
    assert_eq!(events(pending), Err(Status::CANCELLED));
    drop(file);
    assert_clean(stage);
}

#[test]
fn exit_of_another_thread_leaves_the_wait() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let thread = process.create_thread().expect("a thread");
    let pending = begin(&file);
    thread.exit().expect("the driver survives");
    assert_eq!(pending.result(), None);
    drop(file);
    assert_eq!(events(pending), Err(Status::CANCELLED));
    assert_clean(stage);
}

#[test]
fn exit_of_the_process_cancels_the_wait_and_a_duplicate_can_wait_again() {
    let stage = started();
    let (process, file) = stage.open().expect("a file");
    let heir = stage.host.create_process("heir.exe").expect("a process");
    let duplicate = file.duplicate(&heir).expect("a duplicate");
    let pending = begin(&file);
    process.exit().expect("killed");
    assert_eq!(events(pending), Err(Status::CANCELLED));
    let again = begin(&duplicate);
    assert_eq!(again.result(), None);
    drop((file, duplicate));
    assert_eq!(events(again), Err(Status::CANCELLED));
    assert_clean(stage);
}

#[test]
fn wait_through_a_duplicate_survives_the_close_of_the_other_handle() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let heir = stage.host.create_process("heir.exe").expect("a process");
    let duplicate = file.duplicate(&heir).expect("a duplicate");
    let pending = begin(&duplicate);
    drop(file);
    assert_eq!(pending.result(), None);
    restart(&stage);
    let told = events(pending).expect("an event");
    assert_eq!(counts(&told), [(EventKind::DeviceStopped, 1)]);
    drop(duplicate);
    assert_clean(stage);
}

#[test]
fn file_that_comes_to_nine_tenths_of_its_quota_is_warned_each_time() {
    let stage = Setting::default()
        .parameter("MaximumCountPerFile", RegistryValue::Dword(10))
        .started()
        .expect("the device starts");
    let (_, file) = stage.open().expect("a file");
    let pending = begin(&file);
    let mut made = Vec::new();
    for _ in 0..8 {
        made.push(register(&file, &good_register()).expect("a page").handle);
    }
    assert_eq!(pending.result(), None, "eight of ten are not near yet");
    made.push(register(&file, &good_register()).expect("a page").handle);
    let told = events(pending).expect("an event");
    assert_eq!(counts(&told), [(EventKind::FileQuota, 1)]);
    let pending = begin(&file);
    made.push(register(&file, &good_register()).expect("a page").handle);
    assert_eq!(pending.result(), None, "it was near before");
    for handle in made.drain(..2) {
        release(&file, handle).expect("released");
    }
    register(&file, &good_register()).expect("a page");
    let told = events(pending).expect("an event");
    assert_eq!(counts(&told), [(EventKind::FileQuota, 1)]);
    drop(file);
    assert_clean(stage);
}

#[test]
fn every_file_is_warned_of_the_quota_of_the_device() {
    let stage = Setting::default()
        .parameter("MaximumCountPerDevice", RegistryValue::Dword(10))
        .started()
        .expect("the device starts");
    let (process, file) = stage.open().expect("a file");
    let other = process.open(&INTERFACE).expect("another file");
    let pending = begin(&other);
    for _ in 0..9 {
        register(&file, &good_register()).expect("a page");
    }
    let told = events(pending).expect("an event");
    assert_eq!(counts(&told), [(EventKind::DeviceQuota, 1)]);
    let told = events(begin(&file)).expect("an event");
    assert_eq!(counts(&told), [(EventKind::DeviceQuota, 1)]);
    drop((file, other));
    assert_clean(stage);
}

#[test]
fn wait_with_wrong_lengths_is_refused() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let code = ControlCode::WaitEvent.value();
    let header = Header::of::<Header>();
    for (input, output) in [(0, 88), (7, 88), (9, 88), (8, 0), (8, 87), (8, 89)] {
        let bytes = vec![0; input];
        let bytes = if input == 8 {
            header.as_bytes()
        } else {
            &bytes
        };
        let reply = send(&file, code, bytes, output);
        assert_eq!(
            reply.status,
            Status::INFO_LENGTH_MISMATCH,
            "{input} {output}"
        );
    }
    drop(file);
    assert_clean(stage);
}

/// Every restart is told as one stop and one start, however reading and cancelling race with it.
#[test]
fn racing_cancellations_lose_and_repeat_no_event() {
    const RESTARTS: u64 = 200;
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let (mut stops, mut starts) = (0, 0);
    let mut add = |told: &EventsOutput| {
        for (kind, count) in counts(told) {
            match kind {
                EventKind::DeviceStopped => stops += count,
                EventKind::DeviceStarted => starts += count,
                other => panic!("{other:?} did not happen"),
            }
        }
    };
    std::thread::scope(|scope| {
        let restarts = scope.spawn(|| (0..RESTARTS).for_each(|_| restart(&stage)));
        while !restarts.is_finished() {
            let pending = begin(&file);
            std::thread::yield_now();
            pending.cancel().expect("the driver survives");
            match events(pending) {
                Ok(told) => add(&told),
                Err(refused) => assert_eq!(refused, Status::CANCELLED),
            }
        }
    });
    let last = begin(&file);
    last.cancel().expect("the driver survives");
    if let Ok(told) = events(last) {
        add(&told);
    }
    assert_eq!((stops, starts), (RESTARTS, RESTARTS));
    drop(file);
    assert_clean(stage);
}

#[test]
fn racing_closes_and_cancellations_end_every_wait() {
    let stage = started();
    let process = stage.host.create_process("racer.exe").expect("a process");
    for _ in 0..200 {
        let file = process.open(&INTERFACE).expect("a file");
        let pending = begin(&file);
        std::thread::scope(|scope| {
            scope.spawn(|| pending.cancel().expect("the driver survives"));
            scope.spawn(move || drop(file));
        });
        let result = pending.wait(LIMIT).expect("it ends");
        assert_eq!(result.status, NtStatus(Status::CANCELLED.0));
    }
    assert_clean(stage);
}
