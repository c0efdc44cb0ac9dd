//! Bad input gets the documented Win32 error, and changes nothing.

use sanproxy_abi::{
    ANY_NODE, ControlCode, RegisterFlags,
    wire::{self, Header},
};
use sanproxy_provider::{Handle, Provider, RegisterOptions, Status, win32_of_status};
use zerocopy::IntoBytes;

use crate::{Outcome, session::Session};

/// A control request as it goes over the wire.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) code: u32,
    pub(crate) input: Vec<u8>,
    pub(crate) room: usize,
}

fn request<T: IntoBytes + zerocopy::Immutable>(
    code: ControlCode,
    input: &T,
    room: usize,
) -> Request {
    Request {
        code: code.value(),
        input: input.as_bytes().to_vec(),
        room,
    }
}

/// A request to release a registration.
pub(crate) fn release(handle: Handle) -> Request {
    let input = wire::ReleaseInput {
        header: Header::of::<wire::ReleaseInput>(),
        handle,
    };
    request(ControlCode::Release, &input, size_of::<Header>())
}

/// A request to register a page, which would succeed.
fn register() -> Request {
    let options = RegisterOptions::common_buffer(4096);
    request(
        ControlCode::Register,
        options.wire(),
        size_of::<wire::RegisterOutput>(),
    )
}

/// A request to register a page, with something about it changed.
pub(crate) fn registering(change: impl FnOnce(&mut wire::RegisterInput)) -> Request {
    let mut input = *RegisterOptions::common_buffer(4096).wire();
    change(&mut input);
    request(
        ControlCode::Register,
        &input,
        size_of::<wire::RegisterOutput>(),
    )
}

/// Sends a request that has to be refused with a status of the contract: the program sees the Win32 error documented for
/// it; the refusal is counted, and nothing is registered.
fn refused(request: &Request, status: Status) -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let before = provider.statistics()?;
    let error = provider
        .channel()
        .control_raw(request.code, &request.input, request.room);
    let error = error.err().ok_or("it is not refused")?;
    assert_eq!(Some(error.0), win32_of_status(status));
    let after = provider.statistics()?;
    let count = |statistics: &sanproxy_provider::Statistics| -> u64 {
        statistics.failures().map(|(_, count)| count).sum()
    };
    assert_eq!(count(&after), count(&before).saturating_add(1));
    assert_eq!(after.made, before.made);
    assert_eq!(after.live_bytes, before.live_bytes);
    Ok(())
}

#[test]
fn request_that_the_refused_ones_start_from_succeeds() -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let Request { code, input, room } = register();
    let reply = provider.channel().control_raw(code, &input, room);
    assert_eq!(reply.map(|reply| reply.len()), Ok(room));
    Ok(())
}

#[test]
fn unknown_control_code_is_invalid_function() -> Outcome {
    let request = Request {
        code: 0x8A5A_FFFC,
        ..register()
    };
    refused(&request, Status::INVALID_DEVICE_REQUEST)
}

#[test]
fn input_that_is_too_short_is_bad_length() -> Outcome {
    let mut request = register();
    request.input.pop();
    refused(&request, Status::INFO_LENGTH_MISMATCH)
}

#[test]
fn input_that_is_too_long_is_bad_length() -> Outcome {
    let mut request = register();
    request.input.push(0);
    refused(&request, Status::INFO_LENGTH_MISMATCH)
}

#[test]
fn no_input_is_bad_length() -> Outcome {
    let request = Request {
        input: Vec::new(),
        ..register()
    };
    refused(&request, Status::INFO_LENGTH_MISMATCH)
}

#[test]
fn no_room_for_output_is_bad_length() -> Outcome {
    let request = Request {
        room: 0,
        ..register()
    };
    refused(&request, Status::INFO_LENGTH_MISMATCH)
}

#[test]
fn too_much_room_for_output_is_bad_length() -> Outcome {
    let request = Request {
        room: 4096,
        ..register()
    };
    refused(&request, Status::INFO_LENGTH_MISMATCH)
}

#[test]
fn other_version_of_the_structs_is_revision_mismatch() -> Outcome {
    refused(
        &registering(|input| input.header.version = 2),
        Status::REVISION_MISMATCH,
    )
}

#[test]
fn reserved_bits_are_invalid_parameter() -> Outcome {
    refused(
        &registering(|input| input.header.reserved = 1),
        Status::INVALID_PARAMETER,
    )
}

#[test]
fn unknown_flags_are_invalid_parameter() -> Outcome {
    let unknown = RegisterFlags::MAP.bits() << 31;
    refused(
        &registering(|input| input.flags.0 = unknown),
        Status::INVALID_PARAMETER,
    )
}

#[test]
fn length_of_nothing_is_invalid_parameter() -> Outcome {
    refused(
        &registering(|input| input.length.0 = 0),
        Status::INVALID_PARAMETER,
    )
}

#[test]
fn length_that_overflows_is_invalid_parameter() -> Outcome {
    refused(
        &registering(|input| input.length.0 = u64::MAX),
        Status::INVALID_PARAMETER,
    )
}

#[test]
fn bounds_that_exclude_everything_are_invalid_parameter() -> Outcome {
    let request = registering(|input| {
        input.lowest.0 = 0x2000;
        input.highest.0 = 0x1FFF;
    });
    refused(&request, Status::INVALID_PARAMETER)
}

#[test]
fn node_that_is_not_there_is_invalid_parameter() -> Outcome {
    refused(
        &registering(|input| input.node.0 = ANY_NODE ^ 1),
        Status::INVALID_PARAMETER,
    )
}

#[test]
fn kind_that_is_reserved_is_not_supported() -> Outcome {
    refused(
        &registering(|input| input.kind.0 = 4),
        Status::NOT_SUPPORTED,
    )
}

#[test]
fn handle_that_was_never_given_is_invalid_handle() -> Outcome {
    refused(
        &release(Handle(0x1234_5678_9ABC_DEF0)),
        Status::INVALID_HANDLE,
    )
}

#[test]
fn address_that_nobody_registered_is_not_found() -> Outcome {
    let input = wire::LookupInput {
        header: Header::of::<wire::LookupInput>(),
        device_address: wire::DeviceAddress(0xFFFF_F000),
    };
    let room = size_of::<wire::LookupOutput>();
    refused(
        &request(ControlCode::Lookup, &input, room),
        Status::NOT_FOUND,
    )
}

#[test]
fn more_than_the_quota_of_bytes_is_not_enough_quota() -> Outcome {
    let session = Session::with_driver()?;
    let provider = Provider::open(session.client()?)?;
    let quota = provider.capabilities()?.bytes_per_file;
    let _page = provider.register(&RegisterOptions::common_buffer(4096))?;
    let Request { code, input, room } = registering(|input| input.length.0 = quota);
    let refused = provider.channel().control_raw(code, &input, room);
    let expected = win32_of_status(Status::QUOTA_EXCEEDED);
    assert_eq!(refused.err().map(|error| error.0), expected);
    assert_eq!(provider.statistics()?.file_registrations, 1);
    Ok(())
}

#[test]
fn memory_that_the_device_cannot_reach_is_no_system_resources() -> Outcome {
    // The device's own addresses end at 4 GiB.
    let request = registering(|input| {
        input.lowest.0 = 0x10_0000_0000;
        input.highest.0 = 0x1F_FFFF_FFFF;
    });
    refused(&request, Status::INSUFFICIENT_RESOURCES)
}
