//! Memory for transfers: resident, described by an MDL, kept as long as anything maps it.

// UNSAFETY: describes memory that the value keeps, and copies from and to it.
#![expect(unsafe_code, reason = "works on memory behind raw pointers")]

use core::ptr::NonNull;

use super::{Direction, Error, span::Span};
use crate::{
    contiguous::ContiguousMemory, locked_pages::LockedPages, mdl::Mdl, pool::Bytes,
    status::NoMemory,
};

/// Whoever owns the memory. It is not asked again, only kept.
#[expect(dead_code, reason = "kept allocated")]
enum Owner {
    Pool(Bytes),
    Contiguous(ContiguousMemory),
}

/// What describes the memory.
enum Described {
    /// Memory of ours, with its address for the kernel.
    Own {
        // Dropped in this order: the description before what it describes.
        mdl: Mdl,
        start: NonNull<u8>,
        #[expect(dead_code, reason = "kept allocated")]
        owner: Owner,
    },
    /// A process's memory, which the kernel has no address for.
    Locked(LockedPages),
}

/// Memory that transfers read or fill.
///
/// A device may change it at any moment while it is mapped. So it is never referenced, only copied from
/// and to.
///
/// # Invariants
///
/// `described` describes `length` resident bytes, which stay as long as this lives.
pub struct TransferBuffer {
    described: Described,
    length: usize,
}

// SAFETY: the pointer is only used for accesses that tolerate each other.
unsafe impl Send for TransferBuffer {}
// SAFETY: as above.
unsafe impl Sync for TransferBuffer {}

impl TransferBuffer {
    /// That many zeroes in nonpaged pool: pages that need not follow each other.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub fn in_pool(length: usize) -> Result<Self, NoMemory> {
        let bytes = Bytes::zeroed(length)?;
        let start = bytes.start();
        Self::own(start, length, Owner::Pool(bytes))
    }

    /// Contiguous memory.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub fn contiguous(memory: ContiguousMemory) -> Result<Self, NoMemory> {
        let (start, length) = (memory.start(), memory.length());
        Self::own(start, length, Owner::Contiguous(memory))
    }

    fn own(start: NonNull<u8>, length: usize, owner: Owner) -> Result<Self, NoMemory> {
        // SAFETY: pool and contiguous memory are resident, and kept by the value that this makes.
        let mdl = unsafe { Mdl::of_resident(start, length) }?;
        Ok(Self {
            described: Described::Own { mdl, start, owner },
            length,
        })
    }

    /// How many bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Copies bytes into it.
    ///
    /// # Errors
    ///
    /// [`Error::BadRange`] if there is no room, or it is a process's memory.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let place = self.place(offset, bytes.len())?;
        // SAFETY: so many bytes are there, as checked; `bytes` is elsewhere.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies bytes out of it.
    ///
    /// # Errors
    ///
    /// [`Error::BadRange`] if there are not so many, or it is a process's memory.
    pub fn read(&self, offset: usize, room: &mut [u8]) -> Result<(), Error> {
        let place = self.place(offset, room.len())?;
        // SAFETY: so many bytes are there, as checked; `room` is elsewhere.
        unsafe { place.copy_to_nonoverlapping(room.as_mut_ptr(), room.len()) };
        Ok(())
    }

    fn place(&self, offset: usize, length: usize) -> Result<*mut u8, Error> {
        let end = offset.checked_add(length).ok_or(Error::BadRange)?;
        match &self.described {
            Described::Own { start, .. } if end <= self.length => {
                Ok(start.as_ptr().wrapping_add(offset))
            }
            Described::Own { .. } | Described::Locked(_) => Err(Error::BadRange),
        }
    }

    pub(super) fn span(&self, direction: Direction) -> Result<Span<'_>, Error> {
        match &self.described {
            Described::Own { mdl, start, .. } => {
                Span::whole(mdl, start.as_ptr().cast(), self.length, direction)
            }
            Described::Locked(pages) => {
                let start = usize::try_from(pages.address()).map_err(|_| Error::BadRange)?;
                let start = core::ptr::without_provenance(start);
                Span::whole(pages.mdl(), start, self.length, direction)
            }
        }
    }
}

impl From<LockedPages> for TransferBuffer {
    /// A process's memory. As with the pages themselves: whoever keeps the buffer, or what maps it, watches
    /// the end of that process.
    fn from(pages: LockedPages) -> Self {
        let length = pages.length();
        Self {
            described: Described::Locked(pages),
            length,
        }
    }
}
