//! Scatter/gather lists as version 3 gives them: with a transfer context, an offset instead of an address, and, if the driver
//! wants it, without waiting and without a routine of the driver's.

use std::sync::Arc;

use super::adapter::find;
use super::contexts;
use super::lists::{self, Request};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::memory::mdl::Mdl;
use crate::status::NtStatus;
use crate::thread::DISPATCH;
use crate::{access, lock};

/// `DMA_SYNCHRONOUS_CALLBACK`.
const SYNCHRONOUS: u32 = 1;
/// `KeepObject`, `DeallocateObject` and `DeallocateObjectKeepRegisters`.
const ACTIONS: std::ops::RangeInclusive<u32> = 1..=3;

/// What is asked for beyond an ordinary list.
struct Wish {
    flags: u32,
    /// The completion routine and its context: of no use to bus masters.
    completion: (u64, u64),
    /// Where the address of the list goes, or 0.
    result: u64,
}

extern "win64" fn get_scatter_gather_list_ex(
    adapter: u64,
    device: u64,
    transfer: u64,
    mdl: u64,
    offset: u64,
    length: u32,
    flags: u32,
    function: u64,
    context: u64,
    to_device: u8,
    completion: u64,
    completion_context: u64,
    result: u64,
) -> u32 {
    let request = Request {
        routine: "GetScatterGatherListEx",
        adapter,
        device,
        mdl,
        address: Mdl::read(mdl).address().wrapping_add(offset),
        length: u64::from(length),
        function,
        context,
        to_device: to_device != 0,
        buffer: None,
        transfer,
    };
    let completion = (completion, completion_context);
    let wish = Wish {
        flags,
        completion,
        result,
    };
    start(&request, &wish)
}

extern "win64" fn build_scatter_gather_list_ex(
    adapter: u64,
    device: u64,
    transfer: u64,
    mdl: u64,
    offset: u64,
    length: u32,
    flags: u32,
    function: u64,
    context: u64,
    to_device: u8,
    buffer: u64,
    buffer_length: u32,
    completion: u64,
    completion_context: u64,
    result: u64,
) -> u32 {
    let request = Request {
        routine: "BuildScatterGatherListEx",
        adapter,
        device,
        mdl,
        address: Mdl::read(mdl).address().wrapping_add(offset),
        length: u64::from(length),
        function,
        context,
        to_device: to_device != 0,
        buffer: Some((buffer, buffer_length)),
        transfer,
    };
    let completion = (completion, completion_context);
    let wish = Wish {
        flags,
        completion,
        result,
    };
    start(&request, &wish)
}

/// Builds the list, then calls the driver's routine with it, or leaves it and the adapter object to the driver.
fn start(request: &Request, wish: &Wish) -> u32 {
    let host = current();
    let list = match build(&host, request, wish) {
        Ok(list) => list,
        Err(status) => return status.0,
    };
    if wish.result != 0 {
        access::write::<u64>(wish.result, list);
    }
    if request.function == 0 {
        if let Some(adapter) = find(&host, request.adapter) {
            lock(&adapter.state).channels += 1;
        }
        return NtStatus::SUCCESS.0;
    }
    lists::deliver(host, request, list);
    NtStatus::SUCCESS.0
}

fn build(host: &Arc<Host>, request: &Request, wish: &Wish) -> Result<u64, NtStatus> {
    let adapter = find(host, request.adapter).ok_or(NtStatus::INVALID_PARAMETER)?;
    let synchronous = wish.flags == SYNCHRONOUS;
    let wrong = if !super::device::is_pdo(host, request.device) {
        Some("DeviceObject is no physical device object")
    } else if wish.flags > SYNCHRONOUS {
        Some("Flags has undefined bits")
    } else if wish.completion != (0, 0) {
        Some("a completion routine is for system DMA alone")
    } else if request.function == 0 && !(synchronous && wish.result != 0) {
        Some("neither a routine nor a place takes the list")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        host.violation("V008", "C4/0x16", wrong);
        return Err(NtStatus::INVALID_PARAMETER);
    }
    contexts::begin(host, &adapter, request.transfer)?;
    lists::build(host, request).inspect_err(|_| {
        lock(&adapter.state).contexts.end(request.transfer);
    })
}

extern "win64" fn free_adapter_object(adapter: u64, action: u32) {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return;
    };
    if !ACTIONS.contains(&action) {
        host.violation("V008", "C4/0x16", format!("AllocationAction {action}"));
        return;
    }
    if action == *ACTIONS.start() {
        // `KeepObject`: nothing happens.
        return;
    }
    let freed = {
        let mut state = lock(&adapter.state);
        let left = state.channels.checked_sub(1);
        state.channels = left.unwrap_or(0);
        left.is_some()
    };
    if !freed {
        host.violation("V147", "E6/0x04", "the driver has no adapter object");
    }
}

exports! {
    "GetScatterGatherListEx" => get_scatter_gather_list_ex, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "BuildScatterGatherListEx" => build_scatter_gather_list_ex, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
    "FreeAdapterObject" => free_adapter_object, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
}
