//! What the verifier says about requests that a driver makes itself, when it sends or completes them.

use super::Irp;
use crate::USER_LIMIT;
use crate::access::read;
use crate::device::pnp;
use crate::host::Host;
use crate::layout::{irp, major, stack};
use crate::lock;
use crate::status::NtStatus;

const QUERY_CAPABILITIES: u8 = 0x09;

/// The device state machine is the plug-and-play manager's: nobody else sends these.
const RESERVED: &[u8] = &[
    pnp::START,
    pnp::QUERY_REMOVE,
    pnp::REMOVE,
    pnp::CANCEL_REMOVE,
    pnp::STOP,
    pnp::QUERY_STOP,
    pnp::CANCEL_STOP,
    pnp::SURPRISE,
];

/// Whether the driver has made the request, and nobody has had it yet.
fn is_unsent(request: &Irp) -> bool {
    let state = lock(&request.state);
    state.driver_owned && state.levels.is_empty()
}

/// A driver calls another driver with this request.
pub(crate) fn sending(host: &Host, request: &Irp) {
    let location: i8 = read(request.address + irp::CURRENT_LOCATION);
    if location < 2 || !is_unsent(request) {
        return;
    }
    let next = request.location(location - 1);
    let (function, minor): (u8, u8) = (read(next + stack::MAJOR), read(next + stack::MINOR));
    let name = super::check::name_of(function, minor);
    let status = NtStatus(read(request.address + irp::STATUS));
    let needs_answer = matches!(function, major::PNP | major::POWER | major::SYSTEM_CONTROL);
    if needs_answer && status != NtStatus::NOT_SUPPORTED {
        let message = format!("{name} sent with {status}, not STATUS_NOT_SUPPORTED");
        host.violation("V208", "C9/0x20E", message);
    }
    if function == major::PNP && RESERVED.contains(&minor) {
        host.violation(
            "V232",
            "C9/0x237",
            format!("{name} is sent by the system alone"),
        );
    }
    if function == major::PNP && minor == QUERY_CAPABILITIES {
        capabilities(host, read(next + stack::PARAMETERS));
    }
    addresses(host, request, next, function, &name);
}

/// `DEVICE_CAPABILITIES`: Size +0, Version +2, Address +8, `UINumber` +12.
fn capabilities(host: &Host, structure: u64) {
    let (size, version): (u16, u16) = (read(structure), read(structure + 2));
    let (address, number): (u32, u32) = (read(structure + 8), read(structure + 12));
    if (size, version, address, number) != (64, 1, u32::MAX, u32::MAX) {
        let message = format!(
            "capabilities asked for with Size {size}, Version {version}, Address {address:#x}, UINumber {number:#x}"
        );
        host.violation("V231", "C9/0x233", message);
    }
}

/// What comes from the kernel is not probed: it may hold no address of a program.
fn addresses(host: &Host, request: &Irp, next: u64, function: u8, name: &str) {
    if read::<u8>(request.address + irp::REQUESTOR_MODE) != 0 {
        return;
    }
    let type_3 = if function == major::DEVICE_CONTROL {
        read(next + stack::PARAMETERS + 24)
    } else {
        0
    };
    let fields = [
        ("UserBuffer", read(request.address + irp::USER_BUFFER)),
        ("SystemBuffer", read(request.address + irp::SYSTEM_BUFFER)),
        ("Type3InputBuffer", type_3),
    ];
    for (field, address) in fields {
        if address != 0 && address < USER_LIMIT {
            let message = format!("{name} of mode KernelMode has {field} {address:#x}");
            host.violation("V259", "C4/0xE2", message);
        }
    }
}

/// A driver completes this request.
pub(crate) fn completing(host: &Host, request: &Irp) {
    if is_unsent(request) {
        let message = format!(
            "{:#x} completed by who made it, never sent",
            request.address
        );
        host.violation("V233", "C9/0x239", message);
    }
}
