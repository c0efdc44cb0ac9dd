//! Kernel events: one thread tells others that something has happened.

// UNSAFETY: hands the event's address to the kernel.
#![expect(unsafe_code, reason = "calls the event routines of the kernel")]

use core::ptr;

use wdk_sys::{
    KEVENT,
    ntddk::{KeInitializeEvent, KeSetEvent, KeWaitForSingleObject},
};

use crate::{pool::Owned, status::NoMemory};

/// Sets up a notification event, not signalled, where it lies.
///
/// # Safety
///
/// `event` is writable, and stays where it is until nobody waits for it any more.
pub(crate) unsafe fn initialize(event: *mut KEVENT) {
    // SAFETY: the caller's promise. 0 is `NotificationEvent`, 0 is FALSE.
    unsafe { KeInitializeEvent(event, 0, 0) };
}

/// Signals an event. IRQL: at most `DISPATCH_LEVEL`.
///
/// # Safety
///
/// `event` has been set up and is live.
pub(crate) unsafe fn signal(event: *mut KEVENT) {
    // SAFETY: the caller's promise. No priority boost, no wait afterwards.
    unsafe { KeSetEvent(event, 0, 0) };
}

/// Waits until an event is signalled.
///
/// # Safety
///
/// `event` has been set up and is live.
pub(crate) unsafe fn wait(event: *mut KEVENT) {
    // SAFETY: the caller's promise. `Executive`, `KernelMode`, not alertable, without an end: so
    // there is one way to return.
    let _: i32 = unsafe { KeWaitForSingleObject(event.cast(), 0, 0, 0, ptr::null_mut()) };
}

/// Something that happens once.
///
/// # Invariants
///
/// The event has been set up at its present address.
pub struct Event {
    raw: Owned<KEVENT>,
}

// SAFETY: the kernel synchronises the use of an event.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// An event that has not happened.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub fn new() -> Result<Self, NoMemory> {
        let raw = Owned::new(KEVENT::default())?;
        // SAFETY: the event lies in pool, where its owner keeps it.
        unsafe { initialize(raw.as_ptr()) };
        Ok(Self { raw })
    }

    /// Says that it has happened. IRQL: at most `DISPATCH_LEVEL`.
    pub fn signal(&self) {
        // SAFETY: set up and live, by the invariant.
        unsafe { signal(self.raw.as_ptr()) };
    }

    /// Waits until it has happened.
    pub fn wait(&self) {
        // SAFETY: set up and live, by the invariant.
        unsafe { wait(self.raw.as_ptr()) };
    }
}
