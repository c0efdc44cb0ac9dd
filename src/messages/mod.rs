//! Messages between two files, over a wire that exists only here.
//!
//! * [`Endpoint`]: what a file is to another one: nothing, waiting for it, or connected
//! * [`wire`]: a connection: queues of messages, and of requests that wait for one or for room
//! * [`send`], [`receive`]: what requests make of it

mod endpoint;
mod wire;

use sanproxy_abi::Error;
use wdm::{
    direct::Direct,
    irp::Completed,
    list::Node,
    pending::Place,
    pool::{Bytes, Owned},
};

pub(crate) use self::endpoint::{Endpoint, connect, disconnect, leave};
use self::wire::{Load, Parcel};
use crate::{device::ExtraDebt, file::File};

/// A message on its way.
pub(crate) struct Message {
    bytes: Bytes,
    #[expect(dead_code, reason = "kept as long as the message")]
    debt: ExtraDebt,
}

/// A message in the place that it takes in a queue.
pub(crate) type Letter = Owned<Node<Message>>;

/// Makes a message, at the cost of the file that sends it.
pub(crate) fn write(
    file: &File,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Result<Letter, Error> {
    let debt = file.charge_message(u64::try_from(length).unwrap_or(u64::MAX))?;
    let mut bytes = Bytes::zeroed(length).map_err(|_| Error::NoMemory)?;
    fill(&mut bytes);
    Node::new(Message { bytes, debt }).map_err(|_| Error::NoMemory)
}

/// What a request is to do, beside carrying a message.
#[derive(Clone, Copy)]
pub(crate) struct Sending {
    /// To receive a message afterwards.
    pub(crate) exchange: bool,
    /// To wait until there is room for the message.
    pub(crate) may_wait: bool,
}

/// Sends a message, now or when there is room for it.
pub(crate) fn send(file: &File, request: Direct, letter: Letter, sending: Sending) -> Completed {
    let load = if sending.exchange {
        Load::Exchange(letter)
    } else {
        Load::Write(letter)
    };
    start(file, request, load, sending.may_wait)
}

/// Receives a message, now or when there is one.
pub(crate) fn receive(file: &File, request: Direct) -> Completed {
    start(file, request, Load::Receive, true)
}

fn start(file: &File, request: Direct, load: Load, may_wait: bool) -> Completed {
    let device = file.device();
    let length = u64::try_from(request.length()).unwrap_or(u64::MAX);
    // A request that waits keeps its buffer locked, also if that is memory of a registration which is
    // released meanwhile.
    let own = file.check_own(request.address(), length);
    let ready = own.and_then(|()| file.endpoint().wire()).and_then(|link| {
        let place = Place::new().map_err(|_| Error::NoMemory)?;
        Ok((link, place))
    });
    match ready {
        Ok(((wire, side), place)) => {
            let parcel: Parcel = place.fill(request, load);
            wire.start(side, parcel, may_wait, device)
        }
        Err(error) => {
            // First, so that the status page does not count what is not sent.
            drop(load);
            request.complete(Err(device.fail(error)))
        }
    }
}
