//! The end of a process, in the system's order: callbacks, requests, handles, address space.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{ProcessObject, ThreadObject, notify};
use crate::call::Stopped;
use crate::host::Host;
use crate::irp::{cancel, check};
use crate::{lock, thread};

/// Ends the process. A second call waits for the first.
pub(crate) fn exit(host: &Arc<Host>, process: &Arc<ProcessObject>) -> Result<(), Stopped> {
    if process.exiting.swap(true, Ordering::SeqCst) {
        return wait_until(host, || process.has_exited());
    }
    // A thread that is inside the system ends when it comes back: the last one ends the process.
    wait_until(host, || process.active.load(Ordering::SeqCst) == 0)?;
    thread::in_process(process, || {
        notify::exited(host, process)?;
        for thread in process.all_threads() {
            cancel_requests(host, &thread)?;
        }
        close_handles(host, process)
    })?;
    crate::memory::process_exiting(host, process);
    process.exited.store(true, Ordering::SeqCst);
    for thread in process.all_threads() {
        host.objects.remove(thread.address());
    }
    lock(&process.threads).clear();
    if host.objects.references(process.address()) == 0 {
        host.processes.reference_dropped(host, process.address());
    }
    crate::file::run_deferred(host)
}

fn wait_until(host: &Host, done: impl Fn() -> bool) -> Result<(), Stopped> {
    let deadline = Instant::now() + host.options.watchdog;
    while !done() {
        host.check_alive()?;
        if Instant::now() > deadline {
            let message = "the exit of a process does not end";
            host.violation("V308", "hang", message);
            return Err(host.die(message));
        }
        std::thread::yield_now();
    }
    Ok(())
}

fn close_handles(host: &Arc<Host>, process: &Arc<ProcessObject>) -> Result<(), Stopped> {
    loop {
        let next = lock(&process.handles).keys().next().copied();
        let Some(handle) = next else { return Ok(()) };
        crate::file::close_handle(host, process, handle)?;
    }
}

/// Cancels what a thread has issued, and waits for it.
pub(crate) fn cancel_requests(host: &Arc<Host>, thread: &ThreadObject) -> Result<(), Stopped> {
    for request in thread.pending() {
        cancel::cancel(host, &request)?;
    }
    for request in thread.pending() {
        if request.wait(host, host.options.watchdog).is_none() && !host.is_dead() {
            let name = check::name_of(request.major, request.minor);
            let message = format!(
                "{name} at {:#x}, cancelled, is not completed",
                request.address
            );
            host.violation("V267", "C4/0x135", message);
        }
    }
    Ok(())
}
