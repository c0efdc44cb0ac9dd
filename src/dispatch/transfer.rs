//! Moving bytes between registrations.

use sanproxy_abi::{Error, MoveRequest, wire::Header};

use crate::file::File;

/// Copies between two of the caller's own registrations.
pub(super) fn copy(file: &File, request: &MoveRequest) -> Result<Header, Error> {
    let (source, _) = file.get(request.source.handle())?;
    let (destination, _) = file.get(request.destination.handle())?;
    let from = request.source.within(source.length())?;
    let to = request.destination.within(destination.length())?;
    destination.copy_from(to.offset(), &source, from.offset(), from.length())?;
    Ok(Header::of::<Header>())
}
