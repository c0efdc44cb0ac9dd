//! Pool, mappings, MDLs, contiguous memory: the memory half of the kernel.
//!
//! The other half calls in here at the points named below, always without a lock held.

use std::io;
use std::sync::Arc;

use nt_machine::Machine;

use crate::export::Export;
use crate::fault::Finding;
use crate::host::Host;
use crate::process::ProcessObject;
use crate::status::NtStatus;

/// The routines of this half.
pub(crate) fn exports() -> &'static [Export] {
    &[]
}

/// What the memory half keeps per host.
pub(crate) struct MemoryState;

impl MemoryState {
    /// For a host on that machine.
    pub(crate) fn new(_machine: &Arc<Machine>) -> io::Result<Self> {
        Ok(Self)
    }
}

/// The address space of one process.
pub(crate) struct ProcessMemory;

impl ProcessMemory {
    /// An empty address space.
    pub(crate) fn new(_memory: &MemoryState) -> io::Result<Self> {
        Ok(Self)
    }
}

/// Memory of a process's own, as a program's allocation: the buffer of a request.
pub(crate) fn allocate_user(
    _host: &Arc<Host>,
    _process: &Arc<ProcessObject>,
    _length: usize,
) -> Result<u64, NtStatus> {
    Err(NtStatus::NOT_SUPPORTED)
}

/// Gives memory of `allocate_user` back.
pub(crate) fn free_user(_host: &Arc<Host>, _process: &Arc<ProcessObject>, _address: u64) {}

/// Reads a process's memory as the process itself would.
pub(crate) fn read_user(
    _process: &ProcessObject,
    _address: u64,
    _bytes: &mut [u8],
) -> Result<(), NtStatus> {
    Err(NtStatus::ACCESS_VIOLATION)
}

/// Writes a process's memory as the process itself would.
pub(crate) fn write_user(
    _process: &ProcessObject,
    _address: u64,
    _bytes: &[u8],
) -> Result<(), NtStatus> {
    Err(NtStatus::ACCESS_VIOLATION)
}

/// The I/O manager's MDL for a request with direct I/O: probed and locked, owned by the system.
pub(crate) fn lock_for_request(
    _host: &Arc<Host>,
    _process: &Arc<ProcessObject>,
    _address: u64,
    _length: usize,
    _write: bool,
) -> Result<u64, NtStatus> {
    Err(NtStatus::NOT_SUPPORTED)
}

/// The request is complete: unlocks its MDLs (the whole chain) and frees them.
pub(crate) fn unlock_after_request(_host: &Arc<Host>, _mdl: u64) {}

/// Whether a synchronisation object may lie at `address`; `None` if the address is not this half's.
pub(crate) fn is_nonpaged(_host: &Host, _address: u64) -> Option<bool> {
    None
}

/// Which rule an access to that address has broken, if the address is (or was) this half's.
pub(crate) fn explain_fault(_host: &Host, _address: u64) -> Option<Finding> {
    None
}

/// The process has closed its handles and its address space goes: judges what is still mapped or locked.
pub(crate) fn process_exiting(_host: &Arc<Host>, _process: &Arc<ProcessObject>) {}

/// The driver's Unload has returned: reports what it has not given back.
pub(crate) fn driver_unloaded(_host: &Arc<Host>) {}
