//! An embedded NT host: loads the image of a Windows driver on Linux, runs it, and judges it.
//!
//! The driver's machine code runs natively; every routine that it imports is implemented here
//! by its documented contract, and every breach of a contract is recorded with the rule, the routine
//! and the driver's call stack. The host knows no particular driver.
//!
//! ```text
//! Host ── load ──> Driver ── add_device ──> Device ── start, stop, remove, ...
//!   └── create_process ──> Process ── open ──> File ── device_control, read, write, close
//! ```
//!
//! A map of the modules: `export` (the table of routines), `call` (into the driver and back), `thread`
//! (IRQL and the like), `judge`, `faults`; `driver`, `device`, `pnp`, `irp`, `file`, `process`, `registry`,
//! `sync`; `memory` and `dma`. RULES.md lists each rule with the place that checks it.

// UNSAFETY: the host runs machine code that it has not seen and shares memory with it by address.
// `access` and `guarded` hold almost all of it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(
    unsafe_code,
    reason = "shares memory with foreign machine code by address"
)]
#![expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "runs on the build host, over addresses and tables of its own"
)]

use std::sync::{Mutex, MutexGuard, PoisonError};

mod access;
mod bug_check;
mod call;
mod data;
mod debug;
mod device;
pub mod dma;
mod driver;
mod etw;
mod export;
mod fault;
mod faults;
mod file;
mod guarded;
mod host;
mod irp;
mod judge;
pub mod layout;
pub mod memory;
mod object;
mod process;
mod random;
mod registry;
mod remove_lock;
mod restless;
mod runtime;
mod security;
mod status;
mod suspension;
mod sync;
#[cfg(test)]
mod testbed;
mod thread;
mod trace_logging;
mod work_item;

pub use bug_check::{CrashDump, DumpRange};
pub use call::Stopped;
pub use device::Device;
pub use device::interface::Guid;
pub use dma::{BeganTransfer, DmaConfig, HeldMapRegisters};
pub use driver::Driver;
pub use etw::EtwEvent;
pub use faults::Faults;
pub use file::{Access, Control, File, IoResult, Mode, Pending};
pub use host::{Host, HostBuilder, HostError};
pub use judge::{Leak, Report, StackFrame, Violation};
pub use nt_machine::Protection;
pub use process::{Process, SecureMemoryCacheCallback, Thread};
pub use registry::RegistryValue;
pub use status::NtStatus;
pub use suspension::Suspension;
pub use trace_logging::{DecodeError, TraceEvent, TraceField, TraceValue};
pub use work_item::BusyWorkers;

/// Addresses below are a process's own; what the kernel hands out lies above.
pub const USER_LIMIT: u64 = 0x2000_0000_0000;

/// Locks a mutex of the host. A thread that was stopped inside the driver may have poisoned it; what
/// it guards is plain tables, consistent after every statement.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
