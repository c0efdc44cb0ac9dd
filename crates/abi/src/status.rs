//! The NTSTATUS values of the contract, with their names and meanings.

use core::fmt;

/// An NTSTATUS.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

macro_rules! statuses {
    ($($(#[doc = $doc:literal])* $name:ident = $value:literal;)*) => {
        impl Status {
            $($(#[doc = $doc])* pub const $name: Self = Self($value);)*

            /// The statuses of the contract: value, name, and meaning line by line.
            pub const ALL: &'static [(Self, &'static str, &'static [&'static str])] =
                &[$((Self::$name, concat!("STATUS_", stringify!($name)), &[$($doc),*])),*];
        }
    };
}

statuses! {
    /// The request was carried out.
    SUCCESS = 0x0000_0000;
    /// A queue is full, or a request of that sort is waiting already.
    DEVICE_BUSY = 0x8000_0011;
    /// The length of the input or output buffer is not the size of the struct.
    INFO_LENGTH_MISMATCH = 0xC000_0004;
    /// The range is not memory of the calling process that may be used so.
    ACCESS_VIOLATION = 0xC000_0005;
    /// No live registration of this file has that handle.
    INVALID_HANDLE = 0xC000_0008;
    /// A value in the request is out of its range.
    INVALID_PARAMETER = 0xC000_000D;
    /// The driver does not know the control code.
    INVALID_DEVICE_REQUEST = 0xC000_0010;
    /// The device does not reach the pages as asked.
    CONFLICTING_ADDRESSES = 0xC000_0018;
    /// The caller may not ask this: it is another process, or no administrator.
    ACCESS_DENIED = 0xC000_0022;
    /// The message does not fit in the output buffer.
    BUFFER_TOO_SMALL = 0xC000_0023;
    /// A limit on bytes or registrations is reached.
    QUOTA_EXCEEDED = 0xC000_0044;
    /// The device is being removed.
    DELETE_PENDING = 0xC000_0056;
    /// The driver speaks another version of the wire structs.
    REVISION_MISMATCH = 0xC000_0059;
    /// The system has no such memory left.
    INSUFFICIENT_RESOURCES = 0xC000_009A;
    /// The device is not started.
    DEVICE_NOT_READY = 0xC000_00A3;
    /// The device does not offer this kind of memory.
    NOT_SUPPORTED = 0xC000_00BB;
    /// The request was cancelled: by the program, by the end of its thread, or by the last close.
    CANCELLED = 0xC000_0120;
    /// The file is closed.
    FILE_CLOSED = 0xC000_0128;
    /// The registry could not be written.
    REGISTRY_IO_FAILED = 0xC000_014D;
    /// The connection with the other file has ended.
    CONNECTION_DISCONNECTED = 0xC000_020C;
    /// No registration of this file holds the address, or no file has the endpoint.
    NOT_FOUND = 0xC000_0225;
    /// There is no connection with another file.
    CONNECTION_INVALID = 0xC000_023A;
    /// There is a connection with another file already.
    CONNECTION_ACTIVE = 0xC000_023B;
}

impl Status {
    /// Whether it stands for success (or, as NTSTATUS has it, for information).
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 < 0x8000_0000
    }

    /// Its name, if it is one of the contract.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::ALL
            .iter()
            .find(|(status, _, _)| *status == self)
            .map(|(_, name, _)| *name)
    }

    /// What it means in words, if it is one of the contract.
    #[must_use]
    pub fn meaning(self) -> Option<&'static str> {
        let (_, _, lines) = Self::ALL.iter().find(|(status, _, _)| *status == self)?;
        lines.first().map(|line| line.trim_start())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(formatter, "{name} ({:#010X})", self.0),
            None => write!(formatter, "NTSTATUS {:#010X}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn status_of_the_contract_shows_its_name_and_number() {
        assert_eq!(
            format!("{}", Status::NOT_FOUND),
            "STATUS_NOT_FOUND (0xC0000225)"
        );
        assert_eq!(format!("{}", Status(0xC000_0006)), "NTSTATUS 0xC0000006");
    }

    #[test]
    fn statuses_are_sorted_so_that_none_is_listed_twice() {
        assert!(Status::ALL.is_sorted_by(|(a, _, _), (b, _, _)| a.0 < b.0));
        assert!(Status::ALL.iter().all(|(_, _, lines)| lines.len() == 1));
    }
}
