//! Contiguous memory and physical addresses.

use std::{ffi::c_void, ptr};

use crate::{
    PAGE,
    blocks::{self, Purpose},
    log,
    ranges::Place,
};

/// What a block gets whose bounds and boundary are addresses of the made-up machine.
fn allocate(bytes: usize, lowest: u64, highest: u64, boundary: u64) -> *mut c_void {
    let place = Place {
        lowest,
        highest,
        boundary,
    };
    blocks::allocate(bytes as u64, place, Purpose::Contiguous)
        .map_or(ptr::null_mut(), |block| block.as_ptr())
}

/// The kernel's routine. The protection and the node change nothing here.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmAllocateContiguousNodeMemory(
    bytes: usize,
    lowest: u64,
    highest: u64,
    boundary: u64,
    _protection: u32,
    _node: u32,
) -> *mut c_void {
    allocate(bytes, lowest, highest, boundary)
}

/// The kernel's routine. The cache type changes nothing here.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmAllocateContiguousMemorySpecifyCache(
    bytes: usize,
    lowest: u64,
    highest: u64,
    boundary: u64,
    _cache: i32,
) -> *mut c_void {
    allocate(bytes, lowest, highest, boundary)
}

/// The kernel's routine. The cache type and the node change nothing here.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmAllocateContiguousMemorySpecifyCacheNode(
    bytes: usize,
    lowest: u64,
    highest: u64,
    boundary: u64,
    _cache: i32,
    _node: u32,
) -> *mut c_void {
    allocate(bytes, lowest, highest, boundary)
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmFreeContiguousMemory(block: *mut c_void) {
    if blocks::free(block.expose_provenance(), Purpose::Contiguous).is_none() {
        log::misuse("MmFreeContiguousMemory", "no contiguous block begins there");
    }
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmFreeContiguousMemorySpecifyCache(
    block: *mut c_void,
    bytes: usize,
    _cache: i32,
) {
    let freed = blocks::free(block.expose_provenance(), Purpose::Contiguous);
    let length = (bytes as u64).checked_next_multiple_of(PAGE);
    if freed.map(|block| block.length) != length {
        log::misuse(
            "MmFreeContiguousMemorySpecifyCache",
            "no contiguous block of that length begins there",
        );
    }
}

/// The kernel's routine: the physical address of memory that has one here, else 0.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmGetPhysicalAddress(address: *mut c_void) -> u64 {
    physical(address.expose_provenance()).unwrap_or(0)
}

/// The physical address of a byte.
pub(crate) fn physical(address: usize) -> Option<u64> {
    let block = blocks::holding(address)?;
    let offset = address.checked_sub(block.address)?;
    block.physical.checked_add(offset as u64)
}

/// The kernel's routine: the made-up machine has one node.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn KeQueryHighestNodeNumber() -> u16 {
    0
}
