//! Call stacks kept with allocations; equal ones are stored once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::judge::StackFrame;
use crate::lock;

/// The driver's frames at an allocation, innermost first.
pub(crate) type Stack = Arc<[StackFrame]>;

/// The stacks seen so far.
#[derive(Default)]
pub(crate) struct Stacks {
    known: Mutex<HashMap<Vec<u64>, Stack>>,
}

impl Stacks {
    /// The stack of the driver code that has called the routine now running.
    pub(crate) fn current(&self) -> Stack {
        let frames = nt_image::backtrace();
        let addresses: Vec<u64> = frames.iter().map(|frame| frame.address).collect();
        let mut known = lock(&self.known);
        let stack = known.entry(addresses);
        Arc::clone(stack.or_insert_with(|| frames.into_iter().map(StackFrame::from).collect()))
    }
}
