//! What an adapter tells of itself, and of a transfer before it is made.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use super::{
    Adapter, Direction, Error, TransferBuffer,
    signatures::{AdapterInfoRecord, TransferInfoRecord},
    span::Span,
};
use crate::{mdl::Mdl, status::Status};

/// What `GetDmaAdapterInfo` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Whether the DMA controller counts what is left of a transfer: for system adapters.
    pub counter_available: bool,
    /// How many elements the hardware takes in one list.
    pub scatter_gather_limit: u32,
    /// How many address bits it drives.
    pub address_width: u32,
    /// No flag is documented.
    pub flags: u32,
    /// The least number of bytes that it transfers at a time.
    pub minimum_transfer_unit: u32,
}

/// What `GetDmaTransferInfo` tells of one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferInfo {
    /// How many map registers it needs.
    pub map_registers: u32,
    /// How many elements its list can have.
    pub elements: u32,
    /// The size of a buffer for its list in bytes.
    pub list_size: u32,
    /// How many logical pages it needs. Systems whose adapters know the first version of the answer
    /// only do not tell.
    pub logical_pages: Option<u32>,
}

/// What a list takes: what `CalculateScatterGatherList` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListSize {
    /// The size of a buffer for it in bytes.
    pub bytes: u32,
    /// How many map registers its transfer needs.
    pub map_registers: u32,
}

impl Adapter {
    /// How transfers have to be aligned, in bytes: `GetDmaAlignment`. IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`].
    pub fn alignment(&self) -> Result<u32, Error> {
        let get = self.table.get_alignment()?;
        // SAFETY: the adapter is live.
        Ok(unsafe { get(self.as_ptr()) })
    }

    /// What the hardware can do: `GetDmaAdapterInfo`. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`], or [`Error::Refused`] with `STATUS_NOT_SUPPORTED` if the adapter does not
    /// know version 1 of the answer.
    pub fn info(&self) -> Result<AdapterInfo, Error> {
        let get = self.table.get_info()?;
        let mut record = AdapterInfoRecord {
            version: 1,
            ..AdapterInfoRecord::default()
        };
        // SAFETY: the adapter is live; the record has the size of its version, and outlives the call.
        Error::check(unsafe { get(self.as_ptr(), &raw mut record) })?;
        Ok(AdapterInfo {
            counter_available: record.read_dma_counter_available != 0,
            scatter_gather_limit: record.scatter_gather_limit,
            address_width: record.dma_address_width,
            flags: record.flags,
            minimum_transfer_unit: record.minimum_transfer_unit,
        })
    }

    /// What a transfer will need: `GetDmaTransferInfo`, with the second version of its answer, or else
    /// the first. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`], [`Error::BadRange`] or [`Error::Refused`].
    pub fn transfer_info(
        &self,
        buffer: &TransferBuffer,
        offset: usize,
        length: usize,
        direction: Direction,
    ) -> Result<TransferInfo, Error> {
        self.transfer_info_of(&buffer.span(direction)?.part(offset, length)?)
    }

    pub(super) fn transfer_info_of(&self, span: &Span<'_>) -> Result<TransferInfo, Error> {
        match self.transfer_info_version(span, 2) {
            Err(Error::Refused(Status::NOT_SUPPORTED)) => self.transfer_info_version(span, 1),
            answer => answer,
        }
    }

    fn transfer_info_version(&self, span: &Span<'_>, version: u32) -> Result<TransferInfo, Error> {
        let get = self.table.get_transfer_info()?;
        let mut record = TransferInfoRecord {
            version,
            ..TransferInfoRecord::default()
        };
        // SAFETY: the adapter is live; the MDL is of resident memory, by the invariant of the span; the
        // record is as long as its version demands.
        let status = unsafe {
            get(
                self.as_ptr(),
                span.mdl().as_ptr(),
                u64::from(span.offset()),
                span.length(),
                span.direction().write_to_device(),
                &raw mut record,
            )
        };
        Error::check(status)?;
        Ok(TransferInfo {
            map_registers: record.map_register_count,
            elements: record.element_count,
            list_size: record.list_size,
            logical_pages: (version >= 2).then_some(record.logical_page_count),
        })
    }

    /// How long the list of a transfer is: `CalculateScatterGatherList`. IRQL: any.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`], [`Error::BadRange`] or [`Error::Refused`], with
    /// `STATUS_INSUFFICIENT_RESOURCES` if the transfer needs more map registers than there are.
    pub fn list_size(
        &self,
        buffer: &TransferBuffer,
        offset: usize,
        length: usize,
    ) -> Result<ListSize, Error> {
        // It is the same in both directions.
        let span = buffer.span(Direction::FromDevice)?.part(offset, length)?;
        self.calculated_size(&span)
    }

    fn calculated_size(&self, span: &Span<'_>) -> Result<ListSize, Error> {
        let calculate = self.table.calculate_list()?;
        let (mut bytes, mut map_registers) = (0, 0);
        // SAFETY: the adapter is live; the MDL is of resident memory; the results outlive the call.
        let status = unsafe {
            calculate(
                self.as_ptr(),
                span.mdl().as_ptr(),
                span.address(0),
                span.length(),
                &raw mut bytes,
                &raw mut map_registers,
            )
        };
        Error::check(status)?;
        Ok(ListSize {
            bytes,
            map_registers,
        })
    }

    /// The size of a list's buffer from whoever in the table tells it.
    pub(super) fn list_size_of(&self, span: &Span<'_>) -> Result<ListSize, Error> {
        match self.transfer_info_of(span) {
            Ok(info) => Ok(ListSize {
                bytes: info.list_size,
                map_registers: info.map_registers,
            }),
            Err(Error::NotOffered) => self.calculated_size(span),
            Err(error) => Err(error),
        }
    }

    /// Brings memory that is mapped and its device to the same state: `FlushDmaBuffer`. The page of that
    /// routine names no IRQL: called at `PASSIVE_LEVEL` here.
    ///
    /// # Safety
    ///
    /// The MDL is of memory that is mapped for the device, by a list or with map registers.
    pub(super) unsafe fn synchronise(&self, mdl: &Mdl, direction: Direction) -> Result<(), Error> {
        let flush = self.table.flush_dma()?;
        // The page of the routine says: TRUE for a read operation, which fills memory.
        let is_read = u8::from(direction == Direction::FromDevice);
        // SAFETY: the adapter is live; the MDL is the caller's promise.
        Error::check(unsafe { flush(self.as_ptr(), mdl.as_ptr(), is_read) })
    }
}
