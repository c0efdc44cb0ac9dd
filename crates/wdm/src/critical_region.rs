//! Critical regions: while a thread is in one, no program can suspend it.
//!
//! A program suspends its threads through a normal kernel APC, also while they are inside of a
//! driver. A thread that stood still while it holds a lock, or the device, would hold up everybody
//! who waits for it, for as long as the program likes. Special kernel APCs, by which the I/O manager
//! completes requests and ends threads, still run.

// UNSAFETY: changes which APCs the current thread gets, and always back.
#![expect(unsafe_code, reason = "calls the APC routines of the kernel")]

use core::marker::PhantomData;

use wdk_sys::ntddk::{KeEnterCriticalRegion, KeLeaveCriticalRegion};

/// A critical region of the current thread, left on drop. They nest.
#[must_use]
pub(crate) struct CriticalRegion {
    /// It belongs to the thread that entered it.
    same_thread: PhantomData<*mut ()>,
}

impl CriticalRegion {
    /// Enters. IRQL: at most `APC_LEVEL`.
    pub(crate) fn enter() -> Self {
        // SAFETY: left again when the result is dropped, in the same thread.
        unsafe { KeEnterCriticalRegion() };
        Self {
            same_thread: PhantomData,
        }
    }
}

impl Drop for CriticalRegion {
    fn drop(&mut self) {
        // SAFETY: entered when this value was made.
        unsafe { KeLeaveCriticalRegion() };
    }
}
