//! `sanctl list`: the registrations of all programs.

use sanproxy_abi::RegisterFlags;
use sanproxy_provider::{AddressKind, Kind, ListedRegistration};
use serde::Serialize;

use crate::amount;
use crate::failure::{Failure, for_administrators};
use crate::screen::{Align, Report, Screen, table};
use crate::system::{System, open};

#[derive(Serialize)]
struct All {
    registrations: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    serial: u64,
    process: u64,
    kind: &'static str,
    length: u64,
    pieces: u32,
    device_address: Option<String>,
    address_kind: &'static str,
    flags: Vec<&'static str>,
}

/// The flags of a registration by name.
const FLAGS: [(RegisterFlags, &str); 5] = [
    (RegisterFlags::MAP, "mapped"),
    (RegisterFlags::LOW_MEMORY, "low memory"),
    (RegisterFlags::ALLOW_PIECES, "pieces allowed"),
    (RegisterFlags::ALLOW_OTHER_NODE, "other node allowed"),
    (RegisterFlags::DUMP, "in crash dumps"),
];

impl From<ListedRegistration> for Line {
    fn from(listed: ListedRegistration) -> Self {
        let known = listed.address_kind != AddressKind::None;
        let flags = FLAGS
            .iter()
            .filter(|(flag, _)| listed.flags.contains(*flag));
        Self {
            serial: listed.serial,
            process: listed.process,
            kind: listed.kind.map_or("SecuredRange", Kind::name),
            length: listed.length,
            pieces: listed.pieces,
            device_address: known.then(|| amount::address(listed.device_address)),
            address_kind: listed.address_kind.name(),
            flags: flags.map(|(_, name)| *name).collect(),
        }
    }
}

impl Report for All {
    fn text(&self) -> String {
        if self.registrations.is_empty() {
            return "Nothing is registered.\n".to_owned();
        }
        let heading = [
            ("Number", Align::Right),
            ("Process", Align::Right),
            ("Length", Align::Right),
            ("Kind", Align::Left),
            ("Device address", Align::Right),
            ("Pieces", Align::Right),
            ("Flags", Align::Left),
        ];
        let row = |line: &Line| {
            vec![
                line.serial.to_string(),
                line.process.to_string(),
                amount::bytes(line.length),
                line.kind.to_owned(),
                line.device_address
                    .clone()
                    .unwrap_or_else(|| "-".to_owned()),
                line.pieces.to_string(),
                line.flags.join(", "),
            ]
        };
        table(
            &heading,
            &self.registrations.iter().map(row).collect::<Vec<_>>(),
        )
    }
}

/// `sanctl list`.
pub(crate) fn list<S: System>(system: &S, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let provider = open(system)?;
    let listed = provider
        .enumerate()
        .map_err(|error| for_administrators(error, "listing the registrations of all programs"))?;
    screen.report(&All {
        registrations: listed.into_iter().map(Line::from).collect(),
    })
}
