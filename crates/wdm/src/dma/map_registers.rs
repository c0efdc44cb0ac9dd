//! Map registers, and with them a channel, for packet-based transfers.
//!
//! `AllocateAdapterChannel` of version 1 waits for them; `AllocateAdapterChannelEx` of version 3 does not, or
//! can be cancelled ([`super::RegisterRequest`]). What was allocated is a value, which is consumed by a
//! mapping and comes back from its flush: so a transfer is mapped once at a time, and flushed before
//! the registers are used again or freed.
//!
//! A request that had to wait is answered from inside of the routine that the system calls for it, on another
//! processor perhaps. The document wants no second call of `AllocateAdapterChannel` before that routine has
//! returned; nothing tells when it has, so a thread that asks again at once can be early by its last few
//! instructions. Lists know no such rule.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::{ffi::c_void, ptr};

use wdk_sys::{DEVICE_OBJECT, IRP, KEVENT};

use super::{
    Adapter, Error,
    budget::{Charge, Purpose},
    channel_use::ChannelUse,
    context::TransferContext,
    held_list::{KEEP_REGISTERS, SYNCHRONOUS},
    signatures::{Base, FreeChannel, FreeObject, FreeRegisters},
};
use crate::{event, irql, pool::Shared};

/// `KeepObject`.
const KEEP_OBJECT: i32 = 1;
/// `DeallocateObject`.
const DEALLOCATE: i32 = 2;

/// The one right call that gives registers back.
#[derive(Clone, Copy)]
pub(super) enum Release {
    /// `FreeMapRegisters`: those of a bus master whose adapter object is free already.
    Registers(FreeRegisters),
    /// `FreeAdapterObject` with `DeallocateObject`: object and registers together.
    Object(FreeObject, FreeRegisters),
    /// `FreeAdapterChannel`: those of a system adapter, with the channel.
    Channel(FreeChannel),
}

/// The map registers for one transfer at a time, given back on drop.
///
/// # Invariants
///
/// `base` and `count` are one allocation of `adapter`, made with `context` if there is one, not yet given
/// back, and `release` is the call for that. Nothing is mapped.
pub struct MapRegisters {
    base: Base,
    count: u32,
    release: Release,
    pub(super) adapter: Shared<Adapter>,
    context: Option<TransferContext>,
    /// As long as the adapter object, or the channel, is held.
    object: Option<ChannelUse>,
    #[expect(dead_code, reason = "counted until they are given back")]
    charge: Charge,
}

// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for MapRegisters {}
// SAFETY: as above.
unsafe impl Sync for MapRegisters {}

/// What the adapter's routine hands over, perhaps in another thread.
pub(super) struct Delivery {
    pub(super) base: Base,
    pub(super) done: KEVENT,
}

impl MapRegisters {
    /// Waits for registers: `AllocateAdapterChannel`. IRQL: `PASSIVE_LEVEL`; the routine itself is called
    /// at `DISPATCH_LEVEL`.
    ///
    /// A bus master's adapter object is given back at once (`DeallocateObjectKeepRegisters`), so that other
    /// transfers can start; of a system adapter the channel is kept (`KeepObject`).
    ///
    /// # Errors
    ///
    /// [`Error::NoRegisters`] if `count` is zero, or with what this adapter's other requests hold more
    /// than it has. [`Error::Busy`] while another request of the adapter waits, or its channel is held: "only one
    /// DMA request can be queued for a device object at any one time". [`Error::NotOffered`],
    /// [`Error::Refused`].
    pub fn wait_for(adapter: &Shared<Adapter>, count: u32) -> Result<Self, Error> {
        check_count(adapter, count)?;
        let table = adapter.table;
        let allocate = table.allocate_channel()?;
        let (release, control): (Release, super::signatures::Control) = if adapter.is_system() {
            (Release::Channel(table.free_channel()?), keep_channel)
        } else {
            (Release::Registers(table.free_registers()?), keep_registers)
        };
        let charge = Charge::new(adapter, count, Purpose::Registers)?;
        let channel = ChannelUse::alone(adapter)?;
        let mut delivery = Delivery {
            base: ptr::null_mut(),
            done: KEVENT::default(),
        };
        let delivery = &raw mut delivery;
        // SAFETY: stays within the delivery; nothing is read.
        let done = unsafe { &raw mut (*delivery).done };
        // SAFETY: the event stays on this stack until the wait below is over.
        unsafe { event::initialize(done) };
        let status = irql::at_dispatch_level(|| {
            let (raw, device) = (adapter.as_ptr(), adapter.function());
            // SAFETY: adapter and device are live; no other request of the device waits; the delivery
            // stays until the routine has run.
            unsafe { allocate(raw, device, count, Some(control), delivery.cast()) }
        });
        Error::check(status)?;
        // SAFETY: the routine runs once, now or later, and signals.
        unsafe { event::wait(done) };
        // SAFETY: written by the routine, which is over.
        let base = unsafe { (*delivery).base };
        let object = adapter.is_system().then_some(channel);
        Ok(Self {
            base,
            count,
            release,
            adapter: adapter.clone(),
            context: None,
            object,
            charge,
        })
    }

    /// Takes registers that are free now: `AllocateAdapterChannelEx` with `DMA_SYNCHRONOUS_CALLBACK` and
    /// without a routine, so that the adapter object is the value's. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `STATUS_INSUFFICIENT_RESOURCES` if there are not so many free now,
    /// [`Error::NoRegisters`] if with those that the driver has of this adapter there never are,
    /// [`Error::Busy`] while [`MapRegisters::wait_for`] waits, [`Error::NotOffered`].
    pub fn take(adapter: &Shared<Adapter>, count: u32) -> Result<Self, Error> {
        check_count(adapter, count)?;
        let table = adapter.table;
        let allocate = table.allocate_channel_ex()?;
        let release = Release::Object(table.free_object()?, table.free_registers()?);
        let charge = Charge::new(adapter, count, Purpose::RegistersAtOnce)?;
        let object = ChannelUse::with_others(adapter)?;
        let context = TransferContext::new(adapter)?;
        let mut base = ptr::null_mut();
        let status = irql::at_dispatch_level(|| {
            // SAFETY: adapter and device are live; the context is set up and new; `base` outlives the
            // call.
            unsafe {
                allocate(
                    adapter.as_ptr(),
                    adapter.physical(),
                    context.as_ptr(),
                    count,
                    SYNCHRONOUS,
                    None,
                    ptr::null_mut(),
                    &raw mut base,
                )
            }
        });
        Error::check(status)?;
        Ok(Self {
            base,
            count,
            release,
            adapter: adapter.clone(),
            context: Some(context),
            object: Some(object),
            charge,
        })
    }

    /// Registers without an adapter object.
    ///
    /// # Safety
    ///
    /// The invariant of the type.
    pub(super) const unsafe fn from_parts(
        adapter: Shared<Adapter>,
        (base, count): (Base, u32),
        release: Release,
        context: TransferContext,
        charge: Charge,
    ) -> Self {
        Self {
            base,
            count,
            release,
            adapter,
            context: Some(context),
            object: None,
            charge,
        }
    }

    /// Gives the adapter object back and keeps the registers, if the object is held: `FreeAdapterObject`
    /// with `DeallocateObjectKeepRegisters`. They are freed with `FreeMapRegisters` then.
    /// IRQL: at most `DISPATCH_LEVEL`.
    #[must_use]
    pub fn without_object(mut self) -> Self {
        if let Release::Object(free_object, free_registers) = self.release {
            self.release = Release::Registers(free_registers);
            // SAFETY: the object is held, by the invariant, and the registers stay.
            unsafe { free_object(self.adapter.as_ptr(), KEEP_REGISTERS) };
            self.object = None;
        }
        self
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether they came from a routine of version 3.
    pub(super) const fn context(&self) -> Option<&TransferContext> {
        self.context.as_ref()
    }

    pub(super) const fn base(&self) -> Base {
        self.base
    }
}

impl Drop for MapRegisters {
    fn drop(&mut self) {
        let raw = self.adapter.as_ptr();
        irql::at_dispatch_level(|| match self.release {
            // SAFETY: all of one allocation, by the invariant; nothing is mapped.
            Release::Registers(free) => unsafe { free(raw, self.base, self.count) },
            // SAFETY: the object is held, by the invariant; nothing is mapped.
            Release::Object(free, _) => unsafe { free(raw, DEALLOCATE) },
            // SAFETY: the channel is held, by the invariant; nothing is mapped.
            Release::Channel(free) => unsafe { free(raw) },
        });
        // Now others may ask for the channel.
        drop(self.object.take());
    }
}

/// What no routine should be asked for: zero registers, or more than a transfer may have.
pub(super) fn check_count(adapter: &Adapter, count: u32) -> Result<(), Error> {
    if count == 0 || count > adapter.map_registers() {
        return Err(Error::NoRegisters);
    }
    Ok(())
}

/// Takes the registers of a bus master.
///
/// # Safety
///
/// Called by the adapter, with the delivery given to the routine.
pub(super) unsafe extern "C" fn keep_registers(
    _device: *mut DEVICE_OBJECT,
    _irp: *mut IRP,
    base: Base,
    context: *mut c_void,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { deliver(base, context.cast()) };
    KEEP_REGISTERS
}

/// Takes the channel and the registers of a system adapter.
///
/// # Safety
///
/// Called by the adapter, with the delivery given to the routine.
unsafe extern "C" fn keep_channel(
    _device: *mut DEVICE_OBJECT,
    _irp: *mut IRP,
    base: Base,
    context: *mut c_void,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { deliver(base, context.cast()) };
    KEEP_OBJECT
}

/// # Safety
///
/// The delivery is live, and its event set up.
unsafe fn deliver(base: Base, delivery: *mut Delivery) {
    // SAFETY: stays within the delivery; nothing is read.
    let place = unsafe { &raw mut (*delivery).base };
    // SAFETY: the delivery is live until the event is signalled.
    unsafe { place.write(base) };
    // SAFETY: as above; nothing is read.
    let done = unsafe { &raw mut (*delivery).done };
    // SAFETY: set up before the registers were asked for.
    unsafe { event::signal(done) };
}
