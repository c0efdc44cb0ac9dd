//! Remove locks, with every tag remembered: `IO_REMOVE_LOCK` itself stays the driver's 32 bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::access::write;
use crate::call::{Stopped, exported};
use crate::device::pnp;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::layout::device;
use crate::lock;
use crate::status::NtStatus;
use crate::thread::{DISPATCH, PASSIVE};

#[derive(Default)]
struct RemoveLock {
    tags: HashMap<u64, u64>,
    removed: bool,
}

impl RemoveLock {
    fn count(&self) -> u64 {
        self.tags.values().sum()
    }
}

/// The remove locks of a host.
#[derive(Default)]
pub(crate) struct RemoveLocks {
    locks: Mutex<HashMap<u64, RemoveLock>>,
    released: Condvar,
}

impl RemoveLocks {
    /// A dispatch routine has returned: a request that is over may hold no lock any more.
    pub(crate) fn dispatch_returned(&self, host: &Host, request: u64, status: u32) {
        if status == NtStatus::PENDING.0 || host.irps.at(request).is_some() {
            return;
        }
        let held = lock(&self.locks)
            .values()
            .any(|own| own.tags.contains_key(&request));
        if held {
            let message = format!("the lock for IRP {request:#x} is held after its end");
            host.violation("V294", "RemoveLockRelease", message);
        }
    }

    /// A driver with a remove lock has to hold it while it forwards a request.
    pub(crate) fn forwarding(&self, host: &Host, from: u64, request: u64) {
        let unheld = {
            let locks = lock(&self.locks);
            let inside = |at: &u64| extension_of(host, from).is_some_and(|own| own.contains(at));
            let mut own = locks.iter().filter(|(at, _)| inside(at)).peekable();
            own.peek().is_some() && own.all(|(_, lock)| lock.count() == 0)
        };
        if unheld {
            let message = format!("IRP {request:#x} forwarded without the remove lock");
            host.violation("V295", "RemoveLockForward", message);
        }
    }

    /// The memory of a lock goes.
    pub(crate) fn memory_freed(&self, host: &Host, range: Range<u64>) {
        let mut held = Vec::new();
        lock(&self.locks).retain(|at, own| {
            let inside = range.contains(at);
            if inside && own.count() > 0 {
                held.push((*at, own.count()));
            }
            !inside
        });
        for (at, count) in held {
            let message = format!("remove lock {at:#x} was freed while held {count} times");
            host.violation("V294", "RemoveLock", message);
        }
    }
}

fn extension_of(host: &Host, address: u64) -> Option<Range<u64>> {
    let place = host.heap.place_of(address)?;
    Some(address + device::SIZE..place.base + place.size as u64)
}

extern "win64" fn initialize(at: u64, tag: u32, _minutes: u32, high_water: u32, size: u32) {
    let host = current();
    crate::access::fill(at, 0, 32);
    // IoCount of the public part starts at one.
    write(at + 4, 1_u32);
    if tag == 0 || high_water > 0x7FFF_FFFF || size < 32 {
        let message = format!("tag {tag:#x}, high water {high_water:#x}, size {size}");
        host.violation("V294", "RemoveLock", message);
    }
    let in_device = host
        .heap
        .place_of(at)
        .is_some_and(|place| place.kind == "device object" && at >= place.base + device::SIZE);
    if !in_device {
        let message = format!("{at:#x} lies in no device extension");
        host.violation("V294", "RemoveLock", message);
    }
    let before = lock(&host.remove_locks.locks).insert(at, RemoveLock::default());
    if before.is_some() {
        host.violation("V254", "C4/0xD7", format!("{at:#x} is initialised already"));
    }
}

extern "win64" fn acquire(at: u64, tag: u64, _file: u64, _line: u32, _size: u32) -> u32 {
    let host = current();
    let mut locks = lock(&host.remove_locks.locks);
    let Some(own) = locks.get_mut(&at) else {
        drop(locks);
        host.violation(
            "V077",
            "C4/0x1002",
            format!("remove lock {at:#x} is not initialised"),
        );
        return NtStatus::DELETE_PENDING.0;
    };
    if own.removed {
        return NtStatus::DELETE_PENDING.0;
    }
    *own.tags.entry(tag).or_default() += 1;
    NtStatus::SUCCESS.0
}

/// Takes one acquire with that tag back.
fn give_back(host: &Host, at: u64, tag: u64, code: &'static str) -> bool {
    let mut locks = lock(&host.remove_locks.locks);
    let found = locks
        .get_mut(&at)
        .is_some_and(|own| match own.tags.get_mut(&tag) {
            Some(count) => {
                *count -= 1;
                if *count == 0 {
                    own.tags.remove(&tag);
                }
                true
            }
            None => false,
        });
    drop(locks);
    host.remove_locks.released.notify_all();
    if !found {
        let message = format!("remove lock {at:#x} has no acquire with tag {tag:#x}");
        host.violation("V253", code, message);
    }
    found
}

extern "win64" fn release(at: u64, tag: u64, _size: u32) {
    let host = current();
    give_back(&host, at, tag, "C4/0xD5");
}

extern "win64" fn release_and_wait(at: u64, tag: u64, _size: u32) {
    exported(|host| {
        let removing = host
            .nodes
            .all()
            .iter()
            .any(|node| lock(&node.state).current == Some(pnp::REMOVE));
        if !removing {
            let message = "called outside of IRP_MN_REMOVE_DEVICE";
            host.violation(
                "V296",
                "IoReleaseRemoveLockAndWaitOutsideRemoveDevice",
                message,
            );
        }
        give_back(host, at, tag, "C4/0xD6");
        wait_for_release(host, at)
    });
}

fn wait_for_release(host: &Arc<Host>, at: u64) -> Result<(), Stopped> {
    let deadline = Instant::now() + host.options.watchdog;
    let mut locks = lock(&host.remove_locks.locks);
    if let Some(own) = locks.get_mut(&at) {
        own.removed = true;
    }
    loop {
        let tags: Vec<u64> = locks
            .get(&at)
            .map(|own| own.tags.keys().copied().collect())
            .unwrap_or_default();
        if tags.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline || host.is_dead() {
            drop(locks);
            let message = format!("waits for remove lock {at:#x}, still held with tags {tags:x?}");
            host.violation("V294", "RemoveLock", message.clone());
            return Err(host.die(message));
        }
        let waited = host
            .remove_locks
            .released
            .wait_timeout(locks, Duration::from_millis(20));
        locks = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
    }
}

exports! {
    "IoInitializeRemoveLockEx" => initialize, IrqlRule::Exactly(PASSIVE), "V060", "C4/0x2000B";
    "IoAcquireRemoveLockEx" => acquire, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoReleaseRemoveLockEx" => release, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoReleaseRemoveLockAndWaitEx" => release_and_wait, IrqlRule::Exactly(PASSIVE), "V060", "C4/0x2000B";
}
