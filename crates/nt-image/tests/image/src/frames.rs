//! Frames of every shape that unwind information can describe, and registers to lose in them.

use core::arch::global_asm;

// Frames: pushes; a small and a large allocation; registers and xmm registers saved by `mov`;
// a frame pointer with a stack pointer that moves further; a chained part.
global_asm!(
    ".globl deep_frames",
    ".def deep_frames; .scl 2; .type 32; .endef",
    ".seh_proc deep_frames",
    "deep_frames:",
    "push rbx",
    ".seh_pushreg rbx",
    "push r12",
    ".seh_pushreg r12",
    "push r15",
    ".seh_pushreg r15",
    "sub rsp, 0x120",
    ".seh_stackalloc 0x120",
    "mov [rsp + 0x30], rdi",
    ".seh_savereg rdi, 0x30",
    "movaps [rsp + 0x40], xmm6",
    ".seh_savexmm xmm6, 0x40",
    "movaps [rsp + 0x50], xmm15",
    ".seh_savexmm xmm15, 0x50",
    ".seh_endprologue",
    "call lose_registers",
    "call pointer_frame",
    "nop",
    "int3",
    ".seh_endproc",
    ".def pointer_frame; .scl 3; .type 32; .endef",
    ".seh_proc pointer_frame",
    "pointer_frame:",
    "push rbp",
    ".seh_pushreg rbp",
    "push rsi",
    ".seh_pushreg rsi",
    "sub rsp, 0x88",
    ".seh_stackalloc 0x88",
    "lea rbp, [rsp + 0x20]",
    ".seh_setframe rbp, 0x20",
    ".seh_endprologue",
    "sub rsp, 0x200", // as alloca does
    "mov esi, 99",
    "call huge_frame",
    "nop",
    "int3",
    ".seh_endproc",
    ".def huge_frame; .scl 3; .type 32; .endef",
    ".seh_proc huge_frame",
    "huge_frame:",
    "push r13",
    ".seh_pushreg r13",
    "push r14",
    ".seh_pushreg r14",
    "sub rsp, 0x90008", // more than the 16-bit form holds
    ".seh_stackalloc 0x90008",
    "mov [rsp + 0x88000], rbx",
    ".seh_savereg rbx, 0x88000",
    ".seh_endprologue",
    "mov r13d, 5",
    "mov r14d, 6",
    "mov rcx, 0xc0000017",
    "mov edx, 1",
    "call qword ptr [rip + __imp_Raise]",
    "nop",
    "int3",
    ".seh_endproc",
    // Overwrites all that callers expect to keep.
    "lose_registers:",
    "mov ebx, 1",
    "mov r12d, 2",
    "mov r15d, 3",
    "mov edi, 4",
    "pxor xmm6, xmm6",
    "pxor xmm15, xmm15",
    "ret",
);

// A function whose second part has a prolog of its own, and one entered as by an interrupt.
global_asm!(
    ".globl chained_frame",
    ".def chained_frame; .scl 2; .type 32; .endef",
    ".seh_proc chained_frame",
    "chained_frame:",
    "push rbx",
    ".seh_pushreg rbx",
    "sub rsp, 0x30",
    ".seh_stackalloc 0x30",
    ".seh_endprologue",
    "mov ebx, 7",
    ".seh_startchained",
    "mov [rsp + 0x28], rsi",
    ".seh_savereg rsi, 0x28",
    ".seh_endprologue",
    "mov esi, 8",
    "call interrupted_frame",
    "nop",
    ".seh_endchained",
    "int3",
    ".seh_endproc",
    ".def interrupted_frame; .scl 3; .type 32; .endef",
    ".seh_proc interrupted_frame",
    "interrupted_frame:",
    "sub rsp, 0x28",
    ".seh_stackalloc 0x28",
    ".seh_endprologue",
    "mov rdx, rsp",
    "push 0x2b",
    "push rdx",
    "pushfq",
    "push 0x33",
    "lea rax, [rip + interrupted_at]",
    "push rax",
    "jmp interrupt_frame",
    "interrupted_at:",
    "nop",
    "int3",
    ".seh_endproc",
    ".def interrupt_frame; .scl 3; .type 32; .endef",
    ".seh_proc interrupt_frame",
    "interrupt_frame:",
    ".seh_pushframe",
    "sub rsp, 0x28",
    ".seh_stackalloc 0x28",
    ".seh_endprologue",
    "mov ecx, 0xc0000018",
    "mov edx, 1",
    "call qword ptr [rip + __imp_Raise]",
    "nop",
    "int3",
    ".seh_endproc",
);

// Fills the registers that a callee keeps, calls `function(argument)`, and returns how many of
// them it did not keep.
global_asm!(
    ".globl count_lost_registers",
    ".def count_lost_registers; .scl 2; .type 32; .endef",
    ".seh_proc count_lost_registers",
    "count_lost_registers:",
    "push rbp",
    ".seh_pushreg rbp",
    "push rbx",
    ".seh_pushreg rbx",
    "push rdi",
    ".seh_pushreg rdi",
    "push rsi",
    ".seh_pushreg rsi",
    "push r12",
    ".seh_pushreg r12",
    "push r13",
    ".seh_pushreg r13",
    "push r14",
    ".seh_pushreg r14",
    "push r15",
    ".seh_pushreg r15",
    "sub rsp, 0xc8",
    ".seh_stackalloc 0xc8",
    ".irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "movaps [rsp + 0x20 + (\\n - 6) * 16], xmm\\n",
    ".seh_savexmm xmm\\n, 0x20 + (\\n - 6) * 16",
    ".endr",
    ".seh_endprologue",
    ".irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "mov eax, 0x1100 + \\n",
    "movq xmm\\n, rax",
    "punpcklqdq xmm\\n, xmm\\n",
    ".endr",
    "mov rax, rcx",
    "mov rcx, rdx",
    "mov ebp, 0x51",
    "mov ebx, 0x52",
    "mov edi, 0x53",
    "mov esi, 0x54",
    "mov r12d, 0x55",
    "mov r13d, 0x56",
    "mov r14d, 0x57",
    "mov r15d, 0x58",
    "call rax",
    "xor eax, eax",
    ".macro kept register, value",
    "cmp \\register, \\value",
    "setne cl",
    "movzx ecx, cl",
    "add eax, ecx",
    ".endm",
    "kept rbp, 0x51",
    "kept rbx, 0x52",
    "kept rdi, 0x53",
    "kept rsi, 0x54",
    "kept r12, 0x55",
    "kept r13, 0x56",
    "kept r14, 0x57",
    "kept r15, 0x58",
    ".irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "movq rdx, xmm\\n",
    "kept rdx, 0x1100 + \\n",
    "punpckhqdq xmm\\n, xmm\\n",
    "movq rdx, xmm\\n",
    "kept rdx, 0x1100 + \\n",
    ".endr",
    ".irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "movaps xmm\\n, [rsp + 0x20 + (\\n - 6) * 16]",
    ".endr",
    "add rsp, 0xc8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rsi",
    "pop rdi",
    "pop rbx",
    "pop rbp",
    "ret",
    ".seh_endproc",
);

unsafe extern "C" {
    fn chained_frame(argument: u64) -> u64;
    fn deep_frames(argument: u64) -> u64;
    fn count_lost_registers(function: extern "C" fn(u64) -> u64, argument: u64) -> u64;
}

extern "C" fn run_deep_frames(argument: u64) -> u64 {
    unsafe { deep_frames(argument) }
}

#[unsafe(no_mangle)]
pub extern "C" fn raise_in_deep_frames(argument: u64) -> u64 {
    core::hint::black_box(run_deep_frames(argument)) // not a tail call
}

extern "C" fn guarded_deep_frames(argument: u64) -> u64 {
    unsafe { crate::guard(run_deep_frames, argument) }
}

#[unsafe(no_mangle)]
pub extern "C" fn registers_lost_in_a_call() -> u64 {
    unsafe { count_lost_registers(crate::note_guarded, 1) }
}

#[unsafe(no_mangle)]
pub extern "C" fn registers_lost_in_an_exception() -> u64 {
    unsafe { count_lost_registers(guarded_deep_frames, 1) }
}

extern "C" fn run_chained_frame(argument: u64) -> u64 {
    unsafe { chained_frame(argument) }
}

extern "C" fn guarded_chained_frame(argument: u64) -> u64 {
    unsafe { crate::guard(run_chained_frame, argument) }
}

#[unsafe(no_mangle)]
pub extern "C" fn registers_lost_in_a_chained_frame() -> u64 {
    unsafe { count_lost_registers(guarded_chained_frame, 1) }
}
