//! Pool: allocation, release, and what a driver may get wrong with either.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nt_machine::{CacheType, FrameRequest, PAGE_SIZE, pages_for};

use super::blocks::{Block, Damage, Kind, Layout, NewBlock, Place};
use crate::access;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::status::NtStatus;
use crate::thread::{self, APC, DISPATCH};

const USE_QUOTA: u64 = 0x1;
const UNINITIALIZED: u64 = 0x2;
const CACHE_ALIGNED: u64 = 0x8;
const RAISE_ON_FAILURE: u64 = 0x20;
const NON_PAGED: u64 = 0x40;
const NON_PAGED_EXECUTE: u64 = 0x80;
const PAGED: u64 = 0x100;
const POOL_TYPES: u64 = NON_PAGED | NON_PAGED_EXECUTE | PAGED;
/// Flags that are not optional; those above bit 31 may be ignored.
const KNOWN: u64 = USE_QUOTA | UNINITIALIZED | 0x4 | CACHE_ALIGNED | RAISE_ON_FAILURE | POOL_TYPES;

/// `POOL_EXTENDED_PARAMETER.Type` of a NUMA node, and of a secure pool.
const PARAMETER_PRIORITY: u64 = 1;
const PARAMETER_NUMA_NODE: u64 = 3;

/// What a pool allocator was asked for.
#[derive(Clone, Copy)]
struct Request {
    routine: &'static str,
    flags: u64,
    bytes: u64,
    tag: u32,
    node: Option<u32>,
}

extern "win64" fn ex_allocate_pool2(flags: u64, bytes: u64, tag: u32) -> u64 {
    let routine = "ExAllocatePool2";
    let address = allocate(
        &current(),
        Request {
            routine,
            flags,
            bytes,
            tag,
            node: None,
        },
    );
    or_raise(address, flags)
}

extern "win64" fn ex_allocate_pool3(
    flags: u64,
    bytes: u64,
    tag: u32,
    parameters: u64,
    count: u32,
) -> u64 {
    let Some(node) = extended(parameters, count) else {
        return or_raise(0, flags);
    };
    let routine = "ExAllocatePool3";
    let address = allocate(
        &current(),
        Request {
            routine,
            flags,
            bytes,
            tag,
            node,
        },
    );
    or_raise(address, flags)
}

extern "win64" fn ex_allocate_pool_with_tag(pool_type: u32, bytes: u64, tag: u32) -> u64 {
    let host = current();
    host.violation("V025", "C4/0x9", "obsolete: use ExAllocatePool2");
    let flags = UNINITIALIZED
        | match pool_type & !4 {
            0 => NON_PAGED_EXECUTE,
            1 => PAGED,
            _ => NON_PAGED,
        };
    let routine = "ExAllocatePoolWithTag";
    allocate(
        &host,
        Request {
            routine,
            flags,
            bytes,
            tag,
            node: None,
        },
    )
}

extern "win64" fn ex_free_pool(address: u64) {
    free(&current(), address, 0);
}

extern "win64" fn ex_free_pool_with_tag(address: u64, tag: u32) {
    free(&current(), address, tag);
}

/// Nothing of the host is held here: raising leaves these frames for good.
fn or_raise(address: u64, flags: u64) -> u64 {
    if address == 0 && flags & RAISE_ON_FAILURE != 0 {
        nt_image::raise(NtStatus::INSUFFICIENT_RESOURCES.0, &[]);
    }
    address
}

/// The node asked for; `None` if a parameter that is not optional is not known.
fn extended(parameters: u64, count: u32) -> Option<Option<u32>> {
    let mut node = None;
    for index in 0..u64::from(count) {
        let head: u64 = access::read(parameters + 16 * index);
        let value: u64 = access::read(parameters + 16 * index + 8);
        match head & 0xFF {
            PARAMETER_PRIORITY => {}
            PARAMETER_NUMA_NODE => node = Some(value as u32),
            _ if head & 0x100 != 0 => {}
            _ => return None,
        }
    }
    Some(node)
}

fn allocate(host: &Arc<Host>, request: Request) -> u64 {
    if host.faults().should_fail(request.routine) || !check_request(host, &request) {
        return 0;
    }
    let zero = request.flags & UNINITIALIZED == 0;
    place(host, &request)
        .inspect(|base| zero_if(zero, *base, request.bytes))
        .unwrap_or(0)
}

fn zero_if(zero: bool, base: u64, bytes: u64) {
    if zero {
        access::fill(base, 0, bytes as usize);
    }
}

/// Judges an allocation; false if the system would refuse it.
fn check_request(host: &Arc<Host>, request: &Request) -> bool {
    let irql = thread::irql();
    let paged = request.flags & POOL_TYPES == PAGED;
    if paged && irql > APC {
        host.violation("V002", "C4/0x01", format!("paged pool at IRQL {irql}"));
    }
    if !paged && irql > DISPATCH {
        host.violation("V003", "C4/0x02", format!("nonpaged pool at IRQL {irql}"));
    }
    if request.flags & USE_QUOTA != 0 && irql >= DISPATCH {
        host.violation("V019", "C4/0x10B", "quota charged at DISPATCH_LEVEL");
    }
    if host.memory.unloading.load(Ordering::SeqCst) {
        host.violation(
            "V015",
            "C4/0x61",
            "pool allocated while the driver is unloading",
        );
    }
    if request.flags & NON_PAGED_EXECUTE != 0 {
        host.violation("V137", "C4/0x2000", "executable pool");
    }
    if request.bytes == 0 {
        host.violation("V001", "C4/0x00", "zero bytes");
        return false;
    }
    let one_type = (request.flags & POOL_TYPES).is_power_of_two();
    if request.tag == 0 || !one_type || request.flags & 0xFFFF_FFFF & !KNOWN != 0 {
        let message = format!("flags {:#x}, tag {:#x}", request.flags, request.tag);
        host.violation("V024", "C4/0x16", message);
        return false;
    }
    true
}

fn place(host: &Arc<Host>, request: &Request) -> Option<u64> {
    let memory = &host.memory;
    let count = pages_for(request.bytes);
    let wanted = FrameRequest {
        node: request.node,
        ..FrameRequest::anywhere(count)
    };
    let frames = memory.frames(&wanted)?;
    let align = if request.flags & CACHE_ALIGNED == 0 {
        16
    } else {
        64
    };
    // Every other small block guards its start instead of its end.
    let small = request.bytes < PAGE_SIZE;
    let at_end = small
        && memory
            .turn
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(2);
    let layout = if at_end {
        Layout::End(align)
    } else {
        Layout::Start
    };
    let paged = request.flags & PAGED != 0;
    let kind = Kind::Pool {
        tag: request.tag,
        paged,
    };
    let (cache, stack) = (CacheType::Cached, memory.stacks.current());
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

fn free(host: &Arc<Host>, address: u64, tag: u32) {
    let Some(block) = block_to_free(host, address) else {
        return;
    };
    let irql = thread::irql();
    match &block.kind {
        Kind::Pool { paged: true, .. } if irql > APC => {
            host.violation(
                "V005",
                "C4/0x11",
                format!("paged pool freed at IRQL {irql}"),
            );
        }
        Kind::Pool { paged: false, .. } if irql > DISPATCH => {
            host.violation(
                "V006",
                "C4/0x12",
                format!("nonpaged pool freed at IRQL {irql}"),
            );
        }
        Kind::Pool { tag: of_block, .. } if tag != 0 && tag != *of_block => {
            let message = format!("tag {} for {}", tag_name(tag), describe(&block));
            host.violation("V023", "C2", message);
        }
        Kind::PagesMdl => {
            if !super::pages::may_free_mdl(host, address) {
                return;
            }
        }
        Kind::Pool { .. } => {}
        Kind::Contiguous { .. } | Kind::CommonBuffer(_) | Kind::Mdl | Kind::List => {
            wrong_routine(host, &block);
            return;
        }
    }
    check_slack(host, &block);
    check_views(host, &block);
    super::mdl::memory_freed(host, &block);
    crate::bug_check::freed(host, block.base, block.size);
    super::free_block(host, block.base);
}

/// The live block that begins at an address which a release routine was given, or what is wrong with it.
pub(crate) fn block_to_free(host: &Arc<Host>, address: u64) -> Option<Block> {
    match host.memory.blocks.place(address) {
        Some(Place::Live(block)) if block.base == address => return Some(block),
        Some(Place::Live(block) | Place::Guard(block)) => {
            let offset = address.wrapping_sub(block.base).cast_signed();
            let message = format!("{address:#x} is byte {offset} of {}", block.describe());
            host.violation("V008", "C4/0x16", message);
        }
        Some(Place::Freed(old)) => {
            let (name, base, size) = (old.kind.name(), old.base, old.size);
            let message =
                format!("{address:#x}: {name} {base:#x} of {size} bytes is freed already");
            host.violation("V007", "C4/0x13", message);
        }
        None => match host.heap.place_of(address) {
            Some(place) if place.kind == "IRP" => {
                host.violation("V017", "C4/0x105", format!("{address:#x} is an IRP"));
            }
            Some(place) => {
                host.violation(
                    "V004",
                    "C4/0x10",
                    format!("{address:#x} is a {}", place.kind),
                );
            }
            None => {
                host.violation(
                    "V004",
                    "C4/0x10",
                    format!("{address:#x} was never allocated"),
                );
            }
        },
    }
    None
}

/// A release routine was given a block of another family; it stays allocated.
pub(crate) fn wrong_routine(host: &Arc<Host>, block: &Block) {
    let rule = if block.kind == Kind::PagesMdl {
        "V130"
    } else {
        "V129"
    };
    let message = format!(
        "{} is released by {}",
        block.describe(),
        block.kind.release()
    );
    host.violation(rule, "C4/0x16", message);
}

/// Judges the bytes around a block that is being freed.
fn check_slack(host: &Arc<Host>, block: &Block) {
    match host.memory.blocks.damage(block) {
        Some(Damage::Before) => {
            host.violation("V012", "C1", format!("written before {}", describe(block)));
        }
        Some(Damage::After) => {
            host.violation(
                "V009",
                "C4/0x51",
                format!("written past {}", describe(block)),
            );
        }
        None => {}
    }
}

/// Memory that a process can still see must not be freed.
pub(crate) fn check_views(host: &Arc<Host>, block: &Block) {
    if block.user_views > 0 {
        let message = format!(
            "{} freed with {} user mappings",
            block.describe(),
            block.user_views
        );
        host.violation("V125", "C4/0x16", message);
    }
}

fn describe(block: &Block) -> String {
    let words = block.describe();
    if let Kind::Pool { tag, .. } = &block.kind {
        return format!("{words}, tag {}", tag_name(*tag));
    }
    words
}

/// A tag as debuggers show it.
pub(crate) fn tag_name(tag: u32) -> String {
    let letter = |byte: u8| {
        if byte.is_ascii_graphic() {
            char::from(byte)
        } else {
            '.'
        }
    };
    tag.to_le_bytes().map(letter).iter().collect()
}

exports! {
    "ExAllocatePool2" => ex_allocate_pool2, IrqlRule::Any, "V050", "C4/0xE5";
    "ExAllocatePool3" => ex_allocate_pool3, IrqlRule::Any, "V050", "C4/0xE5";
    "ExAllocatePoolWithTag" => ex_allocate_pool_with_tag, IrqlRule::AtMost(DISPATCH), "V054", "C4/0x20004";
    "ExFreePool" => ex_free_pool, IrqlRule::Any, "V050", "C4/0xE5";
    "ExFreePoolWithTag" => ex_free_pool_with_tag, IrqlRule::Any, "V050", "C4/0xE5";
}
