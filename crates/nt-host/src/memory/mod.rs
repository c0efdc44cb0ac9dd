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

/// Which rule an access to that address has broken, if the address is (or was) this half's.
pub(crate) fn explain_fault(_host: &Host, _address: u64) -> Option<Finding> {
    None
}

/// The process has closed its handles and its address space goes: judges what is still mapped or locked.
pub(crate) fn process_exiting(_host: &Arc<Host>, _process: &Arc<ProcessObject>) {}

/// The driver's Unload has returned: reports what it has not given back.
pub(crate) fn driver_unloaded(_host: &Arc<Host>) {}
