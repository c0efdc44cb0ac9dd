//! Processes: keeping one, running inside one, noticing the end of one.
//!
//! # What must not outlive a process
//!
//! A [`UserMapping`](crate::user_mapping::UserMapping), [`LockedPages`](crate::locked_pages::LockedPages)
//! and a [`SecuredRange`](crate::secured_range::SecuredRange) are made in the process that they belong
//! to, and have to be dropped before it has ended. The layer cannot see to that by types: any
//! value can be kept in a static or leaked without `unsafe`, a lifetime would not let a driver
//! keep one with its file, and a count of what is left would be noticed at a moment at which
//! nothing can be done any more but what the system does by itself: it stops with bug check 0x76 for pages
//! left locked. So it is an obligation of whoever keeps one, and there is one way to meet it:
//! make it between [`Rundown::enter`](crate::rundown::Rundown::enter) and the drop of what that gives, on a
//! gate that the driver's [`process_exit`](crate::entry::Driver::process_exit) closes with
//! [`Rundown::run_down`](crate::rundown::Rundown::run_down), and drop all that there are of the process in there. The kernel calls
//! that in the last thread of the process, before it takes its address space apart.

// UNSAFETY: references process objects and attaches to their address spaces.
#![expect(unsafe_code, reason = "calls the process routines of the kernel")]

use core::ptr::NonNull;

use wdk_sys::{
    HANDLE, KAPC_STATE,
    ntddk::{
        IoGetCurrentProcess, KeStackAttachProcess, KeUnstackDetachProcess, ObfDereferenceObject,
        ObfReferenceObject, PsGetProcessId, PsSetCreateProcessNotifyRoutine,
    },
};

use crate::status::Status;

/// A referenced process. It may have ended, but its object remains.
///
/// # Invariants
///
/// The pointer is a process object, and this value owns one reference to it.
pub struct Process(NonNull<u8>);

// SAFETY: a process object may be used from any thread.
unsafe impl Send for Process {}
// SAFETY: as above.
unsafe impl Sync for Process {}

impl Process {
    /// The process whose address space is current. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// Never in practice: every thread runs in a process.
    pub fn current() -> Result<Self, Status> {
        let process = current().ok_or(Status::UNSUCCESSFUL)?;
        // SAFETY: the current process is alive.
        unsafe { ObfReferenceObject(process.as_ptr().cast()) };
        Ok(Self(process))
    }

    /// Whether this is the process whose address space is current. IRQL: at most `DISPATCH_LEVEL`.
    #[must_use]
    pub fn is_current(&self) -> bool {
        current() == Some(self.0)
    }

    /// The number by which programs know it. IRQL: any.
    #[must_use]
    pub fn id(&self) -> u64 {
        // SAFETY: the process is referenced.
        let id = unsafe { PsGetProcessId(self.0.as_ptr().cast()) };
        u64::try_from(id.addr()).unwrap_or(0)
    }

    /// Does `work` in this process's address space. IRQL: at most `APC_LEVEL`.
    pub fn attached<R>(&self, work: impl FnOnce() -> R) -> R {
        if self.is_current() {
            return work();
        }
        let mut state = KAPC_STATE::default();
        // SAFETY: the process is referenced; the state stays on this stack until the detach below.
        unsafe { KeStackAttachProcess(self.0.as_ptr().cast(), (&raw mut state).cast()) };
        let result = work();
        // SAFETY: undoes the attach above, in the same thread, with the same state.
        unsafe { KeUnstackDetachProcess((&raw mut state).cast()) };
        result
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this value owns.
        unsafe { ObfDereferenceObject(self.0.as_ptr().cast()) };
    }
}

fn current() -> Option<NonNull<u8>> {
    // SAFETY: has no preconditions.
    NonNull::new(unsafe { IoGetCurrentProcess() }.cast())
}

/// What the kernel calls when a process starts or ends.
pub(crate) type Notify = unsafe extern "C" fn(HANDLE, HANDLE, u8);

/// Has `routine` called for every process that starts, and every one that ends.
///
/// # Errors
///
/// The status of the kernel, e.g. when its table is full.
///
/// # Safety
///
/// `routine` may be called, from any thread, until [`unwatch`] has returned.
pub(crate) unsafe fn watch(routine: Notify) -> Result<(), Status> {
    // SAFETY: the caller's promise.
    Status(unsafe { PsSetCreateProcessNotifyRoutine(Some(routine), 0) }).ok()
}

/// Undoes [`watch`], and waits until no call is under way.
pub(crate) fn unwatch(routine: Notify) {
    // SAFETY: removing has no preconditions. It fails only if there is nothing to remove.
    let _: i32 = unsafe { PsSetCreateProcessNotifyRoutine(Some(routine), 1) };
}
