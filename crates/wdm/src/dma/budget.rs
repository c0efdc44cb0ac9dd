//! How many map registers this adapter's outstanding requests hold, where the system would wait for more.
//!
//! `AllocateAdapterChannel`, `GetScatterGatherList` and `BuildScatterGatherList` queue a request
//! for which registers are short, until some are given back. Lists are held for as long as memory is
//! registered. So requests of one adapter alone could use all registers up, and the next would wait
//! for what nobody is about to give. What would exceed `NumberOfMapRegisters` in all is refused
//! instead. Whether a system really spends registers on memory that the device reaches is not
//! documented, so all of them are counted.
//!
//! What remains: registers that other devices hold. A request that waits for those ends when they
//! give them back. Lists of version 3 are asked for without waiting, and fail; they are not counted.
//! Registers of `AllocateAdapterChannelEx` are: to ask for more than there are is a mistake of the driver's.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{Adapter, Error};
use crate::pool::Shared;

/// The registers that are held, of a number that there is.
pub(super) struct Budget {
    held: AtomicU32,
    limit: u32,
}

impl Budget {
    pub(super) const fn new(limit: u32) -> Self {
        Self {
            held: AtomicU32::new(0),
            limit,
        }
    }

    fn take(&self, count: u32) -> Result<(), Error> {
        let more = |held: u32| held.checked_add(count).filter(|sum| *sum <= self.limit);
        self.held
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, more)
            .map_or(Err(Error::NoRegisters), |_| Ok(()))
    }

    fn give_back(&self, count: u32) {
        self.held.fetch_sub(count, Ordering::AcqRel);
    }
}

/// Registers that a request holds, counted until dropped.
pub(super) struct Charge {
    count: u32,
    adapter: Shared<Adapter>,
}

impl Charge {
    /// # Errors
    ///
    /// [`Error::NoRegisters`] if the adapter's requests hold too many already.
    pub(super) fn new(adapter: &Shared<Adapter>, count: u32) -> Result<Self, Error> {
        adapter.budget.take(count)?;
        Ok(Self {
            count,
            adapter: adapter.clone(),
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.adapter.budget.give_back(self.count);
    }
}
