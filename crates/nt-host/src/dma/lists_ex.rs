//! Scatter/gather lists as version 3 gives them: with a transfer context, an offset instead of an address, and, if the driver
//! wants it, without waiting and without a routine of the driver's.

use std::sync::Arc;

use super::adapter::{Adapter, find};
use super::channels::SYNCHRONOUS;
use super::contexts;
use super::lists::{self, Asked, ListRequest, Start};
use crate::call::exported;
use crate::export::{IrqlRule, exports};
use crate::host::Host;
use crate::status::NtStatus;
use crate::thread::DISPATCH;
use crate::{access, lock};

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
    argument: u64,
    to_device: u8,
    completion: u64,
    completion_context: u64,
    result: u64,
) -> u32 {
    let asked = Asked {
        routine: "GetScatterGatherListEx",
        adapter,
        device,
        mdl,
        start: Start::Offset(offset),
        length: u64::from(length),
        function,
        argument,
        to_device: to_device != 0,
        buffer: None,
        context: transfer,
    };
    let completion = (completion, completion_context);
    let wish = Wish {
        flags,
        completion,
        result,
    };
    start(&asked, &wish)
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
    argument: u64,
    to_device: u8,
    buffer: u64,
    buffer_length: u32,
    completion: u64,
    completion_context: u64,
    result: u64,
) -> u32 {
    let asked = Asked {
        routine: "BuildScatterGatherListEx",
        adapter,
        device,
        mdl,
        start: Start::Offset(offset),
        length: u64::from(length),
        function,
        argument,
        to_device: to_device != 0,
        buffer: Some((buffer, buffer_length)),
        context: transfer,
    };
    let completion = (completion, completion_context);
    let wish = Wish {
        flags,
        completion,
        result,
    };
    start(&asked, &wish)
}

/// Asks for the list, for the driver's routine or for the driver itself; the adapter object is then the driver's to free.
fn start(asked: &Asked, wish: &Wish) -> u32 {
    exported(|host| {
        let Some(adapter) = find(host, asked.adapter) else {
            return Ok(NtStatus::INVALID_PARAMETER.0);
        };
        let list = match prepare(host, &adapter, asked, wish) {
            Ok(list) => list,
            Err(status) => return Ok(status.0),
        };
        let at = list.at;
        let granted = lists::ask(host, &adapter, list, wish.flags != SYNCHRONOUS)?;
        match granted {
            Ok(granted) => {
                // While it waits, the place may go away: it is not written later either.
                if granted && wish.result != 0 {
                    access::write::<u64>(wish.result, at);
                }
                if granted && asked.function == 0 {
                    lock(&adapter.state).channels += 1;
                }
                Ok(NtStatus::SUCCESS.0)
            }
            Err(status) => {
                lock(&adapter.state).contexts.end(asked.context);
                Ok(status.0)
            }
        }
    })
}

fn prepare(
    host: &Arc<Host>,
    adapter: &Arc<Adapter>,
    asked: &Asked,
    wish: &Wish,
) -> Result<ListRequest, NtStatus> {
    let synchronous = wish.flags == SYNCHRONOUS;
    let wrong = if !super::device::is_pdo(host, asked.device) {
        Some("DeviceObject is no physical device object")
    } else if wish.flags > SYNCHRONOUS {
        Some("Flags has undefined bits")
    } else if adapter.is_system {
        Some("the adapter is that of a system DMA controller, which is given no lists")
    } else if wish.completion != (0, 0) {
        Some("a completion routine is for system DMA alone")
    } else if asked.function == 0 && !(synchronous && wish.result != 0) {
        Some("neither a routine nor a place takes the list")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        host.violation("V008", "C4/0x16", wrong);
        return Err(NtStatus::INVALID_PARAMETER);
    }
    contexts::begin(host, adapter, asked.context)?;
    lists::prepare(host, adapter, asked).inspect_err(|_| {
        lock(&adapter.state).contexts.end(asked.context);
    })
}

exports! {
    "GetScatterGatherListEx" => get_scatter_gather_list_ex, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "BuildScatterGatherListEx" => build_scatter_gather_list_ex, IrqlRule::Exactly(DISPATCH), "V053", "C4/0x20003";
}
