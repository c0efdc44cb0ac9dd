//! How many map registers this adapter's outstanding requests hold, so that none waits for its own.
//!
//! `AllocateAdapterChannel`, `GetScatterGatherList` and `BuildScatterGatherList` queue a request
//! for which registers are short, until some are given back. Lists are held for as long as memory is
//! registered. So requests of one adapter alone could use all registers up, and the next would wait
//! for what nobody is about to give. What would exceed `NumberOfMapRegisters` in all is refused
//! instead. Whether a system really spends registers on memory that the device reaches is not
//! documented, so all of them are counted.
//!
//! `GetScatterGatherListEx` and `BuildScatterGatherListEx` are told not to wait, and fail: they are counted,
//! and never refused here. Registers of `AllocateAdapterChannelEx` are refused beyond the number that a driver may
//! have allocated at a time, whatever the lists hold: a request that waits can be cancelled.
//!
//! What remains: registers that other devices hold. A request that waits for those ends when they
//! give them back.

use super::{Adapter, Error};
use crate::{pool::Shared, spin_lock::SpinLock};

/// What registers are held for, and what a request for more has to mind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A list of a routine that waits.
    List,
    /// A list of a routine that fails rather than wait.
    ListAtOnce,
    /// Registers of the driver's own, of the routine that waits.
    Registers,
    /// Registers of the driver's own, of the routine that can be cancelled, or fails.
    RegistersAtOnce,
}

impl Purpose {
    const fn is_list(self) -> bool {
        matches!(self, Self::List | Self::ListAtOnce)
    }
}

/// The registers that are held, by lists and by the driver itself.
#[derive(Clone, Copy)]
struct Held {
    lists: u64,
    registers: u64,
}

/// The registers that are held, of a number that there is.
pub(super) struct Budget {
    held: SpinLock<Held>,
    limit: u64,
}

impl Budget {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            held: SpinLock::new(Held {
                lists: 0,
                registers: 0,
            }),
            limit: u64::from(limit),
        }
    }

    fn take(&self, count: u64, purpose: Purpose) -> Result<(), Error> {
        let mut held = self.held.lock();
        let minded = match purpose {
            Purpose::List | Purpose::Registers => held.lists.saturating_add(held.registers),
            Purpose::RegistersAtOnce => held.registers,
            Purpose::ListAtOnce => 0,
        };
        let refusable = purpose != Purpose::ListAtOnce;
        if refusable && minded.saturating_add(count) > self.limit {
            return Err(Error::NoRegisters);
        }
        if purpose.is_list() {
            held.lists = held.lists.saturating_add(count);
        } else {
            held.registers = held.registers.saturating_add(count);
        }
        Ok(())
    }

    fn give_back(&self, count: u64, purpose: Purpose) {
        let mut held = self.held.lock();
        if purpose.is_list() {
            held.lists = held.lists.saturating_sub(count);
        } else {
            held.registers = held.registers.saturating_sub(count);
        }
    }
}

/// Registers that a request holds, counted until dropped.
pub(super) struct Charge {
    count: u64,
    purpose: Purpose,
    adapter: Shared<Adapter>,
}

impl Charge {
    /// # Errors
    ///
    /// [`Error::NoRegisters`] if the adapter's requests hold too many already.
    pub(super) fn new(
        adapter: &Shared<Adapter>,
        count: u32,
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let count = u64::from(count);
        adapter.budget.take(count, purpose)?;
        Ok(Self {
            count,
            purpose,
            adapter: adapter.clone(),
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.adapter.budget.give_back(self.count, self.purpose);
    }
}
