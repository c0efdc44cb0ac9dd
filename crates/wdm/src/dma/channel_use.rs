//! Who has, or waits for, an adapter's channel.
//!
//! "Only one DMA request can be queued for a device object at any one time", says the page of
//! `AllocateAdapterChannel`; those of `AllocateAdapterChannelEx` are told apart by their contexts, so any number of
//! them may wait. So a request of the first kind excludes all others while it waits, or while a channel is
//! held; those of the second kind exclude those of the first.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{Adapter, Error};
use crate::pool::Shared;

/// What the counter holds while a request of the first kind waits.
const ALONE: u32 = u32::MAX;

/// How many requests of the second kind there are, or that there is one of the first.
pub(super) struct Channel(AtomicU32);

impl Channel {
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }
}

/// The use of the channel, or of the place in its queue, until dropped.
pub(super) struct ChannelUse {
    alone: bool,
    adapter: Shared<Adapter>,
}

impl ChannelUse {
    /// For a request of the first kind.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if there is any other.
    pub(super) fn alone(adapter: &Shared<Adapter>) -> Result<Self, Error> {
        let none = |users: u32| (users == 0).then_some(ALONE);
        Self::enter(adapter, true, none)
    }

    /// For a request of the second kind.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if there is one of the first.
    pub(super) fn with_others(adapter: &Shared<Adapter>) -> Result<Self, Error> {
        let one_more = |users: u32| users.checked_add(1).filter(|sum| *sum < ALONE);
        Self::enter(adapter, false, one_more)
    }

    fn enter(
        adapter: &Shared<Adapter>,
        alone: bool,
        step: impl FnMut(u32) -> Option<u32>,
    ) -> Result<Self, Error> {
        let Channel(users) = &adapter.channel;
        users
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, step)
            .map_err(|_| Error::Busy)?;
        Ok(Self {
            alone,
            adapter: adapter.clone(),
        })
    }
}

impl Drop for ChannelUse {
    fn drop(&mut self) {
        let Channel(users) = &self.adapter.channel;
        if self.alone {
            users.store(0, Ordering::Release);
        } else {
            users.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
