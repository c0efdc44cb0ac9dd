//! Many common buffers of one size from one call.
//!
//! Each is contiguous for the device, all together need not be: so a vector can be had where one
//! large buffer cannot.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::ptr::{self, NonNull};

use super::{
    Adapter, BufferWanted, Error,
    bounds::Bounds,
    signatures::{FreeVector, GetElement, Vector},
};
use crate::{
    memory::{self, CacheType, PAGE_SIZE},
    pool::Shared,
    status::{NoMemory, Status},
};

/// Zeroed buffers shared with the device, scrubbed and given back together on drop.
///
/// # Invariants
///
/// `raw` is a vector of `count` buffers of `length` bytes that `adapter` gave and has not taken
/// back; `element` and `free` are members of the adapter's table.
pub struct BufferVector {
    raw: NonNull<Vector>,
    count: u32,
    length: usize,
    cache: CacheType,
    element: GetElement,
    free: FreeVector,
    adapter: Shared<Adapter>,
}

// SAFETY: the pointer is only given to the adapter, whose routines synchronise themselves.
unsafe impl Send for BufferVector {}
// SAFETY: as above.
unsafe impl Sync for BufferVector {}

/// One buffer of a vector, which it keeps.
pub struct VectorElement {
    vector: Shared<BufferVector>,
    start: NonNull<u8>,
    logical: u64,
}

// SAFETY: the pointer is only used for accesses that tolerate each other.
unsafe impl Send for VectorElement {}
// SAFETY: as above.
unsafe impl Sync for VectorElement {}

impl BufferVector {
    /// Allocates `count` buffers, each as wanted, and zeroes them.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the table has no such routine, or the adapter not so much memory.
    pub fn new(
        adapter: &Shared<Adapter>,
        wanted: &BufferWanted,
        count: u32,
    ) -> Result<Self, NoMemory> {
        let table = adapter.table;
        let (allocate, element, free) = (
            table.allocate_vector()?,
            table.element()?,
            table.free_vector()?,
        );
        let length = u64::try_from(wanted.length).map_err(|_| NoMemory)?;
        if count == 0 || length == 0 || !wanted.length.is_multiple_of(PAGE_SIZE) {
            return Err(NoMemory);
        }
        let cache = super::Allocator::Ex.effective_cache(wanted.cache);
        let kind = i32::from(cache == CacheType::Cached); // `MmNonCached` or `MmCached`
        let bounds = Bounds::new(wanted.lowest, wanted.highest)?;
        let mut raw = ptr::null_mut();
        // SAFETY: the adapter is live; `raw` outlives the call.
        let status = unsafe {
            allocate(
                adapter.as_ptr(),
                bounds.lowest,
                bounds.highest,
                kind,
                wanted.node.preferred(),
                0,
                count,
                length,
                &raw mut raw,
            )
        };
        Status(status).ok().map_err(|_| NoMemory)?;
        let raw = NonNull::new(raw).ok_or(NoMemory)?;
        let adapter = adapter.clone();
        let vector = Self {
            raw,
            count,
            length: wanted.length,
            cache,
            element,
            free,
            adapter,
        };
        vector.zero();
        Ok(vector)
    }

    /// The buffer with a number.
    #[must_use]
    pub fn element(vector: &Shared<Self>, index: u32) -> Option<VectorElement> {
        let (start, logical) = vector.locate(index)?;
        Some(VectorElement {
            vector: vector.clone(),
            start,
            logical,
        })
    }

    /// Gives the last buffers back one by one, with `FreeCommonBufferFromVector`, until `count` are
    /// left. What is left is given back with the vector, which the system still keeps.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] if the table has no such routine.
    pub fn shrink(&mut self, count: u32) -> Result<(), Error> {
        let free = self.adapter.table.free_element()?;
        while self.count > count {
            let last = self.count.saturating_sub(1);
            self.zero_element(last);
            self.count = last;
            // SAFETY: the vector had that element, of which no value can exist: those own the
            // vector too, and this is the only owner.
            unsafe { free(self.adapter.as_ptr(), self.raw.as_ptr(), last) };
        }
        Ok(())
    }

    /// How many buffers it has.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    fn locate(&self, index: u32) -> Option<(NonNull<u8>, u64)> {
        if index >= self.count {
            return None;
        }
        let (mut start, mut logical) = (ptr::null_mut(), 0);
        let (adapter, raw) = (self.adapter.as_ptr(), self.raw.as_ptr());
        // SAFETY: the vector has that element, by the invariant; all outlives the call.
        unsafe { (self.element)(adapter, raw, index, &raw mut start, &raw mut logical) };
        Some((NonNull::new(start.cast())?, logical))
    }

    fn zero(&self) {
        (0..self.count).for_each(|index| self.zero_element(index));
    }

    fn zero_element(&self, index: u32) {
        if let Some((start, _)) = self.locate(index) {
            // SAFETY: a buffer of the vector, with its length.
            unsafe { memory::zero(start, self.length) };
        }
    }
}

impl Drop for BufferVector {
    fn drop(&mut self) {
        self.zero();
        // SAFETY: given by the adapter, by the invariant, and never used again.
        unsafe { (self.free)(self.adapter.as_ptr(), self.raw.as_ptr()) };
    }
}

impl VectorElement {
    /// Where the device finds the first byte.
    #[must_use]
    pub const fn logical_address(&self) -> u64 {
        self.logical
    }

    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn length(&self) -> usize {
        self.vector.length
    }

    pub(crate) fn cache(&self) -> CacheType {
        self.vector.cache
    }

    pub(crate) fn into_vector(self) -> Shared<BufferVector> {
        self.vector
    }
}
