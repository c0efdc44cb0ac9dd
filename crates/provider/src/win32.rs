//! Win32 errors and the NTSTATUS values that they stand for.
//!
//! `DeviceIoControl` reports a Win32 error, of which several NTSTATUS values can be the cause. The
//! exact one stands in `OVERLAPPED.Internal` when the request got that far; this table is for the
//! rest. Pairs as documented in [MS-ERREF] and for `RtlNtStatusToDosError`.
//!
//! Where one Win32 error stands for two statuses, the first row is what it means on a
//! [`Channel`](crate::Channel) that this process opened itself and has not closed: mapping is never
//! asked from another process (so error 5 is not `STATUS_ACCESS_DENIED`), and the file is not
//! closed (so error 6 is not `STATUS_FILE_CLOSED`).
//!
//! [MS-ERREF]: https://learn.microsoft.com/openspecs/windows_protocols/ms-erref

use sanproxy_abi::Status;

/// Statuses of the system, beyond those of the contract, that a request can end with.
const NO_SUCH_DEVICE: Status = Status(0xC000_000E);
const DEVICE_DOES_NOT_EXIST: Status = Status(0xC000_00C0);
const DEVICE_REMOVED: Status = Status(0xC000_02B6);
const NO_MEMORY: Status = Status(0xC000_0017);
const UNSUCCESSFUL: Status = Status(0xC000_0001);

/// Each Win32 error with a status that it stands for.
const PAIRS: &[(u32, Status)] = &[
    (0, Status::SUCCESS),
    (1, Status::INVALID_DEVICE_REQUEST),
    (5, Status::DELETE_PENDING),
    (5, Status::ACCESS_DENIED),
    (6, Status::INVALID_HANDLE),
    (6, Status::FILE_CLOSED),
    (8, NO_MEMORY),
    (21, Status::DEVICE_NOT_READY),
    (24, Status::INFO_LENGTH_MISMATCH),
    (31, UNSUCCESSFUL),
    (50, Status::NOT_SUPPORTED),
    (55, DEVICE_DOES_NOT_EXIST),
    (64, Status::CONNECTION_DISCONNECTED),
    (87, Status::INVALID_PARAMETER),
    (122, Status::BUFFER_TOO_SMALL),
    (170, Status::DEVICE_BUSY),
    (303, Status::DELETE_PENDING),
    (433, NO_SUCH_DEVICE),
    (487, Status::CONFLICTING_ADDRESSES),
    (995, Status::CANCELLED),
    (998, Status::ACCESS_VIOLATION),
    (1016, Status::REGISTRY_IO_FAILED),
    (1168, Status::NOT_FOUND),
    (1229, Status::CONNECTION_INVALID),
    (1230, Status::CONNECTION_ACTIVE),
    (1306, Status::REVISION_MISMATCH),
    (1450, Status::INSUFFICIENT_RESOURCES),
    (1617, DEVICE_REMOVED),
    (1816, Status::QUOTA_EXCEEDED),
];

/// The status that a Win32 error of a request stands for.
///
/// An error without a documented status gives the NTSTATUS that Windows itself makes of Win32
/// errors, facility 7 (`NTSTATUS_FROM_WIN32`): nothing is lost, nothing is guessed.
#[must_use]
pub fn status_of_win32(error: u32) -> Status {
    PAIRS
        .iter()
        .find(|(code, _)| *code == error)
        .map_or(Status(0xC007_0000 | (error & 0xFFFF)), |(_, status)| {
            *status
        })
}

/// The Win32 error that a program sees for a status, if that is documented.
#[must_use]
pub fn win32_of_status(status: Status) -> Option<u32> {
    PAIRS
        .iter()
        .find(|(_, known)| *known == status)
        .map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_the_contract_has_a_win32_error() {
        for (status, name, _) in Status::ALL {
            assert!(win32_of_status(*status).is_some(), "{name}");
        }
    }

    #[test]
    fn status_survives_the_way_to_win32_and_back_unless_the_error_is_shared() {
        for (status, name, _) in Status::ALL {
            let back = win32_of_status(*status).map(status_of_win32);
            let shared = [Status::ACCESS_DENIED, Status::FILE_CLOSED].contains(status);
            assert_eq!(back == Some(*status), !shared, "{name}");
        }
    }

    #[test]
    fn win32_error_without_a_documented_status_keeps_its_number() {
        assert_eq!(status_of_win32(1784), Status(0xC007_06F8));
        assert!(!status_of_win32(1784).is_success());
    }
}
