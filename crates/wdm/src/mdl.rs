//! Memory descriptor lists.

// UNSAFETY: allocates, fills in and frees descriptor lists.
#![expect(unsafe_code, reason = "calls the MDL routines of the kernel")]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::{
    MDL,
    ntddk::{IoAllocateMdl, IoFreeMdl, MmBuildMdlForNonPagedPool, MmMapLockedPagesSpecifyCache},
};

use crate::status::NoMemory;

const KERNEL_MODE: i8 = 0;
const CACHED: i32 = 1;
const NORMAL_PAGE_PRIORITY: u32 = 16;
const MDL_MAPPING_NO_WRITE: u32 = 0x8000_0000;
const MDL_MAPPING_NO_EXECUTE: u32 = 0x4000_0000;

/// Maps what a descriptor list describes into system space, no-execute, and only to be read unless
/// `is_writable`. `None` if there is no room.
///
/// # Safety
///
/// The list describes locked pages, and has no system address yet. Whoever unlocks the pages removes
/// the mapping with the lock.
pub(crate) unsafe fn map_to_system(mdl: NonNull<MDL>, is_writable: bool) -> Option<NonNull<u8>> {
    let no_write = if is_writable { 0 } else { MDL_MAPPING_NO_WRITE };
    // SAFETY: the caller's promise. In kernel mode the routine does not raise.
    let address = unsafe {
        MmMapLockedPagesSpecifyCache(
            mdl.as_ptr(),
            KERNEL_MODE,
            CACHED,
            ptr::null_mut(),
            0,
            NORMAL_PAGE_PRIORITY | MDL_MAPPING_NO_EXECUTE | no_write,
        )
    };
    NonNull::new(address.cast())
}

/// A descriptor list, freed on drop.
///
/// # Invariants
///
/// The pointer is an MDL from `IoAllocateMdl` that has not been freed.
pub(crate) struct Mdl(NonNull<MDL>);

// SAFETY: nothing in an MDL is bound to a thread.
unsafe impl Send for Mdl {}
// SAFETY: as above; it is only read.
unsafe impl Sync for Mdl {}

impl Mdl {
    /// Describes memory that is resident.
    ///
    /// # Errors
    ///
    /// [`NoMemory`], also if the length is more than an MDL can describe.
    ///
    /// # Safety
    ///
    /// The bytes are contiguous or nonpaged kernel memory, and outlive the result.
    pub(crate) unsafe fn of_resident(start: NonNull<u8>, length: usize) -> Result<Self, NoMemory> {
        let mdl = Self::of_range(start.as_ptr().cast(), length)?;
        // SAFETY: new, and describes resident memory, as the caller says.
        unsafe { MmBuildMdlForNonPagedPool(mdl.as_ptr()) };
        Ok(mdl)
    }

    /// Describes a range of addresses, of which nothing needs to be true: it has no pages yet.
    ///
    /// # Errors
    ///
    /// [`NoMemory`], also if the length is more than an MDL can describe.
    pub(crate) fn of_range(start: *mut c_void, length: usize) -> Result<Self, NoMemory> {
        let length = u32::try_from(length).map_err(|_| NoMemory)?;
        // SAFETY: only describes. Not secondary, no quota, no request.
        let mdl = unsafe { IoAllocateMdl(start, length, 0, 0, ptr::null_mut()) };
        NonNull::new(mdl).map(Self).ok_or(NoMemory)
    }

    pub(crate) const fn as_non_null(&self) -> NonNull<MDL> {
        self.0
    }

    pub(crate) const fn as_ptr(&self) -> *mut MDL {
        self.0.as_ptr()
    }

    /// As the argument of a guarded call.
    pub(crate) const fn as_argument(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }
}

impl Drop for Mdl {
    fn drop(&mut self) {
        // SAFETY: allocated by `of_range`, and never used again.
        unsafe { IoFreeMdl(self.0.as_ptr()) };
    }
}
