//! Numbers that programs cannot guess.

// UNSAFETY: reads the processor's clock.
#![expect(unsafe_code, reason = "an instruction of the processor")]

/// A number that programs cannot guess and that differs from call to call: the processor's clock,
/// and where the kernel put `place`. It has to be mixed before anything of it leaves the driver.
#[must_use]
pub fn salt<T>(place: &T) -> u64 {
    let clock = clock();
    let place = u64::try_from(core::ptr::from_ref(place).addr()).unwrap_or(0);
    clock.rotate_left(32) ^ place
}

#[cfg(target_arch = "x86_64")]
fn clock() -> u64 {
    // SAFETY: every processor that 64-bit Windows runs on has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(target_arch = "aarch64")]
fn clock() -> u64 {
    let clock;
    // SAFETY: the virtual counter can be read at every exception level; nothing but the register is touched.
    unsafe {
        core::arch::asm!("mrs {}, cntvct_el0", out(reg) clock, options(nomem, nostack, preserves_flags));
    }
    clock
}
