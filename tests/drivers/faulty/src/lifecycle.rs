//! Faults of the life cycle: the hooks by which the working driver leaves its path when it was told to.

use core::ptr;

use wdk_sys::{
    DEVICE_DESCRIPTION, DRIVER_OBJECT, GUID, HANDLE, NTSTATUS, PDEVICE_OBJECT, PIRP, PVOID,
    REGHANDLE, STATUS_NOT_SUPPORTED, STATUS_SUCCESS, STATUS_UNSUCCESSFUL,
    ntddk::{
        EtwRegister, ExAllocatePool2, IoDeleteDevice, IoDetachDevice, IoReleaseRemoveLockAndWaitEx,
        IoSetDeviceInterfaceState, KeEnterCriticalRegion, PsSetCreateProcessNotifyRoutine,
        PsSetCreateProcessNotifyRoutineEx,
    },
};

use crate::{
    device::{Extension, breaks, initialize_remove_lock, open_key},
    pnp::{own_start, release},
    pool,
    system::{APC, call, complete, copy_stack, raise_irql, set_completion, set_status, skip_stack},
};

const START: u8 = 0x00;
const CANCEL_REMOVE: u8 = 0x03;
const STOP: u8 = 0x04;
/// No minor function of any version of the system.
pub(crate) const UNKNOWN: u8 = 0x3F;

/// At the end of `AddDevice`.
pub(crate) fn device_added(extension: *mut Extension) {
    unsafe {
        match () {
            () if breaks(71) => drop(raise_irql(APC)),
            () if breaks(85) => KeEnterCriticalRegion(),
            () if breaks(254) => initialize_remove_lock(&raw mut (*extension).remove_lock),
            () if breaks(268) => drop(open_key((*extension).pdo)),
            () if breaks(257) => drop(register_events()),
            () if breaks(298) => drop(PsSetCreateProcessNotifyRoutine(Some(process_notify), 0)),
            () if breaks(299) => {
                let status = PsSetCreateProcessNotifyRoutineEx(Some(process_notify_ex), 0);
                if status >= 0 {
                    let _ = PsSetCreateProcessNotifyRoutineEx(Some(process_notify_ex), 1);
                }
            }
            () if breaks(16) => drop(pool::block(100)),
            () => {}
        }
    }
}

fn register_events() -> REGHANDLE {
    let id = GUID {
        Data1: 0x51,
        Data2: 0x6A,
        Data3: 0x4B,
        Data4: [1; 8],
    };
    let mut handle = 0;
    unsafe {
        let _ = EtwRegister(&raw const id, None, ptr::null_mut(), &raw mut handle);
    }
    handle
}

unsafe extern "C" fn process_notify(_: HANDLE, _: HANDLE, _: u8) {}

unsafe extern "C" fn process_notify_ex(
    _: wdk_sys::PEPROCESS,
    _: HANDLE,
    _: wdk_sys::PPS_CREATE_NOTIFY_INFO,
) {
}

/// What a `PnP` request gets when the driver was told to mishandle it; `None`: what it should get.
pub(crate) fn instead_of_pnp(extension: *mut Extension, irp: PIRP, minor: u8) -> Option<NTSTATUS> {
    let lower = unsafe { (*extension).lower };
    match minor {
        // Started before the bus has.
        START if breaks(286) => {
            let _ = own_start(extension);
            set_status(irp, STATUS_SUCCESS);
            skip_stack(irp);
            Some(call(lower, irp))
        }
        // Failed, and passed down all the same.
        START if breaks(213) => {
            set_status(irp, STATUS_UNSUCCESSFUL);
            skip_stack(irp);
            Some(call(lower, irp))
        }
        STOP | CANCEL_REMOVE if breaks(245) => Some(complete(irp, STATUS_UNSUCCESSFUL, 0)),
        // Completed by a driver that is not the last that has to see it.
        STOP if breaks(229) => Some(complete(irp, STATUS_SUCCESS, 0)),
        // Passed down, still there, and completed from here.
        STOP if breaks(281) => {
            set_status(irp, STATUS_SUCCESS);
            copy_stack(irp);
            set_completion(irp, crate::pnp::propagate, ptr::null_mut());
            let _ = call(lower, irp);
            Some(complete(irp, STATUS_SUCCESS, 0))
        }
        STOP if breaks(203) => {
            set_status(irp, STATUS_SUCCESS);
            copy_whole_stack(irp, false);
            Some(call(lower, irp))
        }
        STOP if breaks(218) => {
            set_status(irp, STATUS_SUCCESS);
            copy_stack(irp);
            Some(call(lower, irp))
        }
        STOP if breaks(226) => {
            set_status(irp, STATUS_SUCCESS);
            copy_stack(irp);
            set_completion(irp, pageable_completion, ptr::null_mut());
            Some(call(lower, irp))
        }
        STOP if breaks(93) => {
            set_status(irp, STATUS_SUCCESS);
            copy_stack(irp);
            set_completion(irp, raising_completion, ptr::null_mut());
            Some(call(lower, irp))
        }
        STOP if breaks(296) => {
            set_status(irp, STATUS_SUCCESS);
            skip_stack(irp);
            let status = call(lower, irp);
            unsafe {
                let lock = &raw mut (*extension).remove_lock;
                IoReleaseRemoveLockAndWaitEx(lock, irp.cast(), 32);
            }
            // The caller releases once more; that breach is of no interest here.
            Some(status)
        }
        STOP if breaks(295) => {
            // Given back before the request has gone down.
            release(extension, irp);
            set_status(irp, STATUS_SUCCESS);
            skip_stack(irp);
            let status = call(lower, irp);
            let _ = crate::pnp::acquire(extension, irp);
            Some(status)
        }
        UNKNOWN if breaks(211) => {
            set_status(irp, STATUS_SUCCESS);
            skip_stack(irp);
            Some(call(lower, irp))
        }
        UNKNOWN if breaks(204) => {
            copy_whole_stack(irp, true);
            Some(call(lower, irp))
        }
        UNKNOWN if breaks(212) => {
            unsafe { (*irp).IoStatus.Information = 0x1234 };
            skip_stack(irp);
            Some(call(lower, irp))
        }
        // What the bus has answered is turned into what only the system may say.
        STOP if breaks(214) => {
            set_status(irp, STATUS_SUCCESS);
            let _ = crate::pnp::pass_and_wait(extension, irp);
            Some(complete(irp, STATUS_NOT_SUPPORTED, 0))
        }
        _ => None,
    }
}

/// Copies a stack location as it must not be copied: with `Control`, or with the routine of the driver above.
fn copy_whole_stack(irp: PIRP, routine: bool) {
    use crate::system::{current_stack, next_stack};
    unsafe {
        if !routine {
            (*current_stack(irp)).Control |= 0x01;
        }
        next_stack(irp).write(*current_stack(irp));
    }
}

/// Lies in a section that can be paged out.
// SAFETY: the section of the image is an ordinary one.
#[unsafe(link_section = "PAGE")]
unsafe extern "C" fn pageable_completion(
    _: *mut wdk_sys::DEVICE_OBJECT,
    _: *mut wdk_sys::IRP,
    _: PVOID,
) -> NTSTATUS {
    STATUS_SUCCESS
}

unsafe extern "C" fn raising_completion(
    _: *mut wdk_sys::DEVICE_OBJECT,
    _: *mut wdk_sys::IRP,
    _: PVOID,
) -> NTSTATUS {
    raise_irql(crate::system::DISPATCH);
    STATUS_SUCCESS
}

/// Before a `PnP` request goes down.
pub(crate) fn before_pass_down(irp: PIRP, minor: u8) {
    // A request that succeeds has to say so before it goes down.
    if minor == STOP && breaks(215) {
        set_status(irp, STATUS_NOT_SUPPORTED);
    }
}

/// The status that the dispatch routine returns after a `PnP` request went down.
pub(crate) fn after_pass_down(minor: u8, status: NTSTATUS) -> NTSTATUS {
    if minor == STOP && breaks(280) {
        return STATUS_UNSUCCESSFUL;
    }
    status
}

/// At the end of START.
pub(crate) fn started(extension: *mut Extension) {
    unsafe {
        if breaks(301) {
            let _ = IoSetDeviceInterfaceState(&raw mut (*extension).interface, 1);
        }
    }
}

/// The description for the adapter, and the highest version to ask for.
pub(crate) fn description(mut description: DEVICE_DESCRIPTION) -> (DEVICE_DESCRIPTION, u32) {
    if breaks(175) {
        return (description, 7);
    }
    if breaks(177) {
        description.DmaAddressWidth = 0;
        description.Reserved1 = 1;
    }
    (description, 3)
}

/// Whose adapter is asked for.
pub(crate) fn device_for_adapter(extension: *mut Extension) -> PDEVICE_OBJECT {
    unsafe {
        if breaks(178) {
            (*extension).this
        } else {
            (*extension).pdo
        }
    }
}

/// At the end of a surprise removal.
pub(crate) fn surprise_removed(extension: *mut Extension) {
    unsafe {
        if breaks(240) {
            IoDetachDevice((*extension).lower);
        }
        if breaks(275) {
            IoDeleteDevice((*extension).this);
        }
    }
}

pub(crate) fn leaks_adapter() -> bool {
    breaks(132) || breaks(179)
}

pub(crate) fn fails_remove() -> bool {
    breaks(249)
}

/// Before REMOVE goes down.
pub(crate) fn removing(lower: PDEVICE_OBJECT) {
    if breaks(274) {
        unsafe { IoDetachDevice(lower) };
    }
}

pub(crate) fn frees_name() -> bool {
    !breaks(14)
}

pub(crate) fn detaches() -> bool {
    !breaks(198) && !breaks(219) && !breaks(274)
}

pub(crate) fn deletes() -> bool {
    !breaks(219) && !breaks(220)
}

/// Between detaching and deleting.
pub(crate) fn removed(this: PDEVICE_OBJECT, lower: PDEVICE_OBJECT) {
    unsafe {
        if breaks(199) {
            IoDetachDevice(lower);
        }
        if breaks(239) {
            IoDeleteDevice(this);
        }
    }
}

pub(crate) unsafe extern "C" fn unload(_: *mut DRIVER_OBJECT) {
    if breaks(15) {
        unsafe {
            let block = ExAllocatePool2(0x40, 64, crate::system::TAG);
            wdk_sys::ntddk::ExFreePool(block);
        }
    }
}
