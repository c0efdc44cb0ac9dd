//! Device stacks. Wine sends a device no cleanup request when the last handle of a file is closed, only the close request;
//! so drivers that attach a device get the cleanup request from here.

use std::{
    ffi::c_void,
    mem,
    ptr::{self, NonNull},
    sync::{Mutex, PoisonError},
};

use crate::{
    blocks, log, mdl, pool, process,
    system::{self, Status},
    views,
};

const DEVICE_DRIVER: usize = 8;
const DEVICE_ATTACHED: usize = 24;
const DEVICE_STACK_SIZE: usize = 76;
const DRIVER_UNLOAD: usize = 104;
const DRIVER_MAJOR_FUNCTIONS: usize = 112;
const IRP_REQUESTOR_MODE: usize = 64;
const IRP_STACK_LOCATION: usize = 184;
const LOCATION_SIZE: usize = 72;
const LOCATION_FILE: usize = 48;

const CREATE: usize = 0x00;
const CLOSE: usize = 0x02;
const CLEANUP: u8 = 0x12;
const USER_MODE: i8 = 1;

type Dispatch = unsafe extern "system" fn(device: *mut u8, irp: *mut u8) -> Status;
type Unload = unsafe extern "system" fn(driver: *mut u8);

/// A driver some of whose routines are called from here.
#[derive(Clone, Copy)]
struct Hooked {
    driver: usize,
    create: Dispatch,
    close: Dispatch,
    unload: Option<Unload>,
}

static HOOKED: Mutex<Vec<Hooked>> = Mutex::new(Vec::new());

/// Reads a field of a kernel object.
///
/// # Safety
///
/// The object has such a field there.
unsafe fn field<T: Copy>(object: *mut u8, offset: usize) -> T {
    // SAFETY: as the caller says.
    unsafe { object.wrapping_add(offset).cast::<T>().read() }
}

/// Writes a field of a kernel object.
///
/// # Safety
///
/// The object has such a field there, and nobody else uses it now.
unsafe fn set_field<T: Copy>(object: *mut u8, offset: usize, value: T) {
    // SAFETY: as the caller says.
    unsafe { object.wrapping_add(offset).cast::<T>().write(value) };
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn IoAttachDeviceToDeviceStackSafe(
    source: *mut u8,
    target: *mut u8,
    attached: NonNull<*mut u8>,
) -> Status {
    // SAFETY: two devices, as the caller says.
    let lower = unsafe { system::IoAttachDeviceToDeviceStack(source, target) };
    if lower.is_null() {
        return system::NO_SUCH_DEVICE;
    }
    // SAFETY: the caller's place for it.
    unsafe { attached.write(lower) };
    // SAFETY: a device has a driver.
    let driver = unsafe { field::<*mut u8>(source, DEVICE_DRIVER) };
    // SAFETY: the driver object of a loaded driver.
    unsafe { hook(driver) };
    system::SUCCESS
}

/// The kernel's routine. Wine's asks the top of the device's stack for its identifiers, and in `AddDevice`, where drivers
/// call this, that is the new device, which takes no requests yet. Windows knows them. So the top is set aside meanwhile.
// Wine has a routine of that name too, which is called here: `forwarded.def` gives this one its name.
#[unsafe(export_name = "own_IoRegisterDeviceInterface")]
pub(crate) unsafe extern "system" fn register_interface(
    device: *mut u8,
    class: *const c_void,
    reference: *const c_void,
    link: *mut c_void,
) -> Status {
    // SAFETY: a physical device, whose stack nobody else uses in `AddDevice`.
    let attached = unsafe { field::<*mut u8>(device, DEVICE_ATTACHED) };
    // SAFETY: as above.
    unsafe { set_field(device, DEVICE_ATTACHED, ptr::null_mut::<u8>()) };
    // SAFETY: hands on what the driver asked.
    let status = unsafe { system::register_interface(device, class, reference, link) };
    // SAFETY: as above.
    unsafe { set_field(device, DEVICE_ATTACHED, attached) };
    status
}

const fn major(function: usize) -> usize {
    DRIVER_MAJOR_FUNCTIONS.wrapping_add(function.wrapping_mul(size_of::<usize>()))
}

/// Puts routines of this module before those of a driver, once.
///
/// # Safety
///
/// The driver object of a loaded driver, with all its dispatch routines.
unsafe fn hook(driver: *mut u8) {
    let mut hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: a member of the dispatch table, as for the others below.
    let first = unsafe { field::<Dispatch>(driver, major(CREATE)) };
    if ptr::fn_addr_eq(first, create as Dispatch) {
        return;
    }
    hooked.retain(|other| other.driver != driver.addr());
    hooked.push(Hooked {
        driver: driver.expose_provenance(),
        create: first,
        // SAFETY: as above.
        close: unsafe { field(driver, major(CLOSE)) },
        // SAFETY: the driver's unload routine, or null.
        unload: unsafe { field(driver, DRIVER_UNLOAD) },
    });
    // SAFETY: no request has come yet: the device has just been attached.
    unsafe { set_field(driver, major(CREATE), create as Dispatch) };
    // SAFETY: as above.
    unsafe { set_field(driver, major(CLOSE), close as Dispatch) };
    // SAFETY: as above.
    unsafe { set_field(driver, DRIVER_UNLOAD, unload as Unload) };
}

fn hooked(driver: *mut u8) -> Option<Hooked> {
    let hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
    hooked
        .iter()
        .find(|entry| entry.driver == driver.addr())
        .copied()
}

/// The driver's routines, for one of its devices.
fn hooked_of(device: *mut u8) -> Option<Hooked> {
    // SAFETY: a device has a driver.
    hooked(unsafe { field::<*mut u8>(device, DEVICE_DRIVER) })
}

unsafe extern "system" fn create(device: *mut u8, irp: *mut u8) -> Status {
    process::watch_current();
    match hooked_of(device) {
        // SAFETY: hands on what the system asked.
        Some(driver) => unsafe { (driver.create)(device, irp) },
        None => system::NO_SUCH_DEVICE,
    }
}

unsafe extern "system" fn close(device: *mut u8, irp: *mut u8) -> Status {
    // SAFETY: a close request has a current stack location.
    let location = unsafe { field::<*mut u8>(irp, IRP_STACK_LOCATION) };
    // SAFETY: a stack location has a file.
    let file = unsafe { field::<*mut c_void>(location, LOCATION_FILE) };
    // SAFETY: the device and the file that are being closed.
    unsafe { clean_up(device, file) };
    match hooked_of(device) {
        // SAFETY: hands on what the system asked.
        Some(driver) => unsafe { (driver.close)(device, irp) },
        None => system::NO_SUCH_DEVICE,
    }
}

/// Sends a cleanup request. Wine frees it when it is completed.
///
/// # Safety
///
/// The top of a device stack, and a file that was opened on it.
unsafe fn clean_up(device: *mut u8, file: *mut c_void) {
    // SAFETY: a device has a stack size.
    let stack_size = unsafe { field::<i8>(device, DEVICE_STACK_SIZE) };
    // SAFETY: has no preconditions.
    let irp = unsafe { system::IoAllocateIrp(stack_size, 0) };
    if irp.is_null() {
        log::misuse("the close request", "no memory for the cleanup request");
        return;
    }
    // SAFETY: a new request, which nobody else has.
    unsafe { set_field(irp, IRP_REQUESTOR_MODE, USER_MODE) };
    // SAFETY: a new request points behind its locations.
    let behind = unsafe { field::<*mut u8>(irp, IRP_STACK_LOCATION) };
    let next = behind.wrapping_sub(LOCATION_SIZE);
    // SAFETY: the next location of that request.
    unsafe { set_field(next, 0, CLEANUP) };
    // SAFETY: as above.
    unsafe { set_field(next, LOCATION_FILE, file) };
    // SAFETY: a request with its location filled in, for a device with such a stack.
    unsafe { system::IofCallDriver(device, irp) };
}

unsafe extern "system" fn unload(driver: *mut u8) {
    let entry = {
        let mut hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
        let index = hooked
            .iter()
            .position(|entry| entry.driver == driver.addr());
        index.map(|index| hooked.swap_remove(index))
    };
    if let Some(unload) = entry.and_then(|entry| entry.unload) {
        // SAFETY: hands on what the system asked.
        unsafe { unload(driver) };
    }
    log::line(&format!(
        "unloaded: {} blocks, {} lists, {} mappings, {} pool blocks left",
        blocks::count(),
        mdl::count(),
        views::count(),
        pool::count()
    ));
}

const _: () = assert!(mem::size_of::<Dispatch>() == size_of::<usize>());
