//! An image laid out as in memory, read with bounds checks.
//!
//! The loader prepares an image here before it is mapped, and the unwinder reads its tables here
//! afterwards: the driver's memory may be discarded or unreadable, this copy is neither.

use std::ops::Range;

/// Bytes addressed by offset; every access is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..)?.first_chunk().copied()
    }

    pub(crate) fn u16(self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(self, offset: usize) -> Option<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }

    /// The NUL-terminated printable ASCII string at `offset`, at most 511 bytes long.
    pub(crate) fn name(self, offset: usize) -> Option<&'a str> {
        let tail = self.0.get(offset..)?;
        let length = tail.iter().take(512).position(|&byte| byte == 0)?;
        let name = tail.get(..length)?;
        let printable = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        std::str::from_utf8(name).ok().filter(|_| printable)
    }
}

/// An image laid out as in memory: offsets are RVAs.
#[derive(Debug)]
pub(crate) struct View(pub(crate) Vec<u8>);

impl View {
    pub(crate) fn read(&self) -> Reader<'_> {
        Reader(&self.0)
    }

    /// Stores `value` at `offset`, or returns `None` if that is outside the image.
    pub(crate) fn put_u64(&mut self, offset: usize, value: u64) -> Option<()> {
        let place: &mut [u8; 8] = self.0.get_mut(offset..)?.first_chunk_mut()?;
        *place = value.to_le_bytes();
        Some(())
    }

    /// Copies `source` to the start of `range`; what does not fit is left out.
    pub(crate) fn fill(&mut self, range: Range<usize>, source: &[u8]) {
        if let Some(place) = self.0.get_mut(range) {
            for (to, from) in place.iter_mut().zip(source) {
                *to = *from;
            }
        }
    }
}
