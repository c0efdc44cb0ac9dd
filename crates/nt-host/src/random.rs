//! Random numbers for drivers: what `cng.sys` exports.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::access::write;
use crate::export::{IrqlRule, exports};
use crate::host::current;
use crate::status::NtStatus;
use crate::thread::PASSIVE;

/// The module that exports them.
pub(crate) const MODULE: &str = "cng.sys";

const STATUS_INVALID_HANDLE: u32 = 0xC000_0008;
const SYSTEM_PREFERRED: u32 = 2;

/// How many words a host has given.
#[derive(Default)]
pub(crate) struct Generator(AtomicU64);

impl Generator {
    /// The next word: the same from the same seed, so that a run can be repeated (`SplitMix64`).
    fn next(&self, seed: u64) -> u64 {
        let step = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mut word = seed.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

extern "win64" fn generate(algorithm: u64, buffer: u64, length: u32, flags: u32) -> u32 {
    let host = current();
    // The host opens no algorithms, so there is no handle but none.
    if algorithm != 0 || flags != SYSTEM_PREFERRED {
        return STATUS_INVALID_HANDLE;
    }
    if host.faults().should_fail("BCryptGenRandom") {
        return NtStatus::UNSUCCESSFUL.0;
    }
    for offset in 0..u64::from(length) {
        let byte = host.random.next(host.options.seed) as u8;
        write(buffer + offset, byte);
    }
    NtStatus::SUCCESS.0
}

exports! {
    "BCryptGenRandom" => generate, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
}
