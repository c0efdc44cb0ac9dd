//! A connection between two files.
//!
//! A request to send waits in its side's queue until the other side's inbox has room for the message,
//! and a request to receive until there is a message in its own. Every request is queued, and then
//! whatever fits together is moved on, one step at a time: each step under the lock, completions
//! after it. So messages keep their order, whoever moves them, and a request can be cancelled at any
//! time before its step.

use sanproxy_abi::{Error, MESSAGES_PER_QUEUE, WAITING_REQUESTS};
use wdm::{
    direct::Direct,
    fifo::Fifo,
    irp::Completed,
    mutex::Mutex,
    pending::{PendingQueue, Refused, Waiter},
    status::{NoMemory, Status},
};

use super::{Letter, Message};
use crate::device::Device;

/// One of the two sides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that connected last.
    First,
    /// The one that had waited for it.
    Second,
}

impl Side {
    const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The side across.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// One thing for each side.
struct Pair<T> {
    first: T,
    second: T,
}

impl<T> Pair<T> {
    const fn of(&self, side: Side) -> &T {
        match side {
            Side::First => &self.first,
            Side::Second => &self.second,
        }
    }

    const fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::First => &mut self.first,
            Side::Second => &mut self.second,
        }
    }
}

/// What a request carries.
pub(super) enum Load {
    /// A message to send.
    Write(Letter),
    /// A message to send, before one is received.
    Exchange(Letter),
    /// Nothing: a message is to be received.
    Receive,
}

/// A request with what it carries.
pub(super) type Parcel = Waiter<Direct, Load>;
type Queue = PendingQueue<Direct, Load>;

/// The requests of one side that wait.
struct Waiting {
    senders: Queue,
    receivers: Queue,
}

/// What lies between the sides.
struct Between {
    /// The side has left.
    left: Pair<bool>,
    /// Messages for the side.
    inbox: Pair<Fifo<Message>>,
}

/// A connection.
pub(crate) struct Wire {
    ends: Pair<u64>,
    between: Mutex<Between>,
    waiting: Pair<Waiting>,
}

/// What is to be done after a step, when the lock is given back.
enum Step {
    /// Complete a request.
    Finish(Direct, Result<usize, Error>),
    /// Complete a request that received this message.
    Deliver(Direct, usize, Letter),
    /// Fail a request whose message is not taken.
    Refuse(Direct, Error, Letter),
    /// Complete a request that was cancelled meanwhile.
    Cancel(Parcel),
    /// Nothing but the next step.
    Again,
}

impl Waiting {
    fn new() -> Result<Self, NoMemory> {
        Ok(Self {
            senders: Queue::new(WAITING_REQUESTS)?,
            receivers: Queue::new(WAITING_REQUESTS)?,
        })
    }
}

impl Wire {
    /// A connection between two endpoints.
    pub(crate) fn new(first: u64, second: u64) -> Result<Self, NoMemory> {
        Ok(Self {
            ends: Pair { first, second },
            between: Mutex::new(Between {
                left: Pair {
                    first: false,
                    second: false,
                },
                inbox: Pair {
                    first: Fifo::new(),
                    second: Fifo::new(),
                },
            }),
            waiting: Pair {
                first: Waiting::new()?,
                second: Waiting::new()?,
            },
        })
    }

    /// The endpoint at one end.
    pub(crate) const fn end(&self, side: Side) -> u64 {
        *self.ends.of(side)
    }

    /// Whether both sides are still there.
    pub(crate) fn is_open(&self) -> bool {
        self.between.lock().is_open()
    }

    /// Takes a request of one side.
    pub(super) fn start(
        &self,
        side: Side,
        parcel: Parcel,
        may_wait: bool,
        device: &Device,
    ) -> Completed {
        match self.queue(side, parcel, may_wait) {
            Ok(completed) => {
                self.move_on(device);
                completed
            }
            Err((mut parcel, Some(error))) => {
                // First, so that the status page does not count what is not sent.
                drop(core::mem::replace(parcel.payload(), Load::Receive));
                parcel.fail(device.fail(error))
            }
            Err((parcel, None)) => parcel.fail(Status::CANCELLED),
        }
    }

    /// Queues a request, or gives it back with what is wrong; with nothing if it was cancelled.
    fn queue(
        &self,
        side: Side,
        mut parcel: Parcel,
        may_wait: bool,
    ) -> Result<Completed, (Parcel, Option<Error>)> {
        let between = self.between.lock();
        let waiting = self.waiting.of(side);
        let queue = match parcel.payload() {
            Load::Receive => &waiting.receivers,
            Load::Write(_) | Load::Exchange(_) => {
                if !between.is_open() {
                    return Err((parcel, Some(Error::Disconnected)));
                }
                let full = between.inbox.of(side.other()).length() >= MESSAGES_PER_QUEUE;
                if !may_wait && (full || !waiting.senders.is_empty()) {
                    return Err((parcel, Some(Error::QueueFull)));
                }
                &waiting.senders
            }
        };
        if *between.left.of(side) {
            return Err((parcel, Some(Error::NotConnected)));
        }
        queue.push(parcel).map_err(|refused| match refused {
            Refused::Full(parcel) => (parcel, Some(Error::QueueFull)),
            Refused::Cancelled(parcel) => (parcel, None),
        })
    }

    /// Takes every step that can be taken.
    fn move_on(&self, device: &Device) {
        loop {
            let step = {
                let mut between = self.between.lock();
                Side::BOTH
                    .into_iter()
                    .find_map(|side| self.step(&mut between, side))
            };
            match step {
                None => return,
                Some(Step::Again) => {}
                Some(Step::Finish(request, result)) => {
                    let result = result.map_err(|error| device.fail(error));
                    drop(request.complete(result));
                }
                Some(Step::Deliver(request, length, letter)) => {
                    // The quota is given back before the receiver can look.
                    drop(letter);
                    device.publish();
                    drop(request.complete(Ok(length)));
                }
                Some(Step::Refuse(request, error, letter)) => {
                    drop(letter);
                    drop(request.complete(Err(device.fail(error))));
                }
                Some(Step::Cancel(parcel)) => drop(parcel.fail(Status::CANCELLED)),
            }
        }
    }

    /// One step of one side, if there is one.
    fn step(&self, between: &mut Between, side: Side) -> Option<Step> {
        self.deliver(between, side)
            .or_else(|| self.accept(between, side))
    }

    /// Gives the side's oldest message to its oldest receiver; or tells it that none will come.
    fn deliver(&self, between: &mut Between, side: Side) -> Option<Step> {
        let receivers = &self.waiting.of(side).receivers;
        let inbox = between.inbox.of_mut(side);
        let Some(length) = inbox.front().map(|message| message.bytes.len()) else {
            if between.is_open() {
                return None;
            }
            let (request, _) = receivers.take()?.take_apart();
            return Some(Step::Finish(request, Err(Error::Disconnected)));
        };
        let (mut request, _) = receivers.take()?.take_apart();
        if length > request.length() {
            return Some(Step::Finish(request, Err(Error::MessageTooLong)));
        }
        let letter = inbox.pop()?;
        let length = request.copy_in(&letter.value().bytes);
        Some(Step::Deliver(request, length, letter))
    }

    /// Takes the message of the side's oldest sender, if there is room for it across.
    fn accept(&self, between: &mut Between, side: Side) -> Option<Step> {
        let waiting = self.waiting.of(side);
        if !between.is_open() {
            let (request, load) = waiting.senders.take()?.take_apart();
            return Some(Step::finish_sender(request, load, Error::Disconnected));
        }
        let inbox = between.inbox.of_mut(side.other());
        if inbox.length() >= MESSAGES_PER_QUEUE {
            return None;
        }
        let mut parcel = waiting.senders.take()?;
        match core::mem::replace(parcel.payload(), Load::Receive) {
            Load::Write(letter) => {
                let length = letter.value().bytes.len();
                inbox.push(letter);
                let (request, _) = parcel.take_apart();
                Some(Step::Finish(request, Ok(length)))
            }
            Load::Exchange(letter) => {
                inbox.push(letter);
                Some(match waiting.receivers.push(parcel) {
                    Ok(_) => Step::Again,
                    Err(Refused::Full(parcel)) => {
                        Step::Finish(parcel.take_apart().0, Err(Error::QueueFull))
                    }
                    Err(Refused::Cancelled(parcel)) => Step::Cancel(parcel),
                })
            }
            Load::Receive => Some(Step::Finish(
                parcel.take_apart().0,
                Err(Error::NotConnected),
            )),
        }
    }

    /// One side leaves; whether both were there before. What it has sent can still be received;
    /// what it has not received is gone.
    pub(crate) fn leave(&self, side: Side, device: &Device) -> bool {
        let was_open = {
            let mut between = self.between.lock();
            let was_open = between.is_open();
            *between.left.of_mut(side) = true;
            was_open
        };
        let waiting = self.waiting.of(side);
        for queue in [&waiting.senders, &waiting.receivers] {
            while let Some(parcel) = queue.take() {
                drop(parcel.fail(Status::CANCELLED));
            }
        }
        loop {
            let letter = self.between.lock().inbox.of_mut(side).pop();
            if letter.is_none() {
                break;
            }
            drop(letter);
        }
        device.publish();
        self.move_on(device);
        was_open
    }
}

impl Step {
    /// A sender fails; its message is dropped with the request, after the lock is given back.
    fn finish_sender(request: Direct, load: Load, error: Error) -> Self {
        match load {
            Load::Write(letter) | Load::Exchange(letter) => Self::Refuse(request, error, letter),
            Load::Receive => Self::Finish(request, Err(error)),
        }
    }
}

impl Between {
    const fn is_open(&self) -> bool {
        !self.left.first && !self.left.second
    }
}
