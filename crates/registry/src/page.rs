//! Hands out the pages of the driver's reserve.
//!
//! A binary tree over the pages, one byte per node: the largest free aligned block below it. A
//! request takes the start of a free aligned block of the next power of two and leaves the rest
//! free, so nothing is wasted, and blocks that become free grow together again by themselves.
//! Allocating and freeing take logarithmic time and ask for no memory.

use alloc::vec::Vec;

use sanproxy_abi::PAGE_SIZE;

use crate::{NoMemory, filled};

/// Pages handed out: given back to the allocator they came from by being consumed.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "free it, or its pages are lost"]
pub struct Block {
    /// The first page, as a leaf of the tree.
    first: u32,
    pages: u32,
    /// The leaf where the memory begins.
    origin: u32,
}

impl Block {
    /// Where it begins, in bytes from the start of the memory.
    #[must_use]
    pub fn offset(&self) -> u64 {
        u64::from(self.first.saturating_sub(self.origin)).saturating_mul(PAGE_SIZE)
    }

    /// How many bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        u64::from(self.pages).saturating_mul(PAGE_SIZE)
    }
}

/// The free pages of one contiguous piece of memory.
///
/// # Invariants
///
/// `nodes` is a complete binary tree, root at 1, children of `n` at `2n` and `2n + 1`, with
/// `2^height` leaves. A node holds 0 if nothing below it is free, or one more than the order of
/// the largest free aligned block below it. A node that was handed out whole holds 0 while all
/// below it hold "free", for nobody looks there. Leaf numbers are page numbers of the address,
/// as far as alignments up to `2^(height - 1)` pages can tell.
pub struct PageAllocator {
    nodes: Vec<u8>,
    height: u32,
    origin: u32,
    pages: u32,
    free: u32,
}

impl PageAllocator {
    /// An allocator of `pages` free pages that begin at `address`, which is page aligned.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if there is none for the tree: up to four bytes per page.
    pub fn new(address: u64, pages: u32) -> Result<Self, NoMemory> {
        // Twice as many leaves as pages, so that any origin fits.
        let half = pages.checked_next_power_of_two().ok_or(NoMemory)?;
        let leaves = half.checked_mul(2).ok_or(NoMemory)?;
        let size = leaves
            .checked_mul(2)
            .and_then(|size| usize::try_from(size).ok());
        let size = size.ok_or(NoMemory)?;
        let page = address / PAGE_SIZE;
        let origin = page & u64::from(half).saturating_sub(1);
        let nodes = filled(size, || 0)?;
        let origin = u32::try_from(origin).map_err(|_| NoMemory)?;
        let height = leaves.checked_ilog2().ok_or(NoMemory)?;
        let mut allocator = Self {
            nodes,
            height,
            origin,
            pages,
            free: pages,
        };
        // Everything below a free node must read "free" too.
        for leaf in origin..origin.saturating_add(pages) {
            allocator.set(leaves.saturating_add(leaf), 1);
        }
        for node in (1..leaves).rev() {
            allocator.refresh(node);
        }
        Ok(allocator)
    }

    /// How many pages there are.
    #[must_use]
    pub const fn pages(&self) -> u32 {
        self.pages
    }

    /// How many of them are free.
    #[must_use]
    pub const fn free_pages(&self) -> u32 {
        self.free
    }

    /// Takes pages whose first address is a multiple of `alignment` bytes and that cross no
    /// multiple of `boundary` bytes (both powers of two).
    ///
    /// `None` if there is no free aligned block of the next power of two.
    pub fn allocate(&mut self, pages: u64, alignment: u64, boundary: Option<u64>) -> Option<Block> {
        let pages = u32::try_from(pages).ok().filter(|pages| *pages > 0)?;
        let alignment = u32::try_from(alignment.div_ceil(PAGE_SIZE)).ok()?;
        let size = pages.checked_next_power_of_two()?;
        // An aligned block of a power of two crosses no boundary that is not smaller than itself.
        if boundary.is_some_and(|boundary| boundary / PAGE_SIZE < u64::from(size)) {
            return None;
        }
        let order = size
            .max(alignment.checked_next_power_of_two()?)
            .checked_ilog2()?;
        // The leaf numbers say nothing about larger alignments: the root is half empty.
        if order >= self.height {
            return None;
        }
        let first = self.find(order)?;
        let block = Block {
            first,
            pages,
            origin: self.origin,
        };
        self.mark(&block, false);
        self.free = self.free.saturating_sub(pages);
        Some(block)
    }

    /// Takes pages back.
    ///
    /// # Errors
    ///
    /// Hands the block back if it cannot be one that this allocator handed out.
    pub fn free(&mut self, block: Block) -> Result<(), Block> {
        let end = self.origin.saturating_add(self.pages);
        let block_end = block.first.saturating_add(block.pages);
        let ours = block.origin == self.origin && block.first >= self.origin && block_end <= end;
        if !ours || !self.is_marked(&block) {
            return Err(block);
        }
        self.mark(&block, true);
        self.free = self.free.saturating_add(block.pages);
        Ok(())
    }

    /// The first page of the leftmost free aligned block of at least that order.
    fn find(&self, order: u32) -> Option<u32> {
        let wanted = u8::try_from(order).ok()?.checked_add(1)?;
        if self.get(1) < wanted {
            return None;
        }
        let mut node = 1_u32;
        for _ in order..self.height {
            let left = node.checked_mul(2)?;
            node = if self.get(left) >= wanted {
                left
            } else {
                left.checked_add(1)?
            };
        }
        // The node is at the level of the order: its first leaf.
        node.checked_shl(order)?
            .checked_sub(1_u32.checked_shl(self.height)?)
    }

    /// Marks the nodes that make up a block, and all above them.
    fn mark(&mut self, block: &Block, free: bool) {
        let parts = Parts {
            first: block.first,
            end: block.first.saturating_add(block.pages),
        };
        for (first, order) in parts {
            let full = u8::try_from(order).unwrap_or(0).saturating_add(1);
            let node = self.node(first, order);
            self.set(node, if free { full } else { 0 });
            let mut above = node / 2;
            while above > 0 {
                self.refresh(above);
                above /= 2;
            }
        }
    }

    /// Whether each node that makes up the block was handed out whole.
    fn is_marked(&self, block: &Block) -> bool {
        let mut parts = Parts {
            first: block.first,
            end: block.first.saturating_add(block.pages),
        };
        parts.all(|(first, order)| self.get(self.node(first, order)) == 0)
    }

    /// The node of an aligned block.
    fn node(&self, first: u32, order: u32) -> u32 {
        let leaves = 1_u32.checked_shl(self.height).unwrap_or(0);
        leaves.saturating_add(first).checked_shr(order).unwrap_or(0)
    }

    /// Makes a node say what its children say together.
    fn refresh(&mut self, node: u32) {
        let left = self.get(node.saturating_mul(2));
        let right = self.get(node.saturating_mul(2).saturating_add(1));
        let level = self
            .height
            .saturating_sub(node.checked_ilog2().unwrap_or(0));
        let child_full = u8::try_from(level).unwrap_or(u8::MAX);
        let both = left == child_full && right == child_full;
        self.set(
            node,
            if both {
                child_full.saturating_add(1)
            } else {
                left.max(right)
            },
        );
    }

    fn get(&self, node: u32) -> u8 {
        usize::try_from(node)
            .ok()
            .and_then(|node| self.nodes.get(node))
            .copied()
            .unwrap_or(0)
    }

    fn set(&mut self, node: u32, value: u8) {
        if let Some(place) = usize::try_from(node)
            .ok()
            .and_then(|node| self.nodes.get_mut(node))
        {
            *place = value;
        }
    }
}

/// The aligned blocks of powers of two that make up a range, from the left.
struct Parts {
    first: u32,
    end: u32,
}

impl Iterator for Parts {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let left = self.end.checked_sub(self.first)?.checked_ilog2()?;
        let order = self.first.trailing_zeros().min(left);
        let first = self.first;
        self.first = first.checked_add(1_u32.checked_shl(order)?)?;
        Some((first, order))
    }
}
