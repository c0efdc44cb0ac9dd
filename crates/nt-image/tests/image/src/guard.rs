//! Functions with exception and termination handlers, as a C compiler would write them.

use core::arch::global_asm;

unsafe extern "C" {
    /// Calls `function` with `argument`. An exception makes it return its code, with bit 63 set.
    pub(crate) fn guard(function: extern "C" fn(u64) -> u64, argument: u64) -> u64;
}

/// What the last filter saw: exception code, flags, number of parameters, and the first three.
static mut SEEN: [u64; 6] = [0; 6];

#[unsafe(no_mangle)]
pub extern "C" fn seen(index: u64) -> u64 {
    unsafe {
        (&raw const SEEN)
            .cast::<u64>()
            .add(index as usize)
            .read_volatile()
    }
}

/// Takes every exception.
#[unsafe(no_mangle)]
unsafe extern "C" fn note_filter(pointers: *const *const u8, _frame: u64) -> i32 {
    let record = unsafe { *pointers };
    let seen = (&raw mut SEEN).cast::<u64>();
    unsafe {
        seen.write_volatile(record.cast::<u32>().read().into());
        seen.add(1)
            .write_volatile(record.add(4).cast::<u32>().read().into());
        seen.add(2)
            .write_volatile(record.add(24).cast::<u32>().read().into());
        seen.add(3)
            .write_volatile(record.add(32).cast::<u64>().read());
        seen.add(4)
            .write_volatile(record.add(40).cast::<u64>().read());
        seen.add(5)
            .write_volatile(record.add(16).cast::<u64>().read());
    }
    1
}

/// Skips the one-byte instruction that caused the exception.
#[unsafe(no_mangle)]
unsafe extern "C" fn skip_filter(pointers: *const *mut u8, _frame: u64) -> i32 {
    let context = unsafe { *pointers.add(1) };
    let rip = unsafe { context.add(248) }.cast::<u64>();
    unsafe { rip.write(rip.read() + 1) };
    -1
}

#[unsafe(no_mangle)]
unsafe extern "C" fn refuse_filter(_pointers: u64, _frame: u64) -> i32 {
    crate::Note(500);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bad_filter(_pointers: u64, _frame: u64) -> i32 {
    crate::null_write(0) as i32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn note_finally(abnormal: u64, _frame: u64) {
    crate::Note(600 + (abnormal & 0xff));
}

/// A function `name(function, argument)` with one scope.
macro_rules! scoped {
    ($name:literal, $handler:literal, $target:literal) => {
        global_asm!(
            concat!(".globl ", $name),
            concat!(".def ", $name, "; .scl 2; .type 32; .endef"),
            concat!(".seh_proc ", $name),
            concat!($name, ":"),
            "sub rsp, 40",
            ".seh_stackalloc 40",
            ".seh_endprologue",
            ".seh_handler __C_specific_handler, @unwind, @except",
            concat!($name, "_begin:"),
            "mov rax, rcx",
            "mov rcx, rdx",
            "call rax",
            "nop",
            concat!($name, "_end:"),
            "add rsp, 40",
            "ret",
            concat!($name, "_target:"),
            "mov eax, eax",
            "bts rax, 63",
            "add rsp, 40",
            "ret",
            ".seh_handlerdata",
            ".long 1",
            concat!(".long ", $name, "_begin@IMGREL"),
            concat!(".long ", $name, "_end@IMGREL"),
            concat!(".long ", $handler),
            concat!(".long ", $target),
            ".text",
            ".seh_endproc",
        );
    };
}

scoped!("guard", "note_filter@IMGREL", "guard_target@IMGREL");
scoped!("guard_always", "1", "guard_always_target@IMGREL");
scoped!(
    "guard_skip",
    "skip_filter@IMGREL",
    "guard_skip_target@IMGREL"
);
scoped!(
    "guard_refuse",
    "refuse_filter@IMGREL",
    "guard_refuse_target@IMGREL"
);
scoped!("guard_bad", "bad_filter@IMGREL", "guard_bad_target@IMGREL");
scoped!("with_finally", "note_finally@IMGREL", "0");

type Function = extern "C" fn(u64) -> u64;
unsafe extern "C" {
    fn guard_always(function: Function, argument: u64) -> u64;
    fn guard_skip(function: Function, argument: u64) -> u64;
    fn guard_refuse(function: Function, argument: u64) -> u64;
    fn guard_bad(function: Function, argument: u64) -> u64;
    fn with_finally(function: Function, argument: u64) -> u64;
}

#[unsafe(no_mangle)]
pub extern "C" fn guarded_always(function: Function, argument: u64) -> u64 {
    unsafe { guard_always(function, argument) }
}

#[unsafe(no_mangle)]
pub extern "C" fn breakpoint_skipped() -> u64 {
    unsafe { guard_skip(crate::breakpoint, 0) }
}

#[unsafe(no_mangle)]
pub extern "C" fn raise_and_continue(status: u64) -> u64 {
    unsafe { guard_skip(crate::raise, status) }
}

#[unsafe(no_mangle)]
pub extern "C" fn fault_in_filter() -> u64 {
    unsafe { guard(in_bad_guard, 3) }
}

extern "C" fn in_bad_guard(status: u64) -> u64 {
    unsafe { guard_bad(crate::raise, status) }
}

extern "C" fn in_finally(status: u64) -> u64 {
    unsafe { with_finally(crate::raise, status) }
}

extern "C" fn in_refusing_guard(status: u64) -> u64 {
    core::hint::black_box(unsafe { guard_refuse(in_finally, status) }) // not a tail call
}

/// Two filters are asked, the inner one refuses; then the termination handler runs.
#[unsafe(no_mangle)]
pub extern "C" fn refused_then_taken(status: u64) -> u64 {
    unsafe { guard(in_refusing_guard, status) }
}

/// Like `refused_then_taken`, but nobody takes it.
#[unsafe(no_mangle)]
pub extern "C" fn refused(status: u64) -> u64 {
    core::hint::black_box(unsafe { guard_refuse(in_finally, status) }) // not a tail call
}

// Four scopes, innermost first: a filter that refuses, a termination handler, an exception
// handler, and around them a termination handler that the exception handler is still inside of.
global_asm!(
    ".globl nested_scopes",
    ".def nested_scopes; .scl 2; .type 32; .endef",
    ".seh_proc nested_scopes",
    "nested_scopes:",
    "sub rsp, 40",
    ".seh_stackalloc 40",
    ".seh_endprologue",
    ".seh_handler __C_specific_handler, @unwind, @except",
    "nested_outer_begin:",
    "nop",
    "nested_begin:",
    "mov rax, rcx",
    "mov rcx, rdx",
    "call rax",
    "nop",
    "nested_end:",
    "add rsp, 40",
    "ret",
    "nested_refused:", // never taken
    "int3",
    "nested_target:",
    "mov eax, eax",
    "bts rax, 63",
    "nop",
    "nested_outer_end:",
    "add rsp, 40",
    "ret",
    ".seh_handlerdata",
    ".long 4",
    ".long nested_begin@IMGREL, nested_end@IMGREL",
    ".long refuse_filter@IMGREL, nested_refused@IMGREL",
    ".long nested_begin@IMGREL, nested_end@IMGREL, note_finally@IMGREL, 0",
    ".long nested_begin@IMGREL, nested_end@IMGREL, 1, nested_target@IMGREL",
    ".long nested_outer_begin@IMGREL, nested_outer_end@IMGREL, outer_finally@IMGREL, 0",
    ".text",
    ".seh_endproc",
);

unsafe extern "C" {
    fn nested_scopes(function: Function, argument: u64) -> u64;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn outer_finally(_abnormal: u64, _frame: u64) {
    crate::Note(700);
}

#[unsafe(no_mangle)]
pub extern "C" fn raise_in_nested_scopes(status: u64) -> u64 {
    unsafe { nested_scopes(crate::raise, status) }
}
