//! IRQL of calls: rules V028 to V074, one routine for each of the levels that they demand.

use core::{arch::asm, mem::size_of, ptr};

use wdk_sys::{
    FILE_DEVICE_UNKNOWN, HANDLE, IO_REMOVE_LOCK, KAPC_STATE, LARGE_INTEGER, PIRP, PVOID,
    ntddk::{
        ExAcquireFastMutex, ExAcquirePushLockExclusiveEx, ExReleaseFastMutex,
        ExReleasePushLockExclusiveEx, IoCreateDevice, IoDeleteDevice, IoDetachDevice,
        IoGetCurrentProcess, IoGetDmaAdapter, IoRegisterDeviceInterface, IoReleaseRemoveLockEx,
        KeAcquireInStackQueuedSpinLock, KeAcquireSpinLockAtDpcLevel, KeAcquireSpinLockRaiseToDpc,
        KeEnterCriticalRegion, KeEnterGuardedRegion, KeInitializeEvent, KeLeaveCriticalRegion,
        KeLeaveGuardedRegion, KeReleaseInStackQueuedSpinLock, KeReleaseSpinLock,
        KeReleaseSpinLockFromDpcLevel, KeSetEvent, KeStackAttachProcess, KeUnstackDetachProcess,
        KeWaitForSingleObject, MmFreeContiguousMemory, ObfDereferenceObject, ObfReferenceObject,
        PsSetCreateProcessNotifyRoutine, ZwClose,
    },
};

use crate::{
    contiguous::contiguous,
    control::{Answer, Fault, OK, Request},
    device::{INTERFACE, open_key},
    locks, mdl, pnp,
    system::{APC, DEVICE, DISPATCH, PASSIVE, address, at_irql, lower_irql, raise_irql},
    work_item::in_system_thread,
};

pub(crate) const FAULTS: &[Fault] = &[
    (28, raise_to_a_lower_level),
    (29, lower_to_a_higher_level),
    (30, spin_lock_released_at_passive),
    (31, fast_mutex_acquired_at_dispatch),
    (32, fast_mutex_released_at_passive),
    (37, at_dpc_level_below_dispatch),
    (38, spin_lock_acquired_above_dispatch),
    (48, event_set_above_dispatch),
    (49, critical_region_above_apc),
    (50, object_dereferenced_above_dispatch),
    (51, key_closed_in_a_guarded_region),
    (56, push_lock_at_dispatch),
    (58, device_deleted_at_dispatch),
    (59, device_created_at_apc),
    (60, key_opened_at_apc),
    (61, interface_registered_at_apc),
    (62, adapter_at_dispatch),
    (63, attach_at_dispatch),
    (64, queued_lock_above_dispatch),
    (66, event_set_with_wait_at_dispatch),
    (67, pages_allocated_at_dispatch),
    (68, contiguous_memory_freed_above_dispatch),
    (70, process_notification_at_apc),
    (72, string_freed_at_apc),
    (73, key_closed_at_apc),
    (74, remove_lock_released_above_dispatch),
    (90, interrupts_disabled),
    (94, wait_above_dispatch),
    (95, endless_wait_at_dispatch),
    (96, wait_with_timeout_at_dispatch),
    (187, dispatch_routine_changes_irql),
    (193, completion_above_dispatch),
];

/// Each change of IRQL that is allowed.
pub(crate) fn work(request: &Request) -> Answer {
    for level in [APC, DISPATCH, DEVICE] {
        at_irql(level, || ());
    }
    at_irql(APC, || at_irql(DISPATCH, || at_irql(DEVICE, || ())));
    unsafe {
        let event = &raw mut (*request.extension).scratch.event;
        KeInitializeEvent(event, 0, 0);
        at_irql(DISPATCH, || {
            KeSetEvent(event, 0, 0);
            let mut now = LARGE_INTEGER { QuadPart: 0 };
            let _ = KeWaitForSingleObject(event.cast(), 0, 0, 0, &raw mut now);
        });
        at_irql(APC, || {
            KeEnterCriticalRegion();
            let _ = KeWaitForSingleObject(event.cast(), 0, 0, 0, ptr::null_mut());
            KeLeaveCriticalRegion();
        });
    }
    OK
}

fn raise_to_a_lower_level(_: &Request) -> Answer {
    let old = raise_irql(DISPATCH);
    raise_irql(APC);
    lower_irql(old);
    OK
}

fn lower_to_a_higher_level(_: &Request) -> Answer {
    lower_irql(APC);
    lower_irql(PASSIVE);
    OK
}

fn spin_lock_released_at_passive(request: &Request) -> Answer {
    unsafe {
        let lock = &raw mut (*request.extension).scratch.lock;
        let old = KeAcquireSpinLockRaiseToDpc(lock);
        KeReleaseSpinLock(lock, old);
        KeReleaseSpinLock(lock, old);
    }
    OK
}

fn fast_mutex_acquired_at_dispatch(request: &Request) -> Answer {
    unsafe {
        let mutex = &raw mut (*request.extension).scratch.mutex;
        locks::initialize_fast_mutex(mutex);
        at_irql(DISPATCH, || {
            ExAcquireFastMutex(mutex);
            ExReleaseFastMutex(mutex);
        });
    }
    OK
}

fn fast_mutex_released_at_passive(request: &Request) -> Answer {
    unsafe {
        let mutex = &raw mut (*request.extension).scratch.mutex;
        locks::initialize_fast_mutex(mutex);
        ExAcquireFastMutex(mutex);
        lower_irql(PASSIVE);
        ExReleaseFastMutex(mutex);
    }
    OK
}

fn at_dpc_level_below_dispatch(request: &Request) -> Answer {
    unsafe {
        let lock = &raw mut (*request.extension).scratch.lock;
        KeAcquireSpinLockAtDpcLevel(lock);
        KeReleaseSpinLockFromDpcLevel(lock);
    }
    OK
}

fn spin_lock_acquired_above_dispatch(request: &Request) -> Answer {
    unsafe {
        let lock = &raw mut (*request.extension).scratch.lock;
        let old = raise_irql(DEVICE);
        let irql = KeAcquireSpinLockRaiseToDpc(lock);
        KeReleaseSpinLock(lock, irql);
        lower_irql(old);
    }
    OK
}

fn event_set_above_dispatch(request: &Request) -> Answer {
    unsafe {
        let event = &raw mut (*request.extension).scratch.event;
        KeInitializeEvent(event, 0, 0);
        at_irql(DEVICE, || KeSetEvent(event, 0, 0));
    }
    OK
}

fn critical_region_above_apc(_: &Request) -> Answer {
    at_irql(DISPATCH, || unsafe {
        KeEnterCriticalRegion();
        KeLeaveCriticalRegion();
    });
    OK
}

fn remove_lock_released_above_dispatch(request: &Request) -> Answer {
    let size = size_of::<IO_REMOVE_LOCK>() as u32;
    let tag: PIRP = request.irp.wrapping_add(1);
    let _ = pnp::acquire(request.extension, tag);
    at_irql(DEVICE, || unsafe {
        IoReleaseRemoveLockEx(&raw mut (*request.extension).remove_lock, tag.cast(), size);
    });
    OK
}

fn object_dereferenced_above_dispatch(request: &Request) -> Answer {
    unsafe {
        let pdo = (*request.extension).pdo.cast();
        ObfReferenceObject(pdo);
        at_irql(DEVICE, || ObfDereferenceObject(pdo));
    }
    OK
}

fn key_closed_in_a_guarded_region(request: &Request) -> Answer {
    let pdo = unsafe { (*request.extension).pdo };
    in_system_thread(request, &mut || {
        if let Some(key) = open_key(pdo) {
            unsafe {
                KeEnterGuardedRegion();
                let _ = ZwClose(key);
                KeLeaveGuardedRegion();
            }
        }
    })
}

fn key_closed_at_apc(request: &Request) -> Answer {
    let pdo = unsafe { (*request.extension).pdo };
    in_system_thread(request, &mut || {
        if let Some(key) = open_key(pdo) {
            let _ = at_irql(APC, || unsafe { ZwClose(key) });
        }
    })
}

fn device_deleted_at_dispatch(request: &Request) -> Answer {
    unsafe {
        let driver = (*(*request.extension).this).DriverObject;
        let mut device = ptr::null_mut();
        let name = ptr::null_mut();
        let _ = IoCreateDevice(
            driver,
            0,
            name,
            FILE_DEVICE_UNKNOWN,
            0x100,
            0,
            &raw mut device,
        );
        at_irql(DISPATCH, || IoDeleteDevice(device));
    }
    OK
}

fn device_created_at_apc(request: &Request) -> Answer {
    unsafe {
        let driver = (*(*request.extension).this).DriverObject;
        let mut device = ptr::null_mut();
        let name = ptr::null_mut();
        let _ = at_irql(APC, || {
            IoCreateDevice(
                driver,
                0,
                name,
                FILE_DEVICE_UNKNOWN,
                0x100,
                0,
                &raw mut device,
            )
        });
        if !device.is_null() {
            IoDeleteDevice(device);
        }
    }
    OK
}

fn interface_registered_at_apc(request: &Request) -> Answer {
    if request.variant == 1 {
        at_irql(APC, || unsafe {
            IoDetachDevice((*request.extension).lower)
        });
        return OK;
    }
    let pdo = unsafe { (*request.extension).pdo };
    in_system_thread(request, &mut || unsafe {
        let mut name = wdk_sys::UNICODE_STRING::default();
        let _ = at_irql(APC, || {
            let of = &raw const INTERFACE;
            IoRegisterDeviceInterface(pdo, of, ptr::null_mut(), &raw mut name)
        });
        if !name.Buffer.is_null() {
            wdk_sys::ntddk::RtlFreeUnicodeString(&raw mut name);
        }
    })
}

fn adapter_at_dispatch(request: &Request) -> Answer {
    unsafe {
        let (mut description, mut registers) = (pnp::description(), 0);
        let pdo = (*request.extension).pdo;
        let adapter = at_irql(DISPATCH, || {
            IoGetDmaAdapter(pdo, &raw mut description, &raw mut registers)
        });
        if !adapter.is_null() {
            crate::system::operation!(adapter, PutDmaAdapter)(adapter);
        }
    }
    OK
}

fn attach_at_dispatch(_: &Request) -> Answer {
    let mut state = KAPC_STATE::default();
    at_irql(DISPATCH, || unsafe {
        KeStackAttachProcess(IoGetCurrentProcess().cast(), &raw mut state);
        KeUnstackDetachProcess(&raw mut state);
    });
    OK
}

fn event_set_with_wait_at_dispatch(request: &Request) -> Answer {
    unsafe {
        let event = &raw mut (*request.extension).scratch.event;
        KeInitializeEvent(event, 0, 0);
        at_irql(DISPATCH, || KeSetEvent(event, 0, 1));
        let _ = KeWaitForSingleObject(event.cast(), 0, 0, 0, ptr::null_mut());
    }
    OK
}

fn pages_allocated_at_dispatch(_: &Request) -> Answer {
    let mdl = at_irql(DISPATCH, || mdl::pages(1));
    if !mdl.is_null() {
        mdl::free_pages(mdl);
    }
    OK
}

fn contiguous_memory_freed_above_dispatch(_: &Request) -> Answer {
    let block: PVOID = contiguous(1);
    at_irql(DEVICE, || unsafe { MmFreeContiguousMemory(block) });
    OK
}

unsafe extern "C" fn notify(_: HANDLE, _: HANDLE, _: u8) {}

fn process_notification_at_apc(_: &Request) -> Answer {
    unsafe {
        let status = at_irql(APC, || PsSetCreateProcessNotifyRoutine(Some(notify), 0));
        if status >= 0 {
            let _ = PsSetCreateProcessNotifyRoutine(Some(notify), 1);
        }
    }
    OK
}

/// Waits for an event that is set, so that nobody hangs.
fn wait_at(request: &Request, level: u8, timeout: Option<i64>) -> Answer {
    unsafe {
        let event = &raw mut (*request.extension).scratch.event;
        KeInitializeEvent(event, 0, 1);
        let mut due = address(timeout.unwrap_or(0));
        let due = timeout.map_or(ptr::null_mut(), |_| &raw mut due);
        let _ = at_irql(level, || KeWaitForSingleObject(event.cast(), 0, 0, 0, due));
    }
    OK
}

fn wait_above_dispatch(request: &Request) -> Answer {
    wait_at(request, DEVICE, Some(0))
}

fn endless_wait_at_dispatch(request: &Request) -> Answer {
    wait_at(request, DISPATCH, None)
}

fn wait_with_timeout_at_dispatch(request: &Request) -> Answer {
    wait_at(request, DISPATCH, Some(-10_000))
}

fn dispatch_routine_changes_irql(_: &Request) -> Answer {
    raise_irql(APC);
    OK
}

fn completion_above_dispatch(request: &Request) -> Answer {
    let status = at_irql(DEVICE, || crate::system::complete(request.irp, 0, 0));
    Answer::Done(status)
}

fn interrupts_disabled(_: &Request) -> Answer {
    unsafe { asm!("cli") };
    OK
}

fn push_lock_at_dispatch(request: &Request) -> Answer {
    let lock = unsafe { (&raw mut (*request.extension).scratch.push_lock).cast() };
    at_irql(DISPATCH, || unsafe {
        KeEnterCriticalRegion();
        ExAcquirePushLockExclusiveEx(lock, 0);
        ExReleasePushLockExclusiveEx(lock, 0);
        KeLeaveCriticalRegion();
    });
    OK
}

fn key_opened_at_apc(request: &Request) -> Answer {
    let pdo = unsafe { (*request.extension).pdo };
    in_system_thread(request, &mut || {
        if let Some(key) = at_irql(APC, || open_key(pdo)) {
            let _ = unsafe { ZwClose(key) };
        }
    })
}

fn queued_lock_above_dispatch(request: &Request) -> Answer {
    unsafe {
        let scratch = &raw mut (*request.extension).scratch;
        let (lock, queue) = (&raw mut (*scratch).second_lock, &raw mut (*scratch).queue);
        let old = raise_irql(DEVICE);
        KeAcquireInStackQueuedSpinLock(lock, queue);
        KeReleaseInStackQueuedSpinLock(queue);
        lower_irql(old);
    }
    OK
}

fn string_freed_at_apc(_: &Request) -> Answer {
    let mut empty = wdk_sys::UNICODE_STRING::default();
    at_irql(APC, || unsafe {
        wdk_sys::ntddk::RtlFreeUnicodeString(&raw mut empty);
    });
    OK
}
