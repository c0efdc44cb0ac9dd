//! Rundown protection and interrupt levels.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use crate::log;

/// Set in a rundown reference when somebody waits or has waited; users count in steps of two.
const ENDED: u64 = 1;
const USER: u64 = 2;

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn ExInitializeRundownProtection(reference: &AtomicU64) {
    reference.store(0, Ordering::Release);
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn ExAcquireRundownProtection(reference: &AtomicU64) -> u8 {
    let entered = reference.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
        (count & ENDED == 0).then(|| count.wrapping_add(USER))
    });
    u8::from(entered.is_ok())
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn ExReleaseRundownProtection(reference: &AtomicU64) {
    if reference.fetch_sub(USER, Ordering::AcqRel) < USER {
        log::misuse("ExReleaseRundownProtection", "more releases than acquires");
    }
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn ExWaitForRundownProtectionRelease(reference: &AtomicU64) {
    reference.fetch_or(ENDED, Ordering::AcqRel);
    while reference.load(Ordering::Acquire) >= USER {
        thread::sleep(Duration::from_millis(1));
    }
}

thread_local! {
    static LEVEL: Cell<u8> = const { Cell::new(0) };
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KfRaiseIrql(level: u8) -> u8 {
    let old = LEVEL.replace(level);
    if old > level {
        log::misuse("KfRaiseIrql", "lowers the level");
    }
    old
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KeLowerIrql(level: u8) {
    if LEVEL.replace(level) < level {
        log::misuse("KeLowerIrql", "raises the level");
    }
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KeGetCurrentIrql() -> u8 {
    LEVEL.get()
}
