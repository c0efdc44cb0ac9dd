//! Objects, handles, strings, remove locks: rules V253 to V268, V191, V199, V239.

use core::mem::size_of;

use wdk_sys::{
    HANDLE, IO_REMOVE_LOCK, KEY_READ, OBJ_KERNEL_HANDLE, OBJECT_ATTRIBUTES, STATUS_SUCCESS, ULONG,
    UNICODE_STRING,
    ntddk::{
        EtwUnregister, ExInitializeRundownProtection, ExWaitForRundownProtectionRelease,
        IoDeleteDevice, IoReleaseRemoveLockAndWaitEx, IoReleaseRemoveLockEx, ObfDereferenceObject,
        ObfReferenceObject, ZwClose, ZwOpenKey, ZwQueryValueKey, memcpy,
    },
};

use crate::{
    control::{Answer, Fault, OK, Request},
    device::{FAULT_VALUE, initialize_remove_lock, open_key, unicode},
    pnp, pool,
    work_item::in_system_thread,
};

pub(crate) const FAULTS: &[Fault] = &[
    (216, device_of_the_bus_deleted),
    (253, remove_lock_released_with_another_tag),
    (254, remove_lock_initialised_again),
    (256, event_provider_never_registered),
    (260, user_address_for_a_system_service),
    (261, malformed_string),
    (262, overlapping_copy),
    (263, bad_handle),
    (264, key_in_the_callers_handle_table),
    (266, reference_dropped_twice),
    (268, key_left_open),
    (293, device_reference_left),
    (296, remove_lock_waited_for_in_a_request),
];

/// A key opened, read and closed; references taken and dropped.
pub(crate) fn work(request: &Request) -> Answer {
    unsafe {
        let pdo = (*request.extension).pdo;
        in_system_thread(request, &mut || {
            if let Some(key) = open_key(pdo) {
                let _ = query(key, &mut unicode(&FAULT_VALUE));
                let _ = ZwClose(key);
            }
        });
        ObfReferenceObject(pdo.cast());
        ObfDereferenceObject(pdo.cast());
        let block = pool::block(64);
        ExInitializeRundownProtection(block.cast());
        ExWaitForRundownProtectionRelease(block.cast());
        pool::free(block);
    }
    let tag = request.irp.wrapping_add(1);
    if pnp::acquire(request.extension, tag) == STATUS_SUCCESS {
        pnp::release(request.extension, tag);
    }
    OK
}

fn query(key: HANDLE, name: &mut UNICODE_STRING) -> i32 {
    let mut value = [0_u32; 4];
    let mut length = 0;
    let bytes = size_of_val(&value) as ULONG;
    unsafe {
        ZwQueryValueKey(
            key,
            &raw mut *name,
            2 as _,
            value.as_mut_ptr().cast(),
            bytes,
            &raw mut length,
        )
    }
}

fn remove_lock_released_with_another_tag(request: &Request) -> Answer {
    let tag = request.irp.wrapping_add(1);
    let _ = pnp::acquire(request.extension, tag);
    pnp::release(request.extension, request.irp.wrapping_add(2));
    pnp::release(request.extension, tag);
    OK
}

fn remove_lock_initialised_again(request: &Request) -> Answer {
    unsafe {
        let lock = &raw mut (*request.extension).scratch.remove_lock;
        initialize_remove_lock(lock);
        initialize_remove_lock(lock);
    }
    OK
}

fn event_provider_never_registered(_: &Request) -> Answer {
    let _ = unsafe { EtwUnregister(0xDEAD) };
    OK
}

fn attributes(name: &mut UNICODE_STRING) -> OBJECT_ATTRIBUTES {
    OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as ULONG,
        ObjectName: &raw mut *name,
        Attributes: OBJ_KERNEL_HANDLE,
        ..OBJECT_ATTRIBUTES::default()
    }
}

fn user_address_for_a_system_service(request: &Request) -> Answer {
    let mut name = unicode(&FAULT_VALUE);
    let mut attributes = attributes(&mut name);
    unsafe {
        // The handle would be written to the caller's memory.
        let handle = request.value as *mut HANDLE;
        let _ = ZwOpenKey(handle, KEY_READ, &raw mut attributes);
    }
    OK
}

fn malformed_string(request: &Request) -> Answer {
    let pdo = unsafe { (*request.extension).pdo };
    in_system_thread(request, &mut || {
        if let Some(key) = open_key(pdo) {
            let mut name = unicode(&FAULT_VALUE);
            name.Length = 7;
            let _ = query(key, &mut name);
            let _ = unsafe { ZwClose(key) };
        }
    })
}

fn overlapping_copy(_: &Request) -> Answer {
    let block = pool::block(256);
    unsafe {
        let copy: unsafe extern "C" fn(*mut _, *const _, _) -> *mut _ = memcpy;
        // Through a pointer that the compiler cannot see through, or it makes a move of it.
        let copy = core::hint::black_box(copy);
        copy(block.wrapping_add(8).cast(), block.cast(), 128);
    }
    pool::free(block);
    OK
}

fn bad_handle(_: &Request) -> Answer {
    let _ = unsafe { ZwClose(0xDEAC as HANDLE) };
    OK
}

fn key_in_the_callers_handle_table(_: &Request) -> Answer {
    let mut name = unicode(&FAULT_VALUE);
    let mut attributes = attributes(&mut name);
    attributes.Attributes = 0;
    let mut key: HANDLE = core::ptr::null_mut();
    unsafe {
        if ZwOpenKey(&raw mut key, KEY_READ, &raw mut attributes) == STATUS_SUCCESS {
            let _ = ZwClose(key);
        }
    }
    OK
}

fn reference_dropped_twice(request: &Request) -> Answer {
    unsafe {
        let pdo = (*request.extension).pdo;
        ObfReferenceObject(pdo.cast());
        for _ in 0..64 {
            ObfDereferenceObject(pdo.cast());
        }
    }
    OK
}

fn key_left_open(request: &Request) -> Answer {
    let pdo = unsafe { (*request.extension).pdo };
    in_system_thread(request, &mut || {
        let _ = open_key(pdo);
    })
}

fn device_reference_left(request: &Request) -> Answer {
    unsafe { ObfReferenceObject((*request.extension).pdo.cast()) };
    OK
}

/// A remove lock of its own, so that the device's still works.
fn remove_lock_waited_for_in_a_request(request: &Request) -> Answer {
    let size = size_of::<IO_REMOVE_LOCK>() as ULONG;
    unsafe {
        let lock = &raw mut (*request.extension).scratch.remove_lock;
        initialize_remove_lock(lock);
        let tag = request.irp.cast();
        let _ = wdk_sys::ntddk::IoAcquireRemoveLockEx(lock, tag, c"".as_ptr(), 0, size);
        let _ = wdk_sys::ntddk::IoAcquireRemoveLockEx(lock, tag, c"".as_ptr(), 0, size);
        IoReleaseRemoveLockEx(lock, tag, size);
        IoReleaseRemoveLockAndWaitEx(lock, tag, size);
    }
    OK
}

fn device_of_the_bus_deleted(request: &Request) -> Answer {
    unsafe { IoDeleteDevice((*request.extension).pdo) };
    OK
}
