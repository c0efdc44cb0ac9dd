//! Where driver code is.

use crate::context::Context;
use crate::dispatch::driver_stack;
use crate::registry;
use crate::thread::{self, Boundary};
use crate::unwind::{self, Problem, Stack};

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

/// More frames than this are left out.
const MAXIMUM_FRAMES: usize = 64;

/// The frames of the driver code that called the routine now running, innermost first.
///
/// Where that driver code was itself called by a routine, the routine and the frames of the driver
/// code that called it follow.
#[must_use]
pub fn backtrace() -> Vec<Frame> {
    match thread::top() {
        Some(Boundary::Call(frame)) => frames(&Context::at_call(frame)).0,
        Some(Boundary::Entry(_)) | None => Vec::new(),
    }
}

/// The frames of driver code that stopped with `context`, and what kept them from being complete.
pub(crate) fn frames(context: &Context) -> (Vec<Frame>, Option<Problem>) {
    let mut frames = Vec::new();
    let mut context = *context;
    let mut entry = thread::innermost_entry();
    while let Some(call) = entry {
        if let Err(problem) = append(&mut frames, context, driver_stack(&context, call)) {
            return (frames, Some(problem));
        }
        let Some(Boundary::Call(outer)) = call.outer() else {
            break;
        };
        let address = outer.routine.function.addr() as u64;
        frames.push(Frame {
            address,
            symbol: outer.routine.name.to_owned(),
        });
        context = Context::at_call(outer);
        entry = match outer.outer() {
            Some(Boundary::Entry(entry)) => Some(entry),
            Some(Boundary::Call(_)) | None => None,
        };
    }
    (frames, None)
}

/// Appends the frames of one call of driver code.
fn append(frames: &mut Vec<Frame>, mut context: Context, stack: Stack) -> Result<(), Problem> {
    let mut first = true;
    while context.rsp() != stack.end && frames.len() < MAXIMUM_FRAMES {
        frames.push(Frame::at(context.rip));
        if first && registry::with_image(context.rip, |_| ()).is_none() {
            unwind::step_leaf(&mut context, stack)?;
        } else {
            unwind::step(&mut context, stack)?;
        }
        first = false;
    }
    Ok(())
}
