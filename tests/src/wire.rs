//! Requests byte by byte, as a hostile program would send them.

use nt_host::{File, HostError, IoResult, NtStatus};
use sanproxy_abi::{
    ANY_NODE, ControlCode, Error, Kind, RegisterFlags, Status,
    wire::{
        AddressBound, ByteCount, Choice, Flags, Handle, Header, Message, NodeNumber, RegisterInput,
        RegisterOutput, ReleaseInput, StatisticsOutput,
    },
};

/// What an output buffer holds before a request: whatever of it is still there afterwards, the driver has not written.
pub const POISON: u8 = 0xA5;

/// What came back of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request's status.
    pub status: Status,
    /// How many bytes the driver says that it wrote.
    pub information: u64,
    /// The output buffer afterwards.
    pub output: Vec<u8>,
}

/// Sends a control request. A handle that is closed, perhaps with its process, is an answer of the system.
///
/// # Panics
///
/// If the driver does not survive it: a simulated system that has stopped answers nothing any more.
#[must_use]
pub fn control(file: &File, code: u32, input: &[u8], output: &mut [u8]) -> IoResult {
    match file.device_control(code, input, output) {
        Ok(result) => result,
        Err(HostError::Status(status)) => IoResult {
            status,
            information: 0,
        },
        Err(error) => panic!("the driver did not survive control code {code:#x}: {error}"),
    }
}

/// Sends any bytes with any code.
#[must_use]
pub fn send(file: &File, code: u32, input: &[u8], output_length: usize) -> Reply {
    let mut output = vec![POISON; output_length];
    let result = control(file, code, input, &mut output);
    let NtStatus(status) = result.status;
    Reply {
        status: Status(status),
        information: result.information,
        output,
    }
}

/// Sends a request with an output buffer of the right size; the reply, or the status of the refusal.
///
/// # Errors
///
/// The driver's status.
///
/// # Panics
///
/// If the reply breaks the contract: not written whole, or anything written although the request is refused.
pub fn ask<I: Message, O: Message>(file: &File, code: ControlCode, input: &I) -> Result<O, Status> {
    let size = size_of::<O>();
    let reply = send(file, code.value(), input.as_bytes(), size);
    if !reply.status.is_success() {
        assert_eq!(reply.information, 0, "an error carries no bytes");
        assert!(
            reply.output.iter().all(|byte| *byte == POISON),
            "an error writes nothing"
        );
        return Err(reply.status);
    }
    assert_eq!(reply.information, size as u64, "a reply is written whole");
    Ok(O::parse(&reply.output).unwrap_or_else(|error| panic!("the reply is malformed: {error:?}")))
}

/// A request that succeeds: one page of common buffer.
#[must_use]
pub fn good_register() -> RegisterInput {
    RegisterInput {
        header: Header::of::<RegisterInput>(),
        kind: Choice(Kind::CommonBuffer.value()),
        flags: Flags(RegisterFlags::NONE.bits()),
        length: ByteCount(4096),
        lowest: AddressBound(0),
        highest: AddressBound(u64::MAX),
        boundary: AddressBound(0),
        alignment: AddressBound(0),
        cache: Choice(sanproxy_abi::CacheType::Cached.value()),
        node: NodeNumber(ANY_NODE),
    }
}

/// Registers.
///
/// # Errors
///
/// The driver's status.
pub fn register(file: &File, input: &RegisterInput) -> Result<RegisterOutput, Status> {
    ask(file, ControlCode::Register, input)
}

/// Releases.
///
/// # Errors
///
/// The driver's status.
pub fn release(file: &File, handle: Handle) -> Result<(), Status> {
    let input = ReleaseInput {
        header: Header::of::<ReleaseInput>(),
        handle,
    };
    ask::<_, Header>(file, ControlCode::Release, &input).map(drop)
}

/// The driver's counters.
///
/// # Panics
///
/// If the driver refuses to tell.
#[must_use]
pub fn statistics(file: &File) -> StatisticsOutput {
    ask(file, ControlCode::Statistics, &Header::of::<Header>())
        .unwrap_or_else(|status| panic!("statistics are refused: {status:?}"))
}

/// How often requests have failed for this cause.
#[must_use]
pub fn failures(statistics: &StatisticsOutput, cause: Error) -> u64 {
    statistics.failures[cause.index()].0
}
