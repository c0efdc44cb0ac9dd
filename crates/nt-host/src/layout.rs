//! Offsets of the kernel structures that driver and host share, x64.

/// Interrupt request packet.
pub mod irp {
    /// `Type`, 6.
    pub const TYPE: u64 = 0;
    /// `Size`.
    pub const SIZE: u64 = 2;
    /// `MdlAddress`.
    pub const MDL_ADDRESS: u64 = 8;
    /// `Flags`.
    pub const FLAGS: u64 = 16;
    /// `AssociatedIrp.SystemBuffer`.
    pub const SYSTEM_BUFFER: u64 = 24;
    /// `ThreadListEntry`.
    pub const THREAD_LIST_ENTRY: u64 = 32;
    /// `IoStatus.Status`.
    pub const STATUS: u64 = 48;
    /// `IoStatus.Information`.
    pub const INFORMATION: u64 = 56;
    /// `RequestorMode`.
    pub const REQUESTOR_MODE: u64 = 64;
    /// `PendingReturned`.
    pub const PENDING_RETURNED: u64 = 65;
    /// `StackCount`.
    pub const STACK_COUNT: u64 = 66;
    /// `CurrentLocation`.
    pub const CURRENT_LOCATION: u64 = 67;
    /// `Cancel`.
    pub const CANCEL: u64 = 68;
    /// `CancelIrql`.
    pub const CANCEL_IRQL: u64 = 69;
    /// `CancelRoutine`.
    pub const CANCEL_ROUTINE: u64 = 104;
    /// `UserBuffer`.
    pub const USER_BUFFER: u64 = 112;
    /// `Tail.Overlay.DriverContext[0]`.
    pub const DRIVER_CONTEXT: u64 = 120;
    /// `Tail.Overlay.Thread`.
    pub const THREAD: u64 = 152;
    /// `Tail.Overlay.CurrentStackLocation`.
    pub const CURRENT_STACK_LOCATION: u64 = 184;
    /// `Tail.Overlay.OriginalFileObject`.
    pub const ORIGINAL_FILE_OBJECT: u64 = 192;
    /// The first stack location.
    pub const STACK: u64 = 208;
    /// The type number.
    pub const TYPE_IRP: u16 = 6;
}

/// I/O stack location.
pub mod stack {
    /// The structure's size.
    pub const SIZE: u64 = 72;
    /// `MajorFunction`.
    pub const MAJOR: u64 = 0;
    /// `MinorFunction`.
    pub const MINOR: u64 = 1;
    /// `Control`.
    pub const CONTROL: u64 = 3;
    /// `Parameters`, 32 bytes.
    pub const PARAMETERS: u64 = 8;
    /// `DeviceObject`.
    pub const DEVICE_OBJECT: u64 = 40;
    /// `FileObject`.
    pub const FILE_OBJECT: u64 = 48;
    /// `CompletionRoutine`.
    pub const COMPLETION_ROUTINE: u64 = 56;
    /// `Context`.
    pub const CONTEXT: u64 = 64;
    /// `SL_PENDING_RETURNED` of `Control`.
    pub const PENDING_RETURNED: u8 = 0x01;
    /// `SL_INVOKE_ON_CANCEL` of `Control`.
    pub const INVOKE_ON_CANCEL: u8 = 0x20;
    /// `SL_INVOKE_ON_SUCCESS` of `Control`.
    pub const INVOKE_ON_SUCCESS: u8 = 0x40;
    /// `SL_INVOKE_ON_ERROR` of `Control`.
    pub const INVOKE_ON_ERROR: u8 = 0x80;
}

/// Device object.
pub mod device {
    /// The size that Windows allocates before the extension.
    pub const SIZE: u64 = 336;
    /// The type number.
    pub const TYPE_DEVICE: u16 = 3;
    /// `ReferenceCount`.
    pub const REFERENCE_COUNT: u64 = 4;
    /// `DriverObject`.
    pub const DRIVER_OBJECT: u64 = 8;
    /// `NextDevice`.
    pub const NEXT_DEVICE: u64 = 16;
    /// `AttachedDevice`.
    pub const ATTACHED_DEVICE: u64 = 24;
    /// `Flags`.
    pub const FLAGS: u64 = 48;
    /// `Characteristics`.
    pub const CHARACTERISTICS: u64 = 52;
    /// `DeviceExtension`.
    pub const DEVICE_EXTENSION: u64 = 64;
    /// `DeviceType`.
    pub const DEVICE_TYPE: u64 = 72;
    /// `StackSize`.
    pub const STACK_SIZE: u64 = 76;
    /// `AlignmentRequirement`.
    pub const ALIGNMENT: u64 = 152;
    /// `DO_BUFFERED_IO`.
    pub const BUFFERED_IO: u32 = 0x4;
    /// `DO_DIRECT_IO`.
    pub const DIRECT_IO: u32 = 0x10;
    /// `DO_DEVICE_HAS_NAME`.
    pub const HAS_NAME: u32 = 0x40;
    /// `DO_DEVICE_INITIALIZING`.
    pub const INITIALIZING: u32 = 0x80;
    /// `DO_BUS_ENUMERATED_DEVICE`.
    pub const BUS_ENUMERATED: u32 = 0x1000;
    /// `DO_POWER_PAGABLE`.
    pub const POWER_PAGABLE: u32 = 0x2000;
    /// `DO_POWER_INRUSH`.
    pub const POWER_INRUSH: u32 = 0x4000;
}

/// Driver object and its extension.
pub mod driver {
    /// The structure's size.
    pub const SIZE: u64 = 336;
    /// The type number.
    pub const TYPE_DRIVER: u16 = 4;
    /// `DeviceObject`: the head of the list of its devices.
    pub const DEVICE_OBJECT: u64 = 8;
    /// `DriverStart`.
    pub const DRIVER_START: u64 = 24;
    /// `DriverSize`.
    pub const DRIVER_SIZE: u64 = 32;
    /// `DriverExtension`.
    pub const DRIVER_EXTENSION: u64 = 48;
    /// `DriverName`.
    pub const DRIVER_NAME: u64 = 56;
    /// `DriverInit`.
    pub const DRIVER_INIT: u64 = 88;
    /// `DriverUnload`.
    pub const DRIVER_UNLOAD: u64 = 104;
    /// `MajorFunction`, 28 of them.
    pub const MAJOR_FUNCTION: u64 = 112;
    /// `DRIVER_EXTENSION`'s size.
    pub const EXTENSION_SIZE: u64 = 40;
    /// `DRIVER_EXTENSION.AddDevice`.
    pub const ADD_DEVICE: u64 = 8;
    /// `DRIVER_EXTENSION.ServiceKeyName`.
    pub const SERVICE_KEY_NAME: u64 = 24;
}

/// File object.
pub mod file {
    /// The structure's size.
    pub const SIZE: u64 = 216;
    /// The type number.
    pub const TYPE_FILE: u16 = 5;
    /// `DeviceObject`.
    pub const DEVICE_OBJECT: u64 = 8;
    /// `ReadAccess`.
    pub const READ_ACCESS: u64 = 74;
    /// `WriteAccess`.
    pub const WRITE_ACCESS: u64 = 75;
    /// `Flags`.
    pub const FLAGS: u64 = 80;
    /// `FileName`.
    pub const FILE_NAME: u64 = 88;
}

/// Major function codes.
pub mod major {
    /// `IRP_MJ_CREATE`.
    pub const CREATE: u8 = 0;
    /// `IRP_MJ_CLOSE`.
    pub const CLOSE: u8 = 2;
    /// `IRP_MJ_READ`.
    pub const READ: u8 = 3;
    /// `IRP_MJ_WRITE`.
    pub const WRITE: u8 = 4;
    /// `IRP_MJ_DEVICE_CONTROL`.
    pub const DEVICE_CONTROL: u8 = 0x0E;
    /// `IRP_MJ_INTERNAL_DEVICE_CONTROL`.
    pub const INTERNAL_DEVICE_CONTROL: u8 = 0x0F;
    /// `IRP_MJ_CLEANUP`.
    pub const CLEANUP: u8 = 0x12;
    /// `IRP_MJ_POWER`.
    pub const POWER: u8 = 0x16;
    /// `IRP_MJ_SYSTEM_CONTROL`.
    pub const SYSTEM_CONTROL: u8 = 0x17;
    /// `IRP_MJ_PNP`.
    pub const PNP: u8 = 0x1B;
    /// The number of slots.
    pub const COUNT: u64 = 28;
}
