//! Moving bytes between registrations.

use sanproxy_abi::{Error, MoveRequest, wire::Header};

use crate::file::File;

/// Copies between two of the caller's own registrations.
pub(super) fn copy(file: &File, request: &MoveRequest) -> Result<Header, Error> {
    let held = (
        file.get(request.source.handle())?,
        file.get(request.destination.handle())?,
    );
    let (source, destination) = (&held.0.registration, &held.1.registration);
    // The pages of a process are the device's for the access granted, and nobody else's: the
    // process copies its own memory itself.
    if source.user_buffer.is_some() || destination.user_buffer.is_some() {
        return Err(Error::Access);
    }
    let from = request.source.within(source.length())?;
    let to = request.destination.within(destination.length())?;
    destination.copy_from(to.offset(), source, from.offset(), from.length())?;
    Ok(Header::of::<Header>())
}
