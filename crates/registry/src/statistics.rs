//! What the device has done so far: counters that only grow. Plain atomics, no lock.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sanproxy_abi::{EVENT_KINDS, Error, EventKind, FAILURE_COUNTERS, LATENCY_BUCKETS};

/// Counters of the device.
#[derive(Debug)]
pub struct Statistics {
    made: AtomicU64,
    released: AtomicU64,
    failures: [AtomicU64; FAILURE_COUNTERS],
    failed: AtomicU64,
    latencies: [AtomicU64; LATENCY_BUCKETS],
    events: [AtomicU64; EVENT_KINDS],
}

impl Statistics {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            made: AtomicU64::new(0),
            released: AtomicU64::new(0),
            failures: [const { AtomicU64::new(0) }; FAILURE_COUNTERS],
            failed: AtomicU64::new(0),
            latencies: [const { AtomicU64::new(0) }; LATENCY_BUCKETS],
            events: [const { AtomicU64::new(0) }; EVENT_KINDS],
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
            self.failed.fetch_add(1, Relaxed);
        }
    }

    /// Counts how long it took to make a registration, in units of 100 ns.
    pub fn count_latency(&self, units: u64) {
        let bits = u64::BITS.saturating_sub(units.leading_zeros());
        let bucket = usize::try_from(bits).unwrap_or(usize::MAX);
        let last = LATENCY_BUCKETS.saturating_sub(1);
        if let Some(counter) = self.latencies.get(bucket.min(last)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Counts events that a file is told of.
    pub fn count_events(&self, kind: EventKind, number: u64) {
        let place = usize::try_from(kind.index()).unwrap_or(EVENT_KINDS);
        if let Some(counter) = self.events.get(place) {
            counter.fetch_add(number, Relaxed);
        }
    }

    /// Events that files were told of, by [`EventKind::index`]: one for each file that was told.
    #[must_use]
    pub fn events(&self) -> [u64; EVENT_KINDS] {
        let mut counts = [0; EVENT_KINDS];
        for (count, counter) in counts.iter_mut().zip(&self.events) {
            *count = counter.load(Relaxed);
        }
        counts
    }

    /// How many requests failed, whatever the cause.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Registrations by how long they took to make: bucket `n` counts those of at least `2^(n-1)`
    /// and less than `2^n` units of 100 ns, the last also all that took longer.
    #[must_use]
    pub fn latencies(&self) -> [u64; LATENCY_BUCKETS] {
        let mut counts = [0; LATENCY_BUCKETS];
        for (count, counter) in counts.iter_mut().zip(&self.latencies) {
            *count = counter.load(Relaxed);
        }
        counts
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
