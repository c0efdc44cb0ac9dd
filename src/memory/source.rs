//! One block of memory that lies as asked.

use alloc::vec::Vec;

use sanproxy_abi::{AddressKind, CacheType, Error, Kind, Method, RegisterRequest};
use wdm::{
    contiguous::{ContiguousMemory, Wanted},
    dma::{Adapter, Allocator, BufferVector, BufferWanted, CommonBuffer, SharedBlock},
    memory::Memory,
    node::Node,
    pool::Shared,
    status::NoMemory,
};

use super::{Piece, Reserve, contract_cache, kernel_cache, placement::Place, push_within, reserve};
use crate::device::{Debt, Hardware};

/// Where all pieces of a registration come from.
pub(super) struct Source<'a> {
    pub(super) hardware: &'a Hardware,
    pub(super) request: &'a RegisterRequest,
    pub(super) node: Node,
    /// What is charged for the registration; blocks longer than their piece cost more.
    pub(super) debt: &'a Debt,
}

/// What a source gives, besides memory.
#[derive(Clone, Copy)]
pub(crate) struct Nature {
    pub(crate) method: Method,
    pub(crate) cache: CacheType,
    pub(crate) address_kind: AddressKind,
}

impl Source<'_> {
    /// One piece of `length` bytes, and what it is.
    pub(super) fn piece(&self, length: u64) -> Result<(Piece, Nature), Error> {
        let place = Place::of(self.request, length);
        match self.request.kind {
            Kind::CommonBuffer => self.common_buffer(&place),
            Kind::Contiguous => self.contiguous(&place),
            // The reserve is for registrations of a few pages.
            Kind::HostMemoryBuffer => match &self.hardware.adapter {
                Some(adapter) => self.of_adapter(adapter, &place),
                None => self.contiguous(&place),
            },
            Kind::UserBuffer => Err(Error::KindNotOffered),
        }
    }

    fn common_buffer(&self, place: &Place) -> Result<(Piece, Nature), Error> {
        let adapter = self
            .hardware
            .adapter
            .as_ref()
            .ok_or(Error::KindNotOffered)?;
        self.of_adapter(adapter, place)
            // The device reaches the reserve at all times, registered or not. So it comes last.
            .or_else(|error| self.cut(adapter, place).map_err(|_| error))
    }

    fn of_adapter(
        &self,
        adapter: &Shared<Adapter>,
        place: &Place,
    ) -> Result<(Piece, Nature), Error> {
        let allocator = adapter.allocator();
        let nature = Nature {
            method: method(allocator),
            cache: contract_cache(allocator.effective_cache(kernel_cache(self.request.cache))),
            address_kind: AddressKind::Logical,
        };
        self.fitting(place, |length| self.buffer(adapter, place, length))
            .map(|piece| (piece, nature))
    }

    /// A piece from the reserve, if that is of the sort that is asked for.
    fn cut(&self, adapter: &Adapter, place: &Place) -> Result<(Piece, Nature), Error> {
        let wanted = adapter
            .allocator()
            .effective_cache(kernel_cache(self.request.cache));
        let alike = |reserve: &&Shared<Reserve>| {
            self.node == Node::Any && reserve.cache() == contract_cache(wanted)
        };
        let reserve = self
            .hardware
            .reserve
            .as_ref()
            .filter(alike)
            .ok_or(Error::NoMemory)?;
        let nature = Nature {
            method: Method::Reserve,
            cache: reserve.cache(),
            address_kind: AddressKind::Logical,
        };
        Ok((reserve::cut(reserve, place)?, nature))
    }

    fn contiguous(&self, place: &Place) -> Result<(Piece, Nature), Error> {
        let (piece, address_kind) = if let Some(adapter) = &self.hardware.adapter {
            let within = |length| self.within_reach(adapter, place, length);
            let anywhere = |length| self.anywhere(adapter, place, length);
            let piece = self
                .fitting(place, within)
                .or_else(|_| self.fitting(place, anywhere))?;
            (piece, AddressKind::Logical)
        } else {
            let physical = |length| self.physical(place, length);
            (self.fitting(place, physical)?, AddressKind::Physical)
        };
        let nature = Nature {
            method: Method::ContiguousNode,
            cache: self.request.cache,
            address_kind,
        };
        Ok((piece, nature))
    }

    /// A block of the length, if it happens to lie as asked, or else the part that does of a longer
    /// one.
    fn fitting(
        &self,
        place: &Place,
        allocate: impl Fn(u64) -> Result<(Memory, u64), Error>,
    ) -> Result<Piece, Error> {
        let longest = u64::from(self.hardware.settings.maximum_length);
        let padded = place.padded_length().filter(|padded| *padded <= longest);
        let exact = allocate(place.length).and_then(|block| part(place, block));
        match (exact, padded) {
            (Err(_), Some(padded)) if padded > place.length => {
                let padding = self.debt.surcharge(padded.saturating_sub(place.length))?;
                let piece = allocate(padded).and_then(|block| part(place, block))?;
                Ok(piece.padded(padding))
            }
            (result, _) => result,
        }
    }

    fn buffer(
        &self,
        adapter: &Shared<Adapter>,
        place: &Place,
        length: u64,
    ) -> Result<(Memory, u64), Error> {
        let wanted = self.wanted(place, length)?;
        let buffer = CommonBuffer::new(adapter, &wanted).map_err(|_| Error::NoMemory)?;
        let address = buffer.logical_address();
        Ok((
            Memory::from(Shared::new(buffer).map_err(|_| Error::NoMemory)?),
            address,
        ))
    }

    fn wanted(&self, place: &Place, length: u64) -> Result<BufferWanted, Error> {
        Ok(BufferWanted {
            length: size(length)?,
            lowest: place.lowest,
            highest: place.highest,
            cache: kernel_cache(self.request.cache),
            node: self.node,
        })
    }

    /// All pieces of a registration from one call: `count` of `length` bytes, the last of which is
    /// cut to what is left.
    pub(super) fn vector(&self, length: u64, count: usize) -> Result<(Vec<Piece>, Nature), Error> {
        let (Kind::CommonBuffer, Some(adapter)) = (self.request.kind, &self.hardware.adapter)
        else {
            return Err(Error::NoMemory);
        };
        let place = Place::of(self.request, length);
        let number = u32::try_from(count).map_err(|_| Error::NoMemory)?;
        // All elements are of one length, the last of which may be more than is left.
        let total = length.saturating_mul(u64::from(number));
        let mut padding = match total.saturating_sub(self.request.length.bytes()) {
            0 => None,
            more => Some(self.debt.surcharge(more)?),
        };
        let vector = BufferVector::new(adapter, &self.wanted(&place, length)?, number);
        let vector = vector.and_then(|vector| Shared::new(vector).map_err(|_| NoMemory));
        let vector = vector.map_err(|_| Error::NoMemory)?;
        let mut pieces = Vec::new();
        pieces
            .try_reserve_exact(count)
            .map_err(|_| Error::NoMemory)?;
        let mut left = self.request.length.bytes();
        for index in 0..number {
            let element = BufferVector::element(&vector, index).ok_or(Error::NoMemory)?;
            let address = element.logical_address();
            let place = Place::of(self.request, left.min(length));
            let piece = exactly(&place, (Memory::from(element), address))?;
            left = left.saturating_sub(length);
            let piece = match padding.take_if(|_| left == 0) {
                Some(padding) => piece.padded(padding),
                None => piece,
            };
            push_within(&mut pieces, piece)?;
        }
        let cache = Allocator::Ex.effective_cache(kernel_cache(self.request.cache));
        let nature = Nature {
            method: Method::AllocateCommonBufferVector,
            cache: contract_cache(cache),
            address_kind: AddressKind::Logical,
        };
        Ok((pieces, nature))
    }

    /// Memory that the device reaches whether its addresses are translated or not.
    fn within_reach(
        &self,
        adapter: &Shared<Adapter>,
        place: &Place,
        length: u64,
    ) -> Result<(Memory, u64), Error> {
        let highest = place.highest.min(adapter.highest_address());
        let block = self.block(length, place.lowest, highest, place.boundary)?;
        share(adapter, block, place)
    }

    /// Memory wherever it lies, if the adapter can translate.
    fn anywhere(
        &self,
        adapter: &Shared<Adapter>,
        place: &Place,
        length: u64,
    ) -> Result<(Memory, u64), Error> {
        if !adapter.takes_any_block() {
            return Err(Error::NoMemory);
        }
        let block = self.block(length, 0, u64::MAX, None)?;
        share(adapter, block, place)
    }

    /// Memory that is used by its physical address, for want of an adapter.
    fn physical(&self, place: &Place, length: u64) -> Result<(Memory, u64), Error> {
        let block = self.block(length, place.lowest, place.highest, place.boundary)?;
        let address = block.physical_address();
        Ok((
            Memory::from(Shared::new(block).map_err(|_| Error::NoMemory)?),
            address,
        ))
    }

    fn block(
        &self,
        length: u64,
        lowest: u64,
        highest: u64,
        boundary: Option<u64>,
    ) -> Result<ContiguousMemory, Error> {
        let wanted = Wanted {
            length: size(length)?,
            lowest,
            highest,
            // A longer block is cut to the boundary afterwards.
            boundary: boundary.filter(|boundary| *boundary >= length).unwrap_or(0),
            cache: kernel_cache(self.request.cache),
            node: self.node,
        };
        ContiguousMemory::new(&wanted).map_err(|_| Error::NoMemory)
    }
}

/// Asks the adapter for the address of a block.
fn share(
    adapter: &Shared<Adapter>,
    block: ContiguousMemory,
    place: &Place,
) -> Result<(Memory, u64), Error> {
    let block = SharedBlock::new(adapter, block, place.lowest, place.highest)
        .map_err(|_| Error::NoMemory)?;
    let address = block.logical_address();
    Ok((
        Memory::from(Shared::new(block).map_err(|_| Error::NoMemory)?),
        address,
    ))
}

/// The part of a block that lies as asked.
fn part(place: &Place, (memory, address): (Memory, u64)) -> Result<Piece, Error> {
    let total = u64::try_from(memory.length()).map_err(|_| Error::NoMemory)?;
    let offset = place.offset_in(address, total).ok_or(Error::NoMemory)?;
    let part = memory
        .part(size(offset)?, size(place.length)?)
        .ok_or(Error::NoMemory)?;
    Ok(Piece::new(part, address.saturating_add(offset), None))
}

/// The start of a block, if it lies as asked.
fn exactly(place: &Place, (memory, address): (Memory, u64)) -> Result<Piece, Error> {
    if place.offset_in(address, place.length) != Some(0) {
        return Err(Error::NoMemory);
    }
    let part = memory.part(0, size(place.length)?).ok_or(Error::NoMemory)?;
    Ok(Piece::new(part, address, None))
}

fn size(bytes: u64) -> Result<usize, Error> {
    usize::try_from(bytes).map_err(|_| Error::NoMemory)
}

/// The contract's name for a routine.
pub(crate) const fn method(allocator: Allocator) -> Method {
    match allocator {
        Allocator::Plain => Method::AllocateCommonBuffer,
        Allocator::Ex => Method::AllocateCommonBufferEx,
        Allocator::WithBounds => Method::AllocateCommonBufferWithBounds,
    }
}
