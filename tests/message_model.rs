//! Random histories of messages, compared with a model after every step.
//!
//! The model knows nothing of locks, pending requests or cancellation: it says which request must have
//! ended by now, and how.

use std::collections::VecDeque;

use nt_host::{Control, File, Pending};
use sanproxy_abi::{
    ControlCode, Error, MESSAGES_PER_QUEUE, Status, WAITING_REQUESTS,
    wire::{ConnectInput, ConnectOutput, EndpointId, ExchangeInput, Flags, Header, Reserved},
};
use sanproxy_tests::{
    stage::{Setting, accepted},
    wire::ask,
};
use zerocopy::IntoBytes;

/// Room for a message in every request that receives.
const ROOM: usize = 64;
const STEPS: u32 = 600;
const HISTORIES: u64 = 12;

type End = Result<Vec<u8>, Status>;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

/// What a request waits for, in the model.
#[derive(Clone)]
enum Load {
    Write(Vec<u8>),
    Exchange(Vec<u8>),
}

#[derive(Default)]
struct Side {
    inbox: VecDeque<Vec<u8>>,
    senders: VecDeque<(usize, Load)>,
    receivers: VecDeque<usize>,
}

/// Both sides of a connection, and how each request ended.
#[derive(Default)]
struct Model {
    sides: [Side; 2],
    ends: Vec<Option<End>>,
}

impl Model {
    /// A new request, which is the next in the list.
    fn request(&mut self) -> usize {
        self.ends.push(None);
        self.ends.len() - 1
    }

    fn send(&mut self, side: usize, load: Load, may_wait: bool) {
        let number = self.request();
        let full = self.sides[1 - side].inbox.len() >= MESSAGES_PER_QUEUE as usize;
        let waiting = self.sides[side].senders.len();
        let busy = !may_wait && (full || waiting > 0);
        if busy || waiting >= WAITING_REQUESTS as usize {
            self.ends[number] = Some(Err(Error::QueueFull.status()));
            return;
        }
        self.sides[side].senders.push_back((number, load));
        self.settle();
    }

    fn receive(&mut self, side: usize) {
        let number = self.request();
        if self.sides[side].receivers.len() >= WAITING_REQUESTS as usize {
            self.ends[number] = Some(Err(Error::QueueFull.status()));
            return;
        }
        self.sides[side].receivers.push_back(number);
        self.settle();
    }

    fn cancel(&mut self, number: usize) {
        if self.ends[number].is_none() {
            self.ends[number] = Some(Err(Status::CANCELLED));
            for side in &mut self.sides {
                side.senders.retain(|(waiting, _)| *waiting != number);
                side.receivers.retain(|waiting| *waiting != number);
            }
        }
    }

    /// Moves everything as far as it goes.
    fn settle(&mut self) {
        while (0..2).any(|side| self.deliver(side) || self.accept(side)) {}
    }

    fn deliver(&mut self, side: usize) -> bool {
        let own = &mut self.sides[side];
        if own.inbox.is_empty() || own.receivers.is_empty() {
            return false;
        }
        if let (Some(message), Some(number)) = (own.inbox.pop_front(), own.receivers.pop_front()) {
            self.ends[number] = Some(Ok(message));
        }
        true
    }

    fn accept(&mut self, side: usize) -> bool {
        if self.sides[1 - side].inbox.len() >= MESSAGES_PER_QUEUE as usize {
            return false;
        }
        let Some((number, load)) = self.sides[side].senders.pop_front() else {
            return false;
        };
        match load {
            Load::Write(message) => {
                self.ends[number] = Some(Ok(Vec::new()));
                self.sides[1 - side].inbox.push_back(message);
            }
            Load::Exchange(message) => {
                self.sides[1 - side].inbox.push_back(message);
                if self.sides[side].receivers.len() >= WAITING_REQUESTS as usize {
                    self.ends[number] = Some(Err(Error::QueueFull.status()));
                } else {
                    self.sides[side].receivers.push_back(number);
                }
            }
        }
        true
    }
}

fn connect(file: &File, endpoint: EndpointId) -> ConnectOutput {
    let header = Header::of::<ConnectInput>();
    let input = ConnectInput { header, endpoint };
    ask(file, ControlCode::Connect, &input).expect("an answer")
}

fn begin_exchange(file: &File, flags: u32, message: &[u8]) -> Pending {
    let start = ExchangeInput {
        header: Header::of::<ExchangeInput>(),
        flags: Flags(flags),
        reserved: Reserved(0),
    };
    let input = [start.as_bytes(), message].concat();
    let control = Control::new(ControlCode::Exchange.value(), &input, ROOM);
    file.begin(&control).expect("the driver comes back")
}

/// A request and whether it receives.
struct Request {
    pending: Option<Pending>,
    receives: bool,
}

/// Compares one request with the model; one that has ended is looked at once.
fn compare(number: usize, request: &mut Request, expected: Option<&End>) {
    let Some(pending) = request.pending.take() else {
        return;
    };
    let Some(result) = pending.result() else {
        assert_eq!(None, expected, "request {number} still waits");
        request.pending = Some(pending);
        return;
    };
    let status = Status(result.status.0);
    let mut bytes = vec![0; if request.receives { ROOM } else { 0 }];
    pending.finish(&mut bytes).expect("it has ended");
    let end = if status.is_success() {
        let length = usize::try_from(result.information).expect("a length");
        bytes.truncate(if request.receives { length } else { 0 });
        Ok(bytes)
    } else {
        Err(status)
    };
    assert_eq!(Some(&end), expected, "request {number}");
}

fn history(seed: u64) {
    let stage = Setting::default().started().expect("the device starts");
    let (_, one) = stage.open().expect("a file");
    let (_, other) = stage.open().expect("another file");
    let numbers = [&one, &other].map(|file| connect(file, EndpointId(0)).own);
    connect(&other, numbers[0]);
    connect(&one, numbers[1]);
    let files = [&one, &other];
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (seed << 32 | seed));
    let (mut model, mut requests) = (Model::default(), Vec::<Request>::new());
    // Each history leans to one side, so that queues fill up and run empty.
    let lean = random.below(5);
    for step in 0..STEPS {
        let side = random.below(2);
        let length = 1 + random.below(ROOM);
        let message: Vec<u8> = (0..length).map(|at| (at as u32 + step) as u8).collect();
        let (pending, receives) = match random.below(10) {
            0..=2 => {
                model.receive(side);
                (files[side].begin_read(ROOM, 0), true)
            }
            choice @ 3..=5 if choice - 3 < lean => {
                model.receive(side);
                (files[side].begin_read(ROOM, 0), true)
            }
            6 => {
                let flags = random.below(2) as u32;
                model.send(side, Load::Exchange(message.clone()), flags == 0);
                (Ok(begin_exchange(files[side], flags, &message)), true)
            }
            7 if !requests.is_empty() => {
                let number = random.below(requests.len());
                if let Some(pending) = &requests[number].pending {
                    pending.cancel().expect("the driver survives");
                }
                model.cancel(number);
                let expected = model.ends[number].as_ref();
                compare(number, &mut requests[number], expected);
                continue;
            }
            _ => {
                model.send(side, Load::Write(message.clone()), true);
                (files[side].begin_write(&message, 0), false)
            }
        };
        requests.push(Request {
            pending: Some(pending.expect("the driver comes back")),
            receives,
        });
        for (number, request) in requests.iter_mut().enumerate() {
            compare(number, request, model.ends[number].as_ref());
        }
    }
    accepted(stage.device.surprise_removal()).expect("the device is gone");
    let waiting = requests
        .iter()
        .filter_map(|request| request.pending.as_ref());
    assert!(
        waiting
            .into_iter()
            .all(|pending| pending.result().is_some())
    );
    drop((one, other));
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "seed {seed}: {report}");
}

#[test]
fn random_histories_of_messages_end_as_the_model_says() {
    (0..HISTORIES).for_each(history);
}
