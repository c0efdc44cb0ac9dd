//! Adapter channels, map registers, and transfers mapped with them: rules V143 to V173.

use core::ptr;

use wdk_sys::{
    _IO_ALLOCATION_ACTION::{DeallocateObject, DeallocateObjectKeepRegisters, KeepObject},
    DEVICE_OBJECT, IO_ALLOCATION_ACTION, IRP, PDMA_ADAPTER, PHYSICAL_ADDRESS, PMDL, PVOID,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS, ULONG,
    ntddk::IoFreeMdl,
};

use crate::{
    control::{Answer, Fault, OK, Request},
    dma, mdl, pool,
    system::{APC, DEVICE, DISPATCH, PAGE, address, at_irql, operation, table},
};

pub(crate) const FAULTS: &[Fault] = &[
    (143, flush_of_too_many_bytes),
    (144, fragment_without_a_map_register),
    (148, map_registers_freed_wrongly),
    (154, second_channel),
    (156, transfer_not_flushed),
    (159, map_registers_freed_while_mapped),
    (162, map_registers_hoarded),
    (167, range_mapped_twice),
    (169, buffer_outside_the_first_mdl),
    (170, flush_of_nothing),
];

/// What a routine that gets map registers is told, and what it tells.
struct Channel {
    answer: IO_ALLOCATION_ACTION,
    base: PVOID,
}

/// A buffer of two pages that is mapped with map registers of an adapter.
struct Buffer {
    mdl: PMDL,
    block: *mut u8,
}

impl Buffer {
    fn new() -> Self {
        let block = pool::block(2 * PAGE);
        let mdl = mdl::nonpaged_mdl(block.cast(), 2 * PAGE);
        Self { mdl, block }
    }

    fn free(self) {
        unsafe { IoFreeMdl(self.mdl) };
        pool::free(self.block);
    }
}

unsafe extern "C" fn control(
    _: *mut DEVICE_OBJECT,
    _: *mut IRP,
    base: PVOID,
    context: PVOID,
) -> IO_ALLOCATION_ACTION {
    let channel = context.cast::<Channel>();
    unsafe {
        (*channel).base = base;
        (*channel).answer
    }
}

/// Map registers as the routine's answer leaves them; null if there are none. They come at once unless they are short.
fn allocate(
    request: &Request,
    adapter: PDMA_ADAPTER,
    registers: ULONG,
    answer: IO_ALLOCATION_ACTION,
) -> PVOID {
    let mut channel = Channel {
        answer,
        base: ptr::null_mut(),
    };
    let context = (&raw mut channel).cast();
    at_irql(DISPATCH, || unsafe {
        let device = (*request.extension).this;
        let allocate = operation!(adapter, AllocateAdapterChannel);
        let _ = allocate(adapter, device, registers, Some(control), context);
    });
    channel.base
}

fn free(adapter: PDMA_ADAPTER, base: PVOID, registers: ULONG) {
    at_irql(DISPATCH, || unsafe {
        operation!(adapter, FreeMapRegisters)(adapter, base, registers);
    });
}

fn free_channel(adapter: PDMA_ADAPTER) {
    at_irql(DISPATCH, || unsafe {
        operation!(adapter, FreeAdapterChannel)(adapter);
    });
}

/// Maps from an address on; the bytes that were mapped.
fn map(adapter: PDMA_ADAPTER, mdl: PMDL, base: PVOID, from: *mut u8, bytes: usize) -> ULONG {
    let mut length = bytes as ULONG;
    let _: PHYSICAL_ADDRESS = unsafe {
        let map = operation!(adapter, MapTransfer);
        map(adapter, mdl, base, from.cast(), &raw mut length, 1)
    };
    length
}

fn flush(adapter: PDMA_ADAPTER, mdl: PMDL, base: PVOID, from: *mut u8, bytes: usize) {
    unsafe {
        let flush = operation!(adapter, FlushAdapterBuffers);
        let _ = flush(adapter, mdl, base, from.cast(), bytes as ULONG, 1);
    }
}

/// A buffer mapped fragment by fragment, flushed, and the registers given back: by the routine, later, with the channel.
pub(crate) fn work(request: &Request, adapter: PDMA_ADAPTER) -> Answer {
    let _ = allocate(request, adapter, 2, DeallocateObject);
    let buffer = Buffer::new();
    for answer in [DeallocateObjectKeepRegisters, KeepObject] {
        let base = allocate(request, adapter, 2, answer);
        if base.is_null() {
            buffer.free();
            return Answer::Status(STATUS_INSUFFICIENT_RESOURCES);
        }
        let mut done = 0;
        while done < 2 * PAGE {
            let from = buffer.block.wrapping_add(done);
            let mapped = map(adapter, buffer.mdl, base, from, 2 * PAGE - done);
            if mapped == 0 {
                break;
            }
            done += mapped as usize;
        }
        flush(adapter, buffer.mdl, base, buffer.block, done);
        if answer == KeepObject {
            free_channel(adapter);
        } else {
            free(adapter, base, 2);
        }
    }
    buffer.free();
    if table(adapter).Size >= TABLE_OF_WINDOWS_8 {
        ex_work(request, adapter);
    }
    OK
}

/// The size of the first table of Windows 10.
const TABLE_OF_WINDOWS_10: ULONG = 272;
/// The size of the table of Windows 8.
const TABLE_OF_WINDOWS_8: ULONG = 232;
/// `DMA_SYNCHRONOUS_CALLBACK`.
const SYNCHRONOUS: ULONG = 1;
/// `DMA_TRANSFER_CONTEXT_SIZE_V1`.
const CONTEXT: usize = 128;
/// A list with room for two elements.
const LIST: usize = 16 + 2 * 24;

/// Map registers without a routine, and the context and the list that go with them.
struct Synchronous {
    context: *mut u8,
    list: *mut u8,
    base: PVOID,
}

impl Synchronous {
    fn new(request: &Request, adapter: PDMA_ADAPTER) -> Self {
        let (context, list) = (pool::block(CONTEXT), pool::block(LIST));
        let mut base: PVOID = ptr::null_mut();
        let nothing: PVOID = ptr::null_mut();
        at_irql(DISPATCH, || unsafe {
            let _ = operation!(adapter, InitializeDmaTransferContext)(adapter, context.cast());
            let allocate = operation!(adapter, AllocateAdapterChannelEx);
            let device = (*request.extension).pdo;
            let _ = allocate(
                adapter,
                device,
                context.cast(),
                2,
                SYNCHRONOUS,
                None,
                nothing,
                &raw mut base,
            );
        });
        Self {
            context,
            list,
            base,
        }
    }

    /// Maps a page of a buffer from an offset on.
    fn map(&self, adapter: PDMA_ADAPTER, buffer: &Buffer, offset: usize) {
        let mut length = PAGE as ULONG;
        unsafe {
            let map = operation!(adapter, MapTransferEx);
            let _ = map(
                adapter,
                buffer.mdl,
                self.base,
                offset as u64,
                0,
                &raw mut length,
                1,
                self.list.cast(),
                LIST as ULONG,
                None,
                ptr::null_mut(),
            );
        }
    }

    fn flush(&self, adapter: PDMA_ADAPTER, buffer: &Buffer, offset: usize) {
        unsafe {
            let flush = operation!(adapter, FlushAdapterBuffersEx);
            let bytes = PAGE as ULONG;
            let _ = flush(adapter, buffer.mdl, self.base, offset as u64, bytes, 1);
        }
    }

    fn free(self, adapter: PDMA_ADAPTER) {
        unsafe { operation!(adapter, FreeAdapterObject)(adapter, DeallocateObject) };
        pool::free(self.context);
        pool::free(self.list);
    }
}

fn ex_work(request: &Request, adapter: PDMA_ADAPTER) {
    let registers = Synchronous::new(request, adapter);
    let buffer = Buffer::new();
    let is_new = table(adapter).Size >= TABLE_OF_WINDOWS_10;
    for offset in [0, PAGE] {
        registers.map(adapter, &buffer, offset);
        if is_new {
            // Towards the device, as the buffer is mapped for.
            unsafe { operation!(adapter, FlushDmaBuffer)(adapter, buffer.mdl, 0) };
        }
        registers.flush(adapter, &buffer, offset);
    }
    registers.map(adapter, &buffer, 0);
    unsafe { operation!(adapter, CancelMappedTransfer)(adapter, registers.context.cast()) };
    registers.flush(adapter, &buffer, 0);
    unsafe {
        let _ = operation!(adapter, ReadDmaCounter)(adapter);
        let _ = operation!(adapter, ConfigureAdapterChannel)(adapter, 1, ptr::null_mut());
    }
    registers.free(adapter);
    buffer.free();
    if is_new {
        domain_work(adapter);
    }
}

/// A buffer of the adapter's domain, which is none without an IOMMU.
fn domain_work(adapter: PDMA_ADAPTER) {
    unsafe {
        let domain = operation!(adapter, GetDmaDomain)(adapter);
        if domain.is_null() {
            return;
        }
        let (mut logical, mut memory) = (address(0), ptr::null_mut());
        let allocate = operation!(adapter, AllocateDomainCommonBuffer);
        let bytes = PAGE as ULONG;
        let (any, any_node) = (ptr::null_mut(), 0x8000_0000);
        let status = allocate(
            adapter,
            domain,
            any,
            bytes,
            0,
            ptr::null_mut(),
            any_node,
            &raw mut logical,
            &raw mut memory,
        );
        if status == STATUS_SUCCESS {
            operation!(adapter, FreeCommonBuffer)(adapter, bytes, logical, memory, 1);
        }
        if operation!(adapter, JoinDmaDomain)(adapter, domain) == STATUS_SUCCESS {
            let _ = operation!(adapter, LeaveDmaDomain)(adapter);
        }
    }
}

/// Registers that are kept and a buffer of which the first page is mapped with them, for a fault; then all is given back.
fn with_mapped_page(request: &Request, fault: impl FnOnce(PDMA_ADAPTER, &Buffer, PVOID)) -> Answer {
    let adapter = dma::adapter(request);
    let buffer = Buffer::new();
    let base = allocate(request, adapter, 2, DeallocateObjectKeepRegisters);
    map(adapter, buffer.mdl, base, buffer.block, PAGE);
    fault(adapter, &buffer, base);
    flush(adapter, buffer.mdl, base, buffer.block, PAGE);
    free(adapter, base, 2);
    buffer.free();
    OK
}

fn flush_of_too_many_bytes(request: &Request) -> Answer {
    with_mapped_page(request, |adapter, buffer, base| {
        flush(adapter, buffer.mdl, base, buffer.block, 2 * PAGE);
    })
}

pub(crate) fn flush_of_another_buffer(request: &Request) -> Answer {
    with_mapped_page(request, |adapter, _, base| {
        let other = Buffer::new();
        flush(adapter, other.mdl, base, other.block, PAGE);
        other.free();
    })
}

fn range_mapped_twice(request: &Request) -> Answer {
    with_mapped_page(request, |adapter, buffer, base| {
        map(adapter, buffer.mdl, base, buffer.block, PAGE);
    })
}

/// Another fragment, for which the registers of the first do not suffice.
fn fragment_without_a_map_register(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let buffer = Buffer::new();
    let base = allocate(request, adapter, 1, DeallocateObjectKeepRegisters);
    let second = buffer.block.wrapping_add(PAGE);
    map(adapter, buffer.mdl, base, buffer.block, PAGE);
    map(adapter, buffer.mdl, base, second, PAGE);
    flush(adapter, buffer.mdl, base, buffer.block, PAGE);
    free(adapter, base, 1);
    buffer.free();
    OK
}

/// Before its first byte (variant 0), behind its last (1), beyond its end (2).
fn buffer_outside_the_first_mdl(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let buffer = Buffer::new();
    let base = allocate(request, adapter, 4, DeallocateObjectKeepRegisters);
    let (from, bytes) = match request.variant {
        0 => (buffer.block.wrapping_sub(PAGE), PAGE),
        1 => (buffer.block.wrapping_add(2 * PAGE), PAGE),
        _ => (buffer.block.wrapping_add(PAGE), 2 * PAGE),
    };
    map(adapter, buffer.mdl, base, from, bytes);
    free(adapter, base, 4);
    buffer.free();
    OK
}

/// `MapTransfer` with NULL for the place of the length.
pub(crate) fn transfer_without_a_length(request: &Request) -> Answer {
    with_mapped_page(request, |adapter, buffer, base| {
        let nowhere: *mut ULONG = ptr::null_mut();
        let _: PHYSICAL_ADDRESS = unsafe {
            let map = operation!(adapter, MapTransfer);
            let from = buffer.block.wrapping_add(PAGE).cast();
            map(adapter, buffer.mdl, base, from, nowhere, 1)
        };
    })
}

fn flush_of_nothing(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let buffer = Buffer::new();
    let base = allocate(request, adapter, 1, DeallocateObjectKeepRegisters);
    flush(adapter, buffer.mdl, base, buffer.block, PAGE);
    free(adapter, base, 1);
    buffer.free();
    OK
}

/// Twice (variant 0), one less than there are (1), those of a channel that is kept (2).
fn map_registers_freed_wrongly(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    if request.variant == 2 {
        let base = allocate(request, adapter, 2, KeepObject);
        free(adapter, base, 2);
        free_channel(adapter);
        return OK;
    }
    let base = allocate(request, adapter, 2, DeallocateObjectKeepRegisters);
    if request.variant == 1 {
        free(adapter, base, 1);
        free(adapter, base, 2);
    } else {
        free(adapter, base, 2);
        free(adapter, base, 2);
    }
    OK
}

/// Mapped registers: of the routine's own (variant 0), and by its answer (1).
fn map_registers_freed_while_mapped(request: &Request) -> Answer {
    unsafe extern "C" fn map_and_free(
        _: *mut DEVICE_OBJECT,
        _: *mut IRP,
        base: PVOID,
        context: PVOID,
    ) -> IO_ALLOCATION_ACTION {
        let (adapter, buffer) = unsafe { context.cast::<(PDMA_ADAPTER, Buffer)>().as_ref() }
            .map_or((ptr::null_mut(), None), |(adapter, buffer)| {
                (*adapter, Some(buffer))
            });
        if let Some(buffer) = buffer {
            map(adapter, buffer.mdl, base, buffer.block, PAGE);
        }
        DeallocateObject
    }
    let adapter = dma::adapter(request);
    let mut work = (adapter, Buffer::new());
    if request.variant == 0 {
        let base = allocate(request, adapter, 1, DeallocateObjectKeepRegisters);
        map(adapter, work.1.mdl, base, work.1.block, PAGE);
        free(adapter, base, 1);
    } else {
        let context = (&raw mut work).cast();
        at_irql(DISPATCH, || unsafe {
            let device = (*request.extension).this;
            let allocate = operation!(adapter, AllocateAdapterChannel);
            let _ = allocate(adapter, device, 1, Some(map_and_free), context);
        });
    }
    work.1.free();
    OK
}

/// Before the channel goes (variant 0), before the next transfer (1), before the adapter object goes (2).
fn transfer_not_flushed(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let buffer = Buffer::new();
    if request.variant == 0 {
        let base = allocate(request, adapter, 1, KeepObject);
        map(adapter, buffer.mdl, base, buffer.block, PAGE);
        free_channel(adapter);
    } else {
        let registers = Synchronous::new(request, adapter);
        registers.map(adapter, &buffer, 0);
        if request.variant == 1 {
            registers.map(adapter, &buffer, PAGE);
            registers.flush(adapter, &buffer, 0);
        }
        registers.free(adapter);
    }
    buffer.free();
    OK
}

fn second_channel(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let first = allocate(request, adapter, 1, KeepObject);
    let second = allocate(request, adapter, 1, DeallocateObject);
    debug_assert!(!first.is_null() && second.is_null());
    free_channel(adapter);
    OK
}

/// All registers that a transfer may have, kept, and one more.
fn map_registers_hoarded(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let most = unsafe { (*request.extension).map_registers };
    let base = allocate(request, adapter, most, DeallocateObjectKeepRegisters);
    let _ = allocate(request, adapter, 1, DeallocateObject);
    free(adapter, base, most);
    OK
}

pub(crate) fn channel_freed_too_often(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let _ = allocate(request, adapter, 1, KeepObject);
    free_channel(adapter);
    free_channel(adapter);
    OK
}

/// With a channel and its registers (variant 1), with a transfer mapped as well (2).
pub(crate) fn adapter_put_with_a_channel(request: &Request) -> Answer {
    let adapter = dma::second_adapter(request);
    let base = allocate(request, adapter, 1, KeepObject);
    let buffer = Buffer::new();
    if request.variant == 2 {
        map(adapter, buffer.mdl, base, buffer.block, PAGE);
    }
    dma::put(adapter);
    buffer.free();
    OK
}

/// A flush above `DISPATCH_LEVEL` (variant 1), a domain above `PASSIVE_LEVEL` (2).
pub(crate) fn member_at_a_wrong_irql(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    if request.variant == 1 {
        return with_mapped_page(request, |adapter, buffer, base| {
            at_irql(DEVICE, || {
                flush(adapter, buffer.mdl, base, buffer.block, PAGE);
            });
            map(adapter, buffer.mdl, base, buffer.block, PAGE);
        });
    }
    at_irql(APC, || unsafe {
        let _ = operation!(adapter, GetDmaDomain)(adapter);
    });
    OK
}

pub(crate) fn channel_below_dispatch(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let mut channel = Channel {
        answer: DeallocateObject,
        base: ptr::null_mut(),
    };
    let context = (&raw mut channel).cast();
    unsafe {
        let device = (*request.extension).this;
        let allocate = operation!(adapter, AllocateAdapterChannel);
        let _ = allocate(adapter, device, 1, Some(control), context);
    }
    OK
}

/// Maps a page (variant 0) or a hundred bytes of it (2) and answers with the logical address; flushes them (1, 3) and gives
/// all back. The stash holds it meanwhile.
pub(crate) fn mapped_page(request: &Request) -> Answer {
    let adapter = dma::adapter(request);
    let stash = unsafe { &raw mut (*request.extension).stash };
    let bytes = if request.variant < 2 { PAGE } else { 100 };
    if request.variant.is_multiple_of(2) {
        let buffer = Buffer::new();
        let base = allocate(request, adapter, 1, DeallocateObjectKeepRegisters);
        let mut length = bytes as ULONG;
        let logical = unsafe {
            let map = operation!(adapter, MapTransfer);
            let from = buffer.block.cast();
            map(adapter, buffer.mdl, base, from, &raw mut length, 1).QuadPart
        };
        unsafe {
            *stash = [
                buffer.mdl as usize,
                buffer.block as usize,
                base as usize,
                0,
                0,
                0,
            ];
        };
        return request.answer(logical as usize);
    }
    let [mdl, block, base, ..] = unsafe { *stash };
    let (mdl, block) = (mdl as PMDL, block as *mut u8);
    flush(adapter, mdl, base as PVOID, block, bytes);
    free(adapter, base as PVOID, 1);
    Buffer { mdl, block }.free();
    OK
}

/// Asks for a channel (variant 0) whose routine keeps nothing; answers how often it has run (1). Asks with a context, and
/// cancels the request: answers whether that was in time (2).
pub(crate) fn waiting_channel(request: &Request) -> Answer {
    unsafe extern "C" fn count(
        _: *mut DEVICE_OBJECT,
        _: *mut IRP,
        _: PVOID,
        context: PVOID,
    ) -> IO_ALLOCATION_ACTION {
        unsafe { *context.cast::<usize>() += 1 };
        DeallocateObject
    }
    let adapter = dma::adapter(request);
    let counter = unsafe { (&raw mut (*request.extension).stash).cast::<usize>() };
    if request.variant == 0 {
        at_irql(DISPATCH, || unsafe {
            let device = (*request.extension).this;
            let allocate = operation!(adapter, AllocateAdapterChannel);
            let _ = allocate(adapter, device, 1, Some(count), counter.cast());
        });
        return OK;
    }
    if request.variant == 1 {
        return request.answer(unsafe { *counter });
    }
    let context = pool::block(CONTEXT);
    let cancelled = unsafe {
        let device = (*request.extension).pdo;
        let _ = operation!(adapter, InitializeDmaTransferContext)(adapter, context.cast());
        at_irql(DISPATCH, || {
            let allocate = operation!(adapter, AllocateAdapterChannelEx);
            let (routine, nowhere) = (Some(count as _), ptr::null_mut());
            let context = context.cast();
            let _ = allocate(
                adapter,
                device,
                context,
                1,
                0,
                routine,
                counter.cast(),
                nowhere,
            );
        });
        operation!(adapter, CancelAdapterChannel)(adapter, device, context.cast())
    };
    pool::free(context);
    request.answer(usize::from(cancelled))
}
