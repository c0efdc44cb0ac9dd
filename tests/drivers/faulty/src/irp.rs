//! Requests, those that the driver gets and those that it makes: rules V183 to V252, V294.

use core::{arch::asm, ptr};

use wdk_sys::{
    DEVICE_OBJECT, IO_STACK_LOCATION, IRP, IRP_MJ_DEVICE_CONTROL, IRP_MJ_PNP, NTSTATUS, PIRP,
    PVOID, STATUS_MORE_PROCESSING_REQUIRED, STATUS_NOT_SUPPORTED, STATUS_PENDING, STATUS_SUCCESS,
    STATUS_UNSUCCESSFUL, ULONG,
    ntddk::{IoAllocateIrp, IoFreeIrp, IoReuseIrp, IofCompleteRequest, KeBugCheckEx},
};

use crate::{
    control::{Answer, Fault, OK, Request},
    lifecycle, pnp, pool,
    system::{
        DEVICE, at_irql, call, complete, copy_stack, mark_pending, next_stack, set_cancel_routine,
        set_completion, set_status, skip_stack,
    },
};

pub(crate) const FAULTS: &[Fault] = &[
    (183, free_of_what_is_no_irp),
    (184, freed_by_who_did_not_make_it),
    (185, call_with_what_is_no_irp),
    (186, call_of_what_is_no_device),
    (188, completed_as_pending),
    (189, completed_with_a_cancel_routine),
    (195, call_above_dispatch),
    (196, completed_twice),
    (197, touched_after_completion),
    (200, passed_with_a_cancel_routine),
    (201, call_of_no_device),
    (204, sent_to_itself),
    (205, no_stack_location_left),
    (206, freed_while_in_use),
    (208, pnp_request_with_a_status),
    (209, sent_past_the_device_below),
    (224, returned_another_status),
    (225, dropped),
    (227, pending_not_passed_on),
    (231, capabilities_not_initialised),
    (232, request_of_the_system),
    (233, completed_without_being_sent),
    (236, pending_without_mark),
    (237, mark_without_pending),
    (251, reused_while_in_use),
    (252, more_output_than_buffer),
    (259, user_address_in_a_kernel_request),
    (288, completion_routine_of_a_request_not_sent),
    (294, remove_lock_held_at_return),
    (301, break_point),
];

const QUERY_CAPABILITIES: u8 = 0x09;
const QUERY_PNP_DEVICE_STATE: u8 = 0x14;
const START: u8 = 0x00;

unsafe extern "C" fn keep(_: *mut DEVICE_OBJECT, _: *mut IRP, _: PVOID) -> NTSTATUS {
    STATUS_MORE_PROCESSING_REQUIRED
}

/// A request of our own for the device below.
fn own_request(request: &Request) -> PIRP {
    unsafe {
        let size = (*(*request.extension).lower).StackSize;
        IoAllocateIrp(size, 0)
    }
}

/// Makes it a `PnP` request that fails unless somebody answers.
fn as_pnp(irp: PIRP, minor: u8) {
    unsafe {
        let next: *mut IO_STACK_LOCATION = next_stack(irp);
        (*next).MajorFunction = IRP_MJ_PNP as u8;
        (*next).MinorFunction = minor;
    }
    set_status(irp, STATUS_NOT_SUPPORTED);
    set_completion(irp, keep, ptr::null_mut());
}

/// A request of our own to the bus, and one that is passed on and waited for.
pub(crate) fn work(request: &Request) -> Answer {
    let irp = own_request(request);
    as_pnp(irp, QUERY_PNP_DEVICE_STATE);
    unsafe {
        let _ = call((*request.extension).lower, irp);
        IoReuseIrp(irp, STATUS_NOT_SUPPORTED);
        as_pnp(irp, QUERY_PNP_DEVICE_STATE);
        let _ = call((*request.extension).lower, irp);
        IoFreeIrp(irp);
    }
    OK
}

/// Passes the request down, waits, and completes it with what the bus said.
pub(crate) fn wait_for_lower(request: &Request) -> Answer {
    let _ = pnp::pass_and_wait(request.extension, request.irp);
    OK
}

pub(crate) fn bug_check(_: &Request) -> Answer {
    unsafe { KeBugCheckEx(0xE2, 1, 2, 3, 4) }
}

pub(crate) fn raise(_: &Request) -> Answer {
    unsafe { asm!("ud2", options(noreturn)) }
}

fn free_of_what_is_no_irp(_: &Request) -> Answer {
    let block = pool::block(512);
    unsafe { IoFreeIrp(block.cast()) };
    pool::free(block);
    OK
}

fn call_with_what_is_no_irp(request: &Request) -> Answer {
    let irp = own_request(request);
    as_pnp(irp, QUERY_PNP_DEVICE_STATE);
    unsafe {
        (*irp).Type = 7;
        let _ = call((*request.extension).lower, irp);
        (*irp).Type = 6;
        IoFreeIrp(irp);
    }
    OK
}

fn call_of_what_is_no_device(request: &Request) -> Answer {
    let irp = own_request(request);
    as_pnp(irp, QUERY_PNP_DEVICE_STATE);
    let block = pool::block(512);
    let _ = call(block.cast(), irp);
    pool::free(block);
    unsafe { IoFreeIrp(irp) };
    OK
}

fn completed_as_pending(request: &Request) -> Answer {
    Answer::Done(complete(request.irp, STATUS_PENDING, 0))
}

unsafe extern "C" fn never(_: *mut DEVICE_OBJECT, _: *mut IRP) {}

fn completed_with_a_cancel_routine(request: &Request) -> Answer {
    set_cancel_routine(request.irp, Some(never));
    OK
}

fn call_above_dispatch(request: &Request) -> Answer {
    let irp = own_request(request);
    as_pnp(irp, QUERY_PNP_DEVICE_STATE);
    unsafe {
        let lower = (*request.extension).lower;
        let _ = at_irql(DEVICE, || call(lower, irp));
        IoFreeIrp(irp);
    }
    OK
}

fn completed_twice(request: &Request) -> Answer {
    let status = complete(request.irp, STATUS_SUCCESS, 0);
    unsafe { IofCompleteRequest(request.irp, 0) };
    Answer::Done(status)
}

fn touched_after_completion(request: &Request) -> Answer {
    let status = complete(request.irp, STATUS_SUCCESS, 0);
    let field = unsafe { &raw const (*request.irp).Flags };
    let _ = unsafe { field.read_volatile() };
    Answer::Done(status)
}

fn passed_with_a_cancel_routine(request: &Request) -> Answer {
    set_cancel_routine(request.irp, Some(never));
    skip_stack(request.irp);
    Answer::Done(call(unsafe { (*request.extension).lower }, request.irp))
}

fn call_of_no_device(request: &Request) -> Answer {
    let irp = own_request(request);
    as_pnp(irp, QUERY_PNP_DEVICE_STATE);
    let _ = call(ptr::null_mut(), irp);
    unsafe { IoFreeIrp(irp) };
    OK
}

/// A request of our own to our own device, with a location of ours above it: told to, the device copies all of it.
fn sent_to_itself(request: &Request) -> Answer {
    unsafe {
        let this = (*request.extension).this;
        let irp = IoAllocateIrp((*this).StackSize + 1, 0);
        // The location that is ours: `IoSetNextIrpStackLocation`.
        (*irp).CurrentLocation -= 1;
        let own = next_stack(irp);
        (*irp)
            .Tail
            .Overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation = own;
        (*own).DeviceObject = this;
        as_pnp(irp, lifecycle::UNKNOWN);
        let _ = call(this, irp);
        IoFreeIrp(irp);
    }
    OK
}

fn no_stack_location_left(request: &Request) -> Answer {
    let irp = own_request(request);
    as_pnp(irp, QUERY_PNP_DEVICE_STATE);
    unsafe {
        // All of them used up, as by a driver that copies where it should skip.
        (*irp).CurrentLocation = 0;
        let _ = call((*request.extension).lower, irp);
        IoFreeIrp(irp);
    }
    OK
}

fn freed_by_who_did_not_make_it(request: &Request) -> Answer {
    unsafe { IoFreeIrp(request.irp) };
    OK
}

/// The device below has not answered yet; it has to answer later for this to break the rule.
fn freed_while_in_use(request: &Request) -> Answer {
    let irp = own_request(request);
    as_pnp(irp, QUERY_PNP_DEVICE_STATE);
    unsafe {
        let _ = call((*request.extension).lower, irp);
        IoFreeIrp(irp);
    }
    OK
}

fn send_pnp(request: &Request, minor: u8, status: NTSTATUS) -> Answer {
    let irp = own_request(request);
    as_pnp(irp, minor);
    set_status(irp, status);
    unsafe {
        let _ = call((*request.extension).lower, irp);
        IoFreeIrp(irp);
    }
    OK
}

fn pnp_request_with_a_status(request: &Request) -> Answer {
    send_pnp(request, QUERY_PNP_DEVICE_STATE, STATUS_SUCCESS)
}

fn request_of_the_system(request: &Request) -> Answer {
    send_pnp(request, START, STATUS_NOT_SUPPORTED)
}

fn returned_another_status(request: &Request) -> Answer {
    let _ = complete(request.irp, STATUS_SUCCESS, 0);
    Answer::Done(STATUS_UNSUCCESSFUL)
}

fn dropped(_: &Request) -> Answer {
    Answer::Done(STATUS_SUCCESS)
}

unsafe extern "C" fn forgets_pending(_: *mut DEVICE_OBJECT, _: *mut IRP, _: PVOID) -> NTSTATUS {
    STATUS_SUCCESS
}

/// The device below answers later, and the completion routine does not tell the caller.
fn pending_not_passed_on(request: &Request) -> Answer {
    copy_stack(request.irp);
    set_completion(request.irp, forgets_pending, ptr::null_mut());
    Answer::Done(call(unsafe { (*request.extension).lower }, request.irp))
}

/// `DEVICE_CAPABILITIES`: size, version, flags, address, user number and so on.
#[repr(C)]
struct Capabilities([u32; 16]);

fn capabilities_not_initialised(request: &Request) -> Answer {
    let mut capabilities = Capabilities([0; 16]);
    let irp = own_request(request);
    as_pnp(irp, QUERY_CAPABILITIES);
    unsafe {
        let next = next_stack(irp);
        (*next).Parameters.DeviceCapabilities.Capabilities = (&raw mut capabilities).cast();
        let _ = call((*request.extension).lower, irp);
        IoFreeIrp(irp);
    }
    OK
}

fn completed_without_being_sent(request: &Request) -> Answer {
    let irp = own_request(request);
    set_status(irp, STATUS_SUCCESS);
    unsafe {
        IofCompleteRequest(irp, 0);
        IoFreeIrp(irp);
    }
    OK
}

fn pending_without_mark(request: &Request) -> Answer {
    let _ = complete(request.irp, STATUS_SUCCESS, 0);
    Answer::Done(STATUS_PENDING)
}

fn mark_without_pending(request: &Request) -> Answer {
    mark_pending(request.irp);
    OK
}

fn reused_while_in_use(request: &Request) -> Answer {
    unsafe { IoReuseIrp(request.irp, STATUS_SUCCESS) };
    OK
}

fn more_output_than_buffer(request: &Request) -> Answer {
    Answer::Bytes(request.output_length + 1)
}

fn user_address_in_a_kernel_request(request: &Request) -> Answer {
    let irp = own_request(request);
    unsafe {
        let next = next_stack(irp);
        (*next).MajorFunction = IRP_MJ_DEVICE_CONTROL as u8;
        let control = &raw mut (*next).Parameters.DeviceIoControl;
        (*control).InputBufferLength = 64 as ULONG;
        (*control).Type3InputBuffer = request.value as PVOID;
        // METHOD_NEITHER, so that the address goes down as it is.
        (*control).IoControlCode = 0x8000_2003;
        (*irp).UserBuffer = request.value as PVOID;
        (*irp).RequestorMode = 0;
        set_completion(irp, keep, ptr::null_mut());
        let _ = call((*request.extension).lower, irp);
        IoFreeIrp(irp);
    }
    OK
}

fn remove_lock_held_at_return(_: &Request) -> Answer {
    OK
}

/// To the own device once more, in place of the one below.
fn sent_past_the_device_below(request: &Request) -> Answer {
    const NOTHING: ULONG = 0x8001_0000 | 0xC00 << 2;
    copy_stack(request.irp);
    set_completion(request.irp, pnp::propagate, ptr::null_mut());
    unsafe {
        let control = &raw mut (*next_stack(request.irp)).Parameters.DeviceIoControl;
        (*control).IoControlCode = NOTHING;
        Answer::Done(call((*request.extension).this, request.irp))
    }
}

fn completion_routine_of_a_request_not_sent(request: &Request) -> Answer {
    copy_stack(request.irp);
    set_completion(request.irp, pnp::propagate, ptr::null_mut());
    OK
}

fn break_point(_: &Request) -> Answer {
    unsafe { asm!("int3") };
    OK
}
