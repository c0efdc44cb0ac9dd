//! Memory that is to be in a crash dump.
//!
//! When the system stops it asks, at `HIGH_LEVEL` and with all other processors frozen wherever
//! they were, which pages to add to the dump. So what is asked for then is a table that is sound at
//! any moment: a place is either empty or a whole range. It is only ever added to; a place that was
//! given back is used again. Nothing in it is freed before the system has been told not to ask.

// UNSAFETY: registers a callback of the kernel, and is called back with raw pointers.
#![expect(unsafe_code, reason = "calls the bug check routines of the kernel")]

use core::{
    cell::UnsafeCell,
    ffi::c_void,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

use wdk_sys::{
    KBUGCHECK_ADD_PAGES, KBUGCHECK_CALLBACK_REASON, KBUGCHECK_REASON_CALLBACK_RECORD,
    ntddk::{KeDeregisterBugCheckReasonCallback, KeRegisterBugCheckReasonCallback},
};

use crate::{
    memory::{Memory, PAGE_SIZE},
    mutex::Mutex,
    pool::{Owned, Shared},
    status::{NoMemory, Status},
};

/// `KbCallbackAddPages`.
const ADD_PAGES: KBUGCHECK_CALLBACK_REASON = 4;
const VIRTUAL_ADDRESS: u32 = 1;
const ADDITIONAL_RANGES_EXIST: u32 = 0x8000_0000;
/// How many ranges a block of the table holds.
const BLOCK: usize = 63;
/// The name under which the system lists the callback.
static COMPONENT: [u8; 9] = *b"sanproxy\0";

/// A place for a range.
///
/// # Invariants
///
/// While `pages` is not zero, `start` is the first byte of as many pages that stay allocated.
struct Place {
    start: AtomicU64,
    pages: AtomicU64,
    /// The next free place, while this one is free and waits to be used again.
    next_free: AtomicPtr<Place>,
}

/// Some places, and where there are more.
struct Block {
    places: [Place; BLOCK],
    next: AtomicPtr<Block>,
}

/// Who may take places: one thread at a time.
struct Free {
    /// Places that were given back.
    first: *mut Place,
    /// The block used last, and how many of its places have been used.
    block: *mut Block,
    used: usize,
}

// SAFETY: the places and blocks that it points to live as long as the table.
unsafe impl Send for Free {}

/// The record that the system keeps on a list, and what is found from it.
#[repr(C)]
struct Table {
    record: UnsafeCell<KBUGCHECK_REASON_CALLBACK_RECORD>,
    first: AtomicPtr<Block>,
    // Where the system's questions have got to.
    block: AtomicPtr<Block>,
    place: AtomicU32,
    free: Mutex<Free>,
}

// SAFETY: never moved from where it was registered; it may be dropped by any thread.
unsafe impl Send for Table {}
// SAFETY: the record is the system's; everything else is atomic or locked.
unsafe impl Sync for Table {}

/// The ranges of a driver that are to be in crash dumps.
///
/// # Invariants
///
/// The system knows the record of the table, and the blocks of the table are live.
pub struct CrashDump(Owned<Table>);

/// A range that is to be in crash dumps, until dropped.
///
/// # Invariants
///
/// `place` is one of the table's, and nobody else's.
pub struct Marked {
    place: NonNull<Place>,
    dump: Shared<CrashDump>,
    /// Kept allocated as long as it is in the table.
    memory: Memory,
}

// SAFETY: a place is changed with atomic accesses only.
unsafe impl Send for Marked {}
// SAFETY: as above.
unsafe impl Sync for Marked {}

const fn empty() -> Block {
    Block {
        places: [const {
            Place {
                start: AtomicU64::new(0),
                pages: AtomicU64::new(0),
                next_free: AtomicPtr::new(ptr::null_mut()),
            }
        }; BLOCK],
        next: AtomicPtr::new(ptr::null_mut()),
    }
}

impl CrashDump {
    /// An empty table, which the system asks from now on.
    ///
    /// # Errors
    ///
    /// [`Status::INSUFFICIENT_RESOURCES`] if there is no memory, or the system does not want to.
    pub fn register() -> Result<Self, Status> {
        let table = Owned::new(Table {
            // All zero is what `KeInitializeCallbackRecord` leaves.
            record: UnsafeCell::default(),
            first: AtomicPtr::new(ptr::null_mut()),
            block: AtomicPtr::new(ptr::null_mut()),
            place: AtomicU32::new(0),
            free: Mutex::new(Free {
                first: ptr::null_mut(),
                block: ptr::null_mut(),
                used: BLOCK,
            }),
        })?;
        // SAFETY: the record lies in nonpaged pool until it is deregistered in `drop`; the name is
        // static, and not written to.
        let registered = unsafe {
            KeRegisterBugCheckReasonCallback(
                table.record.get(),
                Some(add_pages),
                ADD_PAGES,
                COMPONENT.as_ptr().cast_mut(),
            )
        };
        if registered == 0 {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        // INVARIANT: just registered.
        Ok(Self(table))
    }

    /// A place that nobody uses.
    fn take(&self) -> Result<NonNull<Place>, NoMemory> {
        loop {
            if let Some(place) = self.0.free.lock().take() {
                return Ok(place);
            }
            // Memory is asked for with no lock held.
            let block = Owned::new(empty())?;
            let refused = self.0.free.lock().add(&self.0.first, block);
            drop(refused);
        }
    }
}

impl Free {
    fn take(&mut self) -> Option<NonNull<Place>> {
        if let Some(place) = NonNull::new(self.first) {
            // SAFETY: places live as long as the table.
            let free = unsafe { place.as_ref() };
            self.first = free.next_free.load(Ordering::Relaxed);
            return Some(place);
        }
        // SAFETY: null, or a block of the table.
        let block = unsafe { self.block.as_ref() }?;
        let place = block.places.get(self.used)?;
        self.used = self.used.saturating_add(1);
        Some(NonNull::from(place))
    }

    /// Appends a block, or hands it back if there is room meanwhile.
    fn add(&mut self, first: &AtomicPtr<Block>, block: Owned<Block>) -> Option<Owned<Block>> {
        if !self.first.is_null() || self.used < BLOCK {
            return Some(block);
        }
        let block = block.into_raw();
        // SAFETY: null, or a block of the table.
        match unsafe { self.block.as_ref() } {
            Some(last) => last.next.store(block, Ordering::Release),
            None => first.store(block, Ordering::Release),
        }
        self.block = block;
        self.used = 0;
        None
    }
}

impl Marked {
    /// Puts memory into crash dumps.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if there is no room in the table, and none can be made.
    pub fn new(dump: &Shared<CrashDump>, memory: Memory) -> Result<Self, NoMemory> {
        let place = dump.take()?;
        // INVARIANT: taken by nobody else.
        let marked = Self {
            place,
            dump: dump.clone(),
            memory,
        };
        let start = marked.memory.start().as_ptr().addr();
        let pages = marked.memory.length() / PAGE_SIZE;
        let place = marked.place();
        place
            .start
            .store(u64::try_from(start).unwrap_or(0), Ordering::Relaxed);
        // Last, so that the range is whole from the moment that it is there.
        place
            .pages
            .store(u64::try_from(pages).unwrap_or(0), Ordering::Release);
        Ok(marked)
    }

    const fn place(&self) -> &Place {
        // SAFETY: places live as long as the table, which is kept.
        unsafe { self.place.as_ref() }
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        // First of all: what follows, and the release of the memory, is not seen any more.
        self.place().pages.store(0, Ordering::Release);
        let mut free = self.dump.0.free.lock();
        self.place().next_free.store(free.first, Ordering::Relaxed);
        free.first = self.place.as_ptr();
    }
}

impl Drop for CrashDump {
    fn drop(&mut self) {
        // SAFETY: registered in `register`.
        let _: u8 = unsafe { KeDeregisterBugCheckReasonCallback(self.0.record.get()) };
        let mut block = self.0.first.load(Ordering::Acquire);
        while let Some(live) = NonNull::new(block) {
            // SAFETY: a block that `add` has put in the table, and nobody looks for any more.
            let owned = unsafe { Owned::from_raw(live) };
            block = owned.next.load(Ordering::Relaxed);
        }
    }
}

/// Names the next range. IRQL: `HIGH_LEVEL`; nothing is called, locked or allocated.
///
/// # Safety
///
/// Called by the system with the record of a table, and a structure for the answer.
unsafe extern "C" fn add_pages(
    _reason: KBUGCHECK_CALLBACK_REASON,
    record: *mut KBUGCHECK_REASON_CALLBACK_RECORD,
    data: *mut c_void,
    _length: u32,
) {
    let answer: *mut KBUGCHECK_ADD_PAGES = data.cast();
    let table: *const Table = record.cast_const().cast();
    // SAFETY: the record is the first field of a table, which lives until it is deregistered; the
    // system passes its answer structure.
    let (Some(table), Some(answer)) = (unsafe { table.as_ref() }, unsafe { answer.as_mut() })
    else {
        return;
    };
    if answer.Context.is_null() {
        // The first question.
        answer.Context = record.cast();
        table
            .block
            .store(table.first.load(Ordering::Acquire), Ordering::Relaxed);
        table.place.store(0, Ordering::Relaxed);
    }
    answer.Flags = VIRTUAL_ADDRESS;
    answer.Address = 0;
    answer.Count = 0;
    if let Some((start, pages)) = table.next() {
        answer.Flags = VIRTUAL_ADDRESS | ADDITIONAL_RANGES_EXIST;
        answer.Address = start;
        answer.Count = pages;
    }
}

impl Table {
    /// The next range from where the last question has got to.
    fn next(&self) -> Option<(u64, u64)> {
        loop {
            // SAFETY: null, or a block of the table: none is freed while the system may ask.
            let block = unsafe { self.block.load(Ordering::Relaxed).as_ref() }?;
            let index = self.place.load(Ordering::Relaxed);
            let place = usize::try_from(index)
                .ok()
                .and_then(|i| block.places.get(i));
            let Some(place) = place else {
                self.block
                    .store(block.next.load(Ordering::Acquire), Ordering::Relaxed);
                self.place.store(0, Ordering::Relaxed);
                continue;
            };
            self.place.store(index.saturating_add(1), Ordering::Relaxed);
            let pages = place.pages.load(Ordering::Acquire);
            if pages > 0 {
                return Some((place.start.load(Ordering::Relaxed), pages));
            }
        }
    }
}
