//! Adapters: `IoGetDmaAdapter`, what it judges, what an adapter keeps, and its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nt_machine::IoDomain;

use super::buffers::Buffer;
use super::channels::{Allocation, drop_request};
use super::contexts::Contexts;
use super::domains;
use super::lists::List;
use super::pool;
use super::table::{self, Slot};
use super::vectors::Vector;
use crate::call::exported;
use crate::export::{IrqlRule, exports};
use crate::guarded::GuardedBlock;
use crate::host::{Host, current};
use crate::memory::stacks::Stack;
use crate::thread::{DISPATCH, PASSIVE};
use crate::{access, lock};

/// `PCIBus` of `INTERFACE_TYPE`.
const PCI_BUS: u32 = 5;
const PAGE: u32 = 4096;
/// Address bits of a system DMA controller that version 3 describes; those of older versions have 24.
const CONTROLLER_BITS: u32 = 32;

/// What a driver says of its device.
#[derive(Clone, Copy, Debug)]
struct Description {
    version: u32,
    master: bool,
    scatter_gather: bool,
    bits: u32,
    maximum: u32,
}

/// One DMA adapter.
pub(crate) struct Adapter {
    /// The address that the driver has.
    pub(crate) address: u64,
    /// The device that it was made for.
    pub(crate) pdo: u64,
    /// Address bits that the driver says its device drives.
    bits: u32,
    /// It stands for a channel of the system's DMA controller, not for a bus master.
    pub(crate) is_system: bool,
    /// The device takes lists of fragments.
    pub(crate) scatter_gather: bool,
    /// Map registers that one transfer may use.
    pub(crate) map_registers: u32,
    /// The device's logical addresses: its own, or those of a domain that it has joined.
    domain: Mutex<Arc<IoDomain>>,
    /// What the driver has from it.
    pub(crate) state: Mutex<AdapterState>,
    /// Who got it.
    pub(crate) stack: Stack,
    memory: GuardedBlock,
    operations: GuardedBlock,
}

/// What a driver has from an adapter.
#[derive(Default)]
pub(crate) struct AdapterState {
    /// It was put.
    pub(crate) released: bool,
    /// Common buffers by virtual address.
    pub(crate) buffers: BTreeMap<u64, Buffer>,
    /// Vectors by handle.
    pub(crate) vectors: BTreeMap<u64, Vector>,
    /// Scatter/gather lists by address.
    pub(crate) lists: BTreeMap<u64, List>,
    /// Map registers of the lists and of the allocations.
    pub(crate) registers: u32,
    /// Map registers that the driver's routines got, by handle.
    pub(crate) allocations: BTreeMap<u64, Allocation>,
    /// Somebody has the adapter's one channel.
    pub(crate) channel_taken: bool,
    /// Transfer contexts that were set up.
    pub(crate) contexts: Contexts,
    /// Adapter objects of lists that the driver has not given back.
    pub(crate) channels: u32,
}

impl Adapter {
    /// The highest logical address that its device drives.
    pub(crate) const fn highest(&self) -> u64 {
        if self.bits >= 64 {
            u64::MAX
        } else {
            (1 << self.bits) - 1
        }
    }

    /// The address bits asked for.
    pub(crate) const fn bits(&self) -> u32 {
        self.bits
    }

    /// The logical addresses that its device has now.
    pub(crate) fn domain(&self) -> Arc<IoDomain> {
        Arc::clone(&lock(&self.domain))
    }

    /// Gives its device other logical addresses.
    pub(crate) fn set_domain(&self, domain: Arc<IoDomain>) {
        *lock(&self.domain) = domain;
    }

    fn write_table(&self, size: u32, slot: impl Fn(usize) -> Slot) {
        let at = self.operations.address();
        access::write::<u64>(at, u64::from(size));
        for index in 0..table::slots() {
            access::write::<u64>(at + 8 + 8 * index as u64, table::entry(index, slot(index)));
        }
    }
}

extern "win64" fn io_get_dma_adapter(pdo: u64, description: u64, registers: u64) -> u64 {
    get(&current(), pdo, description, registers).unwrap_or(0)
}

fn get(host: &Arc<Host>, pdo: u64, description: u64, registers: u64) -> Option<u64> {
    if host.faults().should_fail("IoGetDmaAdapter") {
        return None;
    }
    check_device(host, pdo);
    let description = read_description(host, description)?;
    let config = &host.options.dma;
    if description.version.max(1) > config.interface_version {
        return None;
    }
    let pages = u64::from(description.maximum).div_ceil(u64::from(PAGE)) + 1;
    let map_registers = pages
        .min(u64::from(config.map_registers))
        .min(u64::from(config.system_map_registers)) as u32;
    let adapter = make(host, pdo, &description, map_registers)?;
    access::write::<u32>(registers, map_registers);
    Some(adapter.address)
}

fn check_device(host: &Arc<Host>, pdo: u64) {
    if !super::device::is_pdo(host, pdo) {
        host.violation(
            "V178",
            "C9/0x24D",
            format!("{pdo:#x} is no physical device object"),
        );
    } else if lock(&host.dma.removed).contains(&pdo) {
        host.violation("V178", "E6/0x18", "the device was removed");
    }
}

/// The description, if a system would accept it.
fn read_description(host: &Arc<Host>, at: u64) -> Option<Description> {
    let version: u32 = access::read(at);
    if version > 3 {
        host.violation(
            "V175",
            "E6/0x25",
            format!("DEVICE_DESCRIPTION.Version {version}"),
        );
        return None;
    }
    let flags: [u8; 8] = access::read(at + 4);
    let [master, scatter_gather, _, _, dma32, _, reserved, dma64] = flags;
    let channel: u32 = access::read(at + 16);
    let (interface, maximum): (u32, u32) = (access::read(at + 20), access::read(at + 32));
    let width: u32 = if version == 3 {
        access::read(at + 40)
    } else {
        0
    };
    let bits = match version {
        3 if master == 0 => CONTROLLER_BITS,
        3 => width,
        _ if dma64 != 0 => 64,
        _ if dma32 != 0 || (scatter_gather != 0 && interface == PCI_BUS) => 32,
        _ => 24,
    };
    let wrong = if flags.iter().any(|flag| *flag > 1) {
        Some(format!(
            "BOOLEAN members {flags:?}: the structure was not zeroed"
        ))
    } else if reserved != 0 {
        Some("Reserved1 is not FALSE".to_owned())
    } else if master == 0 && host.options.dma.system_channel != Some(channel) {
        Some(format!(
            "Master is FALSE: the device has no channel {channel} of a system DMA controller"
        ))
    } else if bits == 0 || bits > 64 {
        Some(format!("DmaAddressWidth {bits}"))
    } else if maximum == 0 {
        Some("MaximumLength 0".to_owned())
    } else {
        None
    };
    if let Some(wrong) = wrong {
        host.violation("V177", "E6/0x25", format!("DEVICE_DESCRIPTION: {wrong}"));
        return None;
    }
    let (master, scatter_gather) = (master != 0, scatter_gather != 0);
    Some(Description {
        version,
        master,
        scatter_gather,
        bits,
        maximum,
    })
}

fn make(
    host: &Arc<Host>,
    pdo: u64,
    description: &Description,
    map_registers: u32,
) -> Option<Arc<Adapter>> {
    let memory = host.object("DMA adapter", 64).ok()?;
    let operations = host.object("DMA operations", table::SPACE).ok()?;
    let config = &host.options.dma;
    let size = match (
        table::size_of_version(description.version),
        config.table_size,
    ) {
        (table::LARGEST, size) if size != 0 => size.min(table::LARGEST),
        (size, _) => size,
    };
    let adapter = Arc::new(Adapter {
        address: memory.address(),
        pdo,
        bits: description.bits,
        is_system: !description.master,
        scatter_gather: description.scatter_gather,
        map_registers,
        domain: Mutex::new(super::device::domain(host, pdo)),
        state: Mutex::default(),
        stack: host.memory.stacks.current(),
        memory,
        operations,
    });
    let covered = (size as usize - 8) / 8;
    adapter.write_table(size, |at| {
        let is_null = table::member(at).is_some_and(|name| config.null_members.contains(&name));
        if at >= covered {
            Slot::BeyondSize
        } else if is_null {
            Slot::Null
        } else {
            Slot::Member
        }
    });
    // Version is 1 whatever the table.
    access::write::<u16>(adapter.address, 1);
    access::write::<u16>(adapter.address + 2, adapter.memory.size() as u16);
    access::write::<u64>(adapter.address + 8, adapter.operations.address());
    lock(&host.dma.adapters).insert(adapter.address, Arc::clone(&adapter));
    Some(adapter)
}

/// The adapter that a member was called with, unless that is a mistake.
pub(crate) fn find(host: &Arc<Host>, address: u64) -> Option<Arc<Adapter>> {
    if address == 0 {
        host.violation("V165", "E6/0x19", "the adapter is NULL");
        return None;
    }
    let adapter = lock(&host.dma.adapters).get(&address).cloned();
    let live = adapter.filter(|adapter| !lock(&adapter.state).released);
    if live.is_none() {
        host.violation(
            "V164",
            "E6/0x18",
            format!("{address:#x} is no adapter, or was put"),
        );
    }
    live
}

extern "win64" fn put_dma_adapter(adapter: u64) {
    exported(|host| {
        put(host, adapter);
        pool::serve(host)
    });
}

fn put(host: &Arc<Host>, address: u64) {
    let Some(adapter) = find(host, address) else {
        return;
    };
    let of_adapter = |request: &pool::Request| Arc::ptr_eq(&request.adapter, &adapter);
    let waiting = host.dma.registers.withdraw(of_adapter);
    let (buffers, lists, registers, channels, mapped) = {
        let state = lock(&adapter.state);
        let (buffers, lists) = (state.buffers.len(), state.lists.len());
        let channels = state.channels as usize + usize::from(state.channel_taken) + waiting.len();
        let mapped = state.allocations.values().flat_map(|one| &one.mapped);
        (buffers, lists, state.registers, channels, mapped.count())
    };
    let outstanding = [
        ("V150", "E6/0x07", buffers, "common buffers"),
        ("V151", "E6/0x08", channels, "adapter channels"),
        ("V153", "E6/0x0A", lists, "scatter/gather lists"),
        ("V152", "E6/0x09", registers as usize, "map registers"),
        ("V156", "E6/0x0D", mapped, "transfers not flushed"),
    ];
    for (rule, code, count, what) in outstanding {
        if count > 0 {
            host.violation(rule, code, format!("{count} {what} outstanding"));
        }
    }
    for request in waiting {
        drop_request(host, request);
    }
    lock(&adapter.state).released = true;
    domains::leave(host, &adapter);
    adapter.write_table(table::LARGEST, |_| Slot::Released);
}

/// What `IoGetDmaAdapter` has replaced: it gives nothing.
extern "win64" fn hal_get_adapter(_description: u64, _registers: u64) -> u64 {
    current().violation(
        "V168",
        "E6/0x1E",
        "obsolete: IoGetDmaAdapter is to be called",
    );
    0
}

exports! {
    "HalGetAdapter" => hal_get_adapter, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "IoGetDmaAdapter" => io_get_dma_adapter, IrqlRule::AtMost(PASSIVE), "V062", "C4/0x2000E";
    "PutDmaAdapter" => put_dma_adapter, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
}
