//! The registration cache: memory of the program's own that stays registered after its user is
//! done with it, for the next one.
//!
//! Memory is secured before it is registered, so what is registered is what is secured. Before the
//! program frees or protects secured memory, the system tells it, and [`RegistrationCache::invalidate`]
//! releases what overlaps. What cannot be secured is not cached.
//!
//! No lock is held while the driver is asked anything. The heap is not touched while a lock is
//! held, nor while memory is invalidated: it may be the heap that is freeing it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sanproxy_abi::{Access, Status};
use sanproxy_registry::{CacheKey, CacheLimits, Chunk, Idle, RangeCache, Span};

use crate::Error;

/// What the cache needs of a driver: to register memory of the program's own, and to secure it.
pub trait Registrar {
    /// Names a registration until it is released.
    type Name: Copy;
    /// Names a secured range until it is unsecured.
    type Secured: Copy;
    /// What is known of a registration: where the device finds it.
    type Memory;

    /// Registers a range.
    ///
    /// # Errors
    ///
    /// The driver refuses.
    fn register(
        &self,
        start: u64,
        length: u64,
        access: Access,
    ) -> Result<(Self::Name, Self::Memory), Error>;

    /// Releases a registration. Does not use the heap.
    ///
    /// # Errors
    ///
    /// The driver does not know it any more.
    fn release(&self, name: Self::Name) -> Result<(), Error>;

    /// Secures a range.
    ///
    /// # Errors
    ///
    /// The range cannot be secured.
    fn secure(&self, start: u64, length: u64, access: Access) -> Result<Self::Secured, Error>;

    /// Unsecures a range. Does not use the heap.
    ///
    /// # Errors
    ///
    /// The driver does not know it any more.
    fn unsecure(&self, secured: Self::Secured) -> Result<(), Error>;
}

/// What an invalidation has come to: the results of `WSPMemoryRegistrationCacheCallback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// What was cached there is released and unsecured.
    Undone,
    /// Some of what was cached there is in use, or the driver refused to release it: it may still
    /// be secured.
    NotUndone,
    /// Nothing of it was cached.
    NotCached,
}

impl Invalidation {
    /// The error of Windows Sockets that says so: 0, `WSAEFAULT` or `WSAEINVAL`.
    #[must_use]
    pub const fn winsock_error(self) -> i32 {
        match self {
            Self::Undone => 0,
            Self::NotUndone => 10014,
            Self::NotCached => 10022,
        }
    }

    /// Whether the system should try again to free the memory: what a secure-memory callback says.
    #[must_use]
    pub const fn has_unsecured(self) -> bool {
        matches!(self, Self::Undone)
    }
}

/// How often the cache was asked, and what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Ranges that were registered already.
    pub hits: u64,
    /// Ranges that were not.
    pub misses: u64,
    /// Ranges that could not be secured, and were not cached.
    pub uncached: u64,
    /// Ranges that were released because the limits leave no room for them.
    pub evicted: u64,
}

struct Entry<R: Registrar> {
    name: R::Name,
    secured: R::Secured,
    memory: Arc<R::Memory>,
    /// The pages that are secured.
    span: Span,
}

/// How many releases are remembered.
const REMEMBERED: usize = 16;

struct State<R: Registrar> {
    ranges: RangeCache<Entry<R>>,
    counters: CacheCounters,
    /// What was released last, and not by an invalidation of the same pages. A free that found the pages
    /// secured may come to ask only now.
    released: [Option<Span>; REMEMBERED],
    /// Where in it the next one goes.
    next: usize,
}

impl<R: Registrar> State<R> {
    fn remember(&mut self, span: Span) {
        if let Some(place) = self.released.get_mut(self.next) {
            *place = Some(span);
        }
        self.next = self.next.wrapping_add(1) % REMEMBERED;
    }

    /// Whether something there was released a moment ago; it is told once.
    fn was_released(&mut self, span: Span) -> bool {
        let overlapping = |place: &&mut Option<Span>| place.is_some_and(|its| its.overlaps(span));
        let told = self.released.iter_mut().filter(overlapping);
        told.map(Option::take).count() > 0
    }
}

struct Inner<R: Registrar> {
    registrar: R,
    state: Mutex<State<R>>,
    /// Something has been released.
    released: Condvar,
}

/// Registrations of the program's own memory, kept for the next user. Clones share one cache.
pub struct RegistrationCache<R: Registrar>(Arc<Inner<R>>);

impl<R: Registrar> Clone for RegistrationCache<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Registrar> RegistrationCache<R> {
    /// An empty cache that keeps at most so much idle. With limits of zero nothing is kept.
    pub fn new(registrar: R, limits: CacheLimits) -> Self {
        let place = &raw const registrar;
        let seed = u64::try_from(place.addr()).unwrap_or(0);
        Self(Arc::new(Inner {
            registrar,
            state: Mutex::new(State {
                ranges: RangeCache::new(limits, seed),
                counters: CacheCounters::default(),
                released: [None; REMEMBERED],
                next: 0,
            }),
            released: Condvar::new(),
        }))
    }

    /// The way to the driver.
    #[must_use]
    pub fn registrar(&self) -> &R {
        &self.0.registrar
    }

    /// Memory of the program's own that the device reaches with exactly that access, as long as
    /// the result lives. The range may be part of what was registered before.
    ///
    /// # Errors
    ///
    /// The driver refuses to register it, even with nothing idle left that takes up room.
    pub fn register(&self, start: u64, length: u64, access: Access) -> Result<Lease<R>, Error> {
        let lease = |held, memory| Lease {
            cache: self.clone(),
            held,
            memory,
            start,
            length,
        };
        let Some(span) = Span::new(start, length) else {
            // The driver says what is wrong with it.
            let (name, memory) = self.0.registrar.register(start, length, access)?;
            return Ok(lease(Held::Alone(name), Arc::new(memory)));
        };
        if let Some((key, memory)) = self.0.acquire(span, access) {
            return Ok(lease(Held::Cached(key), memory));
        }
        let (held, memory) = match self.0.add(start, length, access, span) {
            Err(error) if is_shortage(&error) && self.flush_idle() => {
                self.0.add(start, length, access, span)?
            }
            other => other?,
        };
        Ok(lease(held, memory))
    }

    /// Releases and unsecures everything that overlaps a range of whole pages, before it returns.
    /// What is in use is found by nobody any more, and released when its last user is done.
    #[must_use = "the caller of the callback has to be told"]
    pub fn invalidate(&self, start: u64, length: u64) -> Invalidation {
        self.0.invalidate(start, length)
    }

    /// Releases everything that is idle: before a connection closes, for example.
    pub fn flush(&self) {
        self.flush_idle();
    }

    /// Whether there was anything.
    fn flush_idle(&self) -> bool {
        let some = {
            let mut state = self.0.lock();
            let some = state.ranges.idle().entries > 0;
            state.ranges.flush();
            some
        };
        self.0.release_condemned(None);
        self.0.sweep();
        some
    }

    /// How much is idle.
    #[must_use]
    pub fn idle(&self) -> Idle {
        self.0.lock().ranges.idle()
    }

    /// How often it was asked, and what for.
    #[must_use]
    pub fn counters(&self) -> CacheCounters {
        let state = self.0.lock();
        CacheCounters {
            evicted: state.ranges.evicted(),
            ..state.counters
        }
    }
}

/// Whether less idle memory could help.
fn is_shortage(error: &Error) -> bool {
    matches!(
        error.status(),
        Some(Status::QUOTA_EXCEEDED | Status::INSUFFICIENT_RESOURCES)
    )
}

impl<R: Registrar> Inner<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        // The state is consistent after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acquire(&self, span: Span, access: Access) -> Option<(CacheKey, Arc<R::Memory>)> {
        let mut state = self.lock();
        let (key, entry) = state.ranges.acquire(span, access)?;
        let memory = Arc::clone(&entry.memory);
        state.counters.hits = state.counters.hits.saturating_add(1);
        Some((key, memory))
    }

    /// Registers a range, and takes it in if it can be secured.
    fn add(
        &self,
        start: u64,
        length: u64,
        access: Access,
        span: Span,
    ) -> Result<(Held<R>, Arc<R::Memory>), Error> {
        self.sweep();
        // First: what is registered between the two is then sure to be what is secured.
        let secured = self.registrar.secure(start, length, access).ok();
        let made = self.registrar.register(start, length, access);
        let (name, memory) = made.inspect_err(|_| {
            // It was for the registration alone; the refusal of that is what counts.
            let _ = secured.map(|secured| self.registrar.unsecure(secured));
        })?;
        let memory = Arc::new(memory);
        let Some(secured) = secured else {
            let mut state = self.lock();
            state.counters.uncached = state.counters.uncached.saturating_add(1);
            return Ok((Held::Alone(name), memory));
        };
        let mut entry = Entry {
            name,
            secured,
            memory: Arc::clone(&memory),
            span: span.pages(),
        };
        loop {
            self.grow();
            let mut state = self.lock();
            match state.ranges.insert(span, access, entry) {
                Ok(key) => {
                    state.counters.misses = state.counters.misses.saturating_add(1);
                    return Ok((Held::Cached(key), memory));
                }
                // Another thread has taken the room that was made.
                Err(back) => entry = back,
            }
        }
    }

    /// Makes room for one more range. The heap is asked with no lock held.
    fn grow(&self) {
        loop {
            let growth = self.lock().ranges.growth();
            let Some(chunk) = growth.and_then(|growth| Chunk::allocate(growth).ok()) else {
                return;
            };
            let refused = self.lock().ranges.add(chunk);
            drop(refused);
        }
    }

    /// Frees what belonged to ranges that have been released.
    fn sweep(&self) {
        loop {
            let swept = self.lock().ranges.sweep();
            if swept.is_none() {
                return;
            }
        }
    }

    fn give_back(&self, key: CacheKey) {
        self.lock().ranges.release(key);
        self.release_condemned(None);
        self.sweep();
    }

    /// Releases what is condemned, whoever has condemned it; whether the driver did all of it. What `asked`
    /// overlaps is not remembered: who asks is told anyway.
    fn release_condemned(&self, asked: Option<Span>) -> bool {
        let mut undone = true;
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.ranges.next_condemned();
                next.map(|(key, entry)| (key, entry.name, entry.secured, entry.span))
            };
            let Some((key, name, secured, span)) = next else {
                return undone;
            };
            undone &= self.registrar.release(name).is_ok();
            undone &= self.registrar.unsecure(secured).is_ok();
            {
                let mut state = self.lock();
                state.ranges.retire(key);
                if !asked.is_some_and(|asked| asked.overlaps(span)) {
                    state.remember(span);
                }
            }
            self.released.notify_all();
        }
    }

    fn invalidate(&self, start: u64, length: u64) -> Invalidation {
        let Some(span) = Span::new(start, length).map(Span::pages) else {
            return Invalidation::NotCached;
        };
        let overlap = {
            let mut state = self.lock();
            let mut overlap = state.ranges.invalidate(span);
            overlap.any |= state.was_released(span);
            overlap
        };
        let undone = self.release_condemned(Some(span));
        let mut state = self.lock();
        // Another thread may be at it; it asks only the driver, and so comes to an end.
        while state.ranges.is_releasing(span) {
            state = self
                .released
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        match overlap {
            _ if overlap.busy || !undone => Invalidation::NotUndone,
            _ if overlap.any => Invalidation::Undone,
            _ => Invalidation::NotCached,
        }
    }
}

impl<R: Registrar> Drop for Inner<R> {
    fn drop(&mut self) {
        // Nobody uses anything any more: each user keeps the cache.
        self.lock().ranges.flush();
        self.release_condemned(None);
    }
}

/// What a lease is given back to.
enum Held<R: Registrar> {
    Cached(CacheKey),
    Alone(R::Name),
}

/// Memory of the program's own that the device reaches as long as this lives.
pub struct Lease<R: Registrar> {
    cache: RegistrationCache<R>,
    held: Held<R>,
    memory: Arc<R::Memory>,
    start: u64,
    length: u64,
}

impl<R: Registrar> Lease<R> {
    /// What is known of the registration; the leased range may be a part of it.
    #[must_use]
    pub fn memory(&self) -> &R::Memory {
        &self.memory
    }

    /// Where the leased range begins.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Whether the registration is kept for the next user.
    #[must_use]
    pub const fn is_cached(&self) -> bool {
        matches!(self.held, Held::Cached(_))
    }
}

impl<R: Registrar> Drop for Lease<R> {
    fn drop(&mut self) {
        match self.held {
            Held::Cached(key) => self.cache.0.give_back(key),
            // Nobody is left to be told: what cannot be released now goes with the file.
            Held::Alone(name) => drop(self.cache.0.registrar.release(name)),
        }
    }
}

impl<R: Registrar> fmt::Debug for Lease<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Lease")
            .field("start", &self.start)
            .field("length", &self.length)
            .field("is_cached", &self.is_cached())
            .finish_non_exhaustive()
    }
}
