//! The provider library's own ways to events and messages, on the shipped driver: endpoints, waiting, and not waiting.
//!
//! Cites san.md: R58, R74, R76; storport-map.md: S13-S16, S19, S23.

use std::{
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use nt_host::RegistryValue;
use sanproxy_abi::MESSAGES_PER_QUEUE;
use sanproxy_provider::{
    ConnectionState, EndpointId, Error, EventKind, Events, LONGEST_MESSAGE, Provider,
    RegisterOptions, Status,
};
use sanproxy_tests::{
    channel::HostChannel,
    stage::{Setting, Stage, accepted},
};

type HostProvider = Provider<HostChannel>;

const LIMIT: Duration = Duration::from_secs(20);

fn started() -> Stage {
    Setting::default().started().expect("the device starts")
}

fn assert_clean(stage: Stage) {
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

fn provider(stage: &Stage) -> HostProvider {
    stage.provider().expect("a provider").1
}

/// Two connected providers.
fn pair(stage: &Stage) -> (HostProvider, HostProvider) {
    let (one, other) = (provider(stage), provider(stage));
    let theirs = other.endpoint().expect("an endpoint").own;
    let own = one.connect(theirs).expect("named").own;
    other.connect(own).expect("connected");
    // The first one is told of it; what comes later is what a test looks at.
    one.wait_event().expect("connected");
    (one, other)
}

/// Cancels what a thread waits for, until it has ended: it may not have begun to wait yet.
fn cancelled<T>(provider: &HostProvider, thread: ScopedJoinHandle<'_, T>) -> T {
    let begin = Instant::now();
    while !thread.is_finished() {
        assert!(begin.elapsed() < LIMIT, "it cannot be cancelled");
        provider.cancel();
        thread::sleep(Duration::from_millis(1));
    }
    thread.join().expect("it ends")
}

fn told(events: &Events) -> Vec<(EventKind, u64)> {
    events.iter().collect()
}

#[test]
fn cancel_ends_a_wait_for_events_and_the_next_one_works() {
    let stage = started();
    let provider = provider(&stage);
    let refused = thread::scope(|scope| {
        let waiting = scope.spawn(|| provider.wait_event());
        cancelled(&provider, waiting)
    });
    let status = refused.map(|_| ()).map_err(|error| error.status());
    assert_eq!(status, Err(Some(Status::CANCELLED)));
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.stop()).expect("a stop");
    accepted(stage.device.start()).expect("a start");
    let events = provider.wait_event().expect("both");
    assert_eq!(
        told(&events),
        [(EventKind::DeviceStopped, 1), (EventKind::DeviceStarted, 1)]
    );
    drop(provider);
    assert_clean(stage);
}

#[test]
fn cancel_ends_sends_receives_and_exchanges_that_wait() {
    let stage = started();
    let (one, other) = pair(&stage);
    let message = Err(Error::Message {
        status: Status::CANCELLED,
    });
    thread::scope(|scope| {
        let receiving = scope.spawn(|| one.receive(&mut [0; 8]));
        assert_eq!(cancelled(&one, receiving), message);
        let exchanging = scope.spawn(|| one.exchange(b"one", &mut [0; 8]));
        assert_eq!(other.receive(&mut [0; 8]), Ok(3), "it is sent first");
        let ended = cancelled(&one, exchanging);
        let status = ended.map_err(|error| error.status());
        assert_eq!(status, Err(Some(Status::CANCELLED)));
    });
    let room = &mut [0; 8];
    for number in 0..MESSAGES_PER_QUEUE {
        one.send(&number.to_le_bytes()).expect("there is room");
    }
    thread::scope(|scope| {
        let sending = scope.spawn(|| one.send(b"too many"));
        assert_eq!(cancelled(&one, sending).map(|()| 0), message);
    });
    for number in 0..MESSAGES_PER_QUEUE {
        assert_eq!(other.receive(room), Ok(4));
        assert_eq!(room[..4], number.to_le_bytes());
    }
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn cancel_with_nothing_under_way_cancels_nothing() {
    let stage = started();
    let (one, other) = pair(&stage);
    one.cancel();
    one.send(b"hello").expect("sent");
    assert_eq!(other.receive(&mut [0; 8]), Ok(5));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn cancel_of_one_file_leaves_what_another_one_waits_for() {
    let stage = started();
    let (one, other) = pair(&stage);
    thread::scope(|scope| {
        let theirs = scope.spawn(|| other.receive(&mut [0; 8]));
        let ours = scope.spawn(|| one.receive(&mut [0; 8]));
        assert!(cancelled(&one, ours).is_err());
        one.send(b"hello").expect("sent");
        assert_eq!(theirs.join().expect("it ends"), Ok(5));
    });
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn try_exchange_with_room_sends_and_receives() {
    let stage = started();
    let (one, other) = pair(&stage);
    thread::scope(|scope| {
        let answer = scope.spawn(|| {
            let mut room = [0; 32];
            let length = other.receive(&mut room)?;
            room[..length].reverse();
            other.send(&room[..length])
        });
        let mut room = [0; 32];
        assert_eq!(one.try_exchange(b"live", &mut room), Ok(4));
        assert_eq!(room[..4], *b"evil");
        assert_eq!(answer.join().expect("it ends"), Ok(()));
    });
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn try_exchange_with_a_full_queue_is_refused_at_once_and_sends_nothing() {
    let stage = started();
    let (one, other) = pair(&stage);
    for _ in 0..MESSAGES_PER_QUEUE {
        one.send(b"x").expect("there is room");
    }
    let refused = one.try_exchange(b"too many", &mut [0; 8]);
    let status = refused.map_err(|error| error.status());
    assert_eq!(status, Err(Some(Status::DEVICE_BUSY)));
    for _ in 0..MESSAGES_PER_QUEUE {
        assert_eq!(other.receive(&mut [0; 8]), Ok(1));
    }
    other.send(b"answer").expect("sent");
    assert_eq!(one.try_exchange(b"now", &mut [0; 8]), Ok(6));
    assert_eq!(other.receive(&mut [0; 8]), Ok(3), "nothing in between");
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn exchange_of_nothing_or_of_too_much_names_the_cause() {
    let stage = started();
    let (one, other) = pair(&stage);
    let long = vec![0; LONGEST_MESSAGE + 1];
    for message in [&b""[..], &long] {
        let refused = one.exchange(message, &mut [0; 8]).expect_err("refused");
        assert_eq!(refused.status(), Some(Status::INVALID_PARAMETER));
        assert!(refused.to_string().contains("64 KiB"), "{refused}");
    }
    let longest = vec![7; LONGEST_MESSAGE];
    one.send(&longest).expect("sent");
    let short = other.receive(&mut [0; 8]).expect_err("too little room");
    assert_eq!(short.status(), Some(Status::BUFFER_TOO_SMALL));
    let mut room = vec![0; LONGEST_MESSAGE];
    assert_eq!(other.receive(&mut room), Ok(LONGEST_MESSAGE), "it was kept");
    assert_eq!(room, longest);
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn endpoint_goes_from_idle_over_waiting_to_connected_and_back() {
    let stage = started();
    let (one, other) = (provider(&stage), provider(&stage));
    let (own, theirs) = (one.endpoint(), other.endpoint());
    let (own, theirs) = (own.expect("an endpoint"), theirs.expect("an endpoint"));
    assert_eq!(own.state, ConnectionState::Idle);
    assert_ne!(own.own, theirs.own);
    let waiting = one.connect(theirs.own).expect("named");
    assert_eq!(waiting.state, ConnectionState::Waiting);
    let connected = other.connect(own.own).expect("named");
    assert_eq!(connected.state, ConnectionState::Connected);
    let events = one.wait_event().expect("told");
    assert_eq!(told(&events), [(EventKind::Connected, 1)]);
    other.disconnect().expect("it was connected");
    let events = one.wait_event().expect("told");
    assert_eq!(told(&events), [(EventKind::Disconnected, 1)]);
    assert_eq!(
        (events.count(EventKind::Connected), events.coalesced),
        (0, 0)
    );
    let lost = one.send(b"x").expect_err("nobody is there");
    assert_eq!(lost.status(), Some(Status::CONNECTION_DISCONNECTED));
    one.disconnect().expect("it takes note of the end");
    assert_eq!(
        one.endpoint().expect("an endpoint").state,
        ConnectionState::Idle
    );
    let none = other.disconnect().expect_err("it has ended already");
    assert_eq!(none.status(), Some(Status::CONNECTION_INVALID));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn endpoint_that_nobody_has_is_refused_with_its_status() {
    let stage = started();
    let provider = provider(&stage);
    let own = provider.endpoint().expect("an endpoint").own;
    for nobody in [own, EndpointId(own.0 + 100), EndpointId(u64::MAX)] {
        let refused = provider.connect(nobody).expect_err("nobody");
        assert_eq!(refused.status(), Some(Status::NOT_FOUND));
    }
    drop(provider);
    assert_clean(stage);
}

#[test]
fn second_wait_for_events_is_refused_while_the_first_goes_on() {
    let stage = started();
    let provider = provider(&stage);
    thread::scope(|scope| {
        let first = scope.spawn(|| provider.wait_event());
        let begin = Instant::now();
        // The first may not have begun to wait; then this one waits in its place, so it is ended.
        let second = scope.spawn(|| provider.wait_event());
        while !first.is_finished() && !second.is_finished() {
            assert!(begin.elapsed() < LIMIT, "two wait at once");
            thread::sleep(Duration::from_millis(1));
        }
        accepted(stage.device.query_stop()).expect("nothing is registered");
        accepted(stage.device.stop()).expect("a stop");
        let ended = [first, second].map(|thread| thread.join().expect("it ends"));
        let refused = ended.iter().filter(|result| {
            let status = result.as_ref().err().and_then(Error::status);
            status == Some(Status::DEVICE_BUSY)
        });
        assert_eq!(refused.count(), 1);
        let events = ended.into_iter().find_map(Result::ok).expect("an event");
        assert_eq!(told(&events), [(EventKind::DeviceStopped, 1)]);
    });
    accepted(stage.device.start()).expect("a start");
    drop(provider);
    assert_clean(stage);
}

#[test]
fn nearly_used_quota_is_told_once_with_its_kind() {
    let setting = Setting::default().parameter("MaximumCountPerFile", RegistryValue::Dword(10));
    let stage = setting.started().expect("the device starts");
    let provider = provider(&stage);
    let page = || {
        let made = provider.register(&RegisterOptions::common_buffer(4096));
        made.expect("within the quota")
    };
    let mut held: Vec<_> = (0..9).map(|_| page()).collect();
    let events = provider.wait_event().expect("a warning");
    assert_eq!(told(&events), [(EventKind::FileQuota, 1)]);
    held.push(page());
    let refused = thread::scope(|scope| {
        let waiting = scope.spawn(|| provider.wait_event());
        cancelled(&provider, waiting)
    });
    assert!(refused.is_err(), "told once: {refused:?}");
    drop((held, provider));
    assert_clean(stage);
}

#[test]
fn removal_tells_how_much_is_gone_and_then_that_nothing_more_comes() {
    let stage = started();
    let provider = provider(&stage);
    let held: Vec<_> = (0..3)
        .map(|_| provider.register(&RegisterOptions::common_buffer(4096)))
        .collect();
    accepted(stage.device.surprise_removal()).expect("the device is gone");
    let events = provider.wait_event().expect("events");
    assert_eq!(
        told(&events),
        [(EventKind::Invalidated, 3), (EventKind::DeviceRemoved, 1)]
    );
    let end = provider.wait_event().expect_err("the end");
    assert_eq!(end.status(), Some(Status::DELETE_PENDING));
    drop((held, provider));
    assert_clean(stage);
}
