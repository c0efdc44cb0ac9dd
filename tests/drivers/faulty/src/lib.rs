//! A small WDM driver that works, and that breaks exactly one rule when it is told to.
//!
//! A check of the judge counts once this driver has been caught by it. Faults within a request are asked for by control
//! code (function `0x800` + the rule's number), faults of the life cycle by the value `Fault` in the device's hardware
//! key. Functions from `0xC00` do the same work without a fault, and must not be reported.
//!
//! [`pool`], [`irql`], [`locks`], [`locked`], [`mdl`], [`contiguous`], [`user`], [`dma`], [`dma_ex`], [`dma_map`], [`irp`], [`object`], [`work_item`] and [`lifecycle`] hold the faults; the rest is the
//! driver that works.

#![no_std]
#![cfg(windows)]
#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "contracts are broken on purpose: there is no safety to argue for"
)]
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_ptr_alignment,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "handles addresses and structures as the system's own headers do"
)]

extern crate wdk_panic;

mod contiguous;
mod control;
mod crash;
mod device;
mod dma;
mod dma_ex;
mod dma_map;
mod guard;
mod irp;
mod irql;
mod lifecycle;
mod locked;
mod locks;
mod mdl;
mod object;
mod pnp;
mod pool;
mod system;
mod user;
mod work_item;

use wdk_alloc::WdkAllocator;
use wdk_sys::{
    DRIVER_OBJECT, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DEVICE_CONTROL, IRP_MJ_PNP,
    IRP_MJ_POWER, IRP_MJ_SYSTEM_CONTROL, NTSTATUS, PCUNICODE_STRING, STATUS_SUCCESS,
};

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
    unsafe {
        let majors = &raw mut (*driver).MajorFunction;
        for (major, routine) in [
            (IRP_MJ_CREATE, control::create_or_close as system::Dispatch),
            (IRP_MJ_CLOSE, control::create_or_close),
            (IRP_MJ_CLEANUP, control::cleanup),
            (IRP_MJ_DEVICE_CONTROL, control::device_control),
            (IRP_MJ_PNP, pnp::pnp),
            (IRP_MJ_POWER, pnp::power),
            (IRP_MJ_SYSTEM_CONTROL, pnp::system_control),
        ] {
            majors
                .cast::<Option<system::Dispatch>>()
                .add(major as usize)
                .write(Some(routine));
        }
        (*(*driver).DriverExtension).AddDevice = Some(device::add_device);
        (*driver).DriverUnload = Some(lifecycle::unload);
    }
    STATUS_SUCCESS
}
