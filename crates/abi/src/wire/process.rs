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
    /// locked until it is released, and what either side writes, the other sees.
    ///
    /// Only with `SANPROXY_REGISTER_COPY`, and if the device cannot be given the pages themselves at
    /// addresses that lie as asked, it is given a copy, all of which is memory of the driver; then
    /// the method in the reply is one of a common buffer. The device sees what the memory held
    /// when it was registered, or last synchronised for the device. What the device wrote, and for
    /// the rest what was copied, is in the memory when it is synchronised for the process, and
    /// when the registration ends, if the device may write.
    pub struct RegisterUserBufferInput as "SANPROXY_REGISTER_USER_BUFFER_INPUT", 56 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The memory. More than one registration may hold the same.
        8: pub range: UserRange,
        /// What the device may do with it (`SANPROXY_ACCESS_...`). The process must be able to do
        /// the same.
        24: pub access: Choice,
        /// `SANPROXY_REGISTER_LOW_MEMORY`; `SANPROXY_REGISTER_ALLOW_PIECES` unless the device must
        /// find it in one piece; `SANPROXY_REGISTER_COPY` if a copy will do.
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

wire! {
    /// Brings bytes of a registration up to date. Memory that is no user buffer never needs it, and
    /// a user buffer that is no copy does not on a PC, whose devices see what the processor sees:
    /// the request does no harm there. It is refused where the adapter offers no way to do it. Bytes
    /// around those named may be synchronised too, unless the registration is a copy.
    pub struct SynchronizeInput as "SANPROXY_SYNCHRONIZE_INPUT", 40 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The registration.
        8: pub handle: Handle,
        /// Where in it.
        16: pub offset: ByteCount,
        /// How many bytes; not zero.
        24: pub length: ByteCount,
        /// For whom (`SANPROXY_FOR_...`): for the device if it may read the memory, for the process
        /// if the device may write it.
        32: pub side: Choice,
        /// Zero.
        36: pub reserved: Reserved,
    }
}
