//! How long something takes.

// UNSAFETY: asks the kernel for the time.
#![expect(unsafe_code, reason = "a routine of the kernel")]

use wdk_sys::ntddk::KeQueryInterruptTimePrecise;

/// The time since the system was started, in units of 100 ns. IRQL: any.
#[must_use]
pub fn now() -> u64 {
    let mut counter = 0;
    // SAFETY: the place for the performance counter outlives the call.
    unsafe { KeQueryInterruptTimePrecise(&raw mut counter) }
}
