//! Memory descriptor lists for memory that is always resident.

// UNSAFETY: allocates, fills in and frees descriptor lists.
#![expect(unsafe_code, reason = "calls the MDL routines of the kernel")]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::{
    MDL,
    ntddk::{IoAllocateMdl, IoFreeMdl, MmBuildMdlForNonPagedPool},
};

use crate::status::NoMemory;

/// A descriptor list, freed on drop.
///
/// # Invariants
///
/// The pointer is an MDL from `IoAllocateMdl`, filled in, and not yet freed.
pub(crate) struct Mdl(NonNull<MDL>);

// SAFETY: nothing in a filled-in MDL is bound to a thread.
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
        let length = u32::try_from(length).map_err(|_| NoMemory)?;
        // SAFETY: only describes. Not secondary, no quota, no request.
        let mdl = unsafe { IoAllocateMdl(start.as_ptr().cast(), length, 0, 0, ptr::null_mut()) };
        let mdl = NonNull::new(mdl).ok_or(NoMemory)?;
        // SAFETY: new, and describes resident memory, as the caller says.
        unsafe { MmBuildMdlForNonPagedPool(mdl.as_ptr()) };
        Ok(Self(mdl))
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
        // SAFETY: allocated by `of_resident`, and never used again.
        unsafe { IoFreeMdl(self.0.as_ptr()) };
    }
}
