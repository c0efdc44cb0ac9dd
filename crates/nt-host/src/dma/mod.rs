//! DMA adapters and their table of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use nt_machine::IoDomain;

use crate::export::Export;
use crate::host::Host;
use crate::lock;

mod adapter;
mod buffers;
mod channels;
mod contexts;
mod copies;
mod device;
mod domains;
mod info;
mod list_mdls;
mod lists;
mod lists_ex;
mod mapping;
mod pieces;
mod pool;
mod table;
#[cfg(test)]
mod tests;
mod transfer;
mod vectors;

use adapter::Adapter;
use buffers::Memory;
pub use device::BeganTransfer;
pub(crate) use device::report_faults;
pub use pool::HeldMapRegisters;
use pool::Pool;

const REMOVE_DEVICE: u8 = 2;
const STOP_DEVICE: u8 = 4;

/// How the device behind the PDO reaches memory, and what the DMA interface offers.
#[derive(Clone, Debug)]
pub struct DmaConfig {
    /// Address lines of the device: 28, 32, 36, 64.
    pub address_bits: u32,
    /// The newest interface version: 1, 2 or 3; 0 for a stack without adapters (`IoGetDmaAdapter` returns NULL).
    pub interface_version: u32,
    /// `DMA_OPERATIONS.Size`; 0 for the size that belongs to the version.
    pub table_size: u32,
    /// Members whose slot is null, although the table is long enough to have them.
    pub null_members: &'static [&'static str],
    /// An IOMMU stands between the device and memory.
    pub remapping: bool,
    /// Map registers that one transfer may use, as `IoGetDmaAdapter` tells the driver at most.
    pub map_registers: u32,
    /// Map registers that the whole system has: transfers that find too few free wait for others to end.
    ///
    /// A test that wants a request to wait takes them away for a while: [`Device::hold_map_registers`](crate::Device::hold_map_registers).
    pub system_map_registers: u32,
    /// The processor's caches and the device agree by themselves on what is in memory, as on every PC.
    ///
    /// With false, what a driver maps for the device (a scatter/gather list, `MapTransfer`, `MapTransferEx`) is seen by
    /// the device as it was when it was mapped, and what the device writes is not seen by the processor, until the
    /// driver flushes: `FlushDmaBuffer` with `ReadOperation` FALSE shows the device what the processor has written since, with TRUE it
    /// shows the processor what the device has written; `FlushAdapterBuffers(Ex)` and `PutScatterGatherList` do the latter, too.
    /// Only the bytes that were changed move. Common buffers are coherent always.
    pub coherent: bool,
    /// The channel of the system's DMA controller that the device transfers through, if it is no bus master: then a
    /// description of it has `Master` FALSE and this `DmaChannel`.
    ///
    /// The device's [`bus_master`](crate::Device::bus_master) plays the controller. It takes one fragment, counts a transfer that
    /// [`begin_transfer`](crate::Device::begin_transfer) has begun as left whole until it has ended, and has one function for
    /// `ConfigureAdapterChannel`, number 1, which adds one to the 32-bit number that it is given.
    pub system_channel: Option<u32>,
}

impl Default for DmaConfig {
    fn default() -> Self {
        Self {
            address_bits: 32,
            interface_version: 3,
            table_size: 0,
            null_members: &[],
            remapping: true,
            map_registers: 1 << 18,
            system_map_registers: 1 << 24,
            coherent: true,
            system_channel: None,
        }
    }
}

/// The routines of this half.
pub(crate) fn exports() -> &'static [Export] {
    static ALL: OnceLock<Vec<Export>> = OnceLock::new();
    ALL.get_or_init(table::exports)
}

/// What the DMA half keeps per host.
pub(crate) struct DmaState {
    /// By address; those put stay, so that a use after that is recognised.
    adapters: Mutex<BTreeMap<u64, Arc<Adapter>>>,
    /// By PDO.
    domains: Mutex<BTreeMap<u64, Arc<IoDomain>>>,
    /// PDOs that have seen REMOVE_DEVICE.
    removed: Mutex<BTreeSet<u64>>,
    /// Domains that devices have joined, by PDO.
    joined: Mutex<BTreeMap<u64, Arc<IoDomain>>>,
    /// Domains by the handles that drivers have.
    domain_handles: Mutex<BTreeMap<u64, Arc<IoDomain>>>,
    /// Transfers that devices have begun: PDO and logical address.
    busy: Mutex<Vec<(u64, u64)>>,
    /// The map registers of all adapters.
    registers: Pool,
    numbers: AtomicU64,
}

impl DmaState {
    /// For a device of that kind.
    pub(crate) fn new(config: &DmaConfig) -> Self {
        Self {
            adapters: Mutex::default(),
            domains: Mutex::default(),
            removed: Mutex::default(),
            joined: Mutex::default(),
            domain_handles: Mutex::default(),
            busy: Mutex::default(),
            registers: Pool::new(config.system_map_registers),
            numbers: AtomicU64::new(0),
        }
    }

    /// A number that nothing else has.
    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn live(&self) -> Vec<Arc<Adapter>> {
        let live = |adapter: &&Arc<Adapter>| !lock(&adapter.state).released;
        lock(&self.adapters)
            .values()
            .filter(live)
            .cloned()
            .collect()
    }
}

/// `AddDevice` is about to be called for a device that may have been removed before.
pub(crate) fn device_added(host: &Host, pdo: u64) {
    lock(&host.dma.removed).remove(&pdo);
}

/// A PnP request has been handled by the whole stack of the device `pdo`: judges adapters kept over STOP or REMOVE.
pub(crate) fn pnp_completed(host: &Arc<Host>, pdo: u64, minor: u8) {
    let name = match minor {
        REMOVE_DEVICE => "REMOVE_DEVICE",
        STOP_DEVICE => "STOP_DEVICE",
        _ => return,
    };
    if minor == REMOVE_DEVICE {
        lock(&host.dma.removed).insert(pdo);
    }
    for adapter in host
        .dma
        .live()
        .into_iter()
        .filter(|adapter| adapter.pdo == pdo)
    {
        let message = format!("adapter {:#x} kept over {name}", adapter.address);
        host.violation_at("V179", "E6/0x18", message, adapter.stack.to_vec());
    }
}

/// The driver's Unload has returned: reports what it has not given back.
pub(crate) fn driver_unloaded(host: &Arc<Host>) {
    for adapter in host.dma.live() {
        let detail = format!("{:#x}, {} address bits", adapter.address, adapter.bits());
        host.violation_at("V132", "E6/0x18", detail.clone(), adapter.stack.to_vec());
        host.leak("DMA adapter", detail, adapter.stack.to_vec());
    }
    for adapter in lock(&host.dma.adapters).values() {
        report_outstanding(host, adapter);
    }
    lock(&host.dma.joined).clear();
    for request in host.dma.registers.withdraw(|_| true) {
        host.leak("DMA request", "waiting", request.adapter.stack.to_vec());
        channels::drop_request(host, request);
    }
    for adapter in lock(&host.dma.adapters).values() {
        let count = std::mem::take(&mut lock(&adapter.state).registers);
        host.dma.registers.give_back(count);
    }
    // Kept so far to tell a use after the release, which no code is left for.
    lock(&host.dma.adapters).retain(|_, adapter| !lock(&adapter.state).released);
}

/// Buffers over the driver's own memory and lists in it: the memory half does not know of them.
fn report_outstanding(host: &Host, adapter: &Adapter) {
    let state = lock(&adapter.state);
    for (at, buffer) in &state.buffers {
        if buffer.memory == Memory::Mdl {
            let detail = format!("over an MDL, at {at:#x}, {} bytes", buffer.length);
            host.leak("common buffer", detail, buffer.stack.to_vec());
        }
    }
    for (at, list) in &state.lists {
        host.leak(
            "scatter/gather list",
            format!("at {at:#x}"),
            list.stack.to_vec(),
        );
    }
    for (base, allocation) in &state.allocations {
        let detail = format!("{} at {base:#x}", allocation.registers);
        host.leak("map registers", detail, allocation.stack.to_vec());
    }
    for at in state.vectors.keys() {
        host.leak(
            "common buffer vector",
            format!("{at:#x}"),
            adapter.stack.to_vec(),
        );
    }
}
