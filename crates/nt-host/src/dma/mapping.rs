//! Mapping a buffer with map registers, and flushing it: `MapTransfer`, `FlushAdapterBuffers` and what replaced them.
//!
//! What a device transfers lies in the buffer for certain after the flush, and not before it: the flush unmaps the buffer and
//! copies what came through pages of the system's own.

use std::sync::Arc;

use super::adapter::{Adapter, find};
use super::channels::{Allocation, Mapped};
use super::copies::Toward;
use super::lists::{ELEMENT, HEADER, write_list};
use super::pieces::{self, Piece};
use super::transfer;
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::memory::mdl::{LOCKED, Mdl, NONPAGED, state_of};
use crate::status::NtStatus;
use crate::thread::DISPATCH;
use crate::{access, lock};

/// Registers and the place in a buffer for which they are used.
#[derive(Clone, Copy)]
struct Place {
    base: u64,
    mdl: u64,
    offset: u64,
}

extern "win64" fn map_transfer(
    adapter: u64,
    mdl: u64,
    base: u64,
    address: u64,
    length: u64,
    to_device: u8,
) -> u64 {
    let host = current();
    let wanted: u32 = access::read(length);
    let mapped = map_one(&host, adapter, (mdl, base, address), wanted, to_device != 0);
    let (logical, bytes) = mapped.unwrap_or((0, 0));
    access::write::<u32>(length, bytes as u32);
    logical
}

/// Maps the first fragment of a buffer, or all of it for a device without scatter/gather: logical address and bytes.
fn map_one(
    host: &Arc<Host>,
    adapter: u64,
    (mdl, base, address): (u64, u64, u64),
    length: u32,
    to_device: bool,
) -> Option<(u64, u64)> {
    let adapter = find(host, adapter)?;
    let whole = pieces::of_one_mdl(host, mdl, address, u64::from(length)).ok()?;
    let offset = address - Mdl::read(mdl).address();
    let place = Place { base, mdl, offset };
    let left = registers_left(&adapter, base);
    let needed = if adapter.scatter_gather {
        1
    } else {
        pieces::registers(&whole)
    };
    if left < needed {
        let message = format!("{needed} map registers needed, {left} left of those at {base:#x}");
        host.violation("V144", "E6/0x00", message);
        return None;
    }
    let fragments = pieces::fragments(&whole, adapter.scatter_gather).ok()?;
    let first = pieces::limited(fragments, left, 1);
    if overlaps(&adapter, place, pieces::bytes(&first)) {
        already_mapped(host, place);
        return None;
    }
    let transfer = transfer::map(host, &adapter, first, to_device).ok()?;
    let result = (transfer.fragments.first()?.0, transfer.bytes());
    keep(&adapter, place, transfer);
    Some(result)
}

/// Map registers that an allocation has beyond those in use.
fn registers_left(adapter: &Adapter, base: u64) -> u32 {
    let state = lock(&adapter.state);
    state.allocations.get(&base).map_or(0, |allocation| {
        let used = allocation.mapped.iter().map(|one| one.transfer.registers);
        allocation.registers.saturating_sub(used.sum())
    })
}

fn overlaps(adapter: &Adapter, place: Place, bytes: u64) -> bool {
    let state = lock(&adapter.state);
    let allocation = state.allocations.get(&place.base);
    let mut mapped = allocation.into_iter().flat_map(|one| &one.mapped);
    mapped.any(|one| {
        one.mdl == place.mdl
            && one.offset < place.offset + bytes
            && place.offset < one.offset + one.transfer.bytes()
    })
}

fn already_mapped(host: &Arc<Host>, place: Place) {
    let (mdl, offset) = (place.mdl, place.offset);
    let message = format!("offset {offset:#x} of MDL {mdl:#x} is mapped already");
    host.violation("V167", "E6/0x1D", message);
}

fn keep(adapter: &Adapter, place: Place, transfer: transfer::Transfer) {
    let mut state = lock(&adapter.state);
    if let Some(allocation) = state.allocations.get_mut(&place.base) {
        allocation.mapped.push(Mapped {
            mdl: place.mdl,
            offset: place.offset,
            transfer,
        });
    }
}

extern "win64" fn map_transfer_ex(
    adapter: u64,
    mdl: u64,
    base: u64,
    offset: u64,
    device_offset: u32,
    length: u64,
    to_device: u8,
    buffer: u64,
    buffer_length: u32,
    completion: u64,
    completion_context: u64,
) -> u32 {
    let host = current();
    let system_dma = device_offset != 0 || completion != 0 || completion_context != 0;
    if system_dma || buffer == 0 {
        let message = "DeviceOffset and the completion routine are for system DMA alone, and a bus master needs the list";
        host.violation("V008", "C4/0x16", message);
        return NtStatus::INVALID_PARAMETER.0;
    }
    let place = Place { base, mdl, offset };
    let wanted: u32 = access::read(length);
    let room = u64::from(buffer_length).saturating_sub(HEADER) / ELEMENT;
    match map_list(&host, adapter, place, wanted, to_device != 0, room as usize) {
        Ok(fragments) => {
            let bytes: u64 = fragments.iter().map(|(_, length)| length).sum();
            write_list(buffer, &fragments);
            access::write::<u32>(length, bytes as u32);
            NtStatus::SUCCESS.0
        }
        Err(status) => status.0,
    }
}

/// Maps as much of a buffer as the registers and the room for the list allow.
fn map_list(
    host: &Arc<Host>,
    adapter: u64,
    place: Place,
    length: u32,
    to_device: bool,
    room: usize,
) -> Result<Vec<(u64, u64)>, NtStatus> {
    let invalid = NtStatus::INVALID_PARAMETER;
    let adapter = find(host, adapter).ok_or(invalid)?;
    if room == 0 {
        return Err(invalid);
    }
    let whole = pieces::from_offset(host, place.mdl, place.offset, u64::from(length));
    let whole = whole.map_err(|_| invalid)?;
    let (registers, cancelled, mapped) = {
        let state = lock(&adapter.state);
        let known = state.allocations.get(&place.base);
        known.map_or((0, false, false), |one: &Allocation| {
            (one.registers, one.cancelled, !one.mapped.is_empty())
        })
    };
    if cancelled {
        return Err(NtStatus::CANCELLED);
    }
    if registers == 0 {
        let message = format!("no map registers at {:#x}", place.base);
        host.violation("V144", "E6/0x00", message);
        return Err(invalid);
    }
    let fragments = fragments_within(&whole, adapter.scatter_gather, registers, room)?;
    if overlaps(&adapter, place, pieces::bytes(&fragments)) {
        already_mapped(host, place);
        return Err(invalid);
    }
    if mapped {
        let message = "the transfer mapped before with these map registers was not flushed";
        host.violation("V156", "E6/0x0D", message);
        return Err(invalid);
    }
    if host.faults().should_fail("MapTransferEx") {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    let transfer = transfer::map(host, &adapter, fragments, to_device)?;
    let fragments = transfer.fragments.clone();
    keep(&adapter, place, transfer);
    Ok(fragments)
}

fn fragments_within(
    whole: &[Piece],
    scatter_gather: bool,
    registers: u32,
    room: usize,
) -> Result<Vec<Piece>, NtStatus> {
    if scatter_gather {
        let fragments = pieces::fragments(whole, true)?;
        return Ok(pieces::limited(fragments, registers, room));
    }
    let within = pieces::limited(whole.to_vec(), registers, whole.len());
    pieces::fragments(&within, false)
}

extern "win64" fn flush_adapter_buffers(
    adapter: u64,
    mdl: u64,
    base: u64,
    address: u64,
    length: u32,
    to_device: u8,
) -> u8 {
    let host = current();
    let offset = address.wrapping_sub(Mdl::read(mdl).address());
    let place = Place { base, mdl, offset };
    let result = flush(&host, adapter, place, length, to_device != 0);
    u8::from(result.is_ok())
}

extern "win64" fn flush_adapter_buffers_ex(
    adapter: u64,
    mdl: u64,
    base: u64,
    offset: u64,
    length: u32,
    to_device: u8,
) -> u32 {
    let host = current();
    let place = Place { base, mdl, offset };
    let result = flush(&host, adapter, place, length, to_device != 0);
    result.err().unwrap_or(NtStatus::SUCCESS).0
}

/// Ends what was mapped from a place on.
fn flush(
    host: &Arc<Host>,
    adapter: u64,
    place: Place,
    length: u32,
    to_device: bool,
) -> Result<(), NtStatus> {
    let invalid = NtStatus::INVALID_PARAMETER;
    let adapter = find(host, adapter).ok_or(invalid)?;
    let taken = {
        let mut state = lock(&adapter.state);
        match state.allocations.get_mut(&place.base) {
            Some(allocation) if !allocation.mapped.is_empty() => {
                take_mapped(allocation, place, u64::from(length))
            }
            _ => Err(Wrong::NothingMapped),
        }
    };
    let (flushed, cancelled) = taken.map_err(|wrong| {
        wrong.report(host, place, length);
        invalid
    })?;
    for mapped in flushed {
        if mapped.transfer.to_device != to_device {
            let message = format!("WriteToDevice {to_device}, but it was mapped for the other");
            host.violation("V163", "E6/0x16", message);
        }
        if !cancelled {
            super::device::judge_idle(host, &adapter, &mapped.transfer);
        }
        mapped.transfer.unmap(host);
    }
    Ok(())
}

/// Why nothing is flushed.
enum Wrong {
    NothingMapped,
    OtherBuffer,
    TooLong(u64),
}

impl Wrong {
    fn report(self, host: &Arc<Host>, place: Place, length: u32) {
        let Place { base, mdl, offset } = place;
        let (rule, code, what) = match self {
            Self::NothingMapped => ("V170", "E6/0x20", "nothing is mapped with them".to_owned()),
            Self::OtherBuffer => ("V163", "E6/0x16", "another buffer is mapped".to_owned()),
            Self::TooLong(left) => ("V143", "E6/0x00", format!("{left} bytes are mapped there")),
        };
        let message = format!(
            "flush of {length} bytes at offset {offset:#x} of MDL {mdl:#x} with the map registers at {base:#x}: {what}"
        );
        host.violation(rule, code, message);
    }
}

/// Takes what lies whole within `length` bytes from a place on; whether the transfer was cancelled.
fn take_mapped(
    allocation: &mut Allocation,
    place: Place,
    length: u64,
) -> Result<(Vec<Mapped>, bool), Wrong> {
    allocation.mapped.sort_by_key(|one| (one.mdl, one.offset));
    let is_first = |one: &Mapped| one.mdl == place.mdl && one.offset == place.offset;
    let first = allocation.mapped.iter().position(is_first);
    let first = first.ok_or(Wrong::OtherBuffer)?;
    let (mut end, mut whole, mut count) = (place.offset, place.offset, 0);
    for one in &allocation.mapped[first..] {
        if one.mdl != place.mdl || one.offset != end {
            break;
        }
        end += one.transfer.bytes();
        if end - place.offset <= length {
            (whole, count) = (end, count + 1);
        }
    }
    if length > end - place.offset {
        return Err(Wrong::TooLong(end - place.offset));
    }
    debug_assert!(whole - place.offset <= length);
    let taken = allocation.mapped.drain(first..first + count).collect();
    Ok((taken, allocation.cancelled))
}

/// Marks the transfer of a context as cancelled: nothing more is mapped for it, and it may be flushed before its end.
extern "win64" fn cancel_mapped_transfer(adapter: u64, context: u64) -> u32 {
    let Some(adapter) = find(&current(), adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    let mut state = lock(&adapter.state);
    let mut allocations = state.allocations.values_mut();
    let of_context = allocations.find(|one| one.context == context && context != 0);
    let Some(allocation) = of_context else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    allocation.cancelled = true;
    NtStatus::SUCCESS.0
}

/// Brings memory and device to the same state without ending the transfers that the MDL's pages are mapped for.
///
/// `ReadOperation` TRUE shows the processor what the device wrote, FALSE the device what the processor wrote.
extern "win64" fn flush_dma_buffer(adapter: u64, mdl: u64, read_operation: u8) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    let fields = Mdl::read(mdl);
    if fields.flags & (LOCKED | NONPAGED) == 0 {
        let message = format!("{}: not locked", fields.describe());
        host.violation("V157", "E6/0x0E", message);
        return NtStatus::INVALID_PARAMETER.0;
    }
    let frames = state_of(&host, mdl)
        .map(|state| state.frames)
        .unwrap_or_default();
    let toward = if read_operation != 0 {
        Toward::Processor
    } else {
        Toward::Device
    };
    let mut state = lock(&adapter.state);
    let mut found = state.buffers.values().any(|buffer| buffer.mdl == mdl);
    let state = &mut *state;
    let of_lists = state.lists.values_mut().map(|list| &mut list.transfer);
    let of_allocations = state
        .allocations
        .values_mut()
        .flat_map(|one| &mut one.mapped);
    let transfers = of_lists.chain(of_allocations.map(|mapped| &mut mapped.transfer));
    for transfer in transfers.filter(|transfer| transfer.covers(&frames)) {
        found = true;
        transfer.synchronise(&host, toward);
    }
    if !found {
        let message = format!("{}: not mapped for a device", fields.describe());
        host.violation("V163", "E6/0x16", message);
        return NtStatus::INVALID_PARAMETER.0;
    }
    NtStatus::SUCCESS.0
}

exports! {
    "MapTransfer" => map_transfer, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "MapTransferEx" => map_transfer_ex, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "FlushAdapterBuffers" => flush_adapter_buffers, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "FlushAdapterBuffersEx" => flush_adapter_buffers_ex, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "CancelMappedTransfer" => cancel_mapped_transfer, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "FlushDmaBuffer" => flush_dma_buffer, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
}
