//! What compiled code expects a C library to have.

use core::arch::global_asm;

#[unsafe(no_mangle)]
static _fltused: i32 = 0;

global_asm!(
    ".globl memcpy, memset, memcmp",
    "memcpy:",
    "mov rax, rcx",
    "mov r10, rdi",
    "mov r11, rsi",
    "mov rdi, rcx",
    "mov rsi, rdx",
    "mov rcx, r8",
    "rep movsb",
    "mov rdi, r10",
    "mov rsi, r11",
    "ret",
    "memset:",
    "mov r11, rcx",
    "mov r10, rdi",
    "mov rdi, rcx",
    "mov eax, edx",
    "mov rcx, r8",
    "rep stosb",
    "mov rdi, r10",
    "mov rax, r11",
    "ret",
    "memcmp:",
    "int3", // nothing that runs here compares
);
