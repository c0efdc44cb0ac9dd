//! Root-enumerated devices and drivers: created, updated, removed.

#![expect(unsafe_code, reason = "SetupAPI takes pointers to buffers")]

use std::path::Path;
use std::ptr;

use windows_sys::Win32::Devices::DeviceAndDriverInstallation::{
    DI_FUNCTION, DI_NEEDREBOOT, DI_NEEDRESTART, DICD_GENERATE_ID, DIF_REGISTERDEVICE, DIF_REMOVE,
    INSTALLFLAG_FORCE, SP_DEVINFO_DATA, SP_DEVINSTALL_PARAMS_W, SPDRP_HARDWAREID, SUOI_FORCEDELETE,
    SetupDiCallClassInstaller, SetupDiCreateDeviceInfoW, SetupDiGetDeviceInstallParamsW,
    SetupDiGetINFClassW, SetupDiSetDeviceRegistryPropertyW, SetupUninstallOEMInfW,
    UpdateDriverForPlugAndPlayDevicesW,
};
use windows_sys::Win32::Foundation::{
    ERROR_SERVICE_DOES_NOT_EXIST, ERROR_SERVICE_MARKED_FOR_DELETE,
};
use windows_sys::Win32::Storage::FileSystem::DELETE;
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ControlService, DeleteService, OpenSCManagerW, OpenServiceW, SC_HANDLE,
    SC_MANAGER_CONNECT, SERVICE_CONTROL_STOP, SERVICE_STATUS, SERVICE_STOP,
};
use windows_sys::core::GUID;

use super::device::find;
use super::device_set::{DeviceSet, new_member};
use super::text::wide;
use super::{last_error, size};
use crate::SystemError;

/// `ERROR_WRONG_INF_STYLE`.
const NOT_AN_INF: u32 = 0xE000_0100;

/// Makes sure that a file is an INF that `SetupAPI` can read.
///
/// # Errors
///
/// The file is not there or is no INF.
pub fn check_inf(inf: &Path) -> Result<(), SystemError> {
    class(inf).map(drop)
}

/// The device class that an INF is for.
fn class(inf: &Path) -> Result<GUID, SystemError> {
    let path = wide(&inf.to_string_lossy());
    let (mut class, mut name) = (GUID::default(), [0_u16; 32]);
    let length = u32::try_from(name.len()).unwrap_or(0);
    // SAFETY: the path ends with a zero; the buffer has the length given.
    let read = unsafe {
        SetupDiGetINFClassW(
            path.as_ptr(),
            &raw mut class,
            name.as_mut_ptr(),
            length,
            ptr::null_mut(),
        )
    };
    if read == 0 {
        let error = last_error(format!("cannot read {}", inf.display()));
        // Not every system says what is wrong with a file that is no INF.
        return Err(match error.code {
            0 => SystemError::new(
                error.operation,
                NOT_AN_INF,
                "it is not an INF for a device.",
            ),
            _ => error,
        });
    }
    Ok(class)
}

/// Creates a root-enumerated device and gives its identifier. It has no driver yet.
///
/// # Errors
///
/// Windows refuses; nothing is left behind.
pub fn create_root_device(
    inf: &Path,
    name: &str,
    hardware_id: &str,
) -> Result<String, SystemError> {
    let class = class(inf)?;
    let set = DeviceSet::empty(&class)?;
    let mut member = new_member();
    let wide_name = wide(name);
    let refused = || last_error(format!("cannot create the device {hardware_id}"));
    // SAFETY: the set and the class are live, the name ends with a zero, `member` has its size.
    let created = unsafe {
        SetupDiCreateDeviceInfoW(
            set.0,
            wide_name.as_ptr(),
            &raw const class,
            ptr::null(),
            ptr::null_mut(),
            DICD_GENERATE_ID,
            &raw mut member,
        )
    };
    if created == 0 {
        return Err(refused());
    }
    // A list of one: each text ends with a zero, the list with another.
    let mut identifiers = wide(hardware_id);
    identifiers.push(0);
    let length = u32::try_from(identifiers.len().saturating_mul(2)).unwrap_or(0);
    // SAFETY: the member is one of the set; the buffer has the length given.
    let named = unsafe {
        SetupDiSetDeviceRegistryPropertyW(
            set.0,
            &raw mut member,
            SPDRP_HARDWAREID,
            identifiers.as_ptr().cast(),
            length,
        )
    };
    // A device that is not registered goes with its set.
    if named == 0 {
        return Err(refused());
    }
    call_class_installer(DIF_REGISTERDEVICE, &set, &member).map_err(|()| refused())?;
    set.instance(&member).ok_or_else(refused)
}

/// Puts a driver into the driver store and gives it to all devices with a hardware identifier.
/// Gives whether the system has to be restarted.
///
/// # Errors
///
/// Windows refuses the driver, e.g. for its signature.
pub fn update_driver(inf: &Path, hardware_id: &str) -> Result<bool, SystemError> {
    let (path, identifier) = (wide(&inf.to_string_lossy()), wide(hardware_id));
    let mut restart = 0;
    // SAFETY: both texts end with a zero; `restart` is ours.
    let updated = unsafe {
        UpdateDriverForPlugAndPlayDevicesW(
            ptr::null_mut(),
            identifier.as_ptr(),
            path.as_ptr(),
            INSTALLFLAG_FORCE,
            &raw mut restart,
        )
    };
    if updated == 0 {
        let operation = format!("cannot install the driver from {}", inf.display());
        return Err(last_error(operation));
    }
    Ok(restart != 0)
}

/// Removes a device. Gives whether the system has to be restarted.
///
/// # Errors
///
/// Windows refuses.
pub fn remove_device(instance: &str) -> Result<bool, SystemError> {
    let (set, member) = find(instance)?;
    call_class_installer(DIF_REMOVE, &set, &member)
        .map_err(|()| last_error(format!("cannot remove {instance}")))?;
    Ok(needs_restart(&set, &member))
}

/// Removes a driver from the driver store, by the name that its INF got there.
///
/// # Errors
///
/// Windows refuses.
pub fn uninstall_inf(name: &str) -> Result<(), SystemError> {
    let text = wide(name);
    // SAFETY: the text ends with a zero.
    let removed = unsafe { SetupUninstallOEMInfW(text.as_ptr(), SUOI_FORCEDELETE, ptr::null()) };
    if removed == 0 {
        return Err(last_error(format!("cannot remove the driver {name}")));
    }
    Ok(())
}

/// A handle of the service manager.
struct Service(SC_HANDLE);

impl Drop for Service {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and this is its end.
        let _ = unsafe { CloseServiceHandle(self.0) };
    }
}

/// Stops and deletes a service. Gives whether there was one.
///
/// # Errors
///
/// Windows refuses.
pub fn delete_service(name: &str) -> Result<bool, SystemError> {
    let refused = || last_error(format!("cannot delete the service {name}"));
    // SAFETY: no pointer is given.
    let manager = unsafe { OpenSCManagerW(ptr::null(), ptr::null(), SC_MANAGER_CONNECT) };
    if manager.is_null() {
        return Err(refused());
    }
    let manager = Service(manager);
    let text = wide(name);
    // SAFETY: the manager is live, the text ends with a zero.
    let service = unsafe { OpenServiceW(manager.0, text.as_ptr(), SERVICE_STOP | DELETE) };
    if service.is_null() {
        let error = refused();
        let absent = error.code == ERROR_SERVICE_DOES_NOT_EXIST;
        return if absent { Ok(false) } else { Err(error) };
    }
    let service = Service(service);
    let mut status = SERVICE_STATUS::default();
    // Without a device the driver is unloaded already, and there is nothing to stop.
    // SAFETY: the service is live, `status` is ours.
    let _ = unsafe { ControlService(service.0, SERVICE_CONTROL_STOP, &raw mut status) };
    // SAFETY: the service is live and was opened for deletion.
    if unsafe { DeleteService(service.0) } == 0 {
        let error = refused();
        if error.code != ERROR_SERVICE_MARKED_FOR_DELETE {
            return Err(error);
        }
    }
    Ok(true)
}

/// Lets the class installer do something with a device.
pub(super) fn call_class_installer(
    function: DI_FUNCTION,
    set: &DeviceSet,
    member: &SP_DEVINFO_DATA,
) -> Result<(), ()> {
    // SAFETY: the member is one of the set.
    let done = unsafe { SetupDiCallClassInstaller(function, set.0, member) };
    if done == 0 { Err(()) } else { Ok(()) }
}

/// Whether what was done to a device takes effect only when the system is restarted.
pub(super) fn needs_restart(set: &DeviceSet, member: &SP_DEVINFO_DATA) -> bool {
    let mut parameters = SP_DEVINSTALL_PARAMS_W {
        cbSize: size::<SP_DEVINSTALL_PARAMS_W>(),
        ..SP_DEVINSTALL_PARAMS_W::default()
    };
    // SAFETY: the member is one of the set; the struct has its size in it.
    let read = unsafe { SetupDiGetDeviceInstallParamsW(set.0, member, &raw mut parameters) };
    read != 0 && parameters.Flags & (DI_NEEDREBOOT | DI_NEEDRESTART) != 0
}
