//! The structs that cross the border, byte by byte.
//!
//! Fixed-width integers only, no pointer, no padding the compiler could add, sizes a multiple of 8:
//! a 32-bit caller's struct is the 64-bit caller's struct. What comes in holds no address to act
//! on (C11): a handle, a count, a bound, a choice, or an address to look up in the caller's own list.

use crate::layout::{Struct, number, wire};
use crate::{FAILURE_COUNTERS, LATENCY_BUCKETS, PIECES_PER_REPLY};

mod device;
mod exchange;
mod message;
mod process;

pub use device::{
    EnumerateInput, EnumerateOutput, EnumeratePiecesInput, EnumeratedRegistration,
    MapStatusPageOutput, ProcessId, RegisterHostMemoryInput, Serial, SetQuotaInput, StatusPage,
};
pub use exchange::{ConnectInput, ConnectOutput, EventsOutput, ExchangeInput};
pub use message::Message;
pub use process::{
    RegisterUserBufferInput, SecureInput, SecureOutput, SynchronizeInput, UnsecureInput, UserRange,
};

number! {
    /// Names a registration; means nothing on any other open file.
    pub struct Handle(u64);
}
number! {
    /// A number of bytes.
    pub struct ByteCount(u64);
}
number! {
    /// A number of things.
    pub struct Count(u64);
}
number! {
    /// One end of the range in which an allocation must lie, or its boundary or alignment.
    pub struct AddressBound(u64);
}
number! {
    /// An address as the device sees it.
    pub struct DeviceAddress(u64);
}
number! {
    /// An address in the process that owns the registration; 0 if it is not mapped.
    pub struct UserAddress(u64);
}
number! {
    /// Where a range of the calling process begins. The system probes it as the process itself
    /// would use it.
    pub struct RangeStart(u64);
}
number! {
    /// A set of bits.
    pub struct Flags(u32);
}
number! {
    /// One of a list of named numbers.
    pub struct Choice(u32);
}
number! {
    /// The number of a piece, or how many pieces.
    pub struct PieceIndex(u32);
}
number! {
    /// The number of a NUMA node.
    pub struct NodeNumber(u32);
}
number! {
    /// Names an open file of a device to others that may connect with it; 0 is nobody. Never reused.
    pub struct EndpointId(u64);
}
number! {
    /// Zero.
    pub struct Reserved(u32);
}

wire! {
    /// Begins every request and every reply.
    pub struct Header as "SANPROXY_HEADER", 8 bytes {
        /// The size of the whole struct in bytes.
        0: pub size: u32,
        /// `SANPROXY_WIRE_VERSION`.
        4: pub version: u16,
        /// Zero.
        6: pub reserved: u16,
    }
}

wire! {
    /// Which interface version the driver speaks. A program written for the same major version and
    /// a lower or equal minor version works with it.
    pub struct InterfaceOutput as "SANPROXY_INTERFACE_OUTPUT", 32 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The major version of the interface.
        8: pub interface_major: u16,
        /// The minor version of the interface.
        10: pub interface_minor: u16,
        /// Zero.
        12: pub reserved: Reserved,
        /// The version of the driver, first number.
        16: pub driver_major: u32,
        /// The version of the driver, second number.
        20: pub driver_minor: u32,
        /// The version of the driver, third number.
        24: pub driver_patch: u32,
        /// Zero.
        28: pub reserved_end: Reserved,
    }
}

wire! {
    /// What the device offers, and its limits.
    pub struct CapabilitiesOutput as "SANPROXY_CAPABILITIES_OUTPUT", 96 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The kinds of memory offered: bit n stands for kind n.
        8: pub kinds: Flags,
        /// The version of the DMA interface: 1, 2, 3, or 0 if there is no adapter.
        12: pub dma_version: u32,
        /// How many address bits the device has; 0 if unknown.
        16: pub address_width: u32,
        /// The size of the adapter's table of operations in bytes; 0 if there is no adapter.
        20: pub dma_operations_size: u32,
        /// The routine that common buffers come from (`SANPROXY_METHOD_...`).
        24: pub common_buffer_method: Choice,
        /// The map registers that the adapter offers.
        28: pub map_registers: u32,
        /// The highest NUMA node.
        32: pub highest_node: NodeNumber,
        /// The size of a page in bytes: the unit of registration.
        36: pub page_size: u32,
        /// The longest single registration in bytes.
        40: pub longest_registration: ByteCount,
        /// How many bytes one open file can have registered.
        48: pub bytes_per_file: ByteCount,
        /// How many registrations one open file can have.
        56: pub count_per_file: Count,
        /// How many bytes all files together can have registered.
        64: pub bytes_per_device: ByteCount,
        /// How many registrations all files together can have.
        72: pub count_per_device: Count,
        /// The size of the driver's reserve of common buffers.
        80: pub reserve_bytes: ByteCount,
        /// Zero.
        88: pub reserved: Reserved,
        /// Zero.
        92: pub reserved_end: Reserved,
    }
}

wire! {
    /// Asks for memory that the device can reach.
    ///
    /// The bounds are of the device address for common buffers, and for contiguous memory if the
    /// device has an adapter; of the physical address otherwise.
    pub struct RegisterInput as "SANPROXY_REGISTER_INPUT", 64 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The kind of memory (`SANPROXY_KIND_...`).
        8: pub kind: Choice,
        /// Flags (`SANPROXY_REGISTER_...`).
        12: pub flags: Flags,
        /// How many bytes; rounded up to whole pages.
        16: pub length: ByteCount,
        /// The lowest address allowed; 0 for no bound.
        24: pub lowest: AddressBound,
        /// The highest address allowed, inclusive; `UINT64_MAX` for no bound.
        32: pub highest: AddressBound,
        /// The memory crosses no multiple of this: 0 for no boundary, or a power of two, at least
        /// a page and at least the length.
        40: pub boundary: AddressBound,
        /// The memory begins at a multiple of this: 0 for a page, or a power of two up to 1 GiB.
        48: pub alignment: AddressBound,
        /// The cache type wanted (`SANPROXY_CACHE_...`).
        56: pub cache: Choice,
        /// The NUMA node wanted, or `SANPROXY_ANY_NODE`.
        60: pub node: NodeNumber,
    }
}

wire! {
    /// A new registration. The memory is zeroed, unless it is the caller's own.
    pub struct RegisterOutput as "SANPROXY_REGISTER_OUTPUT", 64 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// Names the registration.
        8: pub handle: Handle,
        /// How many bytes: whole pages, unless it is the caller's own memory.
        16: pub length: ByteCount,
        /// Where the device finds the first piece.
        24: pub device_address: DeviceAddress,
        /// Where the process finds the first piece; 0 if it is not mapped.
        32: pub user_address: UserAddress,
        /// How many pieces there are.
        40: pub pieces: PieceIndex,
        /// The routine that the memory came from (`SANPROXY_METHOD_...`).
        44: pub method: Choice,
        /// The cache type that the memory has (`SANPROXY_CACHE_...`).
        48: pub cache: Choice,
        /// The NUMA node that was asked of the system, or `SANPROXY_ANY_NODE`.
        52: pub node: NodeNumber,
        /// What the addresses are (`SANPROXY_ADDRESS_...`).
        56: pub address_kind: Choice,
        /// 0 if the memory is as asked, or the step of the ladder that succeeded.
        60: pub rung: u32,
    }
}

wire! {
    /// Asks for the pieces of a registration.
    pub struct QueryRegistrationInput as "SANPROXY_QUERY_REGISTRATION_INPUT", 24 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The registration.
        8: pub handle: Handle,
        /// The first piece wanted, counted from 0.
        16: pub first_piece: PieceIndex,
        /// Zero.
        20: pub reserved: Reserved,
    }
}

wire! {
    /// One piece of a registration: contiguous for the device.
    pub struct Piece as "SANPROXY_PIECE", 24 bytes {
        /// Where the device finds it.
        0: pub device_address: DeviceAddress,
        /// How many bytes.
        8: pub length: ByteCount,
        /// Where the process finds it; 0 if it is not mapped.
        16: pub user_address: UserAddress,
    }
}

wire! {
    /// Some pieces of a registration.
    pub struct QueryRegistrationOutput as "SANPROXY_QUERY_REGISTRATION_OUTPUT", 800 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// How many pieces the registration has.
        8: pub total: PieceIndex,
        /// How many of them are in this reply.
        12: pub returned: PieceIndex,
        /// The kind of memory (`SANPROXY_KIND_...`).
        16: pub kind: Choice,
        /// The flags of the registration (`SANPROXY_REGISTER_...`).
        20: pub flags: Flags,
        /// How many bytes the whole registration has.
        24: pub length: ByteCount,
        /// The pieces; the rest is zero.
        32: pub pieces: [Piece; PIECES_PER_REPLY],
    }
}

wire! {
    /// Releases a registration: its mapping, then its memory.
    pub struct ReleaseInput as "SANPROXY_RELEASE_INPUT", 16 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The registration.
        8: pub handle: Handle,
    }
}

wire! {
    /// Counters of the device and of this file.
    pub struct StatisticsOutput as "SANPROXY_STATISTICS_OUTPUT", 648 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// Registrations of the device now.
        8: pub live_registrations: Count,
        /// Bytes registered of the device now.
        16: pub live_bytes: ByteCount,
        /// The most registrations there ever were at once since the device started.
        24: pub peak_registrations: Count,
        /// The most bytes there ever were at once since the device started.
        32: pub peak_bytes: ByteCount,
        /// Registrations made since the device started.
        40: pub made: Count,
        /// Registrations released since the device started.
        48: pub released: Count,
        /// Registrations of this file now.
        56: pub file_registrations: Count,
        /// Bytes registered of this file now.
        64: pub file_bytes: ByteCount,
        /// Requests that failed, by cause (`SANPROXY_FAILURE_...`); the rest is zero.
        72: pub failures: [Count; FAILURE_COUNTERS],
        /// Registrations made, by how long it took: bucket n has those of less than 2^n units of
        /// 100 ns and not in one before; the last one also has all that took longer.
        456: pub latencies: [Count; LATENCY_BUCKETS],
    }
}

wire! {
    /// Asks which of the caller's own registrations holds a device address.
    pub struct LookupInput as "SANPROXY_LOOKUP_INPUT", 16 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The address. It is looked up and never acted on.
        8: pub device_address: DeviceAddress,
    }
}

wire! {
    /// The registration that holds the address.
    pub struct LookupOutput as "SANPROXY_LOOKUP_OUTPUT", 32 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The registration; 0 if it is the status page.
        8: pub handle: Handle,
        /// The address's offset from the start of the registration, or of the page.
        16: pub offset: ByteCount,
        /// Where the process finds the byte; 0 if it is not mapped.
        24: pub user_address: UserAddress,
    }
}

wire! {
    /// Copies between two of the caller's own registrations, which may be one, as `memmove` does.
    /// Of a user buffer it reads and writes what the device sees, and only as the device may. What two
    /// registrations hold of the same memory, where both are copied, is not said.
    pub struct MoveInput as "SANPROXY_MOVE_INPUT", 48 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// Where to read.
        8: pub source: Handle,
        /// Where in it.
        16: pub source_offset: ByteCount,
        /// Where to write.
        24: pub destination: Handle,
        /// Where in it.
        32: pub destination_offset: ByteCount,
        /// How many bytes; not zero.
        40: pub length: ByteCount,
    }
}

/// All wire structs, each after those that it contains.
pub const STRUCTS: &[Struct] = &[
    Header::LAYOUT,
    InterfaceOutput::LAYOUT,
    CapabilitiesOutput::LAYOUT,
    RegisterInput::LAYOUT,
    RegisterOutput::LAYOUT,
    QueryRegistrationInput::LAYOUT,
    Piece::LAYOUT,
    QueryRegistrationOutput::LAYOUT,
    ReleaseInput::LAYOUT,
    StatisticsOutput::LAYOUT,
    LookupInput::LAYOUT,
    LookupOutput::LAYOUT,
    MoveInput::LAYOUT,
    UserRange::LAYOUT,
    SecureInput::LAYOUT,
    SecureOutput::LAYOUT,
    UnsecureInput::LAYOUT,
    RegisterUserBufferInput::LAYOUT,
    SynchronizeInput::LAYOUT,
    EventsOutput::LAYOUT,
    ExchangeInput::LAYOUT,
    ConnectInput::LAYOUT,
    ConnectOutput::LAYOUT,
    MapStatusPageOutput::LAYOUT,
    StatusPage::LAYOUT,
    EnumerateInput::LAYOUT,
    EnumeratedRegistration::LAYOUT,
    EnumerateOutput::LAYOUT,
    EnumeratePiecesInput::LAYOUT,
    SetQuotaInput::LAYOUT,
    RegisterHostMemoryInput::LAYOUT,
];

const _: () = assert!(STRUCTS.len() == 31);
