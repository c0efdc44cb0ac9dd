//! Host memory buffers, and what administrators ask of the whole device.

use super::{Alignment, Bounds, Node, Pages, RegisterRequest};
use crate::parameter::{
    MAXIMUM_BYTES_PER_DEVICE, MAXIMUM_BYTES_PER_FILE, MAXIMUM_COUNT_PER_DEVICE,
    MAXIMUM_COUNT_PER_FILE, Parameter,
};
use crate::wire::{PieceIndex, RegisterHostMemoryInput, SetQuotaInput};
use crate::{
    ANY_NODE, CacheType, Error, Kind, LOW_MEMORY_HIGHEST, MOST_RANGES, PAGE_SIZE, RegisterFlags,
};

/// The highest address allowed, with low memory taken into account.
pub(super) fn highest(highest: u64, flags: RegisterFlags) -> u64 {
    if flags.contains(RegisterFlags::LOW_MEMORY) {
        highest.min(LOW_MEMORY_HIGHEST)
    } else {
        highest
    }
}

/// A host memory buffer to register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMemoryRequest {
    /// What the ranges are to be, and how much is preferred.
    pub wanted: RegisterRequest,
    /// How much will do: at most the preferred total.
    pub minimum: Pages,
    /// How many ranges there may be: 1 to [`MOST_RANGES`].
    pub most_ranges: u32,
}

impl TryFrom<RegisterHostMemoryInput> for HostMemoryRequest {
    type Error = Error;

    fn try_from(input: RegisterHostMemoryInput) -> Result<Self, Error> {
        let flags = RegisterFlags::of_own_memory(input.flags.0).ok_or(Error::ReservedBits)?;
        let length = Pages::for_bytes(input.preferred.0)?;
        let minimum = Pages::for_bytes(input.minimum.0)?;
        let PieceIndex(most_ranges) = input.most_ranges;
        if minimum > length || most_ranges == 0 || most_ranges > MOST_RANGES {
            return Err(Error::HostMemoryLimits);
        }
        let alignment = Alignment::parse(input.alignment.0)?;
        let highest = highest(input.highest.0, flags);
        // A range can be as short as a page.
        let bounds = Bounds::parse(
            input.lowest.0,
            highest,
            Pages::for_bytes(PAGE_SIZE)?,
            alignment,
        )?;
        let cache = CacheType::from_value(input.cache.0).ok_or(Error::UnknownCacheType)?;
        let node = (input.node.0 != ANY_NODE).then_some(Node(input.node.0));
        let wanted = RegisterRequest {
            kind: Kind::HostMemoryBuffer,
            length,
            bounds,
            boundary: None,
            alignment,
            cache,
            node,
            flags: flags.with(RegisterFlags::ALLOW_PIECES),
        };
        Ok(Self {
            wanted,
            minimum,
            most_ranges,
        })
    }
}

/// Quotas to set, each within the range of its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaRequest {
    /// How many bytes one file can have registered.
    pub bytes_per_file: u64,
    /// How many registrations one file can have.
    pub count_per_file: u64,
    /// How many bytes all files together can have registered.
    pub bytes_per_device: u64,
    /// How many registrations all files together can have.
    pub count_per_device: u64,
}

impl QuotaRequest {
    /// Each quota with its parameter.
    #[must_use]
    pub const fn values(&self) -> [(&'static Parameter, u64); 4] {
        [
            (&MAXIMUM_BYTES_PER_FILE, self.bytes_per_file),
            (&MAXIMUM_COUNT_PER_FILE, self.count_per_file),
            (&MAXIMUM_BYTES_PER_DEVICE, self.bytes_per_device),
            (&MAXIMUM_COUNT_PER_DEVICE, self.count_per_device),
        ]
    }
}

impl TryFrom<SetQuotaInput> for QuotaRequest {
    type Error = Error;

    fn try_from(input: SetQuotaInput) -> Result<Self, Error> {
        let quotas = Self {
            bytes_per_file: input.bytes_per_file.0,
            count_per_file: input.count_per_file.0,
            bytes_per_device: input.bytes_per_device.0,
            count_per_device: input.count_per_device.0,
        };
        let sound =
            |(parameter, value): (&Parameter, u64)| parameter.effective(Some(value)) == value;
        if quotas.values().into_iter().all(sound) {
            Ok(quotas)
        } else {
            Err(Error::QuotaRange)
        }
    }
}
