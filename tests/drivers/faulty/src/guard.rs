//! Calls of routines that raise: a few instructions with a handler, as there is none in Rust.

use core::{arch::global_asm, ffi::c_void};

/// A call to be made, and what comes of it.
#[repr(C)]
struct Call {
    routine: *const c_void,
    arguments: [usize; 6],
    result: usize,
    exception: u32,
}

global_asm!(
    ".text",
    ".globl faulty_guarded_call",
    ".p2align 4",
    // rcx: the call. Gives 0 if the routine returned, 1 if it raised.
    "faulty_guarded_call:",
    ".seh_proc faulty_guarded_call",
    "sub rsp, 72",
    ".seh_stackalloc 72",
    ".seh_endprologue",
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
    ".Lfaulty_guarded_begin:",
    "call qword ptr [r10]",
    "nop",
    ".Lfaulty_guarded_end:",
    "mov r10, [rsp + 56]",
    "mov [r10 + 56], rax",
    "xor eax, eax",
    ".Lfaulty_guarded_return:",
    "add rsp, 72",
    "ret",
    ".Lfaulty_guarded_raised:",
    "mov eax, 1",
    "jmp .Lfaulty_guarded_return",
    ".seh_handler __C_specific_handler, @except",
    ".seh_handlerdata",
    ".long 1",
    ".long (.Lfaulty_guarded_begin)@IMGREL",
    ".long (.Lfaulty_guarded_end)@IMGREL",
    ".long (faulty_guarded_filter)@IMGREL",
    ".long (.Lfaulty_guarded_raised)@IMGREL",
    ".text",
    ".seh_endproc",
    ".p2align 4",
    // rcx: the exception and the processor's state, rdx: the frame above. Keeps the code and takes every exception.
    "faulty_guarded_filter:",
    "mov rax, [rcx]",
    "mov eax, [rax]",
    "mov rdx, [rdx + 56]",
    "mov [rdx + 64], eax",
    "mov eax, 1",
    "ret",
);

unsafe extern "C" {
    fn faulty_guarded_call(call: *mut Call) -> u32;
}

/// What `routine` returned, or the code of the exception that it raised.
pub(crate) fn call(routine: *const c_void, arguments: [usize; 6]) -> Result<usize, u32> {
    let mut call = Call {
        routine,
        arguments,
        result: 0,
        exception: 0,
    };
    if unsafe { faulty_guarded_call(&raw mut call) } == 0 {
        Ok(call.result)
    } else {
        Err(call.exception)
    }
}
