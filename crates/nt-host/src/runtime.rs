//! Memory routines that compilers call, and the clock.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::access::{copy_in, fill, read_bytes, write};
use crate::export::{IrqlRule, exports};
use crate::host::current;
use crate::thread;

/// Judges memory that is about to be touched; what compiled code touches itself is not seen here.
fn touched(address: u64) {
    if thread::irql() < thread::DISPATCH {
        return;
    }
    let host = current();
    if crate::memory::is_nonpaged(&host, address) == Some(false) {
        let message = format!("paged pool {address:#x} touched at IRQL {}", thread::irql());
        host.violation("V027", "D1", message);
    }
}

extern "win64" fn memcpy(destination: u64, source: u64, length: u64) -> u64 {
    let distance = destination.abs_diff(source);
    if distance != 0 && distance < length {
        let message = format!("{length} bytes from {source:#x} to {destination:#x} overlap");
        current().violation("V262", "C4/0xF0", message);
    }
    memmove(destination, source, length)
}

extern "win64" fn memmove(destination: u64, source: u64, length: u64) -> u64 {
    touched(source);
    touched(destination);
    // SAFETY: the driver vouches for both ranges; a bad one faults into its exception dispatcher.
    unsafe {
        core::ptr::copy(source as *const u8, destination as *mut u8, length as usize);
    }
    destination
}

extern "win64" fn memset(destination: u64, value: i32, length: u64) -> u64 {
    touched(destination);
    fill(destination, value as u8, length as usize);
    destination
}

extern "win64" fn memcmp(left: u64, right: u64, length: u64) -> i32 {
    touched(left);
    touched(right);
    let ordering = read_bytes(left, length as usize).cmp(&read_bytes(right, length as usize));
    ordering as i32
}

extern "win64" fn compare_memory(left: u64, right: u64, length: u64) -> u64 {
    let left = read_bytes(left, length as usize);
    let right = read_bytes(right, length as usize);
    left.iter().zip(&right).take_while(|(a, b)| a == b).count() as u64
}

extern "win64" fn copy_memory(destination: u64, source: u64, length: u64) {
    memmove(destination, source, length);
}

extern "win64" fn zero_memory(destination: u64, length: u64) {
    fill(destination, 0, length as usize);
}

/// Time since the first question, in units of 100 ns.
fn interrupt_time() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    (START.get_or_init(Instant::now).elapsed().as_nanos() / 100) as u64 + 1
}

extern "win64" fn query_performance_counter(frequency: u64) -> u64 {
    if frequency != 0 {
        copy_in(frequency, &10_000_000_u64.to_le_bytes());
    }
    interrupt_time()
}

extern "win64" fn query_interrupt_time() -> u64 {
    interrupt_time()
}

extern "win64" fn query_interrupt_time_precise(counter: u64) -> u64 {
    let now = interrupt_time();
    if counter != 0 {
        write(counter, now);
    }
    now
}

extern "win64" fn query_system_time(time: u64) {
    // Years from 1601 to 1970, in units of 100 ns.
    const EPOCH: u64 = 116_444_736_000_000_000;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    write(time, EPOCH + (now.as_nanos() / 100) as u64);
}

exports! {
    "__C_specific_handler" => nt_image::C_SPECIFIC_HANDLER, IrqlRule::Any, "V050", "C4/0xE5";
    "memcpy" => memcpy, IrqlRule::Any, "V050", "C4/0xE5";
    "memmove" => memmove, IrqlRule::Any, "V050", "C4/0xE5";
    "memset" => memset, IrqlRule::Any, "V050", "C4/0xE5";
    "memcmp" => memcmp, IrqlRule::Any, "V050", "C4/0xE5";
    "RtlCompareMemory" => compare_memory, IrqlRule::Any, "V050", "C4/0xE5";
    "RtlCopyMemory" => copy_memory, IrqlRule::Any, "V050", "C4/0xE5";
    "RtlMoveMemory" => copy_memory, IrqlRule::Any, "V050", "C4/0xE5";
    "RtlZeroMemory" => zero_memory, IrqlRule::Any, "V050", "C4/0xE5";
    "KeQueryPerformanceCounter" => query_performance_counter, IrqlRule::Any, "V050", "C4/0xE5";
    "KeQueryInterruptTimePrecise" => query_interrupt_time_precise, IrqlRule::Any, "V050", "C4/0xE5";
    "KeQueryInterruptTime" => query_interrupt_time, IrqlRule::Any, "V050", "C4/0xE5";
    "KeQuerySystemTimePrecise" => query_system_time, IrqlRule::Any, "V050", "C4/0xE5";
}
