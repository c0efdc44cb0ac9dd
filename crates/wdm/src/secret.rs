//! Numbers that programs cannot guess.

// UNSAFETY: has the kernel's random number generator write into a buffer.
#![expect(
    unsafe_code,
    reason = "calls the random number generator of the kernel"
)]

use core::{ffi::c_void, ptr};

use wdk_sys::NTSTATUS;

use crate::status::Status;

/// `BCRYPT_USE_SYSTEM_PREFERRED_RNG`: no algorithm has to be opened first.
const SYSTEM_PREFERRED: u32 = 2;

#[link(name = "cng")]
unsafe extern "C" {
    fn BCryptGenRandom(
        algorithm: *mut c_void,
        buffer: *mut u8,
        length: u32,
        flags: u32,
    ) -> NTSTATUS;
}

/// A number that nobody can tell from a random one. IRQL: `PASSIVE_LEVEL`.
///
/// # Errors
///
/// The status of the kernel, whose generator does not work then.
pub fn secret() -> Result<u128, Status> {
    let mut bytes = [0; 16];
    // SAFETY: the buffer is that long and outlives the call.
    let status =
        unsafe { BCryptGenRandom(ptr::null_mut(), bytes.as_mut_ptr(), 16, SYSTEM_PREFERRED) };
    Status(status).ok()?;
    Ok(u128::from_le_bytes(bytes))
}

/// The same, of 64 bits.
///
/// # Errors
///
/// As [`secret`].
pub fn seed() -> Result<u64, Status> {
    Ok(u64::try_from(secret()? >> 64).unwrap_or(0))
}
