//! The smallest WDM driver, straight on `wdk-sys`: it loads and can be unloaded.
//!
//! It shows that the build kit builds any WDM driver, and it holds the compile-time checks of the layouts that the kit's
//! headers give to `wdk-sys` (module `layout`); with the real WDK the same checks hold for the real headers.

#![no_std]
#![cfg(windows)]
#![expect(unsafe_code, reason = "a driver on the bare bindings")]

extern crate wdk_panic;

mod layout;

use wdk_alloc::WdkAllocator;
use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, STATUS_SUCCESS};

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;

/// Loads the driver.
///
/// # Safety
///
/// The system calls it once, with the object that it made for this driver.
// SAFETY: no other symbol of this image has this name.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "C" fn driver_entry(
    driver: *mut DRIVER_OBJECT,
    _path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: the caller passes a valid driver object that nobody else uses now.
    unsafe { (*driver).DriverUnload = Some(unload) };
    STATUS_SUCCESS
}

extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {}
