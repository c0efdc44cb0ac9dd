//! References that drivers hold on kernel objects.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::judge::{StackFrame, current_stack};
use crate::thread::DISPATCH;
use crate::{device, file, lock};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A device object.
    Device,
    /// A driver object.
    Driver,
    /// A file object.
    File,
    /// A process object.
    Process,
    /// A thread object.
    Thread,
}

struct Record {
    kind: Kind,
    references: u64,
    stack: Vec<StackFrame>,
}

/// The objects that a driver may reference.
#[derive(Default)]
pub(crate) struct Objects {
    table: Mutex<HashMap<u64, Record>>,
}

impl Objects {
    /// A new object, without a reference of a driver.
    pub(crate) fn insert(&self, address: u64, kind: Kind) {
        lock(&self.table).insert(
            address,
            Record {
                kind,
                references: 0,
                stack: Vec::new(),
            },
        );
    }

    /// The object is gone.
    pub(crate) fn remove(&self, address: u64) {
        lock(&self.table).remove(&address);
    }

    /// References that drivers hold on it.
    pub(crate) fn references(&self, address: u64) -> u64 {
        lock(&self.table)
            .get(&address)
            .map_or(0, |record| record.references)
    }

    /// What the object is.
    pub(crate) fn kind(&self, address: u64) -> Option<Kind> {
        lock(&self.table).get(&address).map(|record| record.kind)
    }

    /// Adds a reference; `false` if there is no such object.
    pub(crate) fn reference(&self, address: u64) -> bool {
        let stack = current_stack();
        let mut table = lock(&self.table);
        let Some(record) = table.get_mut(&address) else {
            return false;
        };
        record.references += 1;
        record.stack = stack;
        true
    }

    /// Drops a reference; the kind and what is left, or `None` if there was none.
    fn dereference(&self, address: u64) -> Option<(Kind, u64)> {
        let mut table = lock(&self.table);
        let record = table.get_mut(&address)?;
        record.references = record.references.checked_sub(1)?;
        Some((record.kind, record.references))
    }

    /// Objects on which references are left, with the stack of the last one taken.
    fn referenced(&self) -> Vec<(u64, Kind, u64, Vec<StackFrame>)> {
        let table = lock(&self.table);
        let held = table.iter().filter(|(_, record)| record.references > 0);
        held.map(|(address, record)| {
            (
                *address,
                record.kind,
                record.references,
                record.stack.clone(),
            )
        })
        .collect()
    }
}

/// Reports the references that the driver has not dropped.
pub(crate) fn driver_unloaded(host: &Host) {
    for (address, kind, count, stack) in host.objects.referenced() {
        if kind == Kind::Device {
            host.violation_at(
                "V293",
                "C4/0x62",
                format!("{count} references left on device object {address:#x}"),
                stack.clone(),
            );
        }
        host.leak(
            "reference",
            format!("{count} on {kind:?} object {address:#x}"),
            stack,
        );
    }
}

extern "win64" fn reference_object(object: u64) -> u64 {
    let host = current();
    if !host.objects.reference(object) {
        host.violation(
            "V266",
            "C4/0x3F",
            format!("reference of {object:#x}: no live object"),
        );
    }
    host.objects.references(object)
}

extern "win64" fn dereference_object(object: u64) -> u64 {
    let host = current();
    match host.objects.dereference(object) {
        Some((kind, 0)) => {
            last_reference_dropped(&host, object, kind);
            0
        }
        Some((_, left)) => left,
        None => {
            let message = format!("dereference of {object:#x}: the driver holds no reference");
            host.violation("V266", "C4/0x3F", message);
            0
        }
    }
}

fn last_reference_dropped(host: &Arc<Host>, object: u64, kind: Kind) {
    match kind {
        Kind::Device => device::object::reference_dropped(host, object),
        Kind::File => file::reference_dropped(host, object),
        Kind::Process => host.processes.reference_dropped(host, object),
        Kind::Driver | Kind::Thread => {}
    }
}

exports! {
    "ObfReferenceObject" => reference_object, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "ObfDereferenceObject" => dereference_object, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "ObDereferenceObject" => dereference_object, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
}
