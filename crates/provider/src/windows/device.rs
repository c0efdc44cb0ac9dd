//! The devices that sanproxy drives: where they are and how they do.

#![expect(unsafe_code, reason = "the configuration manager takes pointers")]

use sanproxy_abi::INTERFACE_CLASS;
use windows_sys::Win32::Devices::DeviceAndDriverInstallation::{
    CM_Get_DevNode_Status, CR_SUCCESS, DICS_FLAG_GLOBAL, DICS_PROPCHANGE, DIF_PROPERTYCHANGE,
    DN_HAS_PROBLEM, DN_STARTED, SP_CLASSINSTALL_HEADER, SP_DEVINFO_DATA, SP_PROPCHANGE_PARAMS,
    SPDRP_HARDWAREID, SPDRP_SERVICE, SetupDiSetClassInstallParamsW,
};
use windows_sys::core::GUID;

use super::device_set::DeviceSet;
use super::installation::{call_class_installer, needs_restart};
use super::{error_of, last_error, settings, size};
use crate::SystemError;

/// The interface class as Win32 has it.
const CLASS: GUID = GUID {
    data1: INTERFACE_CLASS.data1,
    data2: INTERFACE_CLASS.data2,
    data3: INTERFACE_CLASS.data3,
    data4: INTERFACE_CLASS.data4,
};

/// `ERROR_NO_SUCH_DEVINST`.
const NO_SUCH_DEVICE: u32 = 0xE000_020B;

/// A device that the system knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The identifier under which the system knows it, e.g. `ROOT\SANPROXY\0000`.
    pub instance: String,
    /// Whether its driver runs.
    pub started: bool,
    /// What is wrong with it: a number of the device manager (`CM_PROB_...`).
    pub problem: Option<u32>,
    /// The INF that its driver came from, e.g. `oem12.inf`.
    pub inf: Option<String>,
}

/// The paths by which the started devices can be opened.
///
/// # Errors
///
/// Windows cannot list them.
pub fn interface_paths() -> Result<Vec<String>, SystemError> {
    let set = DeviceSet::with_interface(&CLASS)?;
    Ok(set.paths(&CLASS).filter(|path| !path.is_empty()).collect())
}

/// The devices with this hardware identifier or this service.
///
/// # Errors
///
/// Windows cannot list them.
pub fn devices(hardware_id: &str, service: &str) -> Result<Vec<Device>, SystemError> {
    let set = DeviceSet::all()?;
    let ours = set.members().filter(|member| {
        let has = |property, wanted: &str| {
            let texts = set.texts(member, property);
            texts.iter().any(|text| text.eq_ignore_ascii_case(wanted))
        };
        has(SPDRP_HARDWAREID, hardware_id) || has(SPDRP_SERVICE, service)
    });
    // A device that offers its interface runs, also where the device tree does not say so.
    let offering = DeviceSet::with_interface(&CLASS)?;
    let offering: Vec<String> = offering
        .members()
        .filter_map(|member| offering.instance(&member))
        .collect();
    let offers = |instance: &String| {
        let mut names = offering.iter();
        names.any(|name| name.eq_ignore_ascii_case(instance))
    };
    Ok(ours
        .filter_map(|member| {
            let (started, problem) = status(&member);
            let started = started || set.instance(&member).as_ref().is_some_and(offers);
            Some(Device {
                instance: set.instance(&member)?,
                started,
                problem,
                inf: settings::inf_of(&set, &member),
            })
        })
        .collect())
}

/// Whether a device runs, and what is wrong with it; a device that is not present does not run.
fn status(member: &SP_DEVINFO_DATA) -> (bool, Option<u32>) {
    let (mut flags, mut problem) = (0, 0);
    // SAFETY: both places are ours.
    let result =
        unsafe { CM_Get_DevNode_Status(&raw mut flags, &raw mut problem, member.DevInst, 0) };
    if result != CR_SUCCESS {
        return (false, None);
    }
    let has_problem = flags & DN_HAS_PROBLEM != 0;
    (flags & DN_STARTED != 0, has_problem.then_some(problem))
}

/// Finds a device by its identifier.
pub(super) fn find(instance: &str) -> Result<(DeviceSet, SP_DEVINFO_DATA), SystemError> {
    let set = DeviceSet::all()?;
    let found = set.members().find(|member| {
        let name = set.instance(member);
        name.is_some_and(|name| name.eq_ignore_ascii_case(instance))
    });
    match found {
        Some(member) => Ok((set, member)),
        None => Err(error_of(
            format!("cannot find the device {instance}"),
            NO_SUCH_DEVICE,
        )),
    }
}

/// Stops a device and starts it again, so that it takes new settings. Gives whether the system has
/// to be restarted instead.
///
/// # Errors
///
/// Windows refuses.
pub fn restart(instance: &str) -> Result<bool, SystemError> {
    let (set, member) = find(instance)?;
    let change = SP_PROPCHANGE_PARAMS {
        ClassInstallHeader: SP_CLASSINSTALL_HEADER {
            cbSize: size::<SP_CLASSINSTALL_HEADER>(),
            InstallFunction: DIF_PROPERTYCHANGE,
        },
        StateChange: DICS_PROPCHANGE,
        Scope: DICS_FLAG_GLOBAL,
        HwProfile: 0,
    };
    // SAFETY: the struct begins with the header that the function wants, and has the size given.
    let set_up = unsafe {
        SetupDiSetClassInstallParamsW(
            set.0,
            &raw const member,
            (&raw const change).cast(),
            size::<SP_PROPCHANGE_PARAMS>(),
        )
    };
    if set_up == 0 {
        return Err(last_error(format!("cannot restart {instance}")));
    }
    call_class_installer(DIF_PROPERTYCHANGE, &set, &member)
        .map_err(|()| last_error(format!("cannot restart {instance}")))?;
    Ok(needs_restart(&set, &member))
}
