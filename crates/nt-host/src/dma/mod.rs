//! DMA adapters and their table of operations.

use std::sync::Arc;

use crate::export::Export;
use crate::host::Host;

/// How the device behind the PDO reaches memory, and what the DMA interface offers.
#[derive(Clone, Debug)]
pub struct DmaConfig {
    /// Address lines of the device: 28, 32, 36, 64.
    pub address_bits: u32,
    /// The newest interface version: 1, 2 or 3; 0 for a stack without adapters (`IoGetDmaAdapter` returns NULL).
    pub interface_version: u32,
    /// `DMA_OPERATIONS.Size`; 0 for the size that belongs to the version.
    pub table_size: u32,
    /// An IOMMU stands between the device and memory.
    pub remapping: bool,
    /// Map registers that the adapter has.
    pub map_registers: u32,
}

impl Default for DmaConfig {
    fn default() -> Self {
        Self {
            address_bits: 32,
            interface_version: 3,
            table_size: 0,
            remapping: true,
            map_registers: 1 << 18,
        }
    }
}

/// The routines of this half.
pub(crate) fn exports() -> &'static [Export] {
    &[]
}

/// What the DMA half keeps per host.
pub(crate) struct DmaState;

impl DmaState {
    /// For a device of that kind.
    pub(crate) fn new(_config: &DmaConfig) -> Self {
        Self
    }
}

/// A PnP request has been handled by the whole stack of the device `pdo`: judges adapters kept over STOP or REMOVE.
pub(crate) fn pnp_completed(_host: &Arc<Host>, _pdo: u64, _minor: u8) {}

/// The driver's Unload has returned: reports what it has not given back.
pub(crate) fn driver_unloaded(_host: &Arc<Host>) {}
