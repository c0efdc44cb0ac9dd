//! The status page: counters of the device that can be read without asking the driver.

use std::sync::Arc;

use sanproxy_abi::wire::{Header, MapStatusPageOutput, Message, StatusPage as Wire};
use sanproxy_abi::{ControlCode, DeviceState, EVENT_KINDS, EventKind, PAGE_SIZE};
use zerocopy::{FromBytes, IntoBytes};

use crate::reply::{Check, ask};
use crate::{Channel, Error};

/// How often a page that is being changed is looked at again.
const TRIES: u32 = 1 << 16;
/// Where the sequence number lies in the page.
const SEQUENCE: u64 = 8;

/// The status page of a device, mapped into this process until the file is closed or the device goes.
///
/// It is read-only, and looking at it costs no system call.
pub struct StatusPage<C: Channel> {
    channel: Arc<C>,
    address: u64,
    device_address: u64,
}

/// What a status page says: all at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Counts up by two with each change of the page.
    pub sequence: u64,
    /// Where the device is in its life.
    pub state: DeviceState,
    /// How often the device has been started.
    pub generation: u64,
    /// Registrations of the device now.
    pub live_registrations: u64,
    /// Bytes registered of the device now.
    pub live_bytes: u64,
    /// The most bytes there ever were at once.
    pub peak_bytes: u64,
    /// Registrations made so far.
    pub made: u64,
    /// Registrations released so far.
    pub released: u64,
    /// Requests that failed so far, whatever the cause.
    pub failures: u64,
    events: [u64; EVENT_KINDS],
}

impl DeviceStatus {
    /// How many events of a kind the files of the device were told of so far: one for each file that
    /// was told. While it stays the same there is no new one for [`crate::Provider::wait_event`].
    #[must_use]
    pub fn events(&self, kind: EventKind) -> u64 {
        let place = usize::try_from(kind.index()).ok();
        let count = place.and_then(|place| self.events.get(place));
        count.copied().unwrap_or(0)
    }
}

impl<C: Channel> StatusPage<C> {
    pub(crate) fn map(channel: Arc<C>) -> Result<Self, Error> {
        let check = Check(ControlCode::MapStatusPage);
        let header = Header::of::<Header>();
        let reply: MapStatusPageOutput = ask(&channel, check.0, &header)?;
        let address = reply.user_address.0;
        let sound = address != 0 && address.is_multiple_of(PAGE_SIZE);
        check.that(sound, "user_address", address)?;
        check.that(reply.length.0 == PAGE_SIZE, "length", reply.length.0)?;
        Ok(Self {
            channel,
            address,
            device_address: reply.device_address.0,
        })
    }

    /// Where this process finds the page.
    #[must_use]
    pub const fn user_address(&self) -> u64 {
        self.address
    }

    /// Where the device finds the page, if it does.
    #[must_use]
    pub fn device_address(&self) -> Option<u64> {
        (self.device_address != 0).then_some(self.device_address)
    }

    /// Reads the page: again if it changed meanwhile, so that all numbers are of one moment.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the page is gone with its device; [`Error::ReplyContent`] if it never
    /// stands still, or is not what the contract says.
    pub fn read(&self) -> Result<DeviceStatus, Error> {
        let check = Check(ControlCode::MapStatusPage);
        let mut sequence = 0;
        for _ in 0..TRIES {
            sequence = self.sequence()?;
            if sequence.is_multiple_of(2) {
                let mut bytes = [0; size_of::<Wire>()];
                self.channel.read_memory(self.address, &mut bytes)?;
                std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
                if self.sequence()? == sequence {
                    return parse(check, &bytes, sequence);
                }
            }
            std::hint::spin_loop();
        }
        check
            .that(false, "sequence", sequence)
            .and_then(|()| parse(check, &[], sequence))
    }

    fn sequence(&self) -> Result<u64, Error> {
        let mut sequence = 0_u64;
        let place = self.address.saturating_add(SEQUENCE);
        self.channel.read_memory(place, sequence.as_mut_bytes())?;
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        Ok(sequence)
    }
}

fn parse(check: Check, bytes: &[u8], sequence: u64) -> Result<DeviceStatus, Error> {
    let page = Wire::read_from_bytes(bytes).ok();
    let page = check.some(page, "status page", sequence)?;
    let sound = page.header() == Header::of::<Wire>() && page.reserved_is_zero();
    check.that(sound, "header or a reserved field", sequence)?;
    let state = DeviceState::from_value(page.state.0);
    Ok(DeviceStatus {
        sequence: page.sequence.0,
        state: check.some(state, "state", page.state.0)?,
        generation: page.generation.0,
        live_registrations: page.live_registrations.0,
        live_bytes: page.live_bytes.0,
        peak_bytes: page.peak_bytes.0,
        made: page.made.0,
        released: page.released.0,
        failures: page.failures.0,
        events: page.events.map(|count| count.0),
    })
}
