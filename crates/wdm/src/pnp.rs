//! Plug and Play requests, and the orders in which they must be passed on.

// UNSAFETY: detaches and deletes the device at the end of a removal.
#![expect(unsafe_code, reason = "the end of a removal takes the device apart")]

use crate::{
    device::Attachment,
    irp::{Completed, Irp},
    status::Status,
};

/// What a Plug and Play request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minor {
    /// Start, when the drivers below have started.
    StartDevice,
    /// May the device be removed?
    QueryRemoveDevice,
    /// The device is removed.
    RemoveDevice,
    /// It is not removed after all.
    CancelRemoveDevice,
    /// The device is stopped, to be started again.
    StopDevice,
    /// May the device be stopped?
    QueryStopDevice,
    /// It is not stopped after all.
    CancelStopDevice,
    /// The device has gone.
    SurpriseRemoval,
    /// Something that function drivers pass down.
    Other(u8),
}

impl From<u8> for Minor {
    fn from(minor: u8) -> Self {
        match minor {
            0x00 => Self::StartDevice,
            0x01 => Self::QueryRemoveDevice,
            0x02 => Self::RemoveDevice,
            0x03 => Self::CancelRemoveDevice,
            0x04 => Self::StopDevice,
            0x05 => Self::QueryStopDevice,
            0x06 => Self::CancelStopDevice,
            0x17 => Self::SurpriseRemoval,
            other => Self::Other(other),
        }
    }
}

/// A Plug and Play request that has to be finished.
#[must_use]
pub struct Pnp {
    irp: Irp,
    attachment: Attachment,
}

impl Pnp {
    pub(crate) const fn new(irp: Irp, attachment: Attachment) -> Self {
        Self { irp, attachment }
    }

    /// What is asked.
    #[must_use]
    pub fn minor(&self) -> Minor {
        Minor::from(self.irp.minor())
    }

    /// Passes the request down as it is.
    pub fn pass_down(self) -> Completed {
        // SAFETY: the attachment says what this device is attached to.
        unsafe { self.irp.pass_down(self.attachment.lower()) }
    }

    /// Agrees, and lets the drivers below go on.
    pub fn succeed(mut self) -> Completed {
        self.irp.set_status(Status::SUCCESS);
        self.pass_down()
    }

    /// Fails the request. It is not passed down.
    pub fn fail(self, status: Status) -> Completed {
        self.irp.complete_as_is(status)
    }

    /// Lets the drivers below go first, then does `work`, whose result the request gets. If they
    /// fail, so does the request, and `work` is not done.
    pub fn after_lower(mut self, work: impl FnOnce() -> Result<(), Status>) -> Completed {
        // SAFETY: the attachment says what this device is attached to.
        let lower = unsafe { self.irp.forward_and_wait(self.attachment.lower()) };
        let status = lower
            .ok()
            .and_then(|()| work())
            .map_or_else(|status| status, |()| lower);
        self.irp.complete_as_is(status)
    }

    /// Lets the drivers below go first, then does `work` whatever they say: for requests that must not fail.
    pub fn after_lower_in_any_case(mut self, work: impl FnOnce()) -> Completed {
        // SAFETY: the attachment says what this device is attached to.
        let _ = unsafe { self.irp.forward_and_wait(self.attachment.lower()) };
        work();
        self.irp.complete_as_is(Status::SUCCESS)
    }

    /// The rest of a removal, when the driver has given back everything that it held: lets the
    /// drivers below go, waits for the other requests, detaches and deletes the device.
    pub fn finish_removal(mut self) -> Completed {
        self.irp.set_status(Status::SUCCESS);
        // SAFETY: the attachment says what this device is attached to.
        let completed = unsafe { self.irp.pass_down(self.attachment.lower()) };
        let completed = completed.wait_for_others();
        // SAFETY: all other uses of the device are over, and the lock refuses new ones.
        unsafe { self.attachment.take_apart() };
        completed
    }
}
