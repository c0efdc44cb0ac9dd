//! Bytes that others may change at any moment.
//!
//! A process or a device has them at the same time. So they are never referenced, only copied.

// UNSAFETY: copies between memory behind raw pointers.
#![expect(unsafe_code, reason = "works on memory behind raw pointers")]

use core::{marker::PhantomData, ptr::NonNull};

/// A look at some bytes in system space, for as long as their owner is borrowed.
///
/// # Invariants
///
/// The `length` bytes from `start` on can be read, and written if `is_writable`, as long as `'a`.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    start: NonNull<u8>,
    length: usize,
    is_writable: bool,
    owner: PhantomData<&'a ()>,
}

impl Window<'_> {
    /// # Safety
    ///
    /// The invariant holds.
    pub(crate) const unsafe fn new(start: NonNull<u8>, length: usize, is_writable: bool) -> Self {
        Self {
            start,
            length,
            is_writable,
            owner: PhantomData,
        }
    }

    /// How many bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        self.length
    }

    /// Copies `length` bytes from `source`; the two may overlap. `None`, and nothing is copied, if
    /// either is too short, or this one is only to be read.
    #[must_use]
    pub fn copy_from(
        self,
        offset: usize,
        source: Window<'_>,
        source_offset: usize,
        length: usize,
    ) -> Option<()> {
        if !self.is_writable
            || offset.checked_add(length)? > self.length
            || source_offset.checked_add(length)? > source.length
        {
            return None;
        }
        let from = source.start.as_ptr().wrapping_add(source_offset);
        let to = self.start.as_ptr().wrapping_add(offset);
        // SAFETY: both ranges can be accessed so, by the invariants and the checks above. Others may
        // change the bytes meanwhile; then the copy is of no use, and does no harm.
        unsafe { core::ptr::copy(from, to, length) };
        Some(())
    }
}
