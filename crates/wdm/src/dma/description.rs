//! What a bus-master device can do, in the words of each version of the interface.

/// A bus-master device that takes lists of fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// How many address bits it drives: 1 to 64.
    pub address_width: u32,
    /// The longest single transfer in bytes.
    pub maximum_length: u32,
}

/// How wide the system's DMA controller transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferWidth {
    /// Bytes.
    Bits8,
    /// Words of two bytes.
    Bits16,
    /// Words of four bytes.
    Bits32,
}

/// A device that transfers through a channel of the system's DMA controller. The numbers come with its
/// resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemDescription {
    /// Its channel.
    pub channel: u32,
    /// Its request line, which version 3 asks for.
    pub request_line: u32,
    /// How wide it transfers.
    pub width: TransferWidth,
    /// The address of its data register or FIFO, which version 3 asks for.
    pub device_address: u64,
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

impl DeviceDescription {
    /// Whether it is of a channel of a system DMA controller.
    pub(super) const fn is_system(&self) -> bool {
        self.master == 0
    }
}

impl Description {
    /// The description for one version of the interface. Before version 3 a device has 24, 32 or 64
    /// address bits; one with a number in between is said to have fewer. `None` if the version cannot
    /// describe the device: one with fewer than 24 bits would be given addresses beyond its reach.
    pub(super) const fn for_version(self, version: u32) -> Option<DeviceDescription> {
        if self.address_width == 0 || self.address_width > 64 {
            return None;
        }
        let mut description = DeviceDescription::ZERO;
        description.version = version;
        description.master = 1;
        description.scatter_gather = 1;
        description.interface_type = INTERFACE_TYPE_UNDEFINED;
        description.maximum_length = self.maximum_length;
        match (version, self.address_width) {
            (3.., width) => description.dma_address_width = width,
            (_, 64..) => description.dma_64_bit_addresses = 1,
            (_, 32..) => description.dma_32_bit_addresses = 1,
            (_, 24..) => {}
            _ => return None,
        }
        Some(description)
    }

    /// How many address bits the system was told of, by a version that can describe the device.
    pub(super) const fn effective_width(self, version: u32) -> u32 {
        match (version, self.address_width) {
            (3.., width) => width,
            (_, 64..) => 64,
            (_, 32..) => 32,
            _ => 24,
        }
    }
}

impl SystemDescription {
    /// The description for one version of the interface.
    pub(super) const fn for_version(self, version: u32) -> DeviceDescription {
        let mut description = DeviceDescription::ZERO;
        description.version = version;
        description.interface_type = INTERFACE_TYPE_UNDEFINED;
        description.dma_channel = self.channel;
        description.dma_width = match self.width {
            TransferWidth::Bits8 => 0,
            TransferWidth::Bits16 => 1,
            TransferWidth::Bits32 => 2,
        };
        description.maximum_length = self.maximum_length;
        if version >= 3 {
            description.dma_request_line = self.request_line;
            description.device_address = self.device_address;
        }
        description
    }
}
