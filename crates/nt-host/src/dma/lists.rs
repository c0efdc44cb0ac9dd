//! Scatter/gather lists: built by the system, handed to the driver's routine, put back.

use std::sync::Arc;

use super::adapter::{Adapter, find};
use super::channels::{at_dispatch, drop_request};
use super::pieces::{self, Piece};
use super::pool::{self, Admission, Work};
use super::transfer::{self, Transfer};
use crate::call::{Entry, Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::memory::blocks::Kind;
use crate::memory::free_block;
use crate::memory::mdl::new_object;
use crate::memory::stacks::Stack;
use crate::status::NtStatus;
use crate::thread::DISPATCH;
use crate::{access, lock};

/// Bytes of `SCATTER_GATHER_LIST` before its elements.
pub(super) const HEADER: u64 = 16;
/// Bytes of `SCATTER_GATHER_ELEMENT`.
pub(super) const ELEMENT: u64 = 24;
/// `DEVICE_OBJECT.CurrentIrp`.
const CURRENT_IRP: u64 = 32;

/// A list that the driver has.
pub(crate) struct List {
    /// What it maps.
    pub(crate) transfer: Transfer,
    /// MDLs that `BuildMdlFromScatterGatherList` made for it, or 0.
    pub(crate) mdl: u64,
    /// Its memory is the system's.
    system: bool,
    /// The transfer context that it was asked for with, or 0.
    context: u64,
    /// Who asked for it.
    pub(crate) stack: Stack,
}

/// Where in the MDL chain the transfer begins.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// At an address in the first MDL.
    Address(u64),
    /// At an offset from the beginning of the chain.
    Offset(u64),
}

/// What a driver asks for.
pub(super) struct Asked {
    pub(super) routine: &'static str,
    pub(super) adapter: u64,
    pub(super) device: u64,
    pub(super) mdl: u64,
    pub(super) start: Start,
    pub(super) length: u64,
    /// `DRIVER_LIST_CONTROL`, or 0 if the driver wants the list and no call.
    pub(super) function: u64,
    pub(super) argument: u64,
    pub(super) to_device: bool,
    /// The driver's memory for the list, and its length.
    pub(super) buffer: Option<(u64, u32)>,
    /// The transfer context, or 0.
    pub(super) context: u64,
}

/// A list that is complete but for its map registers: nothing can go wrong when it gets them.
pub(super) struct ListRequest {
    device: u64,
    irp: u64,
    function: u64,
    argument: u64,
    context: u64,
    /// Where the list lies.
    pub(super) at: u64,
    system: bool,
    transfer: Transfer,
    stack: Stack,
}

extern "win64" fn get_scatter_gather_list(
    adapter: u64,
    device: u64,
    mdl: u64,
    address: u64,
    length: u32,
    function: u64,
    argument: u64,
    to_device: u8,
) -> u32 {
    let (routine, length, buffer) = ("GetScatterGatherList", u64::from(length), None);
    start(&Asked {
        routine,
        adapter,
        device,
        mdl,
        start: Start::Address(address),
        length,
        function,
        argument,
        to_device: to_device != 0,
        buffer,
        context: 0,
    })
}

extern "win64" fn build_scatter_gather_list(
    adapter: u64,
    device: u64,
    mdl: u64,
    address: u64,
    length: u32,
    function: u64,
    argument: u64,
    to_device: u8,
    buffer: u64,
    buffer_length: u32,
) -> u32 {
    let (routine, length) = ("BuildScatterGatherList", u64::from(length));
    start(&Asked {
        routine,
        adapter,
        device,
        mdl,
        start: Start::Address(address),
        length,
        function,
        argument,
        to_device: to_device != 0,
        buffer: Some((buffer, buffer_length)),
        context: 0,
    })
}

/// Asks for the list; the driver's routine is called with it before this returns unless registers are short.
fn start(asked: &Asked) -> u32 {
    exported(|host| {
        let Some(adapter) = find(host, asked.adapter) else {
            return Ok(NtStatus::INVALID_PARAMETER.0);
        };
        let list = match prepare(host, &adapter, asked) {
            Ok(list) => list,
            Err(status) => return Ok(status.0),
        };
        let granted = ask(host, &adapter, list, true)?;
        Ok(granted.err().unwrap_or(NtStatus::SUCCESS).0)
    })
}

/// Asks for the map registers of a list; whether it has them now, unless it may not wait for them.
pub(super) fn ask(
    host: &Arc<Host>,
    adapter: &Arc<Adapter>,
    list: ListRequest,
    may_wait: bool,
) -> Result<Result<bool, NtStatus>, Stopped> {
    let request = pool::Request {
        adapter: Arc::clone(adapter),
        registers: list.transfer.registers,
        context: list.context,
        work: Work::List(Box::new(list)),
    };
    match host.dma.registers.admit(request, may_wait) {
        Admission::Granted(request) => {
            pool::grant(host, request)?;
            Ok(Ok(true))
        }
        Admission::Queued => Ok(Ok(false)),
        Admission::Refused(request) => {
            drop_request(host, request);
            Ok(Err(NtStatus::INSUFFICIENT_RESOURCES))
        }
    }
}

/// Judges what is asked for, maps it and writes the list.
pub(super) fn prepare(
    host: &Arc<Host>,
    adapter: &Arc<Adapter>,
    asked: &Asked,
) -> Result<ListRequest, NtStatus> {
    let pieces = match asked.start {
        Start::Address(address) => pieces::from_address(host, asked.mdl, address, asked.length),
        Start::Offset(offset) => pieces::from_offset(host, asked.mdl, offset, asked.length),
    }?;
    let registers = pieces::registers(&pieces);
    if registers > adapter.map_registers {
        let most = adapter.map_registers;
        let message = format!("{registers} map registers, {most} allowed");
        host.violation("V155", "E6/0x0C", message);
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    if host.faults().should_fail(asked.routine) {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    let fragments = pieces::fragments(&pieces, adapter.scatter_gather)?;
    let at = place(host, asked, &fragments)?;
    let irp = access::read(asked.device + CURRENT_IRP);
    let system = asked.buffer.is_none();
    let transfer = transfer::map(host, adapter, fragments, asked.to_device).inspect_err(|_| {
        if system {
            free_block(host, at);
        }
    })?;
    write_list(at, &transfer.fragments);
    Ok(ListRequest {
        device: asked.device,
        irp,
        function: asked.function,
        argument: asked.argument,
        context: asked.context,
        at,
        system,
        transfer,
        stack: host.memory.stacks.current(),
    })
}

/// Memory for the list.
fn place(host: &Arc<Host>, asked: &Asked, fragments: &[Piece]) -> Result<u64, NtStatus> {
    let size = HEADER + ELEMENT * fragments.len() as u64;
    match asked.buffer {
        Some((_, length)) if u64::from(length) < size => Err(NtStatus::BUFFER_TOO_SMALL),
        Some((buffer, _)) => Ok(buffer),
        None => new_object(host, Kind::List, size).ok_or(NtStatus::INSUFFICIENT_RESOURCES),
    }
}

impl ListRequest {
    /// Forgets a list that nobody has got.
    pub(super) fn abandon(self, host: &Arc<Host>) {
        self.transfer.abandon(host);
        if self.system {
            free_block(host, self.at);
        }
    }
}

/// The list has its registers: it is the driver's, and its routine is called with it.
pub(super) fn grant(
    host: &Arc<Host>,
    adapter: &Arc<Adapter>,
    mut list: ListRequest,
) -> Result<(), Stopped> {
    list.transfer.refresh(host);
    let kept = List {
        transfer: list.transfer,
        mdl: 0,
        system: list.system,
        context: list.context,
        stack: list.stack,
    };
    lock(&adapter.state).lists.insert(list.at, kept);
    if list.function == 0 {
        return Ok(());
    }
    let arguments = [list.device, list.irp, list.at, list.argument];
    let name = "DRIVER_LIST_CONTROL";
    at_dispatch(|| host.call_driver(Entry::Callback, name, list.function, &arguments))?;
    Ok(())
}

/// Writes a `SCATTER_GATHER_LIST`.
pub(super) fn write_list(at: u64, fragments: &[(u64, u64)]) {
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
    exported(|host| {
        let Some(adapter) = find(host, adapter) else {
            return Ok(());
        };
        let gone = lock(&adapter.state).lists.remove(&list);
        let Some(gone) = gone else {
            let message = format!("no scatter/gather list at {list:#x}");
            host.violation("V149", "E6/0x06", message);
            return Ok(());
        };
        let of_list = gone.transfer.to_device;
        if of_list != (to_device != 0) {
            let message =
                format!("WriteToDevice {to_device}, but the list was built for {of_list}");
            host.violation("V163", "E6/0x16", message);
        }
        super::device::judge_idle(host, &adapter, &gone.transfer);
        end(host, &adapter, list, gone);
        pool::serve(host)
    });
}

fn end(host: &Arc<Host>, adapter: &Adapter, at: u64, list: List) {
    lock(&adapter.state).contexts.end(list.context);
    super::list_mdls::free(host, list.mdl);
    let registers = list.transfer.registers;
    list.transfer.unmap(host);
    if list.system {
        free_block(host, at);
    }
    pool::release(host, adapter, registers);
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
        match pieces::from_address(&host, mdl, address, length) {
            Ok(pieces) => pieces::registers(&pieces),
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
