//! What the driver keeps account with: pure data structures that know nothing of Windows.
//!
//! * [`HandleTable`]: names for registrations that mean nothing to any other open file
//! * [`Quota`] and [`Charge`]: limits on bytes and registrations
//! * [`PageAllocator`]: hands out the pages of the driver's reserve
//! * [`IntervalMap`]: which registration holds a device address
//! * [`Statistics`]: what the device has done so far
//! * [`RangeCache`]: which ranges of its memory a program has registered already
//!
//! None of them locks. Those that grow do it in two steps, so that memory is asked for with no
//! lock held: [`Growth`] says what is missing, [`Chunk::allocate`] asks for it, and adding the
//! chunk under the lock cannot fail for want of memory. After that an insertion cannot either.
//! Nothing here panics.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

mod cipher;
mod forest;
mod handle;
mod interval;
mod page;
mod quota;
mod range_cache;
mod slab;
mod statistics;

pub use forest::{Span, SpanNode};
pub use handle::{HandleSlot, HandleTable, Reservation};
pub use interval::{InsertError, IntervalMap, Link};
pub use page::{Block, PageAllocator};
pub use quota::{Charge, Exceeded, Limits, Quota, Surcharge, Usage};
pub use range_cache::{CacheChunk, CacheKey, CacheLimits, CacheSlot, Idle, Overlap, RangeCache};
pub use slab::{Chunk, Growth};
pub use statistics::Statistics;

/// There is no memory for a data structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl From<NoMemory> for sanproxy_abi::Error {
    fn from(NoMemory: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// A vector of `count` values, or none at all.
fn filled<T>(count: usize, value: impl Fn() -> T) -> Result<Vec<T>, NoMemory> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| NoMemory)?;
    // One by one and below the capacity: so the optimiser sees that no push can grow the vector,
    // and leaves out the path to the panic handler.
    while values.len() < count && values.len() < values.capacity() {
        values.push(value());
    }
    if values.len() == count {
        Ok(values)
    } else {
        Err(NoMemory)
    }
}
