//! `bcryptprimitives.dll` for Wine 8, which has no such module.
//!
//! Rust's standard library calls `ProcessPrng` there, so without it no Rust program starts. It has to do without the
//! standard library itself, which would want the module that this is.

#![cfg_attr(windows, no_std)]
#![cfg(windows)]
// UNSAFETY: exports a routine, and calls the one of `advapi32.dll` that does the work.
#![expect(unsafe_code, reason = "the border between programs and Wine")]

/// The most that one call may ask for.
const PORTION: usize = 1 << 20;

#[link(name = "advapi32")]
unsafe extern "system" {
    /// `RtlGenRandom`.
    #[link_name = "SystemFunction036"]
    fn generate(bytes: *mut u8, length: u32) -> u8;
}

/// Fills memory with random bytes; does not return without.
///
/// # Safety
///
/// `length` bytes at `bytes` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn ProcessPrng(bytes: *mut u8, length: usize) -> i32 {
    let mut done = 0_usize;
    while done < length {
        let portion = length.wrapping_sub(done).min(PORTION);
        let size = u32::try_from(portion).unwrap_or(0);
        // SAFETY: inside the caller's memory.
        if unsafe { generate(bytes.wrapping_add(done), size) } != 0 {
            done = done.wrapping_add(portion);
        }
    }
    1
}

#[panic_handler]
fn panic(_information: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
