//! What to ask for when memory is registered.

use sanproxy_abi::wire::{
    AddressBound, ByteCount, Choice, Flags, Header, NodeNumber, RegisterInput,
};
use sanproxy_abi::{ANY_NODE, CacheType, Kind, RegisterFlags};

/// What to ask for when memory is registered: a length, and wishes one by one.
///
/// Nothing is checked here: the driver decides, and its refusal says what was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RegisterOptions {
    input: RegisterInput,
}

impl RegisterOptions {
    /// A common buffer: the memory for RDMA and messages.
    pub const fn common_buffer(length: u64) -> Self {
        Self::new(Kind::CommonBuffer, length)
    }

    /// Physically contiguous memory.
    pub const fn contiguous(length: u64) -> Self {
        Self::new(Kind::Contiguous, length)
    }

    /// Memory of any kind: cached, of any node, anywhere, not mapped.
    pub const fn new(kind: Kind, length: u64) -> Self {
        Self {
            input: RegisterInput {
                header: Header::of::<RegisterInput>(),
                kind: Choice(kind.value()),
                flags: Flags(0),
                length: ByteCount(length),
                lowest: AddressBound(0),
                highest: AddressBound(u64::MAX),
                boundary: AddressBound(0),
                alignment: AddressBound(0),
                cache: Choice(CacheType::Cached.value()),
                node: NodeNumber(ANY_NODE),
            },
        }
    }

    /// Map it into this process.
    pub const fn map(self) -> Self {
        self.flag(RegisterFlags::MAP)
    }

    /// Below 4 GiB as the device sees it.
    pub const fn low_memory(self) -> Self {
        self.flag(RegisterFlags::LOW_MEMORY)
    }

    /// Several smaller blocks will do.
    pub const fn allow_pieces(self) -> Self {
        self.flag(RegisterFlags::ALLOW_PIECES)
    }

    /// Put it into crash dumps.
    pub const fn dump(self) -> Self {
        self.flag(RegisterFlags::DUMP)
    }

    /// Another NUMA node will do.
    pub const fn allow_other_node(self) -> Self {
        self.flag(RegisterFlags::ALLOW_OTHER_NODE)
    }

    /// Not below this address.
    pub const fn lowest(mut self, address: u64) -> Self {
        self.input.lowest = AddressBound(address);
        self
    }

    /// Not above this address.
    pub const fn highest(mut self, address: u64) -> Self {
        self.input.highest = AddressBound(address);
        self
    }

    /// Across no multiple of this power of two.
    pub const fn boundary(mut self, bytes: u64) -> Self {
        self.input.boundary = AddressBound(bytes);
        self
    }

    /// At a multiple of this power of two.
    pub const fn alignment(mut self, bytes: u64) -> Self {
        self.input.alignment = AddressBound(bytes);
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

    /// The request as it goes to the driver.
    #[must_use]
    pub const fn wire(&self) -> &RegisterInput {
        &self.input
    }

    const fn flag(mut self, flag: RegisterFlags) -> Self {
        self.input.flags = Flags(self.input.flags.0 | flag.bits());
        self
    }
}
