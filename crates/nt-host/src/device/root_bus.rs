//! The root bus driver: makes PDOs and answers, at the bottom of each stack, as the system's own does.

use std::sync::Arc;

use super::object::{self, NewDevice};
use super::pnp;
use crate::access::{read, write};
use crate::call::Stopped;
use crate::guarded::GuardedBlock;
use crate::host::Host;
use crate::irp::{Irp, check, complete};
use crate::layout::{device, irp, major, stack};
use crate::lock;
use crate::status::NtStatus;

/// `FILE_DEVICE_CONTROLLER`, the type of root-enumerated PDOs.
const DEVICE_TYPE: u32 = 4;

/// A new device on the bus.
pub(crate) fn create_pdo(host: &Host) -> Result<u64, NtStatus> {
    let new = NewDevice {
        driver: host.drivers.bus_driver(),
        extension: 0,
        name: None,
        device_type: DEVICE_TYPE,
        characteristics: 0,
        flags: device::BUS_ENUMERATED | device::HAS_NAME | host.options.pdo_flags,
        is_pdo: true,
    };
    object::create(host, new)
}

/// Structures that a request's parameters point to; kept until it is complete.
pub(crate) fn parameters_of(
    host: &Host,
    function: u8,
    minor: u8,
    parameters: u64,
) -> Option<GuardedBlock> {
    if function != major::PNP || minor != 0x09 {
        return None;
    }
    let block = host.object("device capabilities", 64).ok()?;
    write(block.address(), 64_u16);
    write(block.address() + 2, 1_u16);
    write(block.address() + 8, u32::MAX);
    write(block.address() + 12, u32::MAX);
    write(parameters, block.address());
    Some(block)
}

/// The bus driver's dispatch routine.
pub(crate) fn dispatch(
    host: &Arc<Host>,
    _device: u64,
    request: &Arc<Irp>,
    location: u64,
) -> Result<u32, Stopped> {
    let status = NtStatus(read(request.address + irp::STATUS));
    let answer = match request.major {
        major::PNP => pnp_answer(host, request, status),
        major::POWER => power_answer(host, request, status),
        major::SYSTEM_CONTROL => {
            unchanged(host, request, status);
            None
        }
        _ => Some(NtStatus::INVALID_DEVICE_REQUEST),
    };
    if let Some(answer) = answer {
        write(request.address + irp::STATUS, answer.0);
    }
    let result: u32 = read(request.address + irp::STATUS);
    if host.options.force_pending {
        let control: u8 = read(location + stack::CONTROL);
        write(location + stack::CONTROL, control | stack::PENDING_RETURNED);
        complete_later(host, request);
        return Ok(NtStatus::PENDING.0);
    }
    check_cancel_routine(host, request);
    complete::complete(host, request)?;
    Ok(result)
}

/// Nobody above may make a request cancellable that lower drivers have.
fn check_cancel_routine(host: &Host, request: &Irp) {
    if read::<u64>(request.address + irp::CANCEL_ROUTINE) != 0 {
        let name = check::name_of(request.major, request.minor);
        let message = format!("{name} got a cancel routine while the bus driver has it");
        host.violation("V228", "C9/0x229", message);
    }
}

fn complete_later(host: &Arc<Host>, request: &Arc<Irp>) {
    let (host, request) = (Arc::clone(host), Arc::clone(request));
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(1));
        // A driver above may have completed it meanwhile, against the rules: the report has that.
        let live = host.irps.at(request.address);
        if !live.is_some_and(|live| Arc::ptr_eq(&live, &request)) {
            return;
        }
        check_cancel_routine(&host, &request);
        // A stopped driver is in the report already.
        drop(complete::complete(&host, &request));
    });
}

/// A request that nobody above knows must arrive as it was sent.
fn unchanged(host: &Host, request: &Irp, status: NtStatus) {
    let name = check::name_of(request.major, request.minor);
    if status != request.initial_status {
        let message =
            format!("{name}: status changed to {status} by a driver that does not know it");
        host.violation("V211", "C9/0x213", message);
    }
    let information: u64 = read(request.address + irp::INFORMATION);
    if information != 0 {
        let message = format!("{name}: Information changed to {information:#x}");
        host.violation("V212", "C9/0x214", message);
    }
}

fn pnp_answer(host: &Host, request: &Irp, status: NtStatus) -> Option<NtStatus> {
    if !lock(&request.state)
        .levels
        .iter()
        .any(|level| !host.devices.is_pdo(level.device))
    {
        // No function driver is in the stack.
        return Some(NtStatus::SUCCESS);
    }
    match request.minor {
        pnp::START | pnp::CANCEL_REMOVE | pnp::CANCEL_STOP => Some(NtStatus::SUCCESS),
        pnp::QUERY_REMOVE | pnp::REMOVE | pnp::STOP | pnp::QUERY_STOP | pnp::SURPRISE => {
            if status == NtStatus::NOT_SUPPORTED {
                let name = pnp::name_of(request.minor);
                let message = format!("{name} passed down without setting its status");
                host.violation("V215", "C9/0x217", message);
            }
            Some(NtStatus::SUCCESS)
        }
        0x09 | 0x16 => Some(NtStatus::SUCCESS),
        0x07 | 0x08 | 0x0A..=0x0D | 0x13..=0x15 => None,
        _ => {
            unchanged(host, request, status);
            None
        }
    }
}

fn power_answer(host: &Host, request: &Irp, status: NtStatus) -> Option<NtStatus> {
    match request.minor {
        2 | 3 => Some(NtStatus::SUCCESS),
        _ => {
            unchanged(host, request, status);
            None
        }
    }
}
