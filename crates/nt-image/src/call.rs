//! Calling driver code, and leaving it early.

use std::any::Any;
use std::arch::naked_asm;
use std::mem::offset_of;
use std::ptr::null;

use crate::backtrace::Frame;
use crate::fault;
use crate::routine::release_observers;
use crate::thread::{self, Entry};

/// The most arguments that [`call`] passes.
const MAXIMUM_ARGUMENTS: usize = 12;

/// Why driver code did not return.
#[derive(Debug)]
pub enum Trap {
    /// A routine called [`stop`]: its payload.
    Stopped(Box<dyn Any + Send>),
    /// An exception that no handler of the driver took.
    Exception {
        /// The exception code, an NTSTATUS.
        code: u32,
        /// The exception's parameters, e.g. kind and address of an access violation.
        parameters: Vec<u64>,
        /// Address of the instruction that faulted or called the raising routine.
        instruction: u64,
        /// The driver's frames, innermost first.
        backtrace: Vec<Frame>,
        /// What kept the unwinder from going on, if anything did: handlers beyond it had no say.
        problem: Option<String>,
    },
}

/// Runs driver code: `function`, with up to 12 integer arguments.
///
/// Calls nest: a routine that driver code called may call driver code.
///
/// # Errors
///
/// A [`Trap`], if a routine called [`stop`] or the driver did not handle an exception.
///
/// # Panics
///
/// If there are more than 12 arguments.
///
/// # Safety
///
/// `function` is Win64 code for these arguments, in an [`Image`](crate::Image) that outlives the
/// call, and everything that code does is sound.
pub unsafe fn call(function: *const (), arguments: &[u64]) -> Result<u64, Trap> {
    // SAFETY: passed on to the caller.
    unsafe { call_in(null(), function, arguments) }
}

/// Like [`call`], for code that handles the exception `dispatch`.
///
/// # Safety
///
/// As for [`call`]; `dispatch` is null or outlives the call.
pub(crate) unsafe fn call_in(
    dispatch: *const (),
    function: *const (),
    arguments: &[u64],
) -> Result<u64, Trap> {
    let mut slots = [0; MAXIMUM_ARGUMENTS];
    assert!(
        arguments.len() <= slots.len(),
        "more than {MAXIMUM_ARGUMENTS} arguments"
    );
    for (slot, argument) in slots.iter_mut().zip(arguments) {
        *slot = *argument;
    }
    fault::prepare_thread();
    let entry = Entry::new(dispatch);
    entry.link();
    // SAFETY: `function` can be called with these arguments (the caller's promise); `slots` and
    // `entry` outlive the call.
    let result = unsafe { enter_driver(function, slots.as_ptr(), &raw const entry) };
    entry.unlink();
    if entry.outer().is_none() {
        release_observers();
    }
    entry.trap.take().map_or(Ok(result), Err)
}

/// Abandons the driver: the innermost [`call`] of this thread returns [`Trap::Stopped`].
///
/// Nothing of what lies between here and that call is dropped; see the crate's documentation.
///
/// # Panics
///
/// If no driver code is running on this thread.
pub fn stop(payload: Box<dyn Any + Send>) -> ! {
    escape(Trap::Stopped(payload))
}

/// Ends the innermost call of this thread with `trap`.
pub(crate) fn escape(trap: Trap) -> ! {
    let entry = thread::innermost_entry();
    assert!(
        entry.is_some(),
        "no driver code is running on this thread: {trap:?}"
    );
    let host_rsp = entry.map_or(0, |entry| {
        entry.trap.set(Some(trap));
        entry.host_rsp.get()
    });
    // SAFETY: the entry is linked, so its `enter_driver` is still on the stack.
    unsafe { return_to_host(host_rsp) }
}

/// Stack space for arguments; a stub that is called directly reads 12 stack slots of it.
const ARGUMENT_SPACE: usize = 32 + 12 * 8;

/// Switches from host to driver: saves what System V calls keep, calls with the Win64 convention.
#[unsafe(naked)]
unsafe extern "C" fn enter_driver(
    function: *const (),
    arguments: *const u64,
    entry: *const Entry,
) -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rdx + {host_rsp}], rsp",
        "sub rsp, {space}",
        "mov [rdx + {driver_rsp}], rsp",
        "mov rax, rdi",
        "movups xmm0, [rsi + 32]",
        "movups xmm1, [rsi + 48]",
        "movups xmm2, [rsi + 64]",
        "movups xmm3, [rsi + 80]",
        "movaps [rsp + 32], xmm0",
        "movaps [rsp + 48], xmm1",
        "movaps [rsp + 64], xmm2",
        "movaps [rsp + 80], xmm3",
        "mov rcx, [rsi]",
        "mov rdx, [rsi + 8]",
        "mov r8, [rsi + 16]",
        "mov r9, [rsi + 24]",
        "call rax",
        "add rsp, {space} + 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        host_rsp = const offset_of!(Entry, host_rsp),
        driver_rsp = const offset_of!(Entry, driver_rsp),
        space = const ARGUMENT_SPACE,
    )
}

/// Returns from `enter_driver`, whatever runs on top of it.
#[unsafe(naked)]
unsafe extern "C" fn return_to_host(host_rsp: u64) -> ! {
    naked_asm!(
        "cld",
        "lea rsp, [rdi + 8]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}
