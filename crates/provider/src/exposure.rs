//! Memory that the other side of a connection may reach: what it is named by, and for how long.
//!
//! The owner exposes a range and sends its [`Descriptor`] to the peer; the peer's requests carry it
//! back, and the owner's transport lets the device do only what [`Exposures::reach`] allows. When an
//! exposure ends, nothing can be reached through it from that moment on. The memory stays locked
//! and registered in the cache, so exposing it again asks the driver nothing; it has another
//! descriptor then, and the old one stays worthless.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sanproxy_abi::Access;

use crate::{Error, Lease, Registrar, RegistrationCache};

/// Names exposed memory to the peer of one connection. It holds no address and no handle, and
/// cannot be guessed: another value names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Descriptor([u8; Descriptor::LENGTH]);

impl Descriptor {
    /// How many bytes it has.
    pub const LENGTH: usize = 16;

    /// Its bytes, to be sent.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// What was received as one; `None` if the length is wrong.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Stores it, and gives its length, as `WSPRegisterRdmaMemory` does.
    ///
    /// # Errors
    ///
    /// The length that is needed, if there is less room (`WSAEFAULT`). Nothing is stored then.
    pub fn store(&self, room: &mut [u8]) -> Result<usize, usize> {
        let place = room.get_mut(..Self::LENGTH).ok_or(Self::LENGTH)?;
        place.copy_from_slice(&self.0);
        Ok(Self::LENGTH)
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever reads it could use it.
        formatter.write_str("Descriptor(..)")
    }
}

/// Why the peer may not reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The descriptor names nothing of this connection, or nothing any more.
    #[error("the descriptor names nothing that is exposed to this connection")]
    Unknown,
    /// The memory was exposed for another access.
    #[error("the memory is exposed for {granted:?} only")]
    Access {
        /// What it was exposed for.
        granted: Access,
    },
    /// The range is empty or reaches beyond the memory.
    #[error("the range is empty or reaches beyond the {available} bytes that are exposed")]
    Range {
        /// How many bytes are exposed.
        available: u64,
    },
}

impl Unreachable {
    /// The error of Windows Sockets for all of them: `WSAEINVAL`.
    #[must_use]
    pub const fn winsock_error(self) -> i32 {
        10022
    }
}

/// Whether memory exposed for one access may be used with another.
const fn grants(granted: Access, wanted: Access) -> bool {
    matches!(
        (granted, wanted),
        (Access::ReadWrite, _) | (Access::Read, Access::Read) | (Access::Write, Access::Write)
    )
}

struct Exposed<R: Registrar> {
    lease: Lease<R>,
    access: Access,
}

struct State<R: Registrar> {
    closed: bool,
    next: u64,
    live: HashMap<Descriptor, Arc<Exposed<R>>>,
}

struct Table<R: Registrar> {
    cache: RegistrationCache<R>,
    /// Secret: made from the system's random numbers.
    keys: [RandomState; 2],
    state: Mutex<State<R>>,
}

impl<R: Registrar> Table<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        // The state is consistent after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn descriptor(&self, number: u64) -> Descriptor {
        let mut bytes = [0; Descriptor::LENGTH];
        let halves = self.keys.iter().map(|key| key.hash_one(number));
        for (place, half) in bytes.chunks_exact_mut(8).zip(halves) {
            place.copy_from_slice(&half.to_le_bytes());
        }
        Descriptor(bytes)
    }

    /// The memory is given back to the cache by whoever drops it last, with no lock held.
    fn remove(&self, descriptor: &Descriptor) -> Option<Arc<Exposed<R>>> {
        self.lock().live.remove(descriptor)
    }
}

/// What one connection's peer may reach. Clones share it.
pub struct Exposures<R: Registrar>(Arc<Table<R>>);

impl<R: Registrar> Clone for Exposures<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Registrar> Exposures<R> {
    /// Nothing yet, for a connection that uses this cache.
    #[must_use]
    pub fn new(cache: RegistrationCache<R>) -> Self {
        Self(Arc::new(Table {
            cache,
            keys: [RandomState::new(), RandomState::new()],
            state: Mutex::new(State {
                closed: false,
                next: 0,
                live: HashMap::new(),
            }),
        }))
    }

    /// Lets the peer reach a range until the result is dropped. The same memory may be exposed more
    /// than once.
    ///
    /// # Errors
    ///
    /// The driver refuses to register it, or [`Error::ConnectionClosed`].
    pub fn expose(&self, start: u64, length: u64, access: Access) -> Result<Exposure<R>, Error> {
        let lease = self.0.cache.register(start, length, access)?;
        let exposed = Arc::new(Exposed { lease, access });
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            drop(exposed);
            return Err(Error::ConnectionClosed);
        }
        loop {
            let descriptor = self.0.descriptor(state.next);
            state.next = state.next.wrapping_add(1);
            // One that is taken already is as good as impossible; then the next number is tried.
            if let Entry::Vacant(place) = state.live.entry(descriptor) {
                place.insert(exposed);
                return Ok(Exposure {
                    table: Arc::clone(&self.0),
                    descriptor,
                });
            }
        }
    }

    /// What a request of the peer means. The memory stays registered while the result lives.
    ///
    /// # Errors
    ///
    /// [`Unreachable`]: then no byte is to be moved.
    pub fn reach(
        &self,
        descriptor: &Descriptor,
        access: Access,
        offset: u64,
        length: u64,
    ) -> Result<Reach<R>, Unreachable> {
        let found = self.0.lock().live.get(descriptor).map(Arc::clone);
        let exposed = found.ok_or(Unreachable::Unknown)?;
        if !grants(exposed.access, access) {
            return Err(Unreachable::Access {
                granted: exposed.access,
            });
        }
        let available = exposed.lease.length();
        let within = offset
            .checked_add(length)
            .is_some_and(|end| end <= available);
        if !within || length == 0 {
            return Err(Unreachable::Range { available });
        }
        Ok(Reach {
            start: exposed.lease.start().saturating_add(offset),
            length,
            exposed,
        })
    }

    /// How many exposures there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().live.len()
    }

    /// The connection closes: nothing is reached any more, and what is idle in its cache is
    /// released. Transfers that have begun keep their memory until they are done.
    pub fn close(&self) {
        let ended = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.live)
        };
        drop(ended);
        self.0.cache.flush();
    }
}

/// Memory that the peer may reach, as long as this lives.
pub struct Exposure<R: Registrar> {
    table: Arc<Table<R>>,
    descriptor: Descriptor,
}

impl<R: Registrar> Exposure<R> {
    /// What the peer names it by.
    #[must_use]
    pub const fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Ends the exposure, unless a transfer uses it now: as `WSPDeregisterRdmaMemory` does.
    ///
    /// # Errors
    ///
    /// Itself, unchanged (`WSAEINVAL`).
    pub fn end(self) -> Result<(), Self> {
        let mut state = self.table.lock();
        let used = |exposed: &Arc<Exposed<R>>| Arc::strong_count(exposed) > 1;
        if state.live.get(&self.descriptor).is_some_and(used) {
            drop(state);
            return Err(self);
        }
        let ended = state.live.remove(&self.descriptor);
        drop(state);
        drop(ended);
        Ok(())
    }
}

impl<R: Registrar> Drop for Exposure<R> {
    fn drop(&mut self) {
        drop(self.table.remove(&self.descriptor));
    }
}

impl<R: Registrar> fmt::Debug for Exposure<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exposure").finish_non_exhaustive()
    }
}

/// What a request of the peer may reach, for as long as it takes.
pub struct Reach<R: Registrar> {
    exposed: Arc<Exposed<R>>,
    start: u64,
    length: u64,
}

impl<R: Registrar> Reach<R> {
    /// What is known of the registration.
    #[must_use]
    pub fn memory(&self) -> &R::Memory {
        self.exposed.lease.memory()
    }

    /// Where the range begins, for the program.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }
}

impl<R: Registrar> fmt::Debug for Reach<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reach")
            .field("start", &self.start)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
