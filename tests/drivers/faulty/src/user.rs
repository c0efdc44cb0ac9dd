//! Memory that programs see, and their own memory: rules V043, V122 to V133, V258, V269.

use core::{ffi::c_void, ptr};

use wdk_sys::{
    PMDL, PVOID, ULONG,
    ntddk::{
        IoAllocateMdl, IoFreeMdl, KeInitializeEvent, MmFreeContiguousMemory,
        MmMapLockedPagesSpecifyCache, MmSecureVirtualMemory, MmUnlockPages, MmUnmapLockedPages,
        MmUnsecureVirtualMemory,
    },
};

use crate::{
    contiguous::contiguous,
    control::{Answer, Fault, OK, Request},
    device::Extension,
    guard, locked,
    mdl::{CACHED, lock, nonpaged_mdl},
    pool,
    system::{DISPATCH, KERNEL_MODE, NORMAL_NO_EXECUTE, PAGE, USER_MODE, at_irql, current_stack},
};

pub(crate) const FAULTS: &[Fault] = &[
    (43, user_map_above_apc),
    (122, user_pages_left_locked),
    (127, user_sees_old_contents),
    (128, user_sees_part_of_a_page),
    (133, secured_wrongly),
    (258, user_address_for_a_kernel_routine),
    (269, unguarded_user_access),
];

pub(crate) fn map_user(mdl: PMDL) -> Result<usize, u32> {
    let routine = MmMapLockedPagesSpecifyCache as *const c_void;
    let arguments = [
        mdl as usize,
        USER_MODE as usize,
        CACHED as usize,
        0,
        0,
        NORMAL_NO_EXECUTE as usize,
    ];
    guard::call(routine, arguments)
}

/// The caller's own memory: the page that the input names, or the input buffer of a request that hands over addresses.
fn user_buffer(request: &Request) -> (PVOID, usize) {
    if request.value != 0 {
        return (request.value as PVOID, PAGE);
    }
    unsafe {
        let parameters = (*current_stack(request.irp)).Parameters.DeviceIoControl;
        (
            parameters.Type3InputBuffer,
            parameters.InputBufferLength as usize,
        )
    }
}

/// Locks an address of the caller's choice; answers with the exception.
pub(crate) fn lock_guarded(request: &Request) -> Answer {
    unsafe {
        let mdl = IoAllocateMdl(request.value as PVOID, 64, 0, 0, ptr::null_mut());
        let result = lock(mdl, USER_MODE);
        if result.is_ok() {
            MmUnlockPages(mdl);
        }
        IoFreeMdl(mdl);
        request.answer(result.map_or_else(|code| code as usize, |_| 0))
    }
}

/// Maps zeroed memory to the calling process and answers with the address; what it takes is kept in the stash.
pub(crate) fn map_to_user(request: &Request) -> Answer {
    unsafe {
        let block = contiguous(1);
        ptr::write_bytes(block.cast::<u8>(), 0, PAGE);
        let mdl = nonpaged_mdl(block, PAGE);
        let view = map_user(mdl).unwrap_or(0);
        (*request.extension).stash = [block as usize, mdl as usize, view, 0, 0, 0];
        request.answer(view)
    }
}

/// Takes it back, in whichever process asks; variant 1 leaves the memory, which another process may still see.
pub(crate) fn unmap_from_user(request: &Request) -> Answer {
    let extension: *mut Extension = request.extension;
    unsafe {
        let [block, mdl, view, ..] = (*extension).stash;
        if view != 0 {
            MmUnmapLockedPages(view as PVOID, mdl as PMDL);
        }
        if request.variant != 1 {
            IoFreeMdl(mdl as PMDL);
            MmFreeContiguousMemory(block as PVOID);
        }
    }
    OK
}

fn user_map_above_apc(_: &Request) -> Answer {
    unsafe {
        let block = contiguous(1);
        ptr::write_bytes(block.cast::<u8>(), 0, PAGE);
        let mdl = nonpaged_mdl(block, PAGE);
        if let Ok(view) = at_irql(DISPATCH, || map_user(mdl)) {
            at_irql(DISPATCH, || MmUnmapLockedPages(view as PVOID, mdl));
        }
        IoFreeMdl(mdl);
        MmFreeContiguousMemory(block);
    }
    OK
}

fn user_pages_left_locked(request: &Request) -> Answer {
    let (buffer, bytes) = user_buffer(request);
    let mdl = unsafe { IoAllocateMdl(buffer, bytes as ULONG, 0, 0, ptr::null_mut()) };
    match lock(mdl, USER_MODE) {
        Ok(_) => OK,
        Err(code) => Answer::Status(code.cast_signed()),
    }
}

/// Contiguous memory as the system gave it, shown to a program.
fn user_sees_old_contents(_: &Request) -> Answer {
    unsafe {
        let block = contiguous(1);
        let mdl = nonpaged_mdl(block, PAGE);
        if let Ok(view) = map_user(mdl) {
            MmUnmapLockedPages(view as PVOID, mdl);
        }
        IoFreeMdl(mdl);
        MmFreeContiguousMemory(block);
    }
    OK
}

fn user_sees_part_of_a_page(_: &Request) -> Answer {
    let block = pool::block(100);
    let mdl = nonpaged_mdl(block.cast(), 100);
    unsafe {
        if let Ok(view) = map_user(mdl) {
            MmUnmapLockedPages(view as PVOID, mdl);
        }
        IoFreeMdl(mdl);
    }
    pool::free(block);
    OK
}

/// The caller's own memory (variant 0), or a view of ours removed while it is secured (1), or after (2).
fn secured_wrongly(request: &Request) -> Answer {
    const PAGE_READONLY: ULONG = 2;
    if request.variant != 0 {
        locked::view_removed_while_secured(request.variant == 2);
        return OK;
    }
    let (buffer, bytes) = user_buffer(request);
    unsafe {
        let secured = MmSecureVirtualMemory(buffer, bytes as _, PAGE_READONLY);
        MmUnsecureVirtualMemory(secured);
        MmUnsecureVirtualMemory(secured);
    }
    OK
}

fn user_address_for_a_kernel_routine(request: &Request) -> Answer {
    let (buffer, bytes) = user_buffer(request);
    unsafe {
        if request.variant == 1 {
            KeInitializeEvent(buffer.cast(), 0, 0);
            return OK;
        }
        // Without the probe that a user address needs.
        let mdl = IoAllocateMdl(buffer, bytes as ULONG, 0, 0, ptr::null_mut());
        if lock(mdl, KERNEL_MODE).is_ok() {
            MmUnlockPages(mdl);
        }
        IoFreeMdl(mdl);
    }
    OK
}

fn unguarded_user_access(request: &Request) -> Answer {
    let (buffer, _) = user_buffer(request);
    let byte = unsafe { buffer.cast::<u8>().read_volatile() };
    let _ = core::hint::black_box(byte);
    OK
}
