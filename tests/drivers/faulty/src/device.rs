//! `AddDevice`, and what a device holds.

use core::{
    mem::size_of,
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use wdk_sys::{
    DO_BUFFERED_IO, DO_DEVICE_INITIALIZING, DO_DIRECT_IO, DO_POWER_PAGABLE, DRIVER_OBJECT,
    FAST_MUTEX, FILE_DEVICE_SECURE_OPEN, FILE_DEVICE_UNKNOWN, GUID, HANDLE, IO_REMOVE_LOCK, KEVENT,
    KEY_READ, KLOCK_QUEUE_HANDLE, KSPIN_LOCK, NTSTATUS, PDEVICE_OBJECT, PDMA_ADAPTER, PIRP,
    PLUGPLAY_REGKEY_DEVICE, STATUS_NO_SUCH_DEVICE, STATUS_SUCCESS, ULONG, UNICODE_STRING,
    ntddk::{
        IoAttachDeviceToDeviceStack, IoCreateDevice, IoDeleteDevice, IoDetachDevice,
        IoInitializeRemoveLockEx, IoOpenDeviceRegistryKey, IoRegisterDeviceInterface, ZwClose,
        ZwQueryValueKey,
    },
};

use crate::{lifecycle, system::TAG};

/// The interface by which programs find the device.
pub(crate) static INTERFACE: GUID = GUID {
    Data1: 0x2f6a_63c1,
    Data2: 0x7d57,
    Data3: 0x4d0a,
    Data4: [0x9c, 0x1e, 0x5b, 0x0e, 0x6f, 0x1d, 0x8a, 0x42],
};

/// Everything that belongs to one device; the system zeroes it.
#[repr(C)]
pub(crate) struct Extension {
    pub(crate) this: PDEVICE_OBJECT,
    pub(crate) lower: PDEVICE_OBJECT,
    pub(crate) pdo: PDEVICE_OBJECT,
    pub(crate) interface: UNICODE_STRING,
    pub(crate) interface_enabled: bool,
    pub(crate) remove_lock: IO_REMOVE_LOCK,
    pub(crate) adapter: PDMA_ADAPTER,
    pub(crate) map_registers: ULONG,
    /// A request that waits for its cancellation.
    pub(crate) pending: PIRP,
    pub(crate) pending_lock: KSPIN_LOCK,
    /// What one request leaves for the next.
    pub(crate) stash: [usize; 6],
    pub(crate) scratch: Scratch,
}

/// Objects of the system that the faults play with.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) lock: KSPIN_LOCK,
    pub(crate) second_lock: KSPIN_LOCK,
    pub(crate) queue: KLOCK_QUEUE_HANDLE,
    pub(crate) mutex: FAST_MUTEX,
    pub(crate) second_mutex: FAST_MUTEX,
    pub(crate) event: KEVENT,
    pub(crate) push_lock: usize,
    pub(crate) remove_lock: IO_REMOVE_LOCK,
}

/// The rule that this copy of the driver breaks in its life cycle; 0: none.
static FAULT: AtomicU32 = AtomicU32::new(0);

/// Whether the driver was told to break this rule.
pub(crate) fn breaks(rule: u32) -> bool {
    FAULT.load(Ordering::Relaxed) == rule
}

pub(crate) fn extension(device: PDEVICE_OBJECT) -> *mut Extension {
    unsafe { (*device).DeviceExtension.cast() }
}

pub(crate) unsafe extern "C" fn add_device(
    driver: *mut DRIVER_OBJECT,
    pdo: PDEVICE_OBJECT,
) -> NTSTATUS {
    FAULT.store(fault_value(pdo), Ordering::Relaxed);
    let mut device: PDEVICE_OBJECT = ptr::null_mut();
    let status = unsafe {
        IoCreateDevice(
            driver,
            size_of::<Extension>() as ULONG,
            ptr::null_mut(),
            FILE_DEVICE_UNKNOWN,
            FILE_DEVICE_SECURE_OPEN,
            0,
            &raw mut device,
        )
    };
    if status != STATUS_SUCCESS {
        return status;
    }
    let status = set_up(device, pdo);
    if status != STATUS_SUCCESS {
        if !breaks(273) {
            unsafe { IoDeleteDevice(device) };
        }
        return status;
    }
    lifecycle::device_added(extension(device));
    STATUS_SUCCESS
}

fn set_up(device: PDEVICE_OBJECT, pdo: PDEVICE_OBJECT) -> NTSTATUS {
    let extension = extension(device);
    unsafe {
        (*extension).this = device;
        (*extension).pdo = pdo;
        initialize_remove_lock(&raw mut (*extension).remove_lock);
        (*extension).lower = IoAttachDeviceToDeviceStack(device, pdo);
        let lower = (*extension).lower;
        if lower.is_null() {
            return STATUS_NO_SUCH_DEVICE;
        }
        if breaks(273) {
            IoDetachDevice(lower);
            return STATUS_NO_SUCH_DEVICE;
        }
        (*device).Flags |= flags(lower);
        let of = if breaks(247) { device } else { pdo };
        let name = &raw mut (*extension).interface;
        let status = IoRegisterDeviceInterface(of, &raw const INTERFACE, ptr::null_mut(), name);
        if status < 0 && !breaks(247) {
            IoDetachDevice(lower);
            return status;
        }
        if !breaks(241) {
            (*device).Flags &= !DO_DEVICE_INITIALIZING;
        }
    }
    STATUS_SUCCESS
}

/// What the device takes over from the one below, and direct I/O unless that one decides.
fn flags(lower: PDEVICE_OBJECT) -> ULONG {
    let below = unsafe { (*lower).Flags } & (DO_BUFFERED_IO | DO_DIRECT_IO | DO_POWER_PAGABLE);
    if breaks(238) {
        return below & !DO_POWER_PAGABLE | DO_DIRECT_IO;
    }
    if breaks(242) {
        return below & DO_POWER_PAGABLE | DO_DIRECT_IO;
    }
    if breaks(243) {
        return below | DO_BUFFERED_IO | DO_DIRECT_IO;
    }
    if below & (DO_BUFFERED_IO | DO_DIRECT_IO) == 0 {
        below | DO_DIRECT_IO
    } else {
        below
    }
}

pub(crate) fn initialize_remove_lock(lock: *mut IO_REMOVE_LOCK) {
    unsafe { IoInitializeRemoveLockEx(lock, TAG, 0, 0, size_of::<IO_REMOVE_LOCK>() as ULONG) };
}

/// The device's hardware key.
pub(crate) fn open_key(pdo: PDEVICE_OBJECT) -> Option<HANDLE> {
    let mut key: HANDLE = ptr::null_mut();
    let status =
        unsafe { IoOpenDeviceRegistryKey(pdo, PLUGPLAY_REGKEY_DEVICE, KEY_READ, &raw mut key) };
    (status == STATUS_SUCCESS).then_some(key)
}

/// A string for the system, of UTF-16 units that outlive it.
pub(crate) fn unicode(units: &[u16]) -> UNICODE_STRING {
    let bytes = size_of_val(units) as u16;
    UNICODE_STRING {
        Length: bytes,
        MaximumLength: bytes,
        Buffer: units.as_ptr().cast_mut(),
    }
}

/// The name of the value that names the fault.
pub(crate) const FAULT_VALUE: [u16; 5] = [0x46, 0x61, 0x75, 0x6C, 0x74];

fn fault_value(pdo: PDEVICE_OBJECT) -> u32 {
    const PARTIAL_INFORMATION: i32 = 2;
    let Some(key) = open_key(pdo) else { return 0 };
    let mut name = unicode(&FAULT_VALUE);
    // Title, type, length, data.
    let mut value = [0_u32; 4];
    let mut length = 0;
    unsafe {
        let status = ZwQueryValueKey(
            key,
            &raw mut name,
            PARTIAL_INFORMATION as _,
            value.as_mut_ptr().cast(),
            size_of_val(&value) as ULONG,
            &raw mut length,
        );
        let _ = ZwClose(key);
        if status == STATUS_SUCCESS {
            value[3]
        } else {
            0
        }
    }
}
