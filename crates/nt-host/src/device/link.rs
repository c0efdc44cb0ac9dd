//! Symbolic links to named device objects.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::access::read_unicode_string;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::judge::{StackFrame, current_stack};
use crate::lock;
use crate::status::NtStatus;
use crate::thread::PASSIVE;

/// The symbolic links of a host.
#[derive(Default)]
pub(crate) struct Links {
    links: Mutex<HashMap<String, (String, Vec<StackFrame>)>>,
}

fn key(name: &str) -> String {
    let upper = name.to_uppercase();
    upper
        .replace("\\DOSDEVICES\\", "\\??\\")
        .replace("\\\\.\\", "\\??\\")
}

/// The device object behind a name, or behind the link of that name.
pub(crate) fn resolve(host: &Host, name: &str) -> Option<u64> {
    let target = lock(&host.links.links)
        .get(&key(name))
        .map(|(target, _)| target.clone());
    let device = host.devices.named(target.as_deref().unwrap_or(name))?;
    Some(host.devices.bottom(device))
}

extern "win64" fn create_link(link: u64, target: u64) -> u32 {
    let host = current();
    let (link, target) = (read_unicode_string(link), read_unicode_string(target));
    if host.faults().should_fail("IoCreateSymbolicLink") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    let stack = current_stack();
    let mut links = lock(&host.links.links);
    if links.contains_key(&key(&link)) {
        return NtStatus::OBJECT_NAME_COLLISION.0;
    }
    links.insert(key(&link), (target, stack));
    NtStatus::SUCCESS.0
}

extern "win64" fn delete_link(link: u64) -> u32 {
    let host = current();
    let link = read_unicode_string(link);
    let removed = lock(&host.links.links).remove(&key(&link));
    if removed.is_some() {
        NtStatus::SUCCESS.0
    } else {
        NtStatus::OBJECT_NAME_NOT_FOUND.0
    }
}

/// Reports links that the driver has left.
pub(crate) fn driver_unloaded(host: &Host) {
    for (link, (target, stack)) in core::mem::take(&mut *lock(&host.links.links)) {
        host.leak("symbolic link", format!("{link} -> {target}"), stack);
    }
}

exports! {
    "IoCreateSymbolicLink" => create_link, IrqlRule::Exactly(PASSIVE), "V061", "C4/0x2000C";
    "IoDeleteSymbolicLink" => delete_link, IrqlRule::Exactly(PASSIVE), "V060", "C4/0x2000B";
}
