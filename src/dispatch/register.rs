//! Registering memory, and releasing it.

use alloc::vec::Vec;

use sanproxy_abi::{
    ANY_NODE, Error, Kind, Node, RegisterFlags, RegisterRequest, RegisterUserBufferRequest,
    wire::{
        ByteCount, Choice, DeviceAddress, Handle, Header, NodeNumber, PieceIndex, RegisterOutput,
        UserAddress,
    },
};
use wdm::{pool::Shared, process::Process};

use crate::{
    device::{Hardware, Using},
    file::{File, Mappings},
    memory::{Outcome, Piece, Registration, UserBuffer, View, allocate, push_within},
};

/// Registers memory.
pub(super) fn register(
    file: &File,
    using: &Using,
    request: &RegisterRequest,
) -> Result<RegisterOutput, Error> {
    check(&using.hardware, request)?;
    let map = request.flags.contains(RegisterFlags::MAP);
    // Kept until the mappings are where the end of the process finds them.
    let owner = if map { Some(file.owner()?) } else { None };
    let debt = file.charge(request.length.bytes())?;
    let Outcome {
        pieces,
        nature,
        rung,
    } = allocate(&using.hardware, request, &debt)?;
    let mappings = match &owner {
        Some((process, _)) => Some(map_all(&pieces, process)?),
        None => None,
    };
    let registration = Registration {
        kind: request.kind,
        flags: request.flags,
        method: nature.method,
        cache: nature.cache,
        address_kind: nature.address_kind,
        user_addresses: addresses(mappings.as_ref())?,
        pieces,
        user_buffer: None,
        debt,
    };
    let registration = Shared::new(registration).map_err(|_| Error::NoMemory)?;
    let mut reply = describe(&registration, request.node, rung);
    reply.handle = file.insert(registration, mappings)?;
    file.device().statistics().count_made();
    Ok(reply)
}

/// Makes the caller's own memory reachable.
pub(super) fn register_user_buffer(
    file: &File,
    using: &Using,
    request: &RegisterUserBufferRequest,
) -> Result<RegisterOutput, Error> {
    let hardware = &using.hardware;
    if !hardware.kinds().contains(Kind::UserBuffer) {
        return Err(Error::KindNotOffered);
    }
    // Kept until the buffer is where the end of the process finds it.
    let (process, _inside) = file.owner()?;
    let debt = file.charge(request.range.length())?;
    let (buffer, nature) = UserBuffer::lock(hardware, request, process, &debt)?;
    let registration = Registration {
        kind: Kind::UserBuffer,
        flags: request.flags,
        method: nature.method,
        cache: nature.cache,
        address_kind: nature.address_kind,
        user_addresses: Vec::new(),
        pieces: Vec::new(),
        user_buffer: Some(buffer),
        debt,
    };
    let registration = Shared::new(registration).map_err(|_| Error::NoMemory)?;
    let mut reply = describe(&registration, None, 0);
    reply.handle = file.insert(registration, None)?;
    file.device().statistics().count_made();
    Ok(reply)
}

/// Checks what only the device can tell.
fn check(hardware: &Hardware, request: &RegisterRequest) -> Result<(), Error> {
    if !hardware.kinds().contains(request.kind) {
        return Err(Error::KindNotOffered);
    }
    request
        .length
        .at_most(u64::from(hardware.settings.maximum_length))?;
    if let Some(node) = request.node {
        node.at_most(hardware.highest_node)?;
    }
    Ok(())
}

/// Maps all pieces, or none.
fn map_all(pieces: &[Piece], process: &Shared<Process>) -> Result<Mappings, Error> {
    let mut mappings = Vec::new();
    mappings
        .try_reserve_exact(pieces.len())
        .map_err(|_| Error::NoMemory)?;
    for piece in pieces {
        let view = View::new(piece, process).map_err(|_| Error::MappingFailed)?;
        push_within(&mut mappings, view)?;
    }
    Ok(mappings)
}

/// Where the process finds each piece.
fn addresses(mappings: Option<&Mappings>) -> Result<Vec<u64>, Error> {
    let mut addresses = Vec::new();
    if let Some(mappings) = mappings {
        addresses
            .try_reserve_exact(mappings.len())
            .map_err(|_| Error::NoMemory)?;
        for mapping in mappings {
            push_within(&mut addresses, mapping.address())?;
        }
    }
    Ok(addresses)
}

/// The reply, but for the handle.
fn describe(registration: &Registration, node: Option<Node>, rung: u32) -> RegisterOutput {
    let first = registration.span(0);
    RegisterOutput {
        header: Header::of::<RegisterOutput>(),
        handle: Handle(0),
        length: ByteCount(registration.length()),
        device_address: DeviceAddress(first.map_or(0, |first| first.device_address)),
        user_address: UserAddress(first.map_or(0, |first| first.user_address)),
        pieces: PieceIndex(u32::try_from(registration.count()).unwrap_or(u32::MAX)),
        method: Choice(registration.method.value()),
        cache: Choice(registration.cache.value()),
        node: NodeNumber(node.map_or(ANY_NODE, Node::number)),
        address_kind: Choice(registration.address_kind.value()),
        rung,
    }
}

/// Releases a registration.
pub(super) fn release(file: &File, handle: Handle) -> Result<Header, Error> {
    file.release(handle)?;
    Ok(Header::of::<Header>())
}
