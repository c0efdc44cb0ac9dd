//! The members of the adapter's table as functions, and what they read and write.

use core::{ffi::c_void, mem::offset_of};

use wdk_sys::{DEVICE_OBJECT, DMA_ADAPTER, HANDLE, IRP, MDL};

/// A `PHYSICAL_ADDRESS`: eight bytes, passed and returned in a register.
pub(super) type Address = u64;
/// What tells the map registers of one allocation. May be null.
pub(super) type Base = *mut c_void;
type Adapter = *mut DMA_ADAPTER;
type Device = *mut DEVICE_OBJECT;
type Completion = *const c_void;

/// A `DRIVER_CONTROL`; it returns an `IO_ALLOCATION_ACTION`.
pub(super) type Control = unsafe extern "C" fn(Device, *mut IRP, Base, *mut c_void) -> i32;
/// A `DRIVER_LIST_CONTROL`.
pub(super) type ListControl = unsafe extern "C" fn(Device, *mut IRP, *mut List, *mut c_void);

pub(super) type Put = unsafe extern "C" fn(Adapter);
pub(super) type Allocate = unsafe extern "C" fn(Adapter, u32, *mut Address, u8) -> *mut c_void;
pub(super) type Free = unsafe extern "C" fn(Adapter, u32, Address, *mut c_void, u8);
pub(super) type AllocateChannel =
    unsafe extern "C" fn(Adapter, Device, u32, Option<Control>, *mut c_void) -> i32;
pub(super) type FlushBuffers =
    unsafe extern "C" fn(Adapter, *mut MDL, Base, *mut c_void, u32, u8) -> u8;
pub(super) type FreeChannel = unsafe extern "C" fn(Adapter);
pub(super) type FreeRegisters = unsafe extern "C" fn(Adapter, Base, u32);
pub(super) type MapTransfer =
    unsafe extern "C" fn(Adapter, *mut MDL, Base, *mut c_void, *mut u32, u8) -> Address;
pub(super) type GetNumber = unsafe extern "C" fn(Adapter) -> u32;
pub(super) type GetList = unsafe extern "C" fn(
    Adapter,
    Device,
    *mut MDL,
    *mut c_void,
    u32,
    Option<ListControl>,
    *mut c_void,
    u8,
) -> i32;
pub(super) type PutList = unsafe extern "C" fn(Adapter, *mut List, u8);

pub(super) type CalculateList =
    unsafe extern "C" fn(Adapter, *mut MDL, *mut c_void, u32, *mut u32, *mut u32) -> i32;
pub(super) type BuildList = unsafe extern "C" fn(
    Adapter,
    Device,
    *mut MDL,
    *mut c_void,
    u32,
    Option<ListControl>,
    *mut c_void,
    u8,
    *mut c_void,
    u32,
) -> i32;
pub(super) type BuildMdl = unsafe extern "C" fn(Adapter, *mut List, *mut MDL, *mut *mut MDL) -> i32;

pub(super) type GetInfo = unsafe extern "C" fn(Adapter, *mut AdapterInfoRecord) -> i32;
pub(super) type GetTransferInfo =
    unsafe extern "C" fn(Adapter, *mut MDL, u64, u32, u8, *mut TransferInfoRecord) -> i32;
pub(super) type InitializeContext = unsafe extern "C" fn(Adapter, *mut c_void) -> i32;
pub(super) type AllocateEx =
    unsafe extern "C" fn(Adapter, *mut Address, u32, *mut Address, u8, u32) -> *mut c_void;
pub(super) type AllocateChannelEx = unsafe extern "C" fn(
    Adapter,
    Device,
    *mut c_void,
    u32,
    u32,
    Option<Control>,
    *mut c_void,
    *mut Base,
) -> i32;
pub(super) type ConfigureChannel = unsafe extern "C" fn(Adapter, u32, *mut c_void) -> i32;
pub(super) type CancelChannel = unsafe extern "C" fn(Adapter, Device, *mut c_void) -> u8;
pub(super) type MapTransferEx = unsafe extern "C" fn(
    Adapter,
    *mut MDL,
    Base,
    u64,
    u32,
    *mut u32,
    u8,
    *mut List,
    u32,
    Completion,
    *mut c_void,
) -> i32;
pub(super) type GetListEx = unsafe extern "C" fn(
    Adapter,
    Device,
    *mut c_void,
    *mut MDL,
    u64,
    u32,
    u32,
    Option<ListControl>,
    *mut c_void,
    u8,
    Completion,
    *mut c_void,
    *mut *mut List,
) -> i32;
pub(super) type BuildListEx = unsafe extern "C" fn(
    Adapter,
    Device,
    *mut c_void,
    *mut MDL,
    u64,
    u32,
    u32,
    Option<ListControl>,
    *mut c_void,
    u8,
    *mut c_void,
    u32,
    Completion,
    *mut c_void,
    *mut *mut List,
) -> i32;
pub(super) type FlushBuffersEx = unsafe extern "C" fn(Adapter, *mut MDL, Base, u64, u32, u8) -> i32;
pub(super) type FreeObject = unsafe extern "C" fn(Adapter, i32);
pub(super) type CancelTransfer = unsafe extern "C" fn(Adapter, *mut c_void) -> i32;

pub(super) type AllocateInDomain = unsafe extern "C" fn(
    Adapter,
    HANDLE,
    *mut Address,
    u32,
    u32,
    *mut i32,
    u32,
    *mut Address,
    *mut *mut c_void,
) -> i32;
pub(super) type FlushDma = unsafe extern "C" fn(Adapter, *mut MDL, u8) -> i32;
pub(super) type JoinDomain = unsafe extern "C" fn(Adapter, HANDLE) -> i32;
pub(super) type LeaveDomain = unsafe extern "C" fn(Adapter) -> i32;
pub(super) type GetDomain = unsafe extern "C" fn(Adapter) -> HANDLE;
pub(super) type AllocateWithBounds = unsafe extern "C" fn(
    Adapter,
    *mut Address,
    *mut Address,
    u32,
    u32,
    *mut i32,
    u32,
    *mut Address,
) -> *mut c_void;
pub(super) type AllocateVector = unsafe extern "C" fn(
    Adapter,
    Address,
    Address,
    i32,
    u32,
    u32,
    u32,
    u64,
    *mut *mut Vector,
) -> i32;
pub(super) type GetElement =
    unsafe extern "C" fn(Adapter, *mut Vector, u32, *mut *mut c_void, *mut Address);
pub(super) type FreeElement = unsafe extern "C" fn(Adapter, *mut Vector, u32);
pub(super) type FreeVector = unsafe extern "C" fn(Adapter, *mut Vector);
pub(super) type CreateFromMdl =
    unsafe extern "C" fn(Adapter, *mut MDL, *mut ExtendedConfiguration, u32, *mut Address) -> i32;

/// A `DMA_COMMON_BUFFER_VECTOR`, of which nothing is known.
#[repr(C)]
pub(super) struct Vector([u8; 0]);

/// A `SCATTER_GATHER_LIST` with its first element.
#[repr(C)]
pub(super) struct List {
    pub(super) count: u32,
    reserved: usize,
    pub(super) first: Element,
}

/// A `SCATTER_GATHER_ELEMENT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub(super) address: Address,
    pub(super) length: u32,
    pub(super) reserved: usize,
}

const _: () = assert!(size_of::<Element>() == 24);
const _: () = assert!(offset_of!(List, first) == 16);

/// A `DMA_ADAPTER_INFO` of version 1.
#[repr(C)]
#[derive(Default)]
pub(super) struct AdapterInfoRecord {
    pub(super) version: u32,
    pub(super) read_dma_counter_available: u32,
    pub(super) scatter_gather_limit: u32,
    pub(super) dma_address_width: u32,
    pub(super) flags: u32,
    pub(super) minimum_transfer_unit: u32,
}

const _: () = assert!(size_of::<AdapterInfoRecord>() == 24);

/// A `DMA_TRANSFER_INFO` of version 2, whose beginning is one of version 1.
#[repr(C)]
#[derive(Default)]
pub(super) struct TransferInfoRecord {
    pub(super) version: u32,
    pub(super) map_register_count: u32,
    pub(super) element_count: u32,
    pub(super) list_size: u32,
    pub(super) logical_page_count: u32,
}

const _: () = assert!(size_of::<TransferInfoRecord>() == 20);

/// A `DMA_COMMON_BUFFER_EXTENDED_CONFIGURATION` that limits the logical addresses.
#[repr(C)]
pub(super) struct ExtendedConfiguration {
    kind: i32,
    minimum: Address,
    maximum: Address,
    reserved: [u64; 2],
}

const _: () = assert!(size_of::<ExtendedConfiguration>() == 40);

impl ExtendedConfiguration {
    pub(super) const fn limits(minimum: Address, maximum: Address) -> Self {
        Self {
            kind: 0,
            minimum,
            maximum,
            reserved: [0; 2],
        }
    }
}
