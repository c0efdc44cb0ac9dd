//! What a bus-master device can do, in the words of each version of the interface.

/// A bus-master device that takes lists of fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// How many address bits it drives: 1 to 64.
    pub address_width: u32,
    /// The longest single transfer in bytes.
    pub maximum_length: u32,
}

/// `DEVICE_DESCRIPTION` with the members that Windows 8 added.
#[repr(C)]
pub(super) struct DeviceDescription {
    version: u32,
    master: u8,
    scatter_gather: u8,
    demand_mode: u8,
    auto_initialize: u8,
    dma_32_bit_addresses: u8,
    ignore_count: u8,
    reserved_1: u8,
    dma_64_bit_addresses: u8,
    bus_number: u32,
    dma_channel: u32,
    interface_type: i32,
    dma_width: u32,
    dma_speed: u32,
    maximum_length: u32,
    dma_port: u32,
    dma_address_width: u32,
    dma_controller_instance: u32,
    dma_request_line: u32,
    alignment: u32,
    device_address: u64,
}

const _: () = assert!(size_of::<DeviceDescription>() == 64);
const _: () = assert!(core::mem::offset_of!(DeviceDescription, interface_type) == 20);
const _: () = assert!(core::mem::offset_of!(DeviceDescription, dma_address_width) == 40);
const _: () = assert!(core::mem::offset_of!(DeviceDescription, device_address) == 56);

/// Lets the system ask the device's bus what it is.
const INTERFACE_TYPE_UNDEFINED: i32 = -1;

impl DeviceDescription {
    /// A description of which every byte is zero.
    const ZERO: Self = Self {
        version: 0,
        master: 0,
        scatter_gather: 0,
        demand_mode: 0,
        auto_initialize: 0,
        dma_32_bit_addresses: 0,
        ignore_count: 0,
        reserved_1: 0,
        dma_64_bit_addresses: 0,
        bus_number: 0,
        dma_channel: 0,
        interface_type: 0,
        dma_width: 0,
        dma_speed: 0,
        maximum_length: 0,
        dma_port: 0,
        dma_address_width: 0,
        dma_controller_instance: 0,
        dma_request_line: 0,
        alignment: 0,
        device_address: 0,
    };
}

impl Description {
    /// The description for one version of the interface. Before version 3 a device has 24, 32 or 64
    /// address bits; one with a number in between is said to have fewer.
    pub(super) const fn for_version(self, version: u32) -> DeviceDescription {
        let mut description = DeviceDescription::ZERO;
        description.version = version;
        description.master = 1;
        description.scatter_gather = 1;
        description.interface_type = INTERFACE_TYPE_UNDEFINED;
        description.maximum_length = self.maximum_length;
        if version >= 3 {
            description.dma_address_width = self.address_width;
        } else if self.address_width >= 64 {
            description.dma_64_bit_addresses = 1;
        } else if self.address_width >= 32 {
            description.dma_32_bit_addresses = 1;
        }
        description
    }

    /// How many address bits the system was told of.
    pub(super) const fn effective_width(self, version: u32) -> u32 {
        match (version, self.address_width) {
            (3.., width) => width,
            (_, 64..) => 64,
            (_, 32..64) => 32,
            (_, 24..32) => 24,
            (_, width) => width,
        }
    }
}
