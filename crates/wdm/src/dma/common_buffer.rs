//! Common buffers: memory that the processor and a bus-master device both see.
//!
//! A buffer is zeroed when made and scrubbed when dropped, so neither side sees old bytes.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::ptr::{self, NonNull};

use super::{Adapter, DmaDomain, DomainMembership, Error, bounds::Bounds};
use crate::{
    memory::{self, CacheType, PAGE_SIZE},
    node::Node,
    pool::Shared,
    status::NoMemory,
};

/// A routine that makes common buffers, and what it can take into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// `AllocateCommonBuffer`: the length alone.
    Plain,
    /// `AllocateCommonBufferEx`: also the highest address, the cache type and the node.
    Ex,
    /// `AllocateCommonBufferWithBounds`: also the lowest address.
    WithBounds,
}

impl Allocator {
    /// The cache type that a buffer gets.
    #[must_use]
    pub const fn effective_cache(self, wanted: CacheType) -> CacheType {
        match (self, wanted) {
            // The plain routine takes no notice of the flag, on processors with coherent caches.
            (Self::Plain, _) | (_, CacheType::Cached) => CacheType::Cached,
            (_, CacheType::NonCached | CacheType::WriteCombined) => CacheType::NonCached,
        }
    }
}

/// What a common buffer is to be like. All addresses are the device's.
#[derive(Clone, Copy, Debug)]
pub struct BufferWanted {
    /// How many bytes: whole pages.
    pub length: usize,
    /// The lowest address allowed.
    pub lowest: u64,
    /// The highest address allowed, inclusive.
    pub highest: u64,
    /// How it is cached.
    pub cache: CacheType,
    /// Where it should come from.
    pub node: Node,
}

/// Zeroed memory shared with the device, scrubbed and given back on drop.
///
/// # Invariants
///
/// `start`, `length`, `logical` and `cached` are one allocation of `adapter`, not yet freed.
pub struct CommonBuffer {
    start: NonNull<u8>,
    length: u32,
    logical: u64,
    cached: u8,
    adapter: Shared<Adapter>,
    /// Not left before the buffer is freed.
    membership: Option<Shared<DomainMembership>>,
}

// SAFETY: the pointer is only used for accesses that tolerate each other.
unsafe impl Send for CommonBuffer {}
// SAFETY: as above.
unsafe impl Sync for CommonBuffer {}

impl CommonBuffer {
    /// Allocates a buffer as wanted, as far as the table's best routine takes it into account, and
    /// zeroes it. Where it came to lie is for the caller to check.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the adapter has no such run left, or `length` is no whole number of pages or
    /// more than the routines can count, or no address lies between the bounds. The kernel's
    /// addresses are signed: none lies at or above 2^63, and an upper bound up there bounds nothing.
    pub fn new(adapter: &Shared<Adapter>, wanted: &BufferWanted) -> Result<Self, NoMemory> {
        let length = u32::try_from(wanted.length).map_err(|_| NoMemory)?;
        if length == 0 || !wanted.length.is_multiple_of(PAGE_SIZE) {
            return Err(NoMemory);
        }
        let cache = adapter.allocator().effective_cache(wanted.cache);
        let cached = u8::from(cache == CacheType::Cached);
        let mut logical = 0;
        let start = allocate(adapter, wanted, length, cached, &mut logical)?;
        // SAFETY: just allocated, with this length.
        unsafe { memory::zero(start, wanted.length) };
        // INVARIANT: the call above returned exactly this.
        Ok(Self {
            start,
            length,
            logical,
            cached,
            adapter: adapter.clone(),
            membership: None,
        })
    }

    /// Allocates a buffer in the adapter's own domain, and zeroes it: `AllocateDomainCommonBuffer`. All devices
    /// that join the domain reach it at its address. It is given back with `FreeCommonBuffer`: the page
    /// of the routine names no other, and that member takes what it returns. The lowest address is not taken
    /// into account.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`], [`Error::Refused`], [`Error::BadRange`] if `length` is no whole number of
    /// pages, [`Error::NoMemory`] if no address lies between the bounds.
    pub fn in_own_domain(domain: &DmaDomain, wanted: &BufferWanted) -> Result<Self, Error> {
        Self::in_domain(domain.adapter(), domain, wanted)
    }

    /// The same in a domain that the adapter has joined, which it does not leave before the buffer is freed.
    ///
    /// # Errors
    ///
    /// As for [`CommonBuffer::in_own_domain`].
    pub fn in_joined_domain(
        membership: &Shared<DomainMembership>,
        wanted: &BufferWanted,
    ) -> Result<Self, Error> {
        let mut buffer = Self::in_domain(membership.adapter(), membership.domain(), wanted)?;
        buffer.membership = Some(membership.clone());
        Ok(buffer)
    }

    fn in_domain(
        adapter: &Shared<Adapter>,
        domain: &DmaDomain,
        wanted: &BufferWanted,
    ) -> Result<Self, Error> {
        let allocate = adapter.table.allocate_in_domain()?;
        let length = u32::try_from(wanted.length).map_err(|_| Error::BadRange)?;
        if length == 0 || !wanted.length.is_multiple_of(PAGE_SIZE) {
            return Err(Error::BadRange);
        }
        let bounds = Bounds::new(wanted.lowest, wanted.highest)?;
        let mut highest = bounds.highest;
        let highest = match bounds.upper() {
            Some(_) => &raw mut highest,
            None => ptr::null_mut(),
        };
        let cache = Allocator::WithBounds.effective_cache(wanted.cache);
        let cached = u8::from(cache == CacheType::Cached);
        let mut kind = i32::from(cached); // `MmNonCached` or `MmCached`
        let (mut logical, mut start) = (0, ptr::null_mut());
        // SAFETY: the adapter is live; the domain's handle is kept; everything pointed to outlives the
        // call.
        let status = unsafe {
            allocate(
                adapter.as_ptr(),
                domain.handle(),
                highest,
                length,
                0,
                &raw mut kind,
                wanted.node.preferred(),
                &raw mut logical,
                &raw mut start,
            )
        };
        Error::check(status)?;
        let start = NonNull::new(start.cast()).ok_or(Error::NoMemory)?;
        // SAFETY: just allocated, with this length.
        unsafe { memory::zero(start, wanted.length) };
        // INVARIANT: the call above returned exactly this.
        Ok(Self {
            start,
            length,
            logical,
            cached,
            adapter: adapter.clone(),
            membership: None,
        })
    }

    /// Where the device finds the first byte.
    #[must_use]
    pub const fn logical_address(&self) -> u64 {
        self.logical
    }

    /// How many bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        usize::try_from(self.length).unwrap_or(0)
    }

    /// How they are cached.
    #[must_use]
    pub const fn cache(&self) -> CacheType {
        if self.cached == 0 {
            CacheType::NonCached
        } else {
            CacheType::Cached
        }
    }

    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }
}

/// Calls the best routine of the table.
fn allocate(
    adapter: &Adapter,
    wanted: &BufferWanted,
    length: u32,
    cached: u8,
    logical: &mut u64,
) -> Result<NonNull<u8>, NoMemory> {
    let bounds = Bounds::new(wanted.lowest, wanted.highest)?;
    let (mut lowest, mut highest) = (bounds.lowest, bounds.highest);
    // A null pointer means that there is no bound.
    let lowest = match bounds.lower() {
        Some(_) => &raw mut lowest,
        None => ptr::null_mut(),
    };
    let highest = match bounds.upper() {
        Some(_) => &raw mut highest,
        None => ptr::null_mut(),
    };
    let (raw, node) = (adapter.as_ptr(), wanted.node.preferred());
    let table = adapter.table;
    let start = if let Ok(with_bounds) = table.allocate_with_bounds() {
        let mut cache = i32::from(cached); // `MmNonCached` or `MmCached`
        // SAFETY: the adapter is live; everything pointed to outlives the call.
        unsafe {
            with_bounds(
                raw,
                lowest,
                highest,
                length,
                0,
                &raw mut cache,
                node,
                logical,
            )
        }
    } else if let Ok(ex) = table.allocate_ex() {
        // SAFETY: the adapter is live; everything pointed to outlives the call.
        unsafe { ex(raw, highest, length, logical, cached, node) }
    } else {
        let plain = table.allocate()?;
        // SAFETY: the adapter is live; `logical` outlives the call.
        unsafe { plain(raw, length, logical, cached) }
    };
    NonNull::new(start.cast()).ok_or(NoMemory)
}

impl Drop for CommonBuffer {
    fn drop(&mut self) {
        // SAFETY: still allocated, by the invariant.
        unsafe { memory::zero(self.start, self.length()) };
        let (raw, start) = (self.adapter.as_ptr(), self.start.as_ptr().cast());
        // SAFETY: exactly what was allocated, by the invariant, and never used again.
        unsafe { (self.adapter.free)(raw, self.length, self.logical, start, self.cached) };
    }
}
