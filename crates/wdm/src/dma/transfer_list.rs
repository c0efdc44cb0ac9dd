//! Scatter/gather lists of transfer buffers, from any member of the table that makes them.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::{marker::PhantomData, ptr};

use super::{
    Adapter, Direction, Error, TransferBuffer,
    held_list::{HeldList, ListMember},
};
use crate::pool::Shared;

/// The device's addresses of a part of a buffer, put back on drop, which also copies what a device wrote
/// to a copy of a page.
pub struct TransferList {
    // Dropped in this order: the device loses the memory before it is freed.
    held: HeldList,
    buffer: Shared<TransferBuffer>,
    direction: Direction,
}

impl TransferList {
    /// Asks for the list of a part of a buffer with one member of the table.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] if the table has not all that the member needs: the size of a list in memory
    /// of ours comes from `GetDmaTransferInfo` or `CalculateScatterGatherList`.
    /// [`Error::WrongAdapter`] from those of version 3: "Do not use this routine for a system DMA adapter".
    /// [`Error::NoRegisters`] from a member that would have to wait for map registers that this adapter's
    /// own lists hold. [`Error::Refused`]: what the member said.
    pub fn new(
        adapter: &Shared<Adapter>,
        buffer: &Shared<TransferBuffer>,
        (offset, length): (usize, usize),
        direction: Direction,
        member: ListMember,
    ) -> Result<Self, Error> {
        if adapter.is_system() && matches!(member, ListMember::GetEx | ListMember::BuildEx) {
            return Err(Error::WrongAdapter);
        }
        let span = buffer.span(direction)?.part(offset, length)?;
        if span.pages() > adapter.map_registers() {
            return Err(Error::NoRegisters);
        }
        // SAFETY: the value that this makes keeps the buffer as long as the list.
        let held = unsafe { HeldList::by(adapter, &span, member) }?;
        Ok(Self {
            held,
            buffer: buffer.clone(),
            direction,
        })
    }

    /// The member that it came from.
    #[must_use]
    pub const fn member(&self) -> ListMember {
        self.held.member()
    }

    /// Its elements, in order: where the device finds each, and how many bytes.
    pub fn elements(&self) -> impl Iterator<Item = (u64, u32)> {
        (0..self.held.count()).filter_map(|index| self.held.element(index))
    }

    /// Without ending the transfer, shows the device what the processor has written, or the processor what
    /// the device has written, where caches or copies stand between: `FlushDmaBuffer`. On coherent machines,
    /// and for memory that the device reaches, both see everything anyway.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] before Windows 10; [`Error::Refused`].
    pub fn synchronise(&self, direction: Direction) -> Result<(), Error> {
        let span = self.buffer.span(direction)?;
        // SAFETY: the list is of this memory, and has not been put back.
        unsafe { self.held.adapter().synchronise(span.mdl(), direction) }
    }

    /// The memory that the device really uses: `BuildMdlFromScatterGatherList`.
    ///
    /// The page of that routine says that it is reserved for system use, that the MDL may be the original
    /// one, and that a second call for a list fails because "the system has already created a new MDL". It
    /// names no call that frees the MDL. So the list is taken for its owner, which is what the
    /// second call's answer means, and the result cannot outlive it. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`], or [`Error::Refused`]: with `STATUS_NONE_MAPPED` the second time.
    pub fn device_view(&self) -> Result<DeviceView<'_>, Error> {
        let adapter = self.held.adapter();
        let build = adapter.table.build_mdl()?;
        let span = self.buffer.span(self.direction)?;
        let original = span.mdl().as_ptr();
        let mut target = ptr::null_mut();
        // SAFETY: the list is live, and was made of this MDL.
        let status = unsafe {
            build(
                adapter.as_ptr(),
                self.held.as_ptr().as_ptr(),
                original,
                &raw mut target,
            )
        };
        Error::check(status)?;
        Ok(DeviceView {
            is_copy: target != original,
            list: PhantomData,
        })
    }
}

/// What is known of the memory that a device uses for a list.
#[derive(Clone, Copy, Debug)]
pub struct DeviceView<'list> {
    is_copy: bool,
    list: PhantomData<&'list TransferList>,
}

impl DeviceView<'_> {
    /// Whether it is other memory than the buffer, which the system copies from or to.
    #[must_use]
    pub const fn is_copy(self) -> bool {
        self.is_copy
    }
}
