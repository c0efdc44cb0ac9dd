//! The settings of a device, in its hardware key.

#![expect(unsafe_code, reason = "the registry takes pointers to buffers")]

use std::ptr;

use windows_sys::Win32::Devices::DeviceAndDriverInstallation::{
    DICS_FLAG_GLOBAL, DIREG_DEV, DIREG_DRV, SP_DEVINFO_DATA, SetupDiOpenDevRegKey,
};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, KEY_QUERY_VALUE, KEY_SET_VALUE, REG_DWORD, REG_QWORD, REG_SZ, RegCloseKey,
    RegDeleteValueW, RegQueryValueExW, RegSetValueExW,
};

use super::device::find;
use super::device_set::DeviceSet;
use super::text::{narrow, wide};
use super::{error_of, last_error};
use crate::SystemError;

/// A value in the hardware key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// There is none.
    Absent,
    /// A `REG_DWORD` or `REG_QWORD`.
    Number(u64),
    /// A value of another type, which the driver does not take.
    OtherType(u32),
}

/// An open registry key.
struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key is live, and this is its end.
        let _ = unsafe { RegCloseKey(self.0) };
    }
}

impl Key {
    /// Opens the hardware key (`DIREG_DEV`) or the driver key (`DIREG_DRV`) of a device.
    fn open(
        set: &DeviceSet,
        member: &SP_DEVINFO_DATA,
        which: u32,
        access: u32,
    ) -> Result<Self, SystemError> {
        // SAFETY: the member is one of the set.
        let key =
            unsafe { SetupDiOpenDevRegKey(set.0, member, DICS_FLAG_GLOBAL, 0, which, access) };
        // INVALID_HANDLE_VALUE.
        if key.addr() == usize::MAX || key.is_null() {
            return Err(last_error("cannot open the registry key of the device"));
        }
        Ok(Self(key))
    }

    /// The type and the bytes of a value; `None` if there is none.
    fn value(&self, name: &str) -> Result<Option<(u32, Vec<u8>)>, SystemError> {
        let text = wide(name);
        let mut data = vec![0_u8; 1024];
        let (mut kind, mut length) = (0, u32::try_from(data.len()).unwrap_or(0));
        // SAFETY: the key is live, the name ends with a zero, the buffer has the length given.
        let result = unsafe {
            RegQueryValueExW(
                self.0,
                text.as_ptr(),
                ptr::null(),
                &raw mut kind,
                data.as_mut_ptr(),
                &raw mut length,
            )
        };
        match result {
            ERROR_SUCCESS => {
                data.truncate(usize::try_from(length).unwrap_or(0));
                Ok(Some((kind, data)))
            }
            ERROR_FILE_NOT_FOUND => Ok(None),
            code => Err(error_of(format!("cannot read the setting {name}"), code)),
        }
    }
}

/// The name that the INF of a device's driver got in the driver store.
pub(super) fn inf_of(set: &DeviceSet, member: &SP_DEVINFO_DATA) -> Option<String> {
    let key = Key::open(set, member, DIREG_DRV, KEY_QUERY_VALUE).ok()?;
    let (kind, data) = key.value("InfPath").ok()??;
    let units: Vec<u16> = data
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .collect();
    (kind == REG_SZ).then(|| narrow(&units))
}

/// Reads a setting of a device.
///
/// # Errors
///
/// There is no such device, or Windows refuses.
pub fn read_setting(instance: &str, name: &str) -> Result<Setting, SystemError> {
    let (set, member) = find(instance)?;
    let key = match Key::open(&set, &member, DIREG_DEV, KEY_QUERY_VALUE) {
        // A device without any setting need not have the key.
        Err(error) if is_absent(&error) => return Ok(Setting::Absent),
        other => other?,
    };
    Ok(match key.value(name)? {
        None => Setting::Absent,
        Some((REG_DWORD | REG_QWORD, data)) => number(&data),
        Some((kind, _)) => Setting::OtherType(kind),
    })
}

/// Whether an error says that there is no key (`ERROR_KEY_DOES_NOT_EXIST` of `SetupAPI`).
fn is_absent(error: &SystemError) -> bool {
    error.code == ERROR_FILE_NOT_FOUND || error.code == 0xE000_0204
}

fn number(data: &[u8]) -> Setting {
    let mut bytes = [0; 8];
    for (byte, value) in bytes.iter_mut().zip(data) {
        *byte = *value;
    }
    Setting::Number(u64::from_le_bytes(bytes))
}

/// Writes a setting of a device: a `REG_DWORD` if it fits, a `REG_QWORD` otherwise.
///
/// # Errors
///
/// There is no such device, or Windows refuses.
pub fn write_setting(instance: &str, name: &str, value: u64) -> Result<(), SystemError> {
    let (set, member) = find(instance)?;
    let key = Key::open(&set, &member, DIREG_DEV, KEY_SET_VALUE)?;
    let text = wide(name);
    let (kind, data) = match u32::try_from(value) {
        Ok(value) => (REG_DWORD, value.to_le_bytes().to_vec()),
        Err(_) => (REG_QWORD, value.to_le_bytes().to_vec()),
    };
    let length = u32::try_from(data.len()).unwrap_or(0);
    // SAFETY: the key is live, the name ends with a zero, the buffer has the length given.
    let result = unsafe { RegSetValueExW(key.0, text.as_ptr(), 0, kind, data.as_ptr(), length) };
    if result != ERROR_SUCCESS {
        return Err(error_of(format!("cannot write the setting {name}"), result));
    }
    Ok(())
}

/// Removes a setting of a device, so that its default holds. Gives whether there was one.
///
/// # Errors
///
/// There is no such device, or Windows refuses.
pub fn remove_setting(instance: &str, name: &str) -> Result<bool, SystemError> {
    let (set, member) = find(instance)?;
    let key = match Key::open(&set, &member, DIREG_DEV, KEY_SET_VALUE) {
        Err(error) if is_absent(&error) => return Ok(false),
        other => other?,
    };
    let text = wide(name);
    // SAFETY: the key is live, the name ends with a zero.
    match unsafe { RegDeleteValueW(key.0, text.as_ptr()) } {
        ERROR_SUCCESS => Ok(true),
        ERROR_FILE_NOT_FOUND => Ok(false),
        code => Err(error_of(format!("cannot remove the setting {name}"), code)),
    }
}
