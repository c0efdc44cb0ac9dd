//! Device memory mapped into a process.
//!
//! No-execute, whole pages, and only into the process that asks. The mapping is removed in that
//! process, wherever its owner happens to run, and always before the memory is given back.

// UNSAFETY: maps and unmaps memory in the address space of a process.
#![expect(unsafe_code, reason = "calls the mapping routines of the kernel")]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::ntddk::{MmMapLockedPagesSpecifyCache, MmUnmapLockedPages};

use crate::{
    guard,
    mdl::Mdl,
    memory::{CacheType, Memory},
    pool::Shared,
    process::Process,
    status::Status,
};

const USER_MODE: usize = 1;
const NORMAL_PAGE_PRIORITY: usize = 16;
const MDL_MAPPING_NO_EXECUTE: usize = 0x4000_0000;
const MDL_MAPPING_NO_WRITE: usize = 0x8000_0000;

/// A view of memory in a process.
///
/// It must be dropped before the process has ended: [how](crate::process#what-must-not-outlive-a-process).
///
/// # Invariants
///
/// `address` is a live mapping of `mdl` in `process`, and `mdl` describes `memory`.
pub struct UserMapping {
    address: NonNull<c_void>,
    // Dropped in this order: the description before what it describes.
    mdl: Mdl,
    process: Shared<Process>,
    #[expect(dead_code, reason = "kept allocated as long as it is mapped")]
    memory: Memory,
}

// SAFETY: the address means something only inside the process, and is never used here.
unsafe impl Send for UserMapping {}
// SAFETY: as above.
unsafe impl Sync for UserMapping {}

impl UserMapping {
    /// Maps memory into the current process, which has to be `process`. IRQL: at most `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Status::ACCESS_DENIED`] in any other process; else what the kernel raised.
    pub fn new(memory: Memory, process: &Shared<Process>) -> Result<Self, Status> {
        Self::with(memory, process, MDL_MAPPING_NO_EXECUTE)
    }

    /// Maps memory into the current process, which has to be `process`, so that it can only read:
    /// a program cannot change that. IRQL: at most `APC_LEVEL`.
    ///
    /// # Errors
    ///
    /// As [`UserMapping::new`].
    pub fn read_only(memory: Memory, process: &Shared<Process>) -> Result<Self, Status> {
        let protection = MDL_MAPPING_NO_EXECUTE | MDL_MAPPING_NO_WRITE;
        Self::with(memory, process, protection)
    }

    fn with(memory: Memory, process: &Shared<Process>, protection: usize) -> Result<Self, Status> {
        if !process.is_current() {
            return Err(Status::ACCESS_DENIED);
        }
        // SAFETY: device memory is resident, and `memory` keeps it allocated.
        let mdl = unsafe { Mdl::of_resident(memory.start(), memory.length()) }?;
        let arguments = [
            mdl.as_argument(),
            ptr::without_provenance_mut(USER_MODE),
            ptr::without_provenance_mut(cache_argument(memory.cache())),
            ptr::null_mut(), // the system chooses the address
            ptr::null_mut(), // no bug check on failure
            ptr::without_provenance_mut(NORMAL_PAGE_PRIORITY | protection),
        ];
        // SAFETY: whole zeroed pages of memory that is the driver's, in the current process, with
        // the cache type that they have.
        let address = unsafe { guard::call(map_routine(), arguments) }?;
        let address = NonNull::new(address).ok_or(Status::INSUFFICIENT_RESOURCES)?;
        Ok(Self {
            address,
            mdl,
            process: process.clone(),
            memory,
        })
    }

    /// Where the process finds the memory.
    #[must_use]
    pub fn address(&self) -> u64 {
        u64::try_from(self.address.as_ptr().addr()).unwrap_or(0)
    }
}

impl Drop for UserMapping {
    fn drop(&mut self) {
        self.process.attached(|| {
            // SAFETY: mapped with this MDL in this process, by the invariant.
            unsafe { MmUnmapLockedPages(self.address.as_ptr(), self.mdl.as_ptr()) };
        });
    }
}

/// The number that `MEMORY_CACHING_TYPE` gives the type.
const fn cache_argument(cache: CacheType) -> usize {
    match cache {
        CacheType::NonCached => 0,
        CacheType::Cached => 1,
        CacheType::WriteCombined => 2,
    }
}

#[expect(
    clippy::as_conversions,
    reason = "the address of a function has no other spelling"
)]
fn map_routine() -> *const c_void {
    MmMapLockedPagesSpecifyCache as *const c_void
}
