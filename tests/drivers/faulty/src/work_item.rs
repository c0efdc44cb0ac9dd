//! Work items, and what is for threads of the system alone: rules V298, V313 and V314.

use core::{mem::size_of, ptr};

use wdk_sys::{
    DEVICE_OBJECT, KEVENT, PDEVICE_OBJECT, PIO_WORKITEM, PVOID, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_UNSUCCESSFUL, UNICODE_STRING, WORK_QUEUE_TYPE,
    ntddk::{
        IoAllocateWorkItem, IoFreeWorkItem, IoQueueWorkItem, IoRegisterDeviceInterface,
        IoSetDeviceInterfaceState, KeInitializeEvent, KeSetEvent, KeWaitForSingleObject,
        RtlFreeUnicodeString, ZwClose,
    },
};

use crate::{
    control::{Answer, Fault, OK, Request},
    device::{INTERFACE, open_key},
    pool,
    system::{DEVICE, at_irql},
};

pub(crate) const FAULTS: &[Fault] = &[
    (298, work_item_left),
    (313, called_in_a_programs_thread),
    (314, work_item_misused),
    (315, work_item_above_dispatch),
];

/// `CriticalWorkQueue`, which is not for drivers.
const CRITICAL: WORK_QUEUE_TYPE = 0;
/// `DelayedWorkQueue`.
const DELAYED: WORK_QUEUE_TYPE = 1;

/// What the thread of the system does, and how it says that it has.
struct Task<F> {
    work: *mut F,
    item: PIO_WORKITEM,
    /// How often the routine queues the item again.
    again: u32,
    /// The routine frees the item.
    frees: bool,
    done: KEVENT,
}

/// Has `work` done by a thread of the system and waits for it.
pub(crate) fn in_system_thread<F: FnMut()>(request: &Request, work: &mut F) -> Answer {
    run(request, work, 0, false)
}

fn run<F: FnMut()>(request: &Request, work: &mut F, again: u32, frees: bool) -> Answer {
    let task: *mut Task<F> = pool::block(size_of::<Task<F>>()).cast();
    let item = allocate(request);
    if task.is_null() || item.is_null() {
        return Answer::Status(STATUS_INSUFFICIENT_RESOURCES);
    }
    unsafe {
        task.write(Task {
            work,
            item,
            again,
            frees,
            done: KEVENT::default(),
        });
        let done = &raw mut (*task).done;
        KeInitializeEvent(done, 0, 0);
        IoQueueWorkItem(item, Some(serve::<F>), DELAYED, task.cast());
        let _ = KeWaitForSingleObject(done.cast(), 0, 0, 0, ptr::null_mut());
        if !frees {
            IoFreeWorkItem(item);
        }
    }
    pool::free(task.cast());
    OK
}

unsafe extern "C" fn serve<F: FnMut()>(_: *mut DEVICE_OBJECT, task: PVOID) {
    let task: *mut Task<F> = task.cast();
    unsafe {
        if (*task).again > 0 {
            (*task).again -= 1;
            IoQueueWorkItem((*task).item, Some(serve::<F>), DELAYED, task.cast());
            return;
        }
        (*(*task).work)();
        if (*task).frees {
            IoFreeWorkItem((*task).item);
        }
        KeSetEvent(&raw mut (*task).done, 0, 0);
    }
}

fn device(request: &Request) -> PDEVICE_OBJECT {
    unsafe { (*request.extension).this }
}

fn allocate(request: &Request) -> PIO_WORKITEM {
    unsafe { IoAllocateWorkItem(device(request)) }
}

/// Items that are freed by those who queued them and by their routines, and one that is queued again.
pub(crate) fn work(request: &Request) -> Answer {
    let pdo = unsafe { (*request.extension).pdo };
    let mut opened = 0;
    for (again, frees) in [(0, false), (0, true), (2, true)] {
        let mut open = || {
            if let Some(key) = open_key(pdo) {
                opened += 1;
                let _ = unsafe { ZwClose(key) };
            }
        };
        run(request, &mut open, again, frees);
    }
    if opened == 3 {
        OK
    } else {
        Answer::Status(STATUS_UNSUCCESSFUL)
    }
}

unsafe extern "C" fn nothing(_: *mut DEVICE_OBJECT, _: PVOID) {}

unsafe extern "C" fn free_own(_: *mut DEVICE_OBJECT, item: PVOID) {
    unsafe { IoFreeWorkItem(item.cast()) };
}

/// 0: an item is never freed; 1: it is queued, and freed by its routine, but nobody waits for that.
fn work_item_left(request: &Request) -> Answer {
    let item = allocate(request);
    if request.variant == 1 {
        unsafe { IoQueueWorkItem(item, Some(free_own), DELAYED, item.cast()) };
    }
    OK
}

fn called_in_a_programs_thread(request: &Request) -> Answer {
    unsafe {
        let pdo = (*request.extension).pdo;
        match request.variant {
            0 => {
                if let Some(key) = open_key(pdo) {
                    let _ = ZwClose(key);
                }
            }
            1 => {
                let mut name = UNICODE_STRING::default();
                let of = &raw const INTERFACE;
                let _ = IoRegisterDeviceInterface(pdo, of, ptr::null_mut(), &raw mut name);
                RtlFreeUnicodeString(&raw mut name);
            }
            _ => {
                let name = &raw mut (*request.extension).interface;
                let _ = IoSetDeviceInterfaceState(name, 0);
                let _ = IoSetDeviceInterfaceState(name, 1);
            }
        }
    }
    OK
}

fn work_item_misused(request: &Request) -> Answer {
    unsafe {
        match request.variant {
            0 => {
                let item = allocate(request);
                IoQueueWorkItem(item, Some(free_own), DELAYED, item.cast());
                IoQueueWorkItem(item, Some(nothing), DELAYED, ptr::null_mut());
            }
            1 => {
                let item = allocate(request);
                IoQueueWorkItem(item, Some(free_own), DELAYED, item.cast());
                IoFreeWorkItem(item);
            }
            2 => {
                let item = allocate(request);
                IoFreeWorkItem(item);
                IoFreeWorkItem(item);
            }
            3 => IoFreeWorkItem(IoAllocateWorkItem((*request.extension).pdo)),
            4 => {
                let item = allocate(request);
                IoQueueWorkItem(item, Some(free_own), CRITICAL, item.cast());
            }
            5 => {
                let driver = (*device(request)).DriverObject;
                let item = IoAllocateWorkItem(driver.cast());
                IoQueueWorkItem(item, Some(nothing), DELAYED, ptr::null_mut());
                IoFreeWorkItem(item);
            }
            6 => {
                let item = allocate(request);
                IoFreeWorkItem(item);
                IoQueueWorkItem(item, Some(nothing), DELAYED, ptr::null_mut());
            }
            _ => IoQueueWorkItem(ptr::null_mut(), Some(nothing), DELAYED, ptr::null_mut()),
        }
    }
    OK
}

/// Which call is made above `DISPATCH_LEVEL`: 0 the allocation, 1 the queuing, 2 the freeing.
fn work_item_above_dispatch(request: &Request) -> Answer {
    unsafe {
        let item = if request.variant == 0 {
            at_irql(DEVICE, || allocate(request))
        } else {
            allocate(request)
        };
        if request.variant == 1 {
            at_irql(DEVICE, || {
                IoQueueWorkItem(item, Some(free_own), DELAYED, item.cast());
            });
        } else if request.variant == 2 {
            at_irql(DEVICE, || IoFreeWorkItem(item));
        } else {
            IoFreeWorkItem(item);
        }
    }
    OK
}
