//! Owners of nonpaged pool whose making may fail.
//!
//! They allocate through the global allocator of the driver, so that all its pool carries one tag.

// UNSAFETY: allocates, frees and dereferences pool blocks that these owners alone point to.
#![expect(unsafe_code, reason = "owners of raw memory")]

use alloc::alloc::{alloc, alloc_zeroed, dealloc};
use core::{
    alloc::Layout,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering, fence},
};

use crate::status::NoMemory;

/// The alignment of every block of pool; the allocator ignores what a type asks for.
const POOL_ALIGNMENT: usize = 16;

/// A block for one `T`, not initialised yet.
fn block<T>() -> Result<NonNull<T>, NoMemory> {
    const { assert!(size_of::<T>() > 0 && align_of::<T>() <= POOL_ALIGNMENT) };
    // SAFETY: the layout has a size.
    let block = unsafe { alloc(Layout::new::<T>()) };
    NonNull::new(block.cast()).ok_or(NoMemory)
}

/// One value in nonpaged pool, with one owner.
///
/// # Invariants
///
/// The pointer is a live block of `T`'s layout, initialised, and nobody else's.
pub struct Owned<T>(NonNull<T>);

// SAFETY: an owner is as good as the value itself.
unsafe impl<T: Send> Send for Owned<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Owned<T> {}

impl<T> Owned<T> {
    /// Moves `value` into pool.
    ///
    /// # Errors
    ///
    /// [`NoMemory`], and `value` is gone.
    pub fn new(value: T) -> Result<Self, NoMemory> {
        let block = block::<T>()?;
        // SAFETY: the block is new and has the layout of `T`.
        unsafe { block.write(value) };
        Ok(Self(block))
    }

    /// Where the value lies. It does not move while this owner lives.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Owned<T> {
    /// Gives the ownership to whoever holds the pointer.
    pub(crate) const fn into_raw(self) -> *mut T {
        let raw = self.0.as_ptr();
        core::mem::forget(self);
        raw
    }

    /// Takes the ownership back.
    ///
    /// # Safety
    ///
    /// `raw` came from [`Owned::into_raw`] of the same `T` and has not been taken back.
    pub(crate) const unsafe fn from_raw(raw: NonNull<T>) -> Self {
        Self(raw)
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: live and initialised, by the invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: live, initialised and unshared, by the invariant.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: initialised, and never used again.
        unsafe { self.0.drop_in_place() };
        // SAFETY: allocated by `block` with this layout.
        unsafe { dealloc(self.0.as_ptr().cast(), Layout::new::<T>()) };
    }
}

struct Counted<T> {
    owners: AtomicUsize,
    value: T,
}

/// One value in nonpaged pool, with many owners; the last one drops it.
///
/// # Invariants
///
/// The pointer is a live block, and `owners` counts the values of this type that point to it.
pub struct Shared<T>(NonNull<Counted<T>>);

// SAFETY: any owner may read the value and may be the one that drops it.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Moves `value` into pool.
    ///
    /// # Errors
    ///
    /// [`NoMemory`], and `value` is gone.
    pub fn new(value: T) -> Result<Self, NoMemory> {
        let block = block::<Counted<T>>()?;
        // SAFETY: the block is new and has the layout of its type.
        unsafe {
            block.write(Counted {
                owners: AtomicUsize::new(1),
                value,
            });
        };
        Ok(Self(block))
    }

    /// Gives the ownership to whoever holds the pointer.
    #[must_use]
    pub(crate) const fn into_raw(self) -> *mut core::ffi::c_void {
        let raw = self.0.as_ptr().cast();
        core::mem::forget(self);
        raw
    }

    /// Takes the ownership back.
    ///
    /// # Safety
    ///
    /// `raw` came from [`Shared::into_raw`] of the same `T` and has not been taken back.
    pub(crate) const unsafe fn from_raw(raw: NonNull<core::ffi::c_void>) -> Self {
        Self(raw.cast())
    }

    /// Another owner of the value that the holder of the pointer owns.
    ///
    /// # Safety
    ///
    /// `raw` came from [`Shared::into_raw`] of the same `T` and is not taken back meanwhile.
    pub(crate) unsafe fn clone_raw(raw: NonNull<core::ffi::c_void>) -> Self {
        // SAFETY: the caller's promise; the value made here is forgotten below.
        let owner = core::mem::ManuallyDrop::new(unsafe { Self::from_raw(raw) });
        Self::clone(&owner)
    }

    /// Whether both are owners of the same value.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: live and initialised, by the invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T> AsRef<T> for Shared<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        // An owner takes a pointer's worth of memory, so their number cannot overflow.
        self.counted().owners.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.counted().owners.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        // SAFETY: this was the last owner.
        unsafe { self.0.drop_in_place() };
        // SAFETY: allocated by `block` with this layout.
        unsafe { dealloc(self.0.as_ptr().cast(), Layout::new::<Counted<T>>()) };
    }
}

/// Bytes in nonpaged pool, with one owner.
///
/// # Invariants
///
/// The pointer is a live block of `length` bytes, which is not zero, and nobody else's.
pub struct Bytes {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: bytes are the same on every thread.
unsafe impl Send for Bytes {}
// SAFETY: as above; they are changed only by their one owner.
unsafe impl Sync for Bytes {}

impl Bytes {
    fn layout(length: usize) -> Result<Layout, NoMemory> {
        if length == 0 {
            return Err(NoMemory);
        }
        Layout::from_size_align(length, 1).map_err(|_| NoMemory)
    }

    /// That many zeroes.
    ///
    /// # Errors
    ///
    /// [`NoMemory`], also if the length is zero.
    pub fn zeroed(length: usize) -> Result<Self, NoMemory> {
        let layout = Self::layout(length)?;
        // SAFETY: the layout has a size.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).ok_or(NoMemory)?;
        Ok(Self { start, length })
    }

    /// The first byte, for routines of the kernel and devices that fill the block.
    pub(crate) const fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: live and initialised, by the invariant.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: live, initialised and unshared, by the invariant.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Ok(layout) = Self::layout(self.length) {
            // SAFETY: allocated by `zeroed` with this layout, and never used again.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}
