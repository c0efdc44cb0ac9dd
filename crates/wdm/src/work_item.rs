//! Work for a thread of the system.
//!
//! Some routines of the kernel are for threads of the system alone, but a request comes in a thread of
//! its program. A work item hands a piece of work to one of the system's own worker threads.

// UNSAFETY: allocates, queues and frees work items, and hands over what the other thread needs.
#![expect(unsafe_code, reason = "calls the work item routines of the kernel")]

use core::{
    ffi::c_void,
    mem::{ManuallyDrop, MaybeUninit},
    ptr::NonNull,
};

use wdk_sys::{
    DEVICE_OBJECT, KEVENT, PIO_WORKITEM, WORK_QUEUE_TYPE,
    ntddk::{IoAllocateWorkItem, IoFreeWorkItem, IoQueueWorkItem},
};

use crate::{device::DeviceObject, event, pool::Owned, status::NoMemory};

/// `DelayedWorkQueue`, the one that drivers use.
const DELAYED: WORK_QUEUE_TYPE = 1;

/// A work item.
///
/// # Invariants
///
/// Allocated, not queued when this is dropped, and nobody else's.
struct WorkItem(PIO_WORKITEM);

impl WorkItem {
    fn new(device: &DeviceObject) -> Result<Self, NoMemory> {
        // SAFETY: the device is referenced, and the driver's own, as the caller of `run` says.
        let item = unsafe { IoAllocateWorkItem(device.as_ptr()) };
        if item.is_null() {
            return Err(NoMemory);
        }
        Ok(Self(item))
    }
}

impl Drop for WorkItem {
    fn drop(&mut self) {
        // SAFETY: allocated and not queued, by the invariant.
        unsafe { IoFreeWorkItem(self.0) };
    }
}

/// What both threads know. It lies in pool, so that neither depends on the other's stack.
struct Task<W, T> {
    work: ManuallyDrop<W>,
    /// Written before the event is signalled.
    result: MaybeUninit<T>,
    done: KEVENT,
}

/// Has `work` done by a thread of the system and waits for it. `device` is one that this driver made.
///
/// Nothing may be held that `work` waits for. It should not take long: the system has few such threads.
/// IRQL: `PASSIVE_LEVEL`, as in `work`.
///
/// # Errors
///
/// [`NoMemory`]; then nothing has been done.
pub fn run<T, W>(device: &DeviceObject, work: W) -> Result<T, NoMemory>
where
    T: Send,
    W: FnOnce() -> T + Send,
{
    let item = WorkItem::new(device)?;
    let task = Owned::new(Task {
        work: ManuallyDrop::new(work),
        result: MaybeUninit::uninit(),
        done: KEVENT::default(),
    });
    let Ok(task) = task else {
        return Err(NoMemory);
    };
    let raw = task.as_ptr();
    // SAFETY: the task is live; nothing is read.
    let done = unsafe { &raw mut (*raw).done };
    // SAFETY: the event lies in pool, and stays until the wait below is over.
    unsafe { event::initialize(done) };
    // SAFETY: the item is not queued, and the routine is given a task of its type, which it alone
    // uses until it signals.
    unsafe { IoQueueWorkItem(item.0, Some(serve::<T, W>), DELAYED, raw.cast()) };
    // SAFETY: set up above; the routine signals once.
    unsafe { event::wait(done) };
    // SAFETY: the task is live; nothing is read.
    let result = unsafe { &raw const (*raw).result };
    // SAFETY: the routine has written it and is done with the task.
    let result = unsafe { result.read() };
    // SAFETY: as above.
    Ok(unsafe { result.assume_init() })
}

/// Runs in a thread of the system. The I/O manager keeps the device, and so the driver, until it has
/// returned.
///
/// # Safety
///
/// Called by the system, with a task of these types, which nobody else uses before its event is
/// signalled.
unsafe extern "C" fn serve<T, W: FnOnce() -> T>(_device: *mut DEVICE_OBJECT, task: *mut c_void) {
    let Some(task) = NonNull::new(task.cast::<Task<W, T>>()) else {
        return;
    };
    let task = task.as_ptr();
    // SAFETY: the task is live, and nobody else uses it; here and below.
    let work = unsafe { &mut (*task).work };
    // SAFETY: taken once.
    let work = unsafe { ManuallyDrop::take(work) };
    let result = work();
    // SAFETY: as above; nothing is read.
    let place = unsafe { &raw mut (*task).result };
    // SAFETY: as above.
    unsafe { place.write(MaybeUninit::new(result)) };
    // SAFETY: as above; nothing is read.
    let done = unsafe { &raw mut (*task).done };
    // SAFETY: set up, and kept by the waiter until it is signalled. The task is not touched after it.
    unsafe { event::signal(done) };
}
