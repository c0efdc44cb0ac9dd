//! Numbered places for values, in chunks that double in size.
//!
//! A place keeps its number and its address while it is in use, and is reached in constant time.
//! Each place counts how often it was given away (its generation), so that a stale number can be
//! told from a live one; a place whose count is used up is never given away again.

use alloc::vec::Vec;

use crate::{NoMemory, filled};

/// The places of the first chunk.
const FIRST_CHUNK: u32 = 64;
/// As many chunks as a 32-bit number can count places: 64 * (2^26 - 1).
const CHUNKS: usize = 26;

struct Entry<T> {
    generation: u32,
    content: Content<T>,
}

enum Content<T> {
    Vacant { next: Option<u32> },
    Occupied(T),
}

impl<T> Entry<T> {
    const fn vacant() -> Self {
        Self {
            generation: 1,
            content: Content::Vacant { next: None },
        }
    }
}

/// The chunk that a table needs before it can take another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "allocate the chunk and add it"]
pub struct Growth {
    chunk: usize,
    places: u32,
}

/// Memory for a table, allocated but not part of it yet.
pub struct Chunk<T> {
    chunk: usize,
    entries: Vec<Entry<T>>,
}

impl<T> Chunk<T> {
    /// Asks for the memory; no lock needs to be held.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if there is none.
    pub fn allocate(growth: Growth) -> Result<Self, NoMemory> {
        if growth.chunk >= CHUNKS {
            return Err(NoMemory);
        }
        let places = position(growth.places);
        Ok(Self {
            chunk: growth.chunk,
            entries: filled(places, Entry::vacant)?,
        })
    }
}

/// A place and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// # Invariants
///
/// Chunk `k` is empty or has `64 << k` entries, and all before it are there too. Places from
/// `fresh` on were never given away; the vacant ones before it, but for the used-up, are chained
/// from `free`. `spare` counts both.
pub(crate) struct Slab<T> {
    chunks: [Vec<Entry<T>>; CHUNKS],
    next_chunk: usize,
    fresh: u32,
    free: Option<u32>,
    spare: u32,
    used: u32,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: [const { Vec::new() }; CHUNKS],
            next_chunk: 0,
            fresh: 0,
            free: None,
            spare: 0,
            used: 0,
        }
    }

    /// How many values are in.
    pub(crate) const fn used(&self) -> u32 {
        self.used
    }

    /// One more than the highest number ever given away.
    pub(crate) const fn end(&self) -> u32 {
        self.fresh
    }

    /// What is missing for `wanted` more values; `None` if nothing is.
    pub(crate) fn growth(&self, wanted: u32) -> Option<Growth> {
        if self.spare >= wanted {
            return None;
        }
        let places = u32::try_from(self.next_chunk)
            .ok()
            .and_then(|n| FIRST_CHUNK.checked_shl(n));
        // A full directory asks for a chunk that cannot be had rather than claim that there is room.
        Some(Growth {
            chunk: self.next_chunk,
            places: places.unwrap_or(u32::MAX),
        })
    }

    /// Takes the chunk in, or hands it back if another one came first.
    pub(crate) fn add(&mut self, chunk: Chunk<T>) -> Result<(), Chunk<T>> {
        let next = self.next_chunk;
        let Some(place) = self.chunks.get_mut(next).filter(|_| chunk.chunk == next) else {
            return Err(chunk);
        };
        let count = u32::try_from(chunk.entries.len()).unwrap_or(0);
        *place = chunk.entries;
        self.next_chunk = next.saturating_add(1);
        self.spare = self.spare.saturating_add(count);
        Ok(())
    }

    /// Puts a value in, or hands it back if there is no place left.
    pub(crate) fn insert(&mut self, value: T) -> Result<Key, T> {
        let Some(index) = self.free.or((self.spare > 0).then_some(self.fresh)) else {
            return Err(value);
        };
        let was_fresh = self.free.is_none();
        let Some(entry) = self.entry_mut(index) else {
            return Err(value);
        };
        let Content::Vacant { next } = entry.content else {
            return Err(value);
        };
        entry.content = Content::Occupied(value);
        let generation = entry.generation;
        if was_fresh {
            self.fresh = self.fresh.saturating_add(1);
        } else {
            self.free = next;
        }
        self.spare = self.spare.saturating_sub(1);
        self.used = self.used.saturating_add(1);
        Ok(Key { index, generation })
    }

    /// Takes a value out; its key is dead from now on.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let free = self.free;
        let entry = self
            .entry_mut(key.index)
            .filter(|entry| entry.generation == key.generation)?;
        let Content::Occupied(_) = entry.content else {
            return None;
        };
        let vacant = Content::Vacant { next: free };
        let Content::Occupied(value) = core::mem::replace(&mut entry.content, vacant) else {
            return None;
        };
        if let Some(generation) = entry.generation.checked_add(1) {
            entry.generation = generation;
            self.free = Some(key.index);
            self.spare = self.spare.saturating_add(1);
        }
        self.used = self.used.saturating_sub(1);
        Some(value)
    }

    /// Takes out whatever is at that number.
    pub(crate) fn remove_at(&mut self, index: u32) -> Option<(Key, T)> {
        let generation = self.entry(index)?.generation;
        let key = Key { index, generation };
        self.remove(key).map(|value| (key, value))
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.entry(key.index)? {
            Entry {
                generation,
                content: Content::Occupied(value),
            } if *generation == key.generation => Some(value),
            Entry { .. } => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.entry_mut(key.index)? {
            Entry {
                generation,
                content: Content::Occupied(value),
            } if *generation == key.generation => Some(value),
            Entry { .. } => None,
        }
    }

    /// The key of whatever is at that number.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let generation = self.entry(index)?.generation;
        self.at(index).map(|_| Key { index, generation })
    }

    /// The value at a number that the caller knows to be in use.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        #[cfg(test)]
        visits::count();
        match &self.entry(index)?.content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        }
    }

    /// As [`Slab::at`], to change it.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        #[cfg(test)]
        visits::count();
        match &mut self.entry_mut(index)?.content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        }
    }

    /// All values with their keys, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.chunks
            .iter()
            .flatten()
            .zip(0..self.fresh)
            .filter_map(|(entry, index)| match &entry.content {
                Content::Occupied(value) => Some((
                    Key {
                        index,
                        generation: entry.generation,
                    },
                    value,
                )),
                Content::Vacant { .. } => None,
            })
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        let (chunk, offset) = locate(index)?;
        self.chunks.get(chunk)?.get(offset)
    }

    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        let (chunk, offset) = locate(index)?;
        self.chunks.get_mut(chunk)?.get_mut(offset)
    }

    #[cfg(test)]
    pub(crate) fn set_generation(&mut self, index: u32, generation: u32) {
        if let Some(entry) = self.entry_mut(index) {
            entry.generation = generation;
        }
    }
}

/// The chunk of a place and the offset in it: chunk `k` begins at `64 * (2^k - 1)`.
fn locate(index: u32) -> Option<(usize, usize)> {
    let chunk = (index / FIRST_CHUNK).checked_add(1)?.checked_ilog2()?;
    let start = FIRST_CHUNK.checked_shl(chunk)?.checked_sub(FIRST_CHUNK)?;
    Some((position(chunk), position(index.checked_sub(start)?)))
}

/// A 32-bit number as a position; no supported target has narrower ones.
fn position(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown() -> Slab<u32> {
        let mut slab = Slab::new();
        let chunk = Chunk::allocate(slab.growth(1).unwrap()).unwrap();
        assert!(slab.add(chunk).is_ok());
        slab
    }

    #[test]
    fn place_numbers_run_through_the_chunks_without_a_gap() {
        assert_eq!(locate(0), Some((0, 0)));
        assert_eq!(locate(63), Some((0, 63)));
        assert_eq!(locate(64), Some((1, 0)));
        assert_eq!(locate(191), Some((1, 127)));
        assert_eq!(locate(192), Some((2, 0)));
    }

    #[test]
    fn chunk_that_came_second_is_handed_back() {
        let mut slab = Slab::<u32>::new();
        let growth = slab.growth(1).unwrap();
        let (first, second) = (
            Chunk::allocate(growth).unwrap(),
            Chunk::allocate(growth).unwrap(),
        );
        assert!(slab.add(first).is_ok());
        assert!(slab.add(second).is_err());
        assert_eq!(slab.growth(64), None);
        assert!(slab.growth(65).is_some());
    }

    #[test]
    fn place_with_its_generations_used_up_is_never_given_away_again() {
        let mut slab = grown();
        let first = slab.insert(7).unwrap();
        assert_eq!(slab.remove(first), Some(7));
        slab.set_generation(first.index, u32::MAX);
        let last = slab.insert(8).unwrap();
        assert_eq!((last.index, last.generation), (first.index, u32::MAX));
        assert_eq!(slab.remove(last), Some(8));
        assert_eq!(slab.remove(last), None);
        let rest: alloc::vec::Vec<_> = (0..64).map_while(|n| slab.insert(n).ok()).collect();
        assert_eq!(rest.len(), 63);
        assert!(rest.iter().all(|key| key.index != first.index));
    }

    #[test]
    fn insertion_without_a_place_hands_the_value_back() {
        let mut slab = Slab::new();
        assert_eq!(slab.insert(5), Err(5));
    }

    #[test]
    fn directory_that_is_full_asks_for_what_cannot_be_had() {
        let mut slab = Slab::<u32>::new();
        slab.next_chunk = CHUNKS;
        let growth = slab.growth(1).unwrap();
        let chunk = Chunk {
            chunk: growth.chunk,
            entries: Vec::new(),
        };
        assert!(slab.add(chunk).is_err());
    }
}

/// How many places are looked at: what an operation costs, whatever the machine does meanwhile.
#[cfg(test)]
pub(crate) mod visits {
    extern crate std;

    use core::cell::Cell;

    std::thread_local! {
        static VISITS: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn count() {
        VISITS.with(|visits| visits.set(visits.get().saturating_add(1)));
    }

    /// How many places `work` looks at.
    pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (u64, T) {
        let before = VISITS.with(Cell::get);
        let result = work();
        (VISITS.with(Cell::get).saturating_sub(before), result)
    }
}
