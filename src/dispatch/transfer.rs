//! Moving bytes between registrations, and bringing them up to date.

use sanproxy_abi::{Access, Error, MoveRequest, SynchronizeRequest, wire::Header};

use crate::file::File;

/// Copies between two of the caller's own registrations, as the device could: user buffers grant no
/// more to the driver than to it.
pub(super) fn copy(file: &File, request: &MoveRequest) -> Result<Header, Error> {
    let held = (
        file.get(request.source.handle())?,
        file.get(request.destination.handle())?,
    );
    let (source, destination) = (&held.0.registration, &held.1.registration);
    let from = request.source.within(source.length())?;
    let to = request.destination.within(destination.length())?;
    source.open(Access::Read, from.offset(), from.length())?;
    destination.open(Access::Write, to.offset(), to.length())?;
    destination.copy_from(to.offset(), source, from.offset(), from.length())?;
    Ok(Header::of::<Header>())
}

/// Brings a part of a registration up to date for one side. Only memory of a process's own needs it.
pub(super) fn synchronize(file: &File, request: &SynchronizeRequest) -> Result<Header, Error> {
    let held = file.get(request.place.handle())?;
    let registration = &held.registration;
    let place = request.place.within(registration.length())?;
    if let Some(buffer) = &registration.user_buffer {
        buffer.synchronize(request.side, place.offset(), place.length())?;
    }
    Ok(Header::of::<Header>())
}
