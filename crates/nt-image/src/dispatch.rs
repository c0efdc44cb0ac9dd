//! Exception dispatch: finding a handler (first pass), and going there (second pass).
//!
//! As on the real system: the first pass asks each frame's language handler, innermost first, with
//! the stack untouched; the handler that takes the exception starts the second pass, which gives
//! the frames in between the chance to clean up, and then continues at the handler's code.
//!
//! An exception that a filter or termination handler causes and does not handle itself ends the
//! whole call; the real system would search on outside of the handler.
//!
//! Nothing on the stack here may need dropping: the second pass leaves these frames for good.

use std::arch::naked_asm;
use std::cell::UnsafeCell;
use std::ptr::{from_mut, from_ref};

use crate::backtrace;
use crate::call::{Trap, call_in, escape};
use crate::context::{Context, DispatcherContext, ExceptionRecord, RAX, RSP};
use crate::thread::{self, Boundary, Entry};
use crate::unwind::{self, EXCEPTION_HANDLER, Handler, Problem, Stack, Step, TERMINATION_HANDLER};

/// `EXCEPTION_NONCONTINUABLE`
pub(crate) const NONCONTINUABLE: u32 = 1;
/// `EXCEPTION_UNWINDING`
pub(crate) const UNWINDING: u32 = 2;
/// `EXCEPTION_TARGET_UNWIND`
pub(crate) const TARGET_UNWIND: u32 = 0x20;
/// `ExceptionContinueExecution`
pub(crate) const CONTINUE_EXECUTION: u32 = 0;
/// `ExceptionContinueSearch`
pub(crate) const CONTINUE_SEARCH: u32 = 1;
const STATUS_NONCONTINUABLE_EXCEPTION: u32 = 0xc000_0025;

/// An exception on its way to a handler.
pub(crate) struct Dispatch {
    record: ExceptionRecord,
    /// What handlers see, and may change to continue with.
    context: UnsafeCell<Context>,
    /// The registers of the exception, whatever handlers do to `context`.
    origin: Context,
    stack: Stack,
}

/// How the first pass ended, if not by going to a handler.
enum Outcome {
    Continue,
    Unhandled(Option<Problem>),
    Trapped(Trap),
}

/// Raises a structured exception at the driver's call of the routine now running.
///
/// The driver's filters and termination handlers run; if one of its handlers takes the exception,
/// the driver continues there. Otherwise the innermost [`call`](crate::call) of this thread returns
/// [`Trap::Exception`]. Host frames up to the driver are left without being dropped; see the
/// crate's documentation.
///
/// # Panics
///
/// If the driver is not in a call of a routine on this thread.
pub fn raise(status: u32, parameters: &[u64]) -> ! {
    let Some(Boundary::Call(frame)) = thread::top() else {
        no_routine(status);
    };
    let context = Context::at_call(frame);
    dispatch(
        ExceptionRecord::new(status, NONCONTINUABLE, context.rip, parameters),
        &context,
    )
}

#[expect(
    clippy::panic,
    reason = "the documented answer to a call from outside of a routine"
)]
fn no_routine(status: u32) -> ! {
    panic!("exception {status:#x} raised outside of a routine that a driver called");
}

/// Where the frames of `entry` are, for code that stopped with `context`.
pub(crate) fn driver_stack(context: &Context, entry: &Entry) -> Stack {
    Stack {
        low: context.rsp(),
        end: entry.driver_rsp.get(),
    }
}

/// Handles an exception in driver code.
pub(crate) fn dispatch(record: ExceptionRecord, context: &Context) -> ! {
    let Some(entry) = thread::innermost_entry() else {
        no_routine(record.code);
    };
    let stack = driver_stack(context, entry);
    let mut dispatch = Dispatch {
        record,
        context: UnsafeCell::new(*context),
        origin: *context,
        stack,
    };
    match dispatch.first_pass() {
        Outcome::Continue if dispatch.record.flags & NONCONTINUABLE == 0 => {
            continue_at(dispatch.context.get_mut(), stack)
        }
        Outcome::Continue => {
            dispatch.record.code = STATUS_NONCONTINUABLE_EXCEPTION;
            escape(dispatch.trap(None))
        }
        Outcome::Unhandled(problem) => escape(dispatch.trap(problem)),
        Outcome::Trapped(trap) => escape(trap),
    }
}

/// The trap for an exception that no handler is asked about.
pub(crate) fn unhandled(record: &ExceptionRecord, context: &Context, problem: String) -> Trap {
    Trap::Exception {
        code: record.code,
        parameters: record.parameters().to_vec(),
        instruction: record.address,
        backtrace: vec![backtrace::Frame::at(context.rip)],
        problem: Some(problem),
    }
}

impl Dispatch {
    /// The dispatch that the handler now running belongs to.
    pub(crate) fn current<'a>() -> Option<&'a Self> {
        let dispatch = thread::innermost_entry()?.dispatch.cast::<Self>();
        // SAFETY: null, or what `ask` passed, which waits for the handler to return.
        unsafe { dispatch.as_ref() }
    }

    /// The trap for this exception, if nothing handles it.
    pub(crate) fn trap(&self, problem: Option<Problem>) -> Trap {
        let (backtrace, stuck) = backtrace::frames(&self.origin);
        Trap::Exception {
            code: self.record.code,
            parameters: self.record.parameters().to_vec(),
            instruction: self.record.address,
            backtrace,
            problem: problem.or(stuck).map(|problem| problem.to_string()),
        }
    }

    fn first_pass(&mut self) -> Outcome {
        let mut context = self.origin;
        if unwind::leave_nowhere(&mut context, self.stack).is_err() {
            return Outcome::Unhandled(Some(Problem::NoImage(context.rip)));
        }
        while context.rsp() != self.stack.end {
            let pc = context.rip;
            let step = match unwind::step(&mut context, self.stack) {
                Ok(step) => step,
                Err(problem) => return Outcome::Unhandled(Some(problem)),
            };
            let Some(handler) = step.handler.filter(|it| it.flags & EXCEPTION_HANDLER != 0) else {
                continue;
            };
            let mut record = self.record;
            let mut dispatcher = DispatcherContext::new(pc, &step, handler, &mut context, 0);
            match self.ask(&mut record, &mut dispatcher, handler) {
                Err(trap) => return Outcome::Trapped(trap),
                Ok(disposition) if disposition == u64::from(CONTINUE_EXECUTION) => {
                    return Outcome::Continue;
                }
                Ok(disposition) if disposition == u64::from(CONTINUE_SEARCH) => {}
                Ok(disposition) => {
                    let problem = Problem::Disposition { pc, disposition };
                    return Outcome::Unhandled(Some(problem));
                }
            }
        }
        Outcome::Unhandled(None)
    }

    /// Calls a frame's language handler and returns its disposition.
    fn ask(
        &self,
        record: &mut ExceptionRecord,
        dispatcher: &mut DispatcherContext,
        handler: Handler,
    ) -> Result<u64, Trap> {
        let arguments = [
            from_mut(record).expose_provenance() as u64,
            dispatcher.establisher,
            self.context.get().expose_provenance() as u64,
            from_mut(dispatcher).expose_provenance() as u64,
        ];
        let function = std::ptr::with_exposed_provenance(handler.routine as usize);
        // SAFETY: the image declares this to be a language handler, and these are the arguments
        // of one; `self` outlives the call.
        let disposition = unsafe { call_in(from_ref(self).cast(), function, &arguments) };
        disposition.map(|disposition| disposition & u64::from(u32::MAX))
    }

    /// The second pass: unwinds to the frame `target_frame` and continues there at `target`.
    pub(crate) fn unwind_to(&self, target_frame: u64, target: u64) -> ! {
        let mut context = self.origin;
        let mut problem = unwind::leave_nowhere(&mut context, self.stack).err();
        while problem.is_none() && context.rsp() != self.stack.end {
            let mut frame = context;
            let step = match unwind::step(&mut context, self.stack) {
                Ok(step) => step,
                Err(stuck) => {
                    problem = Some(stuck);
                    break;
                }
            };
            let at_target = step.establisher == target_frame;
            if let Err(stuck) = self.clean_up(&mut frame, &step, at_target, target) {
                problem = Some(stuck);
            } else if at_target {
                frame.rip = target;
                frame.integer[RAX] = u64::from(self.record.code);
                continue_at(&frame, self.stack);
            }
        }
        escape(self.trap(Some(problem.unwrap_or(Problem::NoTarget(target_frame)))))
    }

    /// Has the frame's language handler run its termination handlers.
    fn clean_up(
        &self,
        frame: &mut Context,
        step: &Step,
        at_target: bool,
        target: u64,
    ) -> Result<(), Problem> {
        let Some(handler) = step
            .handler
            .filter(|it| it.flags & TERMINATION_HANDLER != 0)
        else {
            return Ok(());
        };
        let pc = frame.rip;
        let mut record = self.record;
        record.flags |= UNWINDING | if at_target { TARGET_UNWIND } else { 0 };
        let mut dispatcher = DispatcherContext::new(pc, step, handler, frame, target);
        match self.ask(&mut record, &mut dispatcher, handler) {
            Ok(disposition) if disposition == u64::from(CONTINUE_SEARCH) => Ok(()),
            Ok(disposition) => Err(Problem::Disposition { pc, disposition }),
            Err(trap) => escape(trap),
        }
    }
}

/// Goes on in driver code with the registers of `context`.
fn continue_at(context: &Context, stack: Stack) -> ! {
    let (pc, address) = (context.rip, context.rsp());
    // Three words below the stack pointer are used on the way; they must not be in use here.
    if address < stack.low || address > stack.end {
        let record = ExceptionRecord::new(0xc000_0028, NONCONTINUABLE, pc, &[]); // BAD_STACK
        escape(unhandled(
            &record,
            context,
            Problem::Stack { pc, address }.to_string(),
        ));
    }
    thread::unlink_below(context.integer[RSP]);
    // SAFETY: the stack pointer is in the frames of the driver (checked above), which are further
    // up the stack than `context`; the borders below it have just been forgotten.
    unsafe { resume(context) }
}

/// Loads all registers. Writes three words below the new stack pointer.
#[unsafe(naked)]
unsafe extern "C" fn resume(context: &Context) -> ! {
    naked_asm!(
        "mov rcx, rdi",
        "mov rax, [rcx + 152]", // rsp
        "mov rdx, [rcx + 248]", // rip
        "mov [rax - 8], rdx",
        "mov rdx, [rcx + 128]", // rcx
        "mov [rax - 16], rdx",
        "mov edx, [rcx + 68]", // flags
        "mov [rax - 24], rdx",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movaps xmm\\n, [rcx + 416 + \\n * 16]",
        ".endr",
        "mov rax, [rcx + 120]",
        "mov rdx, [rcx + 136]",
        "mov rbx, [rcx + 144]",
        "mov rbp, [rcx + 160]",
        "mov rsi, [rcx + 168]",
        "mov rdi, [rcx + 176]",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
        "mov r\\n, [rcx + 120 + \\n * 8]",
        ".endr",
        "mov rsp, [rcx + 152]",
        "lea rsp, [rsp - 24]",
        "popfq",
        "pop rcx",
        "ret",
    )
}
