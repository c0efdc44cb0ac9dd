//! Which part of a block lies as asked.
//!
//! The system's routines align to pages, and most take no boundary. So where that does not do, a
//! larger block is allocated, and the part of it that lies as asked is used.

use sanproxy_abi::{Boundary, PAGE_SIZE, RegisterRequest};

/// Where one piece of a registration has to lie.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// How many bytes: whole pages.
    pub(crate) length: u64,
    /// The lowest address allowed.
    pub(crate) lowest: u64,
    /// The highest address allowed, inclusive.
    pub(crate) highest: u64,
    /// What it begins at a multiple of.
    pub(crate) alignment: u64,
    /// What it must not cross, if anything: at least as much as the length.
    pub(crate) boundary: Option<u64>,
}

impl Place {
    /// The place of a piece of `length` bytes.
    pub(crate) fn of(request: &RegisterRequest, length: u64) -> Self {
        Self {
            length,
            lowest: request.bounds.lowest(),
            highest: request.bounds.highest(),
            alignment: request.alignment.bytes(),
            boundary: request.boundary.map(Boundary::bytes),
        }
    }

    /// A length that surely has a part which lies as asked, bounds aside: the length itself if any
    /// block does.
    pub(crate) fn padded_length(&self) -> Option<u64> {
        // A block aligned to the next power of two crosses no boundary of at least that.
        let stride = match self.boundary {
            Some(_) => self.length.checked_next_power_of_two()?.max(self.alignment),
            None => self.alignment,
        };
        self.length.checked_add(stride.checked_sub(PAGE_SIZE)?)
    }

    /// The first offset at which a part of a block of `total` bytes at `start` lies as asked.
    pub(crate) fn offset_in(&self, start: u64, total: u64) -> Option<u64> {
        let mut first = start
            .max(self.lowest)
            .checked_next_multiple_of(self.alignment)?;
        if let Some(boundary) = self.boundary {
            let crossing = first.checked_add(1)?.checked_next_multiple_of(boundary)?;
            if crossing.checked_sub(first)? < self.length {
                first = crossing.checked_next_multiple_of(self.alignment)?;
            }
        }
        let last = first.checked_add(self.length.checked_sub(1)?)?;
        let block_last = start.checked_add(total.checked_sub(1)?)?;
        if last > block_last || last > self.highest {
            return None;
        }
        first.checked_sub(start)
    }
}
