//! Status values of the kernel: 32 bits, the sign bit says "error or warning".

use core::fmt;

/// An NTSTATUS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct NtStatus(pub u32);

macro_rules! statuses {
    ($($(#[$meta:meta])* $name:ident = $value:literal;)*) => {
        impl NtStatus {
            $($(#[$meta])* #[doc = concat!("`STATUS_", stringify!($name), "`.")]
            pub const $name: Self = Self($value);)*

            const NAMES: &'static [(u32, &'static str)] =
                &[$(($value, concat!("STATUS_", stringify!($name)))),*];
        }
    };
}

statuses! {
    SUCCESS = 0;
    ALERTED = 0x101;
    TIMEOUT = 0x102;
    PENDING = 0x103;
    OBJECT_NAME_EXISTS = 0x4000_0000;
    BUFFER_OVERFLOW = 0x8000_0005;
    BREAKPOINT = 0x8000_0003;
    UNSUCCESSFUL = 0xC000_0001;
    NOT_IMPLEMENTED = 0xC000_0002;
    INVALID_INFO_CLASS = 0xC000_0003;
    INFO_LENGTH_MISMATCH = 0xC000_0004;
    ACCESS_VIOLATION = 0xC000_0005;
    INVALID_HANDLE = 0xC000_0008;
    INVALID_PARAMETER = 0xC000_000D;
    NO_SUCH_DEVICE = 0xC000_000E;
    NO_SUCH_FILE = 0xC000_000F;
    INVALID_DEVICE_REQUEST = 0xC000_0010;
    ACCESS_DENIED = 0xC000_0022;
    BUFFER_TOO_SMALL = 0xC000_0023;
    OBJECT_TYPE_MISMATCH = 0xC000_0024;
    OBJECT_NAME_INVALID = 0xC000_0033;
    OBJECT_NAME_NOT_FOUND = 0xC000_0034;
    OBJECT_NAME_COLLISION = 0xC000_0035;
    OBJECT_PATH_NOT_FOUND = 0xC000_003A;
    QUOTA_EXCEEDED = 0xC000_0044;
    INVALID_PAGE_PROTECTION = 0xC000_0045;
    DELETE_PENDING = 0xC000_0056;
    PRIVILEGED_INSTRUCTION = 0xC000_0096;
    INSUFFICIENT_RESOURCES = 0xC000_009A;
    DEVICE_NOT_READY = 0xC000_00A3;
    NOT_SUPPORTED = 0xC000_00BB;
    INVALID_USER_BUFFER = 0xC000_00E8;
    WORKING_SET_QUOTA = 0xC000_00A1;
    PROCESS_IS_TERMINATING = 0xC000_010A;
    CANCELLED = 0xC000_0120;
    INVALID_DEVICE_STATE = 0xC000_0184;
    DEVICE_REMOVED = 0xC000_02B6;
    DEVICE_BUSY = 0x8000_0011;
    NONE_MAPPED = 0xC000_0073;
    NOT_FOUND = 0xC000_0225;
    NO_MEMORY = 0xC000_0017;
    CONFLICTING_ADDRESSES = 0xC000_0018;
}

impl NtStatus {
    /// `NT_SUCCESS`: success and informational values, not warnings.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 < 0x8000_0000
    }

    /// Severity "error": nothing is copied back to the caller.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >= 0xC000_0000
    }

    /// The value as a routine returns it in `rax`.
    #[must_use]
    pub const fn to_register(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(value, _)| *value == self.0) {
            Some((_, name)) => write!(f, "{name}"),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
