//! `IoCallDriver`: a request moves one device down, and what its dispatch routine returns is judged.

use std::sync::Arc;

use super::{Irp, Level, check, own};
use crate::access::{read, write};
use crate::call::{Entry, Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::Host;
use crate::layout::{driver, irp, major, stack};
use crate::status::NtStatus;
use crate::thread::DISPATCH;
use crate::{device, lock};

/// What handles a request at a device.
enum Handler {
    /// The bus driver, part of the host.
    Bus,
    /// Nobody: the driver has set no dispatch routine.
    Default,
    /// A dispatch routine.
    Routine(u64),
}

/// Sends the request to `device` and returns what its dispatch routine returns.
pub(crate) fn send(host: &Arc<Host>, device: u64, request: &Arc<Irp>) -> Result<u32, Stopped> {
    let location: i8 = read(request.address + irp::CURRENT_LOCATION);
    let location = location - 1;
    if location <= 0 {
        let message = format!("IRP {:#x} has no stack location left", request.address);
        host.violation("V205", "C9/0x208", message);
        return Err(host.die("V205: no stack locations left"));
    }
    write(request.address + irp::CURRENT_LOCATION, location);
    let address = request.location(location);
    write(request.address + irp::CURRENT_STACK_LOCATION, address);
    write(address + stack::DEVICE_OBJECT, device);
    let index = push_level(request, device, location);
    host.nodes.request_reached(host, device, request);
    let status = dispatch(host, device, request, address)?;
    check::dispatch_returned(host, request, index, status);
    lock(&request.state).levels[index].returned = true;
    Ok(status)
}

fn push_level(request: &Irp, device: u64, location: i8) -> usize {
    let mut state = lock(&request.state);
    state.reclaimed = false;
    state.levels.push(Level {
        device,
        location,
        marked: false,
        completed: None,
        passed: None,
        lower_status: None,
        returned: false,
    });
    state.levels.len() - 1
}

fn dispatch(
    host: &Arc<Host>,
    device: u64,
    request: &Arc<Irp>,
    location: u64,
) -> Result<u32, Stopped> {
    let function: u8 = read(location + stack::MAJOR);
    match handler(host, device, function) {
        Handler::Bus => device::root_bus::dispatch(host, device, request, location),
        Handler::Default => {
            write(
                request.address + irp::STATUS,
                NtStatus::INVALID_DEVICE_REQUEST.0,
            );
            write(request.address + irp::INFORMATION, 0_u64);
            super::complete::complete(host, request)?;
            Ok(NtStatus::INVALID_DEVICE_REQUEST.0)
        }
        Handler::Routine(routine) => {
            let minor: u8 = read(location + stack::MINOR);
            let context = format!("dispatch of {}", check::name_of(function, minor));
            let arguments = [device, request.address];
            let value = host.call_driver(Entry::Dispatch, &context, routine, &arguments)?;
            host.remove_locks
                .dispatch_returned(host, request.address, value as u32);
            Ok(value as u32)
        }
    }
}

fn handler(host: &Host, device: u64, function: u8) -> Handler {
    let Some((owner, is_pdo)) = host
        .devices
        .with(device, |record| (record.driver, record.is_pdo))
    else {
        return Handler::Default;
    };
    if is_pdo {
        return Handler::Bus;
    }
    let slot = owner + driver::MAJOR_FUNCTION + 8 * u64::from(function);
    let routine: u64 = if u64::from(function) < major::COUNT {
        read(slot)
    } else {
        0
    };
    if routine == 0 || routine == crate::driver::default_stub() {
        Handler::Default
    } else {
        Handler::Routine(routine)
    }
}

extern "win64" fn iof_call_driver(device: u64, address: u64) -> u32 {
    exported(|host| call_from_driver(host, device, address))
}

fn call_from_driver(host: &Arc<Host>, device: u64, address: u64) -> Result<u32, Stopped> {
    let Some(request) = host.irps.at(address) else {
        let (rule, code) = if host.irps.was_completed(address) {
            ("V197", "44")
        } else {
            ("V185", "C9/0x03")
        };
        return Err(fatal(
            host,
            rule,
            code,
            format!("{address:#x} is no live IRP"),
        ));
    };
    let kind: u16 = read(address + irp::TYPE);
    if kind != irp::TYPE_IRP {
        let message = format!("{address:#x} has type {kind}");
        return Err(fatal(host, "V185", "C9/0x03", message));
    }
    if device == 0 {
        return Err(fatal(
            host,
            "V201",
            "C9/0x204",
            "the device object is NULL".to_owned(),
        ));
    }
    if !host.devices.contains(device) {
        let message = format!("{device:#x} is no live device object");
        return Err(fatal(host, "V186", "C9/0x04", message));
    }
    own::sending(host, &request);
    let sender = check::forwarding(host, &request, device);
    let status = send(host, device, &request)?;
    if let Some(index) = sender {
        lock(&request.state).levels[index].lower_status = Some(status);
    }
    Ok(status)
}

fn fatal(host: &Host, rule: &'static str, code: &'static str, message: String) -> Stopped {
    host.violation(rule, code, message.clone());
    host.die(format!("{rule} ({code}): {message}"))
}

extern "win64" fn po_start_next_power_irp(_irp: u64) {}

exports! {
    "IofCallDriver" => iof_call_driver, IrqlRule::AtMost(DISPATCH), "V195", "C9/0x10";
    "PoCallDriver" => iof_call_driver, IrqlRule::AtMost(DISPATCH), "V195", "C9/0x10";
    "PoStartNextPowerIrp" => po_start_next_power_irp, IrqlRule::AtMost(DISPATCH), "V064", "C4/0x20011";
}
