//! What is asked about the memory of the calling process itself.

use super::{AddressBound, ByteCount, Choice, Flags, Handle, Header, RangeStart, Reserved};
use crate::layout::wire;

wire! {
    /// A range of the calling process's own memory; it need not begin or end at a page.
    pub struct UserRange as "SANPROXY_USER_RANGE", 16 bytes {
        /// Where it begins.
        0: pub start: RangeStart,
        /// How many bytes; not zero.
        8: pub length: ByteCount,
    }
}

wire! {
    /// Secures memory of one allocation of the caller's own, in the process that opened the file:
    /// until it is unsecured, the process can neither free it nor take that access away.
    pub struct SecureInput as "SANPROXY_SECURE_INPUT", 32 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The memory. More than one secured range may hold the same.
        8: pub range: UserRange,
        /// The access that stays (`SANPROXY_ACCESS_...`). The process must have it.
        24: pub access: Choice,
        /// Zero.
        28: pub reserved: Reserved,
    }
}

wire! {
    /// A secured range. It counts as a registration of no bytes.
    pub struct SecureOutput as "SANPROXY_SECURE_OUTPUT", 16 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// Names the secured range; it is no handle of a registration.
        8: pub handle: Handle,
    }
}

wire! {
    /// Ends the securing of a range.
    pub struct UnsecureInput as "SANPROXY_UNSECURE_INPUT", 16 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The secured range.
        8: pub handle: Handle,
    }
}

wire! {
    /// Makes the caller's own memory reachable for the device, page by page where it lies. It is
    /// locked until it is released, and is never copied: what either side writes, the other sees.
    pub struct RegisterUserBufferInput as "SANPROXY_REGISTER_USER_BUFFER_INPUT", 56 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The memory. More than one registration may hold the same.
        8: pub range: UserRange,
        /// What the device may do with it (`SANPROXY_ACCESS_...`). The process must be able to do
        /// the same.
        24: pub access: Choice,
        /// `SANPROXY_REGISTER_LOW_MEMORY`, and `SANPROXY_REGISTER_ALLOW_PIECES` unless the device
        /// must find it in one piece.
        28: pub flags: Flags,
        /// The lowest device address allowed; 0 for no bound.
        32: pub lowest: AddressBound,
        /// The highest device address allowed, inclusive; `UINT64_MAX` for no bound.
        40: pub highest: AddressBound,
        /// Zero.
        48: pub reserved: Reserved,
        /// Zero.
        52: pub reserved_end: Reserved,
    }
}
