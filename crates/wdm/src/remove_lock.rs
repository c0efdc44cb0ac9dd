//! Remove locks: a device is not deleted while a request is using it.

// UNSAFETY: hands the lock's address to the kernel.
#![expect(unsafe_code, reason = "calls the remove lock routines of the kernel")]

use core::ffi::c_void;

use wdk_sys::{
    IO_REMOVE_LOCK,
    ntddk::{
        IoAcquireRemoveLockEx, IoInitializeRemoveLockEx, IoReleaseRemoveLockAndWaitEx,
        IoReleaseRemoveLockEx,
    },
};

use crate::status::Status;

/// Tells the kernel which variant of the structure the driver was built with.
fn lock_size() -> u32 {
    u32::try_from(size_of::<IO_REMOVE_LOCK>()).unwrap_or(u32::MAX)
}

/// Sets a lock up where it lies.
///
/// # Safety
///
/// `lock` is in a device extension, and nobody uses it yet.
pub(crate) unsafe fn initialize(lock: *mut IO_REMOVE_LOCK) {
    let tag = u32::from_le_bytes(*b"rust");
    // SAFETY: the caller's promise. No limits on time or number.
    unsafe { IoInitializeRemoveLockEx(lock, tag, 0, 0, lock_size()) };
}

/// One use of a device, by one request.
///
/// # Invariants
///
/// The lock was acquired with this tag, and not yet released.
#[must_use]
pub(crate) struct Held {
    lock: *mut IO_REMOVE_LOCK,
    tag: *mut c_void,
}

impl Held {
    /// Begins the use. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Status::DELETE_PENDING`]: the device is going.
    ///
    /// # Safety
    ///
    /// `lock` has been set up, and its device object outlives the result.
    pub(crate) unsafe fn acquire(
        lock: *mut IO_REMOVE_LOCK,
        tag: *mut c_void,
    ) -> Result<Self, Status> {
        // SAFETY: the caller's promise. File and line are for checked builds.
        let status =
            unsafe { IoAcquireRemoveLockEx(lock, tag, c"".as_ptr().cast(), 0, lock_size()) };
        Status(status).ok().map(|()| Self { lock, tag })
    }

    /// Ends this use, refuses further ones, and waits for the end of all others.
    pub(crate) fn release_and_wait(self) {
        let (lock, tag) = (self.lock, self.tag);
        core::mem::forget(self);
        // SAFETY: acquired with this tag, by the invariant; the value is gone.
        unsafe { IoReleaseRemoveLockAndWaitEx(lock, tag, lock_size()) };
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: acquired with this tag, by the invariant.
        unsafe { IoReleaseRemoveLockEx(self.lock, self.tag, lock_size()) };
    }
}
