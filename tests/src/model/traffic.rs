//! Requests that may wait: events, and messages between files.

use nt_host::{Control, File, HostError, Pending};
use sanproxy_abi::{
    ControlCode, Error, ExchangeFlag, LONGEST_MESSAGE, Status,
    wire::{
        ConnectInput, ConnectOutput, EndpointId, EventsOutput, ExchangeInput, Flags, Header,
        Message, Reserved,
    },
};
use zerocopy::IntoBytes;

use super::{
    lives::status,
    operation::{Peer, Pick, Sender},
    oracle::wire::Outcome,
    world::{Agreement, Handle, World},
};
use crate::wire;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Events.
    Events,
    /// A message, with so much room for it.
    Message(u32),
    /// That a message is taken.
    Taken,
}

/// A request that may wait.
pub struct Request {
    /// Its number, which no other ever has.
    number: usize,
    /// The process that sent it.
    pub process: usize,
    /// The thread, if not the first.
    pub thread: Option<usize>,
    /// The file.
    file: usize,
    asked: Asked,
    pending: Pending,
}

impl Request {
    /// Whether it has not ended.
    pub fn waits(&self) -> bool {
        self.pending.result().is_none()
    }

    fn status(&self) -> Option<Status> {
        self.pending.result().map(|result| Status(result.status.0))
    }
}

/// What a file is known by to others.
pub(super) fn endpoint(file: &File) -> Result<u64, String> {
    let input = ConnectInput {
        header: Header::of::<ConnectInput>(),
        endpoint: EndpointId(0),
    };
    let reply = wire::ask::<_, ConnectOutput>(file, ControlCode::Connect, &input);
    let reply = reply.map_err(|status| format!("a new file is not told its endpoint: {status:?}"));
    reply.map(|reply| reply.own.0)
}

/// A message of some length, unlike others.
fn message(seed: usize, length: u32) -> Vec<u8> {
    (0..length)
        .map(|at| (at as usize * 7 + seed * 31) as u8)
        .collect()
}

fn check_length(length: u32) -> Result<(), Error> {
    if length == 0 || length as usize > LONGEST_MESSAGE {
        Err(Error::MessageLength)
    } else {
        Ok(())
    }
}

impl World {
    /// Names an endpoint.
    pub fn connect(&mut self, pick: Pick, peer: Peer) -> Agreement {
        let files: Vec<u64> = self
            .oracle
            .files
            .values()
            .map(|file| file.endpoint)
            .collect();
        let peer = match peer {
            Peer::Nobody => 0,
            Peer::Guess(number) => number,
            Peer::File(pick) => {
                let place = usize::from(pick).checked_rem(files.len());
                place.map_or(0, |place| files[place])
            }
        };
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file) = (handle.number, handle.opened);
        let input = ConnectInput {
            header: Header::of::<ConnectInput>(),
            endpoint: EndpointId(peer),
        };
        let reply = wire::ask::<_, ConnectOutput>(&handle.file, ControlCode::Connect, &input);
        self.tell(format!("handle {number}: connect with endpoint {peer}"));
        let connection = self.number();
        let expected = self.oracle.connect(file, peer, connection);
        let expected = expected.map(|(own, state)| (own, state.value()));
        let actual = reply.map(|reply| (reply.own.0, reply.state.0));
        self.agree("connect", actual, expected)
    }

    /// Two files name each other.
    pub fn connect_both(&mut self, one: Pick, other: Pick) -> Agreement {
        let file_of = |pick| self.pick(pick).map(|handle| handle.opened);
        let place = |file| self.oracle.files.keys().position(|number| *number == file);
        let places = [one, other].map(|pick| file_of(pick).and_then(place));
        let [Some(first), Some(second)] =
            places.map(|place| place.and_then(|it| Pick::try_from(it).ok()))
        else {
            return Ok(());
        };
        self.connect(one, Peer::File(second))?;
        self.connect(other, Peer::File(first))
    }

    /// Ends a connection.
    pub fn disconnect(&mut self, pick: Pick) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file) = (handle.number, handle.opened);
        let header = Header::of::<Header>();
        let reply = wire::ask::<_, Header>(&handle.file, ControlCode::Disconnect, &header);
        self.tell(format!("handle {number}: disconnect"));
        let expected = self.oracle.disconnect(file);
        self.agree("disconnect", reply.map(drop), expected)
    }

    /// Sends a request that may wait; its number and its file.
    fn begin(
        &mut self,
        pick: Pick,
        sender: Sender,
        asked: Asked,
        start: impl FnOnce(&File) -> Result<Pending, HostError>,
    ) -> Result<Option<(usize, usize)>, String> {
        let request = self.number();
        let Some(handle) = self.pick(pick) else {
            return Ok(None);
        };
        let Handle {
            number,
            process,
            opened,
            file,
        } = handle;
        let (number, process, opened) = (*number, *process, *opened);
        let running = self.processes.iter().find(|it| it.number == process);
        let thread = running.zip(sender).and_then(|(running, pick)| {
            let place = usize::from(pick).checked_rem(running.threads.len())?;
            running.threads.get(place)
        });
        let (pending, thread) = match thread {
            Some((thread, it)) => (it.run(|| start(file)), Some(*thread)),
            None => (start(file), None),
        };
        let pending = status(pending)?;
        self.tell(format!(
            "handle {number}: request {request}, {asked:?}, of thread {thread:?}"
        ));
        self.requests.push(Request {
            number: request,
            process,
            thread,
            file: opened,
            asked,
            pending,
        });
        Ok(Some((request, opened)))
    }

    /// What the model says at once of a request that was just sent.
    fn expect(&mut self, request: usize, at_once: Result<(), Error>) {
        if let Err(error) = at_once {
            self.oracle.end(request, Outcome::Failed(error));
        }
    }

    /// Sends messages.
    pub fn send(&mut self, pick: Pick, sender: Sender, length: u32, number: u8) -> Agreement {
        for _ in 0..number {
            let bytes = message(self.requests.len(), length);
            let begun = self.begin(pick, sender, Asked::Taken, |file| {
                file.begin_write(&bytes, 0)
            });
            let Some((request, file)) = begun? else {
                return Ok(());
            };
            let at_once = self
                .oracle
                .gate()
                .and_then(|()| check_length(length))
                .and_then(|()| self.oracle.send(file, request, bytes, None, true));
            self.expect(request, at_once);
        }
        Ok(())
    }

    /// Receives messages.
    pub fn receive(&mut self, pick: Pick, sender: Sender, room: u32, number: u8) -> Agreement {
        for _ in 0..number {
            let begun = self.begin(pick, sender, Asked::Message(room), |file| {
                file.begin_read(room as usize, 0)
            });
            let Some((request, file)) = begun? else {
                return Ok(());
            };
            let at_once = self
                .oracle
                .gate()
                .and_then(|()| check_length(room))
                .and_then(|()| self.oracle.receive(file, request, room));
            self.expect(request, at_once);
        }
        Ok(())
    }

    /// Sends a message and receives one.
    pub fn exchange(
        &mut self,
        pick: Pick,
        sender: Sender,
        [length, room]: [u32; 2],
        may_wait: bool,
    ) -> Agreement {
        let bytes = message(self.requests.len(), length);
        let flags = if may_wait {
            0
        } else {
            ExchangeFlag::DontWait.value()
        };
        let start = ExchangeInput {
            header: Header::of::<ExchangeInput>(),
            flags: Flags(flags),
            reserved: Reserved(0),
        };
        let input = [start.as_bytes(), &bytes].concat();
        let control = Control::new(ControlCode::Exchange.value(), &input, room as usize);
        let begun = self.begin(pick, sender, Asked::Message(room), |file| {
            file.begin(&control)
        })?;
        let Some((request, file)) = begun else {
            return Ok(());
        };
        let at_once = check_length(room)
            .map_err(|_| Error::OutputLength)
            .and_then(|()| check_length(length))
            .and_then(|()| self.oracle.gate())
            .and_then(|()| self.oracle.send(file, request, bytes, Some(room), may_wait));
        self.expect(request, at_once);
        Ok(())
    }

    /// Asks for events: told at once if there are any.
    pub fn wait(&mut self, pick: Pick, sender: Sender) -> Agreement {
        let header = Header::of::<Header>();
        let code = ControlCode::WaitEvent.value();
        let begun = self.begin(pick, sender, Asked::Events, |file| {
            file.begin(&Control::new(
                code,
                header.as_bytes(),
                size_of::<EventsOutput>(),
            ))
        });
        let Some((request, file)) = begun? else {
            return Ok(());
        };
        let has_ended = self.requests.last().is_some_and(|it| it.status().is_some());
        let Some(open) = self.oracle.files.get_mut(&file) else {
            return Ok(());
        };
        let mailbox = &mut open.mailbox;
        if mailbox.reader.is_some() && !mailbox.has_news() {
            self.oracle
                .end(request, Outcome::Failed(Error::WaitPending));
        } else if mailbox.ended && !mailbox.has_news() {
            self.oracle.end(request, Outcome::Failed(Error::Removed));
        } else if has_ended {
            let last = self.requests.pop();
            return last.map_or(Ok(()), |last| self.told(last, true));
        } else {
            mailbox.is_silent()?;
            mailbox.reader = Some(request);
        }
        Ok(())
    }

    /// A request has been told of events: of all there were, if it came when there were some.
    fn told(&mut self, request: Request, all: bool) -> Agreement {
        let name = format!("request {}", request.number);
        let mut bytes = [0; size_of::<EventsOutput>()];
        let result = status(request.pending.finish(&mut bytes))?;
        if !result.status.is_success() || result.information != bytes.len() as u64 {
            return Err(format!("{name} ends with {result:?}"));
        }
        let reply = EventsOutput::parse(&bytes)
            .map_err(|error| format!("{name}: the reply is malformed: {error:?}"))?;
        let counts = reply.counts.map(|count| count.0);
        let kinds = (0_u32..).zip(counts).filter(|(_, count)| *count > 0);
        let kinds = kinds.fold(0, |kinds, (place, _)| kinds | 1 << place);
        let coalesced: u64 = counts.iter().map(|count| count.saturating_sub(1)).sum();
        if kinds == 0 || reply.kinds.0 != kinds || reply.coalesced.0 != coalesced {
            return Err(format!("{name} is told {reply:?}"));
        }
        self.tell(format!("  {name} is told {counts:?}"));
        let Some(file) = self.oracle.files.get_mut(&request.file) else {
            return Err(format!("{name} is told events of a closed file"));
        };
        if file.mailbox.reader == Some(request.number) {
            file.mailbox.reader = None;
        }
        file.mailbox.told(counts, all)
    }

    /// Some requests are cancelled by the system.
    pub fn cancelled(&mut self, which: impl Fn(&Request) -> bool) {
        for request in self.requests.iter().filter(|request| which(request)) {
            self.oracle.cancel(request.number);
        }
    }

    /// A request is cancelled.
    pub fn cancel(&mut self, pick: Pick) -> Agreement {
        let Some(place) = usize::from(pick).checked_rem(self.requests.len()) else {
            return Ok(());
        };
        let request = &self.requests[place];
        let number = request.number;
        status(request.pending.cancel())?;
        self.tell(format!("request {number} is cancelled"));
        self.oracle.cancel(number);
        Ok(())
    }

    /// All requests of a file are cancelled.
    pub fn cancel_all(&mut self, pick: Pick) -> Agreement {
        let Some(handle) = self.pick(pick) else {
            return Ok(());
        };
        let (number, file) = (handle.number, handle.opened);
        status(handle.file.cancel_all())?;
        self.tell(format!("handle {number}: all requests are cancelled"));
        self.cancelled(|request| request.file == file);
        Ok(())
    }

    /// Requests that had to end by now have ended, as they had to; the others wait.
    pub fn compare_requests(&mut self) -> Agreement {
        for request in std::mem::take(&mut self.requests) {
            let number = request.number;
            let expected = self.oracle.ends.remove(&number);
            match (request.status(), expected) {
                (None, None) => {
                    let file = self.oracle.files.get_mut(&request.file);
                    if let Some(file) = file.filter(|_| request.asked == Asked::Events) {
                        file.mailbox.is_silent()?;
                    }
                    self.requests.push(request);
                }
                (None, Some(expected)) => {
                    return Err(format!("request {number} waits, has to be {expected:?}"));
                }
                (Some(status), None) if request.asked == Asked::Events && status.is_success() => {
                    self.told(request, false)?;
                }
                (Some(status), None) => {
                    return Err(format!(
                        "request {number} ends with {status:?}, has to wait"
                    ));
                }
                (Some(status), Some(expected)) => self.ended(request, status, &expected)?,
            }
        }
        Ok(())
    }

    fn ended(&mut self, request: Request, end: Status, expected: &[Outcome]) -> Agreement {
        let number = request.number;
        let (process, asked) = (request.process, request.asked);
        let outcome = if end.is_success() {
            let room = match asked {
                Asked::Message(room) => room as usize,
                Asked::Events | Asked::Taken => 0,
            };
            let mut bytes = vec![0; room];
            let result = status(request.pending.finish(&mut bytes))?;
            bytes.truncate(usize::try_from(result.information).unwrap_or(0));
            if asked == Asked::Taken {
                Outcome::Sent(result.information)
            } else {
                Outcome::Received(bytes)
            }
        } else {
            let failed = expected.iter().find_map(|outcome| match outcome {
                Outcome::Failed(error) if error.status() == end => Some(*error),
                _ => None,
            });
            match failed {
                Some(error) => Outcome::Failed(self.oracle.fail(error)),
                None if end == Status::CANCELLED => Outcome::Cancelled,
                None => {
                    return Err(format!(
                        "request {number} ends with {end:?}, has to be {expected:?}"
                    ));
                }
            }
        };
        if expected.contains(&outcome) {
            return Ok(());
        }
        Err(format!(
            "request {number} of process {process}: is {outcome:?}, has to be {expected:?}"
        ))
    }

    /// Every file is told what is left to tell, and nothing else.
    pub fn last_words(&mut self) -> Agreement {
        let mut files: Vec<usize> = self.handles.iter().map(|handle| handle.opened).collect();
        files.dedup();
        for file in files {
            let handle = self.handles.iter().position(|handle| handle.opened == file);
            let Some(pick) = handle.and_then(|place| Pick::try_from(place).ok()) else {
                continue;
            };
            self.wait(pick, None)?;
            self.compare_requests()?;
            self.cancel_all(pick)?;
            self.compare()?;
        }
        Ok(())
    }
}
