//! Pool, mappings, MDLs, contiguous memory: the memory half of the kernel.
//!
//! The other half calls in here at the points named below, always without a lock held.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use nt_machine::{Arena, FrameList, FrameRequest, Machine, PAGE_SIZE};

use crate::export::Export;
use crate::fault::Finding;
use crate::host::Host;
use crate::lock;
use crate::process::ProcessObject;
use crate::status::NtStatus;

pub(crate) mod blocks;
pub(crate) mod contiguous;
mod locked;
mod locking;
pub(crate) mod mapping;
pub(crate) mod mdl;
mod numa;
mod pages;
pub(crate) mod pool;
pub(crate) mod secure;
pub(crate) mod stacks;
#[cfg(test)]
mod tests;
mod user;

pub(crate) use locked::free_frames;
pub(crate) use user::ProcessMemory;

use blocks::{Blocks, Kind, Place};
use locked::LockedFrames;
use mdl::{Mdl, MdlState, Origin};
use secure::SecuredRanges;
use stacks::Stacks;

/// Address space for everything that the kernel maps.
const KERNEL_SPACE: u64 = 1 << 38;

/// The routines of this half.
pub(crate) fn exports() -> &'static [Export] {
    static ALL: OnceLock<Vec<Export>> = OnceLock::new();
    ALL.get_or_init(|| {
        [
            pool::EXPORTS,
            contiguous::EXPORTS,
            mdl::EXPORTS,
            locking::EXPORTS,
            mapping::EXPORTS,
            pages::EXPORTS,
            numa::EXPORTS,
            secure::EXPORTS,
        ]
        .concat()
    })
}

/// What the memory half keeps per host.
pub(crate) struct MemoryState {
    pub(crate) machine: Arc<Machine>,
    /// The kernel's addresses.
    pub(crate) arena: Arc<Arena>,
    pub(crate) blocks: Blocks,
    pub(crate) mdls: Mutex<BTreeMap<u64, MdlState>>,
    /// User mappings made by drivers: address to process.
    pub(crate) views: Mutex<BTreeMap<u64, u64>>,
    /// What `MmProbeAndLockPages` keeps.
    pub(crate) locked: Arc<LockedFrames>,
    /// Memory of processes that drivers have secured.
    pub(crate) secured: SecuredRanges,
    pub(crate) stacks: Stacks,
    /// A driver's Unload routine runs.
    pub(crate) unloading: AtomicBool,
    /// Counts pool blocks, for their layout.
    pub(crate) turn: AtomicU64,
}

impl MemoryState {
    /// For a host on that machine.
    pub(crate) fn new(machine: &Arc<Machine>) -> io::Result<Self> {
        let arena = Arc::new(Arena::kernel(machine, KERNEL_SPACE)?);
        Ok(Self {
            machine: Arc::clone(machine),
            blocks: Blocks::new(Arc::clone(&arena)),
            arena,
            mdls: Mutex::default(),
            views: Mutex::default(),
            locked: Arc::default(),
            secured: SecuredRanges::default(),
            stacks: Stacks::default(),
            unloading: AtomicBool::new(false),
            turn: AtomicU64::new(0),
        })
    }

    /// Frames for kernel memory: in pieces, unless there are so many blocks that pieces cost too much.
    pub(crate) fn frames(&self, request: &FrameRequest) -> Option<FrameList> {
        if self.arena.is_crowded() {
            return self.machine.allocate(request).map(FrameList::from);
        }
        self.machine.allocate_pieces(request)
    }

    /// Gives frames back that the caller has from the machine, and nobody has locked.
    pub(crate) fn give_back(&self, frames: &FrameList) {
        let freed = self.machine.free_list(frames);
        debug_assert!(freed.is_ok(), "{freed:?}");
    }
}

/// Unmaps a block and gives its frames back, as far as they are not locked.
pub(crate) fn free_block(host: &Arc<Host>, base: u64) {
    if let Some(block) = host.memory.blocks.remove(base) {
        free_frames(host, &block.frames, || block.describe());
    }
}

/// Memory of a process's own, as a program's allocation: the buffer of a request.
pub(crate) fn allocate_user(
    _host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    length: usize,
) -> Result<u64, NtStatus> {
    process.memory.allocate(length as u64)
}

/// Gives memory of `allocate_user` back, unless it is and stays secured.
pub(crate) fn free_user(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    address: u64,
) -> Result<(), NtStatus> {
    secure::change(host, process, address, None, || {
        process.memory.free(address)
    })
}

/// Reads a process's memory as the process itself would.
pub(crate) fn read_user(
    process: &ProcessObject,
    address: u64,
    bytes: &mut [u8],
) -> Result<(), NtStatus> {
    process
        .memory
        .arena
        .read(address, bytes)
        .map_err(|_| NtStatus::ACCESS_VIOLATION)
}

/// Writes a process's memory as the process itself would.
pub(crate) fn write_user(
    process: &ProcessObject,
    address: u64,
    bytes: &[u8],
) -> Result<(), NtStatus> {
    process
        .memory
        .arena
        .write(address, bytes)
        .map_err(|_| NtStatus::ACCESS_VIOLATION)
}

/// The mappings that drivers made in a process: address and bytes.
pub(crate) fn mappings(process: &ProcessObject) -> Vec<(u64, u64)> {
    process.memory.views()
}

/// The I/O manager's MDL for a request with direct I/O: probed and locked, owned by the system.
pub(crate) fn lock_for_request(
    host: &Arc<Host>,
    process: &Arc<ProcessObject>,
    address: u64,
    length: usize,
    write: bool,
) -> Result<u64, NtStatus> {
    let mdl = mdl::new_mdl(host, address, length as u32, Origin::System);
    let mdl = mdl.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let locked = crate::thread::in_process(process, || {
        locking::lock_pages(host, mdl, locking::USER_MODE, write)
    });
    locked.map(|()| mdl.at).map_err(|raise| {
        discard_mdl(host, mdl.at);
        raise.code()
    })
}

/// The request is complete: unlocks its MDLs (the whole chain) and frees them.
pub(crate) fn unlock_after_request(host: &Arc<Host>, mdl: u64) {
    let mut next = mdl;
    while next != 0 {
        let mdl = Mdl::read(next);
        next = mdl.next();
        let state = mdl::state_of(host, mdl.at);
        if state.as_ref().is_some_and(|state| state.user_views > 0) {
            let message = format!("{} is unlocked while mapped to a process", mdl.describe());
            host.violation("V125", "C4/0x16", message);
        }
        if state.is_some_and(|state| state.locked) {
            locking::unlock(host, mdl);
        }
        discard_mdl(host, mdl.at);
    }
}

fn discard_mdl(host: &Arc<Host>, address: u64) {
    lock(&host.memory.mdls).remove(&address);
    if host
        .memory
        .blocks
        .live(address)
        .is_some_and(|block| block.kind == Kind::Mdl)
    {
        free_block(host, address);
    }
}

/// Whether a synchronisation object may lie at `address`; `None` if the address is not this half's.
pub(crate) fn is_nonpaged(host: &Host, address: u64) -> Option<bool> {
    let block = host.memory.blocks.live(address)?;
    Some(!matches!(block.kind, Kind::Pool { paged: true, .. }))
}

/// Which rule an access to that address has broken, if the address is (or was) this half's.
pub(crate) fn explain_fault(host: &Host, address: u64) -> Option<Finding> {
    match host.memory.blocks.place(address) {
        Some(Place::Freed(old)) => {
            let offset = address.wrapping_sub(old.base).cast_signed();
            let (name, base, size) = (old.kind.name(), old.base, old.size);
            let message =
                format!("byte {offset} of {name} {base:#x} of {size} bytes, which was freed");
            Some(Finding {
                rule: "V013",
                code: "CC",
                message,
            })
        }
        Some(Place::Live(block) | Place::Guard(block)) => {
            let offset = address.wrapping_sub(block.base).cast_signed();
            let before = address < block.base;
            let (rule, code) = if before {
                ("V011", "CD")
            } else {
                ("V010", "CD")
            };
            let message = format!("byte {offset} of {}", block.describe());
            Some(Finding {
                rule,
                code,
                message,
            })
        }
        None if host.memory.arena.contains(address) => Some(explain_mapping(host, address)),
        None => None,
    }
}

/// An access near the system mapping of an MDL, or where no mapping is.
fn explain_mapping(host: &Host, address: u64) -> Finding {
    let near = |(mapped, state): (u64, &MdlState)| {
        let start = mapped / PAGE_SIZE * PAGE_SIZE;
        let end = start + state.frames.pages() * PAGE_SIZE;
        (address + PAGE_SIZE >= start && address < end + PAGE_SIZE)
            .then(|| (mapped, state.frames.pages() * PAGE_SIZE, state.origin))
    };
    let mdls = lock(&host.memory.mdls);
    let mut views = mdls
        .values()
        .filter_map(|state| Some((state.system_view?.0, state)));
    let Some((mapped, bytes, origin)) = views.find_map(near) else {
        let message = "a kernel mapping that is gone, or never was".to_owned();
        return Finding {
            rule: "V013",
            code: "50",
            message,
        };
    };
    // Whoever runs past pages that came with an MDL has most likely not looked how many came.
    let rule = if matches!(origin, Origin::Pages(_)) {
        "V131"
    } else {
        "V010"
    };
    let message = format!("outside of the mapping at {mapped:#x}, {bytes} bytes");
    Finding {
        rule,
        code: "50",
        message,
    }
}

/// The process has closed its handles and its address space goes: judges what is still mapped or locked.
pub(crate) fn process_exiting(host: &Arc<Host>, process: &Arc<ProcessObject>) {
    mapping::process_exiting(host, process);
    locking::process_exiting(host, process);
    secure::process_exiting(host, process);
    process.memory.clear();
}

/// The driver's Unload routine is about to run.
pub(crate) fn driver_unloading(host: &Arc<Host>) {
    host.memory.unloading.store(true, Ordering::SeqCst);
}

/// The driver's Unload has returned: reports what it has not given back.
pub(crate) fn driver_unloaded(host: &Arc<Host>) {
    host.memory.unloading.store(false, Ordering::SeqCst);
    secure::driver_unloaded(host);
    let (mut pool, mut bytes) = (0, 0);
    for block in host.memory.blocks.all() {
        let kind = block.kind.name();
        let mut detail = block.describe();
        if let Kind::Pool { tag, paged } = &block.kind {
            pool += 1;
            bytes += block.size;
            let of = if *paged { "paged" } else { "nonpaged" };
            detail = format!("{detail}, {of}, tag {}", pool::tag_name(*tag));
        } else {
            host.violation_at("V132", "C4/0x62", detail.clone(), block.stack.to_vec());
        }
        host.leak(kind, detail, block.stack.to_vec());
    }
    if pool > 0 {
        let message = format!("unloaded with {pool} pool blocks, {bytes} bytes");
        host.violation("V016", "C4/0x62", message);
    }
    let mdls: Vec<(u64, MdlState)> = lock(&host.memory.mdls)
        .iter()
        .map(|(&at, state)| (at, state.clone()))
        .collect();
    for (at, state) in mdls {
        if state.locked || state.system_view.is_some() {
            let what = if state.locked {
                "locked pages"
            } else {
                "system mapping"
            };
            host.leak(what, format!("of MDL {at:#x}"), state.stack.to_vec());
        }
    }
}
