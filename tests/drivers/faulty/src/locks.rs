//! Locks, waits and APC state: rules V033 to V036 and V075 to V104.

use core::{ptr, sync::atomic::AtomicUsize};

use wdk_sys::{
    FAST_MUTEX, KEVENT, LARGE_INTEGER, STATUS_DEVICE_NOT_READY,
    ntddk::{
        ExAcquireFastMutex, ExAcquireFastMutexUnsafe, ExAcquirePushLockExclusiveEx,
        ExReleaseFastMutex, ExReleaseFastMutexUnsafe, ExReleasePushLockExclusiveEx,
        IoAcquireCancelSpinLock, IoGetCurrentProcess, IoReleaseCancelSpinLock,
        KeAcquireInStackQueuedSpinLock, KeAcquireSpinLockRaiseToDpc, KeEnterCriticalRegion,
        KeEnterGuardedRegion, KeInitializeEvent, KeLeaveCriticalRegion, KeLeaveGuardedRegion,
        KeReleaseInStackQueuedSpinLock, KeReleaseSpinLock, KeSetEvent, KeStackAttachProcess,
        KeWaitForSingleObject,
    },
};

use crate::{
    control::{Answer, Fault, OK, Request},
    device::Scratch,
    pool,
    system::{APC, PASSIVE, USER_MODE, at_irql, lower_irql},
};

pub(crate) const FAULTS: &[Fault] = &[
    (33, queued_lock_released_at_passive),
    (35, unsafe_fast_mutex_with_apcs_enabled),
    (36, region_left_without_being_in_one),
    (75, fast_mutex_taken_twice),
    (76, two_orders_of_two_locks),
    (77, fast_mutex_without_initialisation),
    (78, released_in_the_wrong_order),
    (79, fast_mutex_released_by_another_thread),
    (80, fast_mutex_initialised_while_owned),
    (81, fast_mutex_released_before_acquired),
    (82, lock_released_by_another_family),
    (84, lock_freed_while_owned),
    (86, guarded_region_unbalanced),
    (87, queued_lock_held_at_return),
    (88, spin_lock_held_at_return),
    (89, cancel_lock_held_at_return),
    (91, critical_region_held_at_return),
    (97, user_wait_on_the_stack),
    (98, push_lock_with_apcs_enabled),
    (99, event_in_paged_pool),
    (308, endless_wait),
    (309, attached_at_return),
];

fn scratch(request: &Request) -> *mut Scratch {
    unsafe { &raw mut (*request.extension).scratch }
}

/// `ExInitializeFastMutex`.
pub(crate) fn initialize_fast_mutex(mutex: *mut FAST_MUTEX) {
    unsafe {
        (*mutex).Count = 1;
        (*mutex).Owner = ptr::null_mut();
        (*mutex).Contention = 0;
        KeInitializeEvent(&raw mut (*mutex).Event, 1, 0);
    }
}

/// Each lock taken and given back as it should be.
pub(crate) fn work(request: &Request) -> Answer {
    let scratch = scratch(request);
    unsafe {
        let (lock, second) = (&raw mut (*scratch).lock, &raw mut (*scratch).second_lock);
        let outer = KeAcquireSpinLockRaiseToDpc(lock);
        let inner = KeAcquireSpinLockRaiseToDpc(second);
        KeReleaseSpinLock(second, inner);
        KeReleaseSpinLock(lock, outer);

        let mutex = &raw mut (*scratch).mutex;
        initialize_fast_mutex(mutex);
        ExAcquireFastMutex(mutex);
        ExReleaseFastMutex(mutex);

        let irql = {
            let mut irql = 0;
            IoAcquireCancelSpinLock(&raw mut irql);
            irql
        };
        IoReleaseCancelSpinLock(irql);

        KeEnterGuardedRegion();
        KeLeaveGuardedRegion();
        KeEnterCriticalRegion();
        let push_lock = (&raw mut (*scratch).push_lock).cast();
        ExAcquirePushLockExclusiveEx(push_lock, 0);
        ExReleasePushLockExclusiveEx(push_lock, 0);
        KeLeaveCriticalRegion();
    }
    OK
}

fn queued_lock_released_at_passive(request: &Request) -> Answer {
    let scratch = scratch(request);
    unsafe {
        let (lock, queue) = (&raw mut (*scratch).second_lock, &raw mut (*scratch).queue);
        KeAcquireInStackQueuedSpinLock(lock, queue);
        lower_irql(PASSIVE);
        KeReleaseInStackQueuedSpinLock(queue);
    }
    OK
}

fn unsafe_fast_mutex_with_apcs_enabled(request: &Request) -> Answer {
    unsafe {
        let mutex = &raw mut (*scratch(request)).mutex;
        initialize_fast_mutex(mutex);
        ExAcquireFastMutexUnsafe(mutex);
        ExReleaseFastMutexUnsafe(mutex);
    }
    OK
}

fn region_left_without_being_in_one(_: &Request) -> Answer {
    unsafe { KeLeaveCriticalRegion() };
    OK
}

fn fast_mutex_taken_twice(request: &Request) -> Answer {
    unsafe {
        let mutex = &raw mut (*scratch(request)).mutex;
        initialize_fast_mutex(mutex);
        ExAcquireFastMutex(mutex);
        ExAcquireFastMutex(mutex);
    }
    OK
}

fn two_orders_of_two_locks(request: &Request) -> Answer {
    let scratch = scratch(request);
    unsafe {
        let (lock, second) = (&raw mut (*scratch).lock, &raw mut (*scratch).second_lock);
        for (first, then) in [(lock, second), (second, lock)] {
            let outer = KeAcquireSpinLockRaiseToDpc(first);
            let inner = KeAcquireSpinLockRaiseToDpc(then);
            KeReleaseSpinLock(then, inner);
            KeReleaseSpinLock(first, outer);
        }
    }
    OK
}

fn fast_mutex_without_initialisation(request: &Request) -> Answer {
    unsafe {
        let mutex = &raw mut (*scratch(request)).second_mutex;
        ExAcquireFastMutex(mutex);
        ExReleaseFastMutex(mutex);
    }
    OK
}

fn released_in_the_wrong_order(request: &Request) -> Answer {
    let scratch = scratch(request);
    unsafe {
        let (lock, second) = (&raw mut (*scratch).lock, &raw mut (*scratch).second_lock);
        let outer = KeAcquireSpinLockRaiseToDpc(lock);
        let inner = KeAcquireSpinLockRaiseToDpc(second);
        KeReleaseSpinLock(lock, inner);
        KeReleaseSpinLock(second, outer);
    }
    OK
}

fn fast_mutex_initialised_while_owned(request: &Request) -> Answer {
    unsafe {
        let mutex = &raw mut (*scratch(request)).mutex;
        initialize_fast_mutex(mutex);
        ExAcquireFastMutex(mutex);
        initialize_fast_mutex(mutex);
        ExReleaseFastMutex(mutex);
    }
    OK
}

fn fast_mutex_released_before_acquired(request: &Request) -> Answer {
    unsafe {
        let mutex = &raw mut (*scratch(request)).mutex;
        initialize_fast_mutex(mutex);
        at_irql(APC, || ExReleaseFastMutex(mutex));
    }
    OK
}

fn lock_released_by_another_family(request: &Request) -> Answer {
    let scratch = scratch(request);
    unsafe {
        let (lock, queue) = (&raw mut (*scratch).lock, &raw mut (*scratch).queue);
        KeAcquireInStackQueuedSpinLock(lock, queue);
        KeReleaseSpinLock(lock, PASSIVE);
    }
    OK
}

fn lock_freed_while_owned(_: &Request) -> Answer {
    unsafe {
        let block = pool::block(64);
        let lock = block.cast();
        let old = KeAcquireSpinLockRaiseToDpc(lock);
        pool::free(block);
        lower_irql(old);
    }
    OK
}

fn guarded_region_unbalanced(_: &Request) -> Answer {
    unsafe { KeLeaveGuardedRegion() };
    OK
}

fn queued_lock_held_at_return(request: &Request) -> Answer {
    let scratch = scratch(request);
    unsafe {
        let (lock, queue) = (&raw mut (*scratch).second_lock, &raw mut (*scratch).queue);
        KeAcquireInStackQueuedSpinLock(lock, queue);
    }
    OK
}

fn spin_lock_held_at_return(request: &Request) -> Answer {
    unsafe { KeAcquireSpinLockRaiseToDpc(&raw mut (*scratch(request)).lock) };
    OK
}

fn cancel_lock_held_at_return(_: &Request) -> Answer {
    let mut irql = 0;
    unsafe { IoAcquireCancelSpinLock(&raw mut irql) };
    OK
}

fn critical_region_held_at_return(_: &Request) -> Answer {
    unsafe { KeEnterCriticalRegion() };
    OK
}

fn user_wait_on_the_stack(_: &Request) -> Answer {
    let mut event = KEVENT::default();
    let mut due = LARGE_INTEGER { QuadPart: -10 };
    unsafe {
        KeInitializeEvent(&raw mut event, 0, 1);
        let object = (&raw mut event).cast();
        let _ = KeWaitForSingleObject(object, 0, USER_MODE, 0, &raw mut due);
    }
    OK
}

fn push_lock_with_apcs_enabled(request: &Request) -> Answer {
    unsafe {
        let push_lock = (&raw mut (*scratch(request)).push_lock).cast();
        ExAcquirePushLockExclusiveEx(push_lock, 0);
        ExReleasePushLockExclusiveEx(push_lock, 0);
    }
    OK
}

fn event_in_paged_pool(_: &Request) -> Answer {
    let block = pool::paged(size_of::<KEVENT>());
    unsafe { KeInitializeEvent(block.cast(), 0, 0) };
    pool::free(block);
    OK
}

/// Variant 0 takes the mutex and waits; variant 1, on another thread, gives it back and ends the wait.
fn fast_mutex_released_by_another_thread(request: &Request) -> Answer {
    let scratch = scratch(request);
    unsafe {
        let (mutex, event) = (&raw mut (*scratch).mutex, &raw mut (*scratch).event);
        if request.variant == 0 {
            initialize_fast_mutex(mutex);
            KeInitializeEvent(event, 0, 0);
            ExAcquireFastMutex(mutex);
            (*request.extension).stash[0] = 1;
            let _ = KeWaitForSingleObject(event.cast(), 0, 0, 0, ptr::null_mut());
            ExReleaseFastMutex(mutex);
        } else if (&raw const (*request.extension).stash[0]).read_volatile() == 1 {
            at_irql(APC, || ExReleaseFastMutex(mutex));
            KeSetEvent(event, 0, 0);
        } else {
            // The other thread has not taken the mutex yet.
            return Answer::Status(STATUS_DEVICE_NOT_READY);
        }
    }
    OK
}

fn endless_wait(request: &Request) -> Answer {
    unsafe {
        let event = &raw mut (*scratch(request)).event;
        KeInitializeEvent(event, 0, 0);
        let _ = KeWaitForSingleObject(event.cast(), 0, 0, 0, ptr::null_mut());
    }
    OK
}

fn attached_at_return(request: &Request) -> Answer {
    unsafe {
        let state = (&raw mut (*request.extension).stash).cast();
        KeStackAttachProcess(IoGetCurrentProcess().cast(), state);
    }
    OK
}

/// Takes a lock that this thread never gives back. It lies in the image, which outlives every device.
pub(crate) fn keep_for_ever() {
    static LOCK: AtomicUsize = AtomicUsize::new(0);
    unsafe {
        KeEnterCriticalRegion();
        ExAcquirePushLockExclusiveEx(LOCK.as_ptr().cast(), 0);
    }
}
