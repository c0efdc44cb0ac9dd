//! What the device has done so far: counters that only grow. Plain atomics, no lock.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sanproxy_abi::{Error, FAILURE_COUNTERS};

/// Counters of the device.
#[derive(Debug)]
pub struct Statistics {
    made: AtomicU64,
    released: AtomicU64,
    failures: [AtomicU64; FAILURE_COUNTERS],
}

impl Statistics {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            made: AtomicU64::new(0),
            released: AtomicU64::new(0),
            failures: [const { AtomicU64::new(0) }; FAILURE_COUNTERS],
        }
    }

    /// Counts a registration that was made.
    pub fn count_made(&self) {
        self.made.fetch_add(1, Relaxed);
    }

    /// Counts a registration that was released.
    pub fn count_released(&self) {
        self.released.fetch_add(1, Relaxed);
    }

    /// Counts a request that failed.
    pub fn count_failure(&self, error: Error) {
        if let Some(counter) = self.failures.get(error.index()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Registrations made.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// Registrations released.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.released.load(Relaxed)
    }

    /// Requests that failed, by [`Error::index`].
    #[must_use]
    pub fn failures(&self) -> [u64; FAILURE_COUNTERS] {
        let mut counts = [0; FAILURE_COUNTERS];
        for (count, counter) in counts.iter_mut().zip(&self.failures) {
            *count = counter.load(Relaxed);
        }
        counts
    }
}

impl Default for Statistics {
    fn default() -> Self {
        Self::new()
    }
}
