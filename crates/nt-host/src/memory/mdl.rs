//! MDLs: their layout, what the system knows of each, how they are made and freed.

use std::sync::{Arc, Weak};

use nt_machine::{CacheType, FrameList, FrameRequest, PAGE_SIZE, pages_for};

use super::blocks::{Block, Kind, Layout, NewBlock};
use super::pool::{block_to_free, wrong_routine};
use super::stacks::Stack;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::layout::irp;
use crate::process::ProcessObject;
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH};
use crate::{USER_LIMIT, access, lock};

/// Bytes before the frame numbers.
pub(crate) const HEADER: u64 = 48;

/// `MDL_MAPPED_TO_SYSTEM_VA`.
pub(crate) const MAPPED: u16 = 0x01;
/// `MDL_PAGES_LOCKED`.
pub(crate) const LOCKED: u16 = 0x02;
/// `MDL_SOURCE_IS_NONPAGED_POOL`.
pub(crate) const NONPAGED: u16 = 0x04;
/// `MDL_ALLOCATED_FIXED_SIZE`.
const FIXED_SIZE: u16 = 0x08;
/// `MDL_PARTIAL`.
pub(crate) const PARTIAL: u16 = 0x10;
/// `MDL_WRITE_OPERATION`.
pub(crate) const WRITE: u16 = 0x80;

/// An exception that a routine raises in the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raise {
    status: NtStatus,
    parameters: [u64; 2],
    count: usize,
}

impl Raise {
    /// With a status alone.
    pub(crate) const fn status(status: NtStatus) -> Self {
        Self {
            status,
            parameters: [0; 2],
            count: 0,
        }
    }

    /// An access violation, as the processor would report it.
    pub(crate) fn access(address: u64, write: bool) -> Self {
        let parameters = [u64::from(write), address];
        Self {
            status: NtStatus::ACCESS_VIOLATION,
            parameters,
            count: 2,
        }
    }

    /// The status.
    pub(crate) const fn code(&self) -> NtStatus {
        self.status
    }

    /// Raises it. The caller may have nothing left to drop and no lock held.
    pub(crate) fn now(self) -> ! {
        nt_image::raise(self.status.0, &self.parameters[..self.count])
    }
}

/// The fields of an MDL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mdl {
    /// Where it lies.
    pub(crate) at: u64,
    /// `MdlFlags`.
    pub(crate) flags: u16,
    /// `StartVa`, a page's start.
    pub(crate) start: u64,
    /// `ByteCount`.
    pub(crate) count: u32,
    /// `ByteOffset` in the first page.
    pub(crate) offset: u32,
}

impl Mdl {
    /// Reads the fields of the MDL at an address; a bad address faults in the driver.
    pub(crate) fn read(at: u64) -> Self {
        let (flags, start) = (access::read(at + 10), access::read(at + 32));
        Self {
            at,
            flags,
            start,
            count: access::read(at + 40),
            offset: access::read(at + 44),
        }
    }

    /// Writes a whole header.
    pub(crate) fn write(&self) {
        access::fill(self.at, 0, HEADER as usize);
        access::write::<u16>(self.at + 8, (HEADER + 8 * self.pages()) as u16);
        access::write::<u16>(self.at + 10, self.flags);
        access::write::<u64>(self.at + 32, self.start);
        access::write::<u32>(self.at + 40, self.count);
        access::write::<u32>(self.at + 44, self.offset);
    }

    /// Changes its flags.
    pub(crate) fn set_flags(&mut self, set: u16, clear: u16) {
        self.flags = (self.flags | set) & !clear;
        access::write::<u16>(self.at + 10, self.flags);
    }

    /// Sets `MappedSystemVa`.
    pub(crate) fn set_system_address(&self, address: u64) {
        access::write::<u64>(self.at + 24, address);
    }

    /// Sets `Process`.
    pub(crate) fn set_process(&self, process: u64) {
        access::write::<u64>(self.at + 16, process);
    }

    /// Writes the frame numbers.
    pub(crate) fn set_frames(&self, frames: &FrameList) {
        for (index, frame) in frames.frames().take(self.pages() as usize).enumerate() {
            access::write::<u64>(self.at + HEADER + 8 * index as u64, frame);
        }
    }

    /// `Next` in the chain, or zero.
    pub(crate) fn next(&self) -> u64 {
        access::read(self.at)
    }

    /// The address described.
    pub(crate) const fn address(&self) -> u64 {
        self.start + self.offset as u64
    }

    /// Pages that it spans.
    pub(crate) const fn pages(&self) -> u64 {
        pages_for(self.offset as u64 + self.count as u64)
    }

    /// In words, for reports.
    pub(crate) fn describe(&self) -> String {
        let (at, address, count, flags) = (self.at, self.address(), self.count, self.flags);
        format!("MDL {at:#x} for {count} bytes at {address:#x}, flags {flags:#x}")
    }
}

/// Where an MDL comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `IoAllocateMdl`, or memory of the driver's own.
    Driver,
    /// `MmAllocatePagesForMdl*`; true until the pages were given back.
    Pages(bool),
    /// The I/O manager.
    System,
}

/// What the system knows of an MDL.
#[derive(Clone)]
pub(crate) struct MdlState {
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// The frames of its pages, once it describes memory.
    pub(crate) frames: FrameList,
    /// Locked by `MmProbeAndLockPages`.
    pub(crate) locked: bool,
    /// It was locked at some time.
    pub(crate) was_locked: bool,
    /// The process whose pages are locked.
    pub(crate) process: Option<Weak<ProcessObject>>,
    /// The system mapping that the system made for it, with its caching type.
    pub(crate) system_view: Option<(u64, CacheType)>,
    /// User mappings of it.
    pub(crate) user_views: u32,
    /// The kernel block that it describes.
    pub(crate) source: Option<u64>,
    /// Who made it, or locked it.
    pub(crate) stack: Stack,
}

impl MdlState {
    /// An MDL that describes nothing yet.
    pub(crate) fn new(origin: Origin, stack: Stack) -> Self {
        Self {
            origin,
            frames: FrameList::default(),
            locked: false,
            was_locked: false,
            process: None,
            system_view: None,
            user_views: 0,
            source: None,
            stack,
        }
    }
}

extern "win64" fn io_allocate_mdl(
    address: u64,
    length: u32,
    secondary: u8,
    _charge_quota: u8,
    irp: u64,
) -> u64 {
    let host = current();
    if host.faults().should_fail("IoAllocateMdl") {
        return 0;
    }
    let mdl = new_mdl(&host, address, length, Origin::Driver).map_or(0, |mdl| mdl.at);
    if mdl != 0 && irp != 0 {
        link(irp, mdl, secondary != 0);
    }
    mdl
}

/// Makes the MDL the request's, or the last of its chain.
fn link(request: u64, mdl: u64, secondary: bool) {
    let mut slot = request + irp::MDL_ADDRESS;
    loop {
        let next: u64 = access::read(slot);
        if !secondary || next == 0 {
            break;
        }
        slot = next;
    }
    access::write::<u64>(slot, mdl);
}

/// An MDL that describes a range of addresses, without frames yet.
pub(crate) fn new_mdl(host: &Arc<Host>, address: u64, length: u32, origin: Origin) -> Option<Mdl> {
    if u64::from(length) > u64::from(u32::MAX) + 1 - PAGE_SIZE {
        return None;
    }
    let (start, offset) = (
        address / PAGE_SIZE * PAGE_SIZE,
        (address % PAGE_SIZE) as u32,
    );
    let mut mdl = Mdl {
        at: 0,
        flags: 0,
        start,
        count: length,
        offset,
    };
    let kind = if matches!(origin, Origin::Pages(_)) {
        Kind::PagesMdl
    } else {
        Kind::Mdl
    };
    mdl.at = new_object(host, kind, HEADER + 8 * mdl.pages())?;
    if mdl.pages() <= 23 && origin == Origin::Driver {
        mdl.flags = FIXED_SIZE;
    }
    mdl.write();
    let state = MdlState::new(origin, host.memory.stacks.current());
    lock(&host.memory.mdls).insert(mdl.at, state);
    Some(mdl)
}

/// Kernel memory for a structure that the system makes; it ends at an inaccessible page.
pub(crate) fn new_object(host: &Arc<Host>, kind: Kind, size: u64) -> Option<u64> {
    let memory = &host.memory;
    let frames = memory.frames(&FrameRequest::anywhere(pages_for(size)))?;
    let (layout, cache, stack) = (Layout::End(16), CacheType::Cached, memory.stacks.current());
    let base = memory.blocks.add(
        &frames,
        NewBlock {
            kind,
            size,
            layout,
            cache,
            stack,
        },
    );
    if base.is_none() {
        memory.give_back(&frames);
    }
    base
}

extern "win64" fn io_free_mdl(address: u64) {
    let host = current();
    let Some(block) = block_to_free(&host, address) else {
        return;
    };
    if block.kind != Kind::Mdl {
        wrong_routine(&host, &block);
        return;
    }
    let mdl = Mdl::read(address);
    let state = lock(&host.memory.mdls).get(&address).cloned();
    let Some(state) = state else { return };
    if state.origin == Origin::System {
        let message = format!("{} belongs to the request", mdl.describe());
        host.violation("V129", "C4/0x16", message);
        return;
    }
    if state.user_views > 0 || (state.system_view.is_some() && mdl.flags & PARTIAL == 0) {
        host.violation(
            "V120",
            "C4/0xB8",
            format!("{} is still mapped", mdl.describe()),
        );
        return;
    }
    if state.locked {
        host.violation(
            "V124",
            "CB",
            format!("{}: its pages are still locked", mdl.describe()),
        );
        return;
    }
    lock(&host.memory.mdls).remove(&address);
    super::free_block(&host, address);
}

extern "win64" fn mm_size_of_mdl(address: u64, length: u64) -> u64 {
    HEADER + 8 * pages_for(address % PAGE_SIZE + length)
}

extern "win64" fn mm_build_mdl_for_non_paged_pool(address: u64) {
    build_nonpaged(&current(), address);
}

fn build_nonpaged(host: &Arc<Host>, address: u64) {
    let mut mdl = Mdl::read(address);
    if mdl.flags & (LOCKED | NONPAGED | MAPPED | PARTIAL) != 0 {
        host.violation(
            "V116",
            "C4/0xB0",
            format!("{} already has pages", mdl.describe()),
        );
        return;
    }
    let source = host.memory.blocks.live(mdl.address());
    if !check_nonpaged(host, &mdl, source.as_ref()) {
        return;
    }
    let length = u64::from(mdl.count);
    let frames = host
        .memory
        .arena
        .frames_of(mdl.address(), length, false)
        .unwrap_or_default();
    mdl.set_flags(NONPAGED, 0);
    mdl.set_system_address(mdl.address());
    mdl.set_frames(&frames);
    with_state(host, &mdl, |state| {
        state.frames = frames;
        state.source = source.map(|block| block.base);
    });
}

/// Judges the memory that an MDL for nonpaged memory is built over.
fn check_nonpaged(host: &Arc<Host>, mdl: &Mdl, source: Option<&Block>) -> bool {
    let what = mdl.describe();
    if mdl.address() < USER_LIMIT {
        host.violation("V258", "C4/0xE0", format!("{what}: a user address"));
        return false;
    }
    if thread::is_on_stack(mdl.address()) {
        host.violation("V121", "C4/0x140", format!("{what}: a kernel stack"));
        return false;
    }
    let Some(block) = source else {
        // Kernel objects and the image are nonpaged, but no frames of the machine.
        if host.memory.arena.contains(mdl.address()) {
            host.violation("V110", "C4/0x7F", format!("{what}: no memory there"));
            return false;
        }
        return true;
    };
    if matches!(block.kind, Kind::Pool { paged: true, .. }) {
        host.violation("V110", "C4/0x7F", format!("{what}: {}", block.describe()));
        return false;
    }
    let end = mdl.address() + u64::from(mdl.count);
    if mdl.address() < block.base || end > block.base + block.size {
        let message = format!("{what} reaches outside of {}", block.describe());
        host.violation("V008", "C4/0x16", message);
    }
    true
}

/// Runs `change` on what is known of an MDL; one in the driver's own memory becomes known here.
pub(crate) fn with_state<T>(
    host: &Arc<Host>,
    mdl: &Mdl,
    change: impl FnOnce(&mut MdlState) -> T,
) -> T {
    let stack = host.memory.stacks.current();
    let mut mdls = lock(&host.memory.mdls);
    change(
        mdls.entry(mdl.at)
            .or_insert_with(|| MdlState::new(Origin::Driver, stack)),
    )
}

/// What is known of an MDL; nothing if no routine has seen it.
pub(crate) fn state_of(host: &Arc<Host>, mdl: u64) -> Option<MdlState> {
    lock(&host.memory.mdls).get(&mdl).cloned()
}

/// A block of the driver's is freed: MDLs and locks that it kept there are gone.
pub(crate) fn memory_freed(host: &Arc<Host>, block: &Block) {
    let range = block.page..block.pages_end();
    host.locks.memory_freed(host, range.clone(), "memory");
    let gone: Vec<(u64, MdlState)> = {
        let mut mdls = lock(&host.memory.mdls);
        let found: Vec<u64> = mdls.range(range).map(|(&at, _)| at).collect();
        found
            .into_iter()
            .filter_map(|at| Some((at, mdls.remove(&at)?)))
            .collect()
    };
    for (at, state) in gone {
        if state.locked || state.system_view.is_some() || state.user_views > 0 {
            let message = format!("MDL {at:#x} is freed while its pages are locked or mapped");
            host.violation("V120", "C4/0xB8", message);
        }
    }
}

exports! {
    "IoAllocateMdl" => io_allocate_mdl, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "IoFreeMdl" => io_free_mdl, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
    "MmSizeOfMdl" => mm_size_of_mdl, IrqlRule::Any, "V050", "C4/0xE5";
    "MmBuildMdlForNonPagedPool" => mm_build_mdl_for_non_paged_pool, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
}
