//! What a program is told without asking: the kinds of events.

use crate::layout::choice;

choice! {
    /// Kinds of events: bit n of a reply's mask stands for the n-th counter. Several can come at once.
    pub enum EventKind {
        /// Registrations of this file were released because the device was stopped or removed.
        Invalidated = 1 as "SANPROXY_EVENT_INVALIDATED",
        /// The device was stopped, to be started again.
        DeviceStopped = 2 as "SANPROXY_EVENT_DEVICE_STOPPED",
        /// The device was started again.
        DeviceStarted = 4 as "SANPROXY_EVENT_DEVICE_STARTED",
        /// The device was removed.
        DeviceRemoved = 8 as "SANPROXY_EVENT_DEVICE_REMOVED",
        /// The file has come to 90 % of what it may have registered, in bytes or registrations.
        FileQuota = 16 as "SANPROXY_EVENT_FILE_QUOTA",
        /// All files together have come to 90 % of what the device may have.
        DeviceQuota = 32 as "SANPROXY_EVENT_DEVICE_QUOTA",
        /// The endpoint that this file named has named this file: they are connected.
        Connected = 64 as "SANPROXY_EVENT_CONNECTED",
        /// The connection, or the endpoint that this file named, is gone.
        Disconnected = 128 as "SANPROXY_EVENT_DISCONNECTED",
    }
}

/// How many kinds of events there are, and so how many counters a reply has.
pub const EVENT_KINDS: usize = 8;

const _: () = assert!(EVENT_KINDS == EventKind::ALL.len());

impl EventKind {
    /// The place of its counter in a reply: the number of its bit.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.value().trailing_zeros()
    }
}

choice! {
    /// What a file is to another one.
    pub enum ConnectionState {
        /// It has named nobody.
        Idle = 0 as "SANPROXY_CONNECTION_IDLE",
        /// It has named an endpoint that has not named it yet.
        Waiting = 1 as "SANPROXY_CONNECTION_WAITING",
        /// Both have named each other: messages can be sent.
        Connected = 2 as "SANPROXY_CONNECTION_CONNECTED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_kind_has_the_bit_of_its_place() {
        for (place, kind) in (0..).zip(EventKind::ALL) {
            assert_eq!((kind.index(), kind.value()), (place, 1 << place));
        }
    }
}
