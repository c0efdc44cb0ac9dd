//! Lists that the adapter made, until they are put back.
//!
//! The driver asks with the best routine of the table; each can be asked for by name. The routines of
//! version 3 are told not to wait: where resources are short they fail. The older ones wait, for
//! no longer than other devices hold map registers (see the module `budget`).

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::{DEVICE_OBJECT, IRP, KEVENT};

use super::{
    Adapter, Direction, Error,
    budget::{Charge, Purpose},
    context::TransferContext,
    list_buffer::{self, ListBuffer},
    signatures::{List, PutList},
    span::Span,
};
use crate::{event, irql, pool::Shared};

/// `DMA_SYNCHRONOUS_CALLBACK`.
pub(super) const SYNCHRONOUS: u32 = 1;
/// `DeallocateObjectKeepRegisters`.
pub(super) const KEEP_REGISTERS: i32 = 3;

/// The member of the table that a list comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMember {
    /// `GetScatterGatherList`: every table has it. Waits for map registers.
    Get,
    /// `BuildScatterGatherList`, version 2: the list is in memory of ours. Waits for map registers.
    Build,
    /// `GetScatterGatherListEx`, version 3. Fails rather than wait.
    GetEx,
    /// `BuildScatterGatherListEx`, version 3: the list is in memory of ours. Fails rather than wait. It is
    /// called without a routine, so that the adapter object is ours to free, with `FreeAdapterObject`.
    BuildEx,
}

/// A list that the adapter keeps, put back on drop.
///
/// # Invariants
///
/// `list` was given by `adapter` for `direction` and has not been put back. `context` is what it
/// was asked for with, and `own` the memory that it lies in, if these are there.
pub(super) struct HeldList {
    list: NonNull<List>,
    put: PutList,
    direction: Direction,
    member: ListMember,
    adapter: Shared<Adapter>,
    context: Option<TransferContext>,
    #[expect(dead_code, reason = "the list lies in it")]
    own: Option<ListBuffer>,
    #[expect(dead_code, reason = "counted as long as the list holds them")]
    charge: Charge,
}

// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for HeldList {}
// SAFETY: as above; it is only read.
unsafe impl Sync for HeldList {}

/// What the list routine hands over, perhaps in another thread.
struct Delivery {
    list: *mut List,
    done: KEVENT,
}

impl HeldList {
    /// Gets a list with the best routine of the table.
    ///
    /// `BuildScatterGatherList` is not among those: the pages of its list would come from the same pool
    /// as those of `GetScatterGatherList`, once for each list, and it waits for map registers as well.
    ///
    /// # Errors
    ///
    /// Any; also if the table has no routine for lists.
    ///
    /// # Safety
    ///
    /// The memory of the span and its MDL stay until the result is dropped.
    pub(super) unsafe fn new(adapter: &Shared<Adapter>, span: &Span<'_>) -> Result<Self, Error> {
        let context = match adapter.table.get_list_ex() {
            Ok(_) => TransferContext::new(adapter),
            Err(error) => Err(error),
        };
        match context {
            // SAFETY: the caller's promise.
            Ok(context) => unsafe { Self::get(adapter, span, Some(context)) },
            Err(Error::NoMemory) => Err(Error::NoMemory),
            // An adapter that cannot make a context has the older routine still.
            // SAFETY: the caller's promise.
            Err(_) => unsafe { Self::get(adapter, span, None) },
        }
    }

    /// Gets a list with a routine of the caller's choice.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] if the table has no such routine, and any other.
    ///
    /// # Safety
    ///
    /// As for [`HeldList::new`].
    pub(super) unsafe fn by(
        adapter: &Shared<Adapter>,
        span: &Span<'_>,
        member: ListMember,
    ) -> Result<Self, Error> {
        match member {
            // SAFETY: the caller's promise.
            ListMember::Get => unsafe { Self::get(adapter, span, None) },
            ListMember::GetEx => {
                let context = TransferContext::new(adapter)?;
                // SAFETY: the caller's promise.
                unsafe { Self::get(adapter, span, Some(context)) }
            }
            // SAFETY: the caller's promise.
            ListMember::Build => unsafe { Self::build(adapter, span) },
            // SAFETY: the caller's promise.
            ListMember::BuildEx => unsafe { Self::build_ex(adapter, span) },
        }
    }

    /// The two that make memory for the list: which, tells the context.
    ///
    /// # Safety
    ///
    /// As for [`HeldList::new`].
    unsafe fn get(
        adapter: &Shared<Adapter>,
        span: &Span<'_>,
        context: Option<TransferContext>,
    ) -> Result<Self, Error> {
        let put = adapter.table.put_list()?;
        let (member, purpose) = match context {
            Some(_) => (ListMember::GetEx, Purpose::ListAtOnce),
            None => (ListMember::Get, Purpose::List),
        };
        let charge = Charge::new(adapter, span.pages(), purpose)?;
        let ask = |delivery: *mut Delivery| match &context {
            // SAFETY: the caller's promise; the delivery stays until `deliver` has run.
            Some(context) => unsafe { get_ex(adapter, context, span, delivery) },
            // SAFETY: as above.
            None => unsafe { get(adapter, span, delivery) },
        };
        // SAFETY: whatever succeeds calls `deliver` once.
        let list = unsafe { await_list(ask) }?;
        Ok(Self {
            list,
            put,
            direction: span.direction(),
            member,
            adapter: adapter.clone(),
            context,
            own: None,
            charge,
        })
    }

    /// # Safety
    ///
    /// As for [`HeldList::new`].
    unsafe fn build(adapter: &Shared<Adapter>, span: &Span<'_>) -> Result<Self, Error> {
        let (build, put) = (adapter.table.build_list()?, adapter.table.put_list()?);
        let charge = Charge::new(adapter, span.pages(), Purpose::List)?;
        let own = ListBuffer::for_span(adapter, span)?;
        let ask = |delivery: *mut Delivery| {
            // SAFETY: the adapter and its device are live; the buffer is as long as said; the rest is
            // the caller's promise.
            let status = unsafe {
                build(
                    adapter.as_ptr(),
                    adapter.function(),
                    span.mdl().as_ptr(),
                    span.address(0),
                    span.length(),
                    Some(deliver),
                    delivery.cast(),
                    span.direction().write_to_device(),
                    own.as_ptr().as_ptr().cast(),
                    own.length(),
                )
            };
            Error::check(status)
        };
        // SAFETY: whatever succeeds calls `deliver` once.
        let list = unsafe { await_list(ask) }?;
        Ok(Self {
            list,
            put,
            direction: span.direction(),
            member: ListMember::Build,
            adapter: adapter.clone(),
            context: None,
            own: Some(own),
            charge,
        })
    }

    /// # Safety
    ///
    /// As for [`HeldList::new`].
    unsafe fn build_ex(adapter: &Shared<Adapter>, span: &Span<'_>) -> Result<Self, Error> {
        let table = adapter.table;
        let (build, put) = (table.build_list_ex()?, table.put_list()?);
        let free_object = table.free_object()?;
        let charge = Charge::new(adapter, span.pages(), Purpose::ListAtOnce)?;
        let context = TransferContext::new(adapter)?;
        let own = ListBuffer::for_span(adapter, span)?;
        let mut list = ptr::null_mut();
        let status = irql::at_dispatch_level(|| {
            // SAFETY: the adapter and its device are live; buffer and context are as long as said; the
            // rest is the caller's promise.
            unsafe {
                build(
                    adapter.as_ptr(),
                    adapter.physical(),
                    context.as_ptr(),
                    span.mdl().as_ptr(),
                    u64::from(span.offset()),
                    span.length(),
                    SYNCHRONOUS,
                    None,
                    ptr::null_mut(),
                    span.direction().write_to_device(),
                    own.as_ptr().as_ptr().cast(),
                    own.length(),
                    ptr::null(),
                    ptr::null_mut(),
                    &raw mut list,
                )
            }
        });
        Error::check(status)?;
        // The registers go with the list: `PutScatterGatherList` frees them. The documents let the object
        // be freed as soon as the transfer has begun, so what is freed here is the object alone.
        // SAFETY: without a routine the adapter object is ours.
        unsafe { free_object(adapter.as_ptr(), KEEP_REGISTERS) };
        Ok(Self {
            // "This output pointer always matches the ScatterGatherBuffer parameter value."
            list: NonNull::new(list).unwrap_or(own.as_ptr()),
            put,
            direction: span.direction(),
            member: ListMember::BuildEx,
            adapter: adapter.clone(),
            context: Some(context),
            own: Some(own),
            charge,
        })
    }

    /// The member that it came from.
    pub(super) const fn member(&self) -> ListMember {
        self.member
    }

    pub(super) const fn as_ptr(&self) -> NonNull<List> {
        self.list
    }

    pub(super) const fn adapter(&self) -> &Shared<Adapter> {
        &self.adapter
    }

    /// How many elements it has.
    pub(super) fn count(&self) -> usize {
        // SAFETY: the list is live, by the invariant.
        unsafe { list_buffer::count(self.list) }
    }

    /// One element: where the device finds it, and how many bytes.
    pub(super) fn element(&self, index: usize) -> Option<(u64, u32)> {
        // SAFETY: the list is live, by the invariant.
        unsafe { list_buffer::element(self.list, index) }
    }

    /// The address of a list whose elements follow each other without a gap.
    pub(super) fn only_address(&self) -> Option<u64> {
        let (start, length) = self.element(0)?;
        let mut next = start.checked_add(u64::from(length))?;
        for index in 1..self.count() {
            let (address, length) = self.element(index)?;
            if address != next {
                return None;
            }
            next = next.checked_add(u64::from(length))?;
        }
        Some(start)
    }
}

impl Drop for HeldList {
    fn drop(&mut self) {
        let (raw, direction) = (self.adapter.as_ptr(), self.direction.write_to_device());
        irql::at_dispatch_level(|| {
            // SAFETY: given by the adapter for this direction, by the invariant, and never used
            // again.
            unsafe { (self.put)(raw, self.list.as_ptr(), direction) };
        });
        // The request is over, so the memory of its context may go.
        drop(self.context.take());
    }
}

/// Asks for a list at `DISPATCH_LEVEL`, and waits until it is delivered.
///
/// # Safety
///
/// If `ask` succeeds, [`deliver`] is called with the delivery, once, now or later; otherwise never.
unsafe fn await_list(
    ask: impl FnOnce(*mut Delivery) -> Result<(), Error>,
) -> Result<NonNull<List>, Error> {
    let mut delivery = Delivery {
        list: ptr::null_mut(),
        done: KEVENT::default(),
    };
    let delivery = &raw mut delivery;
    // SAFETY: stays within the delivery; nothing is read.
    let done = unsafe { &raw mut (*delivery).done };
    // SAFETY: the event stays on this stack until the wait below is over.
    unsafe { event::initialize(done) };
    irql::at_dispatch_level(|| ask(delivery))?;
    // SAFETY: `deliver` runs once, now or later, and signals.
    unsafe { event::wait(done) };
    // SAFETY: written by `deliver`, which is over.
    NonNull::new(unsafe { (*delivery).list }).ok_or(Error::NoMemory)
}

/// Asks with the newer routine, which fails rather than wait.
///
/// # Safety
///
/// As for [`HeldList::new`]; the delivery stays until `deliver` has run.
unsafe fn get_ex(
    adapter: &Adapter,
    context: &TransferContext,
    span: &Span<'_>,
    delivery: *mut Delivery,
) -> Result<(), Error> {
    let get = adapter.table.get_list_ex()?;
    // SAFETY: the adapter and its device are live; the rest is the caller's promise.
    let status = unsafe {
        get(
            adapter.as_ptr(),
            adapter.physical(),
            context.as_ptr(),
            span.mdl().as_ptr(),
            u64::from(span.offset()),
            span.length(),
            SYNCHRONOUS,
            Some(deliver),
            delivery.cast(),
            span.direction().write_to_device(),
            ptr::null(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    Error::check(status)
}

/// Asks with the routine that every table has.
///
/// # Safety
///
/// As for [`HeldList::new`]; the delivery stays until `deliver` has run.
unsafe fn get(adapter: &Adapter, span: &Span<'_>, delivery: *mut Delivery) -> Result<(), Error> {
    let get = adapter.table.get_list()?;
    // SAFETY: the adapter and its device are live; the rest is the caller's promise.
    let status = unsafe {
        get(
            adapter.as_ptr(),
            adapter.function(),
            span.mdl().as_ptr(),
            span.address(0),
            span.length(),
            Some(deliver),
            delivery.cast(),
            span.direction().write_to_device(),
        )
    };
    Error::check(status)
}

/// Takes the list that the adapter made.
///
/// # Safety
///
/// Called by the adapter, with the context given to the list routine.
unsafe extern "C" fn deliver(
    _device: *mut DEVICE_OBJECT,
    _irp: *mut IRP,
    list: *mut List,
    context: *mut c_void,
) {
    let delivery = context.cast::<Delivery>();
    // SAFETY: stays within the delivery; nothing is read.
    let place = unsafe { &raw mut (*delivery).list };
    // SAFETY: the delivery is live until the event is signalled.
    unsafe { place.write(list) };
    // SAFETY: as above; nothing is read.
    let done = unsafe { &raw mut (*delivery).done };
    // SAFETY: set up before the list was asked for.
    unsafe { event::signal(done) };
}
