//! Adapter channels and map registers: asked for, given to the driver's routine, kept, freed, cancelled.
//!
//! A bus master has no channel of a controller, but the interface lends it the adapter object all the same: one request at a
//! time has it, from the call of the driver's routine until that returns `DeallocateObject` or
//! `DeallocateObjectKeepRegisters`, or, if the driver keeps it, until it frees it.

use std::sync::Arc;

use super::adapter::{Adapter, find};
use super::contexts;
use super::pool::{self, Admission, Request, Work};
use super::transfer::Transfer;
use crate::access;
use crate::call::{Entry, Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::Host;
use crate::lock;
use crate::memory::stacks::Stack;
use crate::status::NtStatus;
use crate::thread::{self, DISPATCH};

/// `DMA_SYNCHRONOUS_CALLBACK`.
pub(super) const SYNCHRONOUS: u32 = 1;
/// `DEVICE_OBJECT.CurrentIrp`.
const CURRENT_IRP: u64 = 32;
/// Where handles of map registers begin: an address at which nothing lies.
const FIRST_BASE: u64 = 0xFFFF_D0A0_0000_0000;

/// `IO_ALLOCATION_ACTION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    KeepObject,
    DeallocateObject,
    DeallocateObjectKeepRegisters,
}

impl Action {
    const fn read(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::KeepObject),
            2 => Some(Self::DeallocateObject),
            3 => Some(Self::DeallocateObjectKeepRegisters),
            _ => None,
        }
    }
}

/// Map registers that a driver has, and what it has mapped with them.
pub(crate) struct Allocation {
    /// How many.
    pub(crate) registers: u32,
    /// The transfer context that they were asked for with, or 0.
    pub(crate) context: u64,
    /// The adapter object belongs to them: they go with it.
    pub(crate) has_object: bool,
    /// `CancelMappedTransfer` was called: nothing more is mapped.
    pub(crate) cancelled: bool,
    /// What is mapped, and not flushed.
    pub(crate) mapped: Vec<Mapped>,
    /// Who asked for them.
    pub(crate) stack: Stack,
}

/// A mapped part of a buffer.
pub(crate) struct Mapped {
    /// The MDL that the driver gave.
    pub(crate) mdl: u64,
    /// Where it begins in what the MDL describes.
    pub(crate) offset: u64,
    /// What is mapped there.
    pub(crate) transfer: Transfer,
}

/// A driver's routine that gets a channel.
pub(super) struct ChannelRequest {
    device: u64,
    irp: u64,
    /// `DRIVER_CONTROL`, or 0 if the driver wants the registers and no call.
    function: u64,
    argument: u64,
    stack: Stack,
    /// The registers' handle.
    base: u64,
}

/// What a driver asks for.
struct Wish {
    device: u64,
    registers: u32,
    function: u64,
    argument: u64,
    context: u64,
    may_wait: bool,
}

extern "win64" fn allocate_adapter_channel(
    adapter: u64,
    device: u64,
    registers: u32,
    function: u64,
    argument: u64,
) -> u32 {
    exported(|host| {
        let Some(adapter) = find(host, adapter) else {
            return Ok(NtStatus::INVALID_PARAMETER.0);
        };
        let wish = Wish {
            device,
            registers,
            function,
            argument,
            context: 0,
            may_wait: true,
        };
        if function == 0 {
            host.violation("V008", "C4/0x16", "ExecutionRoutine is NULL");
            return Ok(NtStatus::INVALID_PARAMETER.0);
        }
        if has_channel(host, &adapter) {
            let message = "the adapter has a channel already, or a request for one waits";
            host.violation("V154", "E6/0x0B", message);
            return Ok(NtStatus::INSUFFICIENT_RESOURCES.0);
        }
        let result = allocate(host, &adapter, "AllocateAdapterChannel", &wish)?;
        Ok(result.err().unwrap_or(NtStatus::SUCCESS).0)
    })
}

/// Whether the adapter's one channel is taken or asked for.
fn has_channel(host: &Arc<Host>, adapter: &Arc<Adapter>) -> bool {
    let of_adapter = |request: &Request| {
        Arc::ptr_eq(&request.adapter, adapter) && matches!(request.work, Work::Channel(_))
    };
    lock(&adapter.state).channel_taken || host.dma.registers.waiting(of_adapter) > 0
}

extern "win64" fn allocate_adapter_channel_ex(
    adapter: u64,
    device: u64,
    context: u64,
    registers: u32,
    flags: u32,
    function: u64,
    argument: u64,
    base: u64,
) -> u32 {
    exported(|host| {
        let Some(adapter) = find(host, adapter) else {
            return Ok(NtStatus::INVALID_PARAMETER.0);
        };
        let synchronous = flags == SYNCHRONOUS;
        let wrong = if !super::device::is_pdo(host, device) {
            Some("DeviceObject is no physical device object")
        } else if flags > SYNCHRONOUS {
            Some("Flags has undefined bits")
        } else if function == 0 && !(synchronous && base != 0) {
            Some("neither a routine nor a place takes the map registers")
        } else if function != 0 && base != 0 {
            Some("MapRegisterBase is not NULL although a routine gets the map registers")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            host.violation("V008", "C4/0x16", wrong);
            return Ok(NtStatus::INVALID_PARAMETER.0);
        }
        if let Err(status) = contexts::begin(host, &adapter, context) {
            return Ok(status.0);
        }
        let wish = Wish {
            device,
            registers,
            function,
            argument,
            context,
            may_wait: !synchronous,
        };
        match allocate(host, &adapter, "AllocateAdapterChannelEx", &wish)? {
            Ok(handle) => {
                if base != 0 {
                    access::write::<u64>(base, handle);
                }
                Ok(NtStatus::SUCCESS.0)
            }
            Err(status) => {
                lock(&adapter.state).contexts.end(context);
                Ok(status.0)
            }
        }
    })
}

/// Asks for the channel; the handle of the registers, whether granted or waited for.
fn allocate(
    host: &Arc<Host>,
    adapter: &Arc<Adapter>,
    routine: &'static str,
    wish: &Wish,
) -> Result<Result<u64, NtStatus>, Stopped> {
    if let Err(status) = judge(host, adapter, wish.registers) {
        return Ok(Err(status));
    }
    if host.faults().should_fail(routine) {
        return Ok(Err(NtStatus::INSUFFICIENT_RESOURCES));
    }
    let base = FIRST_BASE + 0x1000 * host.dma.next_number();
    let work = Work::Channel(ChannelRequest {
        device: wish.device,
        irp: access::read(wish.device + CURRENT_IRP),
        function: wish.function,
        argument: wish.argument,
        stack: host.memory.stacks.current(),
        base,
    });
    let request = Request {
        adapter: Arc::clone(adapter),
        registers: wish.registers,
        context: wish.context,
        work,
    };
    match host.dma.registers.admit(request, wish.may_wait) {
        Admission::Granted(request) => {
            pool::grant(host, request)?;
            pool::serve(host)?;
        }
        Admission::Queued => {}
        Admission::Refused(_) => return Ok(Err(NtStatus::INSUFFICIENT_RESOURCES)),
    }
    Ok(Ok(base))
}

/// Judges a number of registers, by itself and together with those that the driver has.
fn judge(host: &Arc<Host>, adapter: &Adapter, registers: u32) -> Result<(), NtStatus> {
    let most = adapter.map_registers;
    if registers > most {
        let message = format!("{registers} map registers, {most} allowed");
        host.violation("V155", "E6/0x0C", message);
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    let kept: u32 = {
        let state = lock(&adapter.state);
        state.allocations.values().map(|one| one.registers).sum()
    };
    if kept + registers > most {
        let message = format!("{registers} map registers beside {kept} kept, {most} allowed");
        host.violation("V162", "E6/0x15", message);
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    Ok(())
}

/// Calls the routine with its registers, and does what it answers.
pub(super) fn grant(
    host: &Arc<Host>,
    adapter: &Arc<Adapter>,
    registers: u32,
    context: u64,
    request: &ChannelRequest,
) -> Result<(), Stopped> {
    let base = request.base;
    let allocation = Allocation {
        registers,
        context,
        has_object: true,
        cancelled: false,
        mapped: Vec::new(),
        stack: Arc::clone(&request.stack),
    };
    lock(&adapter.state).allocations.insert(base, allocation);
    if request.function == 0 {
        return Ok(());
    }
    let arguments = [request.device, request.irp, base, request.argument];
    let answer = at_dispatch(|| {
        host.call_driver(
            Entry::Callback,
            "DRIVER_CONTROL",
            request.function,
            &arguments,
        )
    })?;
    let Some(action) = Action::read(answer as u32) else {
        let message = format!("DRIVER_CONTROL returned {}", answer as u32);
        host.violation("V008", "C4/0x16", message);
        return Ok(());
    };
    if action == Action::DeallocateObject {
        judge_mapped(host, adapter, base, "V159", "E6/0x10");
    }
    dispose(host, adapter, base, action);
    Ok(())
}

/// Runs `work` at `DISPATCH_LEVEL`, or where it is if that is above.
pub(super) fn at_dispatch<T>(work: impl FnOnce() -> T) -> T {
    let before = thread::set_irql(thread::irql().max(DISPATCH));
    let result = work();
    thread::set_irql(before);
    result
}

/// Takes the adapter object back, with its registers or without.
fn dispose(host: &Arc<Host>, adapter: &Arc<Adapter>, base: u64, action: Action) {
    if action == Action::KeepObject {
        return;
    }
    let mut state = lock(&adapter.state);
    state.channel_taken = false;
    if let Some(allocation) = state.allocations.get_mut(&base) {
        allocation.has_object = false;
    }
    drop(state);
    if action == Action::DeallocateObject {
        free(host, adapter, base);
    }
}

/// Frees registers; what is still mapped with them is unmapped, and what the device wrote is lost where it was copied.
fn free(host: &Arc<Host>, adapter: &Arc<Adapter>, base: u64) {
    let gone = {
        let mut state = lock(&adapter.state);
        let Some(gone) = state.allocations.remove(&base) else {
            return;
        };
        state.contexts.end(gone.context);
        gone
    };
    for mapped in gone.mapped {
        mapped.transfer.abandon(host);
    }
    pool::release(host, adapter, gone.registers);
}

/// Reports registers that are about to be freed while a transfer is mapped with them.
fn judge_mapped(
    host: &Arc<Host>,
    adapter: &Adapter,
    base: u64,
    rule: &'static str,
    code: &'static str,
) {
    let mapped: u32 = {
        let state = lock(&adapter.state);
        let allocation = state.allocations.get(&base);
        let mapped = allocation.into_iter().flat_map(|one| &one.mapped);
        mapped.map(|mapped| mapped.transfer.registers).sum()
    };
    if mapped > 0 {
        let message = format!("{mapped} map registers of {base:#x} are mapped and not flushed");
        host.violation(rule, code, message);
    }
}

extern "win64" fn free_map_registers(adapter: u64, base: u64, count: u32) {
    exported(|host| {
        let Some(adapter) = find(host, adapter) else {
            return Ok(());
        };
        let known = {
            let state = lock(&adapter.state);
            let known = state.allocations.get(&base);
            known.map(|one| (one.registers, one.has_object))
        };
        let wrong = match known {
            None => Some("the driver has none there".to_owned()),
            Some((_, true)) => Some("they go with the adapter object".to_owned()),
            Some((registers, _)) if registers != count => Some(format!("it has {registers}")),
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            let message = format!("{count} map registers at {base:#x}: {wrong}");
            host.violation("V148", "E6/0x05", message);
            return Ok(());
        }
        judge_mapped(host, &adapter, base, "V159", "E6/0x10");
        free(host, &adapter, base);
        pool::serve(host)
    });
}

/// The registers that the adapter object which the driver has belongs to.
fn held(adapter: &Adapter) -> Option<u64> {
    let state = lock(&adapter.state);
    let mut held = state.allocations.iter().filter(|(_, one)| one.has_object);
    held.next().map(|(base, _)| *base)
}

extern "win64" fn free_adapter_channel(adapter: u64) {
    exported(|host| {
        let Some(adapter) = find(host, adapter) else {
            return Ok(());
        };
        let Some(base) = held(&adapter) else {
            host.violation("V147", "E6/0x04", "the driver has no adapter channel");
            return Ok(());
        };
        judge_mapped(host, &adapter, base, "V156", "E6/0x0D");
        dispose(host, &adapter, base, Action::DeallocateObject);
        pool::serve(host)
    });
}

extern "win64" fn free_adapter_object(adapter: u64, action: u32) {
    exported(|host| {
        let Some(adapter) = find(host, adapter) else {
            return Ok(());
        };
        let Some(action) = Action::read(action) else {
            host.violation("V008", "C4/0x16", format!("AllocationAction {action}"));
            return Ok(());
        };
        if action == Action::KeepObject {
            return Ok(());
        }
        if let Some(base) = held(&adapter) {
            if action == Action::DeallocateObject {
                judge_mapped(host, &adapter, base, "V156", "E6/0x0D");
            }
            dispose(host, &adapter, base, action);
            return pool::serve(host);
        }
        // One that came with a list: the list keeps the registers until it is put.
        let freed = {
            let mut state = lock(&adapter.state);
            let left = state.channels.checked_sub(1);
            state.channels = left.unwrap_or(0);
            left.is_some()
        };
        if !freed {
            host.violation("V147", "E6/0x04", "the driver has no adapter object");
        }
        Ok(())
    });
}

extern "win64" fn cancel_adapter_channel(adapter: u64, device: u64, context: u64) -> u8 {
    exported(|host| {
        let Some(adapter) = find(host, adapter) else {
            return Ok(0);
        };
        if !super::device::is_pdo(host, device) {
            let message = "DeviceObject is no physical device object";
            host.violation("V008", "C4/0x16", message);
            return Ok(0);
        }
        let of_request = |request: &Request| {
            let same = request.context == context && context != 0;
            same && Arc::ptr_eq(&request.adapter, &adapter)
        };
        let withdrawn = host.dma.registers.withdraw(of_request);
        if withdrawn.is_empty() {
            return Ok(u8::from(contexts::cancel_next(host, &adapter, context)));
        }
        for request in withdrawn {
            drop_request(host, request);
            lock(&adapter.state).contexts.end(context);
        }
        // Those behind it need not wait for it any more.
        pool::serve(host)?;
        Ok(1)
    })
}

/// Forgets a request that waited.
pub(super) fn drop_request(host: &Arc<Host>, request: Request) {
    if let Work::List(list) = request.work {
        list.abandon(host);
    }
}

exports! {
    "AllocateAdapterChannel" => allocate_adapter_channel, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
    "AllocateAdapterChannelEx" => allocate_adapter_channel_ex, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
    "FreeAdapterChannel" => free_adapter_channel, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
    "FreeMapRegisters" => free_map_registers, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
    "FreeAdapterObject" => free_adapter_object, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "CancelAdapterChannel" => cancel_adapter_channel, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
}
