//! What a registration is, and where its memory comes from.
//!
//! * [`Registration`]: what a handle stands for: pieces of memory, each contiguous for the device
//! * [`ladder`]: which blocks are tried, in which order, until there is enough memory
//! * [`host_memory`]: as much as can be had of a total, in few ranges
//! * [`source`]: one block: common buffer, reserve, or contiguous
//! * [`placement`]: which part of a block lies as asked
//! * [`UserBuffer`]: memory that is the caller's own
//! * [`copied`]: a copy of such memory, where the device does not reach it
//! * [`Reserve`]: common buffers taken when the device was started

mod copied;
mod host_memory;
mod ladder;
mod placement;
mod registration;
mod reserve;
mod source;
mod user_buffer;

use sanproxy_abi::{CacheType, Error};

pub(crate) use self::{
    host_memory::allocate_host_memory,
    ladder::{Outcome, allocate},
    registration::{Piece, Registration},
    reserve::{Reserve, ReservedPages},
    source::method,
    user_buffer::UserBuffer,
};

/// Puts a value into a vector that has room for it. Growing it here could not fail cleanly.
pub(crate) fn push_within<T>(vector: &mut alloc::vec::Vec<T>, value: T) -> Result<(), Error> {
    if vector.len() < vector.capacity() {
        vector.push(value);
        Ok(())
    } else {
        Err(Error::NoMemory)
    }
}

/// The contract's name for a cache type, in the words of the kernel.
pub(crate) const fn kernel_cache(cache: CacheType) -> wdm::memory::CacheType {
    match cache {
        CacheType::NonCached => wdm::memory::CacheType::NonCached,
        CacheType::Cached => wdm::memory::CacheType::Cached,
        CacheType::WriteCombined => wdm::memory::CacheType::WriteCombined,
    }
}

/// The kernel's name for a cache type, in the words of the contract.
pub(crate) const fn contract_cache(cache: wdm::memory::CacheType) -> CacheType {
    match cache {
        wdm::memory::CacheType::NonCached => CacheType::NonCached,
        wdm::memory::CacheType::Cached => CacheType::Cached,
        wdm::memory::CacheType::WriteCombined => CacheType::WriteCombined,
    }
}
