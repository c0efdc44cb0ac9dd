//! Open, close, and the requests by which faults are asked for.

use core::ptr;

use wdk_sys::{
    DEVICE_OBJECT, IO_STACK_LOCATION, IRP, NTSTATUS, PIRP, STATUS_CANCELLED,
    STATUS_NOT_IMPLEMENTED, STATUS_PENDING, STATUS_SUCCESS,
    ntddk::{IoReleaseCancelSpinLock, KeAcquireSpinLockRaiseToDpc, KeReleaseSpinLock},
};

use crate::{
    contiguous, crash,
    device::{Extension, breaks, extension},
    dma, dma_ex, dma_map, irp, irql, locked, locks, mdl, object, pnp, pool,
    system::{complete, current_stack, mark_pending, set_cancel_routine},
    user, work_item,
};

/// What a fault is given.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) extension: *mut Extension,
    pub(crate) irp: PIRP,
    /// Of several ways to break the rule, this one.
    pub(crate) variant: u32,
    /// Further input: an address or a handle of the caller.
    pub(crate) value: usize,
    pub(crate) output_length: usize,
}

/// What remains to be done with the request.
pub(crate) enum Answer {
    /// To be completed with this status.
    Status(NTSTATUS),
    /// To be completed with so many bytes of output.
    Bytes(usize),
    /// Nothing: the request is dealt with, and this is what the dispatch routine returns.
    Done(NTSTATUS),
}

/// A rule, and what breaks it.
pub(crate) type Fault = (u32, fn(&Request) -> Answer);

/// The fault succeeded as a request: whatever is wrong with it is for the judge to see.
pub(crate) const OK: Answer = Answer::Status(STATUS_SUCCESS);

impl Request {
    /// The buffer that a buffered request has for input and output.
    pub(crate) fn buffer(&self) -> *mut u8 {
        unsafe { (*self.irp).AssociatedIrp.SystemBuffer.cast() }
    }

    /// Answers with one value.
    pub(crate) fn answer(&self, value: usize) -> Answer {
        if self.output_length < 8 {
            return Answer::Bytes(0);
        }
        unsafe { self.buffer().cast::<usize>().write(value) };
        Answer::Bytes(8)
    }
}

pub(crate) unsafe extern "C" fn create_or_close(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    complete(irp, STATUS_SUCCESS, 0)
}

/// The last handle is closed: what waits will not be fetched any more.
pub(crate) unsafe extern "C" fn cleanup(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    let extension = extension(device);
    if let Some(waiting) = take_pending(extension, ptr::null_mut()) {
        complete(waiting, STATUS_CANCELLED, 0);
        pnp::release(extension, waiting);
    }
    complete(irp, STATUS_SUCCESS, 0)
}

const METHOD_NEITHER: u32 = 3;

pub(crate) unsafe extern "C" fn device_control(
    device: *mut DEVICE_OBJECT,
    irp: *mut IRP,
) -> NTSTATUS {
    let extension = extension(device);
    let status = pnp::acquire(extension, irp);
    if status != STATUS_SUCCESS {
        return complete(irp, status, 0);
    }
    let (function, request) = parse(extension, irp);
    let status = match run(function, &request) {
        Answer::Status(status) => complete(irp, status, 0),
        Answer::Bytes(bytes) => complete(irp, STATUS_SUCCESS, bytes),
        Answer::Done(STATUS_PENDING) if function == WAIT => return STATUS_PENDING,
        Answer::Done(status) => status,
    };
    if function != 0x800 + 294 {
        pnp::release(extension, irp);
    }
    status
}

fn parse(extension: *mut Extension, irp: PIRP) -> (u32, Request) {
    let stack: *mut IO_STACK_LOCATION = current_stack(irp);
    unsafe {
        let parameters = (*stack).Parameters.DeviceIoControl;
        let (code, length) = (parameters.IoControlCode, parameters.InputBufferLength);
        let mut request = Request {
            extension,
            irp,
            variant: 0,
            value: 0,
            output_length: parameters.OutputBufferLength as usize,
        };
        let input = if code & 3 == METHOD_NEITHER {
            ptr::null_mut()
        } else {
            request.buffer()
        };
        if length >= 4 && !input.is_null() {
            request.variant = input.cast::<u32>().read_unaligned();
        }
        if length >= 16 && !input.is_null() {
            request.value = input.add(8).cast::<usize>().read_unaligned();
        }
        ((code >> 2) & 0xFFF, request)
    }
}

/// Waits until it is cancelled.
const WAIT: u32 = 0xC20;

/// The requests without a fault.
const WORK: &[Fault] = &[
    (0xC00, |_| OK),
    (0xC01, pool::work),
    (0xC02, irql::work),
    (0xC03, locks::work),
    (0xC04, mdl::work),
    (0xC05, dma::work),
    (0xC06, irp::work),
    (0xC07, object::work),
    (0xC08, work_item::work),
    (0xC10, user::lock_guarded),
    (0xC11, user::map_to_user),
    (0xC12, user::unmap_from_user),
    (0xC13, dma::buffer_address),
    (0xC14, dma::free_buffer),
    (0xC15, irp::wait_for_lower),
    (0xC16, dma_map::mapped_page),
    (0xC17, dma_map::waiting_channel),
    (WAIT, wait),
    (0xC30, irp::bug_check),
    (0xC31, irp::raise),
];

fn run(function: u32, request: &Request) -> Answer {
    let groups = [
        pool::FAULTS,
        irql::FAULTS,
        locked::FAULTS,
        locks::FAULTS,
        mdl::FAULTS,
        contiguous::FAULTS,
        user::FAULTS,
        dma::FAULTS,
        dma_ex::FAULTS,
        dma_map::FAULTS,
        irp::FAULTS,
        object::FAULTS,
        crash::FAULTS,
        work_item::FAULTS,
    ];
    let mut faults = groups.into_iter().flatten();
    let of_rule = |fault: &&Fault| fault.0 + 0x800 == function;
    faults
        .find(of_rule)
        .or_else(|| WORK.iter().find(|work| work.0 == function))
        .map_or(Answer::Status(STATUS_NOT_IMPLEMENTED), |fault| {
            fault.1(request)
        })
}

/// Keeps the request until it is cancelled or its file is closed.
fn wait(request: &Request) -> Answer {
    unsafe {
        let lock = &raw mut (*request.extension).pending_lock;
        let irql = KeAcquireSpinLockRaiseToDpc(lock);
        if !(*request.extension).pending.is_null() {
            KeReleaseSpinLock(lock, irql);
            return Answer::Status(STATUS_NOT_IMPLEMENTED);
        }
        mark_pending(request.irp);
        (*request.extension).pending = request.irp;
        set_cancel_routine(request.irp, Some(cancel));
        // Cancelled before it had a routine: nobody else will complete it.
        let too_late = (*request.irp).Cancel != 0 && set_cancel_routine(request.irp, None);
        if too_late {
            (*request.extension).pending = ptr::null_mut();
        }
        KeReleaseSpinLock(lock, irql);
        if too_late {
            complete(request.irp, STATUS_CANCELLED, 0);
            pnp::release(request.extension, request.irp);
        }
    }
    Answer::Done(STATUS_PENDING)
}

unsafe extern "C" fn cancel(device: *mut DEVICE_OBJECT, irp: *mut IRP) {
    unsafe { IoReleaseCancelSpinLock((*irp).CancelIrql) };
    if breaks(267) {
        return;
    }
    if breaks(83) {
        locks::keep_for_ever();
    }
    let extension = extension(device);
    if take_pending(extension, irp).is_some() {
        complete(irp, STATUS_CANCELLED, 0);
        pnp::release(extension, irp);
    }
}

/// Takes the waiting request, whichever (`irp` null) or this one; it is then nobody else's.
fn take_pending(extension: *mut Extension, irp: PIRP) -> Option<PIRP> {
    unsafe {
        let lock = &raw mut (*extension).pending_lock;
        let irql = KeAcquireSpinLockRaiseToDpc(lock);
        let waiting = (*extension).pending;
        let ours = if irp.is_null() {
            // Without a cancel routine to clear, the system is cancelling it right now.
            !waiting.is_null() && set_cancel_routine(waiting, None)
        } else {
            waiting == irp
        };
        if ours {
            (*extension).pending = ptr::null_mut();
        }
        KeReleaseSpinLock(lock, irql);
        ours.then_some(waiting)
    }
}
