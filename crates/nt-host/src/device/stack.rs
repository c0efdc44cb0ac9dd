//! Attaching devices above one another and detaching them again.

use std::sync::Arc;

use crate::access::{read, write};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::layout::device;
use crate::status::NtStatus;
use crate::thread::{DISPATCH, PASSIVE};

/// Attaches `source` above the top of the stack of `target`; the device it now lies on.
fn attach(host: &Arc<Host>, routine: &'static str, source: u64, target: u64) -> Option<u64> {
    if host.faults().should_fail(routine) {
        return None;
    }
    for (what, address) in [("source", source), ("target", target)] {
        if !host.devices.contains(address) {
            let message = format!("the {what} {address:#x} is no device object");
            host.violation("V186", "C9/0x04", message);
            return None;
        }
    }
    let lower = host.devices.top(target);
    let size: i8 = read(lower + device::STACK_SIZE);
    let alignment: u32 = read(lower + device::ALIGNMENT);
    write(source + device::STACK_SIZE, size.saturating_add(1));
    write(source + device::ALIGNMENT, alignment);
    write(lower + device::ATTACHED_DEVICE, source);
    host.devices
        .with(lower, |record| record.upper = Some(source));
    host.devices
        .with(source, |record| record.lower = Some(lower));
    host.nodes.attached(host.devices.bottom(lower), source);
    Some(lower)
}

/// Takes away what is attached to `lower`; that device, if there was one.
pub(crate) fn detach(host: &Host, lower: u64) -> Option<u64> {
    let upper = host
        .devices
        .with(lower, |record| record.upper.take())
        .flatten()?;
    host.devices.with(upper, |record| record.lower = None);
    write(lower + device::ATTACHED_DEVICE, 0_u64);
    Some(upper)
}

extern "win64" fn io_attach_device_to_device_stack(source: u64, target: u64) -> u64 {
    let host = current();
    attach(&host, "IoAttachDeviceToDeviceStack", source, target).unwrap_or(0)
}

extern "win64" fn io_attach_device_to_device_stack_safe(
    source: u64,
    target: u64,
    attached_to: u64,
) -> u32 {
    let host = current();
    let before: u64 = read(attached_to);
    let extension: u64 = read(source + device::DEVICE_EXTENSION);
    if before != 0 || attached_to < extension {
        let message = "AttachedToDeviceObject must be NULL and lie in the device extension";
        host.violation("V273", "C4/AddDevice", message);
    }
    match attach(&host, "IoAttachDeviceToDeviceStackSafe", source, target) {
        Some(lower) => {
            write(attached_to, lower);
            NtStatus::SUCCESS.0
        }
        None => NtStatus::NO_SUCH_DEVICE.0,
    }
}

extern "win64" fn io_detach_device(lower: u64) {
    let host = current();
    match detach(&host, lower) {
        Some(upper) => super::check::detached(&host, host.devices.bottom(lower), upper),
        None => host.violation(
            "V199",
            "C9/0x202",
            format!("nothing is attached to {lower:#x} (the argument is the lower device)"),
        ),
    }
}

extern "win64" fn io_get_attached_device_reference(device: u64) -> u64 {
    let host = current();
    let top = host.devices.top(device);
    host.objects.reference(top);
    top
}

exports! {
    "IoAttachDeviceToDeviceStack" => io_attach_device_to_device_stack, IrqlRule::AtMost(DISPATCH), "V059", "C4/0x2000A";
    "IoAttachDeviceToDeviceStackSafe" => io_attach_device_to_device_stack_safe, IrqlRule::AtMost(DISPATCH), "V059", "C4/0x2000A";
    "IoDetachDevice" => io_detach_device, IrqlRule::Exactly(PASSIVE), "V061", "C4/0x2000C";
    "IoGetAttachedDeviceReference" => io_get_attached_device_reference, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
}
