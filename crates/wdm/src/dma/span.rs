//! A range of resident memory, as the members of the table want it: an MDL, and a part of it.

use core::ffi::c_void;

use super::{Direction, Error};
use crate::{mdl::Mdl, memory::PAGE_SIZE};

/// A part of what an MDL describes, and the way that data goes.
///
/// # Invariants
///
/// The MDL describes resident memory, of which `length` bytes, not zero, follow `offset`; `start` is the
/// address that the MDL has for the first of them.
pub(super) struct Span<'a> {
    mdl: &'a Mdl,
    start: usize,
    offset: u32,
    length: u32,
    direction: Direction,
}

impl<'a> Span<'a> {
    /// All that an MDL describes.
    ///
    /// # Errors
    ///
    /// [`Error::BadRange`] if nothing is described, or more than the routines can count.
    pub(super) fn whole(
        mdl: &'a Mdl,
        start: *const c_void,
        length: usize,
        direction: Direction,
    ) -> Result<Self, Error> {
        let length = u32::try_from(length).map_err(|_| Error::BadRange)?;
        if length == 0 {
            return Err(Error::BadRange);
        }
        // INVARIANT: MDLs of this crate are of resident memory when they leave their module.
        Ok(Self {
            mdl,
            start: start.addr(),
            offset: 0,
            length,
            direction,
        })
    }

    /// The bytes from an offset on.
    ///
    /// # Errors
    ///
    /// [`Error::BadRange`] if there are not so many.
    pub(super) fn part(mut self, offset: usize, length: usize) -> Result<Self, Error> {
        let offset = u32::try_from(offset).map_err(|_| Error::BadRange)?;
        let length = u32::try_from(length).map_err(|_| Error::BadRange)?;
        let end = offset.checked_add(length).ok_or(Error::BadRange)?;
        if length == 0 || end > self.length {
            return Err(Error::BadRange);
        }
        let skipped = usize::try_from(offset).map_err(|_| Error::BadRange)?;
        self.start = self.start.checked_add(skipped).ok_or(Error::BadRange)?;
        self.offset = self.offset.checked_add(offset).ok_or(Error::BadRange)?;
        self.length = length;
        Ok(self)
    }

    /// The beginning of it that lies in so many pages.
    pub(super) fn within_pages(mut self, pages: u32) -> Self {
        let page = u64::try_from(PAGE_SIZE).unwrap_or(0);
        let room = u64::from(pages)
            .saturating_mul(page)
            .saturating_sub(self.page_offset());
        self.length = u32::try_from(room).map_or(self.length, |room| self.length.min(room));
        self
    }

    /// How many pages it touches: as many as it needs map registers.
    pub(super) fn pages(&self) -> u32 {
        let page = u64::try_from(PAGE_SIZE).unwrap_or(1);
        let bytes = self.page_offset().saturating_add(u64::from(self.length));
        u32::try_from(bytes.div_ceil(page)).unwrap_or(u32::MAX)
    }

    fn page_offset(&self) -> u64 {
        let into = self.start.checked_rem(PAGE_SIZE).unwrap_or(0);
        u64::try_from(into).unwrap_or(0)
    }

    pub(super) const fn mdl(&self) -> &'a Mdl {
        self.mdl
    }

    /// `CurrentVa`: the address that the MDL has for a byte of it. Nobody reads through it.
    pub(super) fn address(&self, skipped: u32) -> *mut c_void {
        let skipped = usize::try_from(skipped).unwrap_or(0);
        core::ptr::without_provenance_mut(self.start.wrapping_add(skipped))
    }

    pub(super) const fn offset(&self) -> u32 {
        self.offset
    }

    pub(super) const fn length(&self) -> u32 {
        self.length
    }

    pub(super) const fn direction(&self) -> Direction {
        self.direction
    }
}
