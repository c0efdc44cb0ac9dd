//! A driver that must not pass the image checks: its entry can panic, and it disables interrupts.

#![no_std]
#![cfg(windows)]
#![expect(unsafe_code, clippy::indexing_slicing, reason = "wrong on purpose")]

extern crate wdk_panic;

use core::{arch::asm, ffi::c_void};

use wdk_alloc::WdkAllocator;
use wdk_sys::{NTSTATUS, STATUS_SUCCESS};

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;

static TABLE: [NTSTATUS; 2] = [STATUS_SUCCESS; 2];

/// Indexes a table by whatever it is given.
// SAFETY: no other symbol of this image has this name.
#[unsafe(export_name = "DriverEntry")]
pub extern "C" fn driver_entry(driver: *mut c_void, _path: *mut c_void) -> NTSTATUS {
    // SAFETY: it is not; the image is only read, never run.
    unsafe { asm!("cli") };
    TABLE[driver.addr()]
}
