//! The adapter's table of operations, member by member.
//!
//! The table has grown with every version of Windows, and says with its first member how long it is.

// UNSAFETY: reads the table behind the adapter's pointer.
#![expect(
    unsafe_code,
    reason = "the table is a kernel object behind a raw pointer"
)]

use core::{mem::offset_of, ptr::NonNull};

use super::{error::Error, signatures as function};

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

    /// The member at `offset`, if the table is long enough to have it and its slot is not null.
    ///
    /// # Safety
    ///
    /// `T` is the type of the member at `offset`.
    unsafe fn member<T: Copy>(self, offset: usize) -> Result<T, Error> {
        let end = offset.saturating_add(size_of::<T>());
        if end > self.size {
            return Err(Error::NotOffered);
        }
        let place = self
            .operations
            .as_ptr()
            .cast::<u8>()
            .wrapping_add(offset)
            .cast::<Option<T>>();
        // SAFETY: within the table, as checked, and of this type, as the caller says.
        unsafe { place.read() }.ok_or(Error::NotOffered)
    }
}

/// The table as Windows 11 has it, and for each member a reader of that name.
macro_rules! members {
    ($($name:ident: $type:ty,)*) => {
        /// `DMA_OPERATIONS` as Windows 11 has it; older tables end earlier.
        #[repr(C)]
        pub(super) struct Operations {
            size: u32,
            $($name: Option<$type>,)*
        }

        impl Table {
            $(
                pub(super) fn $name(self) -> Result<$type, Error> {
                    // SAFETY: the type of that member.
                    unsafe { self.member(offset_of!(Operations, $name)) }
                }
            )*
        }
    };
}

members! {
    put: function::Put,
    allocate: function::Allocate,
    free: function::Free,
    allocate_channel: function::AllocateChannel,
    flush_buffers: function::FlushBuffers,
    free_channel: function::FreeChannel,
    free_registers: function::FreeRegisters,
    map_transfer: function::MapTransfer,
    get_alignment: function::GetNumber,
    read_counter: function::GetNumber,
    get_list: function::GetList,
    put_list: function::PutList,
    // Version 2.
    calculate_list: function::CalculateList,
    build_list: function::BuildList,
    build_mdl: function::BuildMdl,
    // Version 3: Windows 8.
    get_info: function::GetInfo,
    get_transfer_info: function::GetTransferInfo,
    initialize_context: function::InitializeContext,
    allocate_ex: function::AllocateEx,
    allocate_channel_ex: function::AllocateChannelEx,
    configure_channel: function::ConfigureChannel,
    cancel_channel: function::CancelChannel,
    map_transfer_ex: function::MapTransferEx,
    get_list_ex: function::GetListEx,
    build_list_ex: function::BuildListEx,
    flush_buffers_ex: function::FlushBuffersEx,
    free_object: function::FreeObject,
    cancel_transfer: function::CancelTransfer,
    // Windows 10.
    allocate_in_domain: function::AllocateInDomain,
    flush_dma: function::FlushDma,
    join_domain: function::JoinDomain,
    leave_domain: function::LeaveDomain,
    get_domain: function::GetDomain,
    // Windows 10, versions 1803 and 1903; Windows Server 2022.
    allocate_with_bounds: function::AllocateWithBounds,
    allocate_vector: function::AllocateVector,
    element: function::GetElement,
    free_element: function::FreeElement,
    free_vector: function::FreeVector,
    create_from_mdl: function::CreateFromMdl,
}

const _: () = assert!(size_of::<Operations>() == 320);
const _: () = assert!(offset_of!(Operations, free) == 24);
const _: () = assert!(offset_of!(Operations, map_transfer) == 64);
const _: () = assert!(offset_of!(Operations, get_list) == 88);
const _: () = assert!(offset_of!(Operations, put_list) == 96);
const _: () = assert!(offset_of!(Operations, build_mdl) == 120);
const _: () = assert!(offset_of!(Operations, initialize_context) == 144);
const _: () = assert!(offset_of!(Operations, allocate_ex) == 152);
const _: () = assert!(offset_of!(Operations, get_list_ex) == 192);
const _: () = assert!(offset_of!(Operations, cancel_transfer) == 224);
const _: () = assert!(offset_of!(Operations, get_domain) == 264);
const _: () = assert!(offset_of!(Operations, allocate_with_bounds) == 272);
const _: () = assert!(offset_of!(Operations, allocate_vector) == 280);
const _: () = assert!(offset_of!(Operations, free_vector) == 304);
const _: () = assert!(offset_of!(Operations, create_from_mdl) == 312);
