//! The registration cache of a provider: which ranges of a program's memory are registered already.
//!
//! A range that its user has given back stays registered, idle, for the next one who wants it or a
//! part of it with the same access. Idle ranges are kept below two limits: those unused longest go
//! first. Before memory is freed, everything that overlaps it goes.
//!
//! What goes is only noted here, and released by the owner of the cache with no lock held:
//!
//! | state | found by users | then |
//! | --- | --- | --- |
//! | busy | yes | idle, when the last user is done |
//! | idle | yes | busy, or condemned |
//! | doomed: busy, but its memory is going | no | condemned, when the last user is done |
//! | condemned: waits for somebody to release it | no | releasing |
//! | releasing: somebody is at it | no | retired |
//! | retired: released; its value waits to be swept | no | gone |
//!
//! Only [`RangeCache::growth`] and sweeping touch the heap's memory. So a range can be invalidated
//! while the heap itself is freeing it.

use sanproxy_abi::Access;

use crate::forest::{Forest, Span, SpanNode};
use crate::slab::{Chunk, Growth, Key};

/// A tree per access, so that a range with another one is never met on the way; then two more.
const TREES: usize = 5;
const OF_ACCESS: [usize; 3] = [0, 1, 2];
const DOOMED: usize = 3;
const RELEASING: usize = 4;

const fn tree_of(access: Access) -> usize {
    match access {
        Access::Read => 0,
        Access::Write => 1,
        Access::ReadWrite => 2,
    }
}

/// How much may be idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes.
    pub bytes: u64,
    /// Ranges.
    pub entries: u32,
}

/// How much is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idle {
    /// Bytes.
    pub bytes: u64,
    /// Ranges.
    pub entries: u32,
}

/// Names a range of the cache until it is retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey(Key);

/// What an invalidation has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// There was something.
    pub any: bool,
    /// Some of it is in use, and cannot be released before it is not.
    pub busy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Busy,
    Idle,
    Doomed,
    Condemned,
    Releasing,
    Retired,
}

/// A range's value and state; only [`Chunk::allocate`] needs to name it.
pub struct CacheSlot<V> {
    state: State,
    users: u32,
    /// The neighbours among the idle; the next of the condemned or retired.
    older: Option<u32>,
    newer: Option<u32>,
    value: V,
}

/// Memory for a [`RangeCache`].
pub type CacheChunk<V> = Chunk<SpanNode<CacheSlot<V>>>;

/// Registered ranges by address and access.
pub struct RangeCache<V> {
    forest: Forest<CacheSlot<V>, TREES>,
    limits: CacheLimits,
    idle: Idle,
    oldest: Option<u32>,
    newest: Option<u32>,
    condemned: Option<u32>,
    retired: Option<u32>,
    evicted: u64,
}

impl<V> RangeCache<V> {
    /// An empty cache, without memory yet. The seed should not be guessable.
    #[must_use]
    pub const fn new(limits: CacheLimits, seed: u64) -> Self {
        Self {
            forest: Forest::new(seed),
            limits,
            idle: Idle {
                bytes: 0,
                entries: 0,
            },
            oldest: None,
            newest: None,
            condemned: None,
            retired: None,
            evicted: 0,
        }
    }

    /// How many ranges are in, in whatever state.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.forest.used()
    }

    /// Whether none is in.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.forest.used() == 0
    }

    /// How much is idle.
    #[must_use]
    pub const fn idle(&self) -> Idle {
        self.idle
    }

    /// How many ranges had to go so far because of the limits: idle ones for a newer one, and those
    /// that are beyond the limits themselves.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The memory that is missing for one more range; `None` if nothing is.
    #[must_use]
    pub fn growth(&self) -> Option<Growth> {
        self.forest.growth()
    }

    /// Takes memory in.
    ///
    /// # Errors
    ///
    /// Hands it back if another chunk came first; drop it after the lock.
    pub fn add(&mut self, chunk: CacheChunk<V>) -> Result<(), CacheChunk<V>> {
        self.forest.add(chunk)
    }

    /// Finds a registered range that covers `span` with exactly that access, and uses it.
    pub fn acquire(&mut self, span: Span, access: Access) -> Option<(CacheKey, &V)> {
        let index = self.forest.covering(tree_of(access), span)?;
        let key = self.forest.key_of(index)?;
        if self.forest.value(index)?.state == State::Idle {
            self.leave_idle(index);
        }
        let slot = self.forest.value_mut(index)?;
        slot.state = State::Busy;
        slot.users = slot.users.saturating_add(1);
        Some((CacheKey(key), &slot.value))
    }

    /// Takes a newly registered range in, with one user.
    ///
    /// # Errors
    ///
    /// Hands the value back if the cache has to grow first.
    pub fn insert(&mut self, span: Span, access: Access, value: V) -> Result<CacheKey, V> {
        let slot = CacheSlot {
            state: State::Busy,
            users: 1,
            older: None,
            newer: None,
            value,
        };
        let inserted = self.forest.insert(tree_of(access), span, slot);
        inserted.map(CacheKey).map_err(|slot| slot.value)
    }

    /// A user is done with a range. What goes because of it is condemned.
    pub fn release(&mut self, key: CacheKey) {
        let Some(index) = self.forest.index_of(key.0) else {
            return;
        };
        let Some(slot) = self.forest.value_mut(index) else {
            return;
        };
        if slot.users == 0 {
            return;
        }
        slot.users = slot.users.saturating_sub(1);
        if slot.users > 0 {
            return;
        }
        if slot.state == State::Busy {
            self.enter_idle(index);
        } else {
            self.condemn(index);
        }
    }

    /// Condemns all that overlaps `span` and is not busy; dooms what is.
    pub fn invalidate(&mut self, span: Span) -> Overlap {
        let mut overlap = Overlap::default();
        for tree in OF_ACCESS {
            while let Some(index) = self.forest.overlapping(tree, span) {
                match self.forest.value_mut(index) {
                    Some(slot) if slot.state == State::Idle => {
                        self.leave_idle(index);
                        self.condemn(index);
                    }
                    Some(slot) => {
                        slot.state = State::Doomed;
                        self.forest.transfer(index, DOOMED);
                    }
                    None => return overlap,
                }
                overlap.any = true;
            }
        }
        overlap.busy = self.forest.overlapping(DOOMED, span).is_some();
        overlap.any |= overlap.busy || self.is_releasing(span);
        overlap
    }

    /// Condemns all that is idle.
    pub fn flush(&mut self) {
        while let Some(index) = self.oldest {
            self.leave_idle(index);
            self.condemn(index);
        }
    }

    /// A condemned range: whoever gets it releases it and then calls [`RangeCache::retire`].
    pub fn next_condemned(&mut self) -> Option<(CacheKey, &V)> {
        let index = self.condemned?;
        let key = self.forest.key_of(index)?;
        let slot = self.forest.value_mut(index)?;
        self.condemned = slot.newer.take();
        slot.state = State::Releasing;
        Some((CacheKey(key), &slot.value))
    }

    /// Whether something that overlaps `span` is condemned or being released.
    #[must_use]
    pub fn is_releasing(&self, span: Span) -> bool {
        self.forest.overlapping(RELEASING, span).is_some()
    }

    /// A condemned range has been released.
    pub fn retire(&mut self, key: CacheKey) {
        let Some(index) = self.forest.index_of(key.0) else {
            return;
        };
        let next = self.retired;
        let Some(slot) = self.forest.value_mut(index) else {
            return;
        };
        if slot.state != State::Releasing {
            return;
        }
        slot.state = State::Retired;
        slot.newer = next;
        self.retired = Some(index);
        self.forest.unhang(index);
    }

    /// The value of a retired range; drop it after the lock, and ask again.
    pub fn sweep(&mut self) -> Option<V> {
        let index = self.retired?;
        self.retired = self.forest.value(index)?.newer;
        self.forest.remove(index).map(|slot| slot.value)
    }

    /// The last user is done: keeps the range if the limits allow it at all, at the cost of others.
    fn enter_idle(&mut self, index: u32) {
        let length = self.length(index);
        if length > self.limits.bytes || self.limits.entries == 0 {
            self.evicted = self.evicted.saturating_add(1);
            self.condemn(index);
            return;
        }
        while let Some(oldest) = self.oldest
            && (self.idle.entries >= self.limits.entries
                || self.idle.bytes.saturating_add(length) > self.limits.bytes)
        {
            self.leave_idle(oldest);
            self.evicted = self.evicted.saturating_add(1);
            self.condemn(oldest);
        }
        let older = self.newest;
        if let Some(slot) = self.forest.value_mut(index) {
            (slot.state, slot.older, slot.newer) = (State::Idle, older, None);
        }
        match older.and_then(|older| self.forest.value_mut(older)) {
            Some(slot) => slot.newer = Some(index),
            None => self.oldest = Some(index),
        }
        self.newest = Some(index);
        self.idle.entries = self.idle.entries.saturating_add(1);
        self.idle.bytes = self.idle.bytes.saturating_add(length);
    }

    fn leave_idle(&mut self, index: u32) {
        let length = self.length(index);
        let Some(slot) = self.forest.value_mut(index) else {
            return;
        };
        let (older, newer) = (slot.older.take(), slot.newer.take());
        match older.and_then(|older| self.forest.value_mut(older)) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.forest.value_mut(newer)) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        self.idle.entries = self.idle.entries.saturating_sub(1);
        self.idle.bytes = self.idle.bytes.saturating_sub(length);
    }

    fn condemn(&mut self, index: u32) {
        let next = self.condemned;
        if let Some(slot) = self.forest.value_mut(index) {
            (slot.state, slot.newer) = (State::Condemned, next);
            self.condemned = Some(index);
            self.forest.transfer(index, RELEASING);
        }
    }

    fn length(&self, index: u32) -> u64 {
        self.forest.span(index).map_or(0, Span::length)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::slab::visits;

    const PAGE: u64 = 4096;

    fn range(place: u64) -> Span {
        Span::new(place * 2 * PAGE, PAGE).expect("a range")
    }

    /// So many idle ranges with gaps between, by a step that has no factor in common with them.
    fn filled(count: u64, step: u64) -> RangeCache<()> {
        let limits = CacheLimits {
            bytes: u64::MAX,
            entries: u32::MAX,
        };
        let mut cache = RangeCache::new(limits, 5);
        for number in 0..count {
            while let Some(growth) = cache.growth() {
                let chunk = Chunk::allocate(growth).expect("memory");
                assert!(cache.add(chunk).is_ok());
            }
            let place = range(number * step % count);
            let key = cache.insert(place, Access::Read, ()).expect("room");
            cache.release(key);
        }
        cache
    }

    /// The most places that are looked at: to use a range and give it back, to find that there is
    /// none, and to drop one and release it.
    fn costs(cache: &mut RangeCache<()>, count: u64) -> [u64; 3] {
        let mut most = [0; 3];
        for number in 0..2000_u64 {
            let place = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % count;
            let (hit, key) = visits::of(|| {
                let key = cache
                    .acquire(range(place), Access::Read)
                    .map(|(key, ())| key);
                key.inspect(|key| cache.release(*key))
            });
            assert!(key.is_some());
            let gap = Span::new((place * 2 + 1) * PAGE, PAGE).expect("a range");
            let (miss, none) = visits::of(|| cache.acquire(gap, Access::Read).is_none());
            assert!(none);
            let (dropped, _) = visits::of(|| {
                cache.invalidate(range(place));
                while let Some((key, ())) = cache.next_condemned() {
                    cache.retire(key);
                }
                cache.sweep()
            });
            let key = cache.insert(range(place), Access::Read, ()).expect("room");
            cache.release(key);
            for (most, cost) in most.iter_mut().zip([hit, miss, dropped]) {
                *most = cost.max(*most);
            }
        }
        most
    }

    #[test]
    fn cost_grows_by_a_step_when_the_number_of_ranges_doubles() {
        extern crate std;
        // In order of address, and in none.
        for (few_step, many_step) in [(1, 1), (617, 618_033)] {
            let few = costs(&mut filled(1000, few_step), 1000);
            let many = costs(&mut filled(1_000_000, many_step), 1_000_000);
            std::println!("places looked at, at most: {few:?} of 10^3, {many:?} of 10^6");
            for (few, many) in few.into_iter().zip(many) {
                // The logarithm doubles; a search through all would be a thousand times as much.
                assert!(many <= 4 * few, "{few} {many}");
                assert!(many < 1000, "{many}");
            }
        }
    }
}
