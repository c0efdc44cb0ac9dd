//! What administrators may see and set.

use sanproxy_abi::{
    Error, QuotaRequest, REGISTRATIONS_PER_REPLY,
    wire::{
        ByteCount, Choice, Count, DeviceAddress, EnumerateOutput, EnumeratedRegistration, Flags,
        Header, PieceIndex, ProcessId, QueryRegistrationOutput, Reserved, Serial,
    },
};
use wdm::caller;

use super::pieces;
use crate::file::File;

const NOTHING: EnumeratedRegistration = EnumeratedRegistration {
    serial: Serial(0),
    process: ProcessId(0),
    length: ByteCount(0),
    device_address: DeviceAddress(0),
    kind: Choice(0),
    flags: Flags(0),
    pieces: PieceIndex(0),
    address_kind: Choice(0),
};

/// The device can be opened by whom its security descriptor lets: that can be more than they.
pub(super) fn require_administrator() -> Result<(), Error> {
    if caller::is_administrator() {
        Ok(())
    } else {
        Err(Error::NotAdministrator)
    }
}

/// The registrations of all files that were made after one.
pub(super) fn enumerate(file: &File, after: Serial) -> Result<EnumerateOutput, Error> {
    require_administrator()?;
    let listings = file.device().listings();
    let mut registrations = [NOTHING; REGISTRATIONS_PER_REPLY];
    let (mut last, mut returned) = (after, 0_u32);
    for place in &mut registrations {
        // The last number there is has nothing after it.
        let next = last.0.checked_add(1);
        let Some(listing) = next.and_then(|next| listings.next_from(next)) else {
            break;
        };
        last = listing.serial;
        *place = listing;
        returned = returned.saturating_add(1);
    }
    Ok(EnumerateOutput {
        header: Header::of::<EnumerateOutput>(),
        total: Count(listings.len()),
        last,
        returned: PieceIndex(returned),
        reserved: Reserved(0),
        registrations,
    })
}

/// Some pieces of a registration of any file.
pub(super) fn enumerate_pieces(
    file: &File,
    serial: Serial,
    first: PieceIndex,
) -> Result<QueryRegistrationOutput, Error> {
    require_administrator()?;
    let told = file.device().listings().look_at(serial.0, |registration| {
        pieces::describe(registration, first.0, false)
    });
    told.ok_or(Error::UnknownSerial)?
}

/// Sets the quotas, if the device is started; it can be stopped meanwhile.
pub(super) fn set_quota(file: &File, quotas: QuotaRequest) -> Result<Header, Error> {
    file.device().check()?;
    require_administrator()?;
    file.device().set_quotas(quotas)?;
    Ok(Header::of::<Header>())
}
