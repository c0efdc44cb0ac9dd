//! Memory given back while somebody else still has its pages locked or secured: rules V133 and V312.
//!
//! Each way is taken twice: with what keeps the memory ended too late, and, from variant [`IN_TIME`] on, in time.

use core::ptr;

use wdk_sys::{
    DMA_ADAPTER, PDMA_COMMON_BUFFER_VECTOR, PMDL, PVOID, ULONG,
    ntddk::{
        IoAllocateMdl, IoFreeMdl, MmFreeContiguousMemory, MmSecureVirtualMemory, MmUnlockPages,
        MmUnmapLockedPages, MmUnsecureVirtualMemory,
    },
};

use crate::{
    contiguous::contiguous,
    control::{Answer, Fault, OK, Request},
    dma,
    mdl::{ANY_NODE, CACHED, free_pages, lock, map_kernel, nonpaged_mdl, pages},
    pool,
    system::{KERNEL_MODE, PAGE, USER_MODE, address, operation},
    user,
};

pub(crate) const FAULTS: &[Fault] = &[(312, freed_while_locked)];

/// From this variant on nothing is wrong.
const IN_TIME: u32 = 16;

/// Two pages, the second of them locked.
const BYTES: usize = 2 * PAGE;

fn freed_while_locked(request: &Request) -> Answer {
    let in_time = request.variant >= IN_TIME;
    match request.variant % IN_TIME {
        0 => common_buffer(request, in_time),
        1 => common_buffer_shown(request, in_time),
        2 => common_buffers_of_a_vector(request, in_time),
        3 => contiguous_memory_shown(in_time),
        4 => pages_of_an_mdl(in_time),
        5 => pages_of_an_mdl_shown(in_time),
        6 => pool_block(in_time),
        _ => locked_twice(in_time),
    }
    OK
}

/// A page, locked by an MDL of its own.
fn locked(at: PVOID, mode: i8) -> PMDL {
    let mdl = unsafe { IoAllocateMdl(at, PAGE as ULONG, 0, 0, ptr::null_mut()) };
    let _ = lock(mdl, mode);
    mdl
}

fn unlock(mdl: PMDL) {
    unsafe {
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    }
}

/// Locks the second of two pages, and unlocks it after they were given back, or before.
fn around(base: PVOID, mode: i8, in_time: bool, give_back: impl FnOnce()) {
    let mdl = locked(base.wrapping_byte_add(PAGE), mode);
    if in_time {
        unlock(mdl);
        give_back();
    } else {
        give_back();
        unlock(mdl);
    }
}

/// Locks memory through a view that the caller's process gets, and loses before the memory is given back.
fn around_view(of: PMDL, in_time: bool, give_back: impl FnOnce()) {
    let Ok(view) = user::map_user(of) else { return };
    let view = view as PVOID;
    around(view, USER_MODE, in_time, || {
        unsafe { MmUnmapLockedPages(view, of) };
        give_back();
    });
}

/// The same with memory that has an address in the kernel.
fn around_view_of(base: PVOID, in_time: bool, give_back: impl FnOnce()) {
    unsafe { ptr::write_bytes(base.cast::<u8>(), 0, BYTES) };
    let of = nonpaged_mdl(base, BYTES);
    around_view(of, in_time, || {
        unsafe { IoFreeMdl(of) };
        give_back();
    });
}

fn common_buffer(request: &Request, in_time: bool) {
    let adapter = dma::adapter(request);
    let buffer = dma::allocate(adapter, BYTES as ULONG);
    around(buffer.memory, KERNEL_MODE, in_time, || {
        dma::free(adapter, buffer);
    });
}

fn common_buffer_shown(request: &Request, in_time: bool) {
    let adapter = dma::adapter(request);
    let buffer = dma::allocate(adapter, BYTES as ULONG);
    around_view_of(buffer.memory, in_time, || dma::free(adapter, buffer));
}

fn common_buffers_of_a_vector(request: &Request, in_time: bool) {
    let adapter: *mut DMA_ADAPTER = dma::adapter(request);
    let mut vector: PDMA_COMMON_BUFFER_VECTOR = ptr::null_mut();
    let (low, high) = (address(0), address(0xFFFF_FFFF));
    let (mut base, mut logical) = (ptr::null_mut(), address(0));
    unsafe {
        let allocate = operation!(adapter, AllocateCommonBufferVector);
        let (cached, bytes) = (CACHED as _, BYTES as u64);
        let vector_out = &raw mut vector;
        let _ = allocate(
            adapter, low, high, cached, ANY_NODE, 0, 3, bytes, vector_out,
        );
        let get = operation!(adapter, GetCommonBufferFromVectorByIndex);
        get(adapter, vector, 1, &raw mut base, &raw mut logical);
    }
    around(base, KERNEL_MODE, in_time, || unsafe {
        operation!(adapter, FreeCommonBufferVector)(adapter, vector);
    });
}

fn contiguous_memory_shown(in_time: bool) {
    let base = contiguous(2);
    around_view_of(base, in_time, || unsafe { MmFreeContiguousMemory(base) });
}

/// Locked through the mapping in the kernel, which goes before the pages do.
fn pages_of_an_mdl(in_time: bool) {
    let mdl = pages(2);
    let view = map_kernel(mdl);
    around(view, KERNEL_MODE, in_time, || {
        unsafe { MmUnmapLockedPages(view, mdl) };
        free_pages(mdl);
    });
}

fn pages_of_an_mdl_shown(in_time: bool) {
    let mdl = pages(2);
    around_view(mdl, in_time, || free_pages(mdl));
}

fn pool_block(in_time: bool) {
    let block = pool::block(BYTES);
    around(block.cast(), KERNEL_MODE, in_time, || pool::free(block));
}

/// Unlocked as often as once; in time is twice.
fn locked_twice(in_time: bool) {
    let base = contiguous(2);
    let mdl = locked(base.wrapping_byte_add(PAGE), KERNEL_MODE);
    around(base, KERNEL_MODE, true, || {});
    if in_time {
        unlock(mdl);
    }
    unsafe { MmFreeContiguousMemory(base) };
    if !in_time {
        unlock(mdl);
    }
}

/// Secures a view of our memory in the caller's process, and unsecures it after the view is gone, or before.
pub(crate) fn view_removed_while_secured(in_time: bool) {
    const PAGE_READWRITE: ULONG = 4;
    unsafe {
        let base = contiguous(1);
        ptr::write_bytes(base.cast::<u8>(), 0, PAGE);
        let of = nonpaged_mdl(base, PAGE);
        if let Ok(view) = user::map_user(of) {
            let view = view as PVOID;
            let secured = MmSecureVirtualMemory(view, PAGE as _, PAGE_READWRITE);
            if in_time {
                MmUnsecureVirtualMemory(secured);
            }
            MmUnmapLockedPages(view, of);
            if !in_time {
                MmUnsecureVirtualMemory(secured);
            }
        }
        IoFreeMdl(of);
        MmFreeContiguousMemory(base);
    }
}
