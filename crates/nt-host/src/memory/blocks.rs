//! Every block of kernel memory that a driver has, or had: where it is, what it is, who made it.
//!
//! A block has pages of its own between inaccessible ones. What is left of its pages is filled with a
//! pattern that is checked when the block is freed; freed pages become inaccessible, and the block is
//! remembered, so that a second free is told from a wild one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use nt_machine::{Arena, CacheType, FrameList, MapOptions, PAGE_SIZE};

use super::stacks::Stack;
use crate::{access, lock};

/// What fills the rest of a block's pages.
pub(crate) const SLACK: u8 = 0x0F;
/// Freed blocks that are remembered.
const REMEMBERED: usize = 1 << 16;

/// What a block is, and what its release has to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From a pool allocator.
    Pool {
        /// The allocation's tag.
        tag: u32,
        /// From paged pool.
        paged: bool,
    },
    /// From one of the contiguous allocators.
    Contiguous {
        /// The caching type it was asked for with.
        cache: u32,
        /// It came from a `SpecifyCache` routine.
        specified: bool,
    },
    /// A common buffer of the DMA adapter at this address.
    CommonBuffer(u64),
    /// An MDL from `IoAllocateMdl`.
    Mdl,
    /// An MDL that came with pages, from `MmAllocatePagesForMdl*`.
    PagesMdl,
    /// A scatter/gather list that the system has built.
    List,
}

impl Kind {
    /// The word for it in reports.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Pool { .. } => "pool block",
            Self::Contiguous { .. } => "contiguous memory",
            Self::CommonBuffer(_) => "common buffer",
            Self::Mdl => "MDL",
            Self::PagesMdl => "MDL with pages",
            Self::List => "scatter/gather list",
        }
    }

    /// The routine that gives it back.
    pub(crate) const fn release(&self) -> &'static str {
        match self {
            Self::Pool { .. } => "ExFreePool",
            Self::Contiguous { .. } => "MmFreeContiguousMemory",
            Self::CommonBuffer(_) => "FreeCommonBuffer",
            Self::Mdl => "IoFreeMdl",
            Self::PagesMdl => "MmFreePagesFromMdl, then ExFreePool",
            Self::List => "PutScatterGatherList",
        }
    }
}

/// A live block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its first byte.
    pub(crate) base: u64,
    /// Bytes asked for.
    pub(crate) size: u64,
    /// The page in which it begins.
    pub(crate) page: u64,
    /// Its frames.
    pub(crate) frames: FrameList,
    /// User mappings that show it now.
    pub(crate) user_views: u32,
    /// Who made it.
    pub(crate) stack: Stack,
}

impl Block {
    /// The byte after its last page.
    pub(crate) const fn pages_end(&self) -> u64 {
        self.page + self.frames.pages() * PAGE_SIZE
    }

    /// In words, for reports.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{} {:#x} of {} bytes",
            self.kind.name(),
            self.base,
            self.size
        )
    }
}

/// What is left of a block that was freed.
#[derive(Clone, Debug)]
pub(crate) struct Tombstone {
    /// What it was.
    pub(crate) kind: Kind,
    /// Where it began.
    pub(crate) base: u64,
    /// Bytes it had.
    pub(crate) size: u64,
    end: u64,
}

/// What an address is to the block registry.
pub(crate) enum Place {
    /// In the pages of a live block.
    Live(Block),
    /// In the pages of a block that was freed.
    Freed(Tombstone),
    /// In the guard page after a live block (its pages end here), or before one.
    Guard(Block),
}

/// Where in its pages a block of less than a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// At the start: what reaches before it faults.
    Start,
    /// At the end, aligned to so many bytes: what reaches behind it faults.
    End(u64),
}

/// What part of a block's surroundings was overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Before its first byte.
    Before,
    /// After its last byte.
    After,
}

/// What a new block is to be.
pub(crate) struct NewBlock {
    /// What it is.
    pub(crate) kind: Kind,
    /// Bytes asked for.
    pub(crate) size: u64,
    /// Where in its pages.
    pub(crate) layout: Layout,
    /// How it is cached.
    pub(crate) cache: CacheType,
    /// Who makes it.
    pub(crate) stack: Stack,
}

#[derive(Default)]
struct Tables {
    /// By first page.
    live: BTreeMap<u64, Block>,
    freed: BTreeMap<u64, Tombstone>,
    order: VecDeque<u64>,
}

/// The blocks of one host.
pub(crate) struct Blocks {
    arena: Arc<Arena>,
    tables: Mutex<Tables>,
}

impl Blocks {
    pub(crate) fn new(arena: Arc<Arena>) -> Self {
        Self {
            arena,
            tables: Mutex::default(),
        }
    }

    /// Maps frames as a new block and returns its first byte; on failure the frames stay the caller's.
    pub(crate) fn add(&self, frames: &FrameList, new: NewBlock) -> Option<u64> {
        let machine = self.arena.machine();
        machine.use_cache(frames, new.cache).ok()?;
        let Ok(page) = self.arena.map(frames, MapOptions::READ_WRITE) else {
            machine.release_cache(frames);
            return None;
        };
        let end = page + frames.pages() * PAGE_SIZE;
        let base = match new.layout {
            Layout::Start => page,
            Layout::End(align) => (end - new.size) / align * align,
        };
        access::fill(page, SLACK, (base - page) as usize);
        access::fill(base + new.size, SLACK, (end - base - new.size) as usize);
        let (kind, size, stack) = (new.kind, new.size, new.stack);
        let block = Block {
            kind,
            base,
            size,
            page,
            frames: frames.clone(),
            user_views: 0,
            stack,
        };
        let mut tables = lock(&self.tables);
        tables.forget_freed(page, end);
        tables.live.insert(page, block);
        Some(base)
    }

    /// Unmaps a block; its frames are the caller's.
    pub(crate) fn remove(&self, base: u64) -> Option<Block> {
        let mut tables = lock(&self.tables);
        let block = tables.live.remove(&(base / PAGE_SIZE * PAGE_SIZE))?;
        let end = block.pages_end();
        tables.remember_freed(&block, end);
        drop(tables);
        let unmapped = self.arena.unmap(block.page);
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
        self.arena.machine().release_cache(&block.frames);
        Some(block)
    }

    /// What lies at an address.
    pub(crate) fn place(&self, address: u64) -> Option<Place> {
        let tables = lock(&self.tables);
        let before = tables
            .live
            .range(..=address)
            .next_back()
            .map(|(_, block)| block);
        if let Some(block) = before.filter(|block| address < block.pages_end()) {
            return Some(Place::Live(block.clone()));
        }
        let freed = tables
            .freed
            .range(..=address)
            .next_back()
            .map(|(_, tombstone)| tombstone);
        if let Some(tombstone) = freed.filter(|tombstone| address < tombstone.end) {
            return Some(Place::Freed(tombstone.clone()));
        }
        let near = before.filter(|block| address - block.pages_end() < PAGE_SIZE);
        let after = || {
            tables
                .live
                .range(address..address + PAGE_SIZE)
                .next()
                .map(|(_, it)| it)
        };
        near.or_else(after).map(|block| Place::Guard(block.clone()))
    }

    /// The live block in whose pages an address lies.
    pub(crate) fn live(&self, address: u64) -> Option<Block> {
        match self.place(address)? {
            Place::Live(block) => Some(block),
            Place::Freed(_) | Place::Guard(_) => None,
        }
    }

    /// Counts a user mapping of the block in, or out.
    pub(crate) fn count_view(&self, address: u64, change: i32) {
        let mut tables = lock(&self.tables);
        if let Some((_, block)) = tables.live.range_mut(..=address).next_back()
            && address < block.pages_end()
        {
            block.user_views = block.user_views.saturating_add_signed(change);
        }
    }

    /// Which part of a block's surroundings has lost its pattern.
    pub(crate) fn damage(&self, block: &Block) -> Option<Damage> {
        let intact = |from: u64, to: u64| {
            let mut bytes = vec![SLACK; (to - from) as usize];
            self.arena.read(from, &mut bytes).is_ok() && bytes.iter().all(|byte| *byte == SLACK)
        };
        if !intact(block.page, block.base) {
            return Some(Damage::Before);
        }
        (!intact(block.base + block.size, block.pages_end())).then_some(Damage::After)
    }

    /// All live blocks.
    pub(crate) fn all(&self) -> Vec<Block> {
        lock(&self.tables).live.values().cloned().collect()
    }
}

impl Tables {
    fn remember_freed(&mut self, block: &Block, end: u64) {
        let (kind, base, size) = (block.kind.clone(), block.base, block.size);
        self.freed.insert(
            block.page,
            Tombstone {
                kind,
                base,
                size,
                end,
            },
        );
        self.order.push_back(block.page);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.freed.remove(&oldest);
        }
    }

    /// Pages that are in use again are no longer those of a freed block.
    fn forget_freed(&mut self, page: u64, end: u64) {
        let before = self.freed.range(..page).next_back();
        let mut stale: Vec<u64> = before
            .filter(|(_, tombstone)| tombstone.end > page)
            .map(|(&at, _)| at)
            .into_iter()
            .collect();
        stale.extend(self.freed.range(page..end).map(|(&at, _)| at));
        for at in stale {
            self.freed.remove(&at);
        }
    }
}
