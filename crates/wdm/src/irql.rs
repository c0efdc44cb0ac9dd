//! The IRQL: raising it around a call that must be made at `DISPATCH_LEVEL`, and going back.

// UNSAFETY: changes the IRQL of the processor, and always back.
#![expect(unsafe_code, reason = "calls the IRQL routines of the kernel")]

/// At which a thread gets no APC.
pub(crate) const APC_LEVEL: u8 = 1;
const DISPATCH_LEVEL: u8 = 2;

// The kernel exports both; some headers have them inline only.
unsafe extern "C" {
    fn KfRaiseIrql(new: u8) -> u8;
    fn KeLowerIrql(old: u8);
}

/// Runs `work` at `DISPATCH_LEVEL`, in which nothing pageable may be touched and nothing waited for.
///
/// IRQL: at most `DISPATCH_LEVEL`.
pub(crate) fn at_dispatch_level<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: drivers run at most at `DISPATCH_LEVEL` here, so this does not lower.
    let old = unsafe { KfRaiseIrql(DISPATCH_LEVEL) };
    let result = work();
    // SAFETY: the level that was current before.
    unsafe { KeLowerIrql(old) };
    result
}

/// Goes back to a level.
///
/// # Safety
///
/// `old` is the level at which the system was before it called the driver, or before the driver
/// raised it, and the current one is not below it.
pub(crate) unsafe fn lower(old: u8) {
    // SAFETY: the caller's promise.
    unsafe { KeLowerIrql(old) };
}
