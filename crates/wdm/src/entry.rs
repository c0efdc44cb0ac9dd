//! The driver as the system sees it: `DriverEntry`, `AddDevice`, dispatch, unload.
//!
//! A driver implements [`Driver`] and writes `wdm::driver!(ItsType);` once. Every request is
//! dispatched under the remove lock of its device, except that a file can be closed at any time.

// UNSAFETY: is called by the system with raw pointers, and turns them into the types of this layer.
#![expect(unsafe_code, reason = "the border between the system and the driver")]

use core::{
    cell::UnsafeCell,
    ptr::NonNull,
    sync::atomic::{AtomicPtr, Ordering},
};

use wdk_sys::{DEVICE_OBJECT, DRIVER_OBJECT, FILE_OBJECT, HANDLE, IRP, NTSTATUS};

use crate::{
    control::Control,
    critical_region::CriticalRegion,
    device::{self, Extension, Objects, Whole},
    direct::Transfer,
    file::{FileObject, KeptFile},
    irp::{Completed, Irp},
    layout,
    pnp::Pnp,
    pool::Shared,
    process,
    remove_lock::Held,
    status::Status,
    trace::Provider,
};

const CREATE: u8 = 0x00;
const CLOSE: u8 = 0x02;
pub(crate) const READ: u8 = 0x03;
pub(crate) const WRITE: u8 = 0x04;
pub(crate) const DEVICE_CONTROL: u8 = 0x0E;
const CLEANUP: u8 = 0x12;
const POWER: u8 = 0x16;
const SYSTEM_CONTROL: u8 = 0x17;
const PNP: u8 = 0x1B;

/// A driver for Plug and Play devices.
pub trait Driver: Anchor + Sized + Send + Sync + 'static {
    /// What it keeps for each device.
    type Device: Send + Sync + 'static;
    /// What it keeps for each open of a device.
    type File: Send + Sync + 'static;

    /// Begins. What it makes is dropped when the driver is unloaded.
    ///
    /// # Errors
    ///
    /// Any; then the driver is not loaded.
    fn load() -> Result<Self, Status>;

    /// Who writes the driver's events, if it has any.
    #[must_use]
    fn tracing() -> Option<&'static Provider> {
        None
    }

    /// Makes the state of a device that has been found.
    ///
    /// # Errors
    ///
    /// Any; then the device has no driver.
    fn add_device(&self, objects: Objects) -> Result<Shared<Self::Device>, Status>;

    /// Answers a Plug and Play request.
    fn pnp(&self, device: &Shared<Self::Device>, request: Pnp) -> Completed;

    /// Makes the state of a new open.
    ///
    /// # Errors
    ///
    /// Any; then the device is not opened.
    fn create(&self, device: &Shared<Self::Device>) -> Result<Shared<Self::File>, Status>;

    /// Answers a device control request.
    fn control(&self, file: &Shared<Self::File>, request: Control) -> Completed;

    /// Counts a device control request that came when its device was going.
    fn late(&self, file: &Shared<Self::File>, request: Control) -> Completed;

    /// Answers a read or write request.
    fn transfer(&self, file: &Shared<Self::File>, request: Transfer) -> Completed {
        let _ = file;
        request.fail(Status::INVALID_DEVICE_REQUEST)
    }

    /// The last handle of a file is closed. Requests may still come.
    fn cleanup(&self, file: &Shared<Self::File>);

    /// A file is closed. No requests come any more.
    fn close(&self, file: Shared<Self::File>);

    /// The current process is about to end.
    fn process_exit(&self);
}

/// Where the one value of a driver is kept. Implemented by [`crate::driver!`].
pub trait Anchor: Sized + 'static {
    /// The place.
    fn slot() -> &'static Slot<Self>;
}

/// A place for the one value of a driver.
///
/// # Invariants
///
/// `current` is null, or points to the value in `value`.
pub struct Slot<D> {
    value: UnsafeCell<Option<D>>,
    current: AtomicPtr<D>,
}

// SAFETY: the value is written before, and taken after, everything else that the system calls.
unsafe impl<D: Send + Sync> Sync for Slot<D> {}

impl<D> Slot<D> {
    /// An empty place.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            value: UnsafeCell::new(None),
            current: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    fn get(&self) -> Option<&D> {
        let current = NonNull::new(self.current.load(Ordering::Acquire))?;
        // SAFETY: points to the value, by the invariant, which stays until the driver is unloaded;
        // by then the system does not call the driver any more.
        Some(unsafe { current.as_ref() })
    }

    /// # Safety
    ///
    /// Called from `DriverEntry`, before the system can call anything else.
    unsafe fn fill(&self, value: D) {
        // SAFETY: nobody else is here, as the caller says.
        let place = unsafe { &mut *self.value.get() };
        let value: *mut D = place.insert(value);
        self.current.store(value, Ordering::Release);
    }

    /// # Safety
    ///
    /// Nothing that the system calls is running, or will.
    unsafe fn empty(&self) {
        self.current.store(core::ptr::null_mut(), Ordering::Release);
        // SAFETY: nobody else is here, as the caller says.
        drop(unsafe { &mut *self.value.get() }.take());
    }
}

impl<D> Default for Slot<D> {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a type that implements [`Driver`] the driver of this image.
#[macro_export]
macro_rules! driver {
    ($driver:ty) => {
        const _: () = {
            static SLOT: $crate::entry::Slot<$driver> = $crate::entry::Slot::new();

            impl $crate::entry::Anchor for $driver {
                fn slot() -> &'static $crate::entry::Slot<Self> {
                    &SLOT
                }
            }

            /// Where the system enters the image.
            ///
            /// # Safety
            ///
            /// Called once, by the system.
            #[unsafe(export_name = "DriverEntry")]
            unsafe extern "system" fn driver_entry(
                driver: *mut $crate::entry::DriverObject,
                _registry_path: *mut ::core::ffi::c_void,
            ) -> i32 {
                // SAFETY: the system passes its driver object.
                unsafe { $crate::entry::load::<$driver>(driver) }
            }
        };
    };
}

/// The driver object, for [`crate::driver!`].
pub type DriverObject = DRIVER_OBJECT;

/// What `DriverEntry` does.
///
/// # Safety
///
/// Called from `DriverEntry`, with its driver object.
#[doc(hidden)]
pub unsafe fn load<D: Driver>(driver: *mut DRIVER_OBJECT) -> NTSTATUS {
    let Some(driver) = NonNull::new(driver) else {
        return Status::INVALID_PARAMETER.0;
    };
    let state = match D::load() {
        Ok(state) => state,
        Err(status) => return status.0,
    };
    // SAFETY: nothing has been registered yet that the system could call.
    unsafe { D::slot().fill(state) };
    // SAFETY: undone in `unload`, before the image goes.
    if let Err(status) = unsafe { process::watch(process_notify::<D>) } {
        // SAFETY: nothing has been registered.
        unsafe { D::slot().empty() };
        return status.0;
    }
    if let Some(provider) = D::tracing() {
        // SAFETY: undone in `unload`.
        unsafe { provider.register() };
    }
    // SAFETY: the driver object is ours to fill in, here and below.
    let extension = unsafe { layout::DRIVER_EXTENSION.get(driver) };
    if let Some(extension) = NonNull::new(extension) {
        // SAFETY: as above.
        unsafe { layout::EXTENSION_ADD_DEVICE.set(extension, Some(add_device::<D>)) };
    }
    // SAFETY: as above.
    unsafe { layout::DRIVER_UNLOAD.set(driver, Some(unload::<D>)) };
    // SAFETY: as above.
    unsafe { layout::DRIVER_MAJOR_FUNCTIONS.set(driver, routines::<D>()) };
    Status::SUCCESS.0
}

/// # Safety
///
/// Called by the system, when the last device is gone.
unsafe extern "C" fn unload<D: Driver>(_driver: *mut DRIVER_OBJECT) {
    process::unwatch(process_notify::<D>);
    // SAFETY: there is no device any more, and the process callback is gone.
    unsafe { D::slot().empty() };
    if let Some(provider) = D::tracing() {
        // SAFETY: nothing of the driver runs any more but this.
        unsafe { provider.unregister() };
    }
}

/// # Safety
///
/// Called by the system.
unsafe extern "C" fn process_notify<D: Driver>(_parent: HANDLE, _process: HANDLE, create: u8) {
    // At its end, a process is told of by its own last thread.
    if create == 0
        && let Some(driver) = D::slot().get()
    {
        driver.process_exit();
    }
}

/// # Safety
///
/// Called by the system.
unsafe extern "C" fn add_device<D: Driver>(
    driver: *mut DRIVER_OBJECT,
    physical: *mut DEVICE_OBJECT,
) -> NTSTATUS {
    let (Some(state), Some(physical)) = (D::slot().get(), NonNull::new(physical)) else {
        return Status::UNSUCCESSFUL.0;
    };
    // SAFETY: these are the arguments of `AddDevice`.
    let made = unsafe { device::create(driver, physical, |objects| state.add_device(objects)) };
    made.map_or_else(|status| status.0, |()| Status::SUCCESS.0)
}

/// The kinds of requests that come in threads of programs.
const OF_PROGRAMS: [u8; 7] = [
    CREATE,
    CLOSE,
    READ,
    WRITE,
    DEVICE_CONTROL,
    CLEANUP,
    SYSTEM_CONTROL,
];

/// Which routine is called for each kind of request.
fn routines<D: Driver>() -> [Option<layout::Dispatch>; 28] {
    let of_programs = OF_PROGRAMS.map(usize::from);
    core::array::from_fn(|kind| {
        let routine: layout::Dispatch = if of_programs.contains(&kind) {
            dispatch_for_program::<D>
        } else {
            // Sent by threads of the system, which nobody suspends; some of them at raised IRQL.
            dispatch::<D>
        };
        Some(routine)
    })
}

/// For requests that come in threads of programs: as long as one holds the device, the program
/// cannot suspend it. Nothing in here waits for a normal kernel APC. Of these requests a driver below
/// sees those for system control alone, as it sees them from a file system, which calls it in a
/// critical region too.
///
/// # Safety
///
/// As [`dispatch`]. IRQL: at most `APC_LEVEL`.
unsafe extern "C" fn dispatch_for_program<D: Driver>(
    device: *mut DEVICE_OBJECT,
    irp: *mut IRP,
) -> NTSTATUS {
    // A request that waits can be completed, and its file closed, while its dispatch routine is still on
    // its way out: then nothing of the request keeps the device, and with it this image. So the file is
    // kept until the region is left, where a program could suspend the thread for as long as it likes.
    // SAFETY: the request has just been given to us.
    let _file = NonNull::new(irp).and_then(|irp| unsafe { KeptFile::of_request(irp) });
    let _region = CriticalRegion::enter();
    // SAFETY: as the caller says.
    unsafe { dispatch::<D>(device, irp) }
}

/// # Safety
///
/// Called by the system, with a device that `add_device` made and a request for it.
unsafe extern "C" fn dispatch<D: Driver>(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    let (Some(driver), Some(device), Some(irp)) =
        (D::slot().get(), NonNull::new(device), NonNull::new(irp))
    else {
        return Status::INVALID_DEVICE_REQUEST.0;
    };
    // SAFETY: `add_device` made it, with this type.
    let extension = unsafe { Extension::<D::Device>::of(device) };
    let lock = Extension::remove_lock(extension);
    // SAFETY: set up in `add_device`; the device object stays while it has requests.
    let held = unsafe { Held::acquire(lock, irp.as_ptr().cast()) };
    let (held, extension) = match held {
        // SAFETY: while the lock is held the device is whole, and its extension only read.
        Ok(held) => (Some(held), Some(unsafe { Whole::new(extension) })),
        Err(_) => (None, None),
    };
    // SAFETY: the system has just given it to us.
    let irp = unsafe { Irp::new(irp, held) };
    route(driver, extension, irp).status()
}

/// Finds the one who answers a request. Without an extension the device is going.
fn route<D: Driver>(driver: &D, extension: Option<Whole<D::Device>>, irp: Irp) -> Completed {
    let major = irp.parameter(&layout::STACK_MAJOR);
    let file = irp.file();
    match (major, extension) {
        (CLEANUP, _) => {
            if let Some(state) = file.and_then(state_of::<D>) {
                driver.cleanup(&state);
            }
            irp.complete(Ok(0))
        }
        (CLOSE, _) => {
            // SAFETY: the file object is one of this driver's, opened by `create`.
            let file = file.map(|file| unsafe { FileObject::<D::File>::new(file) });
            if let Some(state) = file.and_then(|file| file.detach()) {
                driver.close(state);
            }
            irp.complete(Ok(0))
        }
        (DEVICE_CONTROL, _) => match file.and_then(state_of::<D>) {
            Some(state) if extension.is_some() => driver.control(&state, Control::new(irp)),
            Some(state) => driver.late(&state, Control::new(irp)),
            None => irp.complete(Err(Status::INVALID_DEVICE_REQUEST)),
        },
        (_, None) => irp.complete(Err(Status::DELETE_PENDING)),
        (READ | WRITE, Some(_)) => match file.and_then(state_of::<D>) {
            Some(state) => driver.transfer(&state, Transfer::new(irp, major == WRITE)),
            None => irp.complete(Err(Status::INVALID_DEVICE_REQUEST)),
        },
        (CREATE, Some(extension)) => {
            let result = create(driver, extension, file);
            irp.complete(result.map(|()| 0))
        }
        // The end of a removal drops the extension's owner of the state, so here is another one.
        (PNP, Some(extension)) => match extension.state() {
            Some(device) => driver.pnp(&device, Pnp::new(irp, extension.attachment())),
            None => irp.complete(Err(Status::DELETE_PENDING)),
        },
        // SAFETY: the extension says what this device is attached to.
        (POWER | SYSTEM_CONTROL, Some(extension)) => unsafe {
            irp.pass_down(extension.lower_device())
        },
        (_, Some(_)) => irp.complete(Err(Status::INVALID_DEVICE_REQUEST)),
    }
}

fn state_of<D: Driver>(file: NonNull<FILE_OBJECT>) -> Option<Shared<D::File>> {
    // SAFETY: the file object is one of this driver's, opened by `create`.
    unsafe { FileObject::<D::File>::new(file) }.state()
}

fn create<D: Driver>(
    driver: &D,
    extension: Whole<D::Device>,
    file: Option<NonNull<FILE_OBJECT>>,
) -> Result<(), Status> {
    let file = file.ok_or(Status::INVALID_PARAMETER)?;
    // SAFETY: the file object is being opened on this driver's device, and its context is null.
    let file = unsafe { FileObject::<D::File>::new(file) };
    if file.is_below_device() {
        return Err(Status::OBJECT_NAME_INVALID);
    }
    let device = extension.state().ok_or(Status::DELETE_PENDING)?;
    file.attach(driver.create(&device)?);
    Ok(())
}
