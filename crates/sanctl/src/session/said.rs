//! What the commands of a session show.

use std::collections::BTreeMap;

use sanproxy_provider::{Connection, ConnectionState, DeviceState, DeviceStatus, Events};
use serde::Serialize;

use crate::amount;
use crate::memory::Shown;
use crate::screen::{Align, Report, pairs, table};
use crate::stats::event_name;

/// The result of a command that has little to say.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Said {
    Released {
        released: u64,
    },
    Found {
        registration: Option<u64>,
        offset: Option<u64>,
    },
    Written {
        written: usize,
    },
    Read {
        text: String,
        hex: String,
    },
    Copied {
        copied: u64,
    },
    Allocated {
        memory: u64,
        address: String,
        length: u64,
    },
    Freed {
        freed: u64,
    },
    Secured {
        range: u64,
        handle: String,
        address: String,
        length: u64,
    },
    Unsecured {
        unsecured: u64,
    },
    Synchronized {
        synchronized: u64,
    },
    Sent {
        sent: usize,
    },
    File {
        file: u8,
    },
    Disconnected {
        disconnected: bool,
    },
}

impl Report for Said {
    fn text(&self) -> String {
        match self {
            Self::Released { released } => format!("Released #{released}.\n"),
            Self::Found {
                registration: Some(number),
                offset,
            } => {
                let offset = amount::address(offset.unwrap_or(0));
                format!("#{number}, offset {offset}\n")
            }
            Self::Found {
                registration: None, ..
            } => "Nothing of this session.\n".to_owned(),
            Self::Written { written } => format!("Wrote {written} bytes.\n"),
            Self::Read { text, hex } => format!("{hex}\n{text}\n"),
            Self::Copied { copied } => format!("Copied {}.\n", amount::bytes(*copied)),
            Self::Allocated {
                memory,
                address,
                length,
            } => format!("Memory {memory}: {} at {address}\n", amount::bytes(*length)),
            Self::Freed { freed } => format!("Freed memory {freed}.\n"),
            Self::Secured {
                range,
                handle,
                address,
                length,
            } => format!(
                "Range {range} (handle {handle}): {length} bytes at {address} are secured\n"
            ),
            Self::Unsecured { unsecured } => format!("Range {unsecured} is no longer secured.\n"),
            Self::Synchronized { synchronized } => {
                format!("Synchronized {synchronized} bytes.\n")
            }
            Self::Sent { sent } => format!("Sent {sent} bytes.\n"),
            Self::File { file } => format!("File {file}.\n"),
            Self::Disconnected { .. } => "Disconnected.\n".to_owned(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Listing {
    pub(super) registrations: Vec<Shown>,
}

impl Report for Listing {
    fn text(&self) -> String {
        if self.registrations.is_empty() {
            return "Nothing is registered.\n".to_owned();
        }
        let heading = [
            ("#", Align::Right),
            ("Length", Align::Right),
            ("Kind", Align::Left),
            ("Device address", Align::Right),
            ("Mapped at", Align::Right),
            ("Pieces", Align::Right),
            ("From", Align::Left),
        ];
        let rows: Vec<_> = self.registrations.iter().map(Shown::row).collect();
        table(&heading, &rows)
    }
}

/// What has happened, in the words of the contract.
#[derive(Serialize)]
pub(super) struct Happened {
    events: BTreeMap<&'static str, u64>,
    coalesced: u64,
}

impl Happened {
    /// Nothing, if nothing has.
    pub(super) fn new(events: Option<&Events>) -> Self {
        let each = events.iter().flat_map(|events| events.iter());
        Self {
            events: each
                .map(|(kind, count)| (event_name(kind), count))
                .collect(),
            coalesced: events.map_or(0, |events| events.coalesced),
        }
    }
}

impl Report for Happened {
    fn text(&self) -> String {
        if self.events.is_empty() {
            return "Nothing has happened.\n".to_owned();
        }
        let rows = self
            .events
            .iter()
            .map(|(name, count)| (*name, count.to_string()));
        pairs(&rows.collect::<Vec<_>>())
    }
}

/// This file among others.
#[derive(Serialize)]
pub(super) struct Endpoint {
    endpoint: u64,
    state: &'static str,
}

impl From<Connection> for Endpoint {
    fn from(connection: Connection) -> Self {
        Self {
            endpoint: connection.own.0,
            state: match connection.state {
                ConnectionState::Idle => "idle",
                ConnectionState::Waiting => "waiting for the other side",
                ConnectionState::Connected => "connected",
            },
        }
    }
}

impl Report for Endpoint {
    fn text(&self) -> String {
        format!("Endpoint {}: {}\n", self.endpoint, self.state)
    }
}

/// A message, or none.
#[derive(Serialize)]
pub(super) struct Received {
    length: usize,
    text: String,
    hex: String,
}

impl Received {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len(),
            text: plain(bytes),
            hex: hex(bytes),
        }
    }
}

impl Report for Received {
    fn text(&self) -> String {
        format!("Received {} bytes: {}\n", self.length, self.text)
    }
}

/// What the status page says.
#[derive(Serialize)]
pub(super) struct Status {
    state: &'static str,
    generation: u64,
    live_registrations: u64,
    live_bytes: u64,
    peak_bytes: u64,
    made: u64,
    released: u64,
    failures: u64,
}

impl From<DeviceStatus> for Status {
    fn from(status: DeviceStatus) -> Self {
        Self {
            state: match status.state {
                DeviceState::Unknown => "unknown",
                DeviceState::Started => "started",
                DeviceState::Stopped => "stopped",
                DeviceState::Removed => "removed",
            },
            generation: status.generation,
            live_registrations: status.live_registrations,
            live_bytes: status.live_bytes,
            peak_bytes: status.peak_bytes,
            made: status.made,
            released: status.released,
            failures: status.failures,
        }
    }
}

impl Report for Status {
    fn text(&self) -> String {
        let now = amount::bytes(self.live_bytes);
        pairs(&[
            (
                "device",
                format!("{}, start {}", self.state, self.generation),
            ),
            (
                "registered now",
                format!("{} with {now}", self.live_registrations),
            ),
            ("most bytes so far", amount::bytes(self.peak_bytes)),
            ("made", self.made.to_string()),
            ("released", self.released.to_string()),
            ("failed requests", self.failures.to_string()),
        ])
    }
}

/// Bytes as text, what cannot be shown as dots.
pub(super) fn plain(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        32..127 => char::from(*byte),
        _ => '.',
    };
    bytes.iter().map(shown).collect()
}

/// Bytes as pairs of digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}
