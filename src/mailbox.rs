//! What a file is told without asking: events that wait for its reader, or a reader that waits for them.
//!
//! An event is counted, under the lock, until a reader takes all there are: so none is lost or told
//! twice, and a slow reader finds several of a kind in one reply. At most one reader waits. It is
//! completed by an event, by its cancellation, or by the last close of the file.

use core::sync::atomic::{AtomicBool, Ordering};

use sanproxy_abi::{
    EVENT_KINDS, Error, EventKind,
    wire::{Count, EventsOutput, Flags, Header, Message, Reserved},
};
use wdm::{
    control::Control,
    irp::Completed,
    mutex::Mutex,
    pending::{PendingQueue, Place, Refused, Waiter},
    status::{NoMemory, Status},
};

use crate::device::Device;

type Reader = Waiter<Control, ()>;

/// The events of one file.
pub(crate) struct Mailbox {
    events: Mutex<Events>,
    readers: PendingQueue<Control, ()>,
    /// Something was recorded that no waiting reader has been looked for yet.
    undelivered: AtomicBool,
}

struct Events {
    counts: [u64; EVENT_KINDS],
    /// Why nothing can come any more.
    closed: Option<Error>,
}

/// What becomes of a reader.
enum Fate {
    Told(Reader, EventsOutput),
    Failed(Reader, Error),
    Waits(Completed),
    Cancelled(Reader),
}

impl Mailbox {
    /// No events, and nobody who waits for them.
    pub(crate) fn new() -> Result<Self, NoMemory> {
        Ok(Self {
            events: Mutex::new(Events {
                counts: [0; EVENT_KINDS],
                closed: None,
            }),
            readers: PendingQueue::new(1)?,
            undelivered: AtomicBool::new(false),
        })
    }

    /// Takes events in, and leaves telling of them to [`Mailbox::deliver`].
    pub(crate) fn record(&self, kind: EventKind, number: u64) {
        self.events.lock().add(kind, number);
        self.undelivered.store(true, Ordering::Release);
    }

    /// Whether anything can still happen.
    pub(crate) fn is_open(&self) -> bool {
        self.events.lock().closed.is_none()
    }

    /// Whether events were recorded and not delivered yet.
    pub(crate) fn is_undelivered(&self) -> bool {
        self.undelivered.load(Ordering::Acquire)
    }

    /// Tells the waiting reader, if there is one.
    pub(crate) fn deliver(&self) {
        self.undelivered.store(false, Ordering::Release);
        let told = {
            let mut events = self.events.lock();
            if events.are_none() {
                return;
            }
            // A reader whose cancellation has begun is not given: the events stay.
            self.readers.take().map(|reader| (reader, events.take()))
        };
        if let Some((reader, reply)) = told {
            drop(complete(reader, &reply));
        }
    }

    /// Answers a request for events, now or later.
    pub(crate) fn wait(&self, device: &Device, control: Control) -> Completed {
        let place = match Place::new() {
            Ok(place) => place,
            Err(NoMemory) => return control.complete(Err(device.fail(Error::NoMemory))),
        };
        let fate = self.queue(place.fill(control, ()));
        match fate {
            Fate::Told(reader, reply) => complete(reader, &reply),
            Fate::Failed(reader, error) => reader.fail(device.fail(error)),
            Fate::Cancelled(reader) => reader.fail(Status::CANCELLED),
            Fate::Waits(completed) => completed,
        }
    }

    fn queue(&self, reader: Reader) -> Fate {
        let mut events = self.events.lock();
        if !events.are_none() {
            return Fate::Told(reader, events.take());
        }
        if let Some(error) = events.closed {
            return Fate::Failed(reader, error);
        }
        match self.readers.push(reader) {
            Ok(completed) => Fate::Waits(completed),
            Err(Refused::Full(reader)) => Fate::Failed(reader, Error::WaitPending),
            Err(Refused::Cancelled(reader)) => Fate::Cancelled(reader),
        }
    }

    /// Nothing will happen any more; what has is still told. The reader that waits is cancelled.
    pub(crate) fn close(&self, reason: Error) {
        self.events.lock().closed = Some(reason);
        self.deliver();
        while let Some(reader) = self.readers.take() {
            drop(reader.fail(Status::CANCELLED));
        }
    }
}

fn complete(reader: Reader, reply: &EventsOutput) -> Completed {
    let (control, ()) = reader.take_apart();
    control.complete(Ok(bytes(reply)))
}

fn bytes<T: Message>(message: &T) -> &[u8] {
    message.as_bytes()
}

impl Events {
    fn are_none(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    fn add(&mut self, kind: EventKind, number: u64) {
        let place = usize::try_from(kind.index()).unwrap_or(EVENT_KINDS);
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(number);
        }
    }

    /// All events, which are then told.
    fn take(&mut self) -> EventsOutput {
        let counts = core::mem::replace(&mut self.counts, [0; EVENT_KINDS]);
        let (mut kinds, mut coalesced) = (0, 0_u64);
        for (kind, count) in EventKind::ALL.iter().zip(counts) {
            if count > 0 {
                kinds |= kind.value();
                coalesced = coalesced.saturating_add(count.saturating_sub(1));
            }
        }
        EventsOutput {
            header: Header::of::<EventsOutput>(),
            kinds: Flags(kinds),
            reserved: Reserved(0),
            counts: counts.map(Count),
            coalesced: Count(coalesced),
        }
    }
}
