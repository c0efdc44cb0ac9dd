//! Into the driver and back: every call of driver code goes through `Host::call_driver`.
//!
//! Around the call the thread's IRQL, APC state, held locks and attachments are compared, because a
//! driver routine has to leave them as it found them. No lock of the host is held meanwhile.

use std::sync::Arc;

use nt_image::{Frame, Trap};

use crate::export::Watch;
use crate::fault::Finding;
use crate::host::Host;
use crate::judge::StackFrame;
use crate::suspension;
use crate::thread::{self, Level, Mark};

/// The driver was stopped, by a bug check, an exception, or because the system had ended before.
#[derive(Clone, Debug, thiserror::Error)]
#[error("stopped: {reason}")]
pub struct Stopped {
    /// The first reason.
    pub reason: String,
}

/// What kind of driver routine is called: each has its own code for the same mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A dispatch routine.
    Dispatch,
    /// A completion routine.
    Completion,
    /// Any other callback.
    Callback,
    /// A callback whose purpose is to change the thread's state, such as the lock of a cancel-safe queue.
    Lock,
}

impl Host {
    /// Calls driver code; `context` names the routine in reports.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if the driver did not come back. A routine passes that on with [`or_stop`].
    pub(crate) fn call_driver(
        self: &Arc<Self>,
        entry: Entry,
        context: &str,
        function: u64,
        arguments: &[u64],
    ) -> Result<u64, Stopped> {
        self.check_alive()?;
        let before = thread::mark();
        let level = thread::level();
        thread::push_context(context);
        thread::push_host(Arc::clone(self));
        Watch::install();
        // SAFETY: the address is one that the driver registered for this kind of routine.
        let result = unsafe { nt_image::call(function as *const (), arguments) };
        let result = match result {
            Ok(value) => {
                if entry != Entry::Lock {
                    self.locks.check_return(self, before);
                    self.cancel_lock.check_return(self);
                    self.check_attachments(before);
                    self.check_return(entry, level);
                }
                Ok(value)
            }
            Err(trap) => Err(self.trapped(trap)),
        };
        thread::pop_host();
        if thread::host().is_none() {
            suspension::left();
        }
        match result {
            Ok(value) => {
                thread::pop_context();
                Ok(value)
            }
            Err(stopped) => {
                // Frames that were abandoned have left their marks on the thread.
                thread::reset(before, level);
                Err(stopped)
            }
        }
    }

    fn check_attachments(&self, before: Mark) {
        let extra = thread::detach_beyond(before);
        if extra > 0 {
            let message = format!("returned attached to {extra} address spaces");
            self.violation("V309", "05", message);
        }
    }

    fn check_return(&self, entry: Entry, before: Level) {
        let after = thread::level();
        if after.irql != before.irql {
            let (rule, code) = match entry {
                Entry::Dispatch => ("V187", "C9/0x05"),
                Entry::Completion => ("V093", "C4/0xFA"),
                Entry::Callback | Entry::Lock => ("V071", "C4/0x2001D"),
            };
            let message = format!(
                "entered at IRQL {}, returned at {}",
                before.irql, after.irql
            );
            self.violation(rule, code, message);
        }
        if (after.critical, after.guarded) != (before.critical, before.guarded) {
            let (rule, code) = match entry {
                Entry::Dispatch => ("V091", "C4/0xC5"),
                Entry::Completion => ("V093", "C4/0xFB"),
                Entry::Callback | Entry::Lock if after.critical != before.critical => {
                    ("V085", "C4/0x40003")
                }
                Entry::Callback | Entry::Lock => ("V086", "C4/0x4000E"),
            };
            let message = format!("APC state changed from {before:?} to {after:?}");
            self.violation(rule, code, message);
        }
        if after != before {
            thread::set_level(before);
        }
    }

    fn trapped(&self, trap: Trap) -> Stopped {
        match trap {
            Trap::Stopped(payload) => match payload.downcast::<Stopped>() {
                Ok(stopped) => self.die(stopped.reason),
                Err(_) => self.die("stopped"),
            },
            Trap::Exception {
                code,
                parameters,
                instruction,
                backtrace,
                problem,
            } => {
                let finding = crate::fault::explain(self, code, &parameters, instruction);
                self.unhandled(finding, problem, backtrace)
            }
        }
    }

    fn unhandled(
        &self,
        mut finding: Finding,
        problem: Option<String>,
        backtrace: Vec<Frame>,
    ) -> Stopped {
        if let Some(problem) = problem {
            finding.message = format!("{} (unwinding ended: {problem})", finding.message);
        }
        let stack: Vec<StackFrame> = backtrace.into_iter().map(StackFrame::from).collect();
        let stopped = self.die(format!("{}: {}", finding.rule, finding.message));
        self.violation_at(finding.rule, finding.code, finding.message, stack);
        stopped
    }
}

/// The frame of a routine that may not come back: runs `work`, and leaves the driver if that was stopped.
pub(crate) fn exported<T>(work: impl FnOnce(&Arc<Host>) -> Result<T, Stopped>) -> T {
    let result = {
        let host = crate::host::current();
        work(&host)
    };
    or_stop(result)
}

/// Unwraps in a routine of the export table: a stopped inner call stops the outer driver code too.
///
/// No lock of the host may be held, and nothing that wants to be dropped.
pub(crate) fn or_stop<T>(result: Result<T, Stopped>) -> T {
    match result {
        Ok(value) => value,
        Err(stopped) => nt_image::stop(Box::new(stopped)),
    }
}
