//! What happens when the system stops: callbacks that add to the crash dump.
//!
//! `KBUGCHECK_REASON_CALLBACK_RECORD`: `Entry` +0, `CallbackRoutine` +16, `Component` +24, `Checksum` +32,
//! `Reason` +40, `State` +44. `KBUGCHECK_ADD_PAGES`: `Context` +0, `Flags` +8, `BugCheckCode` +12,
//! `Address` +16, `Count` +24.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nt_machine::PAGE_SIZE;

use crate::access::{copy_in, read, read_c_string, write};
use crate::call::{Entry, Stopped};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, HostError, current};
use crate::judge::{StackFrame, current_stack};
use crate::thread::{self, HIGH};
use crate::{USER_LIMIT, lock};

const RECORD_STATE: u64 = 44;
/// `KbCallbackAddPages`.
const ADD_PAGES: u32 = 4;
const VIRTUAL_ADDRESS: u32 = 1;
const PHYSICAL_ADDRESS: u32 = 2;
const ADDITIONAL_RANGES_EXIST: u32 = 0x8000_0000;
/// Ranges after which a callback that always has one more counts as hung.
const MOST_RANGES: u32 = 1 << 20;

#[derive(Clone)]
struct Callback {
    routine: u64,
    reason: u32,
    component: String,
    stack: Vec<StackFrame>,
}

/// The callbacks of a host, by record.
#[derive(Default)]
pub(crate) struct BugCheckCallbacks {
    records: Mutex<BTreeMap<u64, Callback>>,
}

/// Pages that a driver has added to a crash dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpRange {
    /// The component that the callback was registered for.
    pub component: String,
    /// Where the pages are: virtual, or physical.
    pub address: u64,
    /// Whether the address is physical.
    pub is_physical: bool,
    /// What is in them.
    pub bytes: Vec<u8>,
}

/// What drivers have added to the dump of a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashDump {
    /// The ranges, in the order in which they were named.
    pub ranges: Vec<DumpRange>,
}

impl Host {
    /// Stops this system as a bug check does: the callbacks run at `HIGH_LEVEL`, and what they name is in the
    /// dump. Drivers can do nothing any more afterwards.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the system has stopped before, or a callback did not survive.
    pub fn crash(self: &Arc<Self>, code: u32) -> Result<CrashDump, HostError> {
        self.check_alive()?;
        let records = lock(&self.bug_checks.records).clone();
        let mut dump = CrashDump::default();
        let level = thread::level();
        thread::set_irql(HIGH);
        let outcome = records
            .into_iter()
            .filter(|(_, callback)| callback.reason == ADD_PAGES)
            .try_for_each(|(record, callback)| self.add_pages(&mut dump, code, record, &callback));
        thread::set_level(level);
        let _ = self.die(format!("crash {code:#x}"));
        outcome?;
        Ok(dump)
    }

    fn add_pages(
        self: &Arc<Self>,
        dump: &mut CrashDump,
        code: u32,
        record: u64,
        callback: &Callback,
    ) -> Result<(), Stopped> {
        let Ok(data) = self.object("crash dump request", 32) else {
            return Ok(());
        };
        copy_in(data.address(), &[0; 32]);
        for _ in 0..MOST_RANGES {
            write(data.address() + 8, 0_u32);
            write(data.address() + 12, code);
            let arguments = [u64::from(ADD_PAGES), record, data.address(), 32];
            let name = "bug check callback (add pages)";
            self.call_driver(Entry::Callback, name, callback.routine, &arguments)?;
            let flags: u32 = read(data.address() + 8);
            let (address, count) = (read(data.address() + 16), read(data.address() + 24));
            self.take_range(dump, callback, flags, address, count);
            if flags & ADDITIONAL_RANGES_EXIST == 0 {
                return Ok(());
            }
        }
        let message = format!("{} has no last range", callback.component);
        self.violation("V310", "add pages", message);
        Ok(())
    }

    /// Judges a range and copies it into the dump.
    fn take_range(
        &self,
        dump: &mut CrashDump,
        callback: &Callback,
        flags: u32,
        address: u64,
        count: u64,
    ) {
        if count == 0 {
            return;
        }
        let kind = flags & (VIRTUAL_ADDRESS | PHYSICAL_ADDRESS);
        if !matches!(kind, VIRTUAL_ADDRESS | PHYSICAL_ADDRESS) || !address.is_multiple_of(PAGE_SIZE)
        {
            let message = format!("flags {flags:#x}, {count} pages at {address:#x}");
            self.violation("V310", "add pages", message);
            return;
        }
        let is_physical = kind == PHYSICAL_ADDRESS;
        match self.dump_bytes(address, count, is_physical) {
            Some(bytes) => dump.ranges.push(DumpRange {
                component: callback.component.clone(),
                address,
                is_physical,
                bytes,
            }),
            None => {
                let message = format!("{count} pages at {address:#x} are no memory of a driver");
                self.violation("V310", "add pages", message);
            }
        }
    }

    fn dump_bytes(&self, address: u64, count: u64, is_physical: bool) -> Option<Vec<u8>> {
        let length = count.checked_mul(PAGE_SIZE)?;
        let end = address.checked_add(length)?;
        if is_physical {
            let mut bytes = vec![0; length as usize];
            self.machine().read_physical(address, &mut bytes).ok()?;
            return Some(bytes);
        }
        if address < USER_LIMIT {
            return None;
        }
        let block = self.memory.blocks.live(address)?;
        if end > block.pages_end() {
            return None;
        }
        let mut bytes = vec![0; length as usize];
        self.memory.arena.read(address, &mut bytes).ok()?;
        Some(bytes)
    }
}

extern "win64" fn register(record: u64, routine: u64, reason: u32, component: u64) -> u8 {
    let host = current();
    if crate::memory::is_nonpaged(&host, record) == Some(false) {
        let message = format!("the callback record {record:#x} lies in paged pool");
        host.violation("V027", "D1", message);
    }
    if host
        .faults()
        .should_fail("KeRegisterBugCheckReasonCallback")
    {
        return 0;
    }
    let mut records = lock(&host.bug_checks.records);
    // A record that was not initialised, or is in use, is refused.
    if records.contains_key(&record) || read::<u8>(record + RECORD_STATE) != 0 {
        return 0;
    }
    records.insert(
        record,
        Callback {
            routine,
            reason,
            component: read_c_string(component, 64),
            stack: current_stack(),
        },
    );
    drop(records);
    write(record + 16, routine);
    write(record + 24, component);
    write(record + 40, reason);
    write(record + RECORD_STATE, 1_u8);
    1
}

extern "win64" fn deregister(record: u64) -> u8 {
    let host = current();
    if lock(&host.bug_checks.records).remove(&record).is_none() {
        return 0;
    }
    write(record + RECORD_STATE, 0_u8);
    1
}

/// Memory is given back: a record in it would be called when it is somebody else's.
pub(crate) fn freed(host: &Host, base: u64, size: u64) {
    let left = {
        let mut records = lock(&host.bug_checks.records);
        let first = records.range(base..base + size).next().map(|(at, _)| *at);
        first.and_then(|at| Some((at, records.remove(&at)?)))
    };
    if let Some((record, callback)) = left {
        let message = format!(
            "the record {record:#x} of bug check callback {} is still registered",
            callback.component
        );
        host.violation("V298", "CE", message);
    }
}

/// Reports callbacks that the driver has left.
pub(crate) fn driver_unloaded(host: &Host) {
    for (record, callback) in core::mem::take(&mut *lock(&host.bug_checks.records)) {
        let message = format!(
            "bug check callback {:#x} of {} (record {record:#x}) left at unload",
            callback.routine, callback.component
        );
        host.violation_at("V298", "CE", message, callback.stack);
    }
}

exports! {
    "KeRegisterBugCheckReasonCallback" => register, IrqlRule::Any, "V050", "C4/0xE5";
    "KeDeregisterBugCheckReasonCallback" => deregister, IrqlRule::Any, "V050", "C4/0xE5";
}
