//! DMA adapters: rules V143 to V182.

use core::{mem::transmute, ptr};

use wdk_sys::{
    DEVICE_OBJECT, IRP, PDMA_ADAPTER, PHYSICAL_ADDRESS, PMDL, PVOID, SCATTER_GATHER_LIST,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_NOT_SUPPORTED, ULONG,
    ntddk::{IoAllocateMdl, IoFreeMdl, IoGetDmaAdapter, MmGetPhysicalAddress},
};

use crate::{
    control::{Answer, Fault, OK, Request},
    dma_ex, dma_map, mdl, pnp, pool,
    system::{APC, DISPATCH, PAGE, address, at_irql, operation},
};

pub(crate) const FAULTS: &[Fault] = &[
    (53, list_below_dispatch),
    (146, common_buffer_freed_wrongly),
    (149, list_put_twice),
    (150, adapter_put_with_common_buffer),
    (153, adapter_put_with_list),
    (155, more_map_registers_than_the_maximum),
    (157, transfer_of_unlocked_memory),
    (158, overrun_of_a_common_buffer),
    (160, adapter_put_twice),
    (161, common_buffer_above_passive),
    (163, list_put_in_the_other_direction),
    (164, use_of_a_released_adapter),
    (165, null_adapter),
    (166, address_outside_the_mdl),
    (171, zero_bytes_mapped),
    (172, common_buffer_of_unmapped_pages),
    (174, buffer_too_small),
    (180, member_past_the_table),
];

/// A common buffer of an adapter.
#[derive(Clone, Copy)]
pub(crate) struct CommonBuffer {
    bytes: ULONG,
    logical: PHYSICAL_ADDRESS,
    pub(crate) memory: PVOID,
}

pub(crate) fn adapter(request: &Request) -> PDMA_ADAPTER {
    unsafe { (*request.extension).adapter }
}

/// An adapter of its own, so that a fault does not take the device's.
pub(crate) fn second_adapter(request: &Request) -> PDMA_ADAPTER {
    let (mut description, mut registers) = (pnp::description(), 0);
    unsafe {
        let pdo = (*request.extension).pdo;
        IoGetDmaAdapter(pdo, &raw mut description, &raw mut registers)
    }
}

pub(crate) fn put(adapter: PDMA_ADAPTER) {
    unsafe { operation!(adapter, PutDmaAdapter)(adapter) };
}

pub(crate) fn allocate(adapter: PDMA_ADAPTER, bytes: ULONG) -> CommonBuffer {
    let mut logical = address(0);
    let memory =
        unsafe { operation!(adapter, AllocateCommonBuffer)(adapter, bytes, &raw mut logical, 1) };
    CommonBuffer {
        bytes,
        logical,
        memory,
    }
}

pub(crate) fn free(adapter: PDMA_ADAPTER, buffer: CommonBuffer) {
    let CommonBuffer {
        bytes,
        logical,
        memory,
    } = buffer;
    unsafe { operation!(adapter, FreeCommonBuffer)(adapter, bytes, logical, memory, 1) };
}

/// Where a list goes that the system has built.
unsafe extern "C" fn keep_list(
    _: *mut DEVICE_OBJECT,
    _: *mut IRP,
    list: *mut SCATTER_GATHER_LIST,
    context: PVOID,
) {
    unsafe { context.cast::<*mut SCATTER_GATHER_LIST>().write(list) };
}

/// The list of a buffer, or null. The callback runs before the routine returns unless map registers are short.
fn list(request: &Request, mdl: PMDL, from: PVOID, bytes: ULONG) -> *mut SCATTER_GATHER_LIST {
    let adapter = adapter(request);
    let mut list: *mut SCATTER_GATHER_LIST = ptr::null_mut();
    let context = (&raw mut list).cast();
    unsafe {
        let get = operation!(adapter, GetScatterGatherList);
        let device = (*request.extension).this;
        let _ = get(
            adapter,
            device,
            mdl,
            from,
            bytes,
            Some(keep_list),
            context,
            1,
        );
    }
    list
}

fn put_list(request: &Request, list: *mut SCATTER_GATHER_LIST) {
    let adapter = adapter(request);
    unsafe { operation!(adapter, PutScatterGatherList)(adapter, list, 1) };
}

/// A nonpaged buffer with its MDL.
fn buffer() -> (PMDL, *mut u8) {
    let block = pool::block(2 * PAGE);
    (mdl::nonpaged_mdl(block.cast(), 2 * PAGE), block)
}

fn free_buffer_and_mdl((mdl, block): (PMDL, *mut u8)) {
    unsafe { IoFreeMdl(mdl) };
    pool::free(block);
}

/// A common buffer and a list, used and given back.
pub(crate) fn work(request: &Request) -> Answer {
    let adapter = adapter(request);
    if adapter.is_null() {
        return Answer::Status(STATUS_NOT_SUPPORTED);
    }
    for bytes in [100, 4096, 10_000] {
        let buffer = allocate(adapter, bytes);
        if buffer.memory.is_null() {
            return Answer::Status(STATUS_INSUFFICIENT_RESOURCES);
        }
        unsafe { ptr::write_bytes(buffer.memory.cast::<u8>(), 0, bytes as usize) };
        free(adapter, buffer);
    }
    let (mdl, block) = buffer();
    at_irql(DISPATCH, || {
        let list = list(request, mdl, block.cast(), 2 * PAGE as ULONG);
        if !list.is_null() {
            put_list(request, list);
        }
    });
    free_buffer_and_mdl((mdl, block));
    dma_ex::work(request, adapter);
    dma_map::work(request, adapter)
}

/// Makes a common buffer, kept in the stash; answers with its logical (variant 0) or physical address (1).
pub(crate) fn buffer_address(request: &Request) -> Answer {
    let buffer = allocate(adapter(request), PAGE as ULONG);
    unsafe {
        ptr::write_bytes(buffer.memory.cast::<u8>(), 0, PAGE);
        let logical = buffer.logical.QuadPart;
        (*request.extension).stash = [buffer.memory as usize, logical as usize, 0, 0, 0, 0];
        let address = if request.variant == 0 {
            logical
        } else {
            MmGetPhysicalAddress(buffer.memory).QuadPart
        };
        request.answer(address as usize)
    }
}

/// Frees it.
pub(crate) fn free_buffer(request: &Request) -> Answer {
    let [memory, logical, ..] = unsafe { (*request.extension).stash };
    let buffer = CommonBuffer {
        bytes: PAGE as ULONG,
        logical: address(logical as i64),
        memory: memory as PVOID,
    };
    free(adapter(request), buffer);
    OK
}

/// A page of a common buffer that is never freed.
pub(crate) fn buffer_of_a_page(request: &Request) -> *mut u8 {
    allocate(adapter(request), PAGE as ULONG).memory.cast()
}

/// Where a common buffer was.
pub(crate) fn freed_buffer(request: &Request) -> *mut u8 {
    let adapter = adapter(request);
    let buffer = allocate(adapter, PAGE as ULONG);
    free(adapter, buffer);
    buffer.memory.cast()
}

fn list_below_dispatch(request: &Request) -> Answer {
    if request.variant == 1 {
        return dma_map::channel_below_dispatch(request);
    }
    let (mdl, block) = buffer();
    let list = list(request, mdl, block.cast(), PAGE as ULONG);
    if !list.is_null() {
        at_irql(DISPATCH, || put_list(request, list));
    }
    free_buffer_and_mdl((mdl, block));
    OK
}

fn common_buffer_freed_wrongly(request: &Request) -> Answer {
    let adapter = adapter(request);
    let buffer = allocate(adapter, PAGE as ULONG);
    let CommonBuffer {
        bytes,
        logical,
        memory,
    } = buffer;
    unsafe {
        let free_as = operation!(adapter, FreeCommonBuffer);
        match request.variant {
            0 => {
                free(adapter, buffer);
                free(adapter, buffer);
                return OK;
            }
            1 => free_as(adapter, 2 * bytes, logical, memory, 1),
            2 => free_as(
                adapter,
                bytes,
                address(logical.QuadPart + 0x1000),
                memory,
                1,
            ),
            3 => free_as(adapter, bytes, logical, memory, 0),
            4 => free_as(adapter, bytes, logical, memory.wrapping_byte_add(16), 1),
            _ => {
                let other = pool::block(PAGE);
                free_as(adapter, bytes, address(0x1000), other.cast(), 1);
                pool::free(other);
            }
        }
    }
    free(adapter, buffer);
    OK
}

/// A transfer of all registers and one more, through an adapter that has only a few.
fn more_map_registers_than_the_maximum(request: &Request) -> Answer {
    let pages = unsafe { (*request.extension).map_registers } as usize + 1;
    let block = pool::block(pages * PAGE);
    let mdl = mdl::nonpaged_mdl(block.cast(), pages * PAGE);
    at_irql(DISPATCH, || {
        let list = list(request, mdl, block.cast(), (pages * PAGE) as ULONG);
        if !list.is_null() {
            put_list(request, list);
        }
    });
    free_buffer_and_mdl((mdl, block));
    OK
}

fn list_put_in_the_other_direction(request: &Request) -> Answer {
    if request.variant == 1 {
        return dma_map::flush_of_another_buffer(request);
    }
    let adapter = adapter(request);
    let (mdl, block) = buffer();
    at_irql(DISPATCH, || unsafe {
        let list = list(request, mdl, block.cast(), PAGE as ULONG);
        operation!(adapter, PutScatterGatherList)(adapter, list, 0);
    });
    free_buffer_and_mdl((mdl, block));
    OK
}

fn zero_bytes_mapped(request: &Request) -> Answer {
    let (mdl, block) = buffer();
    at_irql(DISPATCH, || {
        let list = list(request, mdl, block.cast(), 0);
        if !list.is_null() {
            put_list(request, list);
        }
    });
    free_buffer_and_mdl((mdl, block));
    OK
}

fn list_put_twice(request: &Request) -> Answer {
    let (mdl, block) = buffer();
    at_irql(DISPATCH, || {
        let list = list(request, mdl, block.cast(), PAGE as ULONG);
        put_list(request, list);
        put_list(request, list);
    });
    free_buffer_and_mdl((mdl, block));
    OK
}

fn adapter_put_with_common_buffer(request: &Request) -> Answer {
    let adapter = second_adapter(request);
    let _ = allocate(adapter, PAGE as ULONG);
    put(adapter);
    OK
}

fn adapter_put_with_list(request: &Request) -> Answer {
    let other = second_adapter(request);
    let (mdl, block) = buffer();
    let own = adapter(request);
    at_irql(DISPATCH, || unsafe {
        (*request.extension).adapter = other;
        let _ = list(request, mdl, block.cast(), PAGE as ULONG);
        (*request.extension).adapter = own;
    });
    put(other);
    free_buffer_and_mdl((mdl, block));
    OK
}

fn transfer_of_unlocked_memory(request: &Request) -> Answer {
    let block = pool::paged(PAGE);
    unsafe {
        let mdl = IoAllocateMdl(block.cast(), PAGE as ULONG, 0, 0, ptr::null_mut());
        at_irql(DISPATCH, || {
            let list = list(request, mdl, block.cast(), PAGE as ULONG);
            if !list.is_null() {
                put_list(request, list);
            }
        });
        IoFreeMdl(mdl);
    }
    pool::free(block);
    OK
}

fn overrun_of_a_common_buffer(request: &Request) -> Answer {
    let adapter = adapter(request);
    let buffer = allocate(adapter, 100);
    unsafe { buffer.memory.cast::<u8>().add(100).write_volatile(1) };
    free(adapter, buffer);
    OK
}

fn adapter_put_twice(request: &Request) -> Answer {
    let adapter = second_adapter(request);
    unsafe {
        let put = operation!(adapter, PutDmaAdapter);
        put(adapter);
        put(adapter);
    }
    OK
}

fn common_buffer_above_passive(request: &Request) -> Answer {
    if request.variant > 0 {
        return dma_map::member_at_a_wrong_irql(request);
    }
    let adapter = adapter(request);
    let buffer = at_irql(APC, || allocate(adapter, PAGE as ULONG));
    if !buffer.memory.is_null() {
        free(adapter, buffer);
    }
    OK
}

fn use_of_a_released_adapter(request: &Request) -> Answer {
    let adapter = second_adapter(request);
    let mut logical = address(0);
    unsafe {
        let allocate = operation!(adapter, AllocateCommonBuffer);
        put(adapter);
        let _ = allocate(adapter, PAGE as ULONG, &raw mut logical, 1);
    }
    OK
}

fn null_adapter(request: &Request) -> Answer {
    let mut logical = address(0);
    unsafe {
        let allocate = operation!(adapter(request), AllocateCommonBuffer);
        let _ = allocate(ptr::null_mut(), PAGE as ULONG, &raw mut logical, 1);
    }
    OK
}

fn address_outside_the_mdl(request: &Request) -> Answer {
    let (mdl, block) = buffer();
    let from = block.wrapping_add(8 * PAGE).cast();
    at_irql(DISPATCH, || {
        let list = list(request, mdl, from, PAGE as ULONG);
        if !list.is_null() {
            put_list(request, list);
        }
    });
    free_buffer_and_mdl((mdl, block));
    OK
}

fn buffer_too_small(request: &Request) -> Answer {
    let (mdl, block) = buffer();
    at_irql(DISPATCH, || {
        let list = list(request, mdl, block.cast(), 3 * PAGE as ULONG);
        if !list.is_null() {
            put_list(request, list);
        }
    });
    free_buffer_and_mdl((mdl, block));
    OK
}

/// Calls what lies behind a table of version 1, as a driver does that has not looked at its size.
fn member_past_the_table(request: &Request) -> Answer {
    type AllocateEx = unsafe extern "C" fn(
        PDMA_ADAPTER,
        *mut PHYSICAL_ADDRESS,
        ULONG,
        *mut PHYSICAL_ADDRESS,
        u8,
        ULONG,
    ) -> PVOID;
    const ALLOCATE_COMMON_BUFFER_EX: usize = 152;
    let adapter = adapter(request);
    let mut logical = address(0);
    unsafe {
        let table = (*adapter).DmaOperations.cast::<u8>();
        let slot = table.add(ALLOCATE_COMMON_BUFFER_EX).cast::<usize>();
        let allocate: AllocateEx = transmute(slot.read_volatile());
        let any = ptr::null_mut();
        let _ = allocate(
            adapter,
            any,
            PAGE as ULONG,
            &raw mut logical,
            1,
            0x8000_0000,
        );
    }
    OK
}

fn common_buffer_of_unmapped_pages(request: &Request) -> Answer {
    let adapter = adapter(request);
    let mdl = mdl::pages(1);
    let mut logical = address(0);
    unsafe {
        let create = operation!(adapter, CreateCommonBufferFromMdl);
        let _ = create(adapter, mdl, ptr::null_mut(), 0, &raw mut logical);
    }
    mdl::free_pages(mdl);
    OK
}
