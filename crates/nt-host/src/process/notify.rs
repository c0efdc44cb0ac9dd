//! Process-notification callbacks.
//!
//! `PS_CREATE_NOTIFY_INFO`: Size +0, Flags +8, `ParentProcessId` +16, `CreatingThreadId` +24, `FileObject` +40,
//! `ImageFileName` +48, `CommandLine` +56, `CreationStatus` +64.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::ProcessObject;
use crate::access::{read, write};
use crate::call::{Entry, Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::lock;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE};

/// Callbacks that the system has room for.
const CAPACITY: usize = 64;
/// `IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY`.
const FORCE_INTEGRITY: u16 = 0x80;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Callback {
    routine: u64,
    extended: bool,
}

/// The callbacks of a host.
#[derive(Default)]
pub(crate) struct NotifyRoutines {
    list: Mutex<Vec<Callback>>,
    running: AtomicU64,
}

fn run(host: &Arc<Host>, callback: Callback, arguments: &[u64], name: &str) -> Result<(), Stopped> {
    host.notify.running.fetch_add(1, Ordering::SeqCst);
    let before = thread::level();
    thread::set_level(thread::Level {
        critical: before.critical + 1,
        ..before
    });
    let result = host.call_driver(Entry::Callback, name, callback.routine, arguments);
    thread::set_level(before);
    host.notify.running.fetch_sub(1, Ordering::SeqCst);
    result.map(drop)
}

/// A process starts: the last failure that a callback asked for.
pub(crate) fn created(host: &Arc<Host>, process: &ProcessObject) -> Result<NtStatus, Stopped> {
    let callbacks = lock(&host.notify.list).clone();
    let mut status = NtStatus::SUCCESS;
    for callback in callbacks {
        if !callback.extended {
            run(
                host,
                callback,
                &[4, process.id, 1],
                "process callback (create)",
            )?;
            continue;
        }
        let Ok(info) = host.object("process creation info", 72) else {
            continue;
        };
        write(info.address(), 72_u64);
        write(info.address() + 16, 4_u64);
        let arguments = [process.address(), process.id, info.address()];
        run(host, callback, &arguments, "process callback (create)")?;
        let wanted = NtStatus(read(info.address() + 64));
        if !wanted.is_success() {
            status = wanted;
        }
    }
    Ok(status)
}

/// A process ends; runs in its last thread.
pub(crate) fn exited(host: &Arc<Host>, process: &ProcessObject) -> Result<(), Stopped> {
    let callbacks = lock(&host.notify.list).clone();
    for callback in callbacks {
        let arguments = if callback.extended {
            [process.address(), process.id, 0]
        } else {
            [4, process.id, 0]
        };
        run(host, callback, &arguments, "process callback (exit)")?;
    }
    Ok(())
}

fn set(routine: u64, remove: bool, extended: bool) -> u32 {
    exported(|host| {
        let callback = Callback { routine, extended };
        if remove {
            return remove_callback(host, callback).map(|status| status.0);
        }
        if extended && !has_force_integrity(host, routine) {
            let message = "the image is not linked with /INTEGRITYCHECK";
            host.violation("V299", "AccessDenied", message);
            return Ok(NtStatus::ACCESS_DENIED.0);
        }
        if host.faults().should_fail("PsSetCreateProcessNotifyRoutine") {
            return Ok(NtStatus::INVALID_PARAMETER.0);
        }
        let mut list = lock(&host.notify.list);
        if list.len() >= CAPACITY || list.contains(&callback) {
            return Ok(NtStatus::INVALID_PARAMETER.0);
        }
        list.push(callback);
        Ok(NtStatus::SUCCESS.0)
    })
}

fn remove_callback(host: &Arc<Host>, callback: Callback) -> Result<NtStatus, Stopped> {
    let removed = {
        let mut list = lock(&host.notify.list);
        let before = list.len();
        list.retain(|other| *other != callback);
        list.len() < before
    };
    if !removed {
        return Ok(NtStatus::INVALID_PARAMETER);
    }
    while host.notify.running.load(Ordering::SeqCst) > 0 {
        host.check_alive()?;
        std::thread::yield_now();
    }
    Ok(NtStatus::SUCCESS)
}

fn has_force_integrity(host: &Host, routine: u64) -> bool {
    let bits = host.drivers.dll_characteristics_at(routine);
    bits.is_some_and(|bits| bits & FORCE_INTEGRITY != 0)
}

/// Reports callbacks that the driver has left.
pub(crate) fn driver_unloaded(host: &Host) {
    let left = core::mem::take(&mut *lock(&host.notify.list));
    for callback in left {
        let message = format!("process callback {:#x} left at unload", callback.routine);
        host.violation("V298", "CE", message);
    }
}

extern "win64" fn set_notify(routine: u64, remove: u8) -> u32 {
    set(routine, remove != 0, false)
}

extern "win64" fn set_notify_ex(routine: u64, remove: u8) -> u32 {
    set(routine, remove != 0, true)
}

extern "win64" fn get_process_id(process: u64) -> u64 {
    let host = current();
    if let Some(process) = host.processes.at(process) {
        process.id
    } else {
        host.violation(
            "V266",
            "C4/0x3F",
            format!("{process:#x} is no live process object"),
        );
        0
    }
}

extern "win64" fn lookup_process(id: u64, process: u64) -> u32 {
    let host = current();
    match host.processes.with_id(id) {
        Some(found) => {
            host.objects.reference(found.address());
            write(process, found.address());
            NtStatus::SUCCESS.0
        }
        None => NtStatus::INVALID_PARAMETER.0,
    }
}

exports! {
    "PsSetCreateProcessNotifyRoutine" => set_notify, IrqlRule::Exactly(PASSIVE), "V070", "C4/0x2001C";
    "PsSetCreateProcessNotifyRoutineEx" => set_notify_ex, IrqlRule::Exactly(PASSIVE), "V070", "C4/0x2001C";
    "PsGetProcessId" => get_process_id, IrqlRule::Any, "V050", "C4/0xE5";
    "PsLookupProcessByProcessId" => lookup_process, IrqlRule::AtMost(thread::APC), "V050", "C4/0xE5";
}
