//! What administrators may see and set: all registrations of the device, and its quotas.

use sanproxy_abi::wire::{
    ByteCount, Count, EnumerateInput, EnumerateOutput, EnumeratePiecesInput,
    EnumeratedRegistration, Header, PieceIndex, QueryRegistrationOutput, Reserved, Serial,
    SetQuotaInput,
};
use sanproxy_abi::{
    AddressKind, ControlCode, Kind, REGISTRATIONS_PER_REPLY, RegisterFlags, SECURED_RANGE,
};

use crate::pieces;
use crate::reply::{Check, ask};
use crate::{Channel, Error, Piece};

/// A registration of any file of the device, as an administrator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedRegistration {
    /// Its number: counts up and is never given twice.
    pub serial: u64,
    /// The process that opened the file.
    pub process: u64,
    /// The kind of memory; `None` for a secured range, whose bytes count nowhere.
    pub kind: Option<Kind>,
    /// The flags that it was registered with.
    pub flags: RegisterFlags,
    /// How many bytes.
    pub length: u64,
    /// How many pieces.
    pub pieces: u32,
    /// Where the device finds the first piece.
    pub device_address: u64,
    /// What the address is.
    pub address_kind: AddressKind,
}

/// How much may be registered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// How many bytes one file can have registered.
    pub bytes_per_file: u64,
    /// How many registrations one file can have.
    pub count_per_file: u64,
    /// How many bytes all files together can have registered.
    pub bytes_per_device: u64,
    /// How many registrations all files together can have.
    pub count_per_device: u64,
}

/// Asks page by page until one is not full.
pub(crate) fn enumerate(channel: &impl Channel) -> Result<Vec<ListedRegistration>, Error> {
    let check = Check(ControlCode::Enumerate);
    let mut registrations = Vec::new();
    let mut after = Serial(0);
    loop {
        let input = EnumerateInput {
            header: Header::of::<EnumerateInput>(),
            after,
        };
        let reply: EnumerateOutput = ask(channel, ControlCode::Enumerate, &input)?;
        let returned = usize::try_from(reply.returned.0).unwrap_or(usize::MAX);
        let sound = returned <= REGISTRATIONS_PER_REPLY;
        check.that(sound, "returned", reply.returned.0)?;
        let (told, rest) = reply
            .registrations
            .split_at(returned.min(REGISTRATIONS_PER_REPLY));
        check.that(
            rest.iter().all(is_zero),
            "registrations beyond the last",
            0_u64,
        )?;
        for registration in told {
            // Numbers only go up: so this ends, whatever the driver answers.
            check.that(registration.serial > after, "serial", registration.serial.0)?;
            after = registration.serial;
            registrations.push(listed(check, registration)?);
        }
        check.that(reply.last == after, "last", reply.last.0)?;
        if returned < REGISTRATIONS_PER_REPLY {
            return Ok(registrations);
        }
    }
}

/// Asks for pieces of a listed registration until there are no more.
pub(crate) fn enumerate_pieces(channel: &impl Channel, serial: u64) -> Result<Vec<Piece>, Error> {
    let check = Check(ControlCode::EnumeratePieces);
    let ask_from = |first| {
        let input = EnumeratePiecesInput {
            header: Header::of::<EnumeratePiecesInput>(),
            serial: Serial(serial),
            first_piece: PieceIndex(first),
            reserved: Reserved(0),
        };
        ask::<_, QueryRegistrationOutput>(channel, ControlCode::EnumeratePieces, &input)
    };
    pieces::collect(check, u64::from(u32::MAX), ask_from, |piece| {
        check.that(piece.length.0 > 0, "piece length", piece.length.0)?;
        let user = piece.user_address.0;
        check.that(user == 0, "piece user_address", user)?;
        Ok(Piece {
            device_address: piece.device_address.0,
            length: piece.length.0,
            user_address: None,
        })
    })
}

fn is_zero(registration: &EnumeratedRegistration) -> bool {
    zerocopy::IntoBytes::as_bytes(registration)
        .iter()
        .all(|byte| *byte == 0)
}

fn listed(
    check: Check,
    registration: &EnumeratedRegistration,
) -> Result<ListedRegistration, Error> {
    let (kind, flags) = (registration.kind.0, registration.flags.0);
    let address_kind = registration.address_kind.0;
    Ok(ListedRegistration {
        serial: registration.serial.0,
        process: registration.process.0,
        kind: match kind {
            SECURED_RANGE => None,
            kind => Some(check.some(Kind::from_value(kind), "kind", kind)?),
        },
        flags: check.some(RegisterFlags::from_bits(flags), "flags", flags)?,
        length: registration.length.0,
        pieces: registration.pieces.0,
        device_address: registration.device_address.0,
        address_kind: check.some(
            AddressKind::from_value(address_kind),
            "address_kind",
            address_kind,
        )?,
    })
}

pub(crate) fn set_quotas(channel: &impl Channel, quotas: &Quotas) -> Result<(), Error> {
    let input = SetQuotaInput {
        header: Header::of::<SetQuotaInput>(),
        bytes_per_file: ByteCount(quotas.bytes_per_file),
        count_per_file: Count(quotas.count_per_file),
        bytes_per_device: ByteCount(quotas.bytes_per_device),
        count_per_device: Count(quotas.count_per_device),
    };
    let _: Header = ask(channel, ControlCode::SetQuota, &input)?;
    Ok(())
}
