//! Messages between two files: whole, once, in order; bounded, with back-pressure; never to a third one.
//!
//! Cites san.md: R58, R74; security.md: C05, C20, C28-C31; storport-map.md: S13-S16, S19, S23.

use std::time::Duration;

use nt_host::{Control, File, IoResult, Pending, Process, RegistryValue};
use sanproxy_abi::{
    ConnectionState, ControlCode, EXCHANGE_MESSAGE_OFFSET, Error, EventKind, LONGEST_MESSAGE,
    MESSAGES_PER_QUEUE, Status, WAITING_REQUESTS,
    wire::{
        ConnectInput, ConnectOutput, EndpointId, EventsOutput, ExchangeInput, Flags, Header,
        Message, Reserved,
    },
};
use sanproxy_tests::{
    stage::{INTERFACE, Setting, Stage, accepted},
    wire::{ask, failures, good_register, register, release, statistics},
};
use zerocopy::IntoBytes;

const DEPTH: u32 = MESSAGES_PER_QUEUE;
const LIMIT: Duration = Duration::from_secs(20);

fn started() -> Stage {
    Setting::default().started().expect("the device starts")
}

fn assert_clean(stage: Stage) {
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

fn connect_to(file: &File, endpoint: EndpointId) -> Result<ConnectOutput, Status> {
    let header = Header::of::<ConnectInput>();
    let input = ConnectInput { header, endpoint };
    ask(file, ControlCode::Connect, &input)
}

fn endpoint_of(file: &File) -> EndpointId {
    connect_to(file, EndpointId(0)).expect("a number").own
}

fn state_of(file: &File) -> u32 {
    let reply = connect_to(file, EndpointId(0)).expect("a state");
    reply.state.0
}

fn connect(one: &File, other: &File) {
    let first = connect_to(one, endpoint_of(other)).expect("named");
    assert_eq!(first.state.0, ConnectionState::Waiting.value());
    let second = connect_to(other, endpoint_of(one)).expect("connected");
    assert_eq!(second.state.0, ConnectionState::Connected.value());
}

fn disconnect(file: &File) -> Result<(), Status> {
    ask::<_, Header>(file, ControlCode::Disconnect, &Header::of::<Header>()).map(drop)
}

/// Two connected files of two processes.
fn pair(stage: &Stage) -> (File, File) {
    let (_, one) = stage.open().expect("a file");
    let (_, other) = stage.open().expect("another file");
    connect(&one, &other);
    (one, other)
}

fn outcome(result: IoResult) -> Result<usize, Status> {
    let status = Status(result.status.0);
    if status.is_success() {
        return Ok(usize::try_from(result.information).expect("a length"));
    }
    assert_eq!(result.information, 0, "an error carries no bytes");
    Err(status)
}

fn begin_send(file: &File, message: &[u8]) -> Pending {
    file.begin_write(message, 0).expect("the driver comes back")
}

fn begin_receive(file: &File, room: usize) -> Pending {
    file.begin_read(room, 0).expect("the driver comes back")
}

fn sent(pending: Pending) -> Result<usize, Status> {
    outcome(pending.finish(&mut []).expect("it ends"))
}

fn received(pending: Pending, room: usize) -> Result<Vec<u8>, Status> {
    let mut bytes = vec![0; room];
    let result = pending.finish(&mut bytes).expect("it ends");
    bytes.truncate(outcome(result)?);
    Ok(bytes)
}

fn send(file: &File, message: &[u8]) -> Result<usize, Status> {
    sent(begin_send(file, message))
}

fn receive(file: &File, room: usize) -> Result<Vec<u8>, Status> {
    received(begin_receive(file, room), room)
}

fn exchange_input(flags: u32, message: &[u8]) -> Vec<u8> {
    let start = ExchangeInput {
        header: Header::of::<ExchangeInput>(),
        flags: Flags(flags),
        reserved: Reserved(0),
    };
    [start.as_bytes(), message].concat()
}

fn begin_bytes(file: &File, input: &[u8], room: usize) -> Pending {
    let control = Control::new(ControlCode::Exchange.value(), input, room);
    file.begin(&control).expect("the driver comes back")
}

fn begin_exchange(file: &File, message: &[u8], room: usize) -> Pending {
    begin_bytes(file, &exchange_input(0, message), room)
}

/// The events of a file, one way or the other.
fn events(file: &File) -> Result<EventsOutput, Status> {
    let header = Header::of::<Header>();
    let size = size_of::<EventsOutput>();
    let control = Control::new(ControlCode::WaitEvent.value(), header.as_bytes(), size);
    let pending = file.begin(&control).expect("the driver comes back");
    pending.cancel().expect("the driver survives");
    received(pending, size).map(|bytes| EventsOutput::parse(&bytes).expect("a sound reply"))
}

fn count(events: &EventsOutput, kind: EventKind) -> u64 {
    events.counts[kind.index() as usize].0
}

#[test]
fn message_sent_before_the_first_receive_is_kept() {
    let stage = started();
    let (one, other) = pair(&stage);
    let early: Vec<u8> = (0..=255).collect();
    assert_eq!(send(&one, &early), Ok(256));
    assert_eq!(receive(&other, 4096), Ok(early));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn receive_before_the_message_waits_for_it() {
    let stage = started();
    let (one, other) = pair(&stage);
    let pending = begin_receive(&other, 16);
    assert_eq!(pending.result(), None);
    assert_eq!(send(&one, b"hello"), Ok(5));
    assert_eq!(received(pending, 16), Ok(b"hello".to_vec()));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn messages_go_both_ways_whole_and_in_order() {
    let stage = started();
    let (one, other) = pair(&stage);
    for number in 0..50_u8 {
        send(&one, &vec![number; 1 + usize::from(number)]).expect("sent");
        send(&other, &[number, number]).expect("sent");
    }
    for number in 0..50_u8 {
        assert_eq!(
            receive(&other, 100),
            Ok(vec![number; 1 + usize::from(number)])
        );
        assert_eq!(receive(&one, 2), Ok(vec![number, number]));
    }
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn longest_message_arrives_and_its_receiver_needs_room_for_all_of_it() {
    let stage = started();
    let (one, other) = pair(&stage);
    let long: Vec<u8> = (0..LONGEST_MESSAGE).map(|at| (at % 251) as u8).collect();
    assert_eq!(send(&one, &long), Ok(LONGEST_MESSAGE));
    assert_eq!(
        receive(&other, LONGEST_MESSAGE - 1),
        Err(Error::MessageTooLong.status())
    );
    assert_eq!(receive(&other, LONGEST_MESSAGE), Ok(long), "it was kept");
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn empty_and_oversized_transfers_are_refused_and_counted() {
    let stage = started();
    let (one, other) = pair(&stage);
    let refused = Err(Error::MessageLength.status());
    assert_eq!(send(&one, &[]), refused);
    assert_eq!(send(&one, &vec![0; LONGEST_MESSAGE + 1]), refused);
    assert_eq!(receive(&other, 0).map(drop), refused.map(drop));
    assert_eq!(
        receive(&other, LONGEST_MESSAGE + 1).map(drop),
        refused.map(drop)
    );
    assert_eq!(failures(&statistics(&one), Error::MessageLength), 4);
    drop((one, other));
    assert_clean(stage);
}

/// Both files send and receive, by transfers and by exchanges, while other threads change the buffers.
fn talk_with_restless_buffers(stage: &Stage) {
    let (one, other) = pair(stage);
    stage.host.set_restless_buffers(true);
    for length in [1, 1000, LONGEST_MESSAGE] {
        let mut room = vec![0; LONGEST_MESSAGE];
        assert_eq!(
            outcome(one.write(&vec![u8::MAX; length], 0).expect("sent")),
            Ok(length)
        );
        // What has been sent lies still; its receiver's buffer does not.
        stage.host.set_restless_buffers(false);
        let received = other.read(&mut room, 0).expect("received");
        assert_eq!(outcome(received), Ok(length));
        let first = room[0];
        assert!(
            room[..length].iter().all(|byte| *byte == first),
            "{length} bytes of one moment"
        );
        // It had changed before the driver came to it.
        assert_ne!(first, u8::MAX);
        stage.host.set_restless_buffers(true);
        assert_eq!(
            outcome(one.write(&vec![2; length], 0).expect("sent")),
            Ok(length)
        );
        let received = other.read(&mut room, 0).expect("received");
        assert_eq!(outcome(received), Ok(length));
    }
    stage.host.set_restless_buffers(false);
}

#[test]
fn message_is_what_the_buffer_held_at_one_moment_however_it_changes() {
    let stage = started();
    talk_with_restless_buffers(&stage);
    assert_clean(stage);
}

#[test]
fn exchange_takes_its_message_and_lengths_once_however_the_buffers_change() {
    let stage = started();
    let (one, other) = pair(&stage);
    other.write(b"the answer", 0).expect("sent");
    stage.host.set_restless_buffers(true);
    let header = ExchangeInput {
        header: Header::of::<ExchangeInput>(),
        flags: Flags(0),
        reserved: Reserved(0),
    };
    let mut input = header.as_bytes().to_vec();
    input.extend(b"the question");
    let exchange = Control::new(ControlCode::Exchange.value(), &input, 64);
    let (result, _) = one.control(&exchange).expect("the driver comes back");
    assert_eq!(outcome(result), Ok(10));
    stage.host.set_restless_buffers(false);
    let mut room = [0; 64];
    let received = other.read(&mut room, 0).expect("received");
    assert_eq!(outcome(received), Ok(12));
    assert_eq!(&room[..12], b"the question");
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn transfer_without_a_connection_is_refused() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    assert_eq!(send(&file, b"x"), Err(Error::NotConnected.status()));
    assert_eq!(receive(&file, 1), Err(Error::NotConnected.status()));
    let pending = begin_exchange(&file, b"x", 1);
    assert_eq!(received(pending, 1), Err(Error::NotConnected.status()));
    assert_eq!(disconnect(&file), Err(Error::NotConnected.status()));
    drop(file);
    assert_clean(stage);
}

#[test]
fn one_side_alone_is_not_connected_and_is_told_when_the_other_agrees() {
    let stage = started();
    let (_, one) = stage.open().expect("a file");
    let (_, other) = stage.open().expect("another file");
    connect_to(&one, endpoint_of(&other)).expect("named");
    assert_eq!(state_of(&one), ConnectionState::Waiting.value());
    assert_eq!(state_of(&other), ConnectionState::Idle.value());
    assert_eq!(send(&one, b"x"), Err(Error::NotConnected.status()));
    connect_to(&other, endpoint_of(&one)).expect("connected");
    assert_eq!(state_of(&one), ConnectionState::Connected.value());
    let told = events(&one).expect("an event");
    assert_eq!(count(&told, EventKind::Connected), 1);
    assert_eq!(
        events(&other),
        Err(Status::CANCELLED),
        "its own answer told it"
    );
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn third_file_cannot_come_between() {
    let stage = started();
    let (one, other) = pair(&stage);
    let (_, thief) = stage.open().expect("a third file");
    let answer = connect_to(&thief, endpoint_of(&one)).expect("it may wait");
    assert_eq!(answer.state.0, ConnectionState::Waiting.value());
    assert_eq!(send(&thief, b"x"), Err(Error::NotConnected.status()));
    assert_eq!(receive(&thief, 1), Err(Error::NotConnected.status()));
    send(&one, b"for you").expect("sent");
    assert_eq!(receive(&other, 16), Ok(b"for you".to_vec()));
    drop((one, other));
    assert_eq!(state_of(&thief), ConnectionState::Idle.value());
    let told = events(&thief).expect("an event");
    assert_eq!(
        count(&told, EventKind::Disconnected),
        1,
        "whom it named is gone"
    );
    drop(thief);
    assert_clean(stage);
}

#[test]
fn endpoint_that_nobody_has_or_that_is_ones_own_is_unknown() {
    let stage = started();
    let (_, file) = stage.open().expect("a file");
    let own = endpoint_of(&file);
    for number in [own.0, own.0 + 1, u64::MAX] {
        assert_eq!(
            connect_to(&file, EndpointId(number)).map(drop),
            Err(Error::UnknownEndpoint.status())
        );
    }
    drop(file);
    assert_clean(stage);
}

#[test]
fn endpoint_of_another_device_is_unknown() {
    let stage = started();
    let second = stage.driver.add_device().expect("a second device");
    accepted(second.start()).expect("a second start");
    let process = stage.host.create_process("both.exe").expect("a process");
    let here = process.open_device(&stage.device).expect("the first");
    let there = process.open_device(&second).expect("the second");
    assert_eq!(
        connect_to(&here, endpoint_of(&there)).map(drop),
        Err(Error::UnknownEndpoint.status())
    );
    drop((here, there));
    accepted(second.remove()).expect("removed");
    assert_clean(stage);
}

#[test]
fn connected_file_has_to_disconnect_before_it_connects_again() {
    let stage = started();
    let (one, other) = pair(&stage);
    let (_, third) = stage.open().expect("a third file");
    assert_eq!(
        connect_to(&one, endpoint_of(&third)).map(drop),
        Err(Error::AlreadyConnected.status())
    );
    disconnect(&one).expect("disconnected");
    connect(&one, &third);
    send(&one, b"new").expect("sent");
    assert_eq!(receive(&third, 3), Ok(b"new".to_vec()));
    assert_eq!(receive(&other, 3), Err(Error::Disconnected.status()));
    drop((one, other, third));
    assert_clean(stage);
}

#[test]
fn what_was_sent_before_the_end_is_still_received() {
    let stage = started();
    let (one, other) = pair(&stage);
    send(&one, b"last words").expect("sent");
    drop(one);
    let told = events(&other).expect("an event");
    assert_eq!(count(&told, EventKind::Disconnected), 1);
    assert_eq!(send(&other, b"x"), Err(Error::Disconnected.status()));
    assert_eq!(receive(&other, 16), Ok(b"last words".to_vec()));
    assert_eq!(receive(&other, 16), Err(Error::Disconnected.status()));
    drop(other);
    assert_clean(stage);
}

#[test]
fn close_of_one_side_ends_the_requests_of_both() {
    let stage = started();
    let (one, other) = pair(&stage);
    let own = begin_receive(&one, 8);
    let theirs = begin_receive(&other, 8);
    drop(one);
    assert_eq!(received(own, 8), Err(Status::CANCELLED));
    assert_eq!(received(theirs, 8), Err(Error::Disconnected.status()));
    drop(other);
    assert_clean(stage);
}

/// Fills the queue from `file` to the other side.
fn fill(file: &File) {
    for number in 0..DEPTH {
        assert_eq!(send(file, &number.to_le_bytes()), Ok(4));
    }
}

#[test]
fn full_queue_holds_the_sender_until_there_is_room() {
    let stage = started();
    let (one, other) = pair(&stage);
    fill(&one);
    let pending = begin_send(&one, &DEPTH.to_le_bytes());
    assert_eq!(pending.result(), None, "it waits");
    assert_eq!(receive(&other, 4), Ok(0_u32.to_le_bytes().to_vec()));
    assert_eq!(sent(pending), Ok(4));
    for number in 1..=DEPTH {
        assert_eq!(receive(&other, 4), Ok(number.to_le_bytes().to_vec()));
    }
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn sender_that_waits_can_be_cancelled_and_its_message_is_gone() {
    let stage = started();
    let (one, other) = pair(&stage);
    fill(&one);
    let first = begin_send(&one, b"1");
    let second = begin_send(&one, b"2");
    let used = statistics(&one).file_bytes.0;
    assert!(first.cancel().expect("the driver survives"));
    assert_eq!(sent(first), Err(Status::CANCELLED));
    assert_eq!(
        statistics(&one).file_bytes.0,
        used - 1,
        "it costs nothing any more"
    );
    for _ in 0..DEPTH {
        receive(&other, 4).expect("received");
    }
    assert_eq!(sent(second), Ok(1));
    assert_eq!(receive(&other, 4), Ok(b"2".to_vec()));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn requests_that_wait_are_bounded() {
    let stage = started();
    let (one, other) = pair(&stage);
    let waiting: Vec<_> = (0..WAITING_REQUESTS)
        .map(|_| begin_receive(&other, 4))
        .collect();
    assert_eq!(receive(&other, 4), Err(Error::QueueFull.status()));
    assert!(waiting.iter().all(|pending| pending.result().is_none()));
    fill(&one);
    for (number, pending) in (0..WAITING_REQUESTS).zip(waiting) {
        assert_eq!(received(pending, 4), Ok(number.to_le_bytes().to_vec()));
    }
    fill(&one);
    let waiting: Vec<_> = (0..WAITING_REQUESTS)
        .map(|_| begin_send(&one, b"more"))
        .collect();
    assert_eq!(send(&one, b"too much"), Err(Error::QueueFull.status()));
    drop(one);
    for pending in waiting {
        assert_eq!(sent(pending), Err(Status::CANCELLED));
    }
    drop(other);
    assert_clean(stage);
}

#[test]
fn exchange_sends_and_receives() {
    let stage = started();
    let (one, other) = pair(&stage);
    let asks = begin_exchange(&one, b"question", 16);
    assert_eq!(asks.result(), None);
    assert_eq!(receive(&other, 16), Ok(b"question".to_vec()));
    send(&other, b"answer").expect("sent");
    assert_eq!(received(asks, 16), Ok(b"answer".to_vec()));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn exchanges_of_both_sides_meet() {
    let stage = started();
    let (one, other) = pair(&stage);
    let here = begin_exchange(&one, b"from one", 16);
    let there = begin_exchange(&other, b"from other", 16);
    assert_eq!(received(here, 16), Ok(b"from other".to_vec()));
    assert_eq!(received(there, 16), Ok(b"from one".to_vec()));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn exchange_that_may_not_wait_is_refused_when_the_queue_is_full() {
    let stage = started();
    let (one, other) = pair(&stage);
    fill(&one);
    let refused = begin_bytes(&one, &exchange_input(1, b"no"), 16);
    assert_eq!(received(refused, 16), Err(Error::QueueFull.status()));
    let waits = begin_exchange(&one, b"yes", 16);
    assert_eq!(waits.result(), None);
    for _ in 0..DEPTH {
        receive(&other, 4).expect("received");
    }
    assert_eq!(receive(&other, 4), Ok(b"yes".to_vec()));
    send(&other, b"answer").expect("sent");
    assert_eq!(received(waits, 16), Ok(b"answer".to_vec()));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn exchange_can_be_cancelled_before_and_after_its_message_is_taken() {
    let stage = started();
    let (one, other) = pair(&stage);
    let taken = begin_exchange(&one, b"taken", 16);
    assert!(taken.cancel().expect("the driver survives"));
    assert_eq!(received(taken, 16), Err(Status::CANCELLED));
    assert_eq!(receive(&other, 16), Ok(b"taken".to_vec()), "it was sent");
    fill(&one);
    let held = begin_exchange(&one, b"held", 16);
    assert!(held.cancel().expect("the driver survives"));
    assert_eq!(received(held, 16), Err(Status::CANCELLED));
    for _ in 0..DEPTH {
        receive(&other, 4).expect("received");
    }
    assert!(
        begin_receive(&other, 4)
            .cancel()
            .expect("the driver survives"),
        "it was not sent"
    );
    drop((one, other));
    assert_clean(stage);
}

/// Every wrong input of an exchange is refused, and nothing is sent.
#[test]
fn malformed_exchange_is_refused() {
    let stage = started();
    let (one, other) = pair(&stage);
    let good = exchange_input(0, b"message");
    let refused = |input: &[u8], room: usize| {
        received(begin_bytes(&one, input, room), room).expect_err("it is refused")
    };
    for length in 0..EXCHANGE_MESSAGE_OFFSET {
        assert_eq!(
            refused(&good[..length], 8),
            Error::InputLength.status(),
            "{length}"
        );
    }
    assert_eq!(
        refused(&good[..EXCHANGE_MESSAGE_OFFSET], 8),
        Error::MessageLength.status()
    );
    let long = exchange_input(0, &vec![0; LONGEST_MESSAGE + 1]);
    assert_eq!(refused(&long, 8), Error::MessageLength.status());
    assert_eq!(refused(&good, 0), Error::OutputLength.status());
    assert_eq!(
        refused(&good, LONGEST_MESSAGE + 1),
        Error::OutputLength.status()
    );
    for bit in 0..EXCHANGE_MESSAGE_OFFSET * 8 {
        if bit == 64 {
            continue; // SANPROXY_EXCHANGE_DONT_WAIT
        }
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused(&bytes, 8);
    }
    assert!(
        begin_receive(&other, 8)
            .cancel()
            .expect("the driver survives"),
        "nothing was sent"
    );
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn messages_count_against_the_quota_of_their_sender_until_they_are_received() {
    let stage = Setting::default()
        .parameter("MaximumBytesPerFile", RegistryValue::Dword(8192))
        .started()
        .expect("the device starts");
    let (one, other) = pair(&stage);
    let page = register(&one, &good_register()).expect("a page");
    assert_eq!(send(&one, &[1; 4096]), Ok(4096));
    assert_eq!(send(&one, &[2]), Err(Error::FileQuota.status()));
    let now = statistics(&one);
    assert_eq!((now.file_bytes.0, now.file_registrations.0), (8192, 1));
    assert_eq!(
        statistics(&other).file_bytes.0,
        0,
        "the receiver pays nothing"
    );
    assert_eq!(receive(&other, 4096), Ok(vec![1; 4096]));
    assert_eq!(statistics(&one).file_bytes.0, 4096);
    assert_eq!(send(&one, &[2]), Ok(1));
    release(&one, page.handle).expect("released");
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn stop_ends_connections_and_what_waits_on_them() {
    let stage = started();
    let (one, other) = pair(&stage);
    send(&one, b"kept for nobody").expect("sent");
    let pending = begin_receive(&one, 8);
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.stop()).expect("a stop");
    assert!(received(pending, 8).is_err());
    assert_eq!(receive(&other, 16), Err(Error::NotStarted.status()));
    accepted(stage.device.start()).expect("a second start");
    assert_eq!(receive(&other, 16), Err(Error::NotConnected.status()));
    connect(&one, &other);
    assert_eq!(send(&one, b"again"), Ok(5));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn surprise_removal_ends_requests_that_wait() {
    let stage = started();
    let (one, other) = pair(&stage);
    fill(&one);
    let writes: Vec<_> = (0..3).map(|_| begin_send(&one, b"w")).collect();
    let read = begin_receive(&one, 8);
    let exchange = begin_exchange(&other, b"e", 4);
    accepted(stage.device.surprise_removal()).expect("the device is gone");
    // The exchange took one message out of the full queue, so one more had room.
    assert_eq!(received(exchange, 4), Ok(0_u32.to_le_bytes().to_vec()));
    assert_eq!(received(read, 8), Ok(b"e".to_vec()));
    let ends: Vec<_> = writes.into_iter().map(sent).collect();
    let (ended, cancelled) = (Error::Disconnected.status(), Status::CANCELLED);
    assert_eq!(ends[0], Ok(1));
    assert!(
        ends[1..]
            .iter()
            .all(|end| [Err(ended), Err(cancelled)].contains(end)),
        "{ends:?}"
    );
    assert_eq!(receive(&other, 16), Err(Error::Removed.status()));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn exit_of_a_process_ends_its_requests_and_the_connection() {
    let stage = started();
    let (process, one) = stage.open().expect("a file");
    let (_, other) = stage.open().expect("another file");
    connect(&one, &other);
    fill(&one);
    let write = begin_send(&one, b"w");
    let read = begin_receive(&one, 8);
    process.exit().expect("killed");
    assert_eq!(sent(write), Err(Status::CANCELLED));
    // Its memory is gone, so nothing of it is looked at.
    let result = read.wait(LIMIT).expect("it ends");
    assert_eq!(outcome(result), Err(Status::CANCELLED));
    for number in 0..DEPTH {
        assert_eq!(receive(&other, 4), Ok(number.to_le_bytes().to_vec()));
    }
    assert_eq!(receive(&other, 4), Err(Error::Disconnected.status()));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn exit_of_a_thread_cancels_its_requests_alone() {
    let stage = started();
    let (process, one) = stage.open().expect("a file");
    let other = process.open(&INTERFACE).expect("another file");
    connect(&one, &other);
    let thread = process.create_thread().expect("a thread");
    let theirs = thread.run(|| begin_receive(&other, 8));
    let ours = begin_receive(&other, 8);
    thread.exit().expect("the driver survives");
    assert_eq!(received(theirs, 8), Err(Status::CANCELLED));
    send(&one, b"first").expect("sent");
    assert_eq!(received(ours, 8), Ok(b"first".to_vec()));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn duplicate_of_a_file_is_the_same_endpoint() {
    let stage = started();
    let (one, other) = pair(&stage);
    let heir = stage.host.create_process("heir.exe").expect("a process");
    let duplicate = other.duplicate(&heir).expect("a duplicate");
    drop(other);
    send(&one, b"to the heir").expect("sent");
    assert_eq!(receive(&duplicate, 16), Ok(b"to the heir".to_vec()));
    drop((one, duplicate));
    assert_clean(stage);
}

#[test]
fn several_senders_keep_the_order_of_each() {
    const EACH: u32 = 300;
    const SENDERS: u32 = 4;
    let stage = started();
    let (one, other) = pair(&stage);
    let mut last = [None::<u32>; SENDERS as usize];
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let one = &one;
            scope.spawn(move || {
                for number in 0..EACH {
                    let message = [sender.to_le_bytes(), number.to_le_bytes()].concat();
                    assert_eq!(send(one, &message), Ok(8));
                }
            });
        }
        for _ in 0..EACH * SENDERS {
            let message = receive(&other, 8).expect("a message");
            let (sender, number) = message.split_at(4);
            let number = u32::from_le_bytes(number.try_into().expect("four bytes"));
            let last = &mut last[usize::from(sender[0])];
            assert_eq!(
                number,
                last.map_or(0, |last| last + 1),
                "sender {}",
                sender[0]
            );
            *last = Some(number);
        }
    });
    assert_eq!(last, [Some(EACH - 1); SENDERS as usize]);
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn racing_cancellations_of_receivers_lose_no_message() {
    const MESSAGES: u32 = 1000;
    let stage = started();
    let (one, other) = pair(&stage);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MESSAGES {
                assert_eq!(send(&one, &number.to_le_bytes()), Ok(4));
            }
        });
        let mut next = 0_u32;
        while next < MESSAGES {
            let pending = begin_receive(&other, 4);
            pending.cancel().expect("the driver survives");
            match received(pending, 4) {
                Ok(message) => {
                    assert_eq!(message, next.to_le_bytes());
                    next += 1;
                }
                Err(refused) => assert_eq!(refused, Status::CANCELLED),
            }
        }
    });
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn racing_closes_of_both_sides_end_every_request() {
    let stage = started();
    let process = stage.host.create_process("racer.exe").expect("a process");
    let open = |process: &Process| process.open(&INTERFACE).expect("a file");
    for _ in 0..100 {
        let (one, other) = (open(&process), open(&process));
        connect(&one, &other);
        fill(&one);
        let waiting = [
            begin_send(&one, b"w"),
            begin_receive(&one, 8),
            begin_exchange(&other, b"e", 2),
        ];
        std::thread::scope(|scope| {
            scope.spawn(move || drop(one));
            scope.spawn(move || drop(other));
            scope.spawn(|| drop(waiting[0].cancel()));
        });
        for pending in waiting {
            outcome(pending.finish(&mut []).expect("it ends")).ok();
        }
    }
    assert_clean(stage);
}

#[test]
fn message_is_received_where_the_process_wants_it() {
    let stage = started();
    let (process, one) = stage.open().expect("a file");
    let (_, other) = stage.open().expect("another file");
    connect(&one, &other);
    let address = process.allocate(8192).expect("memory") + 4000;
    let pending = one
        .begin_read_into(address, 200, 0)
        .expect("the driver comes back");
    assert!(pending.result().is_none());
    sent(begin_send(&other, &[7; 150])).expect("sent");
    let result = pending.finish(&mut []).expect("it ends");
    assert_eq!(outcome(result), Ok(150));
    let mut bytes = [0; 151];
    process.read(address, &mut bytes).expect("its own memory");
    assert_eq!((bytes[0], bytes[149], bytes[150]), (7, 7, 0));
    drop((one, other));
    assert_clean(stage);
}

#[test]
fn message_is_not_received_where_the_process_has_nothing() {
    let stage = started();
    let (process, one) = stage.open().expect("a file");
    let (_, other) = stage.open().expect("another file");
    connect(&one, &other);
    let address = process.allocate(4096).expect("memory");
    let pending = one
        .begin_read_into(address + 4000, 200, 0)
        .expect("the driver comes back");
    let result = pending.finish(&mut []).expect("it ends");
    assert_eq!(outcome(result), Err(Status::ACCESS_VIOLATION));
    drop((one, other));
    assert_clean(stage);
}
