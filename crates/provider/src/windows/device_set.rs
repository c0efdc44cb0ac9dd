//! A set of devices of `SetupAPI`, given back on drop.

#![expect(unsafe_code, reason = "SetupAPI takes pointers to buffers")]

use std::ptr;

use windows_sys::Win32::Devices::DeviceAndDriverInstallation::{
    DIGCF_ALLCLASSES, DIGCF_DEVICEINTERFACE, DIGCF_PRESENT, HDEVINFO, SETUP_DI_REGISTRY_PROPERTY,
    SP_DEVICE_INTERFACE_DATA, SP_DEVICE_INTERFACE_DETAIL_DATA_W, SP_DEVINFO_DATA,
    SetupDiCreateDeviceInfoList, SetupDiDestroyDeviceInfoList, SetupDiEnumDeviceInfo,
    SetupDiEnumDeviceInterfaces, SetupDiGetClassDevsW, SetupDiGetDeviceInstanceIdW,
    SetupDiGetDeviceInterfaceDetailW, SetupDiGetDeviceRegistryPropertyW,
};
use windows_sys::core::GUID;

use super::text::{list, narrow};
use super::{last_error, size};
use crate::SystemError;

/// How long an identifier of a device can be, with its zero (`MAX_DEVICE_ID_LEN`).
const IDENTIFIER: usize = 200;

/// A set of devices.
pub(super) struct DeviceSet(pub(super) HDEVINFO);

impl DeviceSet {
    /// All devices that the system knows, also those that are not present.
    pub(super) fn all() -> Result<Self, SystemError> {
        // SAFETY: no pointer is given.
        let set = unsafe {
            SetupDiGetClassDevsW(ptr::null(), ptr::null(), ptr::null_mut(), DIGCF_ALLCLASSES)
        };
        Self::checked(set, "cannot list the devices")
    }

    /// The devices that offer an interface now.
    pub(super) fn with_interface(class: &GUID) -> Result<Self, SystemError> {
        let flags = DIGCF_PRESENT | DIGCF_DEVICEINTERFACE;
        // SAFETY: `class` lives during the call.
        let set = unsafe { SetupDiGetClassDevsW(class, ptr::null(), ptr::null_mut(), flags) };
        Self::checked(set, "cannot list the device interfaces")
    }

    /// A set for a new device of a class.
    pub(super) fn empty(class: &GUID) -> Result<Self, SystemError> {
        // SAFETY: `class` lives during the call.
        let set = unsafe { SetupDiCreateDeviceInfoList(class, ptr::null_mut()) };
        Self::checked(set, "cannot make a list of devices")
    }

    fn checked(set: HDEVINFO, operation: &str) -> Result<Self, SystemError> {
        // INVALID_HANDLE_VALUE.
        if set == -1 {
            return Err(last_error(operation));
        }
        Ok(Self(set))
    }

    /// The devices of the set.
    pub(super) fn members(&self) -> impl Iterator<Item = SP_DEVINFO_DATA> {
        (0_u32..).map_while(|index| {
            let mut member = new_member();
            // SAFETY: the set is live, `member` has its size in it.
            let found = unsafe { SetupDiEnumDeviceInfo(self.0, index, &raw mut member) };
            (found != 0).then_some(member)
        })
    }

    /// The interface paths of the set's devices.
    pub(super) fn paths(&self, class: &GUID) -> impl Iterator<Item = String> {
        (0_u32..).map_while(move |index| {
            let mut interface = SP_DEVICE_INTERFACE_DATA {
                cbSize: size::<SP_DEVICE_INTERFACE_DATA>(),
                ..SP_DEVICE_INTERFACE_DATA::default()
            };
            // SAFETY: the set is live, `interface` has its size in it.
            let found = unsafe {
                SetupDiEnumDeviceInterfaces(self.0, ptr::null(), class, index, &raw mut interface)
            };
            if found == 0 {
                return None;
            }
            Some(self.path(&interface).unwrap_or_default())
        })
    }

    fn path(&self, interface: &SP_DEVICE_INTERFACE_DATA) -> Option<String> {
        // The struct begins with its size, the text follows: room for both, in units of 4 bytes.
        let mut detail = vec![0_u32; 1024];
        let length = u32::try_from(detail.len().saturating_mul(4)).ok()?;
        *detail.first_mut()? = size::<SP_DEVICE_INTERFACE_DETAIL_DATA_W>();
        // SAFETY: the buffer is aligned for the struct and has the length given.
        let found = unsafe {
            SetupDiGetDeviceInterfaceDetailW(
                self.0,
                interface,
                detail.as_mut_ptr().cast(),
                length,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        let text: Vec<u16> = detail
            .iter()
            .skip(1)
            .flat_map(|unit| {
                let [a, b, c, d] = unit.to_le_bytes();
                [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
            })
            .collect();
        (found != 0).then(|| narrow(&text))
    }

    /// The identifier under which the system knows a device.
    pub(super) fn instance(&self, member: &SP_DEVINFO_DATA) -> Option<String> {
        let mut text = [0_u16; IDENTIFIER];
        let length = u32::try_from(text.len()).ok()?;
        // SAFETY: the member is one of this set; the buffer has the length given.
        let found = unsafe {
            SetupDiGetDeviceInstanceIdW(self.0, member, text.as_mut_ptr(), length, ptr::null_mut())
        };
        (found != 0).then(|| narrow(&text))
    }

    /// A property that is text, or a list of texts; empty if the device does not have it.
    pub(super) fn texts(
        &self,
        member: &SP_DEVINFO_DATA,
        property: SETUP_DI_REGISTRY_PROPERTY,
    ) -> Vec<String> {
        let mut text = vec![0_u16; 2048];
        let length = u32::try_from(text.len().saturating_mul(2)).unwrap_or(0);
        // SAFETY: the member is one of this set; the buffer has the length given.
        let found = unsafe {
            SetupDiGetDeviceRegistryPropertyW(
                self.0,
                member,
                property,
                ptr::null_mut(),
                text.as_mut_ptr().cast(),
                length,
                ptr::null_mut(),
            )
        };
        if found == 0 { Vec::new() } else { list(&text) }
    }
}

impl Drop for DeviceSet {
    fn drop(&mut self) {
        // SAFETY: the set is live, and this is its end.
        let _ = unsafe { SetupDiDestroyDeviceInfoList(self.0) };
    }
}

/// A member with its size filled in, as `SetupAPI` wants it.
pub(super) fn new_member() -> SP_DEVINFO_DATA {
    SP_DEVINFO_DATA {
        cbSize: size::<SP_DEVINFO_DATA>(),
        ..SP_DEVINFO_DATA::default()
    }
}
