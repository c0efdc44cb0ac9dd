//! Physically contiguous memory, and physical addresses.

use std::sync::Arc;

use nt_machine::{CacheType, FrameList, FrameRequest, pages_for};

use super::blocks::{Damage, Kind, Layout, NewBlock};
use super::pool::{block_to_free, check_views, wrong_routine};
use crate::USER_LIMIT;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::thread::DISPATCH;

/// `MM_ANY_NODE_OK`.
pub(crate) const ANY_NODE: u32 = 0x8000_0000;
/// Addresses up to here are "low": a request bounded by it may use the machine's reserve.
const LOW_LIMIT: u64 = 0xFFFF_FFFF;

const PAGE_READWRITE: u32 = 0x04;
const PAGE_EXECUTE_READWRITE: u32 = 0x40;
const PAGE_NOCACHE: u32 = 0x200;
const PAGE_WRITECOMBINE: u32 = 0x400;

/// `MmCached`.
pub(crate) const CACHED: u32 = 1;

struct Request {
    routine: &'static str,
    bytes: u64,
    lowest: u64,
    highest: u64,
    boundary: u64,
    cache: u32,
    node: u32,
    specified: bool,
}

/// The machine's cache type for a `MEMORY_CACHING_TYPE`.
pub(crate) const fn cache_type(value: u32) -> Option<CacheType> {
    match value {
        0 => Some(CacheType::NonCached),
        1 => Some(CacheType::Cached),
        2 => Some(CacheType::WriteCombined),
        _ => None,
    }
}

extern "win64" fn mm_allocate_contiguous_memory(bytes: u64, highest: u64) -> u64 {
    let routine = "MmAllocateContiguousMemory";
    let (lowest, boundary, cache, node, specified) = (0, 0, CACHED, ANY_NODE, false);
    let request = Request {
        routine,
        bytes,
        lowest,
        highest,
        boundary,
        cache,
        node,
        specified,
    };
    allocate(&current(), &request)
}

extern "win64" fn mm_allocate_contiguous_memory_specify_cache(
    bytes: u64,
    lowest: u64,
    highest: u64,
    boundary: u64,
    cache: u32,
) -> u64 {
    let routine = "MmAllocateContiguousMemorySpecifyCache";
    let (node, specified) = (ANY_NODE, true);
    let request = Request {
        routine,
        bytes,
        lowest,
        highest,
        boundary,
        cache,
        node,
        specified,
    };
    allocate(&current(), &request)
}

extern "win64" fn mm_allocate_contiguous_memory_specify_cache_node(
    bytes: u64,
    lowest: u64,
    highest: u64,
    boundary: u64,
    cache: u32,
    node: u32,
) -> u64 {
    let routine = "MmAllocateContiguousMemorySpecifyCacheNode";
    let specified = true;
    let request = Request {
        routine,
        bytes,
        lowest,
        highest,
        boundary,
        cache,
        node,
        specified,
    };
    allocate(&current(), &request)
}

extern "win64" fn mm_allocate_contiguous_node_memory(
    bytes: u64,
    lowest: u64,
    highest: u64,
    boundary: u64,
    protect: u32,
    node: u32,
) -> u64 {
    let host = current();
    let routine = "MmAllocateContiguousNodeMemory";
    let access = protect & !(PAGE_NOCACHE | PAGE_WRITECOMBINE);
    let cache = match protect & (PAGE_NOCACHE | PAGE_WRITECOMBINE) {
        0 => CACHED,
        PAGE_NOCACHE => 0,
        PAGE_WRITECOMBINE => 2,
        _ => u32::MAX,
    };
    if access == PAGE_EXECUTE_READWRITE {
        host.violation(
            "V138",
            "C4/0x2001",
            format!("protection {protect:#x} is executable"),
        );
    } else if access != PAGE_READWRITE || cache == u32::MAX {
        host.violation("V008", "C4/0x16", format!("protection {protect:#x}"));
        return 0;
    }
    let specified = false;
    let request = Request {
        routine,
        bytes,
        lowest,
        highest,
        boundary,
        cache,
        node,
        specified,
    };
    allocate(&host, &request)
}

fn allocate(host: &Arc<Host>, request: &Request) -> u64 {
    if host.faults().should_fail(request.routine) {
        return 0;
    }
    let cache = cache_type(request.cache);
    let boundary_fits = request.boundary == 0 || request.boundary.is_power_of_two();
    let (Some(cache), true, true) = (cache, boundary_fits, request.bytes != 0) else {
        let Request {
            bytes,
            boundary,
            cache,
            ..
        } = request;
        let message = format!("{bytes} bytes, boundary {boundary:#x}, cache type {cache}");
        host.violation("V008", "C4/0x16", message);
        return 0;
    };
    place(host, request, cache).unwrap_or(0)
}

fn place(host: &Arc<Host>, request: &Request, cache: CacheType) -> Option<u64> {
    let memory = &host.memory;
    let any_node = request.node == ANY_NODE;
    let run = memory.machine.allocate(&FrameRequest {
        count: pages_for(request.bytes),
        lowest: request.lowest,
        highest: request.highest,
        boundary: request.boundary,
        node: (!any_node).then_some(request.node),
        strict: !any_node,
        reserve: request.highest <= LOW_LIMIT,
    })?;
    let frames = FrameList::from(run);
    let kind = Kind::Contiguous {
        cache: request.cache,
        specified: request.specified,
    };
    let (layout, stack) = (Layout::Start, memory.stacks.current());
    let new = NewBlock {
        kind,
        size: request.bytes,
        layout,
        cache,
        stack,
    };
    let base = memory.blocks.add(&frames, new);
    if base.is_none() {
        memory.give_back(&frames);
    }
    base
}

extern "win64" fn mm_free_contiguous_memory(base: u64) {
    free(&current(), base, None);
}

extern "win64" fn mm_free_contiguous_memory_specify_cache(base: u64, bytes: u64, cache: u32) {
    free(&current(), base, Some((bytes, cache)));
}

fn free(host: &Arc<Host>, base: u64, specified: Option<(u64, u32)>) {
    let Some(block) = block_to_free(host, base) else {
        return;
    };
    let Kind::Contiguous {
        cache,
        specified: by_cache,
    } = &block.kind
    else {
        wrong_routine(host, &block);
        return;
    };
    if let Some((bytes, cache_now)) = specified
        && (!by_cache || bytes != block.size || cache_now != *cache)
    {
        let message = format!(
            "{bytes} bytes, cache type {cache_now} given for {}, cache type {cache}",
            block.describe()
        );
        host.violation("V129", "C4/0x16", message);
    }
    if host.memory.blocks.damage(&block) == Some(Damage::After) {
        let message = format!("written past {}, in its last page", block.describe());
        host.violation("V135", "C4/0x51", message);
    }
    check_views(host, &block);
    super::mdl::memory_freed(host, &block);
    super::free_block(host, block.base);
}

extern "win64" fn mm_get_physical_address(address: u64) -> u64 {
    let host = current();
    let physical = if address < USER_LIMIT {
        host.current_process().memory.arena.translate(address)
    } else {
        host.memory.arena.translate(address)
    };
    physical.unwrap_or(0)
}

exports! {
    "MmAllocateContiguousMemory" => mm_allocate_contiguous_memory, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "MmAllocateContiguousMemorySpecifyCache" => mm_allocate_contiguous_memory_specify_cache, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "MmAllocateContiguousMemorySpecifyCacheNode" => mm_allocate_contiguous_memory_specify_cache_node, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "MmAllocateContiguousNodeMemory" => mm_allocate_contiguous_node_memory, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "MmFreeContiguousMemory" => mm_free_contiguous_memory, IrqlRule::AtMost(DISPATCH), "V068", "C4/0x2001A";
    "MmFreeContiguousMemorySpecifyCache" => mm_free_contiguous_memory_specify_cache, IrqlRule::AtMost(DISPATCH), "V068", "C4/0x2001A";
    "MmGetPhysicalAddress" => mm_get_physical_address, IrqlRule::Any, "V050", "C4/0xE5";
}
