//! A process's own memory, locked: it stays where it is, whatever the process does.
//!
//! The pages are probed for exactly the access that is asked for, and locked in the process that
//! they belong to. They may be unlocked anywhere, but must be before that process has ended.

// UNSAFETY: probes, locks and unlocks pages of a process.
#![expect(unsafe_code, reason = "calls the locking routines of the kernel")]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::ntddk::{MmProbeAndLockPages, MmUnlockPages};

use crate::{
    guard,
    mdl::{Mdl, map_to_system},
    memory::PAGE_SIZE,
    mutex::Mutex,
    process::Process,
    status::{NoMemory, Status},
    window::Window,
};

const USER_MODE: usize = 1;
/// Bytes of an MDL before its page frame numbers.
const MDL_HEADER: usize = 48;

/// What a device may do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it: data goes to the device.
    Read,
    /// Write it: data comes from the device.
    Write,
    /// Both.
    Both,
}

impl Access {
    /// As a `LOCK_OPERATION`.
    const fn operation(self) -> usize {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Both => 2,
        }
    }
}

/// Why pages were not locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockError {
    /// The range is not memory that the process itself may use so.
    Range,
    /// The system has not enough left to lock them.
    NoMemory,
}

impl From<NoMemory> for LockError {
    fn from(NoMemory: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// Locked pages of a process, unlocked on drop.
///
/// It must be dropped before the process has ended: [how](crate::process#what-must-not-outlive-a-process).
///
/// # Invariants
///
/// `mdl` describes `length` bytes whose pages were locked by `MmProbeAndLockPages` and are still.
pub struct LockedPages {
    mdl: Mdl,
    start: u64,
    length: usize,
    access: Access,
    system: Mutex<SystemAddress>,
}

/// Where the kernel finds pages, once it has been asked for.
struct SystemAddress(Option<NonNull<u8>>);

// SAFETY: system space is the same on every thread.
unsafe impl Send for SystemAddress {}

impl LockedPages {
    /// Locks a range of the current process, which has to be `process`. What the process could not
    /// do itself, it does not get: no kernel memory, and nothing to write where it only may read.
    ///
    /// IRQL: at most `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`LockError`]; nothing is locked then.
    pub fn new(
        start: u64,
        length: usize,
        access: Access,
        process: &Process,
    ) -> Result<Self, LockError> {
        let address = usize::try_from(start).map_err(|_| LockError::Range)?;
        let end = address.checked_add(length);
        if length == 0 || end.is_none() || !process.is_current() {
            return Err(LockError::Range);
        }
        let mdl = Mdl::of_range(ptr::without_provenance_mut(address), length)?;
        let arguments = [
            mdl.as_argument(),
            ptr::without_provenance_mut(USER_MODE),
            ptr::without_provenance_mut(access.operation()),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        ];
        // SAFETY: probing as `UserMode` lets no range through that is not the process's own.
        unsafe { guard::call(lock_routine(), arguments) }.map_err(cause)?;
        // INVARIANT: the call above has locked them.
        Ok(Self {
            mdl,
            start,
            length,
            access,
            system: Mutex::new(SystemAddress(None)),
        })
    }

    /// Where the process finds them.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.start
    }

    /// How many bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The bytes, in system space. Mapped when they are asked for the first time, and as long as they
    /// are locked. They can be written only if the device may write them.
    ///
    /// IRQL: at most `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`NoMemory`]: there is no room in system space.
    pub fn window(&self) -> Result<Window<'_>, NoMemory> {
        let is_writable = self.access != Access::Read;
        let start = {
            let mut system = self.system.lock();
            if system.0.is_none() {
                // SAFETY: the pages are locked, by the invariant; unlocking them ends the mapping.
                system.0 = unsafe { map_to_system(self.mdl.as_non_null(), is_writable) };
            }
            system.0.ok_or(NoMemory)?
        };
        // SAFETY: mapped as long as the pages are locked, which this value sees to.
        Ok(unsafe { Window::new(start, self.length, is_writable) })
    }

    /// The highest physical address among the pages. No device is given it: it tells whether the
    /// device reaches them all.
    #[must_use]
    pub fn highest_physical_address(&self) -> u64 {
        let first: *const u64 = self
            .mdl
            .as_ptr()
            .cast::<u8>()
            .wrapping_add(MDL_HEADER)
            .cast();
        let page = u64::try_from(PAGE_SIZE).unwrap_or(0);
        let into = usize::try_from(self.start.checked_rem(page).unwrap_or(0)).unwrap_or(0);
        let count = into.saturating_add(self.length).div_ceil(PAGE_SIZE);
        let mut highest = 0;
        for index in 0..count {
            // SAFETY: the MDL of locked pages holds one number for each page that it spans.
            let frame = unsafe { first.wrapping_add(index).read() };
            highest = frame.max(highest);
        }
        highest
            .saturating_mul(page)
            .saturating_add(page.saturating_sub(1))
    }

    pub(crate) const fn mdl(&self) -> &Mdl {
        &self.mdl
    }
}

impl Drop for LockedPages {
    fn drop(&mut self) {
        // SAFETY: locked by `new`, by the invariant, and not used again.
        unsafe { MmUnlockPages(self.mdl.as_ptr()) };
    }
}

/// What an exception of the probe means.
fn cause(status: Status) -> LockError {
    match status {
        Status::INSUFFICIENT_RESOURCES | Status::WORKING_SET_QUOTA | Status::NO_MEMORY => {
            LockError::NoMemory
        }
        _ => LockError::Range,
    }
}

#[expect(
    clippy::as_conversions,
    reason = "the only way to make a pointer of a function"
)]
fn lock_routine() -> *const c_void {
    MmProbeAndLockPages as *const c_void
}
