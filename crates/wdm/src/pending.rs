//! Requests that wait: a queue out of which either their driver or their cancellation takes them.
//!
//! The pattern is the documented one of a driver that keeps its own queue: each request in it has a
//! cancel routine, and whoever takes that routine away, by exchanging it, owns the request. If the
//! system has taken it first, the request stays in the queue for the cancel routine to find.
//!
//! A request is marked pending before it is queued, and remembers that, so that its dispatch routine
//! returns `STATUS_PENDING` whoever completes it.

// UNSAFETY: keeps an owner of the queue in each request, and sets cancel routines.
#![expect(
    unsafe_code,
    reason = "cancellation reaches the queue through the request"
)]

use core::{
    ffi::c_void,
    ptr,
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicU8, Ordering},
};

use wdk_sys::{DEVICE_OBJECT, IRP};

use crate::{
    critical_region::CriticalRegion,
    fifo::Fifo,
    file::KeptFile,
    irp::Completed,
    irql,
    layout::{self, Cancel},
    list::Node,
    pool::{Owned, Shared},
    spin_lock::SpinLock,
    status::{NoMemory, Status},
};

unsafe extern "C" {
    fn IoReleaseCancelSpinLock(irql: u8);
}

pub(crate) mod private {
    use crate::irp::Irp;

    /// A request of any family.
    pub trait HasIrp {
        /// The request itself.
        fn irp(&mut self) -> &mut Irp;
        /// The request itself, for good.
        fn into_irp(self) -> Irp;
    }
}

/// A family of requests that can wait.
pub trait Request: private::HasIrp + Send + 'static {}

impl<R: private::HasIrp + Send + 'static> Request for R {}

/// One request in, or on its way into or out of, a queue. There is one only between `Place::fill`
/// and `Waiter::take_apart`.
struct Entry<R, T> {
    irp: *mut IRP,
    content: Option<(R, T)>,
}

// SAFETY: the pointer is only compared.
unsafe impl<R: Send, T: Send> Send for Entry<R, T> {}

/// Memory for one request to wait in.
pub struct Place<R, T>(Owned<Node<Entry<R, T>>>);

impl<R: Request, T: Send + 'static> Place<R, T> {
    /// Allocates it.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub fn new() -> Result<Self, NoMemory> {
        let entry = Entry {
            irp: ptr::null_mut(),
            content: None,
        };
        Node::new(entry).map(Self)
    }

    /// Puts a request in, with what belongs to it.
    pub fn fill(mut self, mut request: R, payload: T) -> Waiter<R, T> {
        let irp = request.irp().as_ptr();
        let entry = self.0.value_mut();
        entry.irp = irp.as_ptr();
        entry.content = Some((request, payload));
        Waiter { node: self.0, irp }
    }
}

/// A request that can wait, and is not in a queue. It has to be finished or queued.
///
/// # Invariants
///
/// The node has a content, whose request is `irp`, and nobody else has the request.
#[must_use]
pub struct Waiter<R, T> {
    node: Owned<Node<Entry<R, T>>>,
    irp: NonNull<IRP>,
}

impl<R: Request, T: Send + 'static> Waiter<R, T> {
    fn content(&mut self) -> &mut (R, T) {
        // SAFETY: there is a content, by the invariant.
        unsafe { self.node.value_mut().content.as_mut().unwrap_unchecked() }
    }

    /// The request.
    pub fn request(&mut self) -> &mut R {
        &mut self.content().0
    }

    /// What belongs to the request.
    pub fn payload(&mut self) -> &mut T {
        &mut self.content().1
    }

    /// The request and what belongs to it, to be finished.
    #[must_use]
    pub fn take_apart(mut self) -> (R, T) {
        // SAFETY: there is a content, by the invariant.
        unsafe { self.node.value_mut().content.take().unwrap_unchecked() }
    }

    /// Finishes the request with `STATUS_CANCELLED`, or another error.
    pub fn fail(self, status: Status) -> Completed {
        let (request, payload) = self.take_apart();
        drop(payload);
        request.into_irp().complete(Err(status))
    }
}

/// Why a request was not queued. It is marked pending only if it was cancelled.
pub enum Refused<R, T> {
    /// The queue is as long as it may become.
    Full(Waiter<R, T>),
    /// The request has been cancelled already.
    Cancelled(Waiter<R, T>),
}

/// A queue of requests that wait. Copies are the same queue.
pub struct PendingQueue<R, T> {
    queue: Shared<Queue<R, T>>,
}

/// # Invariants
///
/// Each request in the list owns a reference to this queue, in its driver context.
struct Queue<R, T> {
    limit: u32,
    waiters: SpinLock<Fifo<Entry<R, T>>>,
}

impl<R: Request, T: Send + 'static> PendingQueue<R, T> {
    /// An empty queue for at most `limit` requests.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub fn new(limit: u32) -> Result<Self, NoMemory> {
        let queue = Shared::new(Queue {
            limit,
            waiters: SpinLock::new(Fifo::new()),
        })?;
        Ok(Self { queue })
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.waiters.lock().length() == 0
    }

    /// Queues a request, which is marked pending: from now on it can be cancelled.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`; nothing is completed or freed here.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the request, which is then the caller's to finish.
    pub fn push(&self, mut waiter: Waiter<R, T>) -> Result<Completed, Refused<R, T>> {
        let own = self.queue.clone();
        let mut waiters = self.queue.waiters.lock();
        if waiters.length() >= self.queue.limit {
            drop(waiters);
            return Err(Refused::Full(waiter));
        }
        let irp = waiter.irp;
        let completed = waiter.request().irp().mark_pending();
        // SAFETY: the request is live and ours; given back by whoever takes it out.
        unsafe { layout::IRP_DRIVER_CONTEXT.set(irp, own.into_raw()) };
        waiters.push(waiter.node);
        // SAFETY: the request is live while it is in the list, which is locked.
        unsafe { set_cancel_routine(irp, Some(cancel::<R, T>)) };
        // SAFETY: as above.
        let cancelled = unsafe { is_cancelled(irp) };
        // SAFETY: as above.
        if cancelled && unsafe { set_cancel_routine(irp, None) } {
            let node = waiters.remove(|entry| entry.irp == irp.as_ptr());
            drop(waiters);
            self.give_back(irp);
            if let Some(node) = node {
                return Err(Refused::Cancelled(Waiter { node, irp }));
            }
        }
        Ok(completed)
    }

    /// Takes out the request that has waited longest, unless its cancellation has begun.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`; nothing is completed or freed here.
    #[must_use]
    pub fn take(&self) -> Option<Waiter<R, T>> {
        let node = self.queue.waiters.lock().remove(|entry| {
            // SAFETY: a request in the list is live, and the list is locked.
            NonNull::new(entry.irp).is_some_and(|irp| unsafe { set_cancel_routine(irp, None) })
        })?;
        let irp = NonNull::new(node.value().irp)?;
        self.give_back(irp);
        Some(Waiter { node, irp })
    }

    /// Takes back the reference that a request just taken out owned.
    fn give_back(&self, irp: NonNull<IRP>) {
        // SAFETY: the request is ours again.
        let context = unsafe { layout::IRP_DRIVER_CONTEXT.get(irp) };
        if let Some(context) = NonNull::new(context) {
            // SAFETY: put there by `push`. This is not the last owner, so nothing is freed.
            drop(unsafe { Shared::<Queue<R, T>>::from_raw(context) });
        }
    }
}

impl<R, T> Clone for PendingQueue<R, T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

/// What `IoSetCancelRoutine` does; whether there was a routine before.
///
/// # Safety
///
/// The request is live.
unsafe fn set_cancel_routine(irp: NonNull<IRP>, routine: Option<Cancel>) -> bool {
    let place = layout::IRP_CANCEL_ROUTINE.place(irp);
    let routine: *mut c_void = routine.map_or(ptr::null_mut(), address_of);
    // SAFETY: the field is live and aligned, and everybody exchanges it atomically.
    let slot = unsafe { AtomicPtr::from_ptr(place) };
    !slot.swap(routine, Ordering::SeqCst).is_null()
}

#[expect(
    clippy::as_conversions,
    reason = "the address of a function has no other spelling"
)]
fn address_of(routine: Cancel) -> *mut c_void {
    routine as *mut c_void
}

/// Whether the system has begun to cancel the request.
///
/// # Safety
///
/// The request is live.
unsafe fn is_cancelled(irp: NonNull<IRP>) -> bool {
    let place = layout::IRP_CANCEL.place(irp);
    // SAFETY: the field is live.
    unsafe { AtomicU8::from_ptr(place) }.load(Ordering::SeqCst) != 0
}

/// Takes a request out of its queue and completes it.
///
/// # Safety
///
/// Called by the system as the cancel routine of a request in a queue of this type, with the cancel
/// spin lock held.
unsafe extern "C" fn cancel<R: Request, T: Send + 'static>(
    _device: *mut DEVICE_OBJECT,
    irp: *mut IRP,
) {
    let Some(irp) = NonNull::new(irp) else {
        return;
    };
    // SAFETY: whoever finds the routine gone leaves the request to it, so it is live and ours.
    let irql = unsafe { layout::IRP_CANCEL_IRQL.get(irp) };
    // SAFETY: as above.
    let context = unsafe { layout::IRP_DRIVER_CONTEXT.get(irp) };
    // A request holds the device. Between the lock and the region no program can suspend the thread
    // either, because the level blocks APCs.
    let between = irql.max(irql::APC_LEVEL);
    // As in the dispatch routine: kept until the region is left.
    // SAFETY: live and ours, as above.
    let _file = unsafe { KeptFile::of_request(irp) };
    // SAFETY: held, and no lower level than before, as the system says.
    unsafe { IoReleaseCancelSpinLock(between) };
    let _region = (between == irql::APC_LEVEL).then(CriticalRegion::enter);
    // SAFETY: the level at which the system was.
    unsafe { irql::lower(irql) };
    let Some(context) = NonNull::new(context) else {
        return;
    };
    // SAFETY: put there by `push`, and not taken back, since the request is still in the list.
    let queue = unsafe { Shared::<Queue<R, T>>::from_raw(context) };
    // `push` still holds the lock if it set the routine just now.
    let node = queue
        .waiters
        .lock()
        .remove(|entry| entry.irp == irp.as_ptr());
    if let Some(node) = node {
        drop(Waiter { node, irp }.fail(Status::CANCELLED));
    }
}
