//! Secured memory: ranges of a process's own that it cannot free, nor take access from, until a
//! driver unsecures them, and the callbacks by which a program is told that it has tried.
//!
//! A program that frees or protects secured memory is refused at first; then its callbacks run, and
//! if one of them says that it has unsecured something, the system tries once more.
//!
//! What a driver has mapped into the process can be secured as well, for no document says otherwise: that
//! the mapping stays is then a promise that only the driver can break.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nt_machine::{FrameList, Protection};

use super::locked::overlap;
use super::stacks::Stack;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::process::ProcessObject;
use crate::status::NtStatus;
use crate::thread::APC;
use crate::{USER_LIMIT, lock};

const PAGE_READONLY: u32 = 2;
const PAGE_READWRITE: u32 = 4;
/// `MM_SECURE_EXCLUSIVE`, `MM_SECURE_NO_CHANGE`, and all flags that there are.
const EXCLUSIVE: u32 = 1;
const NO_CHANGE: u32 = 2;
const FLAGS: u32 = 0xF;
/// What is handed out looks like an address of the kernel, and is none.
const FIRST: u64 = 0xFFFF_C000_0000_0000;
const STEP: u64 = 16;

/// A secured range.
struct Secured {
    process: u64,
    start: u64,
    end: u64,
    write: bool,
    no_change: bool,
    /// What it shows of a driver's memory; nothing if it is memory of the process's own.
    shown: FrameList,
    stack: Stack,
}

impl Secured {
    fn describe(&self) -> String {
        let (bytes, start, process) = (self.end - self.start, self.start, self.process);
        format!("{bytes} bytes at {start:#x} of process {process} are secured")
    }

    /// Whether memory of its process may become `to`.
    const fn allows(&self, to: Option<Protection>) -> bool {
        match to {
            None => false,
            Some(to) if self.no_change || self.write => !self.no_change && to.writable(),
            Some(to) => !matches!(to, Protection::None),
        }
    }
}

/// All secured ranges of a host.
#[derive(Default)]
pub(crate) struct SecuredRanges(Mutex<State>);

#[derive(Default)]
struct State {
    live: BTreeMap<u64, Secured>,
    issued: u64,
}

impl SecuredRanges {
    /// Whether memory of a process may be freed (`None`) or become so.
    fn allow(&self, process: u64, start: u64, end: u64, to: Option<Protection>) -> bool {
        lock(&self.0).live.values().all(|secured| {
            let elsewhere =
                secured.process != process || secured.end <= start || secured.start >= end;
            elsewhere || secured.allows(to)
        })
    }

    /// A secured range, in words, that shows one of these frames of a driver's.
    pub(super) fn showing(&self, frames: &FrameList) -> Option<String> {
        let state = lock(&self.0);
        let mut live = state.live.values();
        live.find(|secured| overlap(&secured.shown, frames))
            .map(Secured::describe)
    }

    /// A secured range of a process, in words, that lies there.
    pub(super) fn inside(&self, process: u64, start: u64, end: u64) -> Option<String> {
        let state = lock(&self.0);
        let mut live = state.live.values();
        live.find(|it| it.process == process && it.start < end && start < it.end)
            .map(Secured::describe)
    }

    /// The secured ranges of a process, as (address, length).
    pub(crate) fn of(&self, process: u64) -> Vec<(u64, u64)> {
        let state = lock(&self.0);
        let of = state.live.values().filter(|it| it.process == process);
        of.map(|it| (it.start, it.end - it.start)).collect()
    }
}

extern "win64" fn mm_secure_virtual_memory(address: u64, size: u64, mode: u32) -> u64 {
    secure(&current(), "MmSecureVirtualMemory", address, size, mode, 0).unwrap_or(0)
}

extern "win64" fn mm_secure_virtual_memory_ex(
    address: u64,
    size: u64,
    mode: u32,
    flags: u32,
) -> u64 {
    let routine = "MmSecureVirtualMemoryEx";
    secure(&current(), routine, address, size, mode, flags).unwrap_or(0)
}

fn secure(
    host: &Arc<Host>,
    routine: &'static str,
    address: u64,
    size: u64,
    mode: u32,
    flags: u32,
) -> Option<u64> {
    let process = host.current_process();
    if process.address() == host.processes.system().address() {
        host.violation("V133", "1A", "memory secured in the system process");
        return None;
    }
    if host.faults().should_fail(routine) {
        return None;
    }
    let write = match mode {
        PAGE_READONLY => false,
        PAGE_READWRITE => true,
        _ => return None,
    };
    let end = address.checked_add(size).filter(|end| *end <= USER_LIMIT)?;
    if size == 0 || flags & !FLAGS != 0 || process.is_exiting() {
        return None;
    }
    let shown = if process.memory.has_allocation(address, end) {
        FrameList::default()
    } else {
        process.memory.view_frames(address, end)?
    };
    process.memory.arena.frames_of(address, size, write)?;
    let (start, end) = whole_pages(address, end);
    if flags & EXCLUSIVE != 0 && host.memory.secured.inside(process.id, start, end).is_some() {
        return None;
    }
    let secured = Secured {
        process: process.id,
        start,
        end,
        write,
        no_change: flags & NO_CHANGE != 0,
        shown,
        stack: host.memory.stacks.current(),
    };
    let mut state = lock(&host.memory.secured.0);
    let handle = FIRST + state.issued * STEP;
    state.issued += 1;
    state.live.insert(handle, secured);
    Some(handle)
}

const fn whole_pages(start: u64, end: u64) -> (u64, u64) {
    let page = nt_machine::PAGE_SIZE;
    (start / page * page, end.next_multiple_of(page))
}

extern "win64" fn mm_unsecure_virtual_memory(handle: u64) {
    let host = current();
    let process = host.current_process();
    let message = {
        let mut state = lock(&host.memory.secured.0);
        match state.live.get(&handle) {
            Some(secured) if secured.process == process.id => {
                state.live.remove(&handle);
                return;
            }
            Some(secured) => format!(
                "{handle:#x} unsecured in process {}, secured in process {}",
                process.id, secured.process
            ),
            None => {
                let issued = handle.is_multiple_of(STEP)
                    && handle
                        .checked_sub(FIRST)
                        .is_some_and(|it| it / STEP < state.issued);
                let why = if issued {
                    "is unsecured already, or its process has ended"
                } else {
                    "stands for no secured memory"
                };
                format!("{handle:#x} {why}")
            }
        }
    };
    host.violation("V133", "1A", message);
}

/// What a program has called when its secured memory is about to be freed or protected.
pub(crate) type Callback = Arc<dyn Fn(u64, u64) -> bool + Send + Sync>;

/// Frees memory of a process (`None`), or changes its protection; tells the process if it is secured.
pub(crate) fn change(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    address: u64,
    to: Option<Protection>,
    work: impl Fn() -> Result<(), NtStatus>,
) -> Result<(), NtStatus> {
    let Some(length) = process.memory.allocation_length(address) else {
        return Err(NtStatus::INVALID_PARAMETER);
    };
    let end = address + length;
    let allowed = || host.memory.secured.allow(process.id, address, end, to);
    if !allowed() {
        let mut unsecured = false;
        for callback in process.memory.callbacks() {
            unsecured |= callback(address, length);
        }
        if !unsecured || !allowed() {
            return Err(NtStatus::INVALID_PAGE_PROTECTION);
        }
    }
    work()
}

/// A process has ended: the system unsecures what is left.
pub(crate) fn process_exiting(host: &Arc<Host>, process: &Arc<ProcessObject>) {
    let mut state = lock(&host.memory.secured.0);
    state
        .live
        .retain(|_, secured| secured.process != process.id);
}

/// A driver is unloaded: reports what it has left secured.
pub(crate) fn driver_unloaded(host: &Arc<Host>) {
    let left: Vec<(String, Stack)> = lock(&host.memory.secured.0)
        .live
        .iter()
        .map(|(handle, it)| {
            let detail = format!("{handle:#x}: {}", it.describe());
            (detail, Arc::clone(&it.stack))
        })
        .collect();
    for (detail, stack) in left {
        host.violation_at("V132", "C4/0x62", detail.clone(), stack.to_vec());
        host.leak("secured memory", detail, stack.to_vec());
    }
}

exports! {
    "MmSecureVirtualMemory" => mm_secure_virtual_memory, IrqlRule::AtMost(APC), "V067", "C4/0x20019";
    "MmSecureVirtualMemoryEx" => mm_secure_virtual_memory_ex, IrqlRule::AtMost(APC), "V067", "C4/0x20019";
    "MmUnsecureVirtualMemory" => mm_unsecure_virtual_memory, IrqlRule::AtMost(APC), "V067", "C4/0x20019";
}
