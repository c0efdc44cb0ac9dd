//! Control codes and the interface class.
//!
//! Every code needs read and write access. All but one are buffered, so the system copies both ways;
//! `EXCHANGE` has a direct output buffer, which the system locks. The driver never touches a caller's
//! pointer.

use crate::layout::{Struct, choice};
use crate::wire;

/// The device type in every control code.
pub const DEVICE_TYPE: u32 = 0x8A5A;
/// The first function number; lower ones belong to the system.
pub const FIRST_FUNCTION: u32 = 0x800;
/// The access in every control code: `FILE_READ_ACCESS | FILE_WRITE_ACCESS`.
pub const ACCESS: u32 = 3;

/// How the bytes of a request get to the driver and back: the transfer method in its control code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// `METHOD_BUFFERED`: input and output are exactly the structs of the code.
    Buffered,
    /// `METHOD_OUT_DIRECT`: a message follows the input struct, and output is a message.
    OutDirect,
}

impl Transfer {
    /// The number in the control code.
    #[must_use]
    pub const fn method(self) -> u32 {
        match self {
            Self::Buffered => 0,
            Self::OutDirect => 2,
        }
    }

    /// Its name in C.
    #[must_use]
    pub const fn c_name(self) -> &'static str {
        match self {
            Self::Buffered => "METHOD_BUFFERED",
            Self::OutDirect => "METHOD_OUT_DIRECT",
        }
    }
}

/// The code of a function, as `CTL_CODE` makes it.
#[must_use]
pub const fn control_code(function: u32, transfer: Transfer) -> u32 {
    (DEVICE_TYPE << 16) | (ACCESS << 14) | (function << 2) | transfer.method()
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
        /// Waits for events of this file and its device; at most one such request can be waiting.
        WaitEvent = 0x8A5A_E028 as "IOCTL_SANPROXY_WAIT_EVENT",
        /// Sends a message to the connected file and receives the next one from it.
        Exchange = 0x8A5A_E02E as "IOCTL_SANPROXY_EXCHANGE",
        /// Names the endpoint that this file is to be connected with, or asks for its own.
        Connect = 0x8A5A_E030 as "IOCTL_SANPROXY_CONNECT",
        /// Ends the connection of this file, or takes the name back.
        Disconnect = 0x8A5A_E034 as "IOCTL_SANPROXY_DISCONNECT",
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
        /// Brings a registration up to date, for the device or for the process.
        Synchronize = 0x8A5A_E04C as "IOCTL_SANPROXY_SYNCHRONIZE",
        /// Lists the pieces of a registration of any file. For administrators.
        EnumeratePieces = 0x8A5A_E050 as "IOCTL_SANPROXY_ENUMERATE_PIECES",
    }
}

/// A control code with the structs that go in and come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub code: ControlCode,
    /// Its function number.
    pub function: u32,
    /// How the bytes get there and back.
    pub transfer: Transfer,
    /// What goes in: exactly this struct, or this struct and a message.
    pub input: Struct,
    /// What comes out: exactly this struct, or, if there is none, a message.
    pub output: Option<Struct>,
}

const fn buffered(code: ControlCode, function: u32, input: Struct, output: Struct) -> Code {
    Code {
        code,
        function,
        transfer: Transfer::Buffered,
        input,
        output: Some(output),
    }
}

/// All control codes, in the order of their functions.
pub const CODES: &[Code] = &[
    buffered(
        ControlCode::QueryInterface,
        0x800,
        wire::Header::LAYOUT,
        wire::InterfaceOutput::LAYOUT,
    ),
    buffered(
        ControlCode::QueryCapabilities,
        0x801,
        wire::Header::LAYOUT,
        wire::CapabilitiesOutput::LAYOUT,
    ),
    buffered(
        ControlCode::Register,
        0x802,
        wire::RegisterInput::LAYOUT,
        wire::RegisterOutput::LAYOUT,
    ),
    buffered(
        ControlCode::QueryRegistration,
        0x803,
        wire::QueryRegistrationInput::LAYOUT,
        wire::QueryRegistrationOutput::LAYOUT,
    ),
    buffered(
        ControlCode::Release,
        0x804,
        wire::ReleaseInput::LAYOUT,
        wire::Header::LAYOUT,
    ),
    buffered(
        ControlCode::Statistics,
        0x805,
        wire::Header::LAYOUT,
        wire::StatisticsOutput::LAYOUT,
    ),
    buffered(
        ControlCode::Lookup,
        0x806,
        wire::LookupInput::LAYOUT,
        wire::LookupOutput::LAYOUT,
    ),
    buffered(
        ControlCode::Move,
        0x807,
        wire::MoveInput::LAYOUT,
        wire::Header::LAYOUT,
    ),
    buffered(
        ControlCode::Secure,
        0x808,
        wire::SecureInput::LAYOUT,
        wire::SecureOutput::LAYOUT,
    ),
    buffered(
        ControlCode::Unsecure,
        0x809,
        wire::UnsecureInput::LAYOUT,
        wire::Header::LAYOUT,
    ),
    buffered(
        ControlCode::WaitEvent,
        0x80A,
        wire::Header::LAYOUT,
        wire::EventsOutput::LAYOUT,
    ),
    Code {
        code: ControlCode::Exchange,
        function: 0x80B,
        transfer: Transfer::OutDirect,
        input: wire::ExchangeInput::LAYOUT,
        output: None,
    },
    buffered(
        ControlCode::Connect,
        0x80C,
        wire::ConnectInput::LAYOUT,
        wire::ConnectOutput::LAYOUT,
    ),
    buffered(
        ControlCode::Disconnect,
        0x80D,
        wire::Header::LAYOUT,
        wire::Header::LAYOUT,
    ),
    buffered(
        ControlCode::MapStatusPage,
        0x80E,
        wire::Header::LAYOUT,
        wire::MapStatusPageOutput::LAYOUT,
    ),
    buffered(
        ControlCode::Enumerate,
        0x80F,
        wire::EnumerateInput::LAYOUT,
        wire::EnumerateOutput::LAYOUT,
    ),
    buffered(
        ControlCode::SetQuota,
        0x810,
        wire::SetQuotaInput::LAYOUT,
        wire::Header::LAYOUT,
    ),
    buffered(
        ControlCode::RegisterUserBuffer,
        0x811,
        wire::RegisterUserBufferInput::LAYOUT,
        wire::RegisterOutput::LAYOUT,
    ),
    buffered(
        ControlCode::RegisterHostMemory,
        0x812,
        wire::RegisterHostMemoryInput::LAYOUT,
        wire::RegisterOutput::LAYOUT,
    ),
    buffered(
        ControlCode::Synchronize,
        0x813,
        wire::SynchronizeInput::LAYOUT,
        wire::Header::LAYOUT,
    ),
    buffered(
        ControlCode::EnumeratePieces,
        0x814,
        wire::EnumeratePiecesInput::LAYOUT,
        wire::QueryRegistrationOutput::LAYOUT,
    ),
];

const _: () = {
    let mut rest: &[Code] = CODES;
    let mut function = FIRST_FUNCTION;
    while let [first, others @ ..] = rest {
        assert!(first.function >= function);
        assert!(first.code.value() == control_code(first.function, first.transfer));
        assert!((first.code.value() >> 14) & 3 == ACCESS);
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
