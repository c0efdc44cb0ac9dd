//! What to ask for when a host memory buffer is registered.

use sanproxy_abi::wire::{
    AddressBound, ByteCount, Choice, Flags, Header, NodeNumber, PieceIndex,
    RegisterHostMemoryInput, Reserved,
};
use sanproxy_abi::{ANY_NODE, CacheType, MOST_RANGES, RegisterFlags};

/// What to ask for when a host memory buffer is registered: how much is preferred, how much will do,
/// and wishes one by one.
///
/// Nothing is checked here: the driver decides, and its refusal says what was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct HostMemoryOptions {
    input: RegisterHostMemoryInput,
}

impl HostMemoryOptions {
    /// As much as possible from `minimum` to `preferred` bytes: cached, of any node, anywhere, in any
    /// number of ranges, not mapped.
    pub const fn new(preferred: u64, minimum: u64) -> Self {
        Self {
            input: RegisterHostMemoryInput {
                header: Header::of::<RegisterHostMemoryInput>(),
                preferred: ByteCount(preferred),
                minimum: ByteCount(minimum),
                lowest: AddressBound(0),
                highest: AddressBound(u64::MAX),
                alignment: AddressBound(0),
                most_ranges: PieceIndex(MOST_RANGES),
                flags: Flags(0),
                cache: Choice(CacheType::Cached.value()),
                node: NodeNumber(ANY_NODE),
                reserved: Reserved(0),
                reserved_end: Reserved(0),
            },
        }
    }

    /// In at most so many ranges.
    pub const fn most_ranges(mut self, ranges: u32) -> Self {
        self.input.most_ranges = PieceIndex(ranges);
        self
    }

    /// Each range at a multiple of this power of two.
    pub const fn alignment(mut self, bytes: u64) -> Self {
        self.input.alignment = AddressBound(bytes);
        self
    }

    /// Not below this address.
    pub const fn lowest(mut self, address: u64) -> Self {
        self.input.lowest = AddressBound(address);
        self
    }

    /// Not above this address, which is the last one allowed.
    pub const fn highest(mut self, address: u64) -> Self {
        self.input.highest = AddressBound(address);
        self
    }

    /// With this cache type.
    pub const fn cache(mut self, cache: CacheType) -> Self {
        self.input.cache = Choice(cache.value());
        self
    }

    /// From this NUMA node.
    pub const fn node(mut self, node: u32) -> Self {
        self.input.node = NodeNumber(node);
        self
    }

    /// Another NUMA node will do.
    pub const fn allow_other_node(self) -> Self {
        self.flag(RegisterFlags::ALLOW_OTHER_NODE)
    }

    /// Below 4 GiB as the device sees it.
    pub const fn low_memory(self) -> Self {
        self.flag(RegisterFlags::LOW_MEMORY)
    }

    /// Map it into this process.
    pub const fn map(self) -> Self {
        self.flag(RegisterFlags::MAP)
    }

    /// Put it into crash dumps.
    pub const fn dump(self) -> Self {
        self.flag(RegisterFlags::DUMP)
    }

    /// The request as it goes to the driver.
    #[must_use]
    pub const fn wire(&self) -> &RegisterHostMemoryInput {
        &self.input
    }

    const fn flag(mut self, flag: RegisterFlags) -> Self {
        self.input.flags = Flags(self.input.flags.0 | flag.bits());
        self
    }
}
