//! Transfer contexts: what names one request of version 3 to the adapter.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::ffi::c_void;

use super::{Adapter, Error};
use crate::pool::Owned;

/// `DMA_TRANSFER_CONTEXT_SIZE_V1` on 64-bit systems, in words.
const WORDS: usize = 16;

/// A context that `InitializeDmaTransferContext` has set up. It names one request at a time and lives
/// as long as that; nothing gives it back but the end of its memory.
pub(super) struct TransferContext {
    words: Owned<[u64; WORDS]>,
}

impl TransferContext {
    /// IRQL: at most `DISPATCH_LEVEL`.
    pub(super) fn new(adapter: &Adapter) -> Result<Self, Error> {
        let initialize = adapter.table.initialize_context()?;
        let words = Owned::new([0; WORDS])?;
        // SAFETY: the adapter is live; the context has the size of version 1.
        Error::check(unsafe { initialize(adapter.as_ptr(), words.as_ptr().cast()) })?;
        Ok(Self { words })
    }

    pub(super) const fn as_ptr(&self) -> *mut c_void {
        self.words.as_ptr().cast()
    }
}
