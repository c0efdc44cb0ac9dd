//! Securing memory of a process, so that it is neither freed nor taken access from unnoticed.
//!
//! Nothing here reads or writes that memory: a secured range can still go by ways that securing
//! does not stop. What the kernel gives for it is no handle of the process, and never leaves the
//! driver.

// UNSAFETY: secures and unsecures memory in the address space of a process.
#![expect(unsafe_code, reason = "calls the securing routines of the kernel")]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::ntddk::{MmSecureVirtualMemory, MmUnsecureVirtualMemory};

use crate::{pool::Shared, process::Process, status::Status};

const PAGE_READONLY: u32 = 2;
const PAGE_READWRITE: u32 = 4;
/// One more than the highest address of a process: what lies above is not even asked about.
const USER_END: u64 = 0x7FFF_FFFF_0000;

/// The access that cannot be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The memory stays readable.
    Read,
    /// The memory stays readable and writable.
    Write,
}

/// A range of a process's own memory that the process cannot free, and whose access it cannot take
/// away. Unsecured on drop, in that process.
///
/// It must be dropped before the process has ended: [how](crate::process#what-must-not-outlive-a-process).
///
/// # Invariants
///
/// `secured` came from the kernel for a range of `process`, and has not been given back.
pub struct SecuredRange {
    secured: NonNull<c_void>,
    process: Shared<Process>,
}

// SAFETY: the value that the kernel gave means something only to the kernel, in that process.
unsafe impl Send for SecuredRange {}
// SAFETY: as above; it is only read.
unsafe impl Sync for SecuredRange {}

impl SecuredRange {
    /// Secures memory of the current process, which has to be `process`. IRQL: at most `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Status::ACCESS_DENIED`] in any other process; [`Status::INVALID_USER_BUFFER`] if the range
    /// is not memory of one allocation with that access, or if the kernel has no room to note it.
    pub fn new(
        start: u64,
        length: u64,
        kept: Kept,
        process: &Shared<Process>,
    ) -> Result<Self, Status> {
        if !process.is_current() {
            return Err(Status::ACCESS_DENIED);
        }
        let within = start.checked_add(length).is_some_and(|end| end <= USER_END);
        if !within || length == 0 {
            return Err(Status::INVALID_USER_BUFFER);
        }
        let address = usize::try_from(start).map_err(|_| Status::INVALID_USER_BUFFER)?;
        let mode = match kept {
            Kept::Read => PAGE_READONLY,
            Kept::Write => PAGE_READWRITE,
        };
        // SAFETY: only an address; the kernel probes it, in the current process.
        let secured =
            unsafe { MmSecureVirtualMemory(ptr::without_provenance_mut(address), length, mode) };
        // INVARIANT: the call above secured the range in the current process.
        Ok(Self {
            secured: NonNull::new(secured).ok_or(Status::INVALID_USER_BUFFER)?,
            process: process.clone(),
        })
    }
}

impl Drop for SecuredRange {
    fn drop(&mut self) {
        self.process.attached(|| {
            // SAFETY: secured in this process and not given back, by the invariant.
            unsafe { MmUnsecureVirtualMemory(self.secured.as_ptr()) };
        });
    }
}
