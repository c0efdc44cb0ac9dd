//! Read and write requests, and control requests with direct output: transfers through locked pages.
//!
//! The I/O manager has locked the caller's buffer behind the request's MDL, and unlocks it when the
//! request is completed. Here it is mapped into system space, no-execute, and reached only through
//! copies: the caller may change the bytes at any time.

// UNSAFETY: maps the buffer of a request, and copies from and to it.
#![expect(
    unsafe_code,
    reason = "a locked buffer is reached through a raw pointer"
)]

use core::ptr::NonNull;

use wdk_sys::MDL;

use crate::{
    irp::{Completed, Irp},
    layout,
    mdl::map_to_system,
    status::Status,
};

/// `MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL`: there is a system address already.
const HAS_SYSTEM_ADDRESS: u16 = 1 | 4;

/// A read or write request that has to be finished.
#[must_use]
pub struct Transfer {
    irp: Irp,
    length: usize,
    is_write: bool,
}

impl Transfer {
    pub(crate) fn new(irp: Irp, is_write: bool) -> Self {
        let length = irp.parameter(&layout::TRANSFER_LENGTH);
        Self {
            irp,
            length: usize::try_from(length).unwrap_or(usize::MAX),
            is_write,
        }
    }

    /// How many bytes the caller wants to move.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Whether the caller's buffer is to be written to the device, rather than read into.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        self.is_write
    }

    /// Makes the caller's buffer reachable.
    ///
    /// # Errors
    ///
    /// The request itself, if it has no buffer or there is no room to map it.
    pub fn map(self) -> Result<Direct, Self> {
        let Self {
            irp,
            length,
            is_write,
        } = self;
        Direct::map(irp, length, !is_write).map_err(|irp| Self {
            irp,
            length,
            is_write,
        })
    }

    /// Fails the request.
    pub fn fail(self, status: Status) -> Completed {
        self.irp.complete(Err(status))
    }
}

/// A request with a direct buffer that is mapped.
///
/// # Invariants
///
/// `buffer` is the system address of the `length` bytes that the request's MDL describes; they are
/// locked for writing if `is_writable`.
#[must_use]
pub struct Direct {
    irp: Irp,
    buffer: NonNull<u8>,
    length: usize,
    is_writable: bool,
}

// SAFETY: the buffer is in system space, and the request is as good on any thread.
unsafe impl Send for Direct {}

impl Direct {
    /// Takes a request whose direct buffer has this length, or gives it back.
    pub(crate) fn map(irp: Irp, length: usize, is_writable: bool) -> Result<Self, Irp> {
        match system_address(&irp).filter(|_| length > 0) {
            Some(buffer) => Ok(Self {
                irp,
                buffer,
                length,
                is_writable,
            }),
            None => Err(irp),
        }
    }

    /// How long the caller's buffer is.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Where the caller's buffer lies for the caller: what `MmGetMdlVirtualAddress` tells.
    #[must_use]
    pub fn address(&self) -> u64 {
        let Some(mdl) = NonNull::new(self.irp.mdl()) else {
            return 0;
        };
        // SAFETY: the request's MDL is live as long as the request.
        let start = unsafe { layout::MDL_START.get(mdl) };
        // SAFETY: as above.
        let offset = unsafe { layout::MDL_BYTE_OFFSET.get(mdl) };
        let start = u64::try_from(start.addr()).unwrap_or(0);
        start.saturating_add(u64::from(offset))
    }

    /// Copies the beginning of the caller's buffer out, as much as there is room for.
    pub fn copy_out(&self, room: &mut [u8]) {
        let length = room.len().min(self.length);
        // SAFETY: the buffer has that many bytes, by the invariant, and stays locked until the
        // request is completed; `room` is elsewhere.
        unsafe {
            self.buffer
                .as_ptr()
                .copy_to_nonoverlapping(room.as_mut_ptr(), length);
        };
    }

    /// Copies bytes to the beginning of the caller's buffer; how many fit.
    pub fn copy_in(&mut self, bytes: &[u8]) -> usize {
        if !self.is_writable {
            return 0;
        }
        let length = bytes.len().min(self.length);
        // SAFETY: the buffer has that many bytes and is locked for writing, by the invariant.
        unsafe {
            self.buffer
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), length);
        };
        length
    }

    /// Completes the request: how many bytes were moved, or why none.
    pub fn complete(self, result: Result<usize, Status>) -> Completed {
        self.irp.complete(result)
    }
}

impl crate::pending::private::HasIrp for Direct {
    fn irp(&mut self) -> &mut Irp {
        &mut self.irp
    }

    fn into_irp(self) -> Irp {
        self.irp
    }
}

/// What `MmGetSystemAddressForMdlSafe` does.
fn system_address(irp: &Irp) -> Option<NonNull<u8>> {
    let mdl: NonNull<MDL> = NonNull::new(irp.mdl())?;
    // SAFETY: the request's MDL is live as long as the request.
    let flags = unsafe { layout::MDL_FLAGS.get(mdl) };
    if flags & HAS_SYSTEM_ADDRESS == 0 {
        // SAFETY: the MDL describes locked pages, and the I/O manager removes the mapping with the
        // lock. It may be locked for reading only: then nothing is written.
        return unsafe { map_to_system(mdl, true) };
    }
    // SAFETY: as for the flags.
    NonNull::new(unsafe { layout::MDL_SYSTEM_ADDRESS.get(mdl) }.cast())
}
