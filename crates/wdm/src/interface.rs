//! Device interfaces: how programs find a device.

// UNSAFETY: registers the interface and frees the name that the kernel allocated for it.
#![expect(
    unsafe_code,
    reason = "calls the device interface routines of the kernel"
)]

use core::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use wdk_sys::{
    GUID, UNICODE_STRING,
    ntddk::{IoRegisterDeviceInterface, IoSetDeviceInterfaceState, RtlFreeUnicodeString},
};

use crate::{device::DeviceObject, status::Status};

/// An interface class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceClass {
    /// The first 8 hexadecimal digits.
    pub data1: u32,
    /// The next 4.
    pub data2: u16,
    /// The next 4.
    pub data3: u16,
    /// The last 16.
    pub data4: [u8; 8],
}

/// A device's registration of an interface class.
///
/// # Invariants
///
/// `name` was filled in by the kernel and not yet freed.
pub struct Interface {
    name: UnsafeCell<UNICODE_STRING>,
    enabled: AtomicBool,
}

// SAFETY: the name is not changed between `register` and drop.
unsafe impl Send for Interface {}
// SAFETY: as above.
unsafe impl Sync for Interface {}

impl Interface {
    /// Registers a physical device's interface. To be called in `AddDevice`.
    ///
    /// # Errors
    ///
    /// The status of the kernel.
    pub fn register(physical: &DeviceObject, class: InterfaceClass) -> Result<Self, Status> {
        let guid = GUID {
            Data1: class.data1,
            Data2: class.data2,
            Data3: class.data3,
            Data4: class.data4,
        };
        let mut name = UNICODE_STRING::default();
        // SAFETY: the device is referenced; everything else outlives the call.
        let status = unsafe {
            IoRegisterDeviceInterface(
                physical.as_ptr(),
                &raw const guid,
                ptr::null_mut(),
                &raw mut name,
            )
        };
        Status(status).ok()?;
        Ok(Self {
            name: UnsafeCell::new(name),
            enabled: AtomicBool::new(false),
        })
    }

    /// Lets programs find the device, if they cannot yet.
    ///
    /// # Errors
    ///
    /// The status of the kernel.
    pub fn enable(&self) -> Result<(), Status> {
        if self.enabled.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let result = self.set(true);
        if result.is_err() {
            self.enabled.store(false, Ordering::Release);
        }
        result
    }

    /// Hides the device from programs, if they can find it.
    pub fn disable(&self) {
        if self.enabled.swap(false, Ordering::AcqRel) {
            // It may be gone already with the device; there is nothing to do about that.
            let _: Result<(), Status> = self.set(false);
        }
    }

    fn set(&self, enable: bool) -> Result<(), Status> {
        // SAFETY: the name is the one that the kernel gave this interface.
        Status(unsafe { IoSetDeviceInterfaceState(self.name.get(), u8::from(enable)) }).ok()
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        self.disable();
        // SAFETY: allocated by the kernel, and not used again.
        unsafe { RtlFreeUnicodeString(self.name.get()) };
    }
}
