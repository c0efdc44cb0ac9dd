//! Ranges that may overlap, in several search trees over one set of places.
//!
//! Each tree is a treap: a search tree by where a range begins, and a heap by a random-looking
//! priority, which keeps it balanced whatever the order of insertions. Each node knows the highest
//! end in its subtree, so that a range that covers another one, or overlaps it, is found on one way
//! down. Every operation is a loop and asks for no memory; a range goes from one tree to another
//! without leaving its place.

use crate::interval::mix;
use crate::slab::{Chunk, Growth, Key, Slab};

/// Addresses from the first to the last, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    first: u64,
    last: u64,
}

impl Span {
    /// All addresses that there are.
    pub const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };

    /// The addresses of `length` bytes from `start` on; `None` if there are none, or if they wrap.
    #[must_use]
    pub const fn new(start: u64, length: u64) -> Option<Self> {
        let Some(rest) = length.checked_sub(1) else {
            return None;
        };
        match start.checked_add(rest) {
            Some(last) => Some(Self { first: start, last }),
            None => None,
        }
    }

    /// The whole pages that hold it.
    #[must_use]
    pub const fn pages(self) -> Self {
        let within = sanproxy_abi::PAGE_SIZE.saturating_sub(1);
        Self {
            first: self.first & !within,
            last: self.last | within,
        }
    }

    /// How many bytes; all of them count as one less.
    #[must_use]
    pub const fn length(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// Whether every address of `other` is in it.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.first <= other.first && self.last >= other.last
    }

    /// Whether both have an address.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && self.last >= other.first
    }
}

/// A range in its place; only [`Chunk::allocate`] needs to name it.
pub struct SpanNode<V> {
    span: Span,
    /// The highest end in the subtree.
    highest: u64,
    priority: u64,
    tree: usize,
    parent: Option<u32>,
    left: Option<u32>,
    right: Option<u32>,
    value: V,
}

/// Where the best covering range may be: at a node, or somewhere below one.
#[derive(Clone, Copy)]
enum Best {
    At(u32),
    Below(u32),
}

/// Values by range, in `TREES` trees.
pub(crate) struct Forest<V, const TREES: usize> {
    slab: Slab<SpanNode<V>>,
    roots: [Option<u32>; TREES],
    seed: u64,
}

impl<V, const TREES: usize> Forest<V, TREES> {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            slab: Slab::new(),
            roots: [None; TREES],
            seed,
        }
    }

    pub(crate) const fn used(&self) -> u32 {
        self.slab.used()
    }

    pub(crate) fn growth(&self) -> Option<Growth> {
        self.slab.growth(1)
    }

    pub(crate) fn add(&mut self, chunk: Chunk<SpanNode<V>>) -> Result<(), Chunk<SpanNode<V>>> {
        self.slab.add(chunk)
    }

    /// Puts a range into a tree, or hands its value back if there is no place left.
    pub(crate) fn insert(&mut self, tree: usize, span: Span, value: V) -> Result<Key, V> {
        let node = SpanNode {
            span,
            highest: span.last,
            priority: 0,
            tree,
            parent: None,
            left: None,
            right: None,
            value,
        };
        let key = self.slab.insert(node).map_err(|node| node.value)?;
        let priority = mix(self.seed ^ u64::from(key.index).rotate_left(32) ^ span.first);
        if let Some(node) = self.slab.at_mut(key.index) {
            node.priority = priority;
        }
        self.hang(key.index, tree);
        Ok(key)
    }

    /// Puts a range that is in one tree into another.
    pub(crate) fn transfer(&mut self, index: u32, tree: usize) {
        self.unhang(index);
        self.hang(index, tree);
    }

    /// Takes a range out of its tree; it keeps its place until [`Forest::remove`].
    pub(crate) fn unhang(&mut self, index: u32) {
        // Rotated down until nothing is below it.
        while let Some((left, right)) = self.slab.at(index).map(|node| (node.left, node.right)) {
            let child = match (left, right) {
                (None, None) => break,
                (Some(only), None) | (None, Some(only)) => only,
                (Some(left), Some(right)) if self.priority(left) >= self.priority(right) => left,
                (Some(_), Some(right)) => right,
            };
            self.rotate_up(child);
        }
        let Some((parent, tree)) = self.slab.at(index).map(|node| (node.parent, node.tree)) else {
            return;
        };
        self.replace_child(parent, tree, index, None);
        let mut above = parent;
        while let Some(at) = above {
            self.refresh(at);
            above = self.slab.at(at).and_then(|node| node.parent);
        }
        if let Some(node) = self.slab.at_mut(index) {
            node.parent = None;
        }
    }

    /// Frees the place of a range that is in no tree.
    pub(crate) fn remove(&mut self, index: u32) -> Option<V> {
        self.slab.remove_at(index).map(|(_, node)| node.value)
    }

    /// The number of a place that is still the one meant.
    pub(crate) fn index_of(&self, key: Key) -> Option<u32> {
        self.slab.get(key).map(|_| key.index)
    }

    pub(crate) fn key_of(&self, index: u32) -> Option<Key> {
        self.slab.key_at(index)
    }

    pub(crate) fn span(&self, index: u32) -> Option<Span> {
        self.slab.at(index).map(|node| node.span)
    }

    pub(crate) fn value(&self, index: u32) -> Option<&V> {
        self.slab.at(index).map(|node| &node.value)
    }

    pub(crate) fn value_mut(&mut self, index: u32) -> Option<&mut V> {
        self.slab.at_mut(index).map(|node| &mut node.value)
    }

    /// A range of a tree that covers `span`: of those that begin early enough, the one that ends
    /// last.
    pub(crate) fn covering(&self, tree: usize, span: Span) -> Option<u32> {
        let (mut next, mut best, mut highest) = (self.root(tree), None, 0);
        while let Some(index) = next
            && let Some(node) = self.slab.at(index)
        {
            if node.span.first > span.first {
                next = node.left;
                continue;
            }
            if best.is_none() || node.span.last > highest {
                (best, highest) = (Some(Best::At(index)), node.span.last);
            }
            if let Some(left) = node.left
                && let Some(below) = self.slab.at(left)
                && below.highest > highest
            {
                (best, highest) = (Some(Best::Below(left)), below.highest);
            }
            next = node.right;
        }
        match best.filter(|_| highest >= span.last)? {
            Best::At(index) => Some(index),
            Best::Below(index) => self.ending_at(index, highest),
        }
    }

    /// The node of a subtree that ends at the highest end in it.
    fn ending_at(&self, mut index: u32, highest: u64) -> Option<u32> {
        loop {
            let node = self.slab.at(index)?;
            if node.span.last == highest {
                return Some(index);
            }
            let left = node.left.filter(|left| self.highest(*left) == highest);
            index = left.or(node.right)?;
        }
    }

    /// Any range of a tree that overlaps `span`.
    pub(crate) fn overlapping(&self, tree: usize, span: Span) -> Option<u32> {
        let mut next = self.root(tree);
        while let Some(index) = next {
            let node = self.slab.at(index)?;
            if node.span.overlaps(span) {
                return Some(index);
            }
            // If one on the left reaches far enough and none there overlaps, all on the right
            // begin too late.
            let left = node.left.filter(|left| self.highest(*left) >= span.first);
            next = left.or(node.right);
        }
        None
    }

    fn root(&self, tree: usize) -> Option<u32> {
        self.roots.get(tree).copied().flatten()
    }

    fn priority(&self, index: u32) -> u64 {
        self.slab.at(index).map_or(0, |node| node.priority)
    }

    fn highest(&self, index: u32) -> u64 {
        self.slab.at(index).map_or(0, |node| node.highest)
    }

    fn hang(&mut self, index: u32, tree: usize) {
        let Some(node) = self.slab.at_mut(index) else {
            return;
        };
        (node.tree, node.parent, node.left, node.right) = (tree, None, None, None);
        node.highest = node.span.last;
        let (first, last, priority) = (node.span.first, node.span.last, node.priority);
        let (mut parent, mut before, mut next) = (None, false, self.root(tree));
        while let Some(at) = next
            && let Some(above) = self.slab.at_mut(at)
        {
            above.highest = above.highest.max(last);
            parent = Some(at);
            // Equal beginnings are told apart by their places.
            before = (first, index) < (above.span.first, at);
            next = if before { above.left } else { above.right };
        }
        match parent {
            None => self.set_root(tree, Some(index)),
            Some(at) => {
                if let Some(above) = self.slab.at_mut(at) {
                    let side = if before {
                        &mut above.left
                    } else {
                        &mut above.right
                    };
                    *side = Some(index);
                }
            }
        }
        self.set_parent(Some(index), parent);
        while let Some(above) = self.slab.at(index).and_then(|node| node.parent)
            && self.priority(above) < priority
        {
            self.rotate_up(index);
        }
    }

    /// Makes a node the parent of its parent; the order of ranges stays.
    fn rotate_up(&mut self, index: u32) {
        let Some((parent, left, right)) = self
            .slab
            .at(index)
            .and_then(|node| Some((node.parent?, node.left, node.right)))
        else {
            return;
        };
        let Some(above) = self.slab.at_mut(parent) else {
            return;
        };
        let (grandparent, tree) = (above.parent, above.tree);
        let was_left = above.left == Some(index);
        let passed = if was_left {
            above.left = right;
            right
        } else {
            above.right = left;
            left
        };
        self.set_parent(passed, Some(parent));
        if let Some(node) = self.slab.at_mut(index) {
            let side = if was_left {
                &mut node.right
            } else {
                &mut node.left
            };
            *side = Some(parent);
        }
        self.replace_child(grandparent, tree, parent, Some(index));
        self.set_parent(Some(index), grandparent);
        self.set_parent(Some(parent), Some(index));
        self.refresh(parent);
        self.refresh(index);
    }

    /// Lets `new` hang where `old` hangs.
    fn replace_child(&mut self, parent: Option<u32>, tree: usize, old: u32, new: Option<u32>) {
        match parent.and_then(|at| self.slab.at_mut(at)) {
            None => self.set_root(tree, new),
            Some(above) if above.left == Some(old) => above.left = new,
            Some(above) => above.right = new,
        }
    }

    fn set_root(&mut self, tree: usize, root: Option<u32>) {
        if let Some(place) = self.roots.get_mut(tree) {
            *place = root;
        }
    }

    fn set_parent(&mut self, index: Option<u32>, parent: Option<u32>) {
        if let Some(node) = index.and_then(|index| self.slab.at_mut(index)) {
            node.parent = parent;
        }
    }

    /// Finds the highest end anew, from the node and its children.
    fn refresh(&mut self, index: u32) {
        let Some(node) = self.slab.at(index) else {
            return;
        };
        let below = |child: Option<u32>| child.map_or(0, |child| self.highest(child));
        let highest = node.span.last.max(below(node.left)).max(below(node.right));
        if let Some(node) = self.slab.at_mut(index) {
            node.highest = highest;
        }
    }
}
