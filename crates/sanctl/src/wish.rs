//! What to register, as it is written on a command line.

use clap::{Args, ValueEnum};
use sanproxy_abi::PAGE_SIZE;
use sanproxy_provider::{
    CacheType, Channel, HostMemoryOptions, Kind, Provider, RegisterOptions, Registration,
};

use crate::advice;
use crate::amount::parse_bytes;
use crate::failure::{Failure, for_administrators};

/// What to register.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wish {
    /// How much: rounded up to whole pages
    #[arg(value_parser = parse_bytes, value_name = "SIZE")]
    pub size: u64,
    /// Map it into this process
    #[arg(long)]
    pub map: bool,
    /// Put it into crash dumps; takes an administrator
    #[arg(long)]
    pub dump: bool,
    /// As a host memory buffer: several ranges, as much as there is from --minimum to SIZE
    #[arg(long, conflicts_with_all = ["kind", "pieces", "boundary"])]
    pub host_memory: bool,
    /// How much will do; one page, if nothing is said
    #[arg(long, requires = "host_memory", value_parser = parse_bytes, value_name = "SIZE")]
    pub minimum: Option<u64>,
    /// In at most so many ranges
    #[arg(long, requires = "host_memory", value_name = "NUMBER")]
    pub ranges: Option<u32>,
    /// How it is placed.
    #[command(flatten)]
    pub placement: Placement,
}

/// How memory is to be placed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Placement {
    /// Where it comes from
    #[arg(long, value_enum, default_value_t = KindName::Common, value_name = "KIND")]
    pub kind: KindName,
    /// Below 4 GiB as the device sees it
    #[arg(long)]
    pub low: bool,
    /// Several smaller blocks will do
    #[arg(long)]
    pub pieces: bool,
    /// Not below this address
    #[arg(long, value_parser = parse_bytes, value_name = "ADDRESS")]
    pub lowest: Option<u64>,
    /// Not above this address
    #[arg(long, value_parser = parse_bytes, value_name = "ADDRESS")]
    pub highest: Option<u64>,
    /// At a multiple of this power of two
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub alignment: Option<u64>,
    /// Across no multiple of this power of two
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub boundary: Option<u64>,
    /// How the processor caches it
    #[arg(long, value_enum, default_value_t = CacheName::Cached, value_name = "TYPE")]
    pub cache: CacheName,
    /// From this NUMA node
    #[arg(long)]
    pub node: Option<u32>,
    /// Another NUMA node will do
    #[arg(long, requires = "node")]
    pub other_node: bool,
}

/// A kind of memory that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindName {
    /// A common buffer of the DMA adapter
    Common,
    /// Physically contiguous memory
    Contiguous,
}

/// A cache type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CacheName {
    /// Cached
    Cached,
    /// Not cached
    Noncached,
    /// Not cached, writes combined
    WriteCombined,
}

impl From<CacheName> for CacheType {
    fn from(name: CacheName) -> Self {
        match name {
            CacheName::Cached => Self::Cached,
            CacheName::Noncached => Self::NonCached,
            CacheName::WriteCombined => Self::WriteCombined,
        }
    }
}

/// Sets a flag of a request.
type Flag = fn(RegisterOptions) -> RegisterOptions;
/// Sets a number of a request.
type Number = fn(RegisterOptions, u64) -> RegisterOptions;

/// As [`Flag`], of a host memory buffer.
type HostFlag = fn(HostMemoryOptions) -> HostMemoryOptions;
/// As [`Number`], of a host memory buffer.
type HostNumber = fn(HostMemoryOptions, u64) -> HostMemoryOptions;

impl Placement {
    /// The request for so many bytes.
    pub fn options(&self, size: u64, map: bool) -> RegisterOptions {
        let kind = match self.kind {
            KindName::Common => Kind::CommonBuffer,
            KindName::Contiguous => Kind::Contiguous,
        };
        let mut options = RegisterOptions::new(kind, size).cache(self.cache.into());
        let flags: [(bool, Flag); 4] = [
            (map, RegisterOptions::map),
            (self.low, RegisterOptions::low_memory),
            (self.pieces, RegisterOptions::allow_pieces),
            (self.other_node, RegisterOptions::allow_other_node),
        ];
        for (wanted, flag) in flags {
            if wanted {
                options = flag(options);
            }
        }
        let numbers: [(Option<u64>, Number); 4] = [
            (self.lowest, RegisterOptions::lowest),
            (self.highest, RegisterOptions::highest),
            (self.alignment, RegisterOptions::alignment),
            (self.boundary, RegisterOptions::boundary),
        ];
        for (number, set) in numbers {
            if let Some(number) = number {
                options = set(options, number);
            }
        }
        match self.node {
            Some(node) => options.node(node),
            None => options,
        }
    }
}

impl Wish {
    /// The request, unless it is for a host memory buffer.
    pub fn options(&self) -> RegisterOptions {
        let options = self.placement.options(self.size, self.map);
        if self.dump { options.dump() } else { options }
    }

    /// The request for a host memory buffer.
    pub fn host_memory(&self) -> HostMemoryOptions {
        let Placement {
            low,
            lowest,
            highest,
            alignment,
            cache,
            node,
            other_node,
            ..
        } = self.placement;
        let mut options = HostMemoryOptions::new(self.size, self.least()).cache(cache.into());
        if let Some(ranges) = self.ranges {
            options = options.most_ranges(ranges);
        }
        let flags: [(bool, HostFlag); 4] = [
            (self.map, HostMemoryOptions::map),
            (self.dump, HostMemoryOptions::dump),
            (low, HostMemoryOptions::low_memory),
            (other_node, HostMemoryOptions::allow_other_node),
        ];
        for (wanted, flag) in flags {
            if wanted {
                options = flag(options);
            }
        }
        let numbers: [(Option<u64>, HostNumber); 3] = [
            (lowest, HostMemoryOptions::lowest),
            (highest, HostMemoryOptions::highest),
            (alignment, HostMemoryOptions::alignment),
        ];
        for (number, set) in numbers {
            if let Some(number) = number {
                options = set(options, number);
            }
        }
        match node {
            Some(node) => options.node(node),
            None => options,
        }
    }

    /// Asks for it.
    ///
    /// # Errors
    ///
    /// The driver refuses.
    pub fn register<C: Channel>(&self, provider: &Provider<C>) -> Result<Registration<C>, Failure> {
        let made = if self.host_memory {
            provider.register_host_memory(&self.host_memory())
        } else {
            provider.register(&self.options())
        };
        made.map_err(|error| {
            let advice = advice::on_refusal(provider, self, &error);
            let failure = if self.dump {
                for_administrators(error, "putting memory into crash dumps")
            } else {
                error.into()
            };
            match advice {
                Some(advice) => failure.cure(advice),
                None => failure,
            }
        })
    }

    /// How much of a host memory buffer will do.
    pub(crate) fn least(&self) -> u64 {
        self.minimum.unwrap_or(self.size.min(PAGE_SIZE))
    }
}
