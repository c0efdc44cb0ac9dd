//! What the verifier says about `AddDevice`, about `PnP` requests, and about the order of a removal.

use std::sync::Arc;

use super::node::{Event, Node};
use super::pnp;
use crate::access::read;
use crate::host::Host;
use crate::irp::Irp;
use crate::layout::device;
use crate::lock;
use crate::status::NtStatus;

/// Judges the device stack after `AddDevice`.
pub(crate) fn after_add_device(
    host: &Host,
    pdo: u64,
    driver: u64,
    before: &[u64],
    status: NtStatus,
) {
    let after = host.devices.of_driver(driver);
    let new: Vec<u64> = after
        .into_iter()
        .filter(|address| !before.contains(address))
        .collect();
    if !status.is_success() {
        for address in new {
            let message = format!("AddDevice failed with {status} and left device {address:#x}");
            host.violation("V273", "AddDevice", message);
        }
        return;
    }
    let attached = host.devices.with(pdo, |record| record.upper).flatten();
    if attached.is_none() && !new.is_empty() {
        let message = "AddDevice has made a device and attached nothing to the PDO";
        host.violation("V273", "AddDevice", message);
    }
    for address in new {
        if let Some(lower) = host.devices.with(address, |record| record.lower).flatten() {
            check_flags(host, address, lower);
        }
    }
}

fn check_flags(host: &Host, upper: u64, lower: u64) {
    let flags: u32 = read(upper + device::FLAGS);
    let below: u32 = read(lower + device::FLAGS);
    if flags & device::INITIALIZING != 0 {
        let message = "DO_DEVICE_INITIALIZING is still set after AddDevice";
        host.violation("V241", "C9/0x243", message);
    }
    if below & device::POWER_PAGABLE != 0 && flags & device::POWER_PAGABLE == 0 {
        let message = "DO_POWER_PAGABLE of the lower device was not inherited";
        host.violation("V238", "C9/0x23F", message);
    }
    if flags & device::POWER_PAGABLE != 0 && flags & device::POWER_INRUSH != 0 {
        let message = "DO_POWER_PAGABLE and DO_POWER_INRUSH exclude each other";
        host.violation("V238", "C9/0x23F", message);
    }
    let io = device::BUFFERED_IO | device::DIRECT_IO;
    if below & io & !flags != 0 {
        let message = "DO_BUFFERED_IO or DO_DIRECT_IO of the lower device was dropped";
        host.violation("V242", "C9/0x244", message);
    }
    if flags & io == io {
        let message = "DO_BUFFERED_IO and DO_DIRECT_IO are both set";
        host.violation("V243", "C9/0x245", message);
    }
}

/// `IoDetachDevice` was called for a device above `pdo`.
pub(crate) fn detached(host: &Host, pdo: u64, _upper: u64) {
    let Some(node) = host.nodes.at(pdo) else {
        return;
    };
    let current = lock(&node.state).current;
    if current == Some(pnp::SURPRISE) {
        let message = "the device was detached in IRP_MN_SURPRISE_REMOVAL";
        host.violation("V240", "C9/0x241", message);
        host.violation("V275", "PnpSurpriseRemove", message);
    }
    if current == Some(pnp::REMOVE) && !reached_bus(&node, pnp::REMOVE) {
        let message = "detached before IRP_MN_REMOVE_DEVICE was passed down";
        host.violation("V274", "C4/0x43006", message);
    }
    host.nodes.note(pdo, Event::Detached);
}

fn reached_bus(node: &Node, minor: u8) -> bool {
    lock(&node.state).events.contains(&Event::ReachedBus(minor))
}

/// `IoDeleteDevice` was called for a device attached above `lower`.
pub(crate) fn deleted(host: &Host, lower: u64, upper: u64) {
    let pdo = host.devices.bottom(lower);
    let Some(node) = host.nodes.at(pdo) else {
        return;
    };
    deleted_in(host, &node, upper);
}

/// `IoDeleteDevice` was called for a device that is attached to nothing.
pub(crate) fn deleted_detached(host: &Host, address: u64) {
    let nodes = host.nodes.all();
    let owner = nodes
        .iter()
        .find(|node| lock(&node.state).attached.contains(&address));
    if let Some(node) = owner {
        deleted_in(host, node, address);
    }
}

fn deleted_in(host: &Host, node: &Node, _address: u64) {
    let current = lock(&node.state).current;
    if current == Some(pnp::SURPRISE) {
        let message = "the device was deleted in IRP_MN_SURPRISE_REMOVAL";
        host.violation("V240", "C9/0x242", message);
        host.violation("V275", "PnpSurpriseRemove", message);
    }
    if current == Some(pnp::REMOVE) && !reached_bus(node, pnp::REMOVE) {
        let message = "deleted before IRP_MN_REMOVE_DEVICE was passed down";
        host.violation("V274", "C4/0x43006", message);
    }
    host.nodes.note(node.pdo, Event::Deleted);
}

/// A function driver completes a `PnP` request itself.
pub(crate) fn completed(host: &Host, request: &Irp, status: NtStatus) {
    let passed = {
        let state = lock(&request.state);
        state.levels.iter().any(|level| level.passed.is_some())
    };
    let name = pnp::name_of(request.minor);
    if !passed {
        let what = if status.is_success() {
            "completed with success instead of passed down"
        } else if status == NtStatus::NOT_SUPPORTED {
            "completed with STATUS_NOT_SUPPORTED instead of passed down"
        } else {
            ""
        };
        if !what.is_empty() {
            host.violation("V229", "C9/0x22E", format!("{name} {what}"));
            host.violation("V276", "PnpIrpCompletion", format!("{name} {what}"));
        }
    } else if status == NtStatus::NOT_SUPPORTED && answered_otherwise(host, request) {
        host.violation(
            "V214",
            "C9/0x216",
            format!("{name} turned into STATUS_NOT_SUPPORTED"),
        );
    }
}

/// Whether the bus driver has given the request another status than `NOT_SUPPORTED`.
fn answered_otherwise(host: &Host, request: &Irp) -> bool {
    let levels = lock(&request.state).levels.clone();
    levels.iter().any(|level| {
        let answer = level.completed.map(NtStatus);
        host.devices.is_pdo(level.device)
            && answer.is_some_and(|status| status != NtStatus::NOT_SUPPORTED)
    })
}

/// A function driver completes a power request itself.
pub(crate) fn power_completed(host: &Host, request: &Irp, status: NtStatus) {
    let state = lock(&request.state);
    let passed = state.levels.iter().any(|level| level.passed.is_some());
    drop(state);
    if passed {
        return;
    }
    let message = format!("minor {:#x} completed with {status}", request.minor);
    if status.is_success() || status == NtStatus::NOT_SUPPORTED {
        host.violation("V230", "C9/0x231", message);
    } else if request.minor == 2 {
        host.violation("V291", "PowerDownFail", message);
    }
}

/// Requests that a driver may not fail.
const UNFAILABLE: &[u8] = &[
    pnp::REMOVE,
    pnp::CANCEL_REMOVE,
    pnp::STOP,
    pnp::CANCEL_STOP,
    pnp::SURPRISE,
];

/// Judges a `PnP` request that the whole stack has handled.
pub(crate) fn after_request(
    host: &Arc<Host>,
    node: &Node,
    minor: u8,
    status: NtStatus,
    _information: u64,
) {
    let name = pnp::name_of(minor);
    if UNFAILABLE.contains(&minor) && !status.is_success() {
        host.violation("V245", "C9/0x247", format!("{name} failed with {status}"));
        if minor == pnp::REMOVE {
            host.violation("V249", "C9/0x306", format!("{name} failed with {status}"));
        }
    }
    if minor == pnp::START && status.is_success() && !reached_bus(node, minor) {
        let message = "IRP_MN_START_DEVICE succeeded without the lower drivers";
        host.violation("V286", "StartDeviceWait", message);
    }
    if minor == pnp::REMOVE {
        after_remove(host, node);
    }
}

fn after_remove(host: &Arc<Host>, node: &Node) {
    if let Some(upper) = host.devices.with(node.pdo, |record| record.upper).flatten() {
        let message = format!("{upper:#x} is still attached after IRP_MN_REMOVE_DEVICE");
        host.violation("V219", "C9/0x21D", message);
        super::stack::detach(host, node.pdo);
    }
    let (attached, enabled) = {
        let mut state = lock(&node.state);
        let enabled: Vec<String> = state
            .interfaces
            .iter_mut()
            .filter(|own| own.enabled)
            .map(|own| {
                own.enabled = false;
                own.link.clone()
            })
            .collect();
        (core::mem::take(&mut state.attached), enabled)
    };
    for device in attached {
        if host.devices.contains(device) {
            let message = format!("{device:#x} is not deleted after IRP_MN_REMOVE_DEVICE");
            host.violation("V220", "C9/0x21E", message);
        }
    }
    for link in enabled {
        host.violation(
            "V297",
            "interface",
            format!("{link} is still enabled after removal"),
        );
    }
}
