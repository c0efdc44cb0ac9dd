//! Sizes and field offsets of the structures that a WDM driver for DMA shares with the system, in bytes, x64.
//!
//! The figures are documented ones or read off the public headers; a mismatch does not compile.

use core::mem::{offset_of, size_of};

use wdk_sys::{
    DEVICE_DESCRIPTION, DEVICE_OBJECT, DMA_ADAPTER, DMA_OPERATIONS, DRIVER_OBJECT, FILE_OBJECT,
    IO_STACK_LOCATION, IRP, MDL, SCATTER_GATHER_LIST,
};

macro_rules! layout {
    ($type:ty, $size:literal, { $($($field:tt).+ => $offset:literal),+ $(,)? }) => {
        const _: () = assert!(size_of::<$type>() == $size);
        $(const _: () = assert!(offset_of!($type, $($field).+) == $offset);)+
    };
}

layout!(DEVICE_DESCRIPTION, 64, {
    Version => 0, Master => 4, ScatterGather => 5, DemandMode => 6, AutoInitialize => 7, Dma32BitAddresses => 8,
    IgnoreCount => 9, Reserved1 => 10, Dma64BitAddresses => 11, BusNumber => 12, DmaChannel => 16, InterfaceType => 20,
    DmaWidth => 24, DmaSpeed => 28, MaximumLength => 32, DmaPort => 36, DmaAddressWidth => 40,
    DmaControllerInstance => 44, DmaRequestLine => 48, DeviceAddress => 56,
});

layout!(DMA_ADAPTER, 16, { Version => 0, Size => 2, DmaOperations => 8 });

layout!(DMA_OPERATIONS, 320, {
    Size => 0, PutDmaAdapter => 8, AllocateCommonBuffer => 16, FreeCommonBuffer => 24, AllocateAdapterChannel => 32,
    FlushAdapterBuffers => 40, FreeAdapterChannel => 48, FreeMapRegisters => 56, MapTransfer => 64,
    GetDmaAlignment => 72, ReadDmaCounter => 80, GetScatterGatherList => 88, PutScatterGatherList => 96,
    // Version 2.
    CalculateScatterGatherList => 104, BuildScatterGatherList => 112, BuildMdlFromScatterGatherList => 120,
    // Version 3: Windows 8.
    GetDmaAdapterInfo => 128, GetDmaTransferInfo => 136, InitializeDmaTransferContext => 144,
    AllocateCommonBufferEx => 152, AllocateAdapterChannelEx => 160, ConfigureAdapterChannel => 168,
    CancelAdapterChannel => 176, MapTransferEx => 184, GetScatterGatherListEx => 192, BuildScatterGatherListEx => 200,
    FlushAdapterBuffersEx => 208, FreeAdapterObject => 216, CancelMappedTransfer => 224,
    // Windows 10.
    AllocateDomainCommonBuffer => 232, FlushDmaBuffer => 240, JoinDmaDomain => 248, LeaveDmaDomain => 256,
    GetDmaDomain => 264,
    // Windows 10, versions 1803 and 1903; Windows Server 2022.
    AllocateCommonBufferWithBounds => 272, AllocateCommonBufferVector => 280,
    GetCommonBufferFromVectorByIndex => 288, FreeCommonBufferFromVector => 296, FreeCommonBufferVector => 304,
    CreateCommonBufferFromMdl => 312,
});

layout!(MDL, 48, {
    Next => 0, Size => 8, MdlFlags => 10, Process => 16, MappedSystemVa => 24, StartVa => 32, ByteCount => 40,
    ByteOffset => 44,
});

layout!(IRP, 208, {
    Type => 0, Size => 2, MdlAddress => 8, Flags => 16, AssociatedIrp => 24, ThreadListEntry => 32, IoStatus => 48,
    RequestorMode => 64, PendingReturned => 65, StackCount => 66, CurrentLocation => 67, Cancel => 68, CancelIrql => 69,
    ApcEnvironment => 70, AllocationFlags => 71, UserIosb => 72, UserEvent => 80, Overlay => 88, CancelRoutine => 104,
    UserBuffer => 112, Tail => 120,
});

layout!(IO_STACK_LOCATION, 72, {
    MajorFunction => 0, MinorFunction => 1, Flags => 2, Control => 3, Parameters => 8,
    Parameters.DeviceIoControl.OutputBufferLength => 8, Parameters.DeviceIoControl.InputBufferLength => 16,
    Parameters.DeviceIoControl.IoControlCode => 24, Parameters.DeviceIoControl.Type3InputBuffer => 32,
    DeviceObject => 40, FileObject => 48, CompletionRoutine => 56, Context => 64,
});

layout!(DEVICE_OBJECT, 336, {
    Type => 0, Size => 2, ReferenceCount => 4, DriverObject => 8, NextDevice => 16, AttachedDevice => 24,
    CurrentIrp => 32, Timer => 40, Flags => 48, Characteristics => 52, Vpb => 56, DeviceExtension => 64,
    DeviceType => 72, StackSize => 76, Queue => 80, AlignmentRequirement => 152, DeviceQueue => 160, Dpc => 200,
    ActiveThreadCount => 264, SecurityDescriptor => 272, DeviceLock => 280, SectorSize => 304,
    DeviceObjectExtension => 312, Reserved => 320,
});

layout!(DRIVER_OBJECT, 336, {
    Type => 0, Size => 2, DeviceObject => 8, Flags => 16, DriverStart => 24, DriverSize => 32, DriverSection => 40,
    DriverExtension => 48, DriverName => 56, HardwareDatabase => 72, FastIoDispatch => 80, DriverInit => 88,
    DriverStartIo => 96, DriverUnload => 104, MajorFunction => 112,
});

layout!(FILE_OBJECT, 216, {
    Type => 0, Size => 2, DeviceObject => 8, Vpb => 16, FsContext => 24, FsContext2 => 32, SectionObjectPointer => 40,
    PrivateCacheMap => 48, FinalStatus => 56, RelatedFileObject => 64, LockOperation => 72, DeletePending => 73,
    ReadAccess => 74, WriteAccess => 75, DeleteAccess => 76, SharedRead => 77, SharedWrite => 78, SharedDelete => 79,
    Flags => 80, FileName => 88, CurrentByteOffset => 104, Waiters => 112, Busy => 116, LastLock => 120, Lock => 128,
    Event => 152, CompletionContext => 176, IrpListLock => 184, IrpList => 192, FileObjectExtension => 208,
});

// A list with one element, as the header declares it with a flexible tail: 16 bytes and 24 for each element.
const _: () = assert!(offset_of!(SCATTER_GATHER_LIST, NumberOfElements) == 0);
const _: () = assert!(offset_of!(SCATTER_GATHER_LIST, Elements) == 16);
const _: () = assert!(size_of::<wdk_sys::SCATTER_GATHER_ELEMENT>() == 24);
