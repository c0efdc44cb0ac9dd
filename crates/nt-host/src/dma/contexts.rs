//! Transfer contexts: one for each transfer that a driver has asked for with a newer member.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adapter::{Adapter, find};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::status::NtStatus;
use crate::thread::DISPATCH;
use crate::{access, lock};

/// `DMA_TRANSFER_CONTEXT_SIZE_V1` on 64-bit systems.
const SIZE: u64 = 128;
/// What a context holds after it was set up: drivers must not look into it.
const FILL: u64 = 0xC0DE_C0DE_C0DE_C0DE;

/// Where a context is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Set up, and not used yet.
    Ready,
    /// What was asked for with it is over; it may be used again.
    Done,
    /// A transfer is under way with it.
    Busy,
    /// `CancelAdapterChannel` was called before anything was asked for with it.
    Cancelled,
}

/// The contexts of an adapter, by address.
#[derive(Default)]
pub(crate) struct Contexts(BTreeMap<u64, Use>);

impl Contexts {
    /// The transfer with this context is over.
    pub(crate) fn end(&mut self, context: u64) {
        if let Some(of_context) = self.0.get_mut(&context) {
            *of_context = Use::Done;
        }
    }
}

extern "win64" fn initialize_dma_transfer_context(adapter: u64, context: u64) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    if host.faults().should_fail("InitializeDmaTransferContext") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    let busy = lock(&adapter.state).contexts.0.get(&context) == Some(&Use::Busy);
    if busy {
        let message = format!("transfer context {context:#x} is in use");
        host.violation("V008", "C4/0x16", message);
        return NtStatus::INVALID_PARAMETER.0;
    }
    (0..SIZE / 8).for_each(|word| access::write::<u64>(context + 8 * word, FILL));
    lock(&adapter.state).contexts.0.insert(context, Use::Ready);
    NtStatus::SUCCESS.0
}

/// Begins a transfer with a context, judged: it has to be set up, unchanged and not in use.
pub(super) fn begin(host: &Arc<Host>, adapter: &Adapter, context: u64) -> Result<(), NtStatus> {
    let is_whole = (0..SIZE / 8).all(|word| whole(context, word));
    let wrong = {
        let mut state = lock(&adapter.state);
        match state.contexts.0.get_mut(&context) {
            None => "was not set up",
            Some(Use::Busy) => "is in use by another transfer",
            Some(_) if !is_whole => "was written to",
            Some(Use::Cancelled) => return Err(NtStatus::CANCELLED),
            Some(of_context) => {
                *of_context = Use::Busy;
                return Ok(());
            }
        }
    };
    let message = format!("transfer context {context:#x} {wrong}");
    host.violation("V008", "C4/0x16", message);
    Err(NtStatus::INVALID_PARAMETER)
}

/// Cancels in advance what will be asked for with a context; false if something was granted for it already, or it is unknown.
pub(super) fn cancel_next(host: &Arc<Host>, adapter: &Adapter, context: u64) -> bool {
    let mut state = lock(&adapter.state);
    match state.contexts.0.get_mut(&context) {
        Some(Use::Busy | Use::Done) => false,
        Some(of_context) => {
            *of_context = Use::Cancelled;
            true
        }
        None => {
            drop(state);
            let message = format!("transfer context {context:#x} was not set up");
            host.violation("V008", "C4/0x16", message);
            false
        }
    }
}

fn whole(context: u64, word: u64) -> bool {
    access::read::<u64>(context + 8 * word) == FILL
}

exports! {
    "InitializeDmaTransferContext" => initialize_dma_transfer_context, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
}
