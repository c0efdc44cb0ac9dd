//! Securing memory of the caller's own, and ending that.

use sanproxy_abi::{
    Access, AddressKind, Error, SECURED_RANGE, SecureRequest,
    wire::{
        ByteCount, Choice, DeviceAddress, Flags, Handle, Header, PieceIndex, ProcessId,
        SecureOutput, Serial,
    },
};
use wdm::secured_range::{Kept, SecuredRange};

use crate::{
    device::{Listed, Listing},
    file::File,
    secured::Secured,
    trace,
};

/// Secures a range.
pub(super) fn secure(file: &File, request: &SecureRequest) -> Result<SecureOutput, Error> {
    // Kept until the range is where the end of the process finds it.
    let (space, _inside) = file.owner()?;
    let debt = file.charge(0)?;
    let kept = match request.access {
        Access::Read => Kept::Read,
        Access::Write | Access::ReadWrite => Kept::Write,
    };
    let (start, length) = (request.range.start(), request.range.length());
    let range = space.with_own(start, length, || {
        SecuredRange::new(start, length, kept, space.process()).map_err(|_| Error::UserRange)
    })?;
    let listing = Listing {
        serial: Serial(0),
        process: ProcessId(file.process().id()),
        length: ByteCount(length),
        device_address: DeviceAddress(0),
        kind: Choice(SECURED_RANGE),
        flags: Flags(0),
        pieces: PieceIndex(0),
        address_kind: Choice(AddressKind::None.value()),
    };
    let handle = file.insert_secured(Secured {
        range,
        listed: Listed::new(file.device().listings(), listing, None)?,
        debt,
        length,
    })?;
    trace::secured(request.access, length);
    file.device().count_made();
    Ok(SecureOutput {
        header: Header::of::<SecureOutput>(),
        handle,
    })
}

/// Ends the securing of a range.
pub(super) fn unsecure(file: &File, handle: Handle) -> Result<Header, Error> {
    file.unsecure(handle)?;
    Ok(Header::of::<Header>())
}
