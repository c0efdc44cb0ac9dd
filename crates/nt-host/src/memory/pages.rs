//! Pages that come with an MDL: `MmAllocatePagesForMdl*`.

use std::sync::Arc;

use nt_machine::{FrameList, FrameRange, FrameRequest, PAGE_SIZE, pages_for};

use super::contiguous::{ANY_NODE, CACHED, cache_type};
use super::mdl::{LOCKED, Mdl, Origin, new_mdl, state_of, with_state};
use super::pool::block_to_free;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::lock;
use crate::thread::APC;

const DONT_ZERO: u32 = 0x01;
const LOCAL_NODE_ONLY: u32 = 0x02;
const FULLY_REQUIRED: u32 = 0x04;
const CONTIGUOUS_CHUNKS: u32 = 0x20;
const KNOWN: u32 = 0x7F;
/// The most that one MDL describes.
const MOST: u64 = (1 << 32) - PAGE_SIZE;

#[derive(Clone, Copy)]
struct Request {
    routine: &'static str,
    lowest: u64,
    highest: u64,
    skip: u64,
    total: u64,
    cache: u32,
    node: u32,
    flags: u32,
}

extern "win64" fn mm_allocate_pages_for_mdl(
    lowest: u64,
    highest: u64,
    skip: u64,
    total: u64,
) -> u64 {
    let (routine, cache, node, flags) = ("MmAllocatePagesForMdl", CACHED, ANY_NODE, 0);
    allocate(
        &current(),
        Request {
            routine,
            lowest,
            highest,
            skip,
            total,
            cache,
            node,
            flags,
        },
    )
}

extern "win64" fn mm_allocate_pages_for_mdl_ex(
    lowest: u64,
    highest: u64,
    skip: u64,
    total: u64,
    cache: u32,
    flags: u32,
) -> u64 {
    let (routine, node) = ("MmAllocatePagesForMdlEx", ANY_NODE);
    allocate(
        &current(),
        Request {
            routine,
            lowest,
            highest,
            skip,
            total,
            cache,
            node,
            flags,
        },
    )
}

extern "win64" fn mm_allocate_node_pages_for_mdl_ex(
    lowest: u64,
    highest: u64,
    skip: u64,
    total: u64,
    cache: u32,
    node: u32,
    flags: u32,
) -> u64 {
    let routine = "MmAllocateNodePagesForMdlEx";
    allocate(
        &current(),
        Request {
            routine,
            lowest,
            highest,
            skip,
            total,
            cache,
            node,
            flags,
        },
    )
}

fn allocate(host: &Arc<Host>, request: Request) -> u64 {
    if host.faults().should_fail(request.routine) || !check(host, &request) {
        return 0;
    }
    let Some(cache) = cache_type(request.cache) else {
        return 0;
    };
    let machine = &host.memory.machine;
    let frames = collect(host, &request);
    let full = frames.pages() == pages_for(request.total);
    if frames.pages() == 0 || (!full && request.flags & FULLY_REQUIRED != 0) {
        host.memory.give_back(&frames);
        return 0;
    }
    let zeroed = request.flags & DONT_ZERO != 0 || machine.zero(&frames).is_ok();
    debug_assert!(zeroed, "frames of the machine can be written");
    let bytes = if full {
        request.total
    } else {
        frames.pages() * PAGE_SIZE
    };
    let origin = Origin::Pages(true);
    let mdl = machine.use_cache(&frames, cache).ok();
    let mdl = mdl.and_then(|()| new_mdl(host, 0, bytes as u32, origin));
    let Some(mut mdl) = mdl else {
        host.memory.give_back(&frames);
        return 0;
    };
    mdl.set_flags(LOCKED, 0);
    mdl.set_frames(&frames);
    with_state(host, &mdl, |state| state.frames = frames);
    mdl.at
}

fn check(host: &Arc<Host>, request: &Request) -> bool {
    let Request {
        skip,
        total,
        cache,
        flags,
        ..
    } = *request;
    let chunks = flags & CONTIGUOUS_CHUNKS == 0
        || (skip.is_power_of_two() && skip >= PAGE_SIZE && total.is_multiple_of(skip));
    let fits = total != 0 && total <= MOST && skip.is_multiple_of(PAGE_SIZE);
    let good = chunks && fits && flags & !KNOWN == 0 && cache_type(cache).is_some();
    if !good {
        let message = format!("{total} bytes, skip {skip:#x}, type {cache}, flags {flags:#x}");
        host.violation("V008", "C4/0x16", message);
    }
    good
}

/// As many frames as there are, up to those wanted.
fn collect(host: &Arc<Host>, request: &Request) -> FrameList {
    let mut wanted = pages_for(request.total);
    let in_chunks = request.flags & CONTIGUOUS_CHUNKS != 0;
    let chunk = if in_chunks {
        request.skip / PAGE_SIZE
    } else {
        1
    };
    let may_be_short = request.flags & FULLY_REQUIRED == 0 && wanted > chunk;
    if may_be_short && host.faults().should_fail("pages for an MDL") {
        wanted = (wanted / 2).next_multiple_of(chunk);
    }
    let local = request.node != ANY_NODE || request.flags & LOCAL_NODE_ONLY != 0;
    let node = if request.node == ANY_NODE {
        0
    } else {
        request.node
    };
    let mut frames = FrameList::default();
    let (mut lowest, mut highest) = (request.lowest, request.highest);
    while frames.pages() < wanted {
        let part = FrameRequest {
            count: chunk,
            lowest,
            highest,
            boundary: 0,
            node: local.then_some(node),
            strict: local && request.flags & LOCAL_NODE_ONLY != 0,
            reserve: u32::try_from(highest).is_ok(),
        };
        match next(host, &part) {
            Some(run) => frames.push(run),
            // The next range begins `skip` bytes further on.
            None if !in_chunks && request.skip != 0 && lowest < host.machine().size() => {
                lowest = lowest.saturating_add(request.skip);
                highest = highest.saturating_add(request.skip);
            }
            None => break,
        }
    }
    frames
}

fn next(host: &Arc<Host>, request: &FrameRequest) -> Option<FrameRange> {
    let machine = &host.memory.machine;
    if request.count > 1 {
        return machine.allocate(request);
    }
    machine.allocate_scattered(request)?.runs().next()
}

extern "win64" fn mm_free_pages_from_mdl(address: u64) {
    free(&current(), address);
}

fn free(host: &Arc<Host>, address: u64) {
    let Some(state) = state_of(host, address) else {
        drop(block_to_free(host, address));
        return;
    };
    let mut mdl = Mdl::read(address);
    let what = mdl.describe();
    match state.origin {
        Origin::Pages(true) => {}
        Origin::Pages(false) => {
            host.violation(
                "V007",
                "C4/0x13",
                format!("{what}: its pages are freed already"),
            );
            return;
        }
        Origin::Driver | Origin::System => {
            host.violation("V129", "C4/0x16", format!("{what} did not come with pages"));
            return;
        }
    }
    if state.user_views > 0 {
        host.violation(
            "V125",
            "C4/0x16",
            format!("{what}: freed while mapped to a process"),
        );
        return;
    }
    if state.system_view.is_some() {
        host.violation("V120", "C4/0xB8", format!("{what}: freed while mapped"));
        return;
    }
    host.memory.machine.release_cache(&state.frames);
    super::free_frames(host, &state.frames, || what.clone());
    mdl.set_flags(0, LOCKED);
    with_state(host, &mdl, |state| {
        state.origin = Origin::Pages(false);
        state.frames = FrameList::default();
    });
}

/// Whether `ExFreePool` may free an MDL that came with pages: these have to be gone.
pub(crate) fn may_free_mdl(host: &Arc<Host>, address: u64) -> bool {
    let freed = state_of(host, address).is_none_or(|state| state.origin == Origin::Pages(false));
    if freed {
        lock(&host.memory.mdls).remove(&address);
    } else {
        let message = format!("MDL {address:#x}: MmFreePagesFromMdl comes first");
        host.violation("V130", "C4/0x16", message);
    }
    freed
}

exports! {
    "MmAllocatePagesForMdl" => mm_allocate_pages_for_mdl, IrqlRule::AtMost(APC), "V067", "C4/0x20019";
    "MmAllocatePagesForMdlEx" => mm_allocate_pages_for_mdl_ex, IrqlRule::AtMost(APC), "V067", "C4/0x20019";
    "MmAllocateNodePagesForMdlEx" => mm_allocate_node_pages_for_mdl_ex, IrqlRule::AtMost(APC), "V067", "C4/0x20019";
    "MmFreePagesFromMdl" => mm_free_pages_from_mdl, IrqlRule::AtMost(APC), "V067", "C4/0x20019";
}
