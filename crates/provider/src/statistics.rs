//! Counters of the device and of this file.

use sanproxy_abi::wire::{Count, StatisticsOutput};
use sanproxy_abi::{ControlCode, FAILURE_COUNTERS, LATENCY_BUCKETS};

use crate::Error;
use crate::reply::Check;

/// What the device has done and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Registrations of the device now.
    pub live_registrations: u64,
    /// Bytes registered of the device now.
    pub live_bytes: u64,
    /// The most registrations there ever were at once.
    pub peak_registrations: u64,
    /// The most bytes there ever were at once.
    pub peak_bytes: u64,
    /// Registrations made so far.
    pub made: u64,
    /// Registrations released so far.
    pub released: u64,
    /// Registrations of this file now.
    pub file_registrations: u64,
    /// Bytes registered of this file now.
    pub file_bytes: u64,
    failures: [Count; FAILURE_COUNTERS],
    latencies: [Count; LATENCY_BUCKETS],
}

impl Statistics {
    /// How many requests failed for this cause.
    #[must_use]
    pub fn failures_of(&self, cause: sanproxy_abi::Error) -> u64 {
        self.failures.get(cause.index()).map_or(0, |count| count.0)
    }

    /// Registrations made, by how long it took: below so many units of 100 ns (the last bucket also
    /// holds all that took longer), and how many. Empty buckets are left out.
    pub fn latencies(&self) -> impl Iterator<Item = (u64, u64)> {
        self.latencies
            .iter()
            .zip(0_u32..)
            .filter(|(count, _)| count.0 > 0)
            .map(|(count, bucket)| (1_u64.checked_shl(bucket).unwrap_or(u64::MAX), count.0))
    }

    /// All causes that occurred, with how often they did.
    pub fn failures(&self) -> impl Iterator<Item = (sanproxy_abi::Error, u64)> {
        sanproxy_abi::Error::ALL
            .iter()
            .map(|cause| (*cause, self.failures_of(*cause)))
            .filter(|(_, count)| *count > 0)
    }
}

impl TryFrom<StatisticsOutput> for Statistics {
    type Error = Error;

    fn try_from(reply: StatisticsOutput) -> Result<Self, Error> {
        let check = Check(ControlCode::Statistics);
        for count in reply.failures.iter().skip(sanproxy_abi::Error::ALL.len()) {
            check.that(count.0 == 0, "failures without a cause", count.0)?;
        }
        Ok(Self {
            live_registrations: reply.live_registrations.0,
            live_bytes: reply.live_bytes.0,
            peak_registrations: reply.peak_registrations.0,
            peak_bytes: reply.peak_bytes.0,
            made: reply.made.0,
            released: reply.released.0,
            file_registrations: reply.file_registrations.0,
            file_bytes: reply.file_bytes.0,
            failures: reply.failures,
            latencies: reply.latencies,
        })
    }
}
