//! Securing memory of the caller's own, and ending that.

use sanproxy_abi::{
    Access, Error, SecureRequest,
    wire::{Handle, Header, SecureOutput},
};
use wdm::secured_range::{Kept, SecuredRange};

use crate::{file::File, secured::Secured, trace};

/// Secures a range.
pub(super) fn secure(file: &File, request: &SecureRequest) -> Result<SecureOutput, Error> {
    // Kept until the range is where the end of the process finds it.
    let (process, _inside) = file.owner()?;
    let debt = file.charge(0)?;
    let kept = match request.access {
        Access::Read => Kept::Read,
        Access::Write | Access::ReadWrite => Kept::Write,
    };
    let (start, length) = (request.range.start(), request.range.length());
    let range = SecuredRange::new(start, length, kept, process).map_err(|_| Error::UserRange)?;
    let handle = file.insert_secured(Secured {
        range,
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
