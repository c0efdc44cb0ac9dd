//! Scatter/gather lists of a process's own memory.

// UNSAFETY: promises that the memory of a list outlives it.
#![expect(unsafe_code, reason = "a list is of memory that its owner keeps")]

use core::ptr;

use super::{
    Adapter, Error,
    held_list::{HeldList, ListMember},
    span::Span,
};
use crate::{locked_pages::LockedPages, pool::Shared, status::NoMemory};

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From memory to the device, which cannot write the memory where an IOMMU prevents it.
    ToDevice,
    /// From the device to memory. On coherent processors such a list serves both ways.
    FromDevice,
}

impl Direction {
    pub(super) const fn write_to_device(self) -> u8 {
        match self {
            Self::ToDevice => 1,
            Self::FromDevice => 0,
        }
    }
}

/// The routine that a list came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListRoutine {
    /// `GetScatterGatherList`.
    Get,
    /// `GetScatterGatherListEx`.
    GetEx,
}

/// The device's addresses of a process's locked pages, which stay locked as long as this lives.
pub struct ScatterGatherList {
    // Dropped in this order: the device loses the pages before they are unlocked.
    held: HeldList,
    pages: LockedPages,
}

impl ScatterGatherList {
    /// Makes locked pages reachable for the device.
    ///
    /// Whether these are the pages themselves is for the caller to know: where no IOMMU translates,
    /// the adapter copies what the device does not reach.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the adapter has not enough of something, or on a table without
    /// `GetScatterGatherListEx` if this adapter's lists hold all map registers; the pages are unlocked.
    pub fn new(
        adapter: &Shared<Adapter>,
        pages: LockedPages,
        direction: Direction,
    ) -> Result<Self, NoMemory> {
        let start = usize::try_from(pages.address()).map_err(|_| NoMemory)?;
        let start = ptr::without_provenance(start);
        let span = Span::whole(pages.mdl(), start, pages.length(), direction)?;
        // SAFETY: locked pages are resident, and are kept by the value that this makes.
        let held = unsafe { HeldList::new(adapter, &span) }?;
        Ok(Self { held, pages })
    }

    /// The pages.
    #[must_use]
    pub const fn pages(&self) -> &LockedPages {
        &self.pages
    }

    /// The routine that the list came from.
    #[must_use]
    pub const fn routine(&self) -> ListRoutine {
        match self.held.member() {
            ListMember::Get | ListMember::Build => ListRoutine::Get,
            ListMember::GetEx | ListMember::BuildEx => ListRoutine::GetEx,
        }
    }

    /// Without ending the transfer, shows the device what the processor has written, or the processor what
    /// the device has written, where caches or copies stand between: `FlushDmaBuffer`. On coherent machines,
    /// and for memory that the device reaches, both see everything anyway.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] before Windows 10; [`Error::Refused`].
    pub fn synchronise(&self, direction: Direction) -> Result<(), Error> {
        let adapter = self.held.adapter();
        // SAFETY: the list is of these pages, and has not been put back.
        unsafe { adapter.synchronise(self.pages.mdl(), direction) }
    }

    /// Its elements, in order: where the device finds each, and how many bytes.
    pub fn elements(&self) -> impl Iterator<Item = (u64, u32)> {
        (0..self.held.count()).filter_map(|index| self.held.element(index))
    }
}
