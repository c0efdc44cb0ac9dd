//! What an adapter tells of itself and of a transfer.

use super::adapter::find;
use super::pieces;
use crate::access;
use crate::export::{IrqlRule, exports};
use crate::host::current;
use crate::status::NtStatus;
use crate::thread::{DISPATCH, PASSIVE};

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
    let values = [0, limit, adapter.bits(), 0, 1];
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

/// Bytes left of a transfer of a system DMA controller: a bus master has none, and its adapter says so
/// (`ReadDmaCounterAvailable` is FALSE).
extern "win64" fn read_dma_counter(adapter: u64) -> u32 {
    drop(find(&current(), adapter));
    0
}

/// A function of a system DMA controller: there is none.
extern "win64" fn configure_adapter_channel(adapter: u64, _function: u32, _context: u64) -> u32 {
    drop(find(&current(), adapter));
    NtStatus::NOT_IMPLEMENTED.0
}

exports! {
    "ReadDmaCounter" => read_dma_counter, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "ConfigureAdapterChannel" => configure_adapter_channel, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "GetDmaAlignment" => get_dma_alignment, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "GetDmaAdapterInfo" => get_dma_adapter_info, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
    "GetDmaTransferInfo" => get_dma_transfer_info, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
}
