//! Raising the IRQL around a call that must be made at `DISPATCH_LEVEL`.

// UNSAFETY: changes the IRQL of the processor, and always back.
#![expect(unsafe_code, reason = "calls the IRQL routines of the kernel")]

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
