//! The adapter's table of operations, as far as this layer calls it.
//!
//! The table has grown with every version of Windows, and says with its first member how long it is.

// UNSAFETY: reads the table behind the adapter's pointer.
#![expect(
    unsafe_code,
    reason = "the table is a kernel object behind a raw pointer"
)]

use core::{ffi::c_void, mem::offset_of, ptr::NonNull};

use wdk_sys::{DEVICE_OBJECT, DMA_ADAPTER, IRP, MDL};

pub(super) type Address = u64;

pub(super) type Put = unsafe extern "C" fn(*mut DMA_ADAPTER);
pub(super) type Allocate =
    unsafe extern "C" fn(*mut DMA_ADAPTER, u32, *mut Address, u8) -> *mut c_void;
pub(super) type Free = unsafe extern "C" fn(*mut DMA_ADAPTER, u32, Address, *mut c_void, u8);
pub(super) type ListControl =
    unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP, *mut List, *mut c_void);
pub(super) type GetList = unsafe extern "C" fn(
    *mut DMA_ADAPTER,
    *mut DEVICE_OBJECT,
    *mut MDL,
    *mut c_void,
    u32,
    Option<ListControl>,
    *mut c_void,
    u8,
) -> i32;
pub(super) type PutList = unsafe extern "C" fn(*mut DMA_ADAPTER, *mut List, u8);
pub(super) type InitializeContext = unsafe extern "C" fn(*mut DMA_ADAPTER, *mut c_void) -> i32;
pub(super) type GetListEx = unsafe extern "C" fn(
    *mut DMA_ADAPTER,
    *mut DEVICE_OBJECT,
    *mut c_void,
    *mut MDL,
    u64,
    u32,
    u32,
    Option<ListControl>,
    *mut c_void,
    u8,
    *const c_void,
    *mut c_void,
    *mut *mut List,
) -> i32;
pub(super) type AllocateEx =
    unsafe extern "C" fn(*mut DMA_ADAPTER, *mut Address, u32, *mut Address, u8, u32) -> *mut c_void;
pub(super) type AllocateWithBounds = unsafe extern "C" fn(
    *mut DMA_ADAPTER,
    *mut Address,
    *mut Address,
    u32,
    u32,
    *mut i32,
    u32,
    *mut Address,
) -> *mut c_void;
/// A `DMA_COMMON_BUFFER_VECTOR`, of which nothing is known.
#[repr(C)]
pub(super) struct Vector([u8; 0]);

pub(super) type AllocateVector = unsafe extern "C" fn(
    *mut DMA_ADAPTER,
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
    unsafe extern "C" fn(*mut DMA_ADAPTER, *mut Vector, u32, *mut *mut c_void, *mut Address);
pub(super) type FreeVector = unsafe extern "C" fn(*mut DMA_ADAPTER, *mut Vector);
pub(super) type CreateFromMdl = unsafe extern "C" fn(
    *mut DMA_ADAPTER,
    *mut MDL,
    *mut ExtendedConfiguration,
    u32,
    *mut Address,
) -> i32;

/// `DMA_OPERATIONS` as Windows 11 has it; older tables end earlier.
#[repr(C)]
pub(super) struct Operations {
    size: u32,
    put: Option<Put>,
    allocate: Option<Allocate>,
    free: Option<Free>,
    channels_and_registers: [*const c_void; 7],
    get_list: Option<GetList>,
    put_list: Option<PutList>,
    version_2: [*const c_void; 3],
    information: [*const c_void; 2],
    initialize_context: Option<InitializeContext>,
    allocate_ex: Option<AllocateEx>,
    channels_ex: [*const c_void; 4],
    get_list_ex: Option<GetListEx>,
    version_3: [*const c_void; 4],
    domains: [*const c_void; 5],
    allocate_with_bounds: Option<AllocateWithBounds>,
    allocate_vector: Option<AllocateVector>,
    element: Option<GetElement>,
    free_element: *const c_void,
    free_vector: Option<FreeVector>,
    create_from_mdl: Option<CreateFromMdl>,
}

const _: () = assert!(size_of::<Operations>() == 320);
const _: () = assert!(offset_of!(Operations, free) == 24);
const _: () = assert!(offset_of!(Operations, get_list) == 88);
const _: () = assert!(offset_of!(Operations, put_list) == 96);
const _: () = assert!(offset_of!(Operations, initialize_context) == 144);
const _: () = assert!(offset_of!(Operations, allocate_ex) == 152);
const _: () = assert!(offset_of!(Operations, get_list_ex) == 192);
const _: () = assert!(offset_of!(Operations, allocate_with_bounds) == 272);
const _: () = assert!(offset_of!(Operations, allocate_vector) == 280);
const _: () = assert!(offset_of!(Operations, free_vector) == 304);
const _: () = assert!(offset_of!(Operations, create_from_mdl) == 312);

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
    reserved: usize,
}

const _: () = assert!(size_of::<Element>() == 24);
const _: () = assert!(offset_of!(List, first) == 16);

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

/// Reads the members of one table.
#[derive(Clone, Copy)]
pub(super) struct Table {
    operations: NonNull<Operations>,
    size: usize,
}

impl Table {
    /// # Safety
    ///
    /// `operations` is the table of a live adapter, for as long as the result is used.
    pub(super) unsafe fn new(operations: NonNull<Operations>) -> Self {
        // SAFETY: every table begins with its size.
        let size = unsafe { operations.cast::<u32>().read() };
        Self {
            operations,
            size: usize::try_from(size).unwrap_or(0),
        }
    }

    pub(super) const fn size(self) -> usize {
        self.size
    }

    /// The member at `offset`, if the table has it.
    ///
    /// # Safety
    ///
    /// `T` is the type of the member at `offset`.
    unsafe fn member<T: Copy>(self, offset: usize) -> Option<T> {
        if offset.checked_add(size_of::<T>())? > self.size {
            return None;
        }
        let place = self
            .operations
            .as_ptr()
            .cast::<u8>()
            .wrapping_add(offset)
            .cast::<Option<T>>();
        // SAFETY: within the table, as checked, and of this type, as the caller says.
        unsafe { place.read() }
    }

    pub(super) fn put(self) -> Option<Put> {
        // SAFETY: the type of that member.
        unsafe { self.member(offset_of!(Operations, put)) }
    }

    pub(super) fn allocate(self) -> Option<Allocate> {
        // SAFETY: the type of that member.
        unsafe { self.member(offset_of!(Operations, allocate)) }
    }

    pub(super) fn free(self) -> Option<Free> {
        // SAFETY: the type of that member.
        unsafe { self.member(offset_of!(Operations, free)) }
    }

    pub(super) fn get_list(self) -> Option<GetList> {
        // SAFETY: the type of that member.
        unsafe { self.member(offset_of!(Operations, get_list)) }
    }

    pub(super) fn put_list(self) -> Option<PutList> {
        // SAFETY: the type of that member.
        unsafe { self.member(offset_of!(Operations, put_list)) }
    }

    /// The routine for lists that needs a context, and the one that sets the context up.
    pub(super) fn lists_ex(self) -> Option<(InitializeContext, GetListEx)> {
        // SAFETY: the type of that member.
        let initialize = unsafe { self.member(offset_of!(Operations, initialize_context)) }?;
        // SAFETY: the type of that member.
        let get = unsafe { self.member(offset_of!(Operations, get_list_ex)) }?;
        Some((initialize, get))
    }

    pub(super) fn allocate_ex(self) -> Option<AllocateEx> {
        // SAFETY: the type of that member.
        unsafe { self.member(offset_of!(Operations, allocate_ex)) }
    }

    pub(super) fn allocate_with_bounds(self) -> Option<AllocateWithBounds> {
        // SAFETY: the type of that member.
        unsafe { self.member(offset_of!(Operations, allocate_with_bounds)) }
    }

    /// The routines for vectors, all or none.
    pub(super) fn vectors(self) -> Option<(AllocateVector, GetElement, FreeVector)> {
        // SAFETY: the type of that member.
        let allocate = unsafe { self.member(offset_of!(Operations, allocate_vector)) }?;
        // SAFETY: the type of that member.
        let element = unsafe { self.member(offset_of!(Operations, element)) }?;
        // SAFETY: the type of that member.
        let free = unsafe { self.member(offset_of!(Operations, free_vector)) }?;
        Some((allocate, element, free))
    }

    pub(super) fn create_from_mdl(self) -> Option<CreateFromMdl> {
        // SAFETY: the type of that member.
        unsafe { self.member(offset_of!(Operations, create_from_mdl)) }
    }
}
