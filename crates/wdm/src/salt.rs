//! Numbers that programs cannot guess.

// UNSAFETY: reads the time stamp counter.
#![expect(unsafe_code, reason = "calls an intrinsic of the processor")]

use core::arch::x86_64::_rdtsc;

/// A number that programs cannot guess and that differs from call to call: the processor's clock,
/// and where the kernel put `place`. It has to be mixed before anything of it leaves the driver.
#[must_use]
pub fn salt<T>(place: &T) -> u64 {
    // SAFETY: every processor that 64-bit Windows runs on has the instruction.
    let clock = unsafe { _rdtsc() };
    let place = u64::try_from(core::ptr::from_ref(place).addr()).unwrap_or(0);
    clock.rotate_left(32) ^ place
}
