//! Memory descriptor lists of memory that is always there, and mappings of it.

use std::{
    ffi::c_void,
    mem::offset_of,
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    PAGE, contiguous, log,
    system::{self, Status},
    views,
};

const MAPPED_TO_SYSTEM: u16 = 0x01;
const FROM_NONPAGED_POOL: u16 = 0x04;
const USER_MODE: i8 = 1;
/// "Mdl ".
const MDL_TAG: u32 = 0x206C_644D;

static LISTS: AtomicUsize = AtomicUsize::new(0);

/// An MDL; the page numbers follow it.
#[repr(C)]
pub(crate) struct Mdl {
    next: *mut Mdl,
    size: i16,
    flags: u16,
    process: *mut c_void,
    system_address: *mut c_void,
    start: *mut c_void,
    bytes: u32,
    offset: u32,
}

const _: () = assert!(offset_of!(Mdl, system_address) == 24 && size_of::<Mdl>() == 48);

impl Mdl {
    /// The first byte that it describes.
    pub(crate) fn address(&self) -> usize {
        self.start
            .expose_provenance()
            .wrapping_add(self.offset as usize)
    }

    /// How many bytes it describes.
    pub(crate) const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// How many pages it describes bytes of.
    fn pages(&self) -> usize {
        (u64::from(self.offset).wrapping_add(u64::from(self.bytes))).div_ceil(PAGE) as usize
    }
}

/// The kernel's routine, for lists that belong to no request. Wine's makes lists too short for the page numbers of more than
/// a few pages.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn IoAllocateMdl(
    address: *mut c_void,
    bytes: u32,
    _secondary: u8,
    _charge_quota: u8,
    irp: *mut c_void,
) -> *mut Mdl {
    let offset = address.expose_provenance() as u32 & (PAGE as u32).wrapping_sub(1);
    let mdl = Mdl {
        next: ptr::null_mut(),
        // As on Windows, the field is too short for the longest lists, and nobody may rely on it.
        size: 0,
        flags: 0,
        process: ptr::null_mut(),
        system_address: ptr::null_mut(),
        start: address.wrapping_byte_sub(offset as usize),
        bytes,
        offset,
    };
    let size = size_of::<Mdl>().wrapping_add(mdl.pages().wrapping_mul(size_of::<u64>()));
    if !irp.is_null() {
        log::misuse("IoAllocateMdl", "lists of requests are not supported here");
        return ptr::null_mut();
    }
    // SAFETY: nonpaged pool; has no other precondition.
    let list = unsafe { system::ExAllocatePoolWithTag(0, size, MDL_TAG) }.cast::<Mdl>();
    if !list.is_null() {
        // SAFETY: new, and so long.
        unsafe { list.write(mdl) };
        LISTS.fetch_add(1, Ordering::Relaxed);
    }
    list
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn IoFreeMdl(list: *mut Mdl) {
    LISTS.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: from `IoAllocateMdl`, and freed once, as the caller says.
    unsafe { system::ExFreePoolWithTag(list.cast(), MDL_TAG) };
}

/// How many lists there are.
pub(crate) fn count() -> usize {
    LISTS.load(Ordering::Relaxed)
}

/// The kernel's routine. Memory without a physical address gets page number 0.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn MmBuildMdlForNonPagedPool(mut list: NonNull<Mdl>) {
    let numbers = list.as_ptr().wrapping_add(1).cast::<u64>();
    // SAFETY: a new list of the caller's.
    let mdl = unsafe { list.as_mut() };
    mdl.flags |= MAPPED_TO_SYSTEM | FROM_NONPAGED_POOL;
    mdl.process = ptr::null_mut();
    mdl.system_address = ptr::with_exposed_provenance_mut(mdl.address());
    let start = mdl.start.expose_provenance();
    for page in 0..mdl.pages() {
        let address = start.wrapping_add(page.wrapping_mul(PAGE as usize));
        let number = contiguous::physical(address).map_or(0, |at| at.wrapping_shr(12));
        // SAFETY: whoever allocated the list made room for a number for each page.
        unsafe { numbers.wrapping_add(page).write(number) };
    }
}

/// The kernel's routine. It raises where a mapping into a program fails.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn MmMapLockedPagesSpecifyCache(
    list: NonNull<Mdl>,
    mode: i8,
    _cache: i32,
    _requested: *mut c_void,
    _bug_check: u32,
    _priority: u32,
) -> *mut c_void {
    // SAFETY: a list of the caller's, filled in.
    let mdl = unsafe { list.as_ref() };
    if mode != USER_MODE {
        return ptr::with_exposed_provenance_mut(mdl.address());
    }
    match views::map(mdl.address(), u64::from(mdl.bytes)) {
        Ok(address) => ptr::with_exposed_provenance_mut(address),
        Err(status) => raise(status),
    }
}

/// Nothing with a `Drop` may live here: raising skips it.
fn raise(status: Status) -> ! {
    log::line(&format!(
        "memory of a program cannot be had: {status:#010x}"
    ));
    // SAFETY: raises in the driver, which guards this call as the contract demands.
    unsafe { system::RtlRaiseStatus(status) }
}

/// The kernel's routine. Drivers live in a process of their own here, which reaches no pages of a program's: so the system
/// never has enough to lock them.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmProbeAndLockPages(_list: NonNull<Mdl>, _mode: i8, _operation: i32) {
    raise(system::INSUFFICIENT_RESOURCES)
}

/// The kernel's routine, for lists that [`MmProbeAndLockPages`] has locked: there are none.
#[unsafe(no_mangle)]
pub(crate) extern "system" fn MmUnlockPages(_list: NonNull<Mdl>) {
    log::misuse("MmUnlockPages", "unlocks pages that are not locked");
}

/// The kernel's routine.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "system" fn MmUnmapLockedPages(address: *mut c_void, list: NonNull<Mdl>) {
    // SAFETY: a list of the caller's, filled in.
    let mdl = unsafe { list.as_ref() };
    let address = address.expose_provenance();
    if address == mdl.address() {
        log::misuse("MmUnmapLockedPages", "unmaps nonpaged pool from the system");
    } else if !views::unmap(address) {
        log::misuse(
            "MmUnmapLockedPages",
            "the current process has no mapping there",
        );
    }
}
