//! Calling routines that report failure by raising an exception.
//!
//! Rust has no handler for those, so the call is made from a few instructions of assembly that have
//! one. No Rust frame lies between them and the routine, and nothing of Rust's is skipped when it
//! raises.

// UNSAFETY: calls a routine of the kernel by address, with the arguments that the caller prepared.
#![expect(unsafe_code, reason = "structured exception handling needs assembly")]

use core::{arch::global_asm, ffi::c_void};

use crate::status::Status;

/// A call to be made: the routine, six arguments at most, and room for what comes of it.
#[repr(C)]
struct Call {
    routine: *const c_void,
    arguments: [*mut c_void; 6],
    result: *mut c_void,
    exception: u32,
}

const _: () = assert!(core::mem::offset_of!(Call, arguments) == 8);
const _: () = assert!(core::mem::offset_of!(Call, result) == 56);
const _: () = assert!(core::mem::offset_of!(Call, exception) == 64);

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".text",
    ".globl wdm_guarded_call",
    ".p2align 4",
    // rcx: the call. Gives 0 if the routine returned, 1 if it raised.
    "wdm_guarded_call:",
    ".seh_proc wdm_guarded_call",
    "sub rsp, 72",
    ".seh_stackalloc 72",
    ".seh_endprologue",
    // Home space for four arguments, two more arguments, and the call itself, for the filter too.
    "mov [rsp + 56], rcx",
    "mov r10, rcx",
    "mov rax, [r10 + 40]",
    "mov [rsp + 32], rax",
    "mov rax, [r10 + 48]",
    "mov [rsp + 40], rax",
    "mov rcx, [r10 + 8]",
    "mov rdx, [r10 + 16]",
    "mov r8, [r10 + 24]",
    "mov r9, [r10 + 32]",
    ".Lwdm_guarded_begin:",
    "call qword ptr [r10]",
    "nop",
    ".Lwdm_guarded_end:",
    "mov r10, [rsp + 56]",
    "mov [r10 + 56], rax",
    "xor eax, eax",
    ".Lwdm_guarded_return:",
    "add rsp, 72",
    "ret",
    ".Lwdm_guarded_raised:",
    "mov eax, 1",
    "jmp .Lwdm_guarded_return",
    ".seh_handler __C_specific_handler, @except",
    ".seh_handlerdata",
    ".long 1",
    ".long (.Lwdm_guarded_begin)@IMGREL",
    ".long (.Lwdm_guarded_end)@IMGREL",
    ".long (wdm_guarded_filter)@IMGREL",
    ".long (.Lwdm_guarded_raised)@IMGREL",
    ".text",
    ".seh_endproc",
    ".p2align 4",
    // rcx: EXCEPTION_POINTERS, rdx: the frame above. Keeps the code, which not every system hands
    // to the handler, and takes every exception.
    "wdm_guarded_filter:",
    "mov rax, [rcx]",
    "mov eax, [rax]",
    "mov rdx, [rdx + 56]",
    "mov [rdx + 64], eax",
    "mov eax, 1",
    "ret",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".text",
    ".globl wdm_guarded_call",
    ".p2align 4",
    // x0: the call. Gives 0 if the routine returned, 1 if it raised.
    "wdm_guarded_call:",
    ".seh_proc wdm_guarded_call",
    "stp x29, x30, [sp, #-32]!",
    ".seh_save_fplr_x 32",
    "mov x29, sp",
    ".seh_set_fp",
    ".seh_endprologue",
    "str x0, [sp, #16]",
    "ldr x8, [x0]",
    "ldp x2, x3, [x0, #24]",
    "ldp x4, x5, [x0, #40]",
    "ldp x0, x1, [x0, #8]",
    ".Lwdm_guarded_begin:",
    "blr x8",
    "nop",
    ".Lwdm_guarded_end:",
    "ldr x9, [sp, #16]",
    "str x0, [x9, #56]",
    "mov w0, #0",
    "b .Lwdm_guarded_return",
    // Every exception is taken, and its code comes in x0: the unwinder returns it here.
    ".Lwdm_guarded_raised:",
    "ldr x9, [sp, #16]",
    "str w0, [x9, #64]",
    "mov w0, #1",
    ".Lwdm_guarded_return:",
    ".seh_startepilogue",
    "ldp x29, x30, [sp], #32",
    ".seh_save_fplr_x 32",
    ".seh_endepilogue",
    "ret",
    ".seh_handler __C_specific_handler, @except",
    ".seh_handlerdata",
    ".long 1",
    ".long (.Lwdm_guarded_begin)@IMGREL",
    ".long (.Lwdm_guarded_end)@IMGREL",
    ".long 1", // EXCEPTION_EXECUTE_HANDLER in place of a filter
    ".long (.Lwdm_guarded_raised)@IMGREL",
    ".text",
    ".seh_endproc",
);

unsafe extern "C" {
    fn wdm_guarded_call(call: *mut Call) -> u32;
}

/// Calls `routine` and gives what it returned.
///
/// # Errors
///
/// The code of the exception that it raised; never a success.
///
/// # Safety
///
/// `routine` takes at most six arguments, each of at most pointer size, and everything that its
/// contract demands holds for those given.
pub(crate) unsafe fn call(
    routine: *const c_void,
    arguments: [*mut c_void; 6],
) -> Result<*mut c_void, Status> {
    let mut call = Call {
        routine,
        arguments,
        result: core::ptr::null_mut(),
        exception: 0,
    };
    // SAFETY: the call is complete, and the caller vouches for the routine.
    let raised = unsafe { wdm_guarded_call(&raw mut call) };
    if raised == 0 {
        return Ok(call.result);
    }
    let status = Status::error(call.exception);
    Err(if status.is_success() {
        Status::UNSUCCESSFUL
    } else {
        status
    })
}
