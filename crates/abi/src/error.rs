//! What can be wrong with a request: one name per cause, one status per name.

use core::fmt;

use crate::{FAILURE_COUNTERS, Status};

macro_rules! errors {
    ($($(#[doc = $doc:literal])* $name:ident = $index:literal as $c_name:literal;)*) => {
        /// Why a request failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Error { $($(#[doc = $doc])* $name,)* }

        impl Error {
            /// All errors, in the order of their failure counters.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The place of its counter among the failures of a statistics reply.
            #[must_use]
            pub const fn index(self) -> usize {
                match self { $(Self::$name => $index,)* }
            }

            /// The name of its counter in C.
            #[must_use]
            pub const fn c_name(self) -> &'static str {
                match self { $(Self::$name => $c_name,)* }
            }

            /// What was wrong, and what would be accepted, line by line.
            #[must_use]
            pub const fn documentation(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($doc),*],)* }
            }
        }
    };
}

errors! {
    /// The control code is unknown; the known ones are listed in the header.
    UnknownCode = 0 as "SANPROXY_FAILURE_UNKNOWN_CODE";
    /// The input is not exactly as long as the input struct of the control code.
    InputLength = 1 as "SANPROXY_FAILURE_INPUT_LENGTH";
    /// The output buffer is not exactly as long as the output struct of the control code.
    OutputLength = 2 as "SANPROXY_FAILURE_OUTPUT_LENGTH";
    /// The size in the header is not the size of the struct.
    HeaderSize = 3 as "SANPROXY_FAILURE_HEADER_SIZE";
    /// The version in the header is not 1.
    HeaderVersion = 4 as "SANPROXY_FAILURE_HEADER_VERSION";
    /// A reserved field or an undefined flag is not zero.
    ReservedBits = 5 as "SANPROXY_FAILURE_RESERVED_BITS";
    /// The kind of memory is unknown; 1 is a common buffer, 2 is contiguous memory.
    UnknownKind = 6 as "SANPROXY_FAILURE_UNKNOWN_KIND";
    /// The kind of memory is not offered by this device; its capabilities say which are.
    KindNotOffered = 7 as "SANPROXY_FAILURE_KIND_NOT_OFFERED";
    /// The length is zero or more than the longest registration.
    Length = 8 as "SANPROXY_FAILURE_LENGTH";
    /// The boundary is not 0 or a power of two of at least a page and at least the length.
    Boundary = 9 as "SANPROXY_FAILURE_BOUNDARY";
    /// The alignment is not 0 or a power of two up to 1 GiB.
    Alignment = 10 as "SANPROXY_FAILURE_ALIGNMENT";
    /// The bounds leave no room for the length.
    Bounds = 11 as "SANPROXY_FAILURE_BOUNDS";
    /// The cache type is unknown; 0 is not cached, 1 is cached, 2 is write-combined.
    UnknownCacheType = 12 as "SANPROXY_FAILURE_UNKNOWN_CACHE_TYPE";
    /// The machine has no such NUMA node; the capabilities say which is the highest.
    UnknownNode = 13 as "SANPROXY_FAILURE_UNKNOWN_NODE";
    /// The handle names no live registration of this file.
    UnknownHandle = 14 as "SANPROXY_FAILURE_UNKNOWN_HANDLE";
    /// The file would have more bytes or registrations than one file can have.
    FileQuota = 15 as "SANPROXY_FAILURE_FILE_QUOTA";
    /// All files together would have more bytes or registrations than the device can have.
    DeviceQuota = 16 as "SANPROXY_FAILURE_DEVICE_QUOTA";
    /// The system has no memory left that fits the request.
    NoMemory = 17 as "SANPROXY_FAILURE_NO_MEMORY";
    /// The memory could not be mapped into the process.
    MappingFailed = 18 as "SANPROXY_FAILURE_MAPPING_FAILED";
    /// The device is not started yet, or is stopped.
    NotStarted = 19 as "SANPROXY_FAILURE_NOT_STARTED";
    /// The device is removed, or its removal has begun.
    Removed = 20 as "SANPROXY_FAILURE_REMOVED";
    /// Mapping was asked from a process other than the one that opened the file.
    WrongProcess = 21 as "SANPROXY_FAILURE_WRONG_PROCESS";
    /// No registration of this file holds the device address.
    AddressNotFound = 22 as "SANPROXY_FAILURE_ADDRESS_NOT_FOUND";
    /// The offset and length reach beyond the registration, or the first piece is not there.
    OutOfRange = 23 as "SANPROXY_FAILURE_OUT_OF_RANGE";
    /// The last handle of the file is closed already.
    FileClosed = 24 as "SANPROXY_FAILURE_FILE_CLOSED";
    /// The range is empty, wraps, or is not memory that the calling process itself may use so.
    UserRange = 25 as "SANPROXY_FAILURE_USER_RANGE";
    /// The access is not 1 (read), 2 (write) or 3 (both), or is more than the registration grants.
    Access = 26 as "SANPROXY_FAILURE_ACCESS";
    /// The device cannot be given the pages themselves at addresses that lie as asked.
    OutOfReach = 27 as "SANPROXY_FAILURE_OUT_OF_REACH";
    /// Another request waits for events on this file already; there can be one.
    WaitPending = 28 as "SANPROXY_FAILURE_WAIT_PENDING";
    /// The message, or the room for one, is empty or longer than 64 KiB.
    MessageLength = 29 as "SANPROXY_FAILURE_MESSAGE_LENGTH";
    /// The next message is longer than the room for it; it is kept.
    MessageTooLong = 30 as "SANPROXY_FAILURE_MESSAGE_TOO_LONG";
    /// The file is not connected with another one.
    NotConnected = 31 as "SANPROXY_FAILURE_NOT_CONNECTED";
    /// The connected file has ended the connection, or the device was stopped or removed.
    Disconnected = 32 as "SANPROXY_FAILURE_DISCONNECTED";
    /// The file is connected already; it has to disconnect first.
    AlreadyConnected = 33 as "SANPROXY_FAILURE_ALREADY_CONNECTED";
    /// No other open file of this device has that endpoint.
    UnknownEndpoint = 34 as "SANPROXY_FAILURE_UNKNOWN_ENDPOINT";
    /// The queue is full: of messages, if the request does not wait, or of requests that wait.
    QueueFull = 35 as "SANPROXY_FAILURE_QUEUE_FULL";
    /// The request is for administrators: the caller's token is not in their group.
    NotAdministrator = 36 as "SANPROXY_FAILURE_NOT_ADMINISTRATOR";
    /// A quota is beyond what its parameter can be; the parameters are listed in the header.
    QuotaRange = 37 as "SANPROXY_FAILURE_QUOTA_RANGE";
    /// The quotas could not be written to the registry; they are as they were.
    RegistryFailed = 38 as "SANPROXY_FAILURE_REGISTRY_FAILED";
    /// The minimum is more than the preferred total, or the most ranges is not 1 to 4096.
    HostMemoryLimits = 39 as "SANPROXY_FAILURE_HOST_MEMORY_LIMITS";
    /// The side to synchronise for is unknown; 1 is the device, 2 is the process.
    UnknownSide = 40 as "SANPROXY_FAILURE_UNKNOWN_SIDE";
    /// The adapter offers no way to synchronise memory that is not copied.
    NotSynchronizable = 41 as "SANPROXY_FAILURE_NOT_SYNCHRONIZABLE";
    /// No registration has that number any more, or what has it is a secured range.
    UnknownSerial = 42 as "SANPROXY_FAILURE_UNKNOWN_SERIAL";
}

const _: () = {
    let mut rest = Error::ALL;
    let mut index = 0;
    while let [first, others @ ..] = rest {
        assert!(first.index() == index);
        index += 1;
        rest = others;
    }
    assert!(index <= FAILURE_COUNTERS);
};

impl Error {
    /// The NTSTATUS that tells a program of this error.
    #[must_use]
    pub const fn status(self) -> Status {
        // No wildcard arm: a new error does not build until it has a status.
        match self {
            Self::UnknownCode => Status::INVALID_DEVICE_REQUEST,
            Self::InputLength | Self::OutputLength => Status::INFO_LENGTH_MISMATCH,
            Self::HeaderVersion => Status::REVISION_MISMATCH,
            Self::HeaderSize
            | Self::ReservedBits
            | Self::UnknownKind
            | Self::Length
            | Self::Boundary
            | Self::Alignment
            | Self::Bounds
            | Self::UnknownCacheType
            | Self::UnknownNode
            | Self::OutOfRange
            | Self::Access
            | Self::MessageLength
            | Self::QuotaRange
            | Self::UnknownSide
            | Self::HostMemoryLimits => Status::INVALID_PARAMETER,
            Self::KindNotOffered | Self::NotSynchronizable => Status::NOT_SUPPORTED,
            Self::UnknownHandle => Status::INVALID_HANDLE, // never issued, stale, or somebody else's
            Self::FileQuota | Self::DeviceQuota => Status::QUOTA_EXCEEDED,
            Self::NoMemory | Self::MappingFailed => Status::INSUFFICIENT_RESOURCES,
            Self::NotStarted => Status::DEVICE_NOT_READY,
            Self::Removed => Status::DELETE_PENDING,
            Self::WrongProcess | Self::NotAdministrator => Status::ACCESS_DENIED,
            Self::RegistryFailed => Status::REGISTRY_IO_FAILED,
            Self::AddressNotFound | Self::UnknownEndpoint | Self::UnknownSerial => {
                Status::NOT_FOUND
            }
            Self::FileClosed => Status::FILE_CLOSED,
            Self::UserRange => Status::ACCESS_VIOLATION,
            Self::OutOfReach => Status::CONFLICTING_ADDRESSES,
            Self::WaitPending | Self::QueueFull => Status::DEVICE_BUSY,
            Self::MessageTooLong => Status::BUFFER_TOO_SMALL,
            Self::NotConnected => Status::CONNECTION_INVALID,
            Self::Disconnected => Status::CONNECTION_DISCONNECTED,
            Self::AlreadyConnected => Status::CONNECTION_ACTIVE,
        }
    }

    /// What was wrong and what would be accepted, in a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        self.documentation()
            .first()
            .map_or("", |line| line.trim_start())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.status()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.sentence())
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_has_a_sentence_and_a_failing_status_of_the_contract() {
        for error in Error::ALL {
            assert!(error.sentence().ends_with('.') && error.documentation().len() == 1);
            assert!(!error.status().is_success());
            assert!(error.status().name().is_some());
        }
    }

    #[test]
    fn status_of_the_contract_is_used_by_an_error_or_is_success() {
        for (status, name, _) in Status::ALL {
            let used = Error::ALL.iter().any(|error| error.status() == *status);
            // The driver's own answer to the system, not to a mistake of the program.
            let of_the_system = *status == Status::CANCELLED;
            assert!(
                used || status.is_success() || of_the_system,
                "{name} is never given"
            );
        }
    }
}
