//! The caller's own memory, locked and made reachable for the device.
//!
//! A long range is locked in chunks that the adapter can list, and the parts of it that follow each
//! other for the device are told as one. Where the adapter would copy what the device does not reach,
//! the range is refused, or the driver copies it if the caller allows that.

use alloc::vec::Vec;

use sanproxy_abi::{
    Access, AddressKind, CacheType, Error, Method, PAGE_SIZE, RegisterFlags,
    RegisterUserBufferRequest, Side,
};
use wdm::{
    dma::{self, Adapter, Direction, ListRoutine, ScatterGatherList},
    locked_pages::{self, LockError, LockedPages},
    pool::Shared,
    window::Window,
};

use super::{Piece, copied::Copied, push_within, source::Nature};
use crate::{
    address_space::AddressSpace,
    device::{Debt, ExtraDebt, Hardware},
};

/// The longest chunk: an MDL counts its bytes in 32 bits, and this one's page numbers take 2 MiB.
const LONGEST_CHUNK: u64 = 1 << 30;

/// A part of a user buffer that is contiguous for the device.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Where the device finds it.
    pub(crate) address: u64,
    /// Where in the buffer it begins.
    pub(crate) offset: u64,
    /// How many bytes.
    pub(crate) length: u64,
}

/// Locked memory of a process. The device loses it before it is unlocked.
pub(crate) struct UserBuffer {
    start: u64,
    access: Access,
    extents: Vec<Extent>,
    way: Way,
    #[expect(
        dead_code,
        reason = "the rest of the first and last page counts until it is unlocked"
    )]
    padding: Option<ExtraDebt>,
}

/// How the device gets at the memory.
enum Way {
    /// It has the pages themselves.
    Pages(Vec<ScatterGatherList>),
    /// It has a copy.
    Copy(Copied),
}

/// Some bytes of a user buffer that lie in one chunk of its pages.
pub(super) struct InChunk<'a> {
    pub(super) window: Window<'a>,
    /// Where in it.
    pub(super) offset: u64,
}

impl UserBuffer {
    /// Locks memory of the current process, whose address space it has to be, and makes it reachable: as it
    /// lies, or by a copy if it cannot be and the caller allows that.
    pub(crate) fn lock(
        hardware: &Hardware,
        request: &RegisterUserBufferRequest,
        space: &AddressSpace,
        debt: &Debt,
    ) -> Result<(Self, Nature), Error> {
        match Self::lock_pages(hardware, request, space, debt) {
            Err(Error::OutOfReach) if request.flags.contains(RegisterFlags::COPY) => {
                Self::copy(hardware, request, space, debt)
            }
            result => result,
        }
    }

    #[inline(never)]
    fn copy(
        hardware: &Hardware,
        request: &RegisterUserBufferRequest,
        space: &AddressSpace,
        debt: &Debt,
    ) -> Result<(Self, Nature), Error> {
        let padding = padding(request, debt)?;
        let (copied, nature) = Copied::new(hardware, request, space, debt)?;
        let buffer = Self {
            start: request.range.start(),
            access: request.access,
            extents: copied.extents()?,
            way: Way::Copy(copied),
            padding,
        };
        Ok((buffer, nature))
    }

    #[inline(never)]
    fn lock_pages(
        hardware: &Hardware,
        request: &RegisterUserBufferRequest,
        space: &AddressSpace,
        debt: &Debt,
    ) -> Result<(Self, Nature), Error> {
        let adapter = hardware.adapter.as_ref().ok_or(Error::KindNotOffered)?;
        let range = request.range;
        let padding = padding(request, debt)?;
        let chunks = list_chunks(adapter, request, space)?;
        let extents = extents(&chunks)?;
        let total: u64 = extents.iter().map(|extent| extent.length).sum();
        if total != range.length() {
            return Err(Error::NoMemory);
        }
        let within = |extent: &Extent| request.bounds.contain(extent.address, extent.length);
        let pieces = request.flags.contains(RegisterFlags::ALLOW_PIECES);
        if !extents.iter().all(within) || (extents.len() > 1 && !pieces) {
            return Err(Error::OutOfReach);
        }
        let nature = Nature {
            method: chunks.first().map_or(Method::None, method),
            cache: CacheType::Cached,
            address_kind: AddressKind::Logical,
        };
        let buffer = Self {
            start: range.start(),
            access: request.access,
            extents,
            way: Way::Pages(chunks),
            padding,
        };
        Ok((buffer, nature))
    }

    /// The parts, in order.
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The device is told of it: what it writes from now on is for the process.
    pub(crate) fn use_it(&self) {
        match &self.way {
            Way::Pages(_) => {}
            Way::Copy(copied) => copied.use_it(),
        }
    }

    /// Whether the device may do that.
    pub(crate) const fn allows(&self, access: Access) -> Result<(), Error> {
        if self.access.grants(access) {
            Ok(())
        } else {
            Err(Error::Access)
        }
    }

    /// The copy, if there is one.
    pub(super) fn copied_pieces(&self) -> Option<&[Piece]> {
        match &self.way {
            Way::Pages(_) => None,
            Way::Copy(copied) => Some(copied.pieces()),
        }
    }

    /// From `offset` on, what lies in one chunk of the pages; `None` if it is a copy.
    pub(super) fn in_chunk(&self, offset: u64) -> Option<Result<InChunk<'_>, Error>> {
        let (list, before) = self.chunks_from(offset)?.next()?;
        let window = list.pages().window().map_err(|_| Error::NoMemory);
        let offset = offset.checked_sub(before)?;
        Some(window.map(|window| InChunk { window, offset }))
    }

    /// The chunk in which `offset` lies and those after it, each with where it begins.
    fn chunks_from(&self, offset: u64) -> Option<impl Iterator<Item = (&ScatterGatherList, u64)>> {
        let Way::Pages(chunks) = &self.way else {
            return None;
        };
        let mut end = 0_u64;
        let chunks = chunks.iter().map(move |list| {
            let before = end;
            let length = u64::try_from(list.pages().length()).unwrap_or(0);
            end = end.saturating_add(length);
            (list, before, end)
        });
        Some(
            chunks
                .skip_while(move |(_, _, end)| *end <= offset)
                .map(|(list, before, _)| (list, before)),
        )
    }

    /// Makes sure that the kernel can reach a range, which has been checked.
    pub(crate) fn open(&self, offset: u64, length: u64) -> Result<(), Error> {
        let end = offset.saturating_add(length);
        let Some(chunks) = self.chunks_from(offset) else {
            return Ok(());
        };
        for (list, _) in chunks.take_while(|(_, before)| *before < end) {
            list.pages().window().map_err(|_| Error::NoMemory)?;
        }
        Ok(())
    }

    /// Brings a range, which has been checked, up to date for one side.
    pub(crate) fn synchronize(&self, side: Side, offset: u64, length: u64) -> Result<(), Error> {
        let (access, direction) = match side {
            Side::Device => (Access::Read, Direction::ToDevice),
            Side::Processor => (Access::Write, Direction::FromDevice),
        };
        self.allows(access)?;
        if let Way::Copy(copied) = &self.way {
            return copied.bring(side, offset, length).ok_or(Error::NoMemory);
        }
        let end = offset.saturating_add(length);
        let Some(chunks) = self.chunks_from(offset) else {
            return Ok(());
        };
        for (list, _) in chunks.take_while(|(_, before)| *before < end) {
            list.synchronise(direction).map_err(|error| match error {
                dma::Error::NotOffered | dma::Error::WrongAdapter => Error::NotSynchronizable,
                dma::Error::BadRange
                | dma::Error::NoMemory
                | dma::Error::NoRegisters
                | dma::Error::Busy
                | dma::Error::Refused(_) => Error::NoMemory,
            })?;
        }
        Ok(())
    }

    /// Where the process finds an offset.
    pub(crate) const fn user_address(&self, offset: u64) -> u64 {
        self.start.saturating_add(offset)
    }
}

/// Charges what the first and last page have beyond the range.
fn padding(request: &RegisterUserBufferRequest, debt: &Debt) -> Result<Option<ExtraDebt>, Error> {
    let range = request.range;
    Ok(match range.page_bytes().saturating_sub(range.length()) {
        0 => None,
        rest => Some(debt.surcharge(rest)?),
    })
}

/// Locks the range in chunks, each with its list; if one fails, all are unlocked.
fn list_chunks(
    adapter: &Shared<Adapter>,
    request: &RegisterUserBufferRequest,
    space: &AddressSpace,
) -> Result<Vec<ScatterGatherList>, Error> {
    let range = request.range;
    let longest = longest_chunk(adapter);
    let count = range.page_bytes().div_ceil(longest);
    let mut chunks = Vec::new();
    chunks
        .try_reserve_exact(usize::try_from(count).map_err(|_| Error::NoMemory)?)
        .map_err(|_| Error::NoMemory)?;
    let (mut start, mut left) = (range.start(), range.length());
    while left > 0 {
        // All but the first begin at a page.
        let into = start.checked_rem(PAGE_SIZE).unwrap_or(0);
        let length = left.min(longest.saturating_sub(into));
        push_within(
            &mut chunks,
            list_chunk(adapter, request, space, start, length)?,
        )?;
        start = start.saturating_add(length);
        left = left.saturating_sub(length);
    }
    Ok(chunks)
}

/// What one list can hold: one map register is spare, because a range may begin inside of a page.
fn longest_chunk(adapter: &Adapter) -> u64 {
    let pages = u64::from(adapter.map_registers()).saturating_sub(1).max(1);
    pages.saturating_mul(PAGE_SIZE).min(LONGEST_CHUNK)
}

/// Locks a part of the range.
pub(super) fn lock_chunk(
    request: &RegisterUserBufferRequest,
    space: &AddressSpace,
    start: u64,
    length: u64,
) -> Result<LockedPages, Error> {
    let bytes = usize::try_from(length).map_err(|_| Error::NoMemory)?;
    let access = match request.access {
        Access::Read => locked_pages::Access::Read,
        Access::Write => locked_pages::Access::Write,
        Access::ReadWrite => locked_pages::Access::Both,
    };
    space.with_own(start, length, || {
        LockedPages::new(start, bytes, access, space.process()).map_err(|error| match error {
            LockError::Range => Error::UserRange,
            LockError::NoMemory => Error::NoMemory,
        })
    })
}

/// Locks a part of the range, and lists it for the device.
fn list_chunk(
    adapter: &Shared<Adapter>,
    request: &RegisterUserBufferRequest,
    space: &AddressSpace,
    start: u64,
    length: u64,
) -> Result<ScatterGatherList, Error> {
    let pages = lock_chunk(request, space, start, length)?;
    let direction = match request.access {
        Access::Read => Direction::ToDevice,
        Access::Write | Access::ReadWrite => Direction::FromDevice,
    };
    // What the device does not reach, the adapter would copy: then the two sides would not share it.
    if !adapter.translates() && pages.highest_physical_address() > adapter.highest_address() {
        return Err(Error::OutOfReach);
    }
    ScatterGatherList::new(adapter, pages, direction).map_err(|_| Error::NoMemory)
}

/// The parts of all lists, those joined that follow each other for the device.
fn extents(chunks: &[ScatterGatherList]) -> Result<Vec<Extent>, Error> {
    let mut extents: Vec<Extent> = Vec::new();
    extents
        .try_reserve_exact(joined(chunks, |_| Ok(()))?)
        .map_err(|_| Error::NoMemory)?;
    joined(chunks, |extent| push_within(&mut extents, extent))?;
    Ok(extents)
}

/// Gives each part to `take`, and tells how many there were.
fn joined(
    chunks: &[ScatterGatherList],
    mut take: impl FnMut(Extent) -> Result<(), Error>,
) -> Result<usize, Error> {
    let mut count = 0_usize;
    let mut open: Option<Extent> = None;
    for (address, length) in chunks.iter().flat_map(ScatterGatherList::elements) {
        let length = u64::from(length);
        open = Some(match open {
            Some(extent) if extent.address.checked_add(extent.length) == Some(address) => Extent {
                length: extent.length.saturating_add(length),
                ..extent
            },
            Some(extent) => {
                take(extent)?;
                count = count.saturating_add(1);
                Extent {
                    address,
                    offset: extent.offset.saturating_add(extent.length),
                    length,
                }
            }
            None => Extent {
                address,
                offset: 0,
                length,
            },
        });
    }
    if let Some(extent) = open {
        take(extent)?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// The contract's name for the routine.
fn method(list: &ScatterGatherList) -> Method {
    match list.routine() {
        ListRoutine::Get => Method::GetScatterGatherList,
        ListRoutine::GetEx => Method::GetScatterGatherListEx,
    }
}
