//! Memory that a device may change at any moment: read and written with volatile accesses only.

#![expect(
    unsafe_code,
    clippy::cast_ptr_alignment,
    reason = "memory that the driver mapped is known by its address; alignment is looked at first"
)]

use std::ptr;

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEMORY_BASIC_INFORMATION, PAGE_GUARD, PAGE_NOACCESS, VirtualQuery,
};

use crate::MemoryFault;

/// Whether every page of a range can be reached now.
///
/// Memory goes away under a program when its device is removed by surprise: this turns nearly all
/// of those cases into an error. What is unmapped between this look and the access is not caught.
pub(super) fn check(address: u64, length: usize) -> Result<(), MemoryFault> {
    let fault = MemoryFault { address };
    let mut at = usize::try_from(address).map_err(|_| fault)?;
    let end = at.checked_add(length).ok_or(fault)?;
    while at < end {
        let mut page = MEMORY_BASIC_INFORMATION::default();
        let size = size_of::<MEMORY_BASIC_INFORMATION>();
        // SAFETY: the address is only looked up; `page` has the size given.
        let written = unsafe { VirtualQuery(ptr::without_provenance(at), &raw mut page, size) };
        let reachable =
            page.State == MEM_COMMIT && page.Protect & (PAGE_NOACCESS | PAGE_GUARD) == 0;
        if written == 0 || !reachable {
            return Err(fault);
        }
        let next = page.BaseAddress.addr().saturating_add(page.RegionSize);
        if next <= at {
            return Err(fault);
        }
        at = next;
    }
    Ok(())
}

/// Copies out of mapped memory, eight bytes at a time where both ends allow it.
///
/// # Safety
///
/// The range is mapped, and stays so during the call.
pub(super) unsafe fn read(address: u64, bytes: &mut [u8]) {
    let mut source: *const u8 = ptr::with_exposed_provenance(usize::try_from(address).unwrap_or(0));
    let (words, tail) = bytes.as_chunks_mut::<8>();
    if source.cast::<u64>().is_aligned() {
        for word in words {
            // SAFETY: eight bytes of the range, aligned.
            *word = unsafe { source.cast::<u64>().read_volatile() }.to_ne_bytes();
            source = source.wrapping_add(8);
        }
    } else {
        for byte in words.as_flattened_mut() {
            // SAFETY: a byte of the range.
            *byte = unsafe { source.read_volatile() };
            source = source.wrapping_add(1);
        }
    }
    for byte in tail {
        // SAFETY: a byte of the range.
        *byte = unsafe { source.read_volatile() };
        source = source.wrapping_add(1);
    }
}

/// Copies into mapped memory, eight bytes at a time where both ends allow it.
///
/// # Safety
///
/// The range is mapped, and stays so during the call.
pub(super) unsafe fn write(address: u64, bytes: &[u8]) {
    let mut target: *mut u8 =
        ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap_or(0));
    let (words, tail) = bytes.as_chunks::<8>();
    if target.cast::<u64>().is_aligned() {
        for word in words {
            let word = u64::from_ne_bytes(*word);
            // SAFETY: eight bytes of the range, aligned.
            unsafe { target.cast::<u64>().write_volatile(word) };
            target = target.wrapping_add(8);
        }
    } else {
        for byte in words.as_flattened() {
            // SAFETY: a byte of the range.
            unsafe { target.write_volatile(*byte) };
            target = target.wrapping_add(1);
        }
    }
    for byte in tail {
        // SAFETY: a byte of the range.
        unsafe { target.write_volatile(*byte) };
        target = target.wrapping_add(1);
    }
}
