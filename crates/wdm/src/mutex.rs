//! Mutual exclusion by a push lock.
//!
//! A push lock is a word, needs no initialisation call and may be moved while nobody holds it. It is
//! held in a critical region, so that no suspension can stop the holder. While it is held, nothing
//! may be called that blocks, allocates or completes a request.

// UNSAFETY: takes and gives back the lock, and hands out the value in between.
#![expect(unsafe_code, reason = "calls the push lock routines of the kernel")]

use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};

use wdk_sys::ntddk::{ExAcquirePushLockExclusiveEx, ExReleasePushLockExclusiveEx};

use crate::critical_region::CriticalRegion;

/// A value that one thread at a time may use. IRQL: at most `APC_LEVEL`.
pub struct Mutex<T> {
    lock: UnsafeCell<usize>,
    value: UnsafeCell<T>,
}

// SAFETY: moving the mutex moves the value.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: the lock lets one thread at a time reach the value.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A mutex that nobody holds.
    pub const fn new(value: T) -> Self {
        Self {
            lock: UnsafeCell::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the value. A thread that holds it already waits for ever.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let region = CriticalRegion::enter();
        // SAFETY: zero is a push lock that nobody holds, and the word is used for nothing else.
        unsafe { ExAcquirePushLockExclusiveEx(self.lock.get().cast(), 0) };
        MutexGuard {
            mutex: self,
            region,
        }
    }
}

/// The right to use the value of a mutex, until dropped.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    #[expect(dead_code, reason = "left when the lock has been given back")]
    region: CriticalRegion,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard means that the lock is held.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard means that the lock is held.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the guard means that the lock is held, by this thread.
        unsafe { ExReleasePushLockExclusiveEx(self.mutex.lock.get().cast(), 0) };
    }
}
