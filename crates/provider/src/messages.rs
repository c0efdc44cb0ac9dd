//! Events of a file, and messages to and from another one.

use sanproxy_abi::wire::{
    ConnectInput, ConnectOutput, EndpointId, EventsOutput, ExchangeInput, Flags, Header, Reserved,
};
use sanproxy_abi::{ConnectionState, ControlCode, EVENT_KINDS, EventKind, ExchangeFlag, Status};
use zerocopy::IntoBytes;

use crate::reply::{Check, ask};
use crate::{Channel, Error, Provider};

/// What has happened since this was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    counts: [u64; EVENT_KINDS],
    /// How many of them came while one of their kind was waiting to be told already.
    pub coalesced: u64,
}

impl Events {
    /// How many events of a kind there were.
    #[must_use]
    pub fn count(&self, kind: EventKind) -> u64 {
        let place = usize::try_from(kind.index()).ok();
        let count = place.and_then(|place| self.counts.get(place));
        count.copied().unwrap_or(0)
    }

    /// Each kind that occurred, with how often it did.
    pub fn iter(&self) -> impl Iterator<Item = (EventKind, u64)> {
        let all = EventKind::ALL.iter().map(|kind| (*kind, self.count(*kind)));
        all.filter(|(_, count)| *count > 0)
    }
}

impl TryFrom<EventsOutput> for Events {
    type Error = Error;

    fn try_from(reply: EventsOutput) -> Result<Self, Error> {
        let check = Check(ControlCode::WaitEvent);
        let counts = reply.counts.map(|count| count.0);
        let (mut kinds, mut coalesced) = (0, 0_u64);
        for (kind, count) in EventKind::ALL.iter().zip(counts) {
            if count > 0 {
                kinds |= kind.value();
                coalesced = coalesced.saturating_add(count.saturating_sub(1));
            }
        }
        check.that(kinds != 0 && reply.kinds.0 == kinds, "kinds", reply.kinds.0)?;
        let same = reply.coalesced.0 == coalesced;
        check.that(same, "coalesced", reply.coalesced.0)?;
        Ok(Self { counts, coalesced })
    }
}

/// This file's own endpoint, and what it is to the one that it has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The number that others name this file by.
    pub own: EndpointId,
    /// Whether it is connected.
    pub state: ConnectionState,
}

impl<C: Channel> Provider<C> {
    /// Waits for events, at most once at a time; events that came before are told at once.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: with `STATUS_DEVICE_BUSY` if another thread waits already, with
    /// `STATUS_CANCELLED` after [`Provider::cancel`]. Or an error that names what is wrong with the
    /// reply.
    pub fn wait_event(&self) -> Result<Events, Error> {
        let header = Header::of::<Header>();
        let reply: EventsOutput = ask(self.channel(), ControlCode::WaitEvent, &header)?;
        Events::try_from(reply)
    }

    /// This file's own endpoint, for the other side to name.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn endpoint(&self) -> Result<Connection, Error> {
        self.connect(EndpointId(0))
    }

    /// Names the endpoint to be connected with. They are connected when both have named each other;
    /// whoever was first is told by an event.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or an error that names what is wrong with the reply.
    pub fn connect(&self, peer: EndpointId) -> Result<Connection, Error> {
        let input = ConnectInput {
            header: Header::of::<ConnectInput>(),
            endpoint: peer,
        };
        let reply: ConnectOutput = ask(self.channel(), ControlCode::Connect, &input)?;
        let check = Check(ControlCode::Connect);
        check.that(reply.own.0 != 0, "own", 0_u64)?;
        let state = ConnectionState::from_value(reply.state.0);
        Ok(Connection {
            own: reply.own,
            state: check.some(state, "state", reply.state.0)?,
        })
    }

    /// Ends the connection.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if there is none.
    pub fn disconnect(&self) -> Result<(), Error> {
        let header = Header::of::<Header>();
        let _: Header = ask(self.channel(), ControlCode::Disconnect, &header)?;
        Ok(())
    }

    /// Sends a message, and waits while the other side has no room for it.
    ///
    /// # Errors
    ///
    /// [`Error::Message`].
    pub fn send(&self, message: &[u8]) -> Result<(), Error> {
        self.channel()
            .send(message)
            .map_err(|status| Error::Message { status })
    }

    /// Waits for the next message; gives its length.
    ///
    /// # Errors
    ///
    /// [`Error::Message`]: with `STATUS_BUFFER_TOO_SMALL` the message is kept.
    pub fn receive(&self, room: &mut [u8]) -> Result<usize, Error> {
        let received = self.channel().receive(room);
        let length = received.map_err(|status| Error::Message { status })?;
        within(length, room.len())
    }

    /// Sends a message and waits for the next one that comes; gives its length.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; after `STATUS_BUFFER_TOO_SMALL` and `STATUS_CANCELLED` the message may
    /// have been sent.
    pub fn exchange(&self, message: &[u8], room: &mut [u8]) -> Result<usize, Error> {
        self.exchange_with(Flags(0), message, room)
    }

    /// As [`Provider::exchange`], but fails with `STATUS_DEVICE_BUSY` instead of waiting for room.
    ///
    /// # Errors
    ///
    /// As for [`Provider::exchange`].
    pub fn try_exchange(&self, message: &[u8], room: &mut [u8]) -> Result<usize, Error> {
        self.exchange_with(Flags(ExchangeFlag::DontWait.value()), message, room)
    }

    fn exchange_with(&self, flags: Flags, message: &[u8], room: &mut [u8]) -> Result<usize, Error> {
        let request = ControlCode::Exchange;
        let start = ExchangeInput {
            header: Header::of::<ExchangeInput>(),
            flags,
            reserved: Reserved(0),
        };
        let input = [start.as_bytes(), message].concat();
        let length = self
            .channel()
            .control(request.value(), &input, room)
            .map_err(|status| refused(request, status, &input, room.len()))?;
        within(length, room.len())
    }

    /// Cancels all requests of this file that wait in other threads.
    pub fn cancel(&self) {
        self.channel().cancel();
    }
}

fn refused(request: ControlCode, status: Status, input: &[u8], room: usize) -> Error {
    let cause = sanproxy_abi::Request::parse(request.value(), input, room).err();
    Error::Refused {
        request,
        status,
        cause: cause.filter(|cause| cause.status() == status),
    }
}

/// No reply is longer than the room for it.
fn within(returned: usize, room: usize) -> Result<usize, Error> {
    if returned == 0 || returned > room {
        return Err(Error::ReplyLength {
            request: ControlCode::Exchange,
            returned,
            expected: room,
        });
    }
    Ok(returned)
}
