//! Registering memory, and releasing it.

use alloc::vec::Vec;

use sanproxy_abi::{
    ANY_NODE, Error, HostMemoryRequest, Kind, Node, PAGE_SIZE, RegisterFlags, RegisterRequest,
    RegisterUserBufferRequest,
    wire::{
        ByteCount, Choice, DeviceAddress, Flags, Handle, Header, NodeNumber, PieceIndex, ProcessId,
        RegisterOutput, Serial, UserAddress,
    },
};
use wdm::{crash_dump::Marked, pool::Shared, rundown::Inside};

use super::administration::require_administrator;
use crate::{
    address_space::{AddressSpace, View},
    device::{Debt, Hardware, Listed, Listing, Using},
    file::{Attached, File, Mappings},
    memory::{
        Outcome, Piece, Registration, UserBuffer, allocate, allocate_host_memory, push_within,
    },
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
    let outcome = allocate(&using.hardware, request, &debt);
    // What it holds beyond its length was charged meanwhile.
    file.tell_of_quotas();
    finish(file, request, owner.as_ref(), outcome?, debt)
}

/// Registers a host memory buffer.
pub(super) fn register_host_memory(
    file: &File,
    using: &Using,
    request: &HostMemoryRequest,
) -> Result<RegisterOutput, Error> {
    let wanted = &request.wanted;
    if let Some(node) = wanted.node {
        node.at_most(using.hardware.highest_node)?;
    }
    let map = wanted.flags.contains(RegisterFlags::MAP);
    let owner = if map { Some(file.owner()?) } else { None };
    // As much as the quotas let it be, but not less than will do.
    let available = file
        .quota()
        .available()
        .min(file.device().quota().available());
    let total = available
        .saturating_sub(available % PAGE_SIZE)
        .min(wanted.length.bytes())
        .max(request.minimum.bytes());
    let mut debt = file.charge(total)?;
    let outcome = allocate_host_memory(&using.hardware, request, total, &debt);
    file.tell_of_quotas();
    let outcome = outcome?;
    let got = outcome
        .pieces
        .iter()
        .fold(0_u64, |sum, piece| sum.saturating_add(piece.length()));
    debt.reduce_to(got);
    finish(file, wanted, owner.as_ref(), outcome, debt)
}

/// The address space that memory is to be mapped into, if it is.
type Owner<'a> = (&'a Shared<AddressSpace>, Inside);

/// Makes a registration of memory: maps it, and gives it a handle.
fn finish(
    file: &File,
    request: &RegisterRequest,
    owner: Option<&Owner<'_>>,
    outcome: Outcome,
    debt: Debt,
) -> Result<RegisterOutput, Error> {
    let Outcome {
        mut pieces,
        nature,
        rung,
    } = outcome;
    Piece::line_up(&mut pieces);
    let mappings = match owner {
        Some((space, _)) => Some(map_all(&pieces, space)?),
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
    let attached = attach(file, &registration)?;
    reply.handle = file.insert(registration, mappings, attached)?;
    file.device().count_made();
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
    let (space, _inside) = file.owner()?;
    let debt = file.charge(request.range.length())?;
    let locked = UserBuffer::lock(hardware, request, space, &debt);
    file.tell_of_quotas();
    let (buffer, nature) = locked?;
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
    let attached = attach(file, &registration)?;
    reply.handle = file.insert(registration.clone(), None, attached)?;
    // If it is released already, nobody has been told where it is.
    if let Some(buffer) = &registration.user_buffer {
        buffer.use_it();
    }
    file.device().count_made();
    Ok(reply)
}

/// Puts a registration on the list of the device, and into crash dumps if that is wanted.
fn attach(file: &File, registration: &Shared<Registration>) -> Result<Attached, Error> {
    let first = registration.span(0);
    let listing = Listing {
        serial: Serial(0),
        process: ProcessId(file.process().id()),
        length: ByteCount(registration.length()),
        device_address: DeviceAddress(first.map_or(0, |first| first.device_address)),
        kind: Choice(registration.kind.value()),
        flags: Flags(registration.flags.bits()),
        pieces: PieceIndex(u32::try_from(registration.count()).unwrap_or(u32::MAX)),
        address_kind: Choice(registration.address_kind.value()),
    };
    let mut marked = Vec::new();
    if registration.flags.contains(RegisterFlags::DUMP) {
        let dump = file.device().dump().ok_or(Error::KindNotOffered)?;
        // A dump has room for the system's own pages first; who may fill it up is not for a quota to say.
        require_administrator()?;
        marked
            .try_reserve_exact(registration.pieces.len())
            .map_err(|_| Error::NoMemory)?;
        for piece in &registration.pieces {
            let mark = Marked::new(dump, piece.memory().clone());
            push_within(&mut marked, mark.map_err(|_| Error::NoMemory)?)?;
        }
    }
    Ok(Attached {
        listed: Listed::new(file.device().listings(), listing, Some(registration))?,
        marked,
    })
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
fn map_all(pieces: &[Piece], space: &Shared<AddressSpace>) -> Result<Mappings, Error> {
    let mut mappings = Vec::new();
    mappings
        .try_reserve_exact(pieces.len())
        .map_err(|_| Error::NoMemory)?;
    for piece in pieces {
        push_within(&mut mappings, View::new(piece, space)?)?;
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
