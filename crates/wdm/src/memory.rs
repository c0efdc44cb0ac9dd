//! Memory that a device can reach, whoever owns the block that it is part of.
//!
//! A process or a device may change such memory at any moment. So it is never referenced, only
//! filled and copied.

// UNSAFETY: fills and copies memory that the value keeps allocated.
#![expect(unsafe_code, reason = "works on memory behind raw pointers")]

use core::{
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use crate::{
    contiguous::ContiguousMemory,
    dma::{BufferVector, CommonBuffer, SharedBlock, VectorElement},
    pool::Shared,
    window::Window,
};

/// The size of a page.
pub const PAGE_SIZE: usize = 4096;

/// How the processor caches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    /// Not at all.
    NonCached,
    /// As it does ordinary memory.
    Cached,
    /// Not at all, but it may combine writes.
    WriteCombined,
}

/// Whoever owns the block. It is not asked again, only kept.
#[expect(dead_code, reason = "kept allocated")]
#[derive(Clone)]
enum Block {
    Common(Shared<CommonBuffer>),
    Vector(Shared<BufferVector>),
    Contiguous(Shared<ContiguousMemory>),
    Device(Shared<SharedBlock>),
}

/// Some whole pages of one block, which stays allocated as long as this value lives.
///
/// # Invariants
///
/// `start` and `length` are whole pages of the block.
#[derive(Clone)]
pub struct Memory {
    #[expect(dead_code, reason = "kept allocated")]
    block: Block,
    start: NonNull<u8>,
    length: usize,
    cache: CacheType,
}

// SAFETY: the pointer is only used for accesses that tolerate each other.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl From<Shared<CommonBuffer>> for Memory {
    fn from(buffer: Shared<CommonBuffer>) -> Self {
        let (start, length, cache) = (buffer.start(), buffer.length(), buffer.cache());
        Self {
            block: Block::Common(buffer),
            start,
            length,
            cache,
        }
    }
}

impl From<VectorElement> for Memory {
    fn from(element: VectorElement) -> Self {
        let (start, length, cache) = (element.start(), element.length(), element.cache());
        let block = Block::Vector(element.into_vector());
        Self {
            block,
            start,
            length,
            cache,
        }
    }
}

impl From<Shared<ContiguousMemory>> for Memory {
    fn from(memory: Shared<ContiguousMemory>) -> Self {
        let (start, length, cache) = (memory.start(), memory.length(), memory.cache());
        Self {
            block: Block::Contiguous(memory),
            start,
            length,
            cache,
        }
    }
}

impl From<Shared<SharedBlock>> for Memory {
    fn from(shared: Shared<SharedBlock>) -> Self {
        let memory = shared.memory();
        let (start, length, cache) = (memory.start(), memory.length(), memory.cache());
        Self {
            block: Block::Device(shared),
            start,
            length,
            cache,
        }
    }
}

impl Memory {
    /// The pages from `offset` on, `length` bytes of them, if there are so many.
    #[must_use]
    pub fn part(mut self, offset: usize, length: usize) -> Option<Self> {
        let whole_pages = offset.is_multiple_of(PAGE_SIZE) && length.is_multiple_of(PAGE_SIZE);
        if !whole_pages || length == 0 || offset.checked_add(length)? > self.length {
            return None;
        }
        // INVARIANT: within the pages that this was.
        self.start = NonNull::new(self.start.as_ptr().wrapping_add(offset))?;
        self.length = length;
        Some(self)
    }

    /// How many bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// How they are cached.
    #[must_use]
    pub const fn cache(&self) -> CacheType {
        self.cache
    }

    /// Where they lie for the kernel.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Fills them with zeros.
    pub fn zero(&self) {
        // SAFETY: the pages are allocated, by the invariant.
        unsafe { zero(self.start, self.length) };
    }

    /// Writes a number at `offset`, a multiple of eight, for readers who look at any moment: whole,
    /// and after everything written before it. `None` if it does not lie there.
    #[must_use]
    pub fn publish(&self, offset: usize, number: u64) -> Option<()> {
        if !offset.is_multiple_of(8) || offset.checked_add(8)? > self.length {
            return None;
        }
        let place: *mut u64 = self.start.as_ptr().wrapping_add(offset).cast();
        fence(Ordering::Release);
        // SAFETY: allocated, by the invariant and the check, and aligned: pages are.
        unsafe { place.write_volatile(number) };
        Some(())
    }

    /// The bytes.
    #[must_use]
    pub const fn window(&self) -> Window<'_> {
        // SAFETY: the pages are allocated, by the invariant, as long as this value is borrowed.
        unsafe { Window::new(self.start, self.length, true) }
    }
}

/// Fills memory with zeros.
///
/// # Safety
///
/// The bytes are allocated, and writable by the kernel.
pub(crate) unsafe fn zero(start: NonNull<u8>, length: usize) {
    // SAFETY: the caller's promise.
    unsafe { start.as_ptr().write_bytes(0, length) };
}
