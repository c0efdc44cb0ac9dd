//! Control codes and the interface class.
//!
//! Every code needs read and write access and is buffered, so the system copies both ways and the
//! driver never touches a caller's pointer.

use crate::layout::{Struct, choice};
use crate::wire;

/// The device type in every control code.
pub const DEVICE_TYPE: u32 = 0x8A5A;
/// The first function number; lower ones belong to the system.
pub const FIRST_FUNCTION: u32 = 0x800;
/// The access in every control code: `FILE_READ_ACCESS | FILE_WRITE_ACCESS`.
pub const ACCESS: u32 = 3;
/// The transfer method in every control code: `METHOD_BUFFERED`.
pub const TRANSFER_METHOD: u32 = 0;

/// The code of a function, as `CTL_CODE` makes it.
#[must_use]
pub const fn control_code(function: u32) -> u32 {
    (DEVICE_TYPE << 16) | (ACCESS << 14) | (function << 2) | TRANSFER_METHOD
}

choice! {
    /// What a program can ask of the driver.
    pub enum ControlCode {
        /// Which interface version the driver speaks.
        QueryInterface = 0x8A5A_E000 as "IOCTL_SANPROXY_QUERY_INTERFACE",
        /// What the device offers, and its limits.
        QueryCapabilities = 0x8A5A_E004 as "IOCTL_SANPROXY_QUERY_CAPABILITIES",
        /// Registers memory that the device can reach.
        Register = 0x8A5A_E008 as "IOCTL_SANPROXY_REGISTER",
        /// The pieces of a registration.
        QueryRegistration = 0x8A5A_E00C as "IOCTL_SANPROXY_QUERY_REGISTRATION",
        /// Releases a registration.
        Release = 0x8A5A_E010 as "IOCTL_SANPROXY_RELEASE",
        /// Counters of the device and of this file.
        Statistics = 0x8A5A_E014 as "IOCTL_SANPROXY_STATISTICS",
        /// Finds the caller's own registration that holds a device address.
        Lookup = 0x8A5A_E018 as "IOCTL_SANPROXY_LOOKUP",
        /// Copies between two of the caller's own registrations.
        Move = 0x8A5A_E01C as "IOCTL_SANPROXY_MOVE",
        /// Secures the caller's own memory, so that it is not freed or protected unnoticed.
        Secure = 0x8A5A_E020 as "IOCTL_SANPROXY_SECURE",
        /// Ends the securing of a range.
        Unsecure = 0x8A5A_E024 as "IOCTL_SANPROXY_UNSECURE",
        /// Maps the device's status page into the caller, read-only.
        MapStatusPage = 0x8A5A_E038 as "IOCTL_SANPROXY_MAP_STATUS_PAGE",
        /// Lists the registrations of all files, a page at a time. For administrators.
        Enumerate = 0x8A5A_E03C as "IOCTL_SANPROXY_ENUMERATE",
        /// Sets the quotas, for now and after a restart of the device. For administrators.
        SetQuota = 0x8A5A_E040 as "IOCTL_SANPROXY_SET_QUOTA",
        /// Makes the caller's own memory reachable for the device.
        RegisterUserBuffer = 0x8A5A_E044 as "IOCTL_SANPROXY_REGISTER_USER_BUFFER",
        /// Registers several ranges up to a total: a host memory buffer.
        RegisterHostMemory = 0x8A5A_E048 as "IOCTL_SANPROXY_REGISTER_HOST_MEMORY",
    }
}

/// A control code with the structs that go in and come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub code: ControlCode,
    /// Its function number.
    pub function: u32,
    /// What goes in: exactly this struct.
    pub input: Struct,
    /// What comes out: exactly this struct.
    pub output: Struct,
}

/// All control codes.
pub const CODES: &[Code] = &[
    Code {
        code: ControlCode::QueryInterface,
        function: 0x800,
        input: wire::Header::LAYOUT,
        output: wire::InterfaceOutput::LAYOUT,
    },
    Code {
        code: ControlCode::QueryCapabilities,
        function: 0x801,
        input: wire::Header::LAYOUT,
        output: wire::CapabilitiesOutput::LAYOUT,
    },
    Code {
        code: ControlCode::Register,
        function: 0x802,
        input: wire::RegisterInput::LAYOUT,
        output: wire::RegisterOutput::LAYOUT,
    },
    Code {
        code: ControlCode::QueryRegistration,
        function: 0x803,
        input: wire::QueryRegistrationInput::LAYOUT,
        output: wire::QueryRegistrationOutput::LAYOUT,
    },
    Code {
        code: ControlCode::Release,
        function: 0x804,
        input: wire::ReleaseInput::LAYOUT,
        output: wire::Header::LAYOUT,
    },
    Code {
        code: ControlCode::Statistics,
        function: 0x805,
        input: wire::Header::LAYOUT,
        output: wire::StatisticsOutput::LAYOUT,
    },
    Code {
        code: ControlCode::Lookup,
        function: 0x806,
        input: wire::LookupInput::LAYOUT,
        output: wire::LookupOutput::LAYOUT,
    },
    Code {
        code: ControlCode::Move,
        function: 0x807,
        input: wire::MoveInput::LAYOUT,
        output: wire::Header::LAYOUT,
    },
    Code {
        code: ControlCode::Secure,
        function: 0x808,
        input: wire::SecureInput::LAYOUT,
        output: wire::SecureOutput::LAYOUT,
    },
    Code {
        code: ControlCode::Unsecure,
        function: 0x809,
        input: wire::UnsecureInput::LAYOUT,
        output: wire::Header::LAYOUT,
    },
    Code {
        code: ControlCode::MapStatusPage,
        function: 0x80E,
        input: wire::Header::LAYOUT,
        output: wire::MapStatusPageOutput::LAYOUT,
    },
    Code {
        code: ControlCode::Enumerate,
        function: 0x80F,
        input: wire::EnumerateInput::LAYOUT,
        output: wire::EnumerateOutput::LAYOUT,
    },
    Code {
        code: ControlCode::SetQuota,
        function: 0x810,
        input: wire::SetQuotaInput::LAYOUT,
        output: wire::Header::LAYOUT,
    },
    Code {
        code: ControlCode::RegisterUserBuffer,
        function: 0x811,
        input: wire::RegisterUserBufferInput::LAYOUT,
        output: wire::RegisterOutput::LAYOUT,
    },
    Code {
        code: ControlCode::RegisterHostMemory,
        function: 0x812,
        input: wire::RegisterHostMemoryInput::LAYOUT,
        output: wire::RegisterOutput::LAYOUT,
    },
];

const _: () = {
    let mut rest: &[Code] = CODES;
    let mut function = FIRST_FUNCTION;
    while let [first, others @ ..] = rest {
        // In order, and none twice; numbers in between may be left out.
        assert!(first.function >= function);
        assert!(first.code.value() == control_code(first.function));
        assert!((first.code.value() >> 14) & 3 == ACCESS);
        assert!(first.code.value() & 3 == TRANSFER_METHOD);
        function = first.function + 1;
        rest = others;
    }
    assert!(CODES.len() == ControlCode::ALL.len());
};

/// A GUID, with the fields of the Windows struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guid {
    /// The first 8 hexadecimal digits.
    pub data1: u32,
    /// The next 4.
    pub data2: u16,
    /// The next 4.
    pub data3: u16,
    /// The last 16.
    pub data4: [u8; 8],
}

/// The device interface class by which programs find the device:
/// `{E13F37E5-B50B-4C9C-922D-68E03B47719D}`.
pub const INTERFACE_CLASS: Guid = Guid {
    data1: 0xE13F_37E5,
    data2: 0xB50B,
    data3: 0x4C9C,
    data4: [0x92, 0x2D, 0x68, 0xE0, 0x3B, 0x47, 0x71, 0x9D],
};
