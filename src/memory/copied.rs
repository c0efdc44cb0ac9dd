//! A copy of the caller's own memory, where the device does not reach the memory itself.
//!
//! The adapter could make one too, for as long as a transfer lasts, and its device addresses are
//! new for each transfer. So the copy is common buffer of the driver's own: it stays where it is, takes
//! no map registers, and any part of it can be brought up to date at any time.

use core::sync::atomic::{AtomicBool, Ordering};

use alloc::vec::Vec;

use sanproxy_abi::{Access, Error, RegisterUserBufferRequest, Side};
use wdm::locked_pages::LockedPages;

use super::{
    Piece, allocate, push_within,
    source::Nature,
    user_buffer::{Extent, lock_chunk},
};
use crate::{
    address_space::AddressSpace,
    device::{Debt, ExtraDebt, Hardware},
};

/// The most that is locked and mapped into system space at a time.
const LONGEST_CHUNK: u64 = 1 << 26;

/// Locked memory of a process, and what the device sees of it.
pub(super) struct Copied {
    // Dropped in this order: the device loses the copy first.
    pieces: Vec<Piece>,
    /// In order, each where the one before ends.
    pages: Vec<LockedPages>,
    /// The device has been told: what it writes from now on is for the process.
    is_used: AtomicBool,
    is_written: bool,
    length: u64,
    #[expect(dead_code, reason = "the copy counts until it is gone")]
    debt: ExtraDebt,
}

impl Copied {
    /// Locks memory of the current process, whose address space it has to be, and copies it.
    pub(super) fn new(
        hardware: &Hardware,
        request: &RegisterUserBufferRequest,
        space: &AddressSpace,
        debt: &Debt,
    ) -> Result<(Self, Nature), Error> {
        let copy = request.of_copy()?;
        copy.length
            .at_most(u64::from(hardware.settings.maximum_length))?;
        let surcharge = debt.surcharge(copy.length.bytes())?;
        let pages = lock(request, space)?;
        let mut outcome = allocate(hardware, &copy, debt)?;
        Piece::line_up(&mut outcome.pieces);
        let copied = Self {
            pieces: outcome.pieces,
            pages,
            is_used: AtomicBool::new(false),
            is_written: request.access.grants(Access::Write),
            length: request.range.length(),
            debt: surcharge,
        };
        // All of it, whatever the access: what the device leaves as it is comes back as it was.
        copied
            .bring(Side::Device, 0, copied.length)
            .ok_or(Error::NoMemory)?;
        Ok((copied, outcome.nature))
    }

    /// What the device sees.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The parts that the device sees, without what the last page has beyond the memory.
    pub(super) fn extents(&self) -> Result<Vec<Extent>, Error> {
        let mut extents = Vec::new();
        extents
            .try_reserve_exact(self.pieces.len())
            .map_err(|_| Error::NoMemory)?;
        let mut offset = 0_u64;
        for piece in &self.pieces {
            let length = piece.length().min(self.length.saturating_sub(offset));
            let address = piece.device_address();
            push_within(
                &mut extents,
                Extent {
                    address,
                    offset,
                    length,
                },
            )?;
            offset = offset.saturating_add(length);
        }
        Ok(extents)
    }

    /// From now on what the device writes is for the process.
    pub(super) fn use_it(&self) {
        self.is_used.store(true, Ordering::Release);
    }

    /// Copies a range, which has been checked, to one side.
    pub(super) fn bring(&self, side: Side, mut offset: u64, mut left: u64) -> Option<()> {
        let mut before = 0_u64;
        let mut pages = self.pages.iter();
        let mut chunk = pages.next()?;
        while left > 0 {
            let mut end = before.checked_add(u64::try_from(chunk.length()).ok()?)?;
            while end <= offset {
                before = end;
                chunk = pages.next()?;
                end = before.checked_add(u64::try_from(chunk.length()).ok()?)?;
            }
            let own = chunk.window().ok()?;
            let into = offset.checked_sub(before)?;
            let (piece, skip) = Piece::find(&self.pieces, offset)?;
            let there = piece.length().checked_sub(skip)?;
            let length = left.min(end.checked_sub(offset)?).min(there);
            let copy = piece.memory().window();
            let [into, skip, bytes] = [into, skip, length].map(usize::try_from);
            let (into, skip, bytes) = (into.ok()?, skip.ok()?, bytes.ok()?);
            match side {
                Side::Device => copy.copy_from(skip, own, into, bytes)?,
                Side::Processor => own.copy_from(into, copy, skip, bytes)?,
            }
            offset = offset.checked_add(length)?;
            left = left.checked_sub(length)?;
        }
        Some(())
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // Whatever the device wrote last. A registration that came to nothing takes nothing back.
        if self.is_written && self.is_used.load(Ordering::Acquire) {
            // All of it was mapped when it was copied.
            let _: Option<()> = self.bring(Side::Processor, 0, self.length);
        }
    }
}

/// Locks the range in chunks; if one fails, all are unlocked.
fn lock(
    request: &RegisterUserBufferRequest,
    space: &AddressSpace,
) -> Result<Vec<LockedPages>, Error> {
    let range = request.range;
    let count = range.length().div_ceil(LONGEST_CHUNK);
    let mut pages = Vec::new();
    pages
        .try_reserve_exact(usize::try_from(count).map_err(|_| Error::NoMemory)?)
        .map_err(|_| Error::NoMemory)?;
    let (mut start, mut left) = (range.start(), range.length());
    while left > 0 {
        let length = left.min(LONGEST_CHUNK);
        push_within(&mut pages, lock_chunk(request, space, start, length)?)?;
        start = start.saturating_add(length);
        left = left.saturating_sub(length);
    }
    Ok(pages)
}
