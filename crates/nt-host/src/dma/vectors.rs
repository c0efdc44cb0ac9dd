//! Vectors of common buffers, and common buffers over memory that the driver has already.

use std::sync::Arc;

use nt_machine::{FrameList, IoRange, PAGE_SIZE, Permissions, pages_for};

use super::adapter::{Adapter, find};
use super::buffers::{self, Buffer, Memory, Wanted, is_cached};
use crate::export::{IrqlRule, exports};
use crate::guarded::GuardedBlock;
use crate::host::{Host, current};
use crate::memory::mdl::{LOCKED, MAPPED, Mdl, NONPAGED, state_of};
use crate::status::NtStatus;
use crate::thread::{DISPATCH, PASSIVE};
use crate::{access, lock};

/// A vector: its elements by index, as far as they are not freed.
pub(crate) struct Vector {
    /// The memory whose address is the handle.
    memory: GuardedBlock,
    /// Virtual and logical address.
    elements: Vec<Option<(u64, u64)>>,
}

extern "win64" fn allocate_common_buffer_vector(
    adapter: u64,
    lowest: u64,
    highest: u64,
    cache: u32,
    node: u32,
    flags: u32,
    count: u32,
    size: u64,
    vector: u64,
) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    let cached = is_cached(cache).filter(|_| flags == 0 && count != 0 && size != 0);
    let Some(cached) = cached else {
        let message = format!("{count} of {size} bytes, type {cache}, flags {flags:#x}");
        host.violation("V008", "C4/0x16", message);
        return NtStatus::INVALID_PARAMETER.0;
    };
    if host.faults().should_fail("AllocateCommonBufferVector") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    let memory = Memory::Vector;
    let wanted = Wanted {
        length: size,
        lowest,
        highest,
        cached,
        ignore_cache: false,
        node,
        memory,
    };
    match make(&host, &adapter, count, &wanted) {
        Some(handle) => {
            access::write::<u64>(vector, handle);
            NtStatus::SUCCESS.0
        }
        None => NtStatus::INSUFFICIENT_RESOURCES.0,
    }
}

fn make(host: &Arc<Host>, adapter: &Arc<Adapter>, count: u32, wanted: &Wanted) -> Option<u64> {
    let memory = host.object("common buffer vector", 64).ok()?;
    let mut elements = Vec::new();
    for _ in 0..count {
        let Some(element) = buffers::allocate(host, adapter, wanted) else {
            for (address, _) in elements.into_iter().flatten() {
                buffers::release(host, adapter, address);
            }
            return None;
        };
        elements.push(Some(element));
    }
    let handle = memory.address();
    lock(&adapter.state)
        .vectors
        .insert(handle, Vector { memory, elements });
    Some(handle)
}

extern "win64" fn get_common_buffer_from_vector_by_index(
    adapter: u64,
    vector: u64,
    index: u32,
    address: u64,
    logical: u64,
) {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return;
    };
    let element = lock(&adapter.state)
        .vectors
        .get(&vector)
        .and_then(|vector| vector.elements.get(index as usize).copied().flatten());
    let Some((at, logical_at)) = element else {
        no_element(&host, vector, index);
        return;
    };
    access::write::<u64>(address, at);
    access::write::<u64>(logical, logical_at);
}

fn no_element(host: &Arc<Host>, vector: u64, index: u32) {
    let message = format!("vector {vector:#x} has no element {index}");
    host.violation("V146", "E6/0x03", message);
}

extern "win64" fn free_common_buffer_from_vector(adapter: u64, vector: u64, index: u32) {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return;
    };
    let element = lock(&adapter.state)
        .vectors
        .get_mut(&vector)
        .and_then(|vector| vector.elements.get_mut(index as usize)?.take());
    match element {
        Some((address, _)) => buffers::release(&host, &adapter, address),
        None => no_element(&host, vector, index),
    }
}

extern "win64" fn free_common_buffer_vector(adapter: u64, vector: u64) {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return;
    };
    let Some(gone) = lock(&adapter.state).vectors.remove(&vector) else {
        host.violation("V146", "E6/0x03", format!("no vector {vector:#x}"));
        return;
    };
    for (address, _) in gone.elements.into_iter().flatten() {
        buffers::release(&host, &adapter, address);
    }
    drop(gone.memory);
}

/// What `DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION` entries ask for.
struct Configuration {
    range: IoRange,
    section: Option<(u64, u64)>,
    permissions: Permissions,
}

extern "win64" fn create_common_buffer_from_mdl(
    adapter: u64,
    mdl: u64,
    entries: u64,
    count: u32,
    logical: u64,
) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    if host.faults().should_fail("CreateCommonBufferFromMdl") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    match over_mdl(
        &host,
        &adapter,
        mdl,
        read_configuration(entries, count, &adapter),
    ) {
        Ok(at) => {
            access::write::<u64>(logical, at);
            NtStatus::SUCCESS.0
        }
        Err(status) => status.0,
    }
}

/// The entries; `None` if one is unknown or given twice.
fn read_configuration(entries: u64, count: u32, adapter: &Adapter) -> Option<Configuration> {
    let mut result = Configuration {
        range: IoRange {
            lowest: 0,
            highest: adapter.highest(),
        },
        section: None,
        permissions: Permissions::READ_WRITE,
    };
    let mut seen = [false; 3];
    for index in 0..u64::from(count) {
        let entry = entries + 40 * index;
        let kind: u32 = access::read(entry);
        let seen = seen.get_mut(kind as usize).filter(|seen| !**seen)?;
        *seen = true;
        match kind {
            0 => {
                result.range.lowest = access::read(entry + 8);
                result.range.highest = access::read::<u64>(entry + 16).min(adapter.highest());
            }
            1 => {
                let length: u32 = access::read(entry + 16);
                result.section = Some((access::read(entry + 8), u64::from(length)));
            }
            _ => {
                let access: u32 = access::read(entry + 8);
                result.permissions = Permissions {
                    read: access != 1,
                    write: access != 0,
                };
            }
        }
    }
    Some(result)
}

fn over_mdl(
    host: &Arc<Host>,
    adapter: &Arc<Adapter>,
    address: u64,
    configuration: Option<Configuration>,
) -> Result<u64, NtStatus> {
    let invalid = NtStatus::INVALID_PARAMETER;
    let configuration = configuration.ok_or(invalid)?;
    let mdl = Mdl::read(address);
    if mdl.flags & (LOCKED | NONPAGED) == 0 {
        host.violation("V157", "E6/0x0E", format!("{}: not locked", mdl.describe()));
        return Err(invalid);
    }
    if mdl.flags & (MAPPED | NONPAGED) == 0 {
        host.violation("V172", "E6/0x22", format!("{}: not mapped", mdl.describe()));
        return Err(invalid);
    }
    let bytes = u64::from(mdl.count);
    let (offset, length) = configuration.section.unwrap_or((0, bytes));
    let whole = |value: u64| value.is_multiple_of(PAGE_SIZE);
    let inside = offset.checked_add(length).is_some_and(|end| end <= bytes);
    let chained = mdl.next() != 0 && configuration.section.is_none();
    if mdl.offset != 0 || !whole(bytes) || !whole(offset) || !whole(length) || !inside || chained {
        return Err(invalid);
    }
    let frames: FrameList = state_of(host, address)
        .map(|state| state.frames.slice(offset / PAGE_SIZE, pages_for(length)))
        .filter(|frames| frames.pages() != 0)
        .ok_or(invalid)?;
    let logical = adapter
        .domain()
        .map(&frames, configuration.range, configuration.permissions);
    let logical = logical.map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
    let system: u64 = access::read(address + 24);
    let (cached, memory, stack) = (None, Memory::Mdl, host.memory.stacks.current());
    let buffer = Buffer {
        length,
        logical,
        cached,
        memory,
        mdl: address,
        stack,
    };
    lock(&adapter.state).buffers.insert(system + offset, buffer);
    Ok(logical)
}

exports! {
    "AllocateCommonBufferVector" => allocate_common_buffer_vector, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "GetCommonBufferFromVectorByIndex" => get_common_buffer_from_vector_by_index, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "FreeCommonBufferFromVector" => free_common_buffer_from_vector, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "FreeCommonBufferVector" => free_common_buffer_vector, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "CreateCommonBufferFromMdl" => create_common_buffer_from_mdl, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
}
