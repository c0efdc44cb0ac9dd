//! A driver that does what drivers do and must not do; each test calls one of its exports.
#![no_std]
#![allow(non_upper_case_globals, non_snake_case, reason = "names of the system")]

mod frames;
mod guard;
mod memory;

use core::arch::asm;
use core::ptr::null_mut;

use guard::guard;

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    safe fn Sum13(
        a: u64,
        b: u64,
        c: u64,
        d: u64,
        e: u64,
        f: u64,
        g: u64,
        h: u64,
        i: u64,
        j: u64,
        k: u64,
        l: u64,
        m: u64,
    ) -> u64;
    safe fn Raise(status: u64, parameter: u64) -> u64;
    safe fn Note(value: u64) -> u64;
    safe fn Stop(value: u64) -> u64;
    safe fn CallBack(function: extern "C" fn(u64) -> u64, context: u64) -> u64;
    safe fn ReadAt(address: u64) -> u64;
    safe fn __C_specific_handler() -> u64;
    static NtBuildNumber: u32;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
pub extern "C" fn DriverEntry(driver: u64, path: u64) -> u64 {
    driver + path
}

#[unsafe(no_mangle)]
pub extern "C" fn keep_imports() -> u64 {
    __C_specific_handler as *const () as u64
}

#[unsafe(no_mangle)]
pub extern "C" fn build_number() -> u64 {
    unsafe { (&raw const NtBuildNumber).read_volatile() }.into()
}

#[unsafe(no_mangle)]
pub extern "C" fn sum_of_13() -> u64 {
    Sum13(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
}

// Written at run time: the section must be writable, and the pointer relocated.
static mut COUNTER: u64 = 41;
static mut COUNTER_ADDRESS: *mut u64 = &raw mut COUNTER;

#[unsafe(no_mangle)]
pub extern "C" fn count() -> u64 {
    let counter = unsafe { (&raw const COUNTER_ADDRESS).read_volatile() };
    unsafe { counter.write_volatile(counter.read_volatile() + 1) };
    unsafe { counter.read_volatile() }
}

#[unsafe(no_mangle)]
pub extern "C" fn raise(status: u64) -> u64 {
    Raise(status, 77) + 1
}

#[unsafe(no_mangle)]
pub extern "C" fn raise_guarded(status: u64) -> u64 {
    unsafe { guard(raise, status) }
}

#[unsafe(no_mangle)]
pub extern "C" fn note_guarded(value: u64) -> u64 {
    extern "C" fn note(value: u64) -> u64 {
        Note(value)
    }
    unsafe { guard(note, value) }
}

#[unsafe(no_mangle)]
pub extern "C" fn stop_guarded(value: u64) -> u64 {
    extern "C" fn stop(value: u64) -> u64 {
        Stop(value) + 1
    }
    unsafe { guard(stop, value) }
}

#[unsafe(no_mangle)]
pub extern "C" fn null_write(_: u64) -> u64 {
    unsafe { asm!("mov qword ptr [{}], 1", in(reg) 16_u64) };
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn disable_interrupts(_: u64) -> u64 {
    unsafe { asm!("cli") };
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn raise_irql(level: u64) -> u64 {
    unsafe { asm!("mov cr8, {}", in(reg) level) };
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn breakpoint(_: u64) -> u64 {
    unsafe { asm!("int3") };
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn divide(by: u64) -> u64 {
    let quotient: u64;
    unsafe {
        asm!("xor edx, edx", "mov eax, 100", "div {}", in(reg) by,
            out("rax") quotient, out("rdx") _);
    }
    quotient
}

#[unsafe(no_mangle)]
pub extern "C" fn fast_fail(reason: u64) -> u64 {
    unsafe { asm!("int 0x29", in("rcx") reason) };
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn call_null(_: u64) -> u64 {
    unsafe { asm!("call {}", in(reg) null_mut::<u8>(), clobber_abi("C")) };
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn read_bad_address_by_routine(address: u64) -> u64 {
    ReadAt(address)
}

#[unsafe(no_mangle)]
pub extern "C" fn write_own_code(_: u64) -> u64 {
    unsafe { (raise as *mut u8).write_volatile(0xc3) };
    1
}

#[unsafe(no_mangle)]
#[expect(
    unconditional_recursion,
    reason = "a test wants to see the stack overflow"
)]
pub extern "C" fn recurse(depth: u64) -> u64 {
    let mut frame = [depth; 128];
    frame[depth as usize % 128] = 1;
    let below = recurse(core::hint::black_box(depth + frame[5]));
    below + core::hint::black_box(&frame)[3]
}

/// Runs one of the exports above under a guard.
#[unsafe(no_mangle)]
pub extern "C" fn guarded(function: extern "C" fn(u64) -> u64, argument: u64) -> u64 {
    unsafe { guard(function, argument) }
}

/// Passes `function` to the host, which calls it.
#[unsafe(no_mangle)]
pub extern "C" fn call_back(function: extern "C" fn(u64) -> u64, argument: u64) -> u64 {
    CallBack(function, argument) + 1000
}

#[unsafe(no_mangle)]
pub extern "C" fn lose_stack(place: u64) -> u64 {
    unsafe { asm!("mov rsp, {}", "push 1", in(reg) place, options(noreturn)) }
}

/// Returns to a bad address, with nonsense further up.
#[unsafe(no_mangle)]
pub extern "C" fn smash_return_address() -> u64 {
    unsafe {
        asm!(
            "push 0x77",
            "push 0x77",
            "push 0x77",
            "push 0x66",
            "ret",
            options(noreturn)
        )
    }
}
