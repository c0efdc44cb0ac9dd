//! Requests as obligations.
//!
//! A dispatch routine gets an [`Irp`] and must return a [`Completed`]. The only ways from one to the
//! other are completing it and passing it down, each of which consumes it: so a request is finished
//! exactly once, and cannot be touched afterwards.

// UNSAFETY: reads and writes requests that this layer owns between dispatch and completion.
#![expect(
    unsafe_code,
    reason = "requests are kernel objects behind raw pointers"
)]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::{
    DEVICE_OBJECT, FILE_OBJECT, IRP, KEVENT, MDL, NTSTATUS,
    ntddk::{IofCallDriver, IofCompleteRequest},
};

use crate::{
    event,
    layout::{self, StackLocation},
    remove_lock::Held,
    status::Status,
};

/// `SL_PENDING_RETURNED`.
const PENDING_RETURNED: u8 = 1;

/// Call a completion routine on success, on error and on cancellation.
const ALWAYS: u8 = 0x40 | 0x80 | 0x20;

/// Proof that a request has been finished, and with which status.
///
/// It ends the request's use of the device when the dispatch routine is done with it: whatever the
/// driver still drops on the way there happens while the device, and with it the driver, stays.
#[must_use]
pub struct Completed {
    status: Status,
    held: Option<Held>,
}

impl Completed {
    /// The request waits, or did; whoever had it since has completed it, or will.
    pub(crate) const PENDING: Self = Self {
        status: Status::PENDING,
        held: None,
    };

    /// Ends the use of the device, and gives what the dispatch routine returns to the I/O manager.
    pub(crate) fn status(self) -> NTSTATUS {
        let Self { status, held } = self;
        drop(held);
        status.0
    }

    /// Ends the use of the device, refuses further ones, and waits for the end of all others.
    pub(crate) fn wait_for_others(mut self) -> Self {
        if let Some(held) = self.held.take() {
            held.release_and_wait();
        }
        self
    }
}

/// A request that has to be finished.
///
/// # Invariants
///
/// The request is live and this driver's, and `held`, if any, is its use of the device.
#[must_use]
pub struct Irp {
    raw: NonNull<IRP>,
    held: Option<Held>,
    /// It is marked pending, so its dispatch routine returns that.
    pending: bool,
}

// SAFETY: a request belongs to whoever has this value, on any thread.
unsafe impl Send for Irp {}

impl Irp {
    /// # Safety
    ///
    /// `raw` is a request just dispatched to this driver, which it alone owns.
    pub(crate) const unsafe fn new(raw: NonNull<IRP>, held: Option<Held>) -> Self {
        Self {
            raw,
            held,
            pending: false,
        }
    }

    /// Which request it is.
    pub(crate) const fn as_ptr(&self) -> NonNull<IRP> {
        self.raw
    }

    /// What `IoMarkIrpPending` does; what the dispatch routine then returns.
    pub(crate) fn mark_pending(&mut self) -> Completed {
        let stack = self.stack();
        // SAFETY: the current stack location is live and ours, as long as the request is.
        let control = unsafe { layout::STACK_CONTROL.get(stack) };
        // SAFETY: as above.
        unsafe { layout::STACK_CONTROL.set(stack, control | PENDING_RETURNED) };
        self.pending = true;
        Completed::PENDING
    }

    /// What describes the direct buffer, if there is one.
    pub(crate) fn mdl(&self) -> *mut MDL {
        self.field(&layout::IRP_MDL)
    }

    /// Reads a field of the request.
    fn field<T: Copy>(&self, field: &layout::Field<IRP, T>) -> T {
        // SAFETY: live and ours, by the invariant.
        unsafe { field.get(self.raw) }
    }

    fn set_field<T: Copy>(&mut self, field: &layout::Field<IRP, T>, value: T) {
        // SAFETY: live and ours, by the invariant.
        unsafe { field.set(self.raw, value) };
    }

    fn stack(&self) -> NonNull<StackLocation> {
        let current = self.field(&layout::IRP_CURRENT_STACK);
        // SAFETY: a request that is dispatched has a current stack location.
        unsafe { NonNull::new_unchecked(current) }
    }

    /// Reads a field of the stack location that is this driver's.
    pub(crate) fn parameter<T: Copy>(&self, field: &layout::Field<StackLocation, T>) -> T {
        // SAFETY: the current stack location is live and ours, as long as the request is.
        unsafe { field.get(self.stack()) }
    }

    /// Which minor function of its family is asked for.
    pub(crate) fn minor(&self) -> u8 {
        self.parameter(&layout::STACK_MINOR)
    }

    /// The file object that the request was sent through, if any.
    pub(crate) fn file(&self) -> Option<NonNull<FILE_OBJECT>> {
        NonNull::new(self.parameter(&layout::STACK_FILE_OBJECT))
    }

    /// The buffer that input comes in and output leaves in, for buffered transfers.
    pub(crate) fn system_buffer(&self) -> Option<NonNull<u8>> {
        NonNull::new(self.field(&layout::IRP_SYSTEM_BUFFER))
    }

    /// Completes the request. An error never carries a byte count.
    pub fn complete(mut self, result: Result<usize, Status>) -> Completed {
        let (status, information) = match result {
            Ok(information) => (Status::SUCCESS, information),
            Err(status) => (status, 0),
        };
        self.set_field(&layout::IRP_STATUS, status.0);
        self.set_field(&layout::IRP_INFORMATION, information);
        self.finish(status)
    }

    /// Completes the request with a status and leaves its byte count as lower drivers set it.
    pub(crate) fn complete_as_is(mut self, status: Status) -> Completed {
        self.set_field(&layout::IRP_STATUS, status.0);
        self.finish(status)
    }

    fn finish(self, status: Status) -> Completed {
        let Self { raw, held, pending } = self;
        // SAFETY: ours to complete; the value is gone. `IO_NO_INCREMENT`.
        unsafe { IofCompleteRequest(raw.as_ptr(), 0) };
        let status = if pending { Status::PENDING } else { status };
        Completed { status, held }
    }

    /// Sets the status that lower drivers find.
    pub(crate) fn set_status(&mut self, status: Status) {
        self.set_field(&layout::IRP_STATUS, status.0);
    }

    /// Passes the request to the driver below, which becomes its owner.
    ///
    /// # Safety
    ///
    /// `lower` is the device that ours is attached to.
    pub(crate) unsafe fn pass_down(mut self, lower: *mut DEVICE_OBJECT) -> Completed {
        // What IoSkipCurrentIrpStackLocation does: the driver below gets the same location.
        let location = self.field(&layout::IRP_CURRENT_LOCATION);
        let stack = self.field(&layout::IRP_CURRENT_STACK);
        self.set_field(&layout::IRP_CURRENT_LOCATION, location.wrapping_add(1));
        self.set_field(&layout::IRP_CURRENT_STACK, stack.wrapping_add(1));
        let Self { raw, held, .. } = self;
        // SAFETY: the request has a location for the driver below; it is not touched afterwards.
        let status = Status(unsafe { IofCallDriver(lower, raw.as_ptr()) });
        Completed { status, held }
    }

    /// Sends the request to the driver below, waits until it has been completed there, and takes it
    /// back. Gives the status that the lower driver left.
    ///
    /// # Safety
    ///
    /// `lower` is the device that ours is attached to.
    pub(crate) unsafe fn forward_and_wait(&mut self, lower: *mut DEVICE_OBJECT) -> Status {
        let mut done = KEVENT::default();
        // SAFETY: the event stays on this stack until the wait below is over.
        unsafe { event::initialize(&raw mut done) };
        self.prepare_next((&raw mut done).cast());
        // SAFETY: the next location is complete; the completion routine takes the request back.
        let status = unsafe { IofCallDriver(lower, self.raw.as_ptr()) };
        if Status(status) == Status::PENDING {
            // SAFETY: set up above, and signalled by the completion routine.
            unsafe { event::wait(&raw mut done) };
        }
        Status(self.field(&layout::IRP_STATUS))
    }

    /// Fills the next stack location with a copy of ours and our completion routine.
    fn prepare_next(&mut self, done: *mut c_void) {
        let current = self.stack();
        let next = current.as_ptr().wrapping_sub(1);
        // SAFETY: the locations are neighbours in one request; the next one is ours to fill.
        unsafe {
            ptr::copy_nonoverlapping(
                current.as_ptr().cast::<u8>(),
                next.cast::<u8>(),
                layout::COPIED_STACK_BYTES,
            );
        };
        // SAFETY: as the neighbour of a location, not null.
        let next = unsafe { NonNull::new_unchecked(next) };
        // SAFETY: the next location is ours to fill, here and below.
        unsafe { layout::STACK_CONTROL.set(next, ALWAYS) };
        // SAFETY: as above.
        unsafe { layout::STACK_COMPLETION.set(next, Some(take_back)) };
        // SAFETY: as above.
        unsafe { layout::STACK_COMPLETION_CONTEXT.set(next, done) };
    }
}

/// Stops the completion, so that the dispatch routine owns the request again.
///
/// # Safety
///
/// Called by the I/O manager as a completion routine, with an event as the context.
unsafe extern "C" fn take_back(
    _device: *mut DEVICE_OBJECT,
    irp: *mut IRP,
    done: *mut c_void,
) -> NTSTATUS {
    let pending = NonNull::new(irp).is_some_and(|irp| {
        // SAFETY: the request is live here.
        unsafe { layout::IRP_PENDING_RETURNED.get(irp) != 0 }
    });
    // Only then does somebody wait.
    if pending {
        // SAFETY: the waiter keeps the event until it is signalled.
        unsafe { event::signal(done.cast()) };
    }
    Status::MORE_PROCESSING_REQUIRED.0
}
