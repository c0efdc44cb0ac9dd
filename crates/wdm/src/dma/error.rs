//! Why a member of the adapter's table was not called, or what it answered.

use crate::status::{NoMemory, Status};

/// What a wrapper of a member fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The adapter's table ends before the member, or its slot is null. Nothing was called.
    NotOffered,
    /// The member is not for this kind of adapter: for a bus master, or for a system adapter, alone.
    WrongAdapter,
    /// No such part of the memory, or an amount that cannot be. Nothing was called.
    BadRange,
    /// The system has not enough memory.
    NoMemory,
    /// More map registers than one transfer may have, or than this adapter's outstanding requests
    /// leave. Nothing was called: the system would wait for registers that only the caller can give back.
    NoRegisters,
    /// Another request for the device waits for its registers, and there can be only one.
    Busy,
    /// What the member answered.
    Refused(Status),
}

impl Error {
    /// `Ok` if a member answered with a success.
    pub(super) fn check(status: i32) -> Result<(), Self> {
        Status(status).ok().map_err(Self::Refused)
    }
}

impl From<NoMemory> for Error {
    fn from(NoMemory: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl From<Error> for NoMemory {
    /// For callers to whom memory is all that matters: whatever the cause, the device gets none.
    fn from(_: Error) -> Self {
        Self
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::NotOffered | Error::WrongAdapter => Self::NOT_SUPPORTED,
            Error::BadRange => Self::INVALID_PARAMETER,
            Error::NoMemory | Error::NoRegisters => Self::INSUFFICIENT_RESOURCES,
            Error::Busy => Self::DEVICE_BUSY,
            Error::Refused(status) => status,
        }
    }
}
