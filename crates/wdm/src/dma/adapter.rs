//! DMA adapters: what the system lends a device for its transfers.

// UNSAFETY: gets an adapter from the system and puts it back.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::{ffi::c_void, ptr::NonNull};

use wdk_sys::{
    DEVICE_OBJECT, DMA_ADAPTER,
    ntddk::{IoGetDmaAdapter, MmGetPhysicalAddress},
};

use super::{
    Allocator, Description, Error, SystemDescription,
    budget::Budget,
    channel_use::Channel,
    description::DeviceDescription,
    operations::{Operations, Table},
    signatures::{Free, Put},
};
use crate::{device::Objects, layout, pool::Shared};

/// The length of the buffer that shows whether addresses are translated.
const PROBE_LENGTH: u32 = 4096;

/// How many address bits the DMA controller of a PC drives. The system is not told.
const SYSTEM_ADDRESS_WIDTH: u32 = 24;

/// A DMA adapter, put back on drop. Everything that comes from it keeps it.
///
/// # Invariants
///
/// `raw` is an adapter that has not been put back, `table` its table, and `put` and `free` are
/// members of that. `objects` are those of the device that it is for.
pub struct Adapter {
    raw: NonNull<DMA_ADAPTER>,
    pub(super) table: Table,
    put: Put,
    pub(super) free: Free,
    version: u32,
    map_registers: u32,
    address_width: u32,
    translates: bool,
    is_system: bool,
    /// What outstanding requests hold that would have to wait for more.
    pub(super) budget: Budget,
    /// Who has the channel, or waits for it.
    pub(super) channel: Channel,
    objects: Shared<Objects>,
}

// SAFETY: the routines of an adapter synchronise themselves.
unsafe impl Send for Adapter {}
// SAFETY: as above.
unsafe impl Sync for Adapter {}

impl Adapter {
    /// Gets an adapter with the newest version of the interface that the system knows. `None` is an
    /// ordinary answer: not every bus has adapters, and no version but the third can say of a device
    /// that it has fewer than 24 address bits.
    #[must_use]
    pub fn get(objects: &Shared<Objects>, description: Description) -> Option<Self> {
        [3, 2, 1].into_iter().find_map(|version| {
            let described = description.for_version(version)?;
            let width = description.effective_width(version);
            Self::get_version(objects, described, version, width)
        })
    }

    /// Gets the adapter of a channel of the system's DMA controller, with the newest version of the
    /// interface that the system knows.
    #[must_use]
    pub fn get_system(objects: &Shared<Objects>, description: SystemDescription) -> Option<Self> {
        [3, 2, 1].into_iter().find_map(|version| {
            let described = description.for_version(version);
            Self::get_version(objects, described, version, SYSTEM_ADDRESS_WIDTH)
        })
    }

    fn get_version(
        objects: &Shared<Objects>,
        mut description: DeviceDescription,
        version: u32,
        address_width: u32,
    ) -> Option<Self> {
        let is_system = description.is_system();
        let mut map_registers = 0;
        // SAFETY: the description is as long as its version demands; all outlives the call.
        let raw = unsafe {
            IoGetDmaAdapter(
                objects.physical.as_ptr(),
                (&raw mut description).cast(),
                &raw mut map_registers,
            )
        };
        let raw = NonNull::new(raw.cast::<DMA_ADAPTER>())?;
        // SAFETY: the adapter is live.
        let operations = unsafe { layout::ADAPTER_OPERATIONS.get(raw) };
        let operations = NonNull::new(operations.cast::<Operations>())?;
        // SAFETY: the table of a live adapter.
        let table = unsafe { Table::new(operations) };
        // Without this member nothing could ever give the adapter back.
        let put = table.put().ok()?;
        let Ok(free) = table.free() else {
            // SAFETY: the adapter is live, and nothing came from it.
            unsafe { put(raw.as_ptr()) };
            return None;
        };
        let mut adapter = Self {
            raw,
            table,
            put,
            free,
            version,
            map_registers,
            address_width,
            translates: false,
            is_system,
            budget: Budget::new(map_registers),
            channel: Channel::new(),
            objects: objects.clone(),
        };
        adapter.translates = !is_system && adapter.looks_translated();
        Some(adapter)
    }

    /// Whether a page of common buffer has another address for the device than for the processor.
    ///
    /// No routine tells a driver whether an IOMMU is at work, but no common buffer is a copy. So if
    /// the addresses differ, somebody translates. If there is no page, none does, for all we know.
    fn looks_translated(&self) -> bool {
        let Ok(allocate) = self.table.allocate() else {
            return false;
        };
        let mut logical = 0;
        // SAFETY: the adapter is live; `logical` outlives the call.
        let start = unsafe { allocate(self.as_ptr(), PROBE_LENGTH, &raw mut logical, 1) };
        if start.is_null() {
            return false;
        }
        // SAFETY: has no preconditions.
        let physical = unsafe { MmGetPhysicalAddress(start) };
        // SAFETY: exactly what was allocated, and never used again.
        unsafe { (self.free)(self.as_ptr(), PROBE_LENGTH, logical, start, 1) };
        // SAFETY: all members of the union are views of the same eight bytes.
        logical != unsafe { physical.QuadPart }.cast_unsigned()
    }

    /// The version of the interface: 1, 2 or 3.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// How many map registers one transfer may use.
    #[must_use]
    pub const fn map_registers(&self) -> u32 {
        self.map_registers
    }

    /// How many address bits the system was told that the device has.
    #[must_use]
    pub const fn address_width(&self) -> u32 {
        self.address_width
    }

    /// The highest address that the device can drive.
    #[must_use]
    pub fn highest_address(&self) -> u64 {
        1_u64
            .checked_shl(self.address_width)
            .map_or(u64::MAX, |beyond| beyond.wrapping_sub(1))
    }

    /// Whether an IOMMU translates the device's addresses: then it reaches every page, and nothing
    /// is ever copied for it. `false` means that none was seen.
    #[must_use]
    pub const fn translates(&self) -> bool {
        self.translates
    }

    /// The size of the table of operations in bytes.
    #[must_use]
    pub const fn operations_size(&self) -> usize {
        self.table.size()
    }

    /// The best routine for common buffers that the table offers.
    #[must_use]
    pub fn allocator(&self) -> Allocator {
        if self.table.allocate_with_bounds().is_ok() {
            Allocator::WithBounds
        } else if self.table.allocate_ex().is_ok() {
            Allocator::Ex
        } else {
            Allocator::Plain
        }
    }

    /// Whether the adapter can make any resident block reachable, wherever it lies.
    #[must_use]
    pub fn takes_any_block(&self) -> bool {
        self.table.create_from_mdl().is_ok()
    }

    /// Whether it stands for a channel of a system DMA controller, rather than a bus master.
    #[must_use]
    pub const fn is_system(&self) -> bool {
        self.is_system
    }

    /// Has the DMA controller's own extension do something: `ConfigureAdapterChannel`.
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::WrongAdapter`] for a bus master, [`Error::NotOffered`], or [`Error::Refused`] with
    /// `STATUS_NOT_IMPLEMENTED` if the controller has no function of that number.
    ///
    /// # Safety
    ///
    /// The extension and the caller agree on what the function with this number does with the parameters:
    /// nobody but them knows how many bytes it reads and writes.
    pub unsafe fn configure_channel(
        &self,
        function: u32,
        parameters: *mut c_void,
    ) -> Result<(), Error> {
        if !self.is_system {
            return Err(Error::WrongAdapter);
        }
        let configure = self.table.configure_channel()?;
        // SAFETY: the adapter is live; the rest is the caller's promise.
        Error::check(unsafe { configure(self.as_ptr(), function, parameters) })
    }

    pub(super) const fn as_ptr(&self) -> *mut DMA_ADAPTER {
        self.raw.as_ptr()
    }

    /// The device that transfers are for, as the bus driver made it.
    pub(super) fn physical(&self) -> *mut DEVICE_OBJECT {
        self.objects.physical.as_ptr()
    }

    /// The device that transfers are for, as this driver made it.
    pub(super) fn function(&self) -> *mut DEVICE_OBJECT {
        self.objects.function.as_ptr()
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // SAFETY: the adapter is live, and everything that came from it is gone, for that keeps it.
        unsafe { (self.put)(self.raw.as_ptr()) };
    }
}
