//! Pool: rules V001 to V027.

use core::{ffi::c_void, ptr};

use wdk_sys::{
    SIZE_T, STATUS_INSUFFICIENT_RESOURCES,
    ntddk::{
        ExAllocatePool2, ExFreePool, ExFreePoolWithTag, IoAllocateIrp, IoFreeMdl,
        MmFreePagesFromMdl,
    },
};

use crate::{
    contiguous,
    control::{Answer, Fault, OK, Request},
    dma, mdl,
    system::{DEVICE, DISPATCH, PAGE, PASSIVE, TAG, at_irql},
};

unsafe extern "C" {
    #[link_name = "ExAllocatePoolWithTag"]
    fn allocate_pool_with_tag(kind: i32, bytes: SIZE_T, tag: u32) -> *mut c_void;
}

const USE_QUOTA: u64 = 0x1;
const UNINITIALIZED: u64 = 0x2;
const NON_PAGED: u64 = 0x40;
const NON_PAGED_EXECUTE: u64 = 0x80;
const PAGED: u64 = 0x100;

pub(crate) const FAULTS: &[Fault] = &[
    (1, zero_bytes),
    (2, paged_above_apc),
    (3, nonpaged_above_dispatch),
    (4, free_of_what_was_never_allocated),
    (5, paged_freed_above_apc),
    (6, nonpaged_freed_above_dispatch),
    (7, double_free),
    (8, free_inside_a_block),
    (9, overrun_seen_at_free),
    (10, overrun_into_the_guard),
    (11, underrun_into_the_guard),
    (12, underrun_seen_at_free),
    (13, use_after_free),
    (16, leak),
    (17, irp_freed_as_pool),
    (19, quota_at_dispatch),
    (23, free_with_another_tag),
    (24, bad_flags),
    (25, obsolete_allocator),
    (26, uninitialised_output),
    (27, paged_memory_at_dispatch),
    (137, executable_pool),
];

/// A nonpaged block.
pub(crate) fn block(bytes: usize) -> *mut u8 {
    unsafe { ExAllocatePool2(NON_PAGED, bytes as SIZE_T, TAG).cast() }
}

/// A block of paged pool.
pub(crate) fn paged(bytes: usize) -> *mut u8 {
    unsafe { ExAllocatePool2(PAGED, bytes as SIZE_T, TAG).cast() }
}

/// Frees either.
pub(crate) fn free(block: *mut u8) {
    unsafe { ExFreePoolWithTag(block.cast(), TAG) };
}

/// Allocates from both pools, writes all of it, frees by both routines.
pub(crate) fn work(_: &Request) -> Answer {
    for bytes in [1, 16, 100, 4096, 10_000] {
        let (first, second) = (block(bytes), paged(bytes));
        if first.is_null() || second.is_null() {
            return Answer::Status(STATUS_INSUFFICIENT_RESOURCES);
        }
        unsafe {
            ptr::write_bytes(first, 0x55, bytes);
            ptr::write_bytes(second, 0x55, bytes);
            ExFreePool(first.cast());
        }
        free(second);
    }
    let kept = block(64);
    at_irql(DISPATCH, || free(kept));
    OK
}

fn zero_bytes(_: &Request) -> Answer {
    let _ = block(0);
    OK
}

fn paged_above_apc(_: &Request) -> Answer {
    let block = at_irql(DISPATCH, || paged(64));
    if !block.is_null() {
        free(block);
    }
    OK
}

fn nonpaged_above_dispatch(_: &Request) -> Answer {
    let block = at_irql(DEVICE, || block(64));
    if !block.is_null() {
        free(block);
    }
    OK
}

fn free_of_what_was_never_allocated(_: &Request) -> Answer {
    free(FAULTS.as_ptr().cast_mut().cast());
    OK
}

fn paged_freed_above_apc(_: &Request) -> Answer {
    let block = paged(64);
    at_irql(DISPATCH, || free(block));
    OK
}

fn nonpaged_freed_above_dispatch(_: &Request) -> Answer {
    let block = block(64);
    at_irql(DEVICE, || free(block));
    OK
}

fn double_free(request: &Request) -> Answer {
    match request.variant {
        0 => {
            let block = block(64);
            free(block);
            free(block);
        }
        1 => {
            let block = contiguous::contiguous(1);
            contiguous::free(block);
            contiguous::free(block);
        }
        2 => {
            let block = block(64);
            let mdl = mdl::nonpaged_mdl(block.cast(), 64);
            unsafe {
                IoFreeMdl(mdl);
                IoFreeMdl(mdl);
            }
            free(block);
        }
        _ => {
            let mdl = mdl::pages(1);
            unsafe {
                MmFreePagesFromMdl(mdl);
                MmFreePagesFromMdl(mdl);
                ExFreePool(mdl.cast());
            }
        }
    }
    OK
}

fn free_inside_a_block(_: &Request) -> Answer {
    let block = block(64);
    free(block.wrapping_add(16));
    free(block);
    OK
}

/// A block of a page and a half begins at a page, so that there is room behind it.
fn overrun_seen_at_free(_: &Request) -> Answer {
    let bytes = 3 * PAGE / 2;
    let block = block(bytes);
    unsafe { block.add(bytes).write_volatile(1) };
    free(block);
    OK
}

/// A page of pool, of contiguous memory, or of a common buffer.
fn whole_page(request: &Request) -> *mut u8 {
    match request.variant {
        0 => block(PAGE),
        1 => contiguous::contiguous(1).cast(),
        _ => dma::buffer_of_a_page(request),
    }
}

fn overrun_into_the_guard(request: &Request) -> Answer {
    let block = whole_page(request);
    unsafe { block.add(PAGE).write_volatile(1) };
    OK
}

fn underrun_into_the_guard(request: &Request) -> Answer {
    let block = whole_page(request);
    unsafe { block.wrapping_sub(1).write_volatile(1) };
    OK
}

/// A small block guards its start or its end; of two, one has room before it.
fn underrun_seen_at_free(_: &Request) -> Answer {
    let (first, second) = (block(64), block(64));
    let at_end = if (first as usize).is_multiple_of(PAGE) {
        second
    } else {
        first
    };
    unsafe { at_end.wrapping_sub(1).write_volatile(1) };
    free(first);
    free(second);
    OK
}

fn use_after_free(request: &Request) -> Answer {
    let block: *mut u8 = match request.variant {
        0 => {
            let block = block(64);
            free(block);
            block
        }
        1 => {
            let block = contiguous::contiguous(1);
            contiguous::free(block);
            block.cast()
        }
        2 => dma::freed_buffer(request),
        _ => mdl::removed_view(),
    };
    let byte = unsafe { block.read_volatile() };
    request.answer(byte.into())
}

fn leak(_: &Request) -> Answer {
    let _ = block(100);
    OK
}

fn irp_freed_as_pool(_: &Request) -> Answer {
    unsafe {
        let irp = IoAllocateIrp(1, 0);
        ExFreePool(irp.cast());
        wdk_sys::ntddk::IoFreeIrp(irp);
    }
    OK
}

fn quota_at_dispatch(_: &Request) -> Answer {
    let flags = NON_PAGED | USE_QUOTA;
    let block = at_irql(DISPATCH, || unsafe { ExAllocatePool2(flags, 64, TAG) });
    if !block.is_null() {
        free(block.cast());
    }
    OK
}

fn free_with_another_tag(_: &Request) -> Answer {
    let block = block(64);
    unsafe { ExFreePoolWithTag(block.cast(), TAG ^ 1) };
    OK
}

fn bad_flags(request: &Request) -> Answer {
    let (flags, tag) = match request.variant {
        0 => (NON_PAGED | PAGED, TAG),
        1 => (0, TAG),
        _ => (NON_PAGED, 0),
    };
    unsafe {
        let block = ExAllocatePool2(flags, 64, tag);
        if !block.is_null() {
            ExFreePool(block);
        }
    }
    OK
}

fn uninitialised_output(request: &Request) -> Answer {
    unsafe {
        let bytes = request.output_length;
        if request.variant == 1 {
            // What the system has left behind the input.
            return Answer::Bytes(bytes);
        }
        let block = ExAllocatePool2(NON_PAGED | UNINITIALIZED, bytes as SIZE_T, TAG).cast::<u8>();
        ptr::copy_nonoverlapping(block, request.buffer(), bytes);
        free(block);
        Answer::Bytes(bytes)
    }
}

fn paged_memory_at_dispatch(request: &Request) -> Answer {
    let block = paged(64);
    // As many as the caller wants, so that the compiler has to call for it.
    let bytes = request.output_length.min(64);
    at_irql(DISPATCH, || unsafe { ptr::write_bytes(block, 1, bytes) });
    free(block);
    OK
}

fn executable_pool(_: &Request) -> Answer {
    unsafe {
        let block = ExAllocatePool2(NON_PAGED_EXECUTE, 64, TAG);
        if !block.is_null() {
            ExFreePool(block);
        }
    }
    OK
}

fn obsolete_allocator(request: &Request) -> Answer {
    let level = if request.variant == 0 {
        PASSIVE
    } else {
        DEVICE
    };
    let block = at_irql(level, || unsafe { allocate_pool_with_tag(512, 64, TAG) });
    if !block.is_null() {
        free(block.cast());
    }
    OK
}
