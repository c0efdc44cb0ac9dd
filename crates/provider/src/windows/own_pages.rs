//! Memory of the program's own, in whole pages: to be registered or secured where it lies.

#![expect(unsafe_code, reason = "the system gives and takes plain pointers")]

use std::ffi::c_void;
use std::ptr::NonNull;

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
};

use super::last_error;
use crate::SystemError;

/// Zeroed pages of this process, readable and writable; freed when dropped. The system does not free
/// them while they are secured; then they stay until the process ends.
///
/// # Invariants
///
/// `start` is one allocation of `length` bytes, and has not been freed.
pub struct OwnPages {
    start: NonNull<c_void>,
    length: u64,
}

impl OwnPages {
    /// Allocates the pages that hold `length` bytes.
    ///
    /// # Errors
    ///
    /// The system has no such room, or the length is zero.
    pub fn allocate(length: u64) -> Result<Self, SystemError> {
        let length = length.checked_next_multiple_of(sanproxy_abi::PAGE_SIZE);
        let length = length.unwrap_or(u64::MAX);
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        // SAFETY: new memory, wherever the system likes.
        let start = unsafe {
            VirtualAlloc(
                std::ptr::null(),
                bytes,
                MEM_COMMIT | MEM_RESERVE,
                PAGE_READWRITE,
            )
        };
        let start = NonNull::new(start).ok_or_else(|| last_error("cannot allocate memory"))?;
        // INVARIANT: just allocated.
        Ok(Self { start, length })
    }

    /// Where they begin.
    #[must_use]
    pub fn start(&self) -> u64 {
        u64::try_from(self.start.addr().get()).unwrap_or(0)
    }

    /// How many bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Frees them now.
    ///
    /// # Errors
    ///
    /// The system refuses: because they are secured, for example. Then they are still there.
    pub fn free(self) -> Result<(), (Self, SystemError)> {
        if self.release() {
            std::mem::forget(self);
            return Ok(());
        }
        let error = last_error("cannot free the memory");
        Err((self, error))
    }

    /// Whether the system has freed them.
    fn release(&self) -> bool {
        // SAFETY: one whole allocation, not freed yet, by the invariant; nothing in this process
        // refers to it but by its number.
        unsafe { VirtualFree(self.start.as_ptr(), 0, MEM_RELEASE) != 0 }
    }
}

impl Drop for OwnPages {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.release();
    }
}
