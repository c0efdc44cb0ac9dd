//! A simulated machine: sparse physical memory, address spaces, an IOMMU and a bus master.
//!
//! All memory of the machine lies in one sparse memory file: frame `n` is the file's page `n`. Kernel
//! addresses, user addresses and device accesses of the same frame therefore really share bytes, and a
//! machine of 64 GiB costs only the frames that are in use. This crate knows nothing of any operating
//! system; it offers mechanisms and reports what went wrong as data.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::single_range_in_vec_init,
    reason = "these lints guard code linked into a kernel; this crate runs in a 64-bit test process, and a node may have one range of memory"
)]

mod address_space;
mod arena;
mod bus_master;
mod frames;
mod iommu;
mod machine;
mod random;
mod run_map;
mod runs;

pub use address_space::USER_LIMIT;
pub use arena::{Arena, BadAddress, MapOptions, Mapping, Protection};
pub use bus_master::BusMaster;
pub use frames::{FrameList, FrameRange, FrameRequest, NotAllocated};
pub use iommu::{FaultKind, IoDomain, IoRange, IommuFault, MapError, NotMapped, Permissions};
pub use machine::{CacheClash, CacheType, Hole, Machine, MachineConfig, NodeConfig};
pub use random::Random;

/// Bytes in a page, in a frame and in an IOMMU granule.
pub const PAGE_SIZE: u64 = 4096;

/// Pages that hold `bytes` bytes, counted from a page's start.
#[must_use]
pub const fn pages_for(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}
