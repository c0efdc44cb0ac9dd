//! Device interfaces: registered in `AddDevice`, enabled while the device runs.

use core::fmt;
use std::sync::Arc;

use super::node::{Event, Node, Phase};
use super::pnp;
use crate::access::{copy_in, read, read_unicode_string, write};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::judge::current_stack;
use crate::lock;
use crate::process::check_system_thread;
use crate::status::NtStatus;
use crate::thread::PASSIVE;

/// A GUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Guid {
    /// First group.
    pub data1: u32,
    /// Second group.
    pub data2: u16,
    /// Third group.
    pub data3: u16,
    /// The rest.
    pub data4: [u8; 8],
}

impl Guid {
    /// From its digits read as one number, as they are written.
    #[must_use]
    pub const fn from_u128(digits: u128) -> Self {
        Self {
            data1: (digits >> 96) as u32,
            data2: (digits >> 80) as u16,
            data3: (digits >> 64) as u16,
            data4: (digits as u64).to_be_bytes(),
        }
    }

    /// As it lies in memory.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.data1.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.data2.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.data3.to_le_bytes());
        bytes[8..].copy_from_slice(&self.data4);
        bytes
    }

    /// From the driver's memory.
    pub(crate) fn at(address: u64) -> Self {
        Self {
            data1: read(address),
            data2: read(address + 4),
            data3: read(address + 6),
            data4: read(address + 8),
        }
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i] = self.data4;
        let (one, two, three) = (self.data1, self.data2, self.data3);
        write!(f, "{{{one:08x}-{two:04x}-{three:04x}-{a:02x}{b:02x}-")?;
        write!(f, "{c:02x}{d:02x}{e:02x}{g:02x}{h:02x}{i:02x}}}")
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An interface of a device.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    /// Its class.
    pub(crate) guid: Guid,
    /// Its symbolic link.
    pub(crate) link: String,
    /// Whether programs find it.
    pub(crate) enabled: bool,
}

fn link_name(node: &Node, guid: &Guid, reference: &str) -> String {
    let instance = node.instance.replace('\\', "#");
    let tail = if reference.is_empty() {
        String::new()
    } else {
        format!("\\{reference}")
    };
    format!("\\??\\{instance}#{guid}{tail}")
}

extern "win64" fn register(pdo: u64, guid: u64, reference: u64, link: u64) -> u32 {
    let host = current();
    check_system_thread(&host, "IoRegisterDeviceInterface");
    register_checked(&host, pdo, guid, reference, link)
        .unwrap_or_else(|status| status)
        .0
}

fn register_checked(
    host: &Arc<Host>,
    pdo: u64,
    guid: u64,
    reference: u64,
    link: u64,
) -> Result<NtStatus, NtStatus> {
    let reference = read_unicode_string(reference);
    let guid = Guid::at(guid);
    let Some(node) = host.nodes.at(pdo) else {
        host.violation("V247", "C9/0x24D", format!("{pdo:#x} is no PDO"));
        return Err(NtStatus::INVALID_DEVICE_REQUEST);
    };
    if reference.contains(['\\', '/']) {
        return Err(NtStatus::INVALID_DEVICE_REQUEST);
    }
    if host.faults().should_fail("IoRegisterDeviceInterface") {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    let name = link_name(&node, &guid, &reference);
    host.strings.give(host, link, &name)?;
    let mut state = lock(&node.state);
    if state.interfaces.iter().any(|own| own.link == name) {
        return Ok(NtStatus::OBJECT_NAME_EXISTS);
    }
    state.interfaces.push(Interface {
        guid,
        link: name,
        enabled: false,
    });
    Ok(NtStatus::SUCCESS)
}

extern "win64" fn set_state(link: u64, enable: u8) -> u32 {
    let host = current();
    check_system_thread(&host, "IoSetDeviceInterfaceState");
    let name = read_unicode_string(link);
    let enable = enable != 0;
    let nodes = host.nodes.all();
    let owner = nodes.iter().find(|node| {
        lock(&node.state)
            .interfaces
            .iter()
            .any(|own| own.link.eq_ignore_ascii_case(&name))
    });
    let Some(node) = owner else {
        return NtStatus::OBJECT_NAME_NOT_FOUND.0;
    };
    if enable && host.faults().should_fail("IoSetDeviceInterfaceState") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    if enable {
        check_start_order(&host, node);
    }
    let was = {
        let mut state = lock(&node.state);
        let own = state
            .interfaces
            .iter_mut()
            .find(|own| own.link.eq_ignore_ascii_case(&name));
        own.map(|own| core::mem::replace(&mut own.enabled, enable))
    };
    match (was, enable) {
        (Some(true), true) => {
            host.violation("V297", "interface", format!("{name} is enabled already"));
            NtStatus::OBJECT_NAME_EXISTS.0
        }
        (Some(false), false) => {
            host.violation("V297", "interface", format!("{name} is not enabled"));
            NtStatus::OBJECT_NAME_NOT_FOUND.0
        }
        _ => NtStatus::SUCCESS.0,
    }
}

/// An interface may be enabled once the bus driver has started the device.
fn check_start_order(host: &Host, node: &Node) {
    let state = lock(&node.state);
    let starting = state.current == Some(pnp::START);
    let bus_done = state.events.contains(&Event::ReachedBus(pnp::START));
    let running = matches!(
        state.phase,
        Phase::Started | Phase::StopPending | Phase::Stopped
    );
    drop(state);
    if starting && !bus_done {
        let message = "an interface is enabled before the lower drivers have started the device";
        host.violation("V286", "StartDeviceWait", message);
    } else if !starting && !running {
        host.violation(
            "V297",
            "interface",
            "enabled while the device is not started",
        );
    }
}

/// Strings that the system has given to drivers, to be freed with `RtlFreeUnicodeString`.
#[derive(Default)]
pub(crate) struct Strings {
    given: std::sync::Mutex<std::collections::HashMap<u64, Given>>,
}

struct Given {
    _block: crate::guarded::GuardedBlock,
    text: String,
    stack: Vec<crate::judge::StackFrame>,
}

impl Strings {
    /// Stores a copy of `text` in the `UNICODE_STRING` at `target`.
    pub(crate) fn give(&self, host: &Host, target: u64, text: &str) -> Result<(), NtStatus> {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let block = host.object("system string", bytes.len() as u64 + 2)?;
        copy_in(block.address(), &bytes);
        write(target, bytes.len() as u16);
        write(target + 2, bytes.len() as u16 + 2);
        write(target + 8, block.address());
        let address = block.address();
        let given = Given {
            _block: block,
            text: text.to_owned(),
            stack: current_stack(),
        };
        lock(&self.given).insert(address, given);
        Ok(())
    }

    /// Frees one; `false` if the system has not given it.
    pub(crate) fn free(&self, buffer: u64) -> bool {
        lock(&self.given).remove(&buffer).is_some()
    }

    /// Reports those that were not freed.
    pub(crate) fn driver_unloaded(&self, host: &Host) {
        for (address, given) in core::mem::take(&mut *lock(&self.given)) {
            let detail = format!("{address:#x} \"{}\"", given.text);
            host.leak("string", detail, given.stack);
        }
    }
}

exports! {
    "IoRegisterDeviceInterface" => register, IrqlRule::Exactly(PASSIVE), "V061", "C4/0x2000C";
    "IoSetDeviceInterfaceState" => set_state, IrqlRule::Exactly(PASSIVE), "V059", "C4/0x2000A";
}
