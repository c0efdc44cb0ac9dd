//! Packet-based transfers: a part of a buffer, mapped with registers, until it is flushed.
//!
//! Registers from `AllocateAdapterChannel` map with `MapTransfer`, fragment by fragment, and are flushed with
//! `FlushAdapterBuffers`, once for all fragments. Those from `AllocateAdapterChannelEx` map with
//! `MapTransferEx` and are flushed with `FlushAdapterBuffersEx`: the pages of those routines name no others.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::ptr;

use super::{
    Adapter, Direction, Error, MapRegisters, TransferBuffer,
    list_buffer::{self, ListBuffer},
    signatures::{FlushBuffers, FlushBuffersEx},
    span::Span,
};
use crate::pool::Shared;

/// How a mapping is flushed.
#[derive(Clone, Copy)]
enum Flush {
    Plain(FlushBuffers),
    Ex(FlushBuffersEx),
}

/// The part of a mapping that has to be flushed: what is on its way is not in memory, or not at the
/// device, before that.
///
/// # Invariants
///
/// Unless `flushed`, `length` bytes from `offset` on of `buffer` are mapped with the registers of `base`.
struct Active {
    base: super::signatures::Base,
    buffer: Shared<TransferBuffer>,
    offset: usize,
    length: u32,
    direction: Direction,
    flush: Flush,
    flushed: bool,
    adapter: Shared<Adapter>,
}

// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for Active {}
// SAFETY: as above; it is only read.
unsafe impl Sync for Active {}

/// A mapped transfer, flushed on drop.
///
/// It owns its registers: the way back to them is [`Mapping::flush`]. So they cannot be mapped again, or
/// given back, while a device uses them.
pub struct Mapping {
    // Dropped in this order: the flush comes before the registers are given back.
    active: Active,
    list: ListBuffer,
    registers: MapRegisters,
}

impl MapRegisters {
    /// Maps a part of a buffer, or as much of its beginning as the registers suffice for: see
    /// [`Mapping::length`]. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// The registers, with [`Error::BadRange`], [`Error::NoMemory`], [`Error::NotOffered`] or
    /// [`Error::Refused`].
    pub fn map(
        self,
        buffer: &Shared<TransferBuffer>,
        offset: usize,
        length: usize,
        direction: Direction,
    ) -> Result<Mapping, (Self, Error)> {
        match self.start(buffer, offset, length, direction) {
            Ok((active, list)) => Ok(Mapping {
                active,
                list,
                registers: self,
            }),
            Err(error) => Err((self, error)),
        }
    }

    fn start(
        &self,
        buffer: &Shared<TransferBuffer>,
        offset: usize,
        length: usize,
        direction: Direction,
    ) -> Result<(Active, ListBuffer), Error> {
        let span = buffer.span(direction)?.part(offset, length)?;
        let table = self.adapter.table;
        let flush = match self.context() {
            None => Flush::Plain(table.flush_buffers()?),
            Some(_) => Flush::Ex(table.flush_buffers_ex()?),
        };
        let (list, length) = match flush {
            Flush::Plain(_) => self.map_plain(&span.within_pages(self.count()))?,
            Flush::Ex(_) => self.map_ex(&span)?,
        };
        let active = Active {
            base: self.base(),
            buffer: buffer.clone(),
            offset,
            length,
            direction,
            flush,
            flushed: false,
            adapter: self.adapter.clone(),
        };
        Ok((active, list))
    }

    /// Fragment by fragment. The span fits the registers.
    fn map_plain(&self, span: &Span<'_>) -> Result<(ListBuffer, u32), Error> {
        let map = self.adapter.table.map_transfer()?;
        // Room for all fragments before the first is mapped: what is mapped has to be flushed.
        let mut list = ListBuffer::for_span(&self.adapter, span)?;
        let mut mapped = 0_u32;
        while mapped < span.length() {
            let mut part = span.length().saturating_sub(mapped);
            // SAFETY: the adapter is live; the MDL is of resident memory; the registers are ours and
            // suffice.
            let address = unsafe {
                map(
                    self.adapter.as_ptr(),
                    span.mdl().as_ptr(),
                    self.base(),
                    span.address(mapped),
                    &raw mut part,
                    span.direction().write_to_device(),
                )
            };
            if part == 0 || list.push(address, part).is_err() {
                // A page at least is mapped each time, so neither happens.
                break;
            }
            mapped = mapped.saturating_add(part);
        }
        if mapped == 0 {
            return Err(Error::NoRegisters);
        }
        Ok((list, mapped))
    }

    /// All at once.
    fn map_ex(&self, span: &Span<'_>) -> Result<(ListBuffer, u32), Error> {
        let map = self.adapter.table.map_transfer_ex()?;
        let list = ListBuffer::for_span(&self.adapter, span)?;
        let mut mapped = span.length();
        // SAFETY: the adapter is live; the MDL is of resident memory; the registers are ours; the list has
        // as much room as said. No offset in the device, no completion routine: for bus masters both
        // have to be so.
        let status = unsafe {
            map(
                self.adapter.as_ptr(),
                span.mdl().as_ptr(),
                self.base(),
                u64::from(span.offset()),
                0,
                &raw mut mapped,
                span.direction().write_to_device(),
                list.as_ptr().as_ptr(),
                list.length(),
                ptr::null(),
                ptr::null_mut(),
            )
        };
        Error::check(status)?;
        if mapped == 0 {
            // Nothing is mapped, so there is nothing to flush either.
            return Err(Error::NoRegisters);
        }
        Ok((list, mapped))
    }
}

impl Mapping {
    /// How many bytes are mapped: perhaps fewer than were asked for.
    #[must_use]
    pub fn length(&self) -> usize {
        usize::try_from(self.active.length).unwrap_or(0)
    }

    /// Where the device finds them, in order, and how many bytes each time.
    pub fn elements(&self) -> impl Iterator<Item = (u64, u32)> {
        let list = self.list.as_ptr();
        // SAFETY: complete since the transfer was mapped.
        let count = unsafe { list_buffer::count(list) };
        // SAFETY: as above.
        (0..count).filter_map(move |index| unsafe { list_buffer::element(list, index) })
    }

    /// Ends the transfer, which the device must have finished, and gives the registers back for the
    /// next. IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// The registers, with [`Error::Refused`]: what was transferred may be lost.
    pub fn flush(self) -> Result<MapRegisters, (MapRegisters, Error)> {
        let Self {
            mut active,
            list,
            registers,
        } = self;
        let result = active.flush();
        drop((active, list));
        match result {
            Ok(()) => Ok(registers),
            Err(error) => Err((registers, error)),
        }
    }

    /// Without ending the transfer, shows the device what the processor has written, or the processor what
    /// the device has written, where caches or copies stand between: `FlushDmaBuffer`. On coherent machines,
    /// and for memory that the device reaches, both see everything anyway.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] before Windows 10; [`Error::Refused`].
    pub fn synchronise(&self, direction: Direction) -> Result<(), Error> {
        let active = &self.active;
        let span = active.buffer.span(direction)?;
        // SAFETY: the memory of the buffer is mapped, by the invariant of the active part.
        unsafe { active.adapter.synchronise(span.mdl(), direction) }
    }

    /// How many bytes the system's DMA controller has left to transfer: `ReadDmaCounter`.
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::WrongAdapter`] for a bus master, which counts itself; [`Error::NotOffered`].
    pub fn remaining(&self) -> Result<u32, Error> {
        let adapter = &self.active.adapter;
        if !adapter.is_system() {
            return Err(Error::WrongAdapter);
        }
        let read = adapter.table.read_counter()?;
        // SAFETY: the adapter is live.
        Ok(unsafe { read(adapter.as_ptr()) })
    }

    /// Marks the transfer as cancelled, so that nothing more is transferred: `CancelMappedTransfer`. It has
    /// to be flushed all the same. The page of the routine speaks of system DMA and asks for the context of
    /// `AllocateAdapterChannelEx`, which bus masters have as well; it does not exclude those.
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`], also for registers of [`MapRegisters::wait_for`], which have no context;
    /// [`Error::Refused`].
    pub fn cancel(&self) -> Result<(), Error> {
        let adapter = &self.active.adapter;
        let cancel = adapter.table.cancel_transfer()?;
        let context = self.registers.context().ok_or(Error::NotOffered)?;
        // SAFETY: the adapter is live; the registers were asked for with this context.
        Error::check(unsafe { cancel(adapter.as_ptr(), context.as_ptr()) })
    }
}

impl Active {
    fn flush(&mut self) -> Result<(), Error> {
        if self.flushed {
            return Ok(());
        }
        self.flushed = true;
        let length = usize::try_from(self.length).map_err(|_| Error::BadRange)?;
        let span = self
            .buffer
            .span(self.direction)?
            .part(self.offset, length)?;
        let (raw, mdl) = (self.adapter.as_ptr(), span.mdl().as_ptr());
        let direction = self.direction.write_to_device();
        match self.flush {
            Flush::Plain(flush) => {
                let start = span.address(0);
                // SAFETY: exactly what was mapped, by the invariant.
                let done = unsafe { flush(raw, mdl, self.base, start, self.length, direction) };
                if done == 0 {
                    return Err(Error::Refused(crate::status::Status::UNSUCCESSFUL));
                }
                Ok(())
            }
            Flush::Ex(flush) => {
                let offset = u64::from(span.offset());
                // SAFETY: exactly what was mapped, by the invariant.
                let status = unsafe { flush(raw, mdl, self.base, offset, self.length, direction) };
                Error::check(status)
            }
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _: Result<(), Error> = self.flush();
    }
}
