//! Which registration holds a device address: ranges, which may overlap, in a treap.
//!
//! A treap is a search tree by address and a heap by a random-looking priority, which keeps it
//! balanced whatever the order of insertions. Each range knows the last address of all that hang
//! below it, so one that holds an address is found without looking at those that do not. Every
//! operation is a loop, so the stack it takes is the same for one range and for a million.

use crate::slab::{Chunk, Growth, Slab};

/// A range in the tree; only [`Chunk::allocate`] needs to name it.
pub struct Link<V> {
    first: u64,
    last: u64,
    /// The highest last address of this range and all that hang below it.
    reach: u64,
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
    /// The same range is in already with the same value.
    Present,
    /// The map has to grow first.
    Full,
}

/// More ranges than ever hang one below the other: a treap of all 32-bit numbers is not so deep.
const DEEPEST: usize = 160;

/// The way down to a place in the tree.
struct Path {
    indexes: [u32; DEEPEST],
    length: usize,
}

impl Path {
    const fn new() -> Self {
        Self {
            indexes: [0; DEEPEST],
            length: 0,
        }
    }

    fn push(&mut self, index: u32) {
        if let Some(place) = self.indexes.get_mut(self.length) {
            *place = index;
            self.length = self.length.saturating_add(1);
        }
    }

    fn pop(&mut self) -> Option<u32> {
        self.length = self.length.checked_sub(1)?;
        self.indexes.get(self.length).copied()
    }
}

/// A place in the tree where a child hangs.
#[derive(Clone, Copy)]
enum Hook {
    Root,
    Left(u32),
    Right(u32),
}

impl<V: Ord + Copy> Link<V> {
    /// On which side of this range another one hangs.
    fn side(&self, order: (u64, V), index: u32) -> Hook {
        if order < (self.first, self.value) {
            Hook::Left(index)
        } else {
            Hook::Right(index)
        }
    }
}

/// Values by address range.
pub struct IntervalMap<V> {
    slab: Slab<Link<V>>,
    root: Option<u32>,
    seed: u64,
}

impl<V: Copy + Ord> IntervalMap<V> {
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

    /// The value of a range that holds an address, and the address's offset in it.
    #[must_use]
    pub fn lookup(&self, address: u64) -> Option<(V, u64)> {
        let mut next = self.root;
        while let Some(index) = next {
            let link = self.slab.at(index)?;
            if self.reach(link.left).is_some_and(|reach| reach >= address) {
                // If none of these holds it, the one that reaches so far begins beyond it, and so
                // do all to the right.
                next = link.left;
            } else if link.first <= address && address <= link.last {
                return Some((link.value, address.checked_sub(link.first)?));
            } else {
                next = link.right;
            }
        }
        None
    }

    /// The first range that begins at `address` or above: where it begins, and its value.
    #[must_use]
    pub fn next_from(&self, address: u64) -> Option<(u64, V)> {
        let (mut next, mut found) = (self.root, None);
        while let Some(index) = next {
            let link = self.slab.at(index)?;
            if link.first >= address {
                found = Some((link.first, link.value));
                next = link.left;
            } else {
                next = link.right;
            }
        }
        found
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
        let order = (first, value);
        if self.find(order).is_some() {
            return Err(InsertError::Present);
        }
        let used = u64::from(self.slab.used());
        let priority = mix(first ^ self.seed).wrapping_add(mix(used ^ self.seed));
        let link = Link {
            first,
            last,
            reach: last,
            priority,
            left: None,
            right: None,
            value,
        };
        let key = self.slab.insert(link).map_err(|_| InsertError::Full)?;
        let mut hook = Hook::Root;
        let mut path = Path::new();
        while let Some(index) = self.child(hook)
            && let Some(link) = self.slab.at(index)
            && link.priority >= priority
        {
            path.push(index);
            hook = link.side(order, index);
        }
        let below = self.child(hook);
        self.hang(hook, Some(key.index));
        path.push(key.index);
        let hooks = (Hook::Left(key.index), Hook::Right(key.index));
        self.split(below, order, hooks, &mut path);
        self.settle(path);
        Ok(())
    }

    /// Takes out the range that begins at an address and has that value.
    pub fn remove(&mut self, first: u64, value: V) -> Option<V> {
        let (hook, index, mut path) = self.find((first, value))?;
        let (_, link) = self.slab.remove_at(index)?;
        self.merge(link.left, link.right, hook, &mut path);
        self.settle(path);
        Some(link.value)
    }

    /// Where a range hangs, its index, and those above it.
    fn find(&self, order: (u64, V)) -> Option<(Hook, u32, Path)> {
        let (mut hook, mut path) = (Hook::Root, Path::new());
        loop {
            let index = self.child(hook)?;
            let link = self.slab.at(index)?;
            if (link.first, link.value) == order {
                return Some((hook, index, path));
            }
            path.push(index);
            hook = link.side(order, index);
        }
    }

    /// Hangs what comes before a place of a tree at one hook and the rest at another.
    fn split(
        &mut self,
        tree: Option<u32>,
        order: (u64, V),
        (mut before, mut after): (Hook, Hook),
        path: &mut Path,
    ) {
        let mut rest = tree;
        while let Some(index) = rest
            && let Some(link) = self.slab.at(index)
        {
            path.push(index);
            if (link.first, link.value) < order {
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
    fn merge(
        &mut self,
        mut before: Option<u32>,
        mut after: Option<u32>,
        mut hook: Hook,
        path: &mut Path,
    ) {
        while let (Some(left), Some(right)) = (before, after)
            && let (Some(first), Some(second)) = (self.slab.at(left), self.slab.at(right))
        {
            if first.priority >= second.priority {
                before = first.right;
                self.hang(hook, Some(left));
                hook = Hook::Right(left);
                path.push(left);
            } else {
                after = second.left;
                self.hang(hook, Some(right));
                hook = Hook::Left(right);
                path.push(right);
            }
        }
        self.hang(hook, before.or(after));
    }

    /// Says again how far those on a path reach, from the lowest up: each after all that hang below
    /// it, because a path only goes down.
    fn settle(&mut self, mut path: Path) {
        while let Some(index) = path.pop() {
            let Some(link) = self.slab.at(index) else {
                continue;
            };
            let below = self.reach(link.left).max(self.reach(link.right));
            let reach = below.map_or(link.last, |below| below.max(link.last));
            if let Some(link) = self.slab.at_mut(index) {
                link.reach = reach;
            }
        }
    }

    fn reach(&self, child: Option<u32>) -> Option<u64> {
        Some(self.slab.at(child?)?.reach)
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

/// Spreads every bit over all 64 (the finaliser of `SplitMix64`).
pub(crate) const fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
