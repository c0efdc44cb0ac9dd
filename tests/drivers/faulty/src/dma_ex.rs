//! What version 3 of the DMA interface adds: transfer contexts, lists without waiting, adapter objects.

use core::ptr;

use wdk_sys::{
    _IO_ALLOCATION_ACTION::DeallocateObject, IO_ALLOCATION_ACTION, PDMA_ADAPTER, PMDL, PVOID,
    SCATTER_GATHER_LIST, ULONG, ntddk::IoFreeMdl,
};

use crate::{
    control::{Answer, Fault, OK, Request},
    dma, dma_map, mdl, pool,
    system::{DISPATCH, PAGE, at_irql, operation, table},
};

pub(crate) const FAULTS: &[Fault] = &[
    (147, adapter_object_freed_too_often),
    (151, adapter_put_with_an_adapter_object),
];

/// `DMA_SYNCHRONOUS_CALLBACK`.
const SYNCHRONOUS: ULONG = 1;
/// `DMA_TRANSFER_CONTEXT_SIZE_V1`.
const CONTEXT: usize = 128;

/// A list of a page, with what it was made of.
struct List {
    list: *mut SCATTER_GATHER_LIST,
    mdl: PMDL,
    block: *mut u8,
    context: *mut u8,
}

/// A list without a routine of the driver's: the adapter object is the driver's to free.
fn list(request: &Request, adapter: PDMA_ADAPTER) -> List {
    let (block, context) = (pool::block(PAGE), pool::block(CONTEXT));
    let mdl = mdl::nonpaged_mdl(block.cast(), PAGE);
    let mut list: *mut SCATTER_GATHER_LIST = ptr::null_mut();
    unsafe {
        let _ = operation!(adapter, InitializeDmaTransferContext)(adapter, context.cast());
        let get = operation!(adapter, GetScatterGatherListEx);
        let device = (*request.extension).pdo;
        let nothing: PVOID = ptr::null_mut();
        let _ = get(
            adapter,
            device,
            context.cast(),
            mdl,
            0,
            PAGE as ULONG,
            SYNCHRONOUS,
            None,
            nothing,
            1,
            None,
            nothing,
            &raw mut list,
        );
    }
    List {
        list,
        mdl,
        block,
        context,
    }
}

fn free_object(adapter: PDMA_ADAPTER, action: IO_ALLOCATION_ACTION) {
    unsafe { operation!(adapter, FreeAdapterObject)(adapter, action) };
}

fn put(adapter: PDMA_ADAPTER, list: &List) {
    at_irql(DISPATCH, || unsafe {
        operation!(adapter, PutScatterGatherList)(adapter, list.list, 1);
    });
    unsafe { IoFreeMdl(list.mdl) };
    pool::free(list.block);
    pool::free(list.context);
}

/// The size of the table of Windows 8.
const TABLE_OF_WINDOWS_8: ULONG = 232;

/// A list, used and given back, if the table has the members for it.
pub(crate) fn work(request: &Request, adapter: PDMA_ADAPTER) {
    if table(adapter).Size < TABLE_OF_WINDOWS_8 {
        return;
    }
    let list = list(request, adapter);
    free_object(adapter, DeallocateObject);
    put(adapter, &list);
}

fn adapter_object_freed_too_often(request: &Request) -> Answer {
    if request.variant == 1 {
        return dma_map::channel_freed_too_often(request);
    }
    let adapter = dma::adapter(request);
    let list = list(request, adapter);
    free_object(adapter, DeallocateObject);
    free_object(adapter, DeallocateObject);
    put(adapter, &list);
    OK
}

fn adapter_put_with_an_adapter_object(request: &Request) -> Answer {
    if request.variant > 0 {
        return dma_map::adapter_put_with_a_channel(request);
    }
    let adapter = dma::second_adapter(request);
    let list = list(request, adapter);
    put(adapter, &list);
    dma::put(adapter);
    OK
}
