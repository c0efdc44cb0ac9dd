//! What an adapter tells of itself and of a transfer.

use super::adapter::find;
use super::{device, pieces};
use crate::export::{IrqlRule, exports};
use crate::host::current;
use crate::status::NtStatus;
use crate::thread::{DISPATCH, PASSIVE};
use crate::{access, lock};

extern "win64" fn get_dma_alignment(adapter: u64) -> u32 {
    u32::from(find(&current(), adapter).is_some())
}

/// Fills `DMA_ADAPTER_INFO`: version 1 is the only one.
extern "win64" fn get_dma_adapter_info(adapter: u64, info: u64) -> u32 {
    let Some(adapter) = find(&current(), adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    if access::read::<u32>(info) != 1 {
        return NtStatus::NOT_SUPPORTED.0;
    }
    let limit = if adapter.scatter_gather { u32::MAX } else { 1 };
    let counter = u32::from(adapter.is_system);
    let values = [counter, limit, adapter.bits(), 0, 1];
    for (index, value) in values.into_iter().enumerate() {
        access::write::<u32>(info + 4 + 4 * index as u64, value);
    }
    NtStatus::SUCCESS.0
}

/// Fills `DMA_TRANSFER_INFO` of version 1 or 2.
extern "win64" fn get_dma_transfer_info(
    adapter: u64,
    mdl: u64,
    offset: u64,
    length: u32,
    _write_only: u8,
    info: u64,
) -> u32 {
    let host = current();
    if find(&host, adapter).is_none() {
        return NtStatus::INVALID_PARAMETER.0;
    }
    let version: u32 = access::read(info);
    if !(1..=2).contains(&version) {
        return NtStatus::NOT_SUPPORTED.0;
    }
    let pieces = match pieces::from_offset(&host, mdl, offset, u64::from(length)) {
        Ok(pieces) => pieces,
        Err(status) => return status.0,
    };
    let pages = pieces::registers(&pieces);
    access::write::<u32>(info + 4, pages);
    access::write::<u32>(info + 8, pages);
    access::write::<u32>(info + 12, 16 + 24 * pages);
    if version == 2 {
        access::write::<u32>(info + 16, pages);
    }
    NtStatus::SUCCESS.0
}

/// Bytes left of a transfer of the system DMA controller: all of it before its end. A bus master has no such counter, and its
/// adapter says so (`ReadDmaCounterAvailable` is FALSE).
extern "win64" fn read_dma_counter(adapter: u64) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter).filter(|adapter| adapter.is_system) else {
        return 0;
    };
    let state = lock(&adapter.state);
    let mapped = state.allocations.values().flat_map(|one| &one.mapped);
    let left =
        mapped.filter(|mapped| device::under_way(&host, &adapter, &mapped.transfer).is_some());
    left.map(|mapped| mapped.transfer.bytes()).sum::<u64>() as u32
}

/// The number of the one function that the system DMA controller has.
const ADD_ONE: u32 = 1;

/// A function of the system DMA controller's own.
extern "win64" fn configure_adapter_channel(adapter: u64, function: u32, context: u64) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    if !adapter.is_system || function != ADD_ONE || context == 0 {
        return NtStatus::NOT_IMPLEMENTED.0;
    }
    let number: u32 = access::read(context);
    access::write::<u32>(context, number.wrapping_add(1));
    NtStatus::SUCCESS.0
}

exports! {
    "ReadDmaCounter" => read_dma_counter, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "ConfigureAdapterChannel" => configure_adapter_channel, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "GetDmaAlignment" => get_dma_alignment, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "GetDmaAdapterInfo" => get_dma_adapter_info, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "GetDmaTransferInfo" => get_dma_transfer_info, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
}
