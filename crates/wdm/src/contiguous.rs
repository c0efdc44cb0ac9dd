//! Physically contiguous memory from the memory manager, never executable.

// UNSAFETY: allocates, fills and frees memory.
#![expect(
    unsafe_code,
    reason = "calls the contiguous memory routines of the kernel"
)]

use core::ptr::NonNull;

use wdk_sys::{
    PHYSICAL_ADDRESS,
    ntddk::{MmAllocateContiguousNodeMemory, MmFreeContiguousMemory, MmGetPhysicalAddress},
};

use crate::{
    memory::{self, CacheType, PAGE_SIZE},
    node::Node,
    status::NoMemory,
};

const PAGE_READWRITE: u32 = 0x04;
const PAGE_NOCACHE: u32 = 0x200;
const PAGE_WRITECOMBINE: u32 = 0x400;

/// What contiguous memory is to be like. All addresses are physical.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How many bytes: whole pages.
    pub length: usize,
    /// The lowest address allowed.
    pub lowest: u64,
    /// The highest address allowed, inclusive.
    pub highest: u64,
    /// What it must not cross: 0, or a power of two.
    pub boundary: u64,
    /// How it is cached.
    pub cache: CacheType,
    /// Where it should come from.
    pub node: Node,
}

/// Zeroed contiguous memory, scrubbed and given back on drop.
///
/// # Invariants
///
/// `start` and `length` are one allocation, not yet freed.
pub struct ContiguousMemory {
    start: NonNull<u8>,
    length: usize,
    cache: CacheType,
}

// SAFETY: the pointer is only used for accesses that tolerate each other.
unsafe impl Send for ContiguousMemory {}
// SAFETY: as above.
unsafe impl Sync for ContiguousMemory {}

/// As the kernel wants it: a signed number. Addresses never need the sign.
const fn physical(address: u64) -> PHYSICAL_ADDRESS {
    let highest = i64::MAX.cast_unsigned();
    let address = if address > highest { highest } else { address };
    PHYSICAL_ADDRESS {
        QuadPart: address.cast_signed(),
    }
}

impl ContiguousMemory {
    /// Allocates memory as wanted, and zeroes it.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if there is no such run of pages, or `length` is no whole number of pages.
    pub fn new(wanted: &Wanted) -> Result<Self, NoMemory> {
        let length = wanted.length;
        if length == 0 || !length.is_multiple_of(PAGE_SIZE) {
            return Err(NoMemory);
        }
        let protection = match wanted.cache {
            CacheType::NonCached => PAGE_READWRITE | PAGE_NOCACHE,
            CacheType::Cached => PAGE_READWRITE,
            CacheType::WriteCombined => PAGE_READWRITE | PAGE_WRITECOMBINE,
        };
        // SAFETY: has no preconditions beyond the IRQL.
        let start = unsafe {
            MmAllocateContiguousNodeMemory(
                u64::try_from(length).map_err(|_| NoMemory)?,
                physical(wanted.lowest),
                physical(wanted.highest),
                physical(wanted.boundary),
                protection,
                wanted.node.preferred(),
            )
        };
        let start = NonNull::new(start.cast()).ok_or(NoMemory)?;
        // SAFETY: just allocated, with this length.
        unsafe { memory::zero(start, length) };
        // INVARIANT: the call above returned exactly this.
        Ok(Self {
            start,
            length,
            cache: wanted.cache,
        })
    }

    /// The physical address of the first byte.
    #[must_use]
    pub fn physical_address(&self) -> u64 {
        // SAFETY: has no preconditions.
        let address = unsafe { MmGetPhysicalAddress(self.start.as_ptr().cast()) };
        // SAFETY: all members of the union are views of the same eight bytes.
        unsafe { address.QuadPart }.cast_unsigned()
    }

    /// How many bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// How they are cached.
    #[must_use]
    pub const fn cache(&self) -> CacheType {
        self.cache
    }

    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for ContiguousMemory {
    fn drop(&mut self) {
        // SAFETY: still allocated, by the invariant.
        unsafe { memory::zero(self.start, self.length) };
        // SAFETY: allocated by `new`, and never used again.
        unsafe { MmFreeContiguousMemory(self.start.as_ptr().cast()) };
    }
}
