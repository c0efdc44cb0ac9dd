//! Reading and writing memory that the driver shares with the host, by address.
//!
//! A driver's pointer is an allegation. These functions follow it the way a system routine does: a
//! bad one faults, and the image's exception dispatcher turns the fault into an exception of the
//! driver that called. So they are safe to call from a host routine, provided that no lock of the
//! host is held: the faulting thread does not come back.

use core::sync::atomic::{AtomicI32, AtomicU64};

/// Lets a driver's NULL fault as it does on a real system: the checks of our own language would end the whole process.
fn fault_at_null(address: u64, write: bool) {
    if address != 0 {
        return;
    }
    if write {
        // SAFETY: nothing is mapped at zero: the access faults as described above.
        unsafe { core::arch::asm!("mov byte ptr [{0}], 0", in(reg) address, options(nostack)) };
    } else {
        // SAFETY: as above.
        unsafe { core::arch::asm!("cmp byte ptr [{0}], 0", in(reg) address, options(nostack)) };
    }
}

/// Reads a value at `address`, however aligned.
pub(crate) fn read<T: Copy>(address: u64) -> T {
    fault_at_null(address, false);
    // SAFETY: `T` is plain data; a bad address faults into the driver's exception dispatcher.
    unsafe { core::ptr::read_unaligned(address as *const T) }
}

/// Writes a value at `address`, however aligned.
pub(crate) fn write<T: Copy>(address: u64, value: T) {
    fault_at_null(address, true);
    // SAFETY: as for `read`; the driver handed this address over to be written.
    unsafe { core::ptr::write_unaligned(address as *mut T, value) }
}

/// Copies bytes out of shared memory.
pub(crate) fn read_bytes(address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; length];
    copy_out(address, &mut bytes);
    bytes
}

/// Fills `bytes` from shared memory.
pub(crate) fn copy_out(address: u64, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    fault_at_null(address, false);
    // SAFETY: the destination is a live slice; a bad source faults as described above.
    unsafe {
        core::ptr::copy(address as *const u8, bytes.as_mut_ptr(), bytes.len());
    }
}

/// Copies `bytes` into shared memory.
pub(crate) fn copy_in(address: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    fault_at_null(address, true);
    // SAFETY: the source is a live slice; a bad destination faults as described above.
    unsafe {
        core::ptr::copy(bytes.as_ptr(), address as *mut u8, bytes.len());
    }
}

/// Fills shared memory with one byte.
pub(crate) fn fill(address: u64, value: u8, length: usize) {
    fault_at_null(address, true);
    // SAFETY: a bad address faults as described above.
    unsafe {
        core::ptr::write_bytes(address as *mut u8, value, length);
    }
}

/// A 32-bit variable that driver code on another thread changes too; `address` is 4-aligned.
pub(crate) fn atomic_i32<'a>(address: u64) -> &'a AtomicI32 {
    // SAFETY: atomics may be shared with foreign code; a bad address faults at the access.
    unsafe { AtomicI32::from_ptr((address & !3) as *mut i32) }
}

/// A 64-bit variable that driver code on another thread changes too; `address` is 8-aligned.
pub(crate) fn atomic_u64<'a>(address: u64) -> &'a AtomicU64 {
    // SAFETY: atomics may be shared with foreign code; a bad address faults at the access.
    unsafe { AtomicU64::from_ptr((address & !7) as *mut u64) }
}

/// The characters of a `UNICODE_STRING` at `address`.
pub(crate) fn read_unicode_string(address: u64) -> String {
    if address == 0 {
        return String::new();
    }
    let length: u16 = read(address);
    let buffer: u64 = read(address + 8);
    read_utf16(buffer, usize::from(length) / 2)
}

/// `count` UTF-16 units at `address`.
pub(crate) fn read_utf16(address: u64, count: usize) -> String {
    let units: Vec<u16> = (0..count)
        .map(|index| read::<u16>(address + 2 * index as u64))
        .collect();
    String::from_utf16_lossy(&units)
}

/// A NUL-terminated byte string at `address`, cut at `limit`.
pub(crate) fn read_c_string(address: u64, limit: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < limit {
        let byte: u8 = read(address + bytes.len() as u64);
        if byte == 0 {
            break;
        }
        bytes.push(byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
