//! Numbers with names: kinds of memory, how it was allocated, cache types, flags.

use crate::layout::{Constant, Enumeration, choice};

choice! {
    /// Where the memory of a registration comes from.
    pub enum Kind {
        /// A common buffer of the device's DMA adapter: the default for RDMA and messages.
        CommonBuffer = 1 as "SANPROXY_KIND_COMMON_BUFFER",
        /// Physically contiguous memory from the memory manager.
        Contiguous = 2 as "SANPROXY_KIND_CONTIGUOUS",
        /// Several contiguous ranges up to a total, from a request of its own.
        HostMemoryBuffer = 3 as "SANPROXY_KIND_HOST_MEMORY_BUFFER",
        /// The caller's own pages, registered with `IOCTL_SANPROXY_REGISTER_USER_BUFFER`.
        UserBuffer = 4 as "SANPROXY_KIND_USER_BUFFER",
    }
}

choice! {
    /// The system routine that memory came from.
    pub enum Method {
        /// None: there is no adapter.
        None = 0 as "SANPROXY_METHOD_NONE",
        /// The driver's own reserve of common buffers, taken when the device started.
        Reserve = 1 as "SANPROXY_METHOD_RESERVE",
        /// `AllocateCommonBuffer`.
        AllocateCommonBuffer = 2 as "SANPROXY_METHOD_ALLOCATE_COMMON_BUFFER",
        /// `AllocateCommonBufferEx`.
        AllocateCommonBufferEx = 3 as "SANPROXY_METHOD_ALLOCATE_COMMON_BUFFER_EX",
        /// `AllocateCommonBufferWithBounds`.
        AllocateCommonBufferWithBounds = 4 as "SANPROXY_METHOD_ALLOCATE_COMMON_BUFFER_WITH_BOUNDS",
        /// `AllocateCommonBufferVector`.
        AllocateCommonBufferVector = 5 as "SANPROXY_METHOD_ALLOCATE_COMMON_BUFFER_VECTOR",
        /// `MmAllocateContiguousNodeMemory`.
        ContiguousNode = 6 as "SANPROXY_METHOD_CONTIGUOUS_NODE",
        /// `MmAllocateContiguousMemorySpecifyCache`.
        ContiguousSpecifyCache = 7 as "SANPROXY_METHOD_CONTIGUOUS_SPECIFY_CACHE",
        /// `MmAllocateContiguousMemorySpecifyCacheNode`.
        ContiguousSpecifyCacheNode = 8 as "SANPROXY_METHOD_CONTIGUOUS_SPECIFY_CACHE_NODE",
        /// `GetScatterGatherList`: pages of the caller's own.
        GetScatterGatherList = 9 as "SANPROXY_METHOD_GET_SCATTER_GATHER_LIST",
        /// `GetScatterGatherListEx`: pages of the caller's own.
        GetScatterGatherListEx = 10 as "SANPROXY_METHOD_GET_SCATTER_GATHER_LIST_EX",
    }
}

choice! {
    /// What the status page says of the device.
    pub enum DeviceState {
        /// Nothing yet.
        Unknown = 0 as "SANPROXY_DEVICE_UNKNOWN",
        /// Started: requests are answered.
        Started = 1 as "SANPROXY_DEVICE_STARTED",
        /// Being stopped; it may be started again.
        Stopped = 2 as "SANPROXY_DEVICE_STOPPED",
        /// Being removed.
        Removed = 3 as "SANPROXY_DEVICE_REMOVED",
    }
}

choice! {
    /// How the processor caches the memory; the numbers of `MEMORY_CACHING_TYPE`.
    pub enum CacheType {
        /// Not cached.
        NonCached = 0 as "SANPROXY_CACHE_NONCACHED",
        /// Cached.
        Cached = 1 as "SANPROXY_CACHE_CACHED",
        /// Not cached; writes may be combined.
        WriteCombined = 2 as "SANPROXY_CACHE_WRITE_COMBINED",
    }
}

choice! {
    /// What the addresses of a registration are.
    pub enum AddressKind {
        /// No address is given.
        None = 0 as "SANPROXY_ADDRESS_NONE",
        /// Logical addresses from the DMA adapter: what the device has to use.
        Logical = 1 as "SANPROXY_ADDRESS_LOGICAL",
        /// Physical addresses: contiguous memory on a device without an adapter.
        Physical = 2 as "SANPROXY_ADDRESS_PHYSICAL",
    }
}

impl Kind {
    /// The bit of this kind in a [`Kinds`] mask: `1 << value`.
    #[must_use]
    pub const fn bit(self) -> u32 {
        match self {
            Self::CommonBuffer => 1 << 1,
            Self::Contiguous => 1 << 2,
            Self::HostMemoryBuffer => 1 << 3,
            Self::UserBuffer => 1 << 4,
        }
    }
}

/// A set of [`Kind`]s, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// No kind at all.
    pub const NONE: Self = Self(0);

    /// This set and one more kind.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | kind.bit())
    }

    /// Whether the kind is in the set.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// The mask on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set with this mask, if each bit is a known kind.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & !0b1_1110 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }
}

/// What a registration is to be, beyond its numbers: a set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterFlags(u32);

impl RegisterFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Map the memory into the calling process.
    pub const MAP: Self = Self(1);
    /// Below 4 GiB as the device sees it, or fail.
    pub const LOW_MEMORY: Self = Self(2);
    /// If one block cannot be had, several smaller ones will do.
    pub const ALLOW_PIECES: Self = Self(4);
    /// If the node has no memory left, another one will do.
    pub const ALLOW_OTHER_NODE: Self = Self(8);
    /// Put the memory into crash dumps. For administrators. Refused like a kind that is not offered if
    /// the system does not ask the driver what to add to them.
    pub const DUMP: Self = Self(16);
    /// If the device cannot be given the caller's own pages as asked, a copy of them will do.
    pub const COPY: Self = Self(32);
    /// All flags that are defined.
    pub const ALL: Self = Self(63);

    /// The flags as a table.
    pub const ENUMERATION: Enumeration = Enumeration {
        name: "RegisterFlags",
        constants: &[
            Constant {
                c_name: "SANPROXY_REGISTER_MAP",
                value: Self::MAP.0,
                documentation: &[" Map the memory into the calling process."],
            },
            Constant {
                c_name: "SANPROXY_REGISTER_LOW_MEMORY",
                value: Self::LOW_MEMORY.0,
                documentation: &[" Below 4 GiB as the device sees it, or fail."],
            },
            Constant {
                c_name: "SANPROXY_REGISTER_ALLOW_PIECES",
                value: Self::ALLOW_PIECES.0,
                documentation: &[" If one block cannot be had, several smaller ones will do."],
            },
            Constant {
                c_name: "SANPROXY_REGISTER_ALLOW_OTHER_NODE",
                value: Self::ALLOW_OTHER_NODE.0,
                documentation: &[" If the node has no memory left, another one will do."],
            },
            Constant {
                c_name: "SANPROXY_REGISTER_DUMP",
                value: Self::DUMP.0,
                documentation: &[
                    " Put the memory into crash dumps. For administrators. Refused like a kind that is not",
                    " offered if the system does not ask the driver what to add to them.",
                ],
            },
            Constant {
                c_name: "SANPROXY_REGISTER_COPY",
                value: Self::COPY.0,
                documentation: &[
                    " User buffers: if the device cannot be given the pages as asked, a copy will do.",
                ],
            },
        ],
        documentation: &[" Flags of a register request, or-ed together. Undefined bits are zero."],
    };

    /// Both sets of flags together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The number on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The flags with this number, if each bit is defined for memory that the driver provides.
    #[must_use]
    pub const fn of_own_memory(bits: u32) -> Option<Self> {
        match Self::from_bits(bits) {
            Some(flags) if !flags.contains(Self::COPY) => Some(flags),
            Some(_) | None => None,
        }
    }

    /// The flags with this number, if each bit is defined.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }
}

choice! {
    /// What the device may do with the caller's own memory; `MEM_READ` and `MEM_WRITE` of Windows
    /// Sockets Direct.
    pub enum Access {
        /// Read it.
        Read = 1 as "SANPROXY_ACCESS_READ",
        /// Write it.
        Write = 2 as "SANPROXY_ACCESS_WRITE",
        /// Both.
        ReadWrite = 3 as "SANPROXY_ACCESS_READ_WRITE",
    }
}

impl Access {
    /// Whether everything that `other` allows is allowed.
    #[must_use]
    pub const fn grants(self, other: Self) -> bool {
        self.value() & other.value() == other.value()
    }
}

choice! {
    /// For whom a registration is synchronised.
    pub enum Side {
        /// The device is to see what the process has written.
        Device = 1 as "SANPROXY_FOR_DEVICE",
        /// The process is to see what the device has written.
        Processor = 2 as "SANPROXY_FOR_PROCESSOR",
    }
}

/// All groups of numbers, for the C header.
pub const ENUMERATIONS: &[Enumeration] = &[
    Kind::ENUMERATION,
    RegisterFlags::ENUMERATION,
    CacheType::ENUMERATION,
    Method::ENUMERATION,
    AddressKind::ENUMERATION,
    Access::ENUMERATION,
    Side::ENUMERATION,
    crate::EventKind::ENUMERATION,
    crate::ConnectionState::ENUMERATION,
    crate::ExchangeFlag::ENUMERATION,
    DeviceState::ENUMERATION,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_bit_is_one_shifted_by_its_number() {
        assert!(Kind::ALL.iter().all(|kind| kind.bit() == 1 << kind.value()));
    }

    #[test]
    fn kinds_mask_with_an_unknown_bit_is_refused() {
        assert_eq!(Kinds::from_bits(0b1_1110).map(Kinds::bits), Some(0b1_1110));
        assert_eq!(Kinds::from_bits(1), None);
        assert_eq!(Kinds::from_bits(1 << 5), None);
    }

    #[test]
    fn register_flags_table_lists_every_defined_bit_once() {
        let union = RegisterFlags::ENUMERATION
            .constants
            .iter()
            .fold(0, |all, c| all | c.value);
        assert_eq!(union, RegisterFlags::ALL.bits());
        assert_eq!(RegisterFlags::ENUMERATION.constants.len(), 6);
    }

    #[test]
    fn choice_survives_the_way_to_its_number_and_back() {
        assert!(
            Method::ALL
                .iter()
                .all(|m| Method::from_value(m.value()) == Some(*m))
        );
        assert!(
            CacheType::ALL
                .iter()
                .all(|c| CacheType::from_value(c.value()) == Some(*c))
        );
        assert_eq!(CacheType::from_value(3), None);
    }
}
