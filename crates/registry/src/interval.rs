//! Which registration holds a device address: ranges that do not overlap, in a treap.
//!
//! A treap is a search tree by address and a heap by a random-looking priority, which keeps it
//! balanced whatever the order of insertions. Every operation is a loop, so the stack it takes is
//! the same for one range and for a million.

use crate::handle::mix;
use crate::slab::{Chunk, Growth, Slab};

/// A range in the tree; only [`Chunk::allocate`] needs to name it.
pub struct Link<V> {
    first: u64,
    last: u64,
    priority: u64,
    left: Option<u32>,
    right: Option<u32>,
    value: V,
}

/// Why a range was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// It is empty, or reaches beyond the last address.
    Empty,
    /// It overlaps one that is in already.
    Overlap,
    /// The map has to grow first.
    Full,
}

/// A place in the tree where a child hangs.
#[derive(Clone, Copy)]
enum Hook {
    Root,
    Left(u32),
    Right(u32),
}

/// Values by address range.
pub struct IntervalMap<V> {
    slab: Slab<Link<V>>,
    root: Option<u32>,
    seed: u64,
}

impl<V: Copy> IntervalMap<V> {
    /// An empty map, without memory yet. The seed should not be guessable.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            slab: Slab::new(),
            root: None,
            seed,
        }
    }

    /// How many ranges are in.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.slab.used()
    }

    /// Whether none is in.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slab.used() == 0
    }

    /// The next chunk that is missing for `ranges` more ranges; `None` if nothing is. Large
    /// numbers may take several chunks: ask again after each.
    #[must_use]
    pub fn growth(&self, ranges: u32) -> Option<Growth> {
        self.slab.growth(ranges)
    }

    /// Takes memory in.
    ///
    /// # Errors
    ///
    /// Hands it back if another chunk came first; drop it after the lock.
    pub fn add(&mut self, chunk: Chunk<Link<V>>) -> Result<(), Chunk<Link<V>>> {
        self.slab.add(chunk)
    }

    /// The value of the range that holds an address, and the address's offset in it.
    #[must_use]
    pub fn lookup(&self, address: u64) -> Option<(V, u64)> {
        let link = self.slab.at(self.at_or_below(address)?)?;
        let offset = address.checked_sub(link.first)?;
        (address <= link.last).then_some((link.value, offset))
    }

    /// Takes a range in.
    ///
    /// # Errors
    ///
    /// [`InsertError`]; [`InsertError::Full`] cannot happen while [`IntervalMap::growth`] says
    /// that nothing is missing.
    pub fn insert(&mut self, first: u64, length: u64, value: V) -> Result<(), InsertError> {
        let last = length
            .checked_sub(1)
            .and_then(|rest| first.checked_add(rest));
        let last = last.ok_or(InsertError::Empty)?;
        let below = self.at_or_below(last).and_then(|index| self.slab.at(index));
        if below.is_some_and(|below| below.last >= first) {
            return Err(InsertError::Overlap);
        }
        let priority = mix(first ^ self.seed);
        let link = Link {
            first,
            last,
            priority,
            left: None,
            right: None,
            value,
        };
        let key = self.slab.insert(link).map_err(|_| InsertError::Full)?;
        let mut hook = Hook::Root;
        while let Some(index) = self.child(hook)
            && let Some(link) = self.slab.at(index)
            && link.priority >= priority
        {
            hook = if first < link.first {
                Hook::Left(index)
            } else {
                Hook::Right(index)
            };
        }
        let below = self.child(hook);
        self.hang(hook, Some(key.index));
        self.split(below, first, Hook::Left(key.index), Hook::Right(key.index));
        Ok(())
    }

    /// Takes out the range that begins at an address.
    pub fn remove(&mut self, first: u64) -> Option<V> {
        let mut hook = Hook::Root;
        let index = loop {
            let index = self.child(hook)?;
            let link = self.slab.at(index)?;
            if link.first == first {
                break index;
            }
            hook = if first < link.first {
                Hook::Left(index)
            } else {
                Hook::Right(index)
            };
        };
        let (_, link) = self.slab.remove_at(index)?;
        self.merge(link.left, link.right, hook);
        Some(link.value)
    }

    /// Hangs what begins before `first` of a tree at one hook and the rest at another.
    fn split(&mut self, tree: Option<u32>, first: u64, mut before: Hook, mut after: Hook) {
        let mut rest = tree;
        while let Some(index) = rest
            && let Some(link) = self.slab.at(index)
        {
            if link.first < first {
                rest = link.right;
                self.hang(before, Some(index));
                before = Hook::Right(index);
            } else {
                rest = link.left;
                self.hang(after, Some(index));
                after = Hook::Left(index);
            }
        }
        self.hang(before, None);
        self.hang(after, None);
    }

    /// Hangs two trees, one before the other, at one hook.
    fn merge(&mut self, mut before: Option<u32>, mut after: Option<u32>, mut hook: Hook) {
        while let (Some(left), Some(right)) = (before, after)
            && let (Some(first), Some(second)) = (self.slab.at(left), self.slab.at(right))
        {
            if first.priority >= second.priority {
                before = first.right;
                self.hang(hook, Some(left));
                hook = Hook::Right(left);
            } else {
                after = second.left;
                self.hang(hook, Some(right));
                hook = Hook::Left(right);
            }
        }
        self.hang(hook, before.or(after));
    }

    /// The range with the highest start that is not above the address.
    fn at_or_below(&self, address: u64) -> Option<u32> {
        let (mut next, mut found) = (self.root, None);
        while let Some(index) = next {
            let link = self.slab.at(index)?;
            if link.first <= address {
                found = Some(index);
                next = link.right;
            } else {
                next = link.left;
            }
        }
        found
    }

    fn child(&self, hook: Hook) -> Option<u32> {
        match hook {
            Hook::Root => self.root,
            Hook::Left(index) => self.slab.at(index)?.left,
            Hook::Right(index) => self.slab.at(index)?.right,
        }
    }

    fn hang(&mut self, hook: Hook, child: Option<u32>) {
        match hook {
            Hook::Root => self.root = child,
            Hook::Left(index) => {
                if let Some(link) = self.slab.at_mut(index) {
                    link.left = child;
                }
            }
            Hook::Right(index) => {
                if let Some(link) = self.slab.at_mut(index) {
                    link.right = child;
                }
            }
        }
    }
}
