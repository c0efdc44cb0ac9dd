//! Common buffers taken when the device was started, while memory was whole.
//!
//! When the system has no memory any more, registrations of a few pages are cut from them. Not
//! before: the device reaches the reserve at all times, so that a device which goes on using
//! memory after its release is not stopped by the IOMMU there. Two owners never share a page.

use sanproxy_abi::{CacheType, Error, PAGE_SIZE};
use sanproxy_registry::{Block, PageAllocator};
use wdm::{
    dma::{Adapter, BufferWanted, CommonBuffer},
    memory::Memory,
    mutex::Mutex,
    node::Node,
    pool::Shared,
};

use super::{Piece, contract_cache, placement::Place};

/// The reserve of a device.
pub(crate) struct Reserve {
    memory: Memory,
    logical: u64,
    pages: Mutex<PageAllocator>,
}

impl Reserve {
    /// Takes `bytes`, or as large a part of it as the adapter has in one run.
    pub(crate) fn fill(adapter: &Shared<Adapter>, bytes: u64) -> Option<Self> {
        let mut length = bytes.checked_next_multiple_of(PAGE_SIZE)?;
        while length > 0 {
            if let Some(reserve) = Self::take(adapter, length) {
                return Some(reserve);
            }
            // Whole pages: a single one ends it.
            length = (length / 2)
                .checked_next_multiple_of(PAGE_SIZE)
                .filter(|half| *half < length)?;
        }
        None
    }

    fn take(adapter: &Shared<Adapter>, length: u64) -> Option<Self> {
        let wanted = BufferWanted {
            length: usize::try_from(length).ok()?,
            lowest: 0,
            highest: u64::MAX,
            cache: wdm::memory::CacheType::Cached,
            node: Node::Any,
        };
        let buffer = Shared::new(CommonBuffer::new(adapter, &wanted).ok()?).ok()?;
        let logical = buffer.logical_address();
        let pages = PageAllocator::new(logical, u32::try_from(length / PAGE_SIZE).ok()?).ok()?;
        Some(Self {
            memory: Memory::from(buffer),
            logical,
            pages: Mutex::new(pages),
        })
    }

    /// How many bytes it has, free or not.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.memory.length()).unwrap_or(0)
    }

    /// How it is cached.
    pub(crate) const fn cache(&self) -> CacheType {
        contract_cache(self.memory.cache())
    }
}

/// Pages of the reserve, scrubbed and given back on drop. Whatever shows them to somebody is an
/// owner, for unlike a block of their own they have a next owner before they are freed.
pub(crate) struct ReservedPages {
    memory: Memory,
    block: Option<Block>,
    reserve: Shared<Reserve>,
}

impl Drop for ReservedPages {
    fn drop(&mut self) {
        self.memory.zero();
        if let Some(block) = self.block.take() {
            // It is this reserve's own.
            let _: Result<(), Block> = self.reserve.pages.lock().free(block);
        }
    }
}

/// Cuts a piece from the reserve.
pub(super) fn cut(reserve: &Shared<Reserve>, place: &Place) -> Result<Piece, Error> {
    let pages = place.length / PAGE_SIZE;
    let block = reserve
        .pages
        .lock()
        .allocate(pages, place.alignment, place.boundary);
    let block = block.ok_or(Error::NoMemory)?;
    let (offset, length) = (block.offset(), place.length);
    let device_address = reserve.logical.saturating_add(offset);
    let part = usize::try_from(offset)
        .ok()
        .zip(usize::try_from(length).ok());
    let part = part.and_then(|(offset, length)| reserve.memory.clone().part(offset, length));
    let Some(memory) = part else {
        let _: Result<(), Block> = reserve.pages.lock().free(block);
        return Err(Error::NoMemory);
    };
    // From here on, dropping the pages gives them back.
    let reserve = reserve.clone();
    let pages = ReservedPages {
        memory: memory.clone(),
        block: Some(block),
        reserve,
    };
    let pages = Shared::new(pages).map_err(|_| Error::NoMemory)?;
    // The reserve was aligned by address; whether it lies between the bounds was not looked at.
    if place.offset_in(device_address, length) != Some(0) {
        return Err(Error::NoMemory);
    }
    // Scrubbed when it was given back, but a device may have been late.
    memory.zero();
    Ok(Piece::new(memory, device_address, Some(pages)))
}
