//! Where the fields of the kernel's objects lie, on 64-bit Windows.
//!
//! The names that binding generators give to anonymous unions differ from header to header, the
//! documented offsets do not. This is the only place that knows them.

// UNSAFETY: reads and writes fields of kernel objects by offset, on behalf of callers who prove the
// object live.
#![expect(
    unsafe_code,
    reason = "fields of kernel objects are reached through raw pointers"
)]

use core::{ffi::c_void, marker::PhantomData, ptr::NonNull};

use wdk_sys::{DEVICE_OBJECT, DMA_ADAPTER, DRIVER_OBJECT, FILE_OBJECT, IRP, MDL, NTSTATUS};

const _: () = assert!(size_of::<IRP>() == 208);
const _: () = assert!(size_of::<FILE_OBJECT>() == 216);
const _: () = assert!(size_of::<DRIVER_OBJECT>() == 336);
const _: () = assert!(size_of::<MDL>() == 48);
const _: () = assert!(size_of::<DEVICE_OBJECT>() >= 328);

/// A dispatch routine.
pub(crate) type Dispatch = unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP) -> NTSTATUS;
/// An `AddDevice` routine.
pub(crate) type AddDevice =
    unsafe extern "C" fn(*mut DRIVER_OBJECT, *mut DEVICE_OBJECT) -> NTSTATUS;
/// An unload routine.
pub(crate) type Unload = unsafe extern "C" fn(*mut DRIVER_OBJECT);
/// A completion routine.
pub(crate) type Completion =
    unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP, *mut c_void) -> NTSTATUS;

/// A cancel routine.
pub(crate) type Cancel = unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP);

/// One field: the object it belongs to, its type, its place.
pub(crate) struct Field<O, T> {
    offset: usize,
    types: PhantomData<fn(O) -> T>,
}

impl<O, T: Copy> Field<O, T> {
    const fn at(offset: usize) -> Self {
        Self {
            offset,
            types: PhantomData,
        }
    }

    /// Where the field lies.
    pub(crate) fn place(&self, object: NonNull<O>) -> *mut T {
        object
            .as_ptr()
            .cast::<u8>()
            .wrapping_add(self.offset)
            .cast()
    }

    /// Reads the field.
    ///
    /// # Safety
    ///
    /// `object` is live, and nobody writes the field at the same time.
    pub(crate) unsafe fn get(&self, object: NonNull<O>) -> T {
        // SAFETY: the field lies within the object, which is live.
        unsafe { self.place(object).read() }
    }

    /// Writes the field.
    ///
    /// # Safety
    ///
    /// `object` is live, the field is the caller's to write, and nobody else uses it meanwhile.
    pub(crate) unsafe fn set(&self, object: NonNull<O>, value: T) {
        // SAFETY: the field lies within the object, which is live.
        unsafe { self.place(object).write(value) }
    }
}

/// One stack location of a request.
#[repr(C, align(8))]
pub(crate) struct StackLocation([u8; 72]);

/// How much of a location `IoCopyCurrentIrpStackLocationToNext` copies: all but the completion
/// routine and its context.
pub(crate) const COPIED_STACK_BYTES: usize = 56;

pub(crate) const DRIVER_EXTENSION: Field<DRIVER_OBJECT, *mut DriverExtension> = Field::at(48);
pub(crate) const DRIVER_UNLOAD: Field<DRIVER_OBJECT, Option<Unload>> = Field::at(104);
pub(crate) const DRIVER_MAJOR_FUNCTIONS: Field<DRIVER_OBJECT, [Option<Dispatch>; 28]> =
    Field::at(112);

/// The public part of a driver object's extension.
#[repr(C, align(8))]
pub(crate) struct DriverExtension([u8; 40]);

pub(crate) const EXTENSION_ADD_DEVICE: Field<DriverExtension, Option<AddDevice>> = Field::at(8);

pub(crate) const DEVICE_FLAGS: Field<DEVICE_OBJECT, u32> = Field::at(48);
pub(crate) const DEVICE_EXTENSION: Field<DEVICE_OBJECT, *mut c_void> = Field::at(64);

pub(crate) const FILE_CONTEXT: Field<FILE_OBJECT, *mut c_void> = Field::at(24);
pub(crate) const FILE_RELATED: Field<FILE_OBJECT, *mut c_void> = Field::at(64);
pub(crate) const FILE_NAME_LENGTH: Field<FILE_OBJECT, u16> = Field::at(88);

pub(crate) const ADAPTER_OPERATIONS: Field<DMA_ADAPTER, *mut c_void> = Field::at(8);

pub(crate) const MDL_FLAGS: Field<MDL, u16> = Field::at(10);
pub(crate) const MDL_SYSTEM_ADDRESS: Field<MDL, *mut c_void> = Field::at(24);
pub(crate) const MDL_START: Field<MDL, *mut c_void> = Field::at(32);
pub(crate) const MDL_BYTE_OFFSET: Field<MDL, u32> = Field::at(44);

pub(crate) const IRP_MDL: Field<IRP, *mut MDL> = Field::at(8);
pub(crate) const IRP_SYSTEM_BUFFER: Field<IRP, *mut u8> = Field::at(24);
pub(crate) const IRP_STATUS: Field<IRP, i32> = Field::at(48);
pub(crate) const IRP_INFORMATION: Field<IRP, usize> = Field::at(56);
pub(crate) const IRP_PENDING_RETURNED: Field<IRP, u8> = Field::at(65);
pub(crate) const IRP_CURRENT_LOCATION: Field<IRP, i8> = Field::at(67);
pub(crate) const IRP_CANCEL: Field<IRP, u8> = Field::at(68);
pub(crate) const IRP_CANCEL_IRQL: Field<IRP, u8> = Field::at(69);
pub(crate) const IRP_CANCEL_ROUTINE: Field<IRP, *mut c_void> = Field::at(104);
pub(crate) const IRP_DRIVER_CONTEXT: Field<IRP, *mut c_void> = Field::at(120);
pub(crate) const IRP_CURRENT_STACK: Field<IRP, *mut StackLocation> = Field::at(184);

pub(crate) const STACK_MAJOR: Field<StackLocation, u8> = Field::at(0);
pub(crate) const STACK_MINOR: Field<StackLocation, u8> = Field::at(1);
pub(crate) const STACK_CONTROL: Field<StackLocation, u8> = Field::at(3);
pub(crate) const STACK_FILE_OBJECT: Field<StackLocation, *mut FILE_OBJECT> = Field::at(48);
pub(crate) const STACK_COMPLETION: Field<StackLocation, Option<Completion>> = Field::at(56);
pub(crate) const STACK_COMPLETION_CONTEXT: Field<StackLocation, *mut c_void> = Field::at(64);
pub(crate) const TRANSFER_LENGTH: Field<StackLocation, u32> = Field::at(8);
pub(crate) const CONTROL_OUTPUT_LENGTH: Field<StackLocation, u32> = Field::at(8);
pub(crate) const CONTROL_INPUT_LENGTH: Field<StackLocation, u32> = Field::at(16);
pub(crate) const CONTROL_CODE: Field<StackLocation, u32> = Field::at(24);
