//! Which files are connected.
//!
//! Each open file has an endpoint with a number that is never used again. A connection is made when
//! two files of one device have named each other: so nobody is connected with a file that did not
//! name it, and none can take the place of another. All changes are made under the lock of the list
//! of files; the lock of one endpoint is held only to look.

use core::sync::atomic::{AtomicU64, Ordering};

use sanproxy_abi::{
    ConnectionState, Error, EventKind,
    wire::{Choice, ConnectOutput, EndpointId, Header, Reserved},
};
use wdm::{mutex::Mutex, pool::Shared};

use super::wire::{Side, Wire};
use crate::file::File;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// What a file is to another one.
#[derive(Clone)]
enum Link {
    Idle,
    Waiting(u64),
    Connected(Shared<Wire>, Side),
    Closed,
}

/// The endpoint of a file.
pub(crate) struct Endpoint {
    number: u64,
    link: Mutex<Link>,
}

impl Endpoint {
    /// An endpoint that has named nobody.
    pub(crate) fn new() -> Self {
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            link: Mutex::new(Link::Idle),
        }
    }

    /// The connection, and which side of it this is.
    pub(super) fn wire(&self) -> Result<(Shared<Wire>, Side), Error> {
        match &*self.link.lock() {
            Link::Connected(wire, side) => Ok((wire.clone(), *side)),
            Link::Idle | Link::Waiting(_) => Err(Error::NotConnected),
            Link::Closed => Err(Error::FileClosed),
        }
    }

    fn link(&self) -> Link {
        self.link.lock().clone()
    }

    /// Changes the link; what it was is the caller's to drop, with no lock held.
    fn set(&self, link: Link) -> Link {
        core::mem::replace(&mut *self.link.lock(), link)
    }

    fn is_waiting_for(&self, number: u64) -> bool {
        matches!(&*self.link.lock(), Link::Waiting(peer) if *peer == number)
    }

    fn is_closed(&self) -> bool {
        matches!(&*self.link.lock(), Link::Closed)
    }

    /// Whether it has named anybody.
    pub(crate) fn is_used(&self) -> bool {
        matches!(&*self.link.lock(), Link::Waiting(_) | Link::Connected(_, _))
    }

    fn state(&self, state: ConnectionState) -> ConnectOutput {
        ConnectOutput {
            header: Header::of::<ConnectOutput>(),
            own: EndpointId(self.number),
            state: Choice(state.value()),
            reserved: Reserved(0),
        }
    }
}

/// Names the endpoint that a file is to be connected with; 0 only asks.
pub(crate) fn connect(file: &File, peer: EndpointId) -> Result<ConnectOutput, Error> {
    let answer = name(file, peer);
    // The connection before this one may have gone with messages that nobody received.
    file.device().publish();
    answer
}

fn name(file: &File, peer: EndpointId) -> Result<ConnectOutput, Error> {
    let own = file.endpoint();
    if peer.0 == 0 {
        return Ok(own.state(match own.link() {
            Link::Waiting(_) => ConnectionState::Waiting,
            Link::Connected(wire, _) if wire.is_open() => ConnectionState::Connected,
            Link::Idle | Link::Connected(_, _) | Link::Closed => ConnectionState::Idle,
        }));
    }
    let wire = Wire::new(own.number, peer.0).map_err(|_| Error::NoMemory)?;
    let wire = Shared::new(wire).map_err(|_| Error::NoMemory)?;
    // Dropped when the lock is given back: they are declared before it is taken.
    let _old;
    let other;
    let files = file.device().files().lock();
    match own.link() {
        Link::Closed => return Err(Error::FileClosed),
        Link::Connected(wire, _) if wire.is_open() => return Err(Error::AlreadyConnected),
        Link::Idle | Link::Waiting(_) | Link::Connected(_, _) => {}
    }
    let found = files.iter().find(|other| {
        let endpoint = other.endpoint();
        endpoint.number == peer.0
            && peer.0 != own.number
            && other.is_of(file.device())
            && !endpoint.is_closed()
    });
    other = found.cloned().ok_or(Error::UnknownEndpoint)?;
    if !other.endpoint().is_waiting_for(own.number) {
        _old = own.set(Link::Waiting(peer.0));
        return Ok(own.state(ConnectionState::Waiting));
    }
    other
        .endpoint()
        .set(Link::Connected(wire.clone(), Side::Second));
    _old = own.set(Link::Connected(wire, Side::First));
    drop(files);
    other.tell(EventKind::Connected, 1);
    Ok(own.state(ConnectionState::Connected))
}

/// Ends what there is between a file and another one, by the file's own wish.
pub(crate) fn disconnect(file: &File) -> Result<Header, Error> {
    let (old, _) = cut(file, Link::Idle);
    let result = match &old {
        Link::Idle => Err(Error::NotConnected),
        Link::Closed => Err(Error::FileClosed),
        Link::Waiting(_) | Link::Connected(_, _) => Ok(Header::of::<Header>()),
    };
    give_back(file, old);
    result
}

/// Ends what there is between a file and another one, and tells those that have named it: the file
/// is closed, or its device goes. Then the file itself is told too, if it had any hope left.
pub(crate) fn leave(file: &File, is_closed: bool) {
    let (old, was_open) = cut(file, if is_closed { Link::Closed } else { Link::Idle });
    if !is_closed && (was_open || matches!(old, Link::Waiting(_))) {
        file.tell(EventKind::Disconnected, 1);
    }
    give_back(file, old);
    let number = file.endpoint().number;
    let waits = |other: &&Shared<File>| other.endpoint().is_waiting_for(number);
    loop {
        let found = {
            let files = file.device().files().lock();
            let found = files.iter().find(waits).cloned();
            if let Some(other) = &found {
                other.endpoint().set(Link::Idle);
            }
            found
        };
        let Some(other) = found else {
            return;
        };
        other.tell(EventKind::Disconnected, 1);
    }
}

/// Drops a link that a file had: what nobody will receive any more is charged no more.
fn give_back(file: &File, old: Link) {
    drop(old);
    file.device().publish();
}

/// Changes a file's link, and if it was connected tells the other side, which keeps what it has not
/// received yet. Gives the old link, and whether it was a connection with both sides there.
fn cut(file: &File, link: Link) -> (Link, bool) {
    let (old, other) = {
        let files = file.device().files().lock();
        let own = file.endpoint();
        let keep = own.is_closed();
        let old = own.set(if keep { Link::Closed } else { link });
        let other = match &old {
            Link::Connected(wire, side) => {
                let number = wire.end(side.other());
                let mut all = files.iter();
                all.find(|other| other.endpoint().number == number).cloned()
            }
            Link::Idle | Link::Waiting(_) | Link::Closed => None,
        };
        (old, other)
    };
    let mut was_open = false;
    if let Link::Connected(wire, side) = &old {
        was_open = wire.leave(*side, file.device());
        if let Some(other) = other.filter(|_| was_open) {
            other.tell(EventKind::Disconnected, 1);
        }
    }
    (old, was_open)
}
