//! What a file is to another, and the messages between them.

use std::collections::VecDeque;

use sanproxy_abi::{ConnectionState, Error, EventKind, MESSAGES_PER_QUEUE, WAITING_REQUESTS};

use super::{Oracle, accounts::Amount};

/// What a file is to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// It has named nobody.
    #[default]
    Idle,
    /// It has named this endpoint.
    Waiting(u64),
    /// It is on this side of this wire.
    Connected(usize, usize),
}

/// A message, and who pays for it.
pub struct Letter {
    /// The file that sends it.
    pub payer: usize,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A request that waits until its message is taken.
struct Sending {
    request: usize,
    letter: Letter,
    /// What room there is for the message that is received afterwards, if one is.
    room: Option<u32>,
}

/// One side of a wire.
struct Side {
    file: usize,
    has_left: bool,
    inbox: VecDeque<Letter>,
    senders: VecDeque<Sending>,
    receivers: VecDeque<(usize, u32)>,
}

/// A connection.
pub struct Wire([Side; 2]);

impl Wire {
    fn new(files: [usize; 2]) -> Self {
        Self(files.map(|file| Side {
            file,
            has_left: false,
            inbox: VecDeque::new(),
            senders: VecDeque::new(),
            receivers: VecDeque::new(),
        }))
    }

    fn is_open(&self) -> bool {
        self.0.iter().all(|side| !side.has_left)
    }

    /// All messages that are on their way.
    pub fn letters(&self) -> impl Iterator<Item = &Letter> {
        self.0.iter().flat_map(|side| {
            let sending = side.senders.iter().map(|sending| &sending.letter);
            side.inbox.iter().chain(sending)
        })
    }
}

/// How a request has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a message.
    Received(Vec<u8>),
    /// With this number of bytes sent.
    Sent(u64),
    /// Cancelled.
    Cancelled,
    /// Refused.
    Failed(Error),
}

fn is_full(inbox: &VecDeque<Letter>) -> bool {
    inbox.len() >= MESSAGES_PER_QUEUE as usize
}

fn too_many<T>(queue: &VecDeque<T>) -> bool {
    queue.len() >= WAITING_REQUESTS as usize
}

impl Oracle {
    /// A request has to have ended so.
    pub fn end(&mut self, request: usize, outcome: Outcome) {
        self.ends.insert(request, vec![outcome]);
    }

    fn link(&self, file: usize) -> Link {
        self.files.get(&file).map_or(Link::Idle, |file| file.link)
    }

    fn set_link(&mut self, file: usize, link: Link) {
        if let Some(file) = self.files.get_mut(&file) {
            file.link = link;
        }
        // What nobody holds on to is gone, with all that was on its way.
        let held = |wire: usize| {
            let mut links = self.files.values().map(|file| file.link);
            links.any(|link| matches!(link, Link::Connected(held, _) if held == wire))
        };
        let gone: Vec<usize> = self
            .wires
            .keys()
            .copied()
            .filter(|wire| !held(*wire))
            .collect();
        for wire in gone {
            self.wires.remove(&wire);
        }
    }

    /// A file names an endpoint, or asks what it is itself.
    pub fn connect(
        &mut self,
        file: usize,
        peer: u64,
        wire: usize,
    ) -> Result<(u64, ConnectionState), Error> {
        self.gate()?;
        let own = self.files.get(&file).map_or(0, |file| file.endpoint);
        let open = match self.link(file) {
            Link::Connected(wire, _) => self.wires.get(&wire).is_some_and(Wire::is_open),
            Link::Idle | Link::Waiting(_) => false,
        };
        if peer == 0 {
            let waits = matches!(self.link(file), Link::Waiting(_));
            return Ok((
                own,
                match (open, waits) {
                    (true, _) => ConnectionState::Connected,
                    (_, true) => ConnectionState::Waiting,
                    (false, false) => ConnectionState::Idle,
                },
            ));
        }
        if open {
            return Err(Error::AlreadyConnected);
        }
        let found = self
            .files
            .iter()
            .find(|(number, other)| **number != file && other.endpoint == peer);
        let (&other, there) = found.ok_or(Error::UnknownEndpoint)?;
        if there.link != Link::Waiting(own) {
            self.set_link(file, Link::Waiting(peer));
            return Ok((own, ConnectionState::Waiting));
        }
        self.wires.insert(wire, Wire::new([file, other]));
        if let Some(there) = self.files.get_mut(&other) {
            there.link = Link::Connected(wire, 1);
        }
        self.set_link(file, Link::Connected(wire, 0));
        self.tell(other, EventKind::Connected, 1);
        Ok((own, ConnectionState::Connected))
    }

    /// A file ends what there is between it and another.
    pub fn disconnect(&mut self, file: usize) -> Result<(), Error> {
        self.gate()?;
        if self.link(file) == Link::Idle {
            return Err(Error::NotConnected);
        }
        self.leave(file);
        Ok(())
    }

    /// One side leaves; whether it was connected until then.
    fn leave(&mut self, file: usize) -> bool {
        let link = self.link(file);
        let mut was_open = false;
        if let Link::Connected(number, side) = link
            && let Some(mut wire) = self.wires.remove(&number)
        {
            was_open = wire.is_open();
            let own = &mut wire.0[side];
            own.has_left = true;
            own.inbox.clear();
            let senders = own.senders.drain(..).map(|sending| sending.request);
            let receivers = own.receivers.drain(..).map(|(request, _)| request);
            let requests: Vec<usize> = senders.chain(receivers).collect();
            let other = wire.0[1 - side].file;
            for request in requests {
                self.end(request, Outcome::Cancelled);
            }
            self.settle(&mut wire);
            self.wires.insert(number, wire);
            if was_open {
                self.tell(other, EventKind::Disconnected, 1);
            }
        }
        self.set_link(file, Link::Idle);
        was_open
    }

    /// The last handle of a file is closed: those that are connected with it or wait for it are told.
    pub(super) fn hang_up(&mut self, file: usize) {
        let own = self.files.get(&file).map_or(0, |file| file.endpoint);
        self.leave(file);
        for other in self.files.values_mut() {
            if other.link == Link::Waiting(own) {
                other.link = Link::Idle;
                other.mailbox.add(EventKind::Disconnected, 1);
                self.events[EventKind::Disconnected.index() as usize] += 1;
            }
        }
    }

    /// The device goes: every file that was connected, or had named another, is told, and what it has waiting there ends,
    /// either way.
    pub(super) fn hang_up_all(&mut self) {
        let ended: Vec<usize> = self.ends.keys().copied().collect();
        let files: Vec<usize> = self.files.keys().copied().collect();
        for file in files {
            let waits = matches!(self.link(file), Link::Waiting(_));
            if self.leave(file) || waits {
                self.tell(file, EventKind::Disconnected, 1);
            }
        }
        for (request, outcomes) in &mut self.ends {
            if !ended.contains(request) {
                *outcomes = vec![Outcome::Cancelled, Outcome::Failed(Error::Disconnected)];
            }
        }
    }

    /// A file sends a message, and perhaps receives one then.
    pub fn send(
        &mut self,
        file: usize,
        request: usize,
        bytes: Vec<u8>,
        room: Option<u32>,
        may_wait: bool,
    ) -> Result<(), Error> {
        let amount = Amount::new(0, bytes.len() as u64);
        self.charge(file, Amount::default(), amount)?;
        let Link::Connected(number, side) = self.link(file) else {
            return Err(Error::NotConnected);
        };
        let mut wire = self.wires.remove(&number).ok_or(Error::NotConnected)?;
        let busy = is_full(&wire.0[1 - side].inbox) || !wire.0[side].senders.is_empty();
        let result = if !wire.is_open() {
            Err(Error::Disconnected)
        } else if (busy && !may_wait) || too_many(&wire.0[side].senders) {
            Err(Error::QueueFull)
        } else {
            wire.0[side].senders.push_back(Sending {
                request,
                letter: Letter { payer: file, bytes },
                room,
            });
            self.settle(&mut wire);
            Ok(())
        };
        self.wires.insert(number, wire);
        result
    }

    /// A file receives a message.
    pub fn receive(&mut self, file: usize, request: usize, room: u32) -> Result<(), Error> {
        let Link::Connected(number, side) = self.link(file) else {
            return Err(Error::NotConnected);
        };
        let mut wire = self.wires.remove(&number).ok_or(Error::NotConnected)?;
        let result = if too_many(&wire.0[side].receivers) {
            Err(Error::QueueFull)
        } else {
            wire.0[side].receivers.push_back((request, room));
            self.settle(&mut wire);
            Ok(())
        };
        self.wires.insert(number, wire);
        result
    }

    /// A request that waits is cancelled; one that has ended is not.
    pub fn cancel(&mut self, request: usize) {
        let mut waited = false;
        for file in self.files.values_mut() {
            if file.mailbox.reader == Some(request) {
                file.mailbox.reader = None;
                waited = true;
            }
        }
        for side in self.wires.values_mut().flat_map(|wire| &mut wire.0) {
            let before = side.senders.len() + side.receivers.len();
            side.senders.retain(|sending| sending.request != request);
            side.receivers.retain(|(waiting, _)| *waiting != request);
            waited |= side.senders.len() + side.receivers.len() < before;
        }
        if waited {
            // What it was to send is charged no more, and no page says so at once.
            self.page_is_late = true;
            self.end(request, Outcome::Cancelled);
        }
    }

    /// Moves everything as far as it goes.
    fn settle(&mut self, wire: &mut Wire) {
        while (0..2).any(|side| self.deliver(wire, side) || self.accept(wire, side)) {}
    }

    /// The oldest message goes to the oldest request that receives.
    fn deliver(&mut self, wire: &mut Wire, side: usize) -> bool {
        let open = wire.is_open();
        let own = &mut wire.0[side];
        let length = own.inbox.front().map(|letter| letter.bytes.len() as u64);
        if length.is_none() && open {
            return false;
        }
        let Some((request, room)) = own.receivers.pop_front() else {
            return false;
        };
        let outcome = match length {
            None => Outcome::Failed(Error::Disconnected),
            Some(length) if length > u64::from(room) => Outcome::Failed(Error::MessageTooLong),
            Some(_) => {
                let letter = own.inbox.pop_front();
                Outcome::Received(letter.map_or(Vec::new(), |letter| letter.bytes))
            }
        };
        self.end(request, outcome);
        true
    }

    /// The message of the oldest request that sends is taken, if there is room for it.
    fn accept(&mut self, wire: &mut Wire, side: usize) -> bool {
        let open = wire.is_open();
        if open && is_full(&wire.0[1 - side].inbox) {
            return false;
        }
        let Some(sending) = wire.0[side].senders.pop_front() else {
            return false;
        };
        if !open {
            self.end(sending.request, Outcome::Failed(Error::Disconnected));
            return true;
        }
        let length = sending.letter.bytes.len() as u64;
        wire.0[1 - side].inbox.push_back(sending.letter);
        match sending.room {
            None => self.end(sending.request, Outcome::Sent(length)),
            Some(_) if too_many(&wire.0[side].receivers) => {
                self.end(sending.request, Outcome::Failed(Error::QueueFull));
            }
            Some(room) => wire.0[side].receivers.push_back((sending.request, room)),
        }
        true
    }
}
