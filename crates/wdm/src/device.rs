//! Device objects: making one, attaching it, taking it apart.

// UNSAFETY: creates device objects and keeps the driver's state in their extensions.
#![expect(
    unsafe_code,
    reason = "device objects are kernel objects behind raw pointers"
)]

use core::{
    cell::UnsafeCell,
    ptr::{self, NonNull},
};

use wdk_sys::{
    DEVICE_OBJECT, DRIVER_OBJECT, IO_REMOVE_LOCK,
    ntddk::{
        IoAttachDeviceToDeviceStackSafe, IoCreateDevice, IoDeleteDevice, IoDetachDevice,
        ObfDereferenceObject, ObfReferenceObject,
    },
};

use crate::{layout, pool::Shared, remove_lock, status::Status};

const DO_BUFFERED_IO: u32 = 0x04;
const DO_DIRECT_IO: u32 = 0x10;
const DO_DEVICE_INITIALIZING: u32 = 0x80;
const DO_POWER_PAGABLE: u32 = 0x2000;
const FILE_DEVICE_UNKNOWN: u32 = 0x22;
const FILE_DEVICE_SECURE_OPEN: u32 = 0x100;

/// A referenced device object.
///
/// # Invariants
///
/// The pointer is a device object, and this value owns one reference to it.
pub struct DeviceObject(NonNull<DEVICE_OBJECT>);

// SAFETY: a device object may be used from any thread.
unsafe impl Send for DeviceObject {}
// SAFETY: as above.
unsafe impl Sync for DeviceObject {}

impl DeviceObject {
    /// # Safety
    ///
    /// `raw` is a live device object.
    unsafe fn reference(raw: NonNull<DEVICE_OBJECT>) -> Self {
        // SAFETY: live, as the caller says.
        unsafe { ObfReferenceObject(raw.as_ptr().cast()) };
        Self(raw)
    }

    pub(crate) const fn as_ptr(&self) -> *mut DEVICE_OBJECT {
        self.0.as_ptr()
    }
}

impl Drop for DeviceObject {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this value owns.
        unsafe { ObfDereferenceObject(self.0.as_ptr().cast()) };
    }
}

/// The two device objects that a driver's state for one device is about.
pub struct Objects {
    /// What the bus driver made: the device itself.
    pub physical: DeviceObject,
    /// What this driver made.
    pub function: DeviceObject,
}

/// What the layer keeps in the extension of each device object.
///
/// # Invariants
///
/// `lower` is null before, and the device that `function` is attached to after, the attachment.
pub(crate) struct Extension<D> {
    remove_lock: UnsafeCell<IO_REMOVE_LOCK>,
    lower: *mut DEVICE_OBJECT,
    function: NonNull<DEVICE_OBJECT>,
    state: Option<Shared<D>>,
}

/// A device seen from a Plug and Play request, whatever its driver's state.
///
/// # Invariants
///
/// `function` is attached to `lower`, and `forget` drops the state in its extension.
#[derive(Clone, Copy)]
pub(crate) struct Attachment {
    lower: *mut DEVICE_OBJECT,
    function: NonNull<DEVICE_OBJECT>,
    forget: unsafe fn(NonNull<DEVICE_OBJECT>),
}

impl Attachment {
    /// The device that this one is attached to.
    pub(crate) const fn lower(&self) -> *mut DEVICE_OBJECT {
        self.lower
    }

    /// Detaches and deletes the device.
    ///
    /// # Safety
    ///
    /// Nobody uses the device any more, and nobody does this twice.
    pub(crate) unsafe fn take_apart(self) {
        // SAFETY: nobody uses the state, as the caller says.
        unsafe { (self.forget)(self.function) };
        // SAFETY: attached since the device was made.
        unsafe { IoDetachDevice(self.lower) };
        // SAFETY: detached, and not deleted before.
        unsafe { IoDeleteDevice(self.function.as_ptr()) };
    }
}

/// Drops the state in a device's extension.
///
/// # Safety
///
/// The device was made by [`create`] with this `D`, and nobody uses its state.
unsafe fn forget<D>(function: NonNull<DEVICE_OBJECT>) {
    // SAFETY: made by `create`, as the caller says.
    let extension = unsafe { Extension::<D>::of(function) };
    // Not through a reference to the extension, which would claim all of it.
    let place = Extension::state_place(extension);
    // SAFETY: the state is live, and nobody else uses it, as the caller says.
    drop(unsafe { place.replace(None) });
}

impl<D> Extension<D> {
    /// The extension of a device that [`create`] made.
    ///
    /// # Safety
    ///
    /// `device` is such a device, with this `D`, and is live.
    pub(crate) unsafe fn of(device: NonNull<DEVICE_OBJECT>) -> NonNull<Self> {
        // SAFETY: live, as the caller says.
        let extension = unsafe { layout::DEVICE_EXTENSION.get(device) };
        // SAFETY: every device that `create` made has an extension.
        unsafe { NonNull::new_unchecked(extension.cast()) }
    }

    /// The remove lock of an extension, without a look at the rest.
    pub(crate) const fn remove_lock(extension: NonNull<Self>) -> *mut IO_REMOVE_LOCK {
        // SAFETY: stays within the extension; nothing is read.
        UnsafeCell::raw_get(unsafe { &raw const (*extension.as_ptr()).remove_lock })
    }

    /// Where an extension keeps the pointer to the lower device.
    const fn lower_place(extension: NonNull<Self>) -> *mut *mut DEVICE_OBJECT {
        // SAFETY: stays within the extension; nothing is read.
        unsafe { &raw mut (*extension.as_ptr()).lower }
    }

    /// Where an extension keeps the driver's state.
    const fn state_place(extension: NonNull<Self>) -> *mut Option<Shared<D>> {
        // SAFETY: stays within the extension; nothing is read.
        unsafe { &raw mut (*extension.as_ptr()).state }
    }
}

/// The extension of a device as a request finds it. It is read through raw pointers: the request
/// that ends the device's life gives the extension back while others still have this value.
///
/// # Invariants
///
/// The remove lock is held, or this value is not used any more: until then the device is whole, and
/// its extension only read.
pub(crate) struct Whole<D>(NonNull<Extension<D>>);

impl<D> Clone for Whole<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Whole<D> {}

impl<D> Whole<D> {
    /// # Safety
    ///
    /// The invariant holds, for as long as the result is used.
    pub(crate) const unsafe fn new(extension: NonNull<Extension<D>>) -> Self {
        Self(extension)
    }

    /// The device below. IRQL: any.
    pub(crate) const fn lower_device(self) -> *mut DEVICE_OBJECT {
        // SAFETY: whole, by the invariant.
        unsafe { Extension::lower_place(self.0).read() }
    }

    /// The device as Plug and Play sees it.
    pub(crate) fn attachment(self) -> Attachment {
        // SAFETY: stays within the extension; nothing is read.
        let function = unsafe { &raw const (*self.0.as_ptr()).function };
        // SAFETY: whole, by the invariant.
        let function = unsafe { function.read() };
        // INVARIANT: requests come only when the device is attached.
        Attachment {
            lower: self.lower_device(),
            function,
            forget: forget::<D>,
        }
    }

    /// The driver's state for the device: an owner of its own.
    pub(crate) fn state(self) -> Option<Shared<D>> {
        // SAFETY: whole, and only read, by the invariant; the reference ends here.
        unsafe { &*Extension::state_place(self.0) }.clone()
    }
}

/// Makes an unnamed function device with the state that `state` makes, and attaches it.
///
/// # Errors
///
/// The status of what failed; everything before it has been undone.
///
/// # Safety
///
/// Called from `AddDevice`, with its arguments.
pub(crate) unsafe fn create<D>(
    driver: *mut DRIVER_OBJECT,
    physical: NonNull<DEVICE_OBJECT>,
    state: impl FnOnce(Objects) -> Result<Shared<D>, Status>,
) -> Result<(), Status> {
    // SAFETY: the driver object comes from the system.
    let function = unsafe { create_object::<D>(driver)? };
    // SAFETY: just made, with an extension of the right size.
    let extension = unsafe { Extension::<D>::of(function) };
    // SAFETY: the extension is new, and nobody else knows it.
    unsafe {
        extension.write(Extension {
            remove_lock: UnsafeCell::new(IO_REMOVE_LOCK::default()),
            lower: ptr::null_mut(),
            function,
            state: None,
        });
    };
    // SAFETY: the lock lies in the extension of a device that nobody uses yet.
    unsafe { remove_lock::initialize(Extension::remove_lock(extension)) };
    // SAFETY: both objects are live; the extension is set up.
    let result = unsafe { attach(function, physical, extension) }.and_then(|lower| {
        let objects = Objects {
            // SAFETY: live as long as `AddDevice` runs.
            physical: unsafe { DeviceObject::reference(physical) },
            // SAFETY: made above.
            function: unsafe { DeviceObject::reference(function) },
        };
        state(objects)
            .inspect_err(|_| {
                // SAFETY: attached just now.
                unsafe { IoDetachDevice(lower.as_ptr()) };
            })
            .map(|state| (lower, state))
    });
    match result {
        Ok((lower, state)) => {
            // SAFETY: until the flag below is cleared, no request comes.
            unsafe { Extension::state_place(extension).write(Some(state)) };
            inherit_flags(function, lower);
            Ok(())
        }
        Err(status) => {
            // SAFETY: not attached, and nobody uses it.
            unsafe { IoDeleteDevice(function.as_ptr()) };
            Err(status)
        }
    }
}

/// # Safety
///
/// `driver` is this driver's object.
unsafe fn create_object<D>(driver: *mut DRIVER_OBJECT) -> Result<NonNull<DEVICE_OBJECT>, Status> {
    const { assert!(align_of::<Extension<D>>() <= 16) };
    let mut function = ptr::null_mut();
    let extension = u32::try_from(size_of::<Extension<D>>()).unwrap_or(u32::MAX);
    // SAFETY: the driver object comes from the system; no name; `function` outlives the call.
    let status = unsafe {
        IoCreateDevice(
            driver,
            extension,
            ptr::null_mut(),
            FILE_DEVICE_UNKNOWN,
            FILE_DEVICE_SECURE_OPEN,
            0,
            &raw mut function,
        )
    };
    Status(status).ok()?;
    NonNull::new(function).ok_or(Status::INSUFFICIENT_RESOURCES)
}

/// Attaches the device to its stack, and gives the device below.
///
/// # Safety
///
/// Both objects are live, and the extension is the function device's.
unsafe fn attach<D>(
    function: NonNull<DEVICE_OBJECT>,
    physical: NonNull<DEVICE_OBJECT>,
    extension: NonNull<Extension<D>>,
) -> Result<NonNull<DEVICE_OBJECT>, Status> {
    let place = Extension::lower_place(extension);
    // SAFETY: the place lies in the extension and is null.
    let status =
        unsafe { IoAttachDeviceToDeviceStackSafe(function.as_ptr(), physical.as_ptr(), place) };
    Status(status).ok()?;
    // SAFETY: written by the call above.
    NonNull::new(unsafe { place.read() }).ok_or(Status::UNSUCCESSFUL)
}

/// Takes the flags over that the stack below decides, and lets requests in.
fn inherit_flags(function: NonNull<DEVICE_OBJECT>, lower: NonNull<DEVICE_OBJECT>) {
    // SAFETY: attached to it, so live.
    let below = unsafe { layout::DEVICE_FLAGS.get(lower) };
    // SAFETY: live.
    let own = unsafe { layout::DEVICE_FLAGS.get(function) };
    // The two transfer methods exclude each other; direct unless the stack decided otherwise.
    let transfer = if below & DO_BUFFERED_IO != 0 {
        DO_BUFFERED_IO
    } else {
        DO_DIRECT_IO
    };
    let flags = own | transfer | (below & DO_POWER_PAGABLE);
    // SAFETY: live, and not in use before the initializing flag is gone.
    unsafe { layout::DEVICE_FLAGS.set(function, flags & !DO_DEVICE_INITIALIZING) };
}
