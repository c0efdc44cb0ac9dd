//! What is told of the whole device, what administrators ask, and host memory buffers.

use super::{
    AddressBound, ByteCount, Choice, Count, DeviceAddress, Flags, Header, NodeNumber, PieceIndex,
    Reserved, UserAddress,
};
use crate::layout::{number, wire};
use crate::{EVENT_KINDS, REGISTRATIONS_PER_REPLY};

number! {
    /// The number of a registration in an enumeration: counts up and is never given twice.
    pub struct Serial(u64);
}
number! {
    /// The number of a process.
    pub struct ProcessId(u64);
}

wire! {
    /// Where the status page is.
    pub struct MapStatusPageOutput as "SANPROXY_MAP_STATUS_PAGE_OUTPUT", 32 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// Where the process finds the page: a `SANPROXY_STATUS_PAGE`, read-only.
        8: pub user_address: UserAddress,
        /// How many bytes are mapped.
        16: pub length: ByteCount,
        /// Where the device finds the page.
        24: pub device_address: DeviceAddress,
    }
}

wire! {
    /// The status page. The driver makes `sequence` odd, changes the rest, and makes it even again:
    /// who reads the same even number before and after has read a state that there was.
    pub struct StatusPage as "SANPROXY_STATUS_PAGE", 144 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// Odd while the page is being changed; counts up by two with each change.
        8: pub sequence: Count,
        /// Where the device is in its life (`SANPROXY_DEVICE_...`).
        16: pub state: Choice,
        /// Zero.
        20: pub reserved: Reserved,
        /// How often the device has been started.
        24: pub generation: Count,
        /// Registrations of the device now.
        32: pub live_registrations: Count,
        /// Bytes registered of the device now.
        40: pub live_bytes: ByteCount,
        /// Registrations made.
        48: pub made: Count,
        /// Registrations released.
        56: pub released: Count,
        /// Requests that failed, whatever the cause.
        64: pub failures: Count,
        /// The most bytes there ever were at once.
        72: pub peak_bytes: ByteCount,
        /// Events that the files of the device were told of, by the number of the kind's bit
        /// (`SANPROXY_EVENT_...`): one for each file that was told. While they stay the same, no file
        /// has a new event to wait for.
        80: pub events: [Count; EVENT_KINDS],
    }
}

wire! {
    /// Asks for registrations of all files, in the order in which they were made.
    pub struct EnumerateInput as "SANPROXY_ENUMERATE_INPUT", 16 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// Only those made after this one: 0, or `last` of the reply before.
        8: pub after: Serial,
    }
}

wire! {
    /// One registration, as an administrator sees it.
    pub struct EnumeratedRegistration as "SANPROXY_ENUMERATED_REGISTRATION", 48 bytes {
        /// Its number.
        0: pub serial: Serial,
        /// The process that opened the file.
        8: pub process: ProcessId,
        /// How many bytes.
        16: pub length: ByteCount,
        /// Where the device finds the first piece.
        24: pub device_address: DeviceAddress,
        /// The kind of memory (`SANPROXY_KIND_...`), or `SANPROXY_SECURED_RANGE`: that is not the
        /// device's, so it has no piece, and its bytes count nowhere.
        32: pub kind: Choice,
        /// The flags of the registration (`SANPROXY_REGISTER_...`).
        36: pub flags: Flags,
        /// How many pieces it has.
        40: pub pieces: PieceIndex,
        /// What the address is (`SANPROXY_ADDRESS_...`).
        44: pub address_kind: Choice,
    }
}

wire! {
    /// Asks for the pieces of a registration of any file. In the answer no piece has an address for a
    /// program.
    pub struct EnumeratePiecesInput as "SANPROXY_ENUMERATE_PIECES_INPUT", 24 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The number of the registration.
        8: pub serial: Serial,
        /// The first piece to be told, from 0 on.
        16: pub first_piece: PieceIndex,
        /// Zero.
        20: pub reserved: Reserved,
    }
}

wire! {
    /// Some registrations. One that lives from the first reply to the last is in exactly one.
    pub struct EnumerateOutput as "SANPROXY_ENUMERATE_OUTPUT", 800 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// How many there are now, of all files.
        8: pub total: Count,
        /// The number of the last one in this reply: what to ask after. As asked if there is none.
        16: pub last: Serial,
        /// How many are in this reply; if fewer than fit, there are no more.
        24: pub returned: PieceIndex,
        /// Zero.
        28: pub reserved: Reserved,
        /// The registrations; the rest is zero.
        32: pub registrations: [EnumeratedRegistration; REGISTRATIONS_PER_REPLY],
    }
}

wire! {
    /// Sets the quotas. What is registered already stays, even if it is more.
    pub struct SetQuotaInput as "SANPROXY_SET_QUOTA_INPUT", 40 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// How many bytes one file can have registered; for files opened from then on.
        8: pub bytes_per_file: ByteCount,
        /// How many registrations one file can have; for files opened from then on.
        16: pub count_per_file: Count,
        /// How many bytes all files together can have registered.
        24: pub bytes_per_device: ByteCount,
        /// How many registrations all files together can have.
        32: pub count_per_device: Count,
    }
}

wire! {
    /// Asks for a host memory buffer: ranges, each contiguous for the device, up to a total.
    pub struct RegisterHostMemoryInput as "SANPROXY_REGISTER_HOST_MEMORY_INPUT", 72 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// How many bytes are wanted; rounded up to whole pages.
        8: pub preferred: ByteCount,
        /// How many bytes will do; rounded up to whole pages. If there are fewer, there are none.
        16: pub minimum: ByteCount,
        /// The lowest address allowed; 0 for no bound.
        24: pub lowest: AddressBound,
        /// The highest address allowed, inclusive; `UINT64_MAX` for no bound.
        32: pub highest: AddressBound,
        /// Each range begins at a multiple of this: 0 for a page, or a power of two up to 1 GiB.
        40: pub alignment: AddressBound,
        /// The most ranges that will do, up to `SANPROXY_MOST_RANGES`.
        48: pub most_ranges: PieceIndex,
        /// Flags (`SANPROXY_REGISTER_...`).
        52: pub flags: Flags,
        /// The cache type wanted (`SANPROXY_CACHE_...`).
        56: pub cache: Choice,
        /// The NUMA node wanted, or `SANPROXY_ANY_NODE`.
        60: pub node: NodeNumber,
        /// Zero.
        64: pub reserved: Reserved,
        /// Zero.
        68: pub reserved_end: Reserved,
    }
}
