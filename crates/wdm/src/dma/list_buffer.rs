//! Memory of ours for a scatter/gather list, and reading the elements of any list.

// UNSAFETY: reads and writes lists behind raw pointers.
#![expect(unsafe_code, reason = "lists are kernel structures of any length")]

use core::ptr::NonNull;

use super::{
    Adapter, Error,
    signatures::{Element, List},
    span::Span,
};
use crate::pool::Bytes;

/// Bytes of a list before its elements.
const HEADER: u32 = 16;
/// Bytes of an element.
const ELEMENT: u32 = 24;

/// Nonpaged pool for one list. Pool begins at a multiple of 16 bytes, so the list is aligned.
pub(super) struct ListBuffer {
    bytes: Bytes,
}

impl ListBuffer {
    /// Room for the list of a span: as much as the adapter says that it takes, and at least an element
    /// for each page. What the system keeps in the buffer besides is part of what it says.
    pub(super) fn for_span(adapter: &Adapter, span: &Span<'_>) -> Result<Self, Error> {
        let said = match adapter.list_size_of(span) {
            Ok(size) => size.bytes,
            Err(Error::NotOffered) => 0,
            Err(error) => return Err(error),
        };
        let elements = span.pages().checked_mul(ELEMENT).ok_or(Error::NoMemory)?;
        let needed = elements.checked_add(HEADER).ok_or(Error::NoMemory)?;
        let size = usize::try_from(needed.max(said)).map_err(|_| Error::NoMemory)?;
        Ok(Self {
            bytes: Bytes::zeroed(size)?,
        })
    }

    pub(super) fn length(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    pub(super) const fn as_ptr(&self) -> NonNull<List> {
        self.bytes.start().cast()
    }

    /// Appends an element, if there is room.
    pub(super) fn push(&mut self, address: u64, length: u32) -> Result<(), Error> {
        let list = self.as_ptr();
        // SAFETY: zeroed when made, and written by this alone.
        let count = unsafe { count(list) };
        let used = count.checked_mul(24).and_then(|used| used.checked_add(40));
        if used.is_none_or(|used| used > self.bytes.len()) {
            return Err(Error::NoMemory);
        }
        let element = Element {
            address,
            length,
            reserved: 0,
        };
        // SAFETY: the list is live.
        let place = unsafe { place(list, count) };
        // SAFETY: within the buffer, as checked.
        unsafe { place.write(element) };
        let more = u32::try_from(count).map_or(u32::MAX, |count| count.saturating_add(1));
        // SAFETY: a list begins with its count.
        unsafe { list.cast::<u32>().write(more) };
        Ok(())
    }
}

/// Where an element lies.
///
/// # Safety
///
/// `list` is readable.
unsafe fn place(list: NonNull<List>, index: usize) -> *mut Element {
    // SAFETY: stays within the list; nothing is read.
    let first = unsafe { &raw mut (*list.as_ptr()).first };
    first.wrapping_add(index)
}

/// How many elements a list has.
///
/// # Safety
///
/// `list` is a list that is complete and that nobody writes.
pub(super) unsafe fn count(list: NonNull<List>) -> usize {
    // SAFETY: the caller's promise.
    usize::try_from(unsafe { (*list.as_ptr()).count }).unwrap_or(0)
}

/// One element: where the device finds it, and how many bytes.
///
/// # Safety
///
/// As for [`count`].
pub(super) unsafe fn element(list: NonNull<List>, index: usize) -> Option<(u64, u32)> {
    // SAFETY: the caller's promise.
    let count = unsafe { count(list) };
    if index >= count {
        return None;
    }
    // SAFETY: the caller's promise.
    let place = unsafe { place(list, index) };
    // SAFETY: a list has as many elements as it says.
    let element = unsafe { place.read() };
    Some((element.address, element.length))
}
