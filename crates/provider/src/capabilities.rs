//! What the driver and its device offer.

use sanproxy_abi::wire::{CapabilitiesOutput, InterfaceOutput};
use sanproxy_abi::{ControlCode, INTERFACE_MAJOR, INTERFACE_MINOR, Kinds, Method, PAGE_SIZE};

use crate::Error;
use crate::reply::Check;

/// The versions of the interface and of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The major version of the interface.
    pub major: u16,
    /// The minor version of the interface.
    pub minor: u16,
    /// The version of the driver.
    pub driver: [u32; 3],
}

impl TryFrom<InterfaceOutput> for Interface {
    type Error = Error;

    fn try_from(reply: InterfaceOutput) -> Result<Self, Error> {
        let (major, minor) = (reply.interface_major, reply.interface_minor);
        if major != INTERFACE_MAJOR || minor.checked_sub(INTERFACE_MINOR).is_none() {
            return Err(Error::Version { major, minor });
        }
        let driver = [reply.driver_major, reply.driver_minor, reply.driver_patch];
        Ok(Self {
            major,
            minor,
            driver,
        })
    }
}

/// What the device offers, and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The kinds of memory offered.
    pub kinds: Kinds,
    /// The version of the DMA interface; `None` if the device has no adapter.
    pub dma_version: Option<u32>,
    /// How many address bits the device has, if that is known.
    pub address_width: Option<u32>,
    /// The size of the adapter's table of operations.
    pub dma_operations_size: u32,
    /// The routine that common buffers come from.
    pub common_buffer_method: Method,
    /// The map registers that the adapter offers.
    pub map_registers: u32,
    /// The highest NUMA node.
    pub highest_node: u32,
    /// The size of a page.
    pub page_size: u32,
    /// The longest single registration in bytes.
    pub longest_registration: u64,
    /// How many bytes one open file can have registered.
    pub bytes_per_file: u64,
    /// How many registrations one open file can have.
    pub count_per_file: u64,
    /// How many bytes all files together can have registered.
    pub bytes_per_device: u64,
    /// How many registrations all files together can have.
    pub count_per_device: u64,
    /// The size of the driver's reserve of common buffers.
    pub reserve_bytes: u64,
}

impl TryFrom<CapabilitiesOutput> for Capabilities {
    type Error = Error;

    fn try_from(reply: CapabilitiesOutput) -> Result<Self, Error> {
        let check = Check(ControlCode::QueryCapabilities);
        let kinds = check.some(Kinds::from_bits(reply.kinds.0), "kinds", reply.kinds.0)?;
        let method = reply.common_buffer_method.0;
        let common_buffer_method =
            check.some(Method::from_value(method), "common_buffer_method", method)?;
        check.that(reply.dma_version <= 3, "dma_version", reply.dma_version)?;
        check.that(
            reply.address_width <= 64,
            "address_width",
            reply.address_width,
        )?;
        let operations = reply.dma_operations_size;
        let has_adapter = reply.dma_version != 0;
        check.that(
            (operations != 0) == has_adapter,
            "dma_operations_size",
            operations,
        )?;
        let page_size = u64::from(reply.page_size);
        check.that(page_size == PAGE_SIZE, "page_size", page_size)?;
        let longest = reply.longest_registration.0;
        check.that(longest >= PAGE_SIZE, "longest_registration", longest)?;
        Ok(Self {
            kinds,
            dma_version: has_adapter.then_some(reply.dma_version),
            address_width: (reply.address_width != 0).then_some(reply.address_width),
            dma_operations_size: operations,
            common_buffer_method,
            map_registers: reply.map_registers,
            highest_node: reply.highest_node.0,
            page_size: reply.page_size,
            longest_registration: longest,
            bytes_per_file: reply.bytes_per_file.0,
            count_per_file: reply.count_per_file.0,
            bytes_per_device: reply.bytes_per_device.0,
            count_per_device: reply.count_per_device.0,
            reserve_bytes: reply.reserve_bytes.0,
        })
    }
}
