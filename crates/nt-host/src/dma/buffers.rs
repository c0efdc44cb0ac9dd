//! Common buffers: memory that the processor and the device both see.

use std::sync::Arc;

use nt_machine::{CacheType, FrameList, FrameRequest, IoRange, Permissions, pages_for};

use super::adapter::{Adapter, find};
use crate::access;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::lock;
use crate::memory::blocks::{Damage, Kind, Layout, NewBlock};
use crate::memory::contiguous::{ANY_NODE, cache_type};
use crate::memory::free_block;
use crate::memory::pool::check_views;
use crate::memory::stacks::Stack;
use crate::thread::PASSIVE;

/// Where a common buffer's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The adapter's own; it is freed with the buffer.
    Own,
    /// An element of a vector: freed through the vector.
    Vector,
    /// The driver's, described by an MDL: it stays.
    Mdl,
}

/// A common buffer.
#[derive(Clone)]
pub(crate) struct Buffer {
    /// Bytes asked for.
    pub(crate) length: u64,
    /// Its logical address.
    pub(crate) logical: u64,
    /// The cache flag that its release has to give; `None` for any.
    pub(crate) cached: Option<bool>,
    /// Where its memory comes from.
    pub(crate) memory: Memory,
    /// The MDL that describes the driver's memory, or 0.
    pub(crate) mdl: u64,
    /// Who made it.
    pub(crate) stack: Stack,
}

/// What a common buffer is to be.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// Bytes.
    pub(crate) length: u64,
    /// Lowest logical address.
    pub(crate) lowest: u64,
    /// Highest logical address.
    pub(crate) highest: u64,
    /// Whether it is to be cached; its release has to repeat that.
    pub(crate) cached: bool,
    /// It is cached anyway, as the first of the allocators does on x64.
    pub(crate) ignore_cache: bool,
    /// The preferred node, or `ANY_NODE`.
    pub(crate) node: u32,
    /// What its memory is.
    pub(crate) memory: Memory,
}

impl Wanted {
    const fn new(length: u32, cached: bool) -> Self {
        let (length, highest, node) = (length as u64, u64::MAX, ANY_NODE);
        Self {
            length,
            lowest: 0,
            highest,
            cached,
            ignore_cache: false,
            node,
            memory: Memory::Own,
        }
    }
}

extern "win64" fn allocate_common_buffer(
    adapter: u64,
    length: u32,
    logical: u64,
    cached: u8,
) -> u64 {
    let wanted = Wanted {
        ignore_cache: true,
        ..Wanted::new(length, cached != 0)
    };
    allocate_for(&current(), "AllocateCommonBuffer", adapter, wanted, logical)
}

extern "win64" fn allocate_common_buffer_ex(
    adapter: u64,
    maximum: u64,
    length: u32,
    logical: u64,
    cached: u8,
    node: u32,
) -> u64 {
    let highest = if maximum == 0 {
        u64::MAX
    } else {
        access::read(maximum)
    };
    let wanted = Wanted {
        highest,
        node,
        ..Wanted::new(length, cached != 0)
    };
    allocate_for(
        &current(),
        "AllocateCommonBufferEx",
        adapter,
        wanted,
        logical,
    )
}

extern "win64" fn allocate_common_buffer_with_bounds(
    adapter: u64,
    minimum: u64,
    maximum: u64,
    length: u32,
    flags: u32,
    cache: u64,
    node: u32,
    logical: u64,
) -> u64 {
    let host = current();
    let cache: u32 = if cache == 0 { 1 } else { access::read(cache) };
    if cache > 1 || flags & !1 != 0 {
        let message = format!("caching type {cache}, flags {flags:#x}");
        host.violation("V008", "C4/0x16", message);
        return 0;
    }
    if flags != 0 {
        // Large pages: this machine has none to give.
        return 0;
    }
    let bound = |at: u64, none: u64| if at == 0 { none } else { access::read(at) };
    let (lowest, highest) = (bound(minimum, 0), bound(maximum, u64::MAX));
    let wanted = Wanted {
        lowest,
        highest,
        node,
        ..Wanted::new(length, cache == 1)
    };
    allocate_for(
        &host,
        "AllocateCommonBufferWithBounds",
        adapter,
        wanted,
        logical,
    )
}

fn allocate_for(
    host: &Arc<Host>,
    routine: &'static str,
    adapter: u64,
    wanted: Wanted,
    logical: u64,
) -> u64 {
    let Some(adapter) = find(host, adapter) else {
        return 0;
    };
    if wanted.length == 0 {
        host.violation("V171", "E6/0x21", "a common buffer of zero bytes");
        return 0;
    }
    if host.faults().should_fail(routine) {
        return 0;
    }
    let Some((address, at)) = allocate(host, &adapter, &wanted) else {
        return 0;
    };
    access::write::<u64>(logical, at);
    address
}

/// Makes a common buffer: its virtual and its logical address.
pub(crate) fn allocate(
    host: &Arc<Host>,
    adapter: &Arc<Adapter>,
    wanted: &Wanted,
) -> Option<(u64, u64)> {
    let memory = &host.memory;
    let frames = frames(host, adapter, wanted)?;
    let kind = Kind::CommonBuffer(adapter.address);
    let cache = if wanted.cached || wanted.ignore_cache {
        CacheType::Cached
    } else {
        CacheType::NonCached
    };
    let (size, layout, stack) = (wanted.length, Layout::Start, memory.stacks.current());
    let new = NewBlock {
        kind,
        size,
        layout,
        cache,
        stack: Arc::clone(&stack),
    };
    let Some(address) = memory.blocks.add(&frames, new) else {
        memory.give_back(&frames);
        return None;
    };
    let range = range(adapter, wanted);
    let Ok(logical) = adapter
        .domain()
        .map(&frames, range, Permissions::READ_WRITE)
    else {
        free_block(host, address);
        return None;
    };
    let (length, cached, memory) = (wanted.length, Some(wanted.cached), wanted.memory);
    let buffer = Buffer {
        length,
        logical,
        cached,
        memory,
        mdl: 0,
        stack,
    };
    lock(&adapter.state).buffers.insert(address, buffer);
    Some((address, logical))
}

const fn range(adapter: &Adapter, wanted: &Wanted) -> IoRange {
    let reach = adapter.highest();
    let highest = if wanted.highest < reach {
        wanted.highest
    } else {
        reach
    };
    IoRange {
        lowest: wanted.lowest,
        highest,
    }
}

/// Behind an IOMMU any frames will do; without one they are what the device sees.
fn frames(host: &Arc<Host>, adapter: &Adapter, wanted: &Wanted) -> Option<FrameList> {
    let count = pages_for(wanted.length);
    let node = (wanted.node != ANY_NODE).then_some(wanted.node);
    let anywhere = FrameRequest {
        node,
        ..FrameRequest::anywhere(count)
    };
    if adapter.domain().is_remapping() {
        return host.memory.frames(&anywhere);
    }
    let IoRange { lowest, highest } = range(adapter, wanted);
    let bounded = FrameRequest {
        lowest,
        highest,
        reserve: true,
        ..anywhere
    };
    host.memory.machine.allocate(&bounded).map(FrameList::from)
}

extern "win64" fn free_common_buffer(
    adapter: u64,
    length: u32,
    logical: u64,
    address: u64,
    cached: u8,
) {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return;
    };
    let buffer = lock(&adapter.state).buffers.get(&address).cloned();
    let Some(buffer) = buffer else {
        let message = format!("no common buffer of this adapter at {address:#x}");
        host.violation("V146", "E6/0x03", message);
        return;
    };
    let same = buffer.length == u64::from(length)
        && buffer.logical == logical
        && buffer
            .cached
            .is_none_or(|of_buffer| of_buffer == (cached != 0));
    if !same || buffer.memory == Memory::Vector {
        let message = format!(
            "{address:#x}: length {length}, logical {logical:#x}, cached {cached}; allocated: length {}, logical {:#x}, cached {:?}, {:?}",
            buffer.length, buffer.logical, buffer.cached, buffer.memory
        );
        host.violation("V146", "E6/0x03", message);
        return;
    }
    release(&host, &adapter, address);
}

/// Frees a common buffer that the driver gives back.
pub(crate) fn release(host: &Arc<Host>, adapter: &Arc<Adapter>, address: u64) {
    let Some(buffer) = lock(&adapter.state).buffers.remove(&address) else {
        return;
    };
    let unmapped = adapter.domain().unmap(buffer.logical);
    debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    if buffer.memory == Memory::Mdl {
        return;
    }
    if let Some(block) = host.memory.blocks.live(address) {
        if host.memory.blocks.damage(&block) == Some(Damage::After) {
            let message = format!("written past {}, in its last page", block.describe());
            host.violation("V158", "E6/0x0F", message);
        }
        check_views(host, &block);
    }
    free_block(host, address);
}

/// The machine's cache type for a vector's caching type.
pub(crate) fn is_cached(cache: u32) -> Option<bool> {
    match cache_type(cache)? {
        CacheType::Cached => Some(true),
        CacheType::NonCached => Some(false),
        CacheType::WriteCombined => None,
    }
}

exports! {
    "AllocateCommonBuffer" => allocate_common_buffer, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "AllocateCommonBufferEx" => allocate_common_buffer_ex, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "AllocateCommonBufferWithBounds" => allocate_common_buffer_with_bounds, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "FreeCommonBuffer" => free_common_buffer, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
}
