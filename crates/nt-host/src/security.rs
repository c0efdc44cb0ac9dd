//! Whom a thread acts for: security contexts and what a token allows.
//!
//! A process has one token, which either is an administrator's or is not. Nobody impersonates.
//! `SECURITY_SUBJECT_CONTEXT`: `ClientToken` +0, `ImpersonationLevel` +8, `PrimaryToken` +16,
//! `ProcessAuditId` +24.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::access::{copy_in, read, write};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::judge::{StackFrame, current_stack};
use crate::lock;
use crate::thread::{self, PASSIVE};

/// Contexts that drivers have captured and not released.
#[derive(Default)]
pub(crate) struct Captured {
    contexts: Mutex<HashMap<u64, Vec<StackFrame>>>,
}

impl Captured {
    /// Reports contexts that the driver has not released.
    pub(crate) fn driver_unloaded(&self, host: &Host) {
        for (context, stack) in core::mem::take(&mut *lock(&self.contexts)) {
            host.leak("security context", format!("{context:#x}"), stack);
        }
    }
}

extern "win64" fn capture_subject_context(context: u64) {
    let host = current();
    let process = thread::own_process().unwrap_or_else(|| host.processes.system());
    copy_in(context, &[0; 32]);
    // The token of a process is known by the process's address: a driver does not look inside.
    write(context + 16, process.address());
    write(context + 24, process.id);
    lock(&host.captured.contexts).insert(context, current_stack());
}

extern "win64" fn release_subject_context(context: u64) {
    let host = current();
    if lock(&host.captured.contexts).remove(&context).is_none() {
        let message = format!("{context:#x} is no captured security context");
        host.violation("V266", "C4/0x3F", message);
    } else {
        // Whoever uses the token afterwards finds none.
        copy_in(context, &[0; 32]);
    }
}

extern "win64" fn token_is_admin(token: u64) -> u8 {
    let host = current();
    let held = |context: &u64| read::<u64>(*context + 16) == token;
    let referenced = lock(&host.captured.contexts).keys().any(held);
    match host.processes.at(token).filter(|_| referenced) {
        Some(process) => u8::from(process.is_administrator()),
        None => {
            let message = format!("{token:#x} is no token that is referenced");
            host.violation("V266", "C4/0x3F", message);
            0
        }
    }
}

exports! {
    "SeCaptureSubjectContext" => capture_subject_context, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
    "SeReleaseSubjectContext" => release_subject_context, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
    "SeTokenIsAdmin" => token_is_admin, IrqlRule::Exactly(PASSIVE), "V050", "C4/0xE5";
}
