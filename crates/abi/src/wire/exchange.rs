//! Events, connections and messages.

use super::{Choice, Count, EndpointId, Flags, Header, Reserved};
use crate::EVENT_KINDS;
use crate::layout::wire;

wire! {
    /// What has happened since the last such reply.
    pub struct EventsOutput as "SANPROXY_EVENTS_OUTPUT", 88 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The kinds of events (`SANPROXY_EVENT_...`).
        8: pub kinds: Flags,
        /// Zero.
        12: pub reserved: Reserved,
        /// How many of each kind, by the number of its bit.
        16: pub counts: [Count; EVENT_KINDS],
        /// How many of these events came while one of their kind was waiting to be told already.
        80: pub coalesced: Count,
    }
}

wire! {
    /// Begins the input of an exchange; the message follows.
    pub struct ExchangeInput as "SANPROXY_EXCHANGE_INPUT", 16 bytes {
        /// Size and version of this struct, without the message.
        0: pub header: Header,
        /// Flags (`SANPROXY_EXCHANGE_...`).
        8: pub flags: Flags,
        /// Zero.
        12: pub reserved: Reserved,
    }
}

wire! {
    /// Names the endpoint that this file is to be connected with. They are connected as soon as
    /// both have named each other, and then no third one can come between.
    pub struct ConnectInput as "SANPROXY_CONNECT_INPUT", 16 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// The other file's endpoint; 0 only asks for this file's own.
        8: pub endpoint: EndpointId,
    }
}

wire! {
    /// This file's own endpoint, for others to name, and what it is to the other one now.
    pub struct ConnectOutput as "SANPROXY_CONNECT_OUTPUT", 24 bytes {
        /// Size and version of this struct.
        0: pub header: Header,
        /// This file's own endpoint.
        8: pub own: EndpointId,
        /// The state of the connection (`SANPROXY_CONNECTION_...`).
        16: pub state: Choice,
        /// Zero.
        20: pub reserved: Reserved,
    }
}
