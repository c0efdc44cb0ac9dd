//! Work items: routines of a driver that a thread of the system runs.
//!
//! A work item is the system's own memory. The system takes it off its queue before it calls the
//! routine, which so may free it or queue it again, and keeps the device object until the routine has
//! returned.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::call::{Entry, Stopped, exported};
use crate::device::object as device_object;
use crate::export::{IrqlRule, exports};
use crate::guarded::GuardedBlock;
use crate::host::{Host, current};
use crate::judge::{StackFrame, current_stack};
use crate::thread::{self, DISPATCH};
use crate::{lock, object::Kind};

/// Bytes of a work item, which drivers may not look into.
const SIZE: u64 = 64;
/// `DelayedWorkQueue`, the one queue that is for drivers.
const DELAYED: u32 = 1;

struct Item {
    _block: GuardedBlock,
    /// The device, or the driver, that it was allocated for.
    owner: u64,
    queued: bool,
    stack: Vec<StackFrame>,
}

#[derive(Default)]
struct State {
    items: HashMap<u64, Item>,
    /// Routines queued or running, by device.
    outstanding: HashMap<u64, u64>,
    /// Threads that run a routine, will, or have just done so.
    threads: u64,
    /// How many hold all worker threads busy.
    busy: u64,
}

/// The work items of a host.
#[derive(Default)]
pub(crate) struct WorkItems {
    state: Mutex<State>,
    changed: Condvar,
}

/// While it lives every worker thread of the system has something else to do: what is queued stays so.
pub struct BusyWorkers(Arc<Host>);

impl Drop for BusyWorkers {
    fn drop(&mut self) {
        self.0
            .work_items
            .change(|state| state.busy = state.busy.saturating_sub(1));
    }
}

impl Host {
    /// Keeps all worker threads of the system busy.
    #[must_use]
    pub fn busy_workers(self: &Arc<Self>) -> BusyWorkers {
        self.work_items.change(|state| state.busy += 1);
        BusyWorkers(Arc::clone(self))
    }
}

impl WorkItems {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut lock(&self.state));
        self.changed.notify_all();
        result
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let slice = Duration::from_millis(20);
        let waited = self.changed.wait_timeout(state, slice);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether a routine for that device is queued or running.
    pub(crate) fn are_used_by(&self, device: u64) -> bool {
        lock(&self.state).outstanding.contains_key(&device)
    }

    /// Waits for a thread that has time, and takes the item off the queue.
    fn take(&self, host: &Host, item: u64) {
        let mut state = lock(&self.state);
        while state.busy > 0 && !host.is_dead() {
            state = self.wait(state);
        }
        if let Some(item) = state.items.get_mut(&item) {
            item.queued = false;
        }
    }

    /// The routine has returned: its device may go.
    fn let_go(&self, device: u64) {
        self.change(|state| {
            if let Some(count) = state.outstanding.get_mut(&device) {
                *count -= 1;
                if *count == 0 {
                    state.outstanding.remove(&device);
                }
            }
        });
    }
}

/// A driver is about to be unloaded: the system waits for the routines that it has queued.
pub(crate) fn driver_unloading(host: &Host) -> Result<(), Stopped> {
    let queued: Vec<_> = {
        let state = lock(&host.work_items.state);
        let queued = state.items.iter().filter(|(_, item)| item.queued);
        queued
            .map(|(address, item)| (*address, item.stack.clone()))
            .collect()
    };
    for (address, stack) in queued {
        let message = format!("work item {address:#x} is queued when the driver is unloaded");
        host.violation_at("V298", "CE", message, stack);
    }
    host.work_items.change(|state| state.busy = 0);
    let deadline = Instant::now() + host.options.watchdog;
    let mut state = lock(&host.work_items.state);
    while state.threads > 0 {
        if Instant::now() > deadline {
            drop(state);
            let message = "a work item's routine does not return";
            host.violation("V308", "hang", message);
            return Err(host.die(message));
        }
        state = host.work_items.wait(state);
    }
    Ok(())
}

/// Reports work items that the driver has not freed.
pub(crate) fn driver_unloaded(host: &Host) {
    let left = host
        .work_items
        .change(|state| core::mem::take(&mut state.items));
    for (address, item) in left {
        let message = format!("work item {address:#x} of {:#x} left at unload", item.owner);
        host.violation_at("V298", "CE", message.clone(), item.stack.clone());
        host.leak("work item", message, item.stack);
    }
}

/// What is wrong with the owner of a work item: it has to be the driver's own.
fn problem_of_owner(host: &Host, owner: u64) -> Option<&'static str> {
    match host.objects.kind(owner) {
        Some(Kind::Device) if host.devices.is_pdo(owner) => Some("the bus driver's device"),
        Some(Kind::Device | Kind::Driver) => None,
        _ => Some("no device object and no driver object"),
    }
}

extern "win64" fn allocate(owner: u64) -> u64 {
    let host = current();
    if let Some(problem) = problem_of_owner(&host, owner) {
        let message = format!("work item for {owner:#x}: {problem}");
        host.violation("V314", "work item", message);
    }
    if host.faults().should_fail("IoAllocateWorkItem") {
        return 0;
    }
    let Ok(block) = host.object("work item", SIZE) else {
        return 0;
    };
    let address = block.address();
    let item = Item {
        _block: block,
        owner,
        queued: false,
        stack: current_stack(),
    };
    host.work_items
        .change(|state| state.items.insert(address, item));
    address
}

/// The system would read where nothing is.
fn check_null(host: &Host, address: u64) -> Result<(), Stopped> {
    if address != 0 {
        return Ok(());
    }
    let message = "NULL is given as a work item";
    host.violation("V300", "7E", message);
    Err(host.die(message))
}

/// Puts an item into the queue: its device, or what is wrong.
fn enqueue(host: &Host, address: u64) -> Result<u64, String> {
    let mut state = lock(&host.work_items.state);
    let Some(item) = state.items.get_mut(&address) else {
        return Err(format!("{address:#x} is no work item"));
    };
    if item.queued {
        return Err(format!("work item {address:#x} is queued already"));
    }
    let device = item.owner;
    if host.objects.kind(device) != Some(Kind::Device) {
        return Err(format!("work item {address:#x} is not for a device"));
    }
    item.queued = true;
    *state.outstanding.entry(device).or_default() += 1;
    state.threads += 1;
    Ok(device)
}

extern "win64" fn queue(address: u64, routine: u64, kind: u32, context: u64) {
    exported(|host| {
        check_null(host, address)?;
        if kind != DELAYED {
            let message = format!("queue {kind} is not for drivers");
            host.violation("V314", "work item", message);
        }
        match enqueue(host, address) {
            Ok(device) => {
                let host = Arc::clone(host);
                std::thread::spawn(move || serve(&host, address, device, routine, context));
            }
            Err(message) => host.violation("V314", "work item", message),
        }
        Ok(())
    });
}

/// What a worker thread of the system does.
fn serve(host: &Arc<Host>, item: u64, device: u64, routine: u64, context: u64) {
    host.work_items.take(host, item);
    let system = host.processes.system();
    let name = "work item routine";
    let arguments = [device, context];
    let returned = thread::in_process(&system, || {
        host.call_driver(Entry::Callback, name, routine, &arguments)
    });
    // A stopped driver is in the report already.
    drop(returned);
    host.work_items.let_go(device);
    device_object::reference_dropped(host, device);
    host.work_items.change(|state| state.threads -= 1);
}

/// Takes an item out of the table, or says what is wrong.
fn release(host: &Host, address: u64) -> Result<Option<Item>, &'static str> {
    host.work_items.change(|state| {
        let queued = state.items.get(&address).map(|item| item.queued);
        match queued {
            None => Err("is no work item"),
            Some(true) => Err("is freed while it is queued"),
            Some(false) => Ok(state.items.remove(&address)),
        }
    })
}

extern "win64" fn free(address: u64) {
    exported(|host| {
        check_null(host, address)?;
        if let Err(problem) = release(host, address) {
            let message = format!("{address:#x} {problem}");
            host.violation("V314", "work item", message);
        }
        Ok(())
    });
}

exports! {
    "IoAllocateWorkItem" => allocate, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoQueueWorkItem" => queue, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoFreeWorkItem" => free, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
}
