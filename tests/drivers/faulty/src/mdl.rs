//! MDLs and mappings in the kernel: rules V039 to V047, V108 to V139.

use core::{ffi::c_void, ptr};

use wdk_sys::{
    PMDL, PVOID, SIZE_T, STATUS_INSUFFICIENT_RESOURCES, ULONG,
    ntddk::{
        ExFreePool, IoAllocateMdl, IoFreeMdl, MmAllocateContiguousMemory,
        MmAllocateContiguousMemorySpecifyCache, MmAllocatePagesForMdlEx, MmBuildMdlForNonPagedPool,
        MmFreeContiguousMemory, MmFreeContiguousMemorySpecifyCache, MmFreePagesFromMdl,
        MmMapLockedPages, MmMapLockedPagesSpecifyCache, MmProbeAndLockPages, MmUnlockPages,
        MmUnmapLockedPages,
    },
};

use crate::{
    contiguous::contiguous,
    control::{Answer, Fault, OK, Request},
    dma_map, guard, pool,
    system::{
        DEVICE, KERNEL_MODE, NORMAL_NO_EXECUTE, PAGE, PASSIVE, address, at_irql, system_address,
    },
    user,
};

pub(crate) const CACHED: i32 = 1;
pub(crate) const NON_CACHED: i32 = 0;
pub(crate) const ALL_ADDRESSES: i64 = i64::MAX;
pub(crate) const ANY_NODE: ULONG = 0x8000_0000;
const MODIFY: i32 = 2;

pub(crate) const FAULTS: &[Fault] = &[
    (39, lock_above_dispatch),
    (42, map_above_dispatch),
    (44, unlock_above_dispatch),
    (45, unmap_above_dispatch),
    (108, unlock_of_what_was_never_locked),
    (109, unlock_of_nonpaged_pool),
    (110, paged_pool_described_as_nonpaged),
    (111, obsolete_mapping),
    (112, bug_check_on_failure),
    (114, map_of_what_is_not_locked),
    (115, kernel_object_mapped),
    (116, locked_twice),
    (117, mapped_twice),
    (118, map_of_a_hand_made_mdl),
    (119, partial_mdl_unlocked),
    (120, freed_while_mapped),
    (121, stack_described_as_nonpaged),
    (123, unlocked_twice),
    (130, page_mdl_half_freed),
    (131, partial_allocation_taken_as_full),
    (132, leak),
    (134, two_cache_types),
    (139, executable_mapping),
    (300, unchecked_null),
];

/// Pages without an address, in an MDL of their own.
pub(crate) fn pages(count: usize) -> PMDL {
    unsafe {
        let (low, high, skip) = (address(0), address(ALL_ADDRESSES), address(0));
        MmAllocatePagesForMdlEx(low, high, skip, (count * PAGE) as SIZE_T, CACHED as _, 0)
    }
}

/// Gives such pages back, and the MDL.
pub(crate) fn free_pages(mdl: PMDL) {
    unsafe {
        MmFreePagesFromMdl(mdl);
        ExFreePool(mdl.cast());
    }
}

/// An MDL of nonpaged memory.
pub(crate) fn nonpaged_mdl(block: PVOID, bytes: usize) -> PMDL {
    unsafe {
        let mdl = IoAllocateMdl(block, bytes as ULONG, 0, 0, ptr::null_mut());
        if !mdl.is_null() {
            MmBuildMdlForNonPagedPool(mdl);
        }
        mdl
    }
}

/// An MDL of paged pool with its pages locked, and the pool.
fn locked_mdl() -> (PMDL, *mut u8) {
    let block = pool::paged(PAGE);
    let mdl = unsafe { IoAllocateMdl(block.cast(), PAGE as ULONG, 0, 0, ptr::null_mut()) };
    let _ = lock(mdl, KERNEL_MODE);
    (mdl, block)
}

pub(crate) fn lock(mdl: PMDL, mode: i8) -> Result<usize, u32> {
    let routine = MmProbeAndLockPages as *const c_void;
    guard::call(
        routine,
        [mdl as usize, mode as usize, MODIFY as usize, 0, 0, 0],
    )
}

/// Unlocks, and frees both.
fn free_locked((mdl, block): (PMDL, *mut u8)) {
    unsafe {
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    }
    pool::free(block);
}

/// A mapping that does not raise.
pub(crate) fn map_kernel(mdl: PMDL) -> PVOID {
    unsafe {
        let base = ptr::null_mut();
        MmMapLockedPagesSpecifyCache(mdl, KERNEL_MODE, CACHED as _, base, 0, NORMAL_NO_EXECUTE)
    }
}

/// Memory of each kind, locked, mapped, written, given back.
pub(crate) fn work(_: &Request) -> Answer {
    unsafe {
        let block = contiguous(3);
        let mdl = pages(4);
        if block.is_null() || mdl.is_null() {
            return Answer::Status(STATUS_INSUFFICIENT_RESOURCES);
        }
        ptr::write_bytes(block.cast::<u8>(), 0, 3 * PAGE);
        let view = map_kernel(mdl);
        ptr::write_bytes(view.cast::<u8>(), 0, 4 * PAGE);
        MmUnmapLockedPages(view, mdl);
        free_pages(mdl);
        let mdl = nonpaged_mdl(block, 3 * PAGE);
        if let Ok(view) = user::map_user(mdl) {
            MmUnmapLockedPages(view as PVOID, mdl);
        }
        IoFreeMdl(mdl);
        MmFreeContiguousMemory(block);
        let (mdl, block) = locked_mdl();
        system_address(mdl).cast::<u8>().write_volatile(1);
        free_locked((mdl, block));
        // Without protection, and thus only for work that never maps it elsewhere.
        let (low, high) = (address(0), address(ALL_ADDRESSES));
        let cached = CACHED as _;
        let size = PAGE as SIZE_T;
        let block = MmAllocateContiguousMemorySpecifyCache(size, low, high, address(0), cached);
        MmFreeContiguousMemorySpecifyCache(block, size, cached);
    }
    OK
}

/// Where pages were mapped.
pub(crate) fn removed_view() -> *mut u8 {
    let mdl = pages(1);
    let view = map_kernel(mdl);
    unsafe { MmUnmapLockedPages(view, mdl) };
    free_pages(mdl);
    view.cast()
}

fn lock_above_dispatch(_: &Request) -> Answer {
    let block = pool::block(PAGE);
    unsafe {
        let mdl = IoAllocateMdl(block.cast(), PAGE as ULONG, 0, 0, ptr::null_mut());
        at_irql(DEVICE, || {
            MmProbeAndLockPages(mdl, KERNEL_MODE, MODIFY as _);
        });
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    }
    pool::free(block);
    OK
}

fn map_above_dispatch(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    let view = at_irql(DEVICE, || map_kernel(mdl));
    if !view.is_null() {
        unsafe { MmUnmapLockedPages(view, mdl) };
    }
    free_locked((mdl, block));
    OK
}

fn unlock_above_dispatch(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    unsafe {
        at_irql(DEVICE, || MmUnlockPages(mdl));
        IoFreeMdl(mdl);
    }
    pool::free(block);
    OK
}

fn unmap_above_dispatch(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    let view = map_kernel(mdl);
    at_irql(DEVICE, || unsafe { MmUnmapLockedPages(view, mdl) });
    free_locked((mdl, block));
    OK
}

fn unlock_of_what_was_never_locked(_: &Request) -> Answer {
    let block = pool::block(PAGE);
    unsafe {
        let mdl = IoAllocateMdl(block.cast(), PAGE as ULONG, 0, 0, ptr::null_mut());
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    }
    pool::free(block);
    OK
}

fn unlock_of_nonpaged_pool(_: &Request) -> Answer {
    let block = pool::block(PAGE);
    let mdl = nonpaged_mdl(block.cast(), PAGE);
    unsafe {
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    }
    pool::free(block);
    OK
}

fn paged_pool_described_as_nonpaged(_: &Request) -> Answer {
    let block = pool::paged(PAGE);
    let mdl = nonpaged_mdl(block.cast(), PAGE);
    unsafe { IoFreeMdl(mdl) };
    pool::free(block);
    OK
}

fn bug_check_on_failure(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    unsafe {
        let base = ptr::null_mut();
        let priority = NORMAL_NO_EXECUTE;
        let _ = MmMapLockedPagesSpecifyCache(mdl, KERNEL_MODE, CACHED as _, base, 1, priority);
    }
    free_locked((mdl, block));
    OK
}

fn map_of_what_is_not_locked(_: &Request) -> Answer {
    let block = pool::block(PAGE);
    unsafe {
        let mdl = IoAllocateMdl(block.cast(), PAGE as ULONG, 0, 0, ptr::null_mut());
        let view = map_kernel(mdl);
        if !view.is_null() {
            MmUnmapLockedPages(view, mdl);
        }
        IoFreeMdl(mdl);
    }
    pool::free(block);
    OK
}

/// What `MmInitializeMdl` makes in memory of the driver's own, with pages that nobody has filled in.
fn map_of_a_hand_made_mdl(_: &Request) -> Answer {
    let (memory, block) = (pool::block(64), pool::block(PAGE));
    unsafe {
        let mdl: PMDL = memory.cast();
        (*mdl).Size = 56;
        (*mdl).StartVa = block.cast();
        (*mdl).ByteCount = PAGE as ULONG;
        let view = map_kernel(mdl);
        if !view.is_null() {
            MmUnmapLockedPages(view, mdl);
        }
    }
    pool::free(block);
    pool::free(memory);
    OK
}

fn locked_twice(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    let _ = lock(mdl, KERNEL_MODE);
    free_locked((mdl, block));
    OK
}

fn mapped_twice(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    let _ = (map_kernel(mdl), map_kernel(mdl));
    free_locked((mdl, block));
    OK
}

fn partial_mdl_unlocked(_: &Request) -> Answer {
    const PARTIAL: i16 = 0x10;
    let (mdl, block) = locked_mdl();
    unsafe {
        // What `IoBuildPartialMdl` leaves in an MDL over some of the pages of this one.
        (*mdl).MdlFlags |= PARTIAL;
        MmUnlockPages(mdl);
        (*mdl).MdlFlags &= !PARTIAL;
    }
    free_locked((mdl, block));
    OK
}

fn freed_while_mapped(request: &Request) -> Answer {
    unsafe {
        if request.variant == 1 {
            let block = contiguous(1);
            ptr::write_bytes(block.cast::<u8>(), 0, PAGE);
            let mdl = nonpaged_mdl(block, PAGE);
            let _ = user::map_user(mdl);
            IoFreeMdl(mdl);
            MmFreeContiguousMemory(block);
        } else {
            let (mdl, block) = locked_mdl();
            if request.variant == 0 {
                let _ = map_kernel(mdl);
            }
            IoFreeMdl(mdl);
            pool::free(block);
        }
    }
    OK
}

fn unlocked_twice(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    unsafe { MmUnlockPages(mdl) };
    free_locked((mdl, block));
    OK
}

fn page_mdl_half_freed(request: &Request) -> Answer {
    let mdl = pages(1);
    unsafe {
        match request.variant {
            // Without its pages.
            0 => {
                ExFreePool(mdl.cast());
                free_pages(mdl);
            }
            1 => {
                MmFreePagesFromMdl(mdl);
                IoFreeMdl(mdl);
                ExFreePool(mdl.cast());
            }
            // Without itself.
            _ => MmFreePagesFromMdl(mdl),
        }
    }
    OK
}

/// What is made and never given back.
fn leak(request: &Request) -> Answer {
    let made = unsafe {
        match request.variant {
            0 => contiguous(2),
            1 => pages(2).cast(),
            2 => IoAllocateMdl(ptr::null_mut(), PAGE as ULONG, 0, 0, ptr::null_mut()).cast(),
            3 => {
                let mdl = pages(1);
                map_kernel(mdl)
            }
            4 => {
                let (mdl, _) = locked_mdl();
                mdl.cast()
            }
            _ => {
                let high = address(ALL_ADDRESSES);
                MmAllocateContiguousMemory(PAGE as SIZE_T, high)
            }
        }
    };
    request.answer(made as usize)
}

fn two_cache_types(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    unsafe {
        let base = ptr::null_mut();
        let priority = NORMAL_NO_EXECUTE;
        let view =
            MmMapLockedPagesSpecifyCache(mdl, KERNEL_MODE, NON_CACHED as _, base, 0, priority);
        if !view.is_null() {
            MmUnmapLockedPages(view, mdl);
        }
    }
    free_locked((mdl, block));
    OK
}

fn executable_mapping(_: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    unsafe {
        let base = ptr::null_mut();
        let view = MmMapLockedPagesSpecifyCache(mdl, KERNEL_MODE, CACHED as _, base, 0, 16);
        if !view.is_null() {
            MmUnmapLockedPages(view, mdl);
        }
    }
    free_locked((mdl, block));
    OK
}

/// Goes on with a mapping that the system could not make (variant 0), or hands NULL on to the system (1).
fn unchecked_null(request: &Request) -> Answer {
    if request.variant == 1 {
        return dma_map::transfer_without_a_length(request);
    }
    let block = pool::block(1 << 40);
    unsafe { block.write_volatile(1) };
    OK
}

fn obsolete_mapping(request: &Request) -> Answer {
    let (mdl, block) = locked_mdl();
    let level = if request.variant == 0 {
        PASSIVE
    } else {
        DEVICE
    };
    unsafe {
        let view = at_irql(level, || MmMapLockedPages(mdl, KERNEL_MODE));
        if !view.is_null() {
            MmUnmapLockedPages(view, mdl);
        }
    }
    free_locked((mdl, block));
    OK
}

/// The device object is nonpaged, and still nothing for a program to see.
fn kernel_object_mapped(request: &Request) -> Answer {
    unsafe {
        let mdl = nonpaged_mdl((*request.extension).this.cast(), 64);
        if let Ok(view) = user::map_user(mdl) {
            MmUnmapLockedPages(view as PVOID, mdl);
        }
        IoFreeMdl(mdl);
    }
    OK
}

fn stack_described_as_nonpaged(_: &Request) -> Answer {
    let mut local = [0_u8; 64];
    let mdl = nonpaged_mdl(local.as_mut_ptr().cast(), 64);
    unsafe { IoFreeMdl(mdl) };
    OK
}

fn partial_allocation_taken_as_full(_: &Request) -> Answer {
    const PAGES: usize = 8;
    let mdl = pages(PAGES);
    unsafe {
        let view = map_kernel(mdl);
        ptr::write_bytes(view.cast::<u8>(), 0, PAGES * PAGE);
        MmUnmapLockedPages(view, mdl);
    }
    free_pages(mdl);
    OK
}
