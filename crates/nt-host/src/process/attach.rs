//! Attaching a thread to another process's address space, and who is current.
//!
//! `KAPC_STATE` is the driver's memory of 48 bytes; the host keeps the true state itself.

use crate::access::{fill, write};
use crate::call::exported;
use crate::export::{IrqlRule, exports};
use crate::host::current;
use crate::thread::{self, APC, DISPATCH};

extern "win64" fn stack_attach_process(process: u64, state: u64) {
    exported(|host| {
        fill(state, 0, 48);
        let Some(target) = host.processes.at(process) else {
            let message = format!("{process:#x} is no live process object");
            host.violation("V266", "C4/0x3F", message);
            return Err(host.die("V266: attach to something that is no process"));
        };
        if target.has_exited() {
            let message = format!(
                "attached to {} after its address space was gone",
                target.name
            );
            host.violation("V309", "05", message);
        }
        if thread::holds_spin_lock() {
            host.violation("V309", "05", "attached while a spin lock is held");
        }
        write(
            state + 32,
            thread::process().map_or(0, |process| process.address()),
        );
        thread::attach(state, target);
        Ok(())
    });
}

extern "win64" fn unstack_detach_process(state: u64) {
    exported(|host| match thread::detach(state) {
        Ok(()) => Ok(()),
        Err(expected) => {
            let message = match expected {
                Some(expected) => format!("state {state:#x}, the last attach used {expected:#x}"),
                None => format!("state {state:#x}, the thread is not attached"),
            };
            host.violation("V309", "05", message);
            Err(host.die("V309: INVALID_PROCESS_ATTACH_ATTEMPT"))
        }
    });
}

extern "win64" fn current_process() -> u64 {
    current().current_process().address()
}

extern "win64" fn current_process_id() -> u64 {
    // The process of the thread, whatever it is attached to.
    thread::own_process().map_or(4, |process| process.id)
}

extern "win64" fn current_thread() -> u64 {
    let host = current();
    let process = thread::own_process().unwrap_or_else(|| host.processes.system());
    process
        .current_thread(&host)
        .map_or(0, |thread| thread.address())
}

extern "win64" fn current_thread_id() -> u64 {
    thread::id() * 4
}

exports! {
    "KeStackAttachProcess" => stack_attach_process, IrqlRule::AtMost(APC), "V063", "C4/0x2000F";
    "KeUnstackDetachProcess" => unstack_detach_process, IrqlRule::AtMost(APC), "V063", "C4/0x2000F";
    "IoGetCurrentProcess" => current_process, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "PsGetCurrentProcess" => current_process, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "PsGetCurrentProcessId" => current_process_id, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "PsGetCurrentThread" => current_thread, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "KeGetCurrentThread" => current_thread, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "PsGetCurrentThreadId" => current_thread_id, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
}
