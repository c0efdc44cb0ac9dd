//! Contiguous memory, and memory given to the wrong release routine: rules V129, V135, V138.

use core::ptr;

use wdk_sys::{
    PAGE_EXECUTE_READWRITE, PAGE_READWRITE, PVOID, SIZE_T, ULONG,
    ntddk::{
        ExFreePool, IoAllocateMdl, IoFreeMdl, MmAllocateContiguousMemorySpecifyCache,
        MmAllocateContiguousNodeMemory, MmFreeContiguousMemory, MmFreeContiguousMemorySpecifyCache,
    },
};

use crate::{
    control::{Answer, Fault, OK, Request},
    mdl::{ALL_ADDRESSES, ANY_NODE, CACHED, NON_CACHED},
    pool,
    system::{PAGE, address},
};

pub(crate) const FAULTS: &[Fault] = &[
    (129, wrong_free_routine),
    (135, overrun_of_contiguous_memory),
    (138, executable_contiguous_memory),
];

/// Contiguous memory that cannot be executed.
pub(crate) fn contiguous(count: usize) -> PVOID {
    contiguous_bytes(count * PAGE)
}

fn contiguous_bytes(bytes: usize) -> PVOID {
    unsafe {
        MmAllocateContiguousNodeMemory(
            bytes as SIZE_T,
            address(0),
            address(ALL_ADDRESSES),
            address(0),
            PAGE_READWRITE,
            ANY_NODE,
        )
    }
}

fn wrong_free_routine(request: &Request) -> Answer {
    unsafe {
        match request.variant {
            0 => {
                let block = contiguous(1);
                ExFreePool(block);
                MmFreeContiguousMemory(block);
            }
            1 => {
                let block = pool::block(PAGE);
                MmFreeContiguousMemory(block.cast());
                pool::free(block);
            }
            2 => {
                let (low, high) = (address(0), address(ALL_ADDRESSES));
                let (size, cached) = (PAGE as SIZE_T, CACHED as _);
                let none = address(0);
                let block = MmAllocateContiguousMemorySpecifyCache(size, low, high, none, cached);
                MmFreeContiguousMemorySpecifyCache(block, 2 * size, cached);
            }
            3 => {
                let (low, high) = (address(0), address(ALL_ADDRESSES));
                let (size, cached) = (PAGE as SIZE_T, CACHED as _);
                let none = address(0);
                let block = MmAllocateContiguousMemorySpecifyCache(size, low, high, none, cached);
                MmFreeContiguousMemorySpecifyCache(block, size, NON_CACHED as _);
            }
            _ => {
                let mdl = IoAllocateMdl(ptr::null_mut(), PAGE as ULONG, 0, 0, ptr::null_mut());
                ExFreePool(mdl.cast());
                IoFreeMdl(mdl);
            }
        }
    }
    OK
}

fn overrun_of_contiguous_memory(_: &Request) -> Answer {
    unsafe {
        let block = contiguous_bytes(PAGE + 100);
        block.cast::<u8>().add(PAGE + 100).write_volatile(1);
        MmFreeContiguousMemory(block);
    }
    OK
}

fn executable_contiguous_memory(_: &Request) -> Answer {
    unsafe {
        let block = MmAllocateContiguousNodeMemory(
            PAGE as SIZE_T,
            address(0),
            address(ALL_ADDRESSES),
            address(0),
            PAGE_EXECUTE_READWRITE,
            ANY_NODE,
        );
        if !block.is_null() {
            MmFreeContiguousMemory(block);
        }
    }
    OK
}

/// Gives it back.
pub(crate) fn free(block: PVOID) {
    unsafe { MmFreeContiguousMemory(block) };
}
