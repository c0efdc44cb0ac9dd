//! Scatter/gather lists: built by the system, handed to the driver's routine, put back.

use std::sync::Arc;

use super::adapter::{Adapter, find};
use super::transfer::{self, Transfer};
use crate::call::{Entry, or_stop};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::memory::blocks::Kind;
use crate::memory::mdl::new_object;
use crate::memory::stacks::Stack;
use crate::status::NtStatus;
use crate::thread::DISPATCH;
use crate::{access, lock};

/// Bytes of `SCATTER_GATHER_LIST` before its elements.
const HEADER: u64 = 16;
/// Bytes of `SCATTER_GATHER_ELEMENT`.
const ELEMENT: u64 = 24;
/// `DEVICE_OBJECT.CurrentIrp`.
const CURRENT_IRP: u64 = 32;

/// A list that the driver has.
pub(crate) struct List {
    transfer: Transfer,
    /// Its memory is the system's.
    system: bool,
    /// The transfer context that it was asked for with, or 0.
    context: u64,
    /// Who asked for it.
    pub(crate) stack: Stack,
}

/// What a driver asks for.
pub(super) struct Request {
    pub(super) routine: &'static str,
    pub(super) adapter: u64,
    pub(super) device: u64,
    pub(super) mdl: u64,
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) function: u64,
    pub(super) context: u64,
    pub(super) to_device: bool,
    /// The driver's memory for the list, and its length.
    pub(super) buffer: Option<(u64, u32)>,
    /// The transfer context, or 0.
    pub(super) transfer: u64,
}

extern "win64" fn get_scatter_gather_list(
    adapter: u64,
    device: u64,
    mdl: u64,
    address: u64,
    length: u32,
    function: u64,
    context: u64,
    to_device: u8,
) -> u32 {
    let (routine, length, buffer) = ("GetScatterGatherList", u64::from(length), None);
    let to_device = to_device != 0;
    start(Request {
        routine,
        adapter,
        device,
        mdl,
        address,
        length,
        function,
        context,
        to_device,
        buffer,
        transfer: 0,
    })
}

extern "win64" fn build_scatter_gather_list(
    adapter: u64,
    device: u64,
    mdl: u64,
    address: u64,
    length: u32,
    function: u64,
    context: u64,
    to_device: u8,
    buffer: u64,
    buffer_length: u32,
) -> u32 {
    let (routine, length) = ("BuildScatterGatherList", u64::from(length));
    let (to_device, buffer) = (to_device != 0, Some((buffer, buffer_length)));
    start(Request {
        routine,
        adapter,
        device,
        mdl,
        address,
        length,
        function,
        context,
        to_device,
        buffer,
        transfer: 0,
    })
}

/// Builds the list, then calls the driver's routine with it. Nothing is locked meanwhile.
fn start(request: Request) -> u32 {
    let host = current();
    let list = match build(&host, &request) {
        Ok(list) => list,
        Err(status) => return status.0,
    };
    deliver(host, &request, list);
    NtStatus::SUCCESS.0
}

/// Calls the driver's routine with a list.
pub(super) fn deliver(host: Arc<Host>, request: &Request, list: u64) {
    let irp: u64 = access::read(request.device + CURRENT_IRP);
    let arguments = [request.device, irp, list, request.context];
    let name = "DRIVER_LIST_CONTROL";
    let result = host.call_driver(Entry::Callback, name, request.function, &arguments);
    drop(host);
    or_stop(result);
}

pub(super) fn build(host: &Arc<Host>, request: &Request) -> Result<u64, NtStatus> {
    let adapter = find(host, request.adapter).ok_or(NtStatus::INVALID_PARAMETER)?;
    let pieces = transfer::pieces(host, request.mdl, request.address, request.length)?;
    let registers = transfer::registers(&pieces);
    if registers > adapter.map_registers {
        let message = format!(
            "{registers} map registers, {} allowed",
            adapter.map_registers
        );
        host.violation("V155", "E6/0x0C", message);
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    if host.faults().should_fail(request.routine) {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    let transfer = transfer::map(host, &adapter, &pieces, request.to_device)?;
    let size = HEADER + ELEMENT * transfer.fragments.len() as u64;
    let place = match request.buffer {
        Some((_, length)) if u64::from(length) < size => Err(NtStatus::BUFFER_TOO_SMALL),
        Some((buffer, _)) => Ok(buffer),
        None => new_object(host, Kind::List, size).ok_or(NtStatus::INSUFFICIENT_RESOURCES),
    };
    match place {
        Ok(at) => {
            write_list(at, &transfer.fragments);
            keep(host, &adapter, at, transfer, request);
            Ok(at)
        }
        Err(status) => {
            transfer.unmap(host, &adapter);
            Err(status)
        }
    }
}

fn keep(host: &Arc<Host>, adapter: &Adapter, at: u64, transfer: Transfer, request: &Request) {
    let (system, context) = (request.buffer.is_none(), request.transfer);
    let mut state = lock(&adapter.state);
    state.registers += transfer.registers;
    let stack = host.memory.stacks.current();
    state.lists.insert(
        at,
        List {
            transfer,
            system,
            context,
            stack,
        },
    );
}

fn write_list(at: u64, fragments: &[(u64, u64)]) {
    access::write::<u64>(at, fragments.len() as u64);
    access::write::<u64>(at + 8, 0);
    for (index, (logical, length)) in fragments.iter().enumerate() {
        let element = at + HEADER + ELEMENT * index as u64;
        access::write::<u64>(element, *logical);
        access::write::<u64>(element + 8, *length);
        access::write::<u64>(element + 16, 0);
    }
}

extern "win64" fn put_scatter_gather_list(adapter: u64, list: u64, to_device: u8) {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return;
    };
    let known = lock(&adapter.state)
        .lists
        .get(&list)
        .map(|known| known.transfer.to_device);
    let Some(of_list) = known else {
        host.violation(
            "V149",
            "E6/0x06",
            format!("no scatter/gather list at {list:#x}"),
        );
        return;
    };
    if of_list != (to_device != 0) {
        let message = format!("WriteToDevice {to_device}, but the list was built for {of_list}");
        host.violation("V163", "E6/0x16", message);
    }
    end(&host, &adapter, list);
}

fn end(host: &Arc<Host>, adapter: &Adapter, list: u64) {
    let gone = {
        let mut state = lock(&adapter.state);
        let Some(gone) = state.lists.remove(&list) else {
            return;
        };
        state.registers -= gone.transfer.registers;
        state.contexts.end(gone.context);
        gone
    };
    gone.transfer.unmap(host, adapter);
    if gone.system {
        host.memory.blocks.remove(list);
    }
}

extern "win64" fn calculate_scatter_gather_list(
    adapter: u64,
    mdl: u64,
    address: u64,
    length: u32,
    size: u64,
    registers: u64,
) -> u32 {
    let host = current();
    if find(&host, adapter).is_none() {
        return NtStatus::INVALID_PARAMETER.0;
    }
    let length = u64::from(length);
    let pages = if mdl == 0 {
        nt_machine::pages_for(address % nt_machine::PAGE_SIZE + length) as u32
    } else {
        match transfer::pieces(&host, mdl, address, length) {
            Ok(pieces) => transfer::registers(&pieces),
            Err(status) => return status.0,
        }
    };
    access::write::<u32>(size, (HEADER + ELEMENT * u64::from(pages)) as u32);
    if registers != 0 {
        access::write::<u32>(registers, pages);
    }
    NtStatus::SUCCESS.0
}

exports! {
    "GetScatterGatherList" => get_scatter_gather_list, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
    "BuildScatterGatherList" => build_scatter_gather_list, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
    "PutScatterGatherList" => put_scatter_gather_list, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
    "CalculateScatterGatherList" => calculate_scatter_gather_list, IrqlRule::Any, "V161", "E6/0x13";
}
