//! The caller's own memory, locked and made reachable for the device.
//!
//! A long range is locked in chunks that the adapter can list, and the parts of it that follow each
//! other for the device are told as one. The memory is never copied: where the adapter would copy
//! what the device does not reach, the range is refused.

use alloc::vec::Vec;

use sanproxy_abi::{
    Access, AddressKind, CacheType, Error, Method, PAGE_SIZE, RegisterFlags,
    RegisterUserBufferRequest,
};
use wdm::{
    dma::{Adapter, Direction, ListRoutine, ScatterGatherList},
    locked_pages::{self, LockError, LockedPages},
    pool::Shared,
};

use super::{push_within, source::Nature};
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
    extents: Vec<Extent>,
    #[expect(dead_code, reason = "kept reachable and locked")]
    chunks: Vec<ScatterGatherList>,
    #[expect(
        dead_code,
        reason = "the rest of the first and last page counts until it is unlocked"
    )]
    padding: Option<ExtraDebt>,
}

impl UserBuffer {
    /// Locks memory of the current process, which has to be `process`, and makes it reachable.
    pub(crate) fn lock(
        hardware: &Hardware,
        request: &RegisterUserBufferRequest,
        space: &AddressSpace,
        debt: &Debt,
    ) -> Result<(Self, Nature), Error> {
        let adapter = hardware.adapter.as_ref().ok_or(Error::KindNotOffered)?;
        let range = request.range;
        let padding = match range.page_bytes().saturating_sub(range.length()) {
            0 => None,
            rest => Some(debt.surcharge(rest)?),
        };
        let chunks = lock_chunks(adapter, request, space)?;
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
            extents,
            chunks,
            padding,
        };
        Ok((buffer, nature))
    }

    /// The parts, in order.
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Where the process finds an offset.
    pub(crate) const fn user_address(&self, offset: u64) -> u64 {
        self.start.saturating_add(offset)
    }
}

/// Locks the range in chunks, each with its list; if one fails, all are unlocked.
fn lock_chunks(
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
            lock_chunk(adapter, request, space, start, length)?,
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

fn lock_chunk(
    adapter: &Shared<Adapter>,
    request: &RegisterUserBufferRequest,
    space: &AddressSpace,
    start: u64,
    length: u64,
) -> Result<ScatterGatherList, Error> {
    let bytes = usize::try_from(length).map_err(|_| Error::NoMemory)?;
    let (access, direction) = match request.access {
        Access::Read => (locked_pages::Access::Read, Direction::ToDevice),
        Access::Write => (locked_pages::Access::Write, Direction::FromDevice),
        Access::ReadWrite => (locked_pages::Access::Both, Direction::FromDevice),
    };
    let pages = space.with_own(start, length, || {
        LockedPages::new(start, bytes, access, space.process()).map_err(|error| match error {
            LockError::Range => Error::UserRange,
            LockError::NoMemory => Error::NoMemory,
        })
    })?;
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
