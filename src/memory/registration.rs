//! What a handle stands for.

use alloc::vec::Vec;

use sanproxy_abi::{Access, AddressKind, CacheType, Error, Kind, Method, RegisterFlags};
use wdm::{memory::Memory, pool::Shared, window::Window};

use super::{UserBuffer, reserve::ReservedPages, user_buffer::InChunk};
use crate::device::{Debt, ExtraDebt};

/// One piece of a registration: contiguous for the device, and zeroed when made.
pub(crate) struct Piece {
    memory: Memory,
    device_address: u64,
    /// Where in the registration it begins.
    offset: u64,
    pages: Option<Shared<ReservedPages>>,
    // Dropped last: what the block holds beyond the piece counts until it is gone.
    padding: Option<ExtraDebt>,
}

impl Piece {
    pub(super) const fn new(
        memory: Memory,
        device_address: u64,
        pages: Option<Shared<ReservedPages>>,
    ) -> Self {
        Self {
            memory,
            device_address,
            offset: 0,
            pages,
            padding: None,
        }
    }

    /// The piece, with what its block holds beyond it charged.
    pub(super) fn padded(mut self, padding: ExtraDebt) -> Self {
        self.padding = Some(padding);
        self
    }

    /// The memory itself.
    pub(crate) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The pages of the reserve that it is made of, if it is.
    pub(crate) const fn pages(&self) -> Option<&Shared<ReservedPages>> {
        self.pages.as_ref()
    }

    /// Where the device finds it.
    pub(crate) const fn device_address(&self) -> u64 {
        self.device_address
    }

    /// Says for each piece where in the registration it begins.
    pub(crate) fn line_up(pieces: &mut [Self]) {
        let mut offset = 0_u64;
        for piece in pieces {
            piece.offset = offset;
            offset = offset.saturating_add(piece.length());
        }
    }

    /// The piece in which `offset` lies, and where in it.
    pub(super) fn find(pieces: &[Self], offset: u64) -> Option<(&Self, u64)> {
        let after = pieces.partition_point(|piece| piece.offset <= offset);
        let piece = pieces.get(after.checked_sub(1)?)?;
        Some((piece, offset.checked_sub(piece.offset)?))
    }

    /// How many bytes.
    pub(crate) fn length(&self) -> u64 {
        u64::try_from(self.memory.length()).unwrap_or(0)
    }
}

/// A registration.
pub(crate) struct Registration {
    pub(crate) kind: Kind,
    pub(crate) flags: RegisterFlags,
    pub(crate) method: Method,
    pub(crate) cache: CacheType,
    pub(crate) address_kind: AddressKind,
    /// Where the owner's process finds each piece; empty if it was not mapped.
    pub(crate) user_addresses: Vec<u64>,
    /// In order, each where the one before ends. None for a user buffer.
    pub(crate) pieces: Vec<Piece>,
    /// Memory of the caller's own instead of pieces.
    pub(crate) user_buffer: Option<UserBuffer>,
    // Dropped last: the memory counts until it is gone.
    pub(crate) debt: Debt,
}

/// Where one piece of a registration lies, whosever memory it is.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// Where the device finds it.
    pub(crate) device_address: u64,
    /// How many bytes.
    pub(crate) length: u64,
    /// Where the owner's process found it when it was registered; 0 if it was not mapped.
    pub(crate) user_address: u64,
}

/// A stretch of a registration that lies in one piece.
struct Stretch<'a> {
    window: Window<'a>,
    offset: u64,
    length: u64,
}

impl Registration {
    /// How many bytes.
    pub(crate) const fn length(&self) -> u64 {
        self.debt.bytes()
    }

    /// How many pieces.
    pub(crate) fn count(&self) -> usize {
        match &self.user_buffer {
            Some(buffer) => buffer.extents().len(),
            None => self.pieces.len(),
        }
    }

    /// Where a piece lies.
    pub(crate) fn span(&self, index: usize) -> Option<Span> {
        if let Some(buffer) = &self.user_buffer {
            let extent = buffer.extents().get(index)?;
            return Some(Span {
                device_address: extent.address,
                length: extent.length,
                user_address: buffer.user_address(extent.offset),
            });
        }
        let piece = self.pieces.get(index)?;
        Some(Span {
            device_address: piece.device_address(),
            length: piece.length(),
            user_address: self.user_addresses.get(index).copied().unwrap_or(0),
        })
    }

    /// Where all pieces lie, in order.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span> {
        (0..self.count()).filter_map(|index| self.span(index))
    }

    /// Where the owner's process found the byte at `offset`; 0 if it was not mapped.
    pub(crate) fn user_address_at(&self, offset: u64) -> Option<u64> {
        if let Some(buffer) = &self.user_buffer {
            return Some(buffer.user_address(offset));
        }
        let (index, within) = self.piece_at(offset)?;
        let start = self.user_addresses.get(index)?;
        start.checked_add(within)
    }

    /// The piece in which `offset` lies, and where in it.
    fn piece_at(&self, offset: u64) -> Option<(usize, u64)> {
        let after = self.pieces.partition_point(|piece| piece.offset <= offset);
        let index = after.checked_sub(1)?;
        let offset = offset.checked_sub(self.pieces.get(index)?.offset)?;
        Some((index, offset))
    }

    /// Whether the device may do that with all of it, and whether the kernel can reach a range of it.
    pub(crate) fn open(&self, access: Access, offset: u64, length: u64) -> Result<(), Error> {
        match &self.user_buffer {
            Some(buffer) => {
                buffer.allows(access)?;
                buffer.open(offset, length)
            }
            None => Ok(()),
        }
    }

    /// From `offset` on, what lies in one piece, as the device sees it.
    fn from(&self, offset: u64) -> Option<Stretch<'_>> {
        let own = self.user_buffer.as_ref();
        if let Some(chunk) = own.and_then(|buffer| buffer.in_chunk(offset)) {
            let InChunk { window, offset } = chunk.ok()?;
            let length = u64::try_from(window.length()).ok()?.checked_sub(offset)?;
            return Some(Stretch {
                window,
                offset,
                length,
            });
        }
        let copied = own.and_then(UserBuffer::copied_pieces);
        let (piece, offset) = Piece::find(copied.unwrap_or(&self.pieces), offset)?;
        let length = piece.length().checked_sub(offset)?;
        Some(Stretch {
            window: piece.memory.window(),
            offset,
            length,
        })
    }

    /// Up to `end`, what lies in one piece.
    fn up_to(&self, end: u64) -> Option<Stretch<'_>> {
        let last = self.from(end.checked_sub(1)?)?;
        let length = last.offset.checked_add(1)?;
        Some(Stretch {
            window: last.window,
            offset: 0,
            length,
        })
    }

    /// Copies bytes from another registration, or from within this one: then as if all were read
    /// before any is written. Both ranges have been checked.
    pub(crate) fn copy_from(
        &self,
        offset: u64,
        source: &Self,
        source_offset: u64,
        length: u64,
    ) -> Result<(), Error> {
        // Only downwards can the start of the destination overwrite what has not been read.
        let copied = if core::ptr::eq(self, source) && offset > source_offset {
            self.copy_down(offset, source, source_offset, length)
        } else {
            self.copy_up(offset, source, source_offset, length)
        };
        copied.ok_or(Error::OutOfRange)
    }

    fn copy_up(&self, mut to: u64, source: &Self, mut from: u64, mut left: u64) -> Option<()> {
        while left > 0 {
            let (target, origin) = (self.from(to)?, source.from(from)?);
            let length = left.min(target.length).min(origin.length);
            copy(&target, 0, &origin, 0, length)?;
            to = to.checked_add(length)?;
            from = from.checked_add(length)?;
            left = left.checked_sub(length)?;
        }
        Some(())
    }

    fn copy_down(&self, to: u64, source: &Self, from: u64, mut left: u64) -> Option<()> {
        while left > 0 {
            let target = self.up_to(to.checked_add(left)?)?;
            let origin = source.up_to(from.checked_add(left)?)?;
            let length = left.min(target.length).min(origin.length);
            let skip = target.length.checked_sub(length)?;
            let origin_skip = origin.length.checked_sub(length)?;
            copy(&target, skip, &origin, origin_skip, length)?;
            left = left.checked_sub(length)?;
        }
        Some(())
    }
}

/// Copies from one stretch to another, from an offset in each.
fn copy(
    target: &Stretch<'_>,
    skip: u64,
    origin: &Stretch<'_>,
    origin_skip: u64,
    length: u64,
) -> Option<()> {
    let to = usize::try_from(target.offset.checked_add(skip)?).ok()?;
    let from = usize::try_from(origin.offset.checked_add(origin_skip)?).ok()?;
    target
        .window
        .copy_from(to, origin.window, from, usize::try_from(length).ok()?)
}
