//! What the I/O manager's verifier says about forwarding a request and about a dispatch routine's answer.

use std::sync::Arc;

use super::{Irp, Level};
use crate::access::read;
use crate::device::pnp;
use crate::host::Host;
use crate::layout::{irp, major, stack};
use crate::lock;
use crate::status::NtStatus;

/// The documented name of a request.
pub(crate) fn name_of(function: u8, minor: u8) -> String {
    let name = match function {
        major::CREATE => "IRP_MJ_CREATE",
        major::CLOSE => "IRP_MJ_CLOSE",
        major::READ => "IRP_MJ_READ",
        major::WRITE => "IRP_MJ_WRITE",
        major::DEVICE_CONTROL => "IRP_MJ_DEVICE_CONTROL",
        major::INTERNAL_DEVICE_CONTROL => "IRP_MJ_INTERNAL_DEVICE_CONTROL",
        major::CLEANUP => "IRP_MJ_CLEANUP",
        major::POWER => "IRP_MJ_POWER",
        major::SYSTEM_CONTROL => "IRP_MJ_SYSTEM_CONTROL",
        major::PNP => return pnp::name_of(minor),
        _ => return format!("major function {function:#x}"),
    };
    name.to_owned()
}

/// Judges a driver's `IoCallDriver`; the index of the level that forwards, if one owns the request.
pub(crate) fn forwarding(host: &Arc<Host>, request: &Arc<Irp>, target: u64) -> Option<usize> {
    let cancel: u64 = read(request.address + irp::CANCEL_ROUTINE);
    if cancel != 0 {
        let message = "forwarded with its cancel routine set";
        host.violation("V200", "C9/0x203", message);
    }
    let location: i8 = read(request.address + irp::CURRENT_LOCATION);
    let status = NtStatus(read(request.address + irp::STATUS));
    let (index, level, above) = {
        let state = lock(&request.state);
        let index = owner_index(&state.levels)?;
        (index, state.levels[index].clone(), state.levels.len())
    };
    let skipped = location == level.location + 1;
    owner_checks(host, request, &level, target, status);
    if !skipped {
        copied_checks(host, request, &level, location);
    } else if read::<u8>(request.location(level.location) + stack::CONTROL)
        & stack::PENDING_RETURNED
        != 0
    {
        host.violation(
            "V237",
            "C9/0x23E",
            "marked pending and passed on without its own location",
        );
    }
    host.remove_locks
        .forwarding(host, level.device, request.address);
    let lower = if skipped {
        level.location
    } else {
        location - 1
    };
    let mut state = lock(&request.state);
    if above == state.levels.len() {
        state.levels[index].passed = Some(lower);
    }
    Some(index)
}

/// The innermost level whose part is not over.
fn owner_index(levels: &[Level]) -> Option<usize> {
    levels.iter().rposition(|level| level.completed.is_none())
}

fn owner_checks(host: &Host, request: &Irp, level: &Level, target: u64, status: NtStatus) {
    if level.passed.is_some() && !lock(&request.state).reclaimed {
        let message = "forwarded again while a lower driver has it";
        host.violation("V202", "C9/0x205", message);
    }
    let below = host
        .devices
        .with(level.device, |record| record.lower)
        .flatten();
    if below.is_some_and(|below| below != target) {
        let message = format!("sent to {target:#x}, attached to {:#x}", below.unwrap_or(0));
        host.violation("V209", "C9/0x211", message.clone());
        host.violation("V277", "PnpSameDeviceObject", message);
    }
    let may_not_fail = matches!(request.major, major::PNP | major::POWER);
    if may_not_fail && status.is_error() && status != request.initial_status {
        let name = name_of(request.major, request.minor);
        host.violation(
            "V213",
            "C9/0x215",
            format!("{name} passed down with {status}"),
        );
    }
}

fn copied_checks(host: &Host, request: &Irp, level: &Level, location: i8) {
    let next = request.location(location - 1);
    let control: u8 = read(next + stack::CONTROL);
    let routine: u64 = read(next + stack::COMPLETION_ROUTINE);
    let own: u8 = read(request.location(level.location) + stack::CONTROL);
    if control & stack::PENDING_RETURNED != 0 {
        let message = format!("the next location's Control is {control:#x}");
        host.violation("V203", "C9/0x206", message);
    }
    if control & 0xE0 == 0 && own & stack::PENDING_RETURNED == 0 && !request_is_owned(request) {
        let message = "the location was copied but no completion routine set: skip it instead";
        host.violation("V218", "C9/0x21C", message);
    }
    let upper: u64 = read(request.location(level.location) + stack::COMPLETION_ROUTINE);
    if routine != 0
        && routine == upper
        && control & 0xE0 != 0
        && level.location < request.stack_count
    {
        let message = "the upper driver's completion routine was copied along";
        host.violation("V204", "C9/0x207", message);
    }
    host.drivers
        .check_completion_routine(host, routine, control);
}

fn request_is_owned(request: &Irp) -> bool {
    lock(&request.state).driver_owned
}

/// Judges what a dispatch routine returned.
pub(crate) fn dispatch_returned(host: &Host, request: &Arc<Irp>, index: usize, returned: u32) {
    if host.is_dead() {
        return;
    }
    let (level, lower_marked) = {
        let state = lock(&request.state);
        let mut level = state.levels[index].clone();
        if level.completed.is_none() && state.block.is_some() {
            let control: u8 = read(request.location(level.location) + stack::CONTROL);
            level.marked |= control & stack::PENDING_RETURNED != 0;
        }
        let lower_marked = level.passed == Some(level.location);
        (level, lower_marked)
    };
    if host.devices.is_pdo(level.device) {
        return;
    }
    let name = name_of(request.major, request.minor);
    let returned = NtStatus(returned);
    if let Some(lower) = level.lower_status.filter(|_| lower_marked) {
        if returned.0 != lower {
            let message = format!(
                "{name}: returned {returned}, the lower driver {}",
                NtStatus(lower)
            );
            host.violation("V280", "LowerDriverReturn", message);
        }
        return;
    }
    match level.completed {
        Some(status) => completed_level(host, &name, &level, returned, NtStatus(status)),
        None => open_level(host, &name, &level, returned),
    }
}

fn completed_level(
    host: &Host,
    name: &str,
    level: &Level,
    returned: NtStatus,
    completed: NtStatus,
) {
    if returned == NtStatus::PENDING {
        if !level.marked {
            let message = format!("{name}: STATUS_PENDING returned, not marked pending");
            host.violation("V236", "C9/0x23D", message);
        }
    } else if level.marked {
        let message = format!("{name}: marked pending, {returned} returned");
        host.violation("V237", "C9/0x23E", message);
    } else if returned != completed {
        let message = format!("{name}: completed with {completed}, returned {returned}");
        host.violation("V224", "C9/0x224", message);
    }
}

fn open_level(host: &Host, name: &str, level: &Level, returned: NtStatus) {
    if returned == NtStatus::PENDING {
        let forwarded = level.passed.is_some() && level.lower_status == Some(NtStatus::PENDING.0);
        if !level.marked && !forwarded {
            let message = format!("{name}: STATUS_PENDING returned, not marked pending");
            host.violation("V236", "C9/0x23D", message);
        }
    } else if level.marked {
        let message = format!("{name}: marked pending, {returned} returned");
        host.violation("V237", "C9/0x23E", message);
    } else if level.passed.is_none() {
        let message = format!("{name}: neither completed, passed down nor pended; {returned}");
        host.violation("V225", "C9/0x226", message);
    } else if level.lower_status.is_some_and(|lower| lower != returned.0) {
        let message = format!("{name}: returned {returned} for a request still below");
        host.violation("V280", "LowerDriverReturn", message);
    }
}
