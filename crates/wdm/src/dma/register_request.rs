//! Map registers that were asked for and may come later, unless the request is cancelled.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::ptr;

use wdk_sys::KEVENT;

use super::{
    Adapter, Error, MapRegisters,
    budget::{Charge, Purpose},
    channel_use::ChannelUse,
    context::TransferContext,
    map_registers::{Delivery, Release, check_count, keep_registers},
    signatures::CancelChannel,
};
use crate::{
    event, irql,
    pool::{Owned, Shared},
};

/// What a request that is under way consists of.
///
/// # Invariants
///
/// `delivery` and `context` are those of a request for `count` registers that the adapter has; its routine
/// runs once, unless the request is cancelled. `None` in [`RegisterRequest`] once it is over.
struct Waiting {
    delivery: Owned<Delivery>,
    context: TransferContext,
    charge: Charge,
    /// The place in the queue.
    queued: ChannelUse,
}

/// A request for map registers that waits in the adapter, cancelled on drop: at `PASSIVE_LEVEL`, for one that
/// is just being granted is waited for.
pub struct RegisterRequest {
    waiting: Option<Waiting>,
    count: u32,
    release: Release,
    cancel: CancelChannel,
    adapter: Shared<Adapter>,
}

// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for RegisterRequest {}

impl RegisterRequest {
    /// Asks for registers: `AllocateAdapterChannelEx` without flags. It returns before they are there, or
    /// when they are. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] if the table cannot cancel; [`Error::WrongAdapter`] for a system adapter, of
    /// which a channel would have to be kept; [`Error::NoRegisters`], [`Error::Refused`].
    pub fn new(adapter: &Shared<Adapter>, count: u32) -> Result<Self, Error> {
        check_count(adapter, count)?;
        if adapter.is_system() {
            return Err(Error::WrongAdapter);
        }
        let table = adapter.table;
        let allocate = table.allocate_channel_ex()?;
        let cancel = table.cancel_channel()?;
        let release = Release::Registers(table.free_registers()?);
        let charge = Charge::new(adapter, count, Purpose::RegistersAtOnce)?;
        let queued = ChannelUse::with_others(adapter)?;
        let context = TransferContext::new(adapter)?;
        let delivery = Owned::new(Delivery {
            base: ptr::null_mut(),
            done: KEVENT::default(),
        })?;
        // SAFETY: stays within the delivery, which lies in pool; nothing is read.
        let done = unsafe { &raw mut (*delivery.as_ptr()).done };
        // SAFETY: the event stays where it is until the request is over.
        unsafe { event::initialize(done) };
        let status = irql::at_dispatch_level(|| {
            // SAFETY: adapter and device are live; context and delivery stay until the routine has run,
            // or the request is cancelled.
            unsafe {
                allocate(
                    adapter.as_ptr(),
                    adapter.physical(),
                    context.as_ptr(),
                    count,
                    0,
                    Some(keep_registers),
                    delivery.as_ptr().cast(),
                    ptr::null_mut(),
                )
            }
        });
        Error::check(status)?;
        Ok(Self {
            waiting: Some(Waiting {
                delivery,
                context,
                charge,
                queued,
            }),
            count,
            release,
            cancel,
            adapter: adapter.clone(),
        })
    }

    /// Waits for the registers, and for the channel: both come when those who have them give them back. So
    /// wait for nothing that a value of the waiter's own holds. `None` is never seen.
    /// IRQL: `PASSIVE_LEVEL`.
    #[must_use]
    pub fn wait(mut self) -> Option<MapRegisters> {
        self.waiting.take().map(|waiting| self.granted(waiting))
    }

    /// Cancels the request: `CancelAdapterChannel`. `None` if nothing was allocated; the registers if
    /// they were there already or just about to be. IRQL: `PASSIVE_LEVEL`, for the latter case.
    #[must_use]
    pub fn cancel(mut self) -> Option<MapRegisters> {
        self.end()
    }

    fn end(&mut self) -> Option<MapRegisters> {
        let waiting = self.waiting.take()?;
        let (raw, device) = (self.adapter.as_ptr(), self.adapter.physical());
        // SAFETY: adapter and device are live, and the context is that of the request.
        let cancelled = unsafe { (self.cancel)(raw, device, waiting.context.as_ptr()) };
        (cancelled == 0).then(|| self.granted(waiting))
    }

    fn granted(&self, waiting: Waiting) -> MapRegisters {
        let Waiting {
            delivery,
            context,
            charge,
            queued,
        } = waiting;
        // SAFETY: stays within the delivery; nothing is read.
        let done = unsafe { &raw mut (*delivery.as_ptr()).done };
        // SAFETY: set up; the routine has run or is about to, and signals.
        unsafe { event::wait(done) };
        drop(queued);
        let allocation = (delivery.base, self.count);
        let adapter = self.adapter.clone();
        // SAFETY: the routine kept exactly these, and the adapter object was freed when it returned.
        unsafe { MapRegisters::from_parts(adapter, allocation, self.release, context, charge) }
    }
}

impl Drop for RegisterRequest {
    fn drop(&mut self) {
        drop(self.end());
    }
}
