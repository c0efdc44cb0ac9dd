//! Plug and play, power, system control: the driver that works, with the places where a fault makes it leave its path.

use core::{mem::size_of, ptr};

use wdk_sys::{
    DEVICE_DESCRIPTION, DEVICE_DESCRIPTION_VERSION3, DEVICE_OBJECT, IO_REMOVE_LOCK, IRP, KEVENT,
    NTSTATUS, PIRP, PVOID, STATUS_MORE_PROCESSING_REQUIRED, STATUS_PENDING, STATUS_SUCCESS,
    STATUS_UNSUCCESSFUL, ULONG,
    ntddk::{
        IoAcquireRemoveLockEx, IoDeleteDevice, IoDetachDevice, IoGetDmaAdapter,
        IoReleaseRemoveLockAndWaitEx, IoReleaseRemoveLockEx, IoSetDeviceInterfaceState,
        KeInitializeEvent, KeSetEvent, KeWaitForSingleObject, RtlFreeUnicodeString,
    },
};

use crate::{
    device::{Extension, breaks, extension},
    lifecycle,
    system::{
        call, complete, copy_stack, current_stack, mark_pending, operation, set_completion,
        set_status, skip_stack, status_of,
    },
};

const START: u8 = 0x00;
const QUERY_REMOVE: u8 = 0x01;
const REMOVE: u8 = 0x02;
const CANCEL_REMOVE: u8 = 0x03;
const STOP: u8 = 0x04;
const QUERY_STOP: u8 = 0x05;
const CANCEL_STOP: u8 = 0x06;
const SURPRISE: u8 = 0x17;

/// Takes the remove lock for a request.
pub(crate) fn acquire(extension: *mut Extension, irp: PIRP) -> NTSTATUS {
    let size = size_of::<IO_REMOVE_LOCK>() as ULONG;
    unsafe {
        let lock = &raw mut (*extension).remove_lock;
        IoAcquireRemoveLockEx(lock, irp.cast(), c"".as_ptr(), 0, size)
    }
}

/// Gives the remove lock back.
pub(crate) fn release(extension: *mut Extension, irp: PIRP) {
    let size = size_of::<IO_REMOVE_LOCK>() as ULONG;
    unsafe { IoReleaseRemoveLockEx(&raw mut (*extension).remove_lock, irp.cast(), size) };
}

pub(crate) unsafe extern "C" fn pnp(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    let extension = extension(device);
    let status = acquire(extension, irp);
    if status != STATUS_SUCCESS {
        return complete(irp, status, 0);
    }
    let minor = unsafe { (*current_stack(irp)).MinorFunction };
    if minor == STOP && !breaks(179) {
        put_adapter(extension);
    }
    if let Some(status) = lifecycle::instead_of_pnp(extension, irp, minor) {
        release(extension, irp);
        return status;
    }
    match minor {
        START => {
            let status = start(extension, irp);
            release(extension, irp);
            return status;
        }
        REMOVE => return remove(extension, irp),
        SURPRISE => {
            disable_interface(extension);
            put_adapter(extension);
            lifecycle::surprise_removed(extension);
            set_status(irp, STATUS_SUCCESS);
        }
        QUERY_REMOVE | CANCEL_REMOVE | QUERY_STOP | CANCEL_STOP | STOP => {
            set_status(irp, STATUS_SUCCESS);
        }
        _ => {}
    }
    lifecycle::before_pass_down(irp, minor);
    skip_stack(irp);
    let status = call(unsafe { (*extension).lower }, irp);
    release(extension, irp);
    lifecycle::after_pass_down(minor, status)
}

fn start(extension: *mut Extension, irp: PIRP) -> NTSTATUS {
    let mut status = pass_and_wait(extension, irp);
    if status >= 0 {
        status = own_start(extension);
    }
    complete(irp, status, 0)
}

/// What START does once the bus has started.
pub(crate) fn own_start(extension: *mut Extension) -> NTSTATUS {
    unsafe {
        if (*extension).adapter.is_null() {
            (*extension).adapter = get_adapter(extension);
        }
        if !(*extension).interface_enabled && !(*extension).interface.Buffer.is_null() {
            let status = IoSetDeviceInterfaceState(&raw mut (*extension).interface, 1);
            if status < 0 {
                put_adapter(extension);
                return status;
            }
            (*extension).interface_enabled = true;
        }
    }
    lifecycle::started(extension);
    STATUS_SUCCESS
}

/// A description of a bus master of 32 bits; DMA is done without where there is no adapter.
pub(crate) fn description() -> DEVICE_DESCRIPTION {
    DEVICE_DESCRIPTION {
        Version: DEVICE_DESCRIPTION_VERSION3,
        Master: 1,
        ScatterGather: 1,
        Dma32BitAddresses: 1,
        InterfaceType: -1_i32 as _,
        MaximumLength: 16 << 20,
        DmaAddressWidth: 32,
        ..DEVICE_DESCRIPTION::default()
    }
}

fn get_adapter(extension: *mut Extension) -> wdk_sys::PDMA_ADAPTER {
    let (mut description, first) = lifecycle::description(description());
    for version in (1..=first).rev() {
        description.Version = version;
        unsafe {
            let device = lifecycle::device_for_adapter(extension);
            let registers = &raw mut (*extension).map_registers;
            let adapter = IoGetDmaAdapter(device, &raw mut description, registers);
            if !adapter.is_null() {
                return adapter;
            }
        }
    }
    ptr::null_mut()
}

pub(crate) fn put_adapter(extension: *mut Extension) {
    unsafe {
        let adapter = (*extension).adapter;
        if !adapter.is_null() {
            (*extension).adapter = ptr::null_mut();
            operation!(adapter, PutDmaAdapter)(adapter);
        }
    }
}

pub(crate) fn disable_interface(extension: *mut Extension) {
    unsafe {
        if (*extension).interface_enabled && !breaks(297) {
            (*extension).interface_enabled = false;
            let _ = IoSetDeviceInterfaceState(&raw mut (*extension).interface, 0);
        }
    }
}

fn remove(extension: *mut Extension, irp: PIRP) -> NTSTATUS {
    unsafe {
        disable_interface(extension);
        if !lifecycle::leaks_adapter() {
            put_adapter(extension);
        }
        set_status(irp, STATUS_SUCCESS);
        let lower = (*extension).lower;
        lifecycle::removing(lower);
        let status = if lifecycle::fails_remove() {
            let _ = pass_and_wait(extension, irp);
            complete(irp, STATUS_UNSUCCESSFUL, 0)
        } else {
            skip_stack(irp);
            call(lower, irp)
        };
        let size = size_of::<IO_REMOVE_LOCK>() as ULONG;
        let tag = irp.cast();
        IoReleaseRemoveLockAndWaitEx(&raw mut (*extension).remove_lock, tag, size);
        if lifecycle::frees_name() {
            RtlFreeUnicodeString(&raw mut (*extension).interface);
        }
        let this = (*extension).this;
        if lifecycle::detaches() {
            IoDetachDevice(lower);
        }
        lifecycle::removed(this, lower);
        if lifecycle::deletes() {
            IoDeleteDevice(this);
        }
        status
    }
}

/// Sends a request on and waits until the drivers below are done with it.
pub(crate) fn pass_and_wait(extension: *mut Extension, irp: PIRP) -> NTSTATUS {
    let mut event = KEVENT::default();
    unsafe {
        KeInitializeEvent(&raw mut event, 0, 0);
        copy_stack(irp);
        set_completion(irp, signal, (&raw mut event).cast());
        let status = call((*extension).lower, irp);
        if status != STATUS_PENDING {
            return status;
        }
        let object = (&raw mut event).cast();
        let _ = KeWaitForSingleObject(object, 0, 0, 0, ptr::null_mut());
    }
    status_of(irp)
}

unsafe extern "C" fn signal(_: *mut DEVICE_OBJECT, irp: *mut IRP, event: PVOID) -> NTSTATUS {
    unsafe {
        if (*irp).PendingReturned != 0 {
            KeSetEvent(event.cast(), 0, 0);
        }
    }
    STATUS_MORE_PROCESSING_REQUIRED
}

pub(crate) unsafe extern "C" fn power(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    let outcome = if breaks(291) {
        Some(STATUS_UNSUCCESSFUL)
    } else {
        breaks(230).then_some(STATUS_SUCCESS)
    };
    pass(device, irp, outcome)
}

pub(crate) unsafe extern "C" fn system_control(
    device: *mut DEVICE_OBJECT,
    irp: *mut IRP,
) -> NTSTATUS {
    pass(device, irp, breaks(222).then_some(STATUS_SUCCESS))
}

fn pass(device: *mut DEVICE_OBJECT, irp: PIRP, outcome: Option<NTSTATUS>) -> NTSTATUS {
    let extension = extension(device);
    let mut status = acquire(extension, irp);
    if status != STATUS_SUCCESS {
        return complete(irp, status, 0);
    }
    if let Some(outcome) = outcome {
        status = complete(irp, outcome, 0);
    } else {
        skip_stack(irp);
        status = call(unsafe { (*extension).lower }, irp);
    }
    release(extension, irp);
    status
}

/// A completion routine that passes on what a driver above has to know.
pub(crate) unsafe extern "C" fn propagate(
    _: *mut DEVICE_OBJECT,
    irp: *mut IRP,
    _: PVOID,
) -> NTSTATUS {
    if unsafe { (*irp).PendingReturned } != 0 {
        mark_pending(irp);
    }
    STATUS_SUCCESS
}
