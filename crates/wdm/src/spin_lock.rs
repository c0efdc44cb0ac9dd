//! Spin locks: mutual exclusion that a cancel routine can take part in.
//!
//! A holder is at `DISPATCH_LEVEL`: it touches nothing pageable, waits for nothing, and neither
//! allocates, frees nor completes anything.

// UNSAFETY: takes and gives back the lock, and hands out the value in between.
#![expect(unsafe_code, reason = "calls the spin lock routines of the kernel")]

use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

// The kernel exports both on every 64-bit processor; some headers have them inline only.
unsafe extern "C" {
    fn KeAcquireSpinLockRaiseToDpc(lock: *mut usize) -> u8;
    fn KeReleaseSpinLock(lock: *mut usize, old: u8);
}

/// A value that one processor at a time may use. IRQL: at most `DISPATCH_LEVEL`.
pub(crate) struct SpinLock<T> {
    lock: UnsafeCell<usize>,
    value: UnsafeCell<T>,
}

// SAFETY: moving the lock moves the value.
unsafe impl<T: Send> Send for SpinLock<T> {}
// SAFETY: the lock lets one processor at a time reach the value.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A lock that nobody holds: a zeroed word, as `KeInitializeSpinLock` makes it.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            lock: UnsafeCell::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the value, busily.
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        // SAFETY: zero is a spin lock that nobody holds, and the word is used for nothing else.
        let old = unsafe { KeAcquireSpinLockRaiseToDpc(self.lock.get()) };
        SpinGuard {
            lock: self,
            old,
            same_processor: PhantomData,
        }
    }
}

/// The right to use the value of a spin lock, until dropped.
pub(crate) struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
    old: u8,
    /// The IRQL is the processor's.
    same_processor: PhantomData<*mut ()>,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard means that the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard means that the lock is held.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the guard means that the lock is held, since the level was `old`.
        unsafe { KeReleaseSpinLock(self.lock.lock.get(), self.old) };
    }
}
