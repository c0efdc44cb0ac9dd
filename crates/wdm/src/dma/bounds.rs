//! Bounds for device addresses, in the kernel's signed numbers.

use crate::status::NoMemory;

/// The highest address that a `PHYSICAL_ADDRESS`, which is signed, can name.
const HIGHEST: u64 = i64::MAX.cast_unsigned();

/// The lowest and the highest address allowed, both inclusive, neither negative for the kernel.
///
/// An upper bound above what the kernel can name is as good as its highest number: no memory lies in
/// between, and the result is still within what was asked for. A lower bound above it can never be
/// met, and lowered it would let memory through that was not asked for.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) lowest: u64,
    pub(super) highest: u64,
}

impl Bounds {
    /// # Errors
    ///
    /// [`NoMemory`] if no address can lie between the two.
    pub(super) const fn new(lowest: u64, highest: u64) -> Result<Self, NoMemory> {
        let highest = if highest > HIGHEST { HIGHEST } else { highest };
        if lowest > highest {
            return Err(NoMemory);
        }
        Ok(Self { lowest, highest })
    }

    /// The lower bound, if it bounds anything.
    pub(super) const fn lower(self) -> Option<u64> {
        if self.lowest == 0 {
            None
        } else {
            Some(self.lowest)
        }
    }

    /// The upper bound, if it bounds anything.
    pub(super) const fn upper(self) -> Option<u64> {
        if self.highest == HIGHEST {
            None
        } else {
            Some(self.highest)
        }
    }
}
