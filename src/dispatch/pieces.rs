//! What a registration is made of, and which one holds an address.

use sanproxy_abi::{
    Error, PIECES_PER_REPLY, QueryRegistrationRequest,
    wire::{
        ByteCount, Choice, DeviceAddress, Flags, Header, LookupOutput, Piece, PieceIndex,
        QueryRegistrationOutput, UserAddress,
    },
};

use crate::{file::File, memory::Registration};

const NOTHING: Piece = Piece {
    device_address: DeviceAddress(0),
    length: ByteCount(0),
    user_address: UserAddress(0),
};

/// Some pieces of a registration, from one of them on.
pub(super) fn query(
    file: &File,
    request: QueryRegistrationRequest,
) -> Result<QueryRegistrationOutput, Error> {
    let held = file.get(request.handle)?;
    describe(&held.registration, request.first_piece, held.mapped)
}

/// Some pieces of a registration, from one of them on: with the addresses for its process if it is mapped.
pub(super) fn describe(
    registration: &Registration,
    first_piece: u32,
    mapped: bool,
) -> Result<QueryRegistrationOutput, Error> {
    let first = usize::try_from(first_piece).map_err(|_| Error::OutOfRange)?;
    if first >= registration.count() {
        return Err(Error::OutOfRange);
    }
    let mut pieces = [NOTHING; PIECES_PER_REPLY];
    let mut returned = 0_u32;
    for (place, index) in pieces.iter_mut().zip(first..) {
        let Some(span) = registration.span(index) else {
            break;
        };
        let user_address = if mapped { span.user_address } else { 0 };
        *place = Piece {
            device_address: DeviceAddress(span.device_address),
            length: ByteCount(span.length),
            user_address: UserAddress(user_address),
        };
        returned = returned.saturating_add(1);
    }
    Ok(QueryRegistrationOutput {
        header: Header::of::<QueryRegistrationOutput>(),
        total: PieceIndex(u32::try_from(registration.count()).unwrap_or(u32::MAX)),
        returned: PieceIndex(returned),
        kind: Choice(registration.kind.value()),
        flags: Flags(registration.flags.bits()),
        length: ByteCount(registration.length()),
        pieces,
    })
}

/// The registration that holds an address.
pub(super) fn lookup(file: &File, address: DeviceAddress) -> Result<LookupOutput, Error> {
    let found = file.lookup(address.0)?;
    Ok(LookupOutput {
        header: Header::of::<LookupOutput>(),
        handle: found.handle,
        offset: ByteCount(found.offset),
        user_address: UserAddress(found.user_address),
    })
}
