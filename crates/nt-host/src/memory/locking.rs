//! Probing and locking the pages that an MDL describes, and unlocking them.
//!
//! A user address may as well lie in a mapping that a driver made: its pages are locked like a program's
//! own, with the protection that the mapping has, and nothing but the lock keeps them.

use std::sync::Arc;

use super::mdl::{LOCKED, MAPPED, Mdl, NONPAGED, PARTIAL, Raise, WRITE, state_of, with_state};
use super::user::Lock;
use crate::USER_LIMIT;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::process::ProcessObject;
use crate::status::NtStatus;
use crate::thread::{self, APC, DISPATCH};

/// `UserMode`.
pub(crate) const USER_MODE: u8 = 1;
/// `IoReadAccess`: the device or driver only reads the buffer.
const READ_ACCESS: u32 = 0;

extern "win64" fn mm_probe_and_lock_pages(mdl: u64, mode: u8, operation: u32) {
    let result = probe_and_lock(&current(), mdl, mode, operation);
    if let Err(raise) = result {
        raise.now();
    }
}

/// Locks; an error is what the routine raises.
pub(crate) fn probe_and_lock(
    host: &Arc<Host>,
    address: u64,
    mode: u8,
    operation: u32,
) -> Result<(), Raise> {
    let mdl = Mdl::read(address);
    if mdl.flags & (LOCKED | NONPAGED | MAPPED | PARTIAL) != 0 {
        host.violation(
            "V116",
            "C4/0xB0",
            format!("{} already has pages", mdl.describe()),
        );
        return Err(Raise::status(NtStatus::INVALID_PARAMETER));
    }
    let user = mdl.address() < USER_LIMIT;
    let irql = thread::irql();
    if user && irql > APC {
        host.violation("V039", "C4/0x70", format!("pageable memory at IRQL {irql}"));
    }
    if user && mode != USER_MODE {
        host.violation(
            "V258",
            "C4/0xE0",
            format!("{}: a user address, not probed", mdl.describe()),
        );
    }
    if host.faults().should_fail("MmProbeAndLockPages") {
        return Err(Raise::status(NtStatus::WORKING_SET_QUOTA));
    }
    lock_pages(host, mdl, mode, operation != READ_ACCESS)
}

/// Locks the pages of an MDL in the current process, or in the kernel.
pub(crate) fn lock_pages(
    host: &Arc<Host>,
    mut mdl: Mdl,
    mode: u8,
    write: bool,
) -> Result<(), Raise> {
    let (address, length) = (mdl.address(), u64::from(mdl.count));
    let user = address < USER_LIMIT;
    let violation = Raise::access(address, write);
    let end = address.checked_add(length).ok_or(violation)?;
    if end > USER_LIMIT && (user || mode == USER_MODE) {
        return Err(violation);
    }
    let process = host.current_process();
    let frames = if user {
        if process.is_exiting() {
            return Err(Raise::status(NtStatus::PROCESS_IS_TERMINATING));
        }
        process.memory.arena.frames_of(address, length, write)
    } else {
        host.memory.arena.frames_of(address, length, write)
    };
    let frames = frames.ok_or(violation)?;
    mdl.set_flags(LOCKED | if write { WRITE } else { 0 }, 0);
    mdl.set_frames(&frames);
    let stack = host.memory.stacks.current();
    if user {
        mdl.set_process(process.address());
        let regions = process.memory.regions(address, length);
        let pages = frames.pages();
        process.memory.add_lock(
            mdl.at,
            Lock {
                pages,
                regions,
                stack: Arc::clone(&stack),
            },
        );
    }
    host.memory.locked.add(&frames);
    let source = host.memory.blocks.live(address).map(|block| block.base);
    with_state(host, &mdl, |state| {
        state.frames = frames;
        state.locked = true;
        state.was_locked = true;
        state.process = user.then(|| Arc::downgrade(&process));
        state.source = source;
        state.stack = stack;
    });
    Ok(())
}

extern "win64" fn mm_unlock_pages(address: u64) {
    let host = current();
    let mdl = Mdl::read(address);
    if mdl.flags & NONPAGED != 0 {
        host.violation(
            "V109",
            "C4/0x7D",
            format!("{}: nonpaged memory", mdl.describe()),
        );
        return;
    }
    if mdl.flags & PARTIAL != 0 {
        host.violation("V119", "C4/0xB4", format!("{} is partial", mdl.describe()));
        return;
    }
    let Some(state) = state_of(&host, address).filter(|state| state.locked) else {
        let was_locked = state_of(&host, address).is_some_and(|state| state.was_locked);
        let (rule, code) = if was_locked {
            ("V123", "76")
        } else {
            ("V108", "C4/0x7C")
        };
        host.violation(rule, code, format!("{} is not locked", mdl.describe()));
        return;
    };
    if state.user_views > 0 {
        let message = format!("{} is unlocked while mapped to a process", mdl.describe());
        host.violation("V125", "C4/0x16", message);
    }
    unlock(&host, mdl);
}

/// Removes the system mapping and unlocks.
pub(crate) fn unlock(host: &Arc<Host>, mut mdl: Mdl) {
    super::mapping::drop_system_view(host, &mut mdl);
    let (frames, process) = with_state(host, &mdl, |state| {
        state.locked = false;
        (state.frames.clone(), state.process.take())
    });
    mdl.set_flags(0, LOCKED | WRITE);
    host.memory.locked.remove(&host.memory.machine, &frames);
    if let Some(process) = process.and_then(|process| process.upgrade()) {
        process.memory.remove_lock(mdl.at);
        mdl.set_process(0);
    }
}

/// Reports pages that a process leaves locked, and forgets them.
pub(crate) fn process_exiting(host: &Arc<Host>, process: &Arc<ProcessObject>) {
    for (mdl, lock) in process.memory.take_locks() {
        let message = format!(
            "process {} ({}) ends with {} pages of {} allocations locked by MDL {mdl:#x}",
            process.id,
            process.name,
            lock.pages,
            lock.regions.len()
        );
        host.violation_at("V122", "76", message, lock.stack.to_vec());
    }
}

exports! {
    "MmProbeAndLockPages" => mm_probe_and_lock_pages, IrqlRule::AtMost(DISPATCH), "V039", "C4/0x70";
    "MmUnlockPages" => mm_unlock_pages, IrqlRule::AtMost(DISPATCH), "V044", "C4/0x78";
}
