//! Invalidating cached memory touches no heap: it may be the heap that is freeing the memory (R42).

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sanproxy_provider::{Access, CacheLimits, Error, Invalidation, Registrar, RegistrationCache};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get().wrapping_add(1)));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        CALLS.with(|calls| calls.set(calls.get().wrapping_add(1)));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A driver to which everything is right.
struct Willing;

impl Registrar for Willing {
    type Name = u64;
    type Secured = u64;
    type Memory = Vec<u64>;

    fn register(&self, start: u64, _: u64, _: Access) -> Result<(u64, Vec<u64>), Error> {
        Ok((start, vec![start; 3]))
    }

    fn release(&self, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn secure(&self, start: u64, _: u64, _: Access) -> Result<u64, Error> {
        Ok(start)
    }

    fn unsecure(&self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn invalidation_neither_allocates_nor_frees() {
    let limits = CacheLimits {
        bytes: u64::MAX,
        entries: u32::MAX,
    };
    let cache = RegistrationCache::new(Willing, limits);
    for page in 0..1000 {
        drop(cache.register(page << 12, 1 << 12, Access::Read));
    }
    let busy = cache.register(0, 16, Access::Read).expect("a hit");
    let before = CALLS.get();
    let some = cache.invalidate(1 << 12, 998 << 12);
    let rest = cache.invalidate(0, u64::MAX);
    let calls = CALLS.get() - before;
    assert_eq!(
        (some, rest),
        (Invalidation::Undone, Invalidation::NotUndone)
    );
    assert_eq!(calls, 0);
    drop(busy);
    drop(cache);
    assert!(CALLS.get() > before + 1000, "the counter counts");
}
