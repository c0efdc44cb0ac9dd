//! The driver's events over its life, as somebody who traces it sees them.

use std::{fmt, sync::Arc};

use anyhow::Result;
use nt_host::{Host, TraceEvent};
use sanproxy_tests::trace::PROVIDER;
use serde::Serialize;

/// An event, and when it was written.
#[derive(Debug, Serialize)]
pub(crate) struct Moment {
    /// Since the first event.
    milliseconds: f64,
    /// What it says.
    event: TraceEvent,
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:10.3} ms  {}", self.milliseconds, self.event)
    }
}

/// Listens to the driver from its first event on.
pub(crate) fn listen(host: &Arc<Host>) -> Result<()> {
    Ok(host.enable_provider(PROVIDER, 0, u64::MAX)?)
}

/// What has been heard.
pub(crate) fn of(host: &Host) -> Result<Vec<Moment>> {
    let events = host.etw_events();
    let first = events.first().map(|event| event.time);
    events
        .iter()
        .map(|event| {
            let since = first.map(|first| event.time.duration_since(first));
            Ok(Moment {
                milliseconds: since.unwrap_or_default().as_secs_f64() * 1000.0,
                event: event.decode()?,
            })
        })
        .collect()
}
