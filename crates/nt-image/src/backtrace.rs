//! Where driver code is.

use crate::registry;
use crate::thread::{self, Boundary};

/// One frame of driver code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Address of the next instruction.
    pub address: u64,
    /// `image+0xRVA`, with the exported function if it is in one.
    pub symbol: String,
}

impl Frame {
    pub(crate) fn at(address: u64) -> Self {
        let symbol = registry::with_image(address, |image| image.symbol(address));
        Self {
            address,
            symbol: symbol.unwrap_or_else(|| format!("{address:#x}")),
        }
    }
}

/// The frames of the driver code that called the routine now running, innermost first.
#[must_use]
pub fn backtrace() -> Vec<Frame> {
    match thread::top() {
        Some(Boundary::Call(frame)) => vec![Frame::at(frame.return_address)],
        Some(Boundary::Entry(_)) | None => Vec::new(),
    }
}
