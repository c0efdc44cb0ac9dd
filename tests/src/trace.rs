//! Listening to the driver's events.

use std::sync::Arc;

use nt_host::{Guid, Host, TraceEvent};

/// The driver's provider of events.
pub const PROVIDER: Guid = Guid::from_u128(0x4b09_43a8_b618_5b3c_946c_d0ac_136d_85fb);

/// Its name.
pub const NAME: &str = "SanProxy";

/// The events of the driver so far, decoded.
///
/// # Panics
///
/// If one cannot be decoded, or is another provider's.
#[must_use]
pub fn events(host: &Arc<Host>) -> Vec<TraceEvent> {
    let decode = |event: &nt_host::EtwEvent| {
        assert_eq!(event.provider, PROVIDER);
        event
            .decode()
            .unwrap_or_else(|error| panic!("{error}: {event:?}"))
    };
    host.etw_events().iter().map(decode).collect()
}
