//! Device objects: creation, deletion, and the table of the live ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::access::{read, read_unicode_string, write};
use crate::export::{IrqlRule, exports};
use crate::guarded::GuardedBlock;
use crate::host::{Host, current};
use crate::judge::{StackFrame, current_stack};
use crate::layout::{device, driver};
use crate::lock;
use crate::object::Kind;
use crate::status::NtStatus;
use crate::thread::{APC, PASSIVE};

/// A live device object.
pub(crate) struct Record {
    block: GuardedBlock,
    /// The driver object that it belongs to.
    pub(crate) driver: u64,
    /// Its full name, if it has one.
    pub(crate) name: Option<String>,
    /// The device it is attached to.
    pub(crate) lower: Option<u64>,
    /// The device attached to it.
    pub(crate) upper: Option<u64>,
    /// The bus made it, for a device node.
    pub(crate) is_pdo: bool,
    /// `IoDeleteDevice` was called; references keep it.
    pub(crate) deleted: bool,
    stack: Vec<StackFrame>,
}

/// The device objects of a host.
#[derive(Default)]
pub(crate) struct DeviceObjects {
    table: Mutex<HashMap<u64, Record>>,
}

impl DeviceObjects {
    /// Looks at a live device.
    pub(crate) fn with<T>(&self, address: u64, look: impl FnOnce(&mut Record) -> T) -> Option<T> {
        lock(&self.table).get_mut(&address).map(look)
    }

    /// Whether it is a live device object.
    pub(crate) fn contains(&self, address: u64) -> bool {
        self.with(address, |record| !record.deleted)
            .unwrap_or(false)
    }

    /// Whether it is the bus driver's device of a node.
    pub(crate) fn is_pdo(&self, address: u64) -> bool {
        self.with(address, |record| record.is_pdo).unwrap_or(false)
    }

    /// The top of the stack that `address` is in.
    pub(crate) fn top(&self, address: u64) -> u64 {
        let table = lock(&self.table);
        let mut top = address;
        while let Some(upper) = table.get(&top).and_then(|record| record.upper) {
            top = upper;
        }
        top
    }

    /// The bottom of the stack that `address` is in.
    pub(crate) fn bottom(&self, address: u64) -> u64 {
        let table = lock(&self.table);
        let mut bottom = address;
        while let Some(lower) = table.get(&bottom).and_then(|record| record.lower) {
            bottom = lower;
        }
        bottom
    }

    /// The live devices of a driver.
    pub(crate) fn of_driver(&self, driver: u64) -> Vec<u64> {
        let table = lock(&self.table);
        let own = table.iter().filter(|(_, record)| record.driver == driver);
        own.map(|(address, _)| *address).collect()
    }

    /// The live device with that name.
    pub(crate) fn named(&self, name: &str) -> Option<u64> {
        let table = lock(&self.table);
        let mut matching = table.iter().filter(|(_, record)| {
            record
                .name
                .as_deref()
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        });
        matching.next().map(|(address, _)| *address)
    }

    fn remove(&self, address: u64) -> Option<Record> {
        lock(&self.table).remove(&address)
    }
}

/// What a device object is made with.
pub(crate) struct NewDevice {
    /// Its driver object.
    pub(crate) driver: u64,
    /// Bytes of extension.
    pub(crate) extension: u32,
    /// Its full name.
    pub(crate) name: Option<String>,
    /// `DeviceType`.
    pub(crate) device_type: u32,
    /// `Characteristics`.
    pub(crate) characteristics: u32,
    /// `Flags`.
    pub(crate) flags: u32,
    /// The bus driver makes it.
    pub(crate) is_pdo: bool,
}

/// Makes a device object and links it to its driver.
pub(crate) fn create(host: &Host, new: NewDevice) -> Result<u64, NtStatus> {
    let size = device::SIZE + u64::from(new.extension);
    let block = host.object("device object", size)?;
    let address = block.address();
    write(address, device::TYPE_DEVICE);
    write(address + 2, size.min(u64::from(u16::MAX)) as u16);
    write(address + device::DRIVER_OBJECT, new.driver);
    write(address + device::FLAGS, new.flags);
    write(address + device::CHARACTERISTICS, new.characteristics);
    write(address + device::DEVICE_TYPE, new.device_type);
    write(address + device::STACK_SIZE, 1_i8);
    let extension = if new.extension == 0 {
        0
    } else {
        address + device::SIZE
    };
    write(address + device::DEVICE_EXTENSION, extension);
    let next: u64 = read(new.driver + driver::DEVICE_OBJECT);
    write(address + device::NEXT_DEVICE, next);
    write(new.driver + driver::DEVICE_OBJECT, address);
    let record = Record {
        block,
        driver: new.driver,
        name: new.name,
        lower: None,
        upper: None,
        is_pdo: new.is_pdo,
        deleted: false,
        stack: current_stack(),
    };
    lock(&host.devices.table).insert(address, record);
    host.objects.insert(address, Kind::Device);
    Ok(address)
}

/// Takes a device out of its driver's list and, if nothing refers to it, out of memory.
pub(crate) fn delete(host: &Host, address: u64) {
    let Some(owner) = host.devices.with(address, |record| record.driver) else {
        return;
    };
    unlink(owner, address);
    host.devices.with(address, |record| record.deleted = true);
    release_if_unused(host, address);
}

fn unlink(owner: u64, address: u64) {
    let mut slot = owner + driver::DEVICE_OBJECT;
    loop {
        let here: u64 = read(slot);
        if here == 0 {
            return;
        }
        if here == address {
            let next: u64 = read(address + device::NEXT_DEVICE);
            write(slot, next);
            return;
        }
        slot = here + device::NEXT_DEVICE;
    }
}

fn release_if_unused(host: &Host, address: u64) {
    let deleted = host
        .devices
        .with(address, |record| record.deleted)
        .unwrap_or(false);
    let is_used = host.objects.references(address) > 0
        || host.files.are_open_on(address)
        || host.work_items.are_used_by(address);
    if !deleted || is_used {
        return;
    }
    if let Some(record) = host.devices.remove(address) {
        if !record.block.slack_is_intact() {
            let message = format!("memory around device object {address:#x} was overwritten");
            host.violation("V009", "C4/0x51", message);
        }
        let end = address + record.block.size() as u64;
        host.locks
            .memory_freed(host, address..end, "device extension");
        host.remove_locks.memory_freed(host, address..end);
    }
    host.objects.remove(address);
}

/// The driver has dropped its last reference, a file on the device is gone, or a work item's routine
/// has returned.
pub(crate) fn reference_dropped(host: &Arc<Host>, address: u64) {
    release_if_unused(host, address);
}

/// Reports device objects that the driver has left behind.
pub(crate) fn driver_unloaded(host: &Host, driver: u64) {
    for address in host.devices.of_driver(driver) {
        let found = host.devices.with(address, |record| {
            (record.name.clone(), record.stack.clone())
        });
        if let Some((name, stack)) = found {
            host.leak("device object", format!("{address:#x} {name:?}"), stack);
        }
    }
}

extern "win64" fn io_create_device(
    driver: u64,
    extension: u32,
    name: u64,
    device_type: u32,
    characteristics: u32,
    exclusive: u8,
    created: u64,
) -> u32 {
    let host = current();
    let name = (name != 0).then(|| read_unicode_string(name));
    let name = name.filter(|name| !name.is_empty());
    let status = create_checked(&host, driver, extension, name, device_type, characteristics);
    match status {
        Ok(address) => {
            if exclusive != 0 {
                let flags: u32 = read(address + device::FLAGS);
                write(address + device::FLAGS, flags | 8);
            }
            write(created, address);
            NtStatus::SUCCESS.0
        }
        Err(status) => {
            write(created, 0_u64);
            status.0
        }
    }
}

fn create_checked(
    host: &Host,
    driver: u64,
    extension: u32,
    name: Option<String>,
    device_type: u32,
    characteristics: u32,
) -> Result<u64, NtStatus> {
    if host.faults().should_fail("IoCreateDevice") {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    if host.drivers.at(driver).is_none() {
        host.violation(
            "V258",
            "C4/0xE0",
            format!("{driver:#x} is no driver object"),
        );
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if name
        .as_deref()
        .is_some_and(|name| host.devices.named(name).is_some())
    {
        return Err(NtStatus::OBJECT_NAME_COLLISION);
    }
    let named = if name.is_some() { device::HAS_NAME } else { 0 };
    let flags = device::INITIALIZING | named;
    let new = NewDevice {
        driver,
        extension,
        name,
        device_type,
        characteristics,
        flags,
        is_pdo: false,
    };
    create(host, new)
}

extern "win64" fn io_delete_device(address: u64) {
    let host = current();
    let state = host.devices.with(address, |record| {
        (record.deleted, record.lower, record.upper, record.is_pdo)
    });
    match state {
        None | Some((true, ..)) => {
            host.violation(
                "V239",
                "C9/0x240",
                format!("{address:#x} is no live device object"),
            );
        }
        Some((_, _, _, true)) => {
            host.violation(
                "V216",
                "C9/0x218",
                format!("PDO {address:#x} belongs to the bus driver"),
            );
        }
        Some((_, Some(lower), ..)) => {
            let message = format!("{address:#x} is still attached to {lower:#x}");
            host.violation("V198", "C9/0x201", message);
            super::stack::detach(&host, lower);
            super::check::deleted(&host, lower, address);
            delete(&host, address);
        }
        Some((_, None, upper, false)) => {
            if let Some(upper) = upper {
                let message = format!("{upper:#x} is still attached above {address:#x}");
                host.violation("V198", "C9/0x201", message);
            }
            super::check::deleted_detached(&host, address);
            delete(&host, address);
        }
    }
}

exports! {
    "IoCreateDevice" => io_create_device, IrqlRule::Exactly(PASSIVE), "V059", "C4/0x2000A";
    "IoDeleteDevice" => io_delete_device, IrqlRule::AtMost(APC), "V058", "C4/0x20009";
}
