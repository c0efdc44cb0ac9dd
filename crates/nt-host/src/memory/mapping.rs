//! Mapping the pages of an MDL, into the kernel or into a process, and taking mappings away.

use std::sync::Arc;

use nt_machine::{CacheType, FrameList, MapOptions, PAGE_SIZE, Protection};

use super::blocks::Block;
use super::contiguous::cache_type;
use super::locking::USER_MODE;
use super::mdl::{LOCKED, MAPPED, Mdl, MdlState, NONPAGED, PARTIAL, Raise, state_of, with_state};
use super::user::View;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::process::ProcessObject;
use crate::status::NtStatus;
use crate::thread::{self, APC, DISPATCH};
use crate::{USER_LIMIT, lock};

/// `MdlMappingNoExecute`.
const NO_EXECUTE: u32 = 0x4000_0000;
/// `MdlMappingNoWrite`.
const NO_WRITE: u32 = 0x8000_0000;

const ROUTINE: &str = "MmMapLockedPagesSpecifyCache";

struct Request {
    cache: u32,
    requested: u64,
    priority: u32,
}

extern "win64" fn mm_map_locked_pages_specify_cache(
    mdl: u64,
    mode: u8,
    cache: u32,
    requested: u64,
    bug_check: u32,
    priority: u32,
) -> u64 {
    let request = Request {
        cache,
        requested,
        priority,
    };
    if mode == USER_MODE {
        let result = map_user(&current(), mdl, &request);
        match result {
            Ok(address) => address,
            Err(raise) => raise.now(),
        }
    } else {
        let host = current();
        if bug_check != 0 {
            host.violation("V112", "C4/0x82", "BugCheckOnFailure is set");
        }
        map_system(&host, mdl, &request).unwrap_or(0)
    }
}

extern "win64" fn mm_map_locked_pages(mdl: u64, mode: u8) -> u64 {
    current().violation(
        "V111",
        "C4/0x81",
        "obsolete: use MmMapLockedPagesSpecifyCache",
    );
    mm_map_locked_pages_specify_cache(mdl, mode, 1, 0, 0, NO_EXECUTE)
}

/// What is known of an MDL whose pages may be mapped.
fn mappable(host: &Arc<Host>, mdl: &Mdl) -> Option<MdlState> {
    let state = state_of(host, mdl.at);
    let known = state.is_some();
    let state = state.filter(|state| state.frames.pages() >= mdl.pages());
    if mdl.flags & (LOCKED | NONPAGED) == 0 {
        let (rule, code) = if known {
            ("V114", "C4/0x85")
        } else {
            ("V118", "C4/0xB3")
        };
        host.violation(
            rule,
            code,
            format!("{}: its pages are not locked", mdl.describe()),
        );
        return None;
    }
    if state.is_none() {
        let message = format!("{}: its pages are no memory of the machine", mdl.describe());
        host.violation("V115", "C4/0x89", message);
    }
    state
}

fn map_system(host: &Arc<Host>, address: u64, request: &Request) -> Option<u64> {
    let mut mdl = Mdl::read(address);
    if mdl.flags & (MAPPED | NONPAGED) != 0 {
        host.violation(
            "V117",
            "C4/0xB2",
            format!("{} has a system mapping", mdl.describe()),
        );
        return None;
    }
    let state = mappable(host, &mdl)?;
    if request.priority & NO_EXECUTE == 0 {
        host.violation("V139", "C4/0x2002", "MdlMappingNoExecute is missing");
    }
    if request.requested != 0 {
        host.violation(
            "V008",
            "C4/0x16",
            "an address is requested for a kernel mapping",
        );
    }
    if host.faults().should_fail(ROUTINE) {
        return None;
    }
    let frames = state.frames.slice(0, mdl.pages());
    let cache = use_cache(host, &mdl, &frames, request.cache)?;
    let Ok(page) = host.memory.arena.map(&frames, options(request)) else {
        host.memory.machine.release_cache(&frames);
        return None;
    };
    let mapped = page + u64::from(mdl.offset);
    mdl.set_flags(MAPPED, 0);
    mdl.set_system_address(mapped);
    with_state(host, &mdl, |state| {
        state.system_view = Some((mapped, cache));
    });
    Some(mapped)
}

const fn options(request: &Request) -> MapOptions {
    let read_only = request.priority & NO_WRITE != 0;
    let protection = if read_only {
        Protection::Read
    } else {
        Protection::ReadWrite
    };
    MapOptions {
        protection,
        guarded: false,
    }
}

/// Notes the caching type of a new mapping; `None` if the frames are in use with another.
fn use_cache(host: &Arc<Host>, mdl: &Mdl, frames: &FrameList, cache: u32) -> Option<CacheType> {
    let Some(wanted) = cache_type(cache) else {
        host.violation("V008", "C4/0x16", format!("caching type {cache}"));
        return None;
    };
    if let Err(clash) = host.memory.machine.use_cache(frames, wanted) {
        let message = format!("{} mapped as {wanted:?}, but {clash}", mdl.describe());
        host.violation("V134", "1A", message);
        return None;
    }
    Some(wanted)
}

fn map_user(host: &Arc<Host>, address: u64, request: &Request) -> Result<u64, Raise> {
    let irql = thread::irql();
    if irql > APC {
        host.violation("V043", "C4/0x77", format!("a user mapping at IRQL {irql}"));
    }
    let mdl = Mdl::read(address);
    let refused = Raise::status(NtStatus::INVALID_PARAMETER);
    let state = mappable(host, &mdl).ok_or(refused)?;
    let process = host.current_process();
    if process.address() == host.processes.system().address() {
        host.violation("V126", "C4/0x16", "a user mapping in the system process");
        return Err(refused);
    }
    if host.faults().should_fail(ROUTINE) {
        return Err(Raise::status(NtStatus::INSUFFICIENT_RESOURCES));
    }
    if process.is_exiting() {
        return Err(Raise::status(NtStatus::PROCESS_IS_TERMINATING));
    }
    if request.requested != 0 {
        return Err(Raise::status(NtStatus::CONFLICTING_ADDRESSES));
    }
    let frames = state.frames.slice(0, mdl.pages());
    let source = state.source.and_then(|base| host.memory.blocks.live(base));
    if state.process.is_none() {
        check_exposure(host, &mdl, &frames, source.as_ref());
    }
    use_cache(host, &mdl, &frames, request.cache).ok_or(refused)?;
    let Ok(page) = process.memory.arena.map(&frames, options(request)) else {
        host.memory.machine.release_cache(&frames);
        return Err(Raise::status(NtStatus::INSUFFICIENT_RESOURCES));
    };
    let mapped = page + u64::from(mdl.offset);
    let (source, stack) = (source.map(|block| block.base), host.memory.stacks.current());
    if let Some(base) = source {
        host.memory.blocks.count_view(base, 1);
    }
    let (mdl, length) = (mdl.at, u64::from(mdl.count));
    with_state(host, &Mdl::read(mdl), |state| state.user_views += 1);
    lock(&host.memory.views).insert(mapped, process.id);
    process.memory.add_view(
        mapped,
        View {
            mdl,
            length,
            frames,
            source,
            stack,
        },
    );
    Ok(mapped)
}

/// Judges what a process gets to see of kernel memory.
fn check_exposure(host: &Arc<Host>, mdl: &Mdl, frames: &FrameList, source: Option<&Block>) {
    let whole = mdl.offset == 0 && u64::from(mdl.count).is_multiple_of(PAGE_SIZE);
    if !whole {
        let what = source.map_or_else(|| "its memory".to_owned(), Block::describe);
        let message = format!("{} shows more of its pages than {what}", mdl.describe());
        host.violation("V128", "C4/0x16", message);
    }
    if let Some(address) = first_stale(host, frames) {
        let message = format!(
            "{}: byte {address:#x} was not written since it was allocated",
            mdl.describe()
        );
        host.violation("V127", "C4/0x16", message);
    }
}

/// The offset of the first stretch that still carries the pattern of fresh memory.
fn first_stale(host: &Arc<Host>, frames: &FrameList) -> Option<u64> {
    let fill = host.machine().config().fill?;
    let mut page = vec![0; PAGE_SIZE as usize];
    for (index, frame) in frames.frames().enumerate() {
        host.machine()
            .read_physical(frame * PAGE_SIZE, &mut page)
            .ok()?;
        let stale = page
            .chunks_exact(64)
            .position(|line| line.iter().all(|byte| *byte == fill));
        if let Some(line) = stale {
            return Some(index as u64 * PAGE_SIZE + 64 * line as u64);
        }
    }
    None
}

extern "win64" fn mm_unmap_locked_pages(address: u64, mdl: u64) {
    let host = current();
    if address < USER_LIMIT {
        unmap_user(&host, address, mdl);
    } else {
        unmap_system(&host, address, mdl);
    }
}

fn unmap_system(host: &Arc<Host>, address: u64, mdl: u64) {
    let irql = thread::irql();
    if irql > DISPATCH {
        host.violation(
            "V045",
            "C4/0x79",
            format!("a system mapping at IRQL {irql}"),
        );
    }
    let mut mdl = Mdl::read(mdl);
    let view = state_of(host, mdl.at).and_then(|state| state.system_view);
    if view.is_none_or(|(mapped, _)| mapped != address) {
        let message = format!("{address:#x} is no mapping of {}", mdl.describe());
        host.violation("V008", "C4/0x16", message);
        return;
    }
    drop_system_view(host, &mut mdl);
}

/// Takes the system mapping of an MDL away, if it has one.
pub(crate) fn drop_system_view(host: &Arc<Host>, mdl: &mut Mdl) {
    let view = with_state(host, mdl, |state| {
        Some((state.system_view.take()?, state.frames.clone()))
    });
    let Some(((mapped, _), frames)) = view else {
        return;
    };
    let unmapped = host.memory.arena.unmap(mapped / PAGE_SIZE * PAGE_SIZE);
    debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    host.memory
        .machine
        .release_cache(&frames.slice(0, mdl.pages()));
    mdl.set_flags(0, MAPPED | PARTIAL);
    mdl.set_system_address(0);
}

fn unmap_user(host: &Arc<Host>, address: u64, mdl: u64) {
    let irql = thread::irql();
    if irql > APC {
        host.violation("V046", "C4/0x7A", format!("a user mapping at IRQL {irql}"));
    }
    let process = host.current_process();
    let Some(of_mdl) = process.memory.view_mdl(address) else {
        let other = lock(&host.memory.views).get(&address).copied();
        let (rule, code, owner) = match other {
            Some(other) => ("V126", "C4/0x16", format!("mapped in process {other}")),
            None => ("V008", "C4/0x16", "mapped in no process".to_owned()),
        };
        let message = format!("{address:#x} unmapped in process {}, {owner}", process.id);
        host.violation(rule, code, message);
        return;
    };
    if of_mdl != mdl {
        let message = format!("{address:#x} is a mapping of MDL {of_mdl:#x}, not of {mdl:#x}");
        host.violation("V008", "C4/0x16", message);
        return;
    }
    let Some(view) = process.memory.take_view(address) else {
        return;
    };
    let start = address / PAGE_SIZE * PAGE_SIZE;
    let end = start + view.frames.pages() * PAGE_SIZE;
    if let Some(secured) = host.memory.secured.inside(process.id, start, end) {
        let message = format!("{address:#x} unmapped while {secured}");
        host.violation("V133", "1A", message);
    }
    drop_view(host, &process, address, &view);
}

/// Takes a user mapping away.
fn drop_view(host: &Arc<Host>, process: &ProcessObject, address: u64, view: &View) {
    lock(&host.memory.views).remove(&address);
    let unmapped = process.memory.arena.unmap(address / PAGE_SIZE * PAGE_SIZE);
    debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    host.memory.machine.release_cache(&view.frames);
    if let Some(base) = view.source {
        host.memory.blocks.count_view(base, -1);
    }
    if let Some(state) = lock(&host.memory.mdls).get_mut(&view.mdl) {
        state.user_views = state.user_views.saturating_sub(1);
    }
}

/// Reports mappings that a process is left with at its end, and takes them away.
pub(crate) fn process_exiting(host: &Arc<Host>, process: &Arc<ProcessObject>) {
    for (address, view) in process.memory.take_views() {
        let message = format!(
            "process {} ({}) ends with {} bytes of MDL {:#x} mapped at {address:#x}",
            process.id, process.name, view.length, view.mdl
        );
        host.violation_at("V125", "C4/0x16", message, view.stack.to_vec());
        drop_view(host, process, address, &view);
    }
}

exports! {
    "MmMapLockedPagesSpecifyCache" => mm_map_locked_pages_specify_cache, IrqlRule::AtMost(DISPATCH), "V042", "C4/0x76";
    "MmMapLockedPages" => mm_map_locked_pages, IrqlRule::AtMost(DISPATCH), "V041", "C4/0x74";
    "MmUnmapLockedPages" => mm_unmap_locked_pages, IrqlRule::Any, "V045", "C4/0x79";
}
