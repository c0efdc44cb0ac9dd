//! Address space: one reservation, whose pages get their protections one by one.

use std::io;
use std::ops::Range;
use std::ptr::{NonNull, null_mut};

use crate::headers::{PAGE, Protection};

/// Private anonymous memory, unmapped on drop.
///
/// # Invariants
///
/// `start` and `size` are one mapping made by `mmap` and owned by this value.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: the memory belongs to the process, not to a thread, and is only reached through
// methods whose callers promise exclusive use where it is needed.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `size` bytes, rounded up to pages, with one inaccessible page on each side.
    pub(crate) fn reserve(size: usize) -> io::Result<Self> {
        let size = size.next_multiple_of(PAGE) + 2 * PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping touches no memory in use.
        let start = unsafe { libc::mmap(null_mut(), size, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        // INVARIANT: exactly what mmap returned.
        Ok(Self { start, size })
    }

    /// Address of the first usable byte.
    pub(crate) fn base(&self) -> *mut u8 {
        self.start.as_ptr().wrapping_add(PAGE)
    }

    /// Changes the protection of the pages that `range` (offsets from `base`) touches.
    pub(crate) fn protect(&self, range: Range<usize>, protection: Protection) -> io::Result<()> {
        let start = range.start / PAGE * PAGE;
        let end = range.end.next_multiple_of(PAGE).min(self.size - 2 * PAGE);
        let mut bits = libc::PROT_NONE;
        for (wanted, bit) in [
            (protection.read || protection.execute, libc::PROT_READ),
            (
                protection.write && !protection.execute,
                libc::PROT_READ | libc::PROT_WRITE,
            ),
            (protection.execute, libc::PROT_EXEC),
        ] {
            bits |= if wanted { bit } else { 0 };
        }
        let address = self.base().wrapping_add(start).cast();
        // SAFETY: the pages are inside this mapping (`end` is capped above).
        let result = unsafe { libc::mprotect(address, end.saturating_sub(start), bits) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Copies `bytes` to the usable start; the pages must be writable and nobody else use them.
    ///
    /// # Safety
    ///
    /// The first `bytes.len()` bytes are writable and inside the mapping.
    pub(crate) unsafe fn write(&self, bytes: &[u8]) {
        for (index, page) in bytes.chunks(PAGE).enumerate() {
            // A page of zeros is what the fresh mapping already holds.
            if page.iter().any(|&byte| byte != 0) {
                let to = self.base().wrapping_add(index * PAGE);
                // SAFETY: inside the writable part (the caller's promise), and not part of `bytes`.
                unsafe { to.copy_from_nonoverlapping(page.as_ptr(), page.len()) };
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the invariant; whoever drops the mapping no longer uses its memory.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
    }
}
