//! The result codes that routines of the kernel and requests end with.

use core::fmt;

/// An `NTSTATUS`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Status(pub i32);

impl Status {
    /// The operation completed.
    pub const SUCCESS: Self = Self(0);
    /// The request is not finished yet.
    pub const PENDING: Self = Self(0x103);
    /// A completion routine takes the request back.
    pub const MORE_PROCESSING_REQUIRED: Self = Self::error(0xC000_0016);
    /// The operation failed for no more precise reason.
    pub const UNSUCCESSFUL: Self = Self::error(0xC000_0001);
    /// A buffer has not the length that the request needs.
    pub const INFO_LENGTH_MISMATCH: Self = Self::error(0xC000_0004);
    /// The handle is not one of the caller's.
    pub const INVALID_HANDLE: Self = Self::error(0xC000_0008);
    /// A field has a value that is not accepted.
    pub const INVALID_PARAMETER: Self = Self::error(0xC000_000D);
    /// The device does not know the request.
    pub const INVALID_DEVICE_REQUEST: Self = Self::error(0xC000_0010);
    /// The caller may not do this.
    pub const ACCESS_DENIED: Self = Self::error(0xC000_0022);
    /// The name is not one that the device has.
    pub const OBJECT_NAME_INVALID: Self = Self::error(0xC000_0033);
    /// There is nothing of that name.
    pub const OBJECT_NAME_NOT_FOUND: Self = Self::error(0xC000_0034);
    /// The system has no memory left.
    pub const NO_MEMORY: Self = Self::error(0xC000_0017);
    /// The process may not keep more pages resident.
    pub const WORKING_SET_QUOTA: Self = Self::error(0xC000_00A1);
    /// A quota of the caller or the device is used up.
    pub const QUOTA_EXCEEDED: Self = Self::error(0xC000_0044);
    /// The object is about to go.
    pub const DELETE_PENDING: Self = Self::error(0xC000_0056);
    /// The two sides speak different versions.
    pub const REVISION_MISMATCH: Self = Self::error(0xC000_0059);
    /// The system has not enough of something.
    pub const INSUFFICIENT_RESOURCES: Self = Self::error(0xC000_009A);
    /// The device has not been started, or has been stopped.
    pub const DEVICE_NOT_READY: Self = Self::error(0xC000_00A3);
    /// Somebody has cancelled the request.
    pub const CANCELLED: Self = Self::error(0xC000_0120);
    /// The request is known, but not offered here.
    pub const NOT_SUPPORTED: Self = Self::error(0xC000_00BB);
    /// Nothing was found.
    pub const NOT_FOUND: Self = Self::error(0xC000_0225);
    /// The memory that an address names is not there, or not with the access that is needed.
    pub const INVALID_USER_BUFFER: Self = Self::error(0xC000_00E8);
    /// The file has been closed to further work.
    pub const FILE_CLOSED: Self = Self::error(0xC000_0128);
    /// The value is longer than the buffer; what fits is in it.
    pub const BUFFER_OVERFLOW: Self = Self::error(0x8000_0005);
    /// The device is in use.
    pub const DEVICE_BUSY: Self = Self::error(0x8000_0011);

    /// The code written as the documentation writes it.
    pub const fn error(code: u32) -> Self {
        Self(code.cast_signed())
    }

    /// Whether this is what the documentation calls success: anything that is neither a warning
    /// nor an error.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >= 0
    }

    /// `Ok` if this is success.
    ///
    /// # Errors
    ///
    /// The status itself, if it is a warning or an error.
    pub const fn ok(self) -> Result<(), Self> {
        if self.is_success() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#010X}", self.0)
    }
}

/// Nonpaged pool, or whatever else was asked for, is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl From<NoMemory> for Status {
    fn from(NoMemory: NoMemory) -> Self {
        Self::INSUFFICIENT_RESOURCES
    }
}
