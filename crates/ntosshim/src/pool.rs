//! Pool, with the promises of `ExAllocatePool2`: zeroed, and whole pages on page borders.

use std::{
    collections::BTreeSet,
    ffi::c_void,
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{PAGE, log, system};

const NON_PAGED: u64 = 0x40;
const PAGED: u64 = 0x100;
const RAISE_ON_FAILURE: u64 = 0x20;

/// Blocks of a page and more, which Wine's pool would not align.
static PAGES: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn ExAllocatePool2(flags: u64, bytes: usize, tag: u32) -> *mut c_void {
    let kind = flags & (NON_PAGED | PAGED);
    if bytes == 0 || tag == 0 || !kind.is_power_of_two() {
        log::misuse(
            "ExAllocatePool2",
            "no length, no tag, or not one kind of pool",
        );
        return ptr::null_mut();
    }
    let block = allocate(bytes, tag);
    if !block.is_null() {
        LIVE.fetch_add(1, Ordering::Relaxed);
    } else if flags & RAISE_ON_FAILURE != 0 {
        // SAFETY: raises in the caller, as it asked.
        unsafe { system::RtlRaiseStatus(system::INSUFFICIENT_RESOURCES) }
    }
    block
}

fn allocate(bytes: usize, tag: u32) -> *mut c_void {
    if bytes as u64 >= PAGE {
        // SAFETY: asks for new memory, anywhere.
        let block = unsafe {
            system::VirtualAlloc(
                ptr::null_mut(),
                bytes,
                system::MEM_COMMIT_RESERVE,
                system::PAGE_READWRITE,
            )
        };
        if !block.is_null() {
            pages().insert(block.expose_provenance());
        }
        return block;
    }
    // SAFETY: nonpaged pool; has no other precondition.
    let block = unsafe { system::ExAllocatePoolWithTag(0, bytes, tag) };
    if !block.is_null() {
        // SAFETY: new, and so long.
        unsafe { ptr::write_bytes(block.cast::<u8>(), 0, bytes) };
    }
    block
}

fn pages() -> std::sync::MutexGuard<'static, BTreeSet<usize>> {
    PAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn ExFreePool(block: *mut c_void) {
    // SAFETY: as the caller says.
    unsafe { free_with_tag(block, 0) };
}

/// The kernel's routine.
// Wine has a routine of that name too, which is called here: `forwarded.def` gives this one its name.
#[unsafe(export_name = "own_ExFreePoolWithTag")]
pub(crate) unsafe extern "system" fn free_with_tag(block: *mut c_void, tag: u32) {
    if block.is_null() {
        log::misuse("ExFreePool", "null");
        return;
    }
    LIVE.fetch_sub(1, Ordering::Relaxed);
    if pages().remove(&block.addr()) {
        // SAFETY: from `VirtualAlloc`, and freed once, for it was in the set.
        unsafe { system::VirtualFree(block, 0, system::MEM_RELEASE) };
    } else {
        // SAFETY: from Wine's pool, as the caller says.
        unsafe { system::ExFreePoolWithTag(block, tag) };
    }
}

/// How many blocks there are.
pub(crate) fn count() -> usize {
    LIVE.load(Ordering::Relaxed)
}
