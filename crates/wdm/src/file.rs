//! File objects: what a driver keeps for each open of its device.

// UNSAFETY: keeps an owner of the driver's state in the file object's context field.
#![expect(
    unsafe_code,
    reason = "file objects are kernel objects behind raw pointers"
)]

use core::{marker::PhantomData, ptr, ptr::NonNull};

use wdk_sys::{
    FILE_OBJECT, IRP,
    ntddk::{ObfDereferenceObject, ObfReferenceObject},
};

use crate::{
    entry::{DEVICE_CONTROL, READ, WRITE},
    layout,
    pool::Shared,
};

/// A file object whose context is a [`Shared`] of `F`, or nothing.
///
/// # Invariants
///
/// The file object is live and belongs to a device of this driver, and its context field is null or
/// came from [`Shared::into_raw`] of an `F`.
pub(crate) struct FileObject<F> {
    raw: NonNull<FILE_OBJECT>,
    context: PhantomData<F>,
}

impl<F> FileObject<F> {
    /// # Safety
    ///
    /// The invariants hold for `raw`, for as long as the result is used.
    pub(crate) const unsafe fn new(raw: NonNull<FILE_OBJECT>) -> Self {
        Self {
            raw,
            context: PhantomData,
        }
    }

    /// Whether the opener asked for something below the device: a name, or a path relative to
    /// another file.
    pub(crate) fn is_below_device(&self) -> bool {
        // SAFETY: live, by the invariant.
        let name_length = unsafe { layout::FILE_NAME_LENGTH.get(self.raw) };
        // SAFETY: live, by the invariant.
        let related = unsafe { layout::FILE_RELATED.get(self.raw) };
        name_length != 0 || !related.is_null()
    }

    /// Keeps the state of this open, when it is made.
    pub(crate) fn attach(&self, state: Shared<F>) {
        // SAFETY: live, by the invariant; the field is this driver's.
        unsafe { layout::FILE_CONTEXT.set(self.raw, state.into_raw()) };
    }

    /// The state of this open.
    pub(crate) fn state(&self) -> Option<Shared<F>> {
        // SAFETY: live, by the invariant.
        let context = NonNull::new(unsafe { layout::FILE_CONTEXT.get(self.raw) })?;
        // SAFETY: put there by `attach`, and taken only when the file object is closed, after which
        // there are no requests.
        Some(unsafe { Shared::clone_raw(context) })
    }

    /// Takes the state of this open, when it is closed.
    pub(crate) fn detach(&self) -> Option<Shared<F>> {
        // SAFETY: live, by the invariant.
        let context = NonNull::new(unsafe { layout::FILE_CONTEXT.get(self.raw) })?;
        // SAFETY: live, by the invariant; the field is this driver's.
        unsafe { layout::FILE_CONTEXT.set(self.raw, ptr::null_mut()) };
        // SAFETY: put there by `attach`, and the field no longer has it.
        Some(unsafe { Shared::from_raw(context) })
    }
}

/// An open file that stays open, for the driver at least, until dropped.
///
/// # Invariants
///
/// The pointer is a file object, and this value owns one reference to it.
pub(crate) struct KeptFile(NonNull<FILE_OBJECT>);

impl KeptFile {
    /// The file that a request to read, write or control is about. One that is being opened or closed is not
    /// to be kept.
    ///
    /// # Safety
    ///
    /// The request is live, and its current stack location is this driver's.
    pub(crate) unsafe fn of_request(irp: NonNull<IRP>) -> Option<Self> {
        // SAFETY: live, as the caller says.
        let stack = NonNull::new(unsafe { layout::IRP_CURRENT_STACK.get(irp) })?;
        // SAFETY: as above.
        let major = unsafe { layout::STACK_MAJOR.get(stack) };
        if !matches!(major, READ | WRITE | DEVICE_CONTROL) {
            return None;
        }
        // SAFETY: as above.
        let file = NonNull::new(unsafe { layout::STACK_FILE_OBJECT.get(stack) })?;
        // SAFETY: the request keeps it for now.
        unsafe { ObfReferenceObject(file.as_ptr().cast()) };
        Some(Self(file))
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this value owns.
        unsafe { ObfDereferenceObject(self.0.as_ptr().cast()) };
    }
}
