//! Numbers in a device's hardware key: reading and writing them.

// UNSAFETY: opens and closes the key and lets the kernel fill a buffer.
#![expect(unsafe_code, reason = "calls the registry routines of the kernel")]

use core::ptr;

use wdk_sys::{
    HANDLE, UNICODE_STRING,
    ntddk::{IoOpenDeviceRegistryKey, ZwClose, ZwQueryValueKey, ZwSetValueKey},
};

use crate::{device::DeviceObject, status::Status};

const PLUGPLAY_REGKEY_DEVICE: u32 = 1;
const KEY_READ: u32 = 0x0002_0019;
const KEY_SET_VALUE: u32 = 0x0002;
const REG_DWORD: u32 = 4;
const REG_QWORD: u32 = 11;
/// The longest name of a value that this module reads.
const LONGEST_NAME: usize = 64;

/// A device's hardware key, open for reading, and for writing if it was opened so.
///
/// # Invariants
///
/// The handle is open and this value's.
pub struct DeviceKey(HANDLE);

/// A `KEY_VALUE_PARTIAL_INFORMATION` with room for a number.
#[repr(C, align(8))]
#[derive(Default)]
struct PartialInformation {
    title_index: u32,
    kind: u32,
    data_length: u32,
    low: u32,
    high: u32,
}

const _: () = assert!(core::mem::offset_of!(PartialInformation, low) == 12);

impl DeviceKey {
    /// Opens the key of a physical device.
    ///
    /// # Errors
    ///
    /// The status of the kernel.
    pub fn open(physical: &DeviceObject) -> Result<Self, Status> {
        Self::open_with(physical, KEY_READ)
    }

    /// Opens the key of a physical device for reading and writing.
    ///
    /// # Errors
    ///
    /// The status of the kernel.
    pub fn open_to_write(physical: &DeviceObject) -> Result<Self, Status> {
        Self::open_with(physical, KEY_READ | KEY_SET_VALUE)
    }

    fn open_with(physical: &DeviceObject, access: u32) -> Result<Self, Status> {
        let mut handle = ptr::null_mut();
        // SAFETY: the device is referenced; `handle` outlives the call.
        let status = unsafe {
            IoOpenDeviceRegistryKey(
                physical.as_ptr(),
                PLUGPLAY_REGKEY_DEVICE,
                access,
                &raw mut handle,
            )
        };
        Status(status).ok().map(|()| Self(handle))
    }

    /// The number that a value holds: `None` if there is no such value, or it is no number.
    ///
    /// # Errors
    ///
    /// The status of the kernel, if it could not look.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        let mut units = [0_u16; LONGEST_NAME];
        let Some(length) = encode(name, &mut units) else {
            return Ok(None);
        };
        let mut name = UNICODE_STRING {
            Length: length,
            MaximumLength: length,
            Buffer: units.as_mut_ptr(),
        };
        let information = match self.query(&mut name) {
            Ok(information) => information,
            Err(Status::OBJECT_NAME_NOT_FOUND | Status::BUFFER_OVERFLOW) => return Ok(None),
            Err(status) => return Err(status),
        };
        let low = u64::from(information.low);
        Ok(match (information.kind, information.data_length) {
            (REG_DWORD, 4) => Some(low),
            (REG_QWORD, 8) => Some(low | (u64::from(information.high) << 32)),
            _ => None,
        })
    }

    /// Sets a value to a number, as `REG_QWORD`.
    ///
    /// # Errors
    ///
    /// [`Status::INVALID_PARAMETER`] if the name is too long; else the status of the kernel.
    pub fn set_number(&self, name: &str, number: u64) -> Result<(), Status> {
        let mut units = [0_u16; LONGEST_NAME];
        let length = encode(name, &mut units).ok_or(Status::INVALID_PARAMETER)?;
        let mut name = UNICODE_STRING {
            Length: length,
            MaximumLength: length,
            Buffer: units.as_mut_ptr(),
        };
        let mut data = number.to_le_bytes();
        // SAFETY: the handle is open; name and data outlive the call, and the data has eight bytes.
        let status = unsafe {
            ZwSetValueKey(
                self.0,
                &raw mut name,
                0,
                REG_QWORD,
                data.as_mut_ptr().cast(),
                8,
            )
        };
        Status(status).ok()
    }

    fn query(&self, name: &mut UNICODE_STRING) -> Result<PartialInformation, Status> {
        let mut information = PartialInformation::default();
        let mut needed = 0;
        // SAFETY: the handle is open; name, buffer and length outlive the call, and the buffer is
        // as long as the length given. 2 is `KeyValuePartialInformation`.
        let status = unsafe {
            ZwQueryValueKey(
                self.0,
                name,
                2,
                (&raw mut information).cast(),
                24,
                &raw mut needed,
            )
        };
        Status(status).ok().map(|()| information)
    }
}

const _: () = assert!(size_of::<PartialInformation>() == 24);

/// Writes a name as the kernel reads it, and gives its length in bytes. `None` if it is too long.
fn encode(name: &str, units: &mut [u16; LONGEST_NAME]) -> Option<u16> {
    let mut length = 0_u16;
    let mut places = units.iter_mut();
    for unit in name.encode_utf16() {
        *places.next()? = unit;
        length = length.checked_add(2)?;
    }
    Some(length)
}

impl Drop for DeviceKey {
    fn drop(&mut self) {
        // SAFETY: open, and not used again.
        let _: i32 = unsafe { ZwClose(self.0) };
    }
}
