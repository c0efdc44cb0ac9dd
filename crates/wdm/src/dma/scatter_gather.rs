//! Scatter/gather lists: the device's addresses of memory that lies in pieces.
//!
//! A list is asked for with the best routine of the table. `GetScatterGatherListEx` is told not to
//! wait: where resources are short it fails. `GetScatterGatherList` would wait, but for memory that
//! the device reaches it needs none.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::{DEVICE_OBJECT, IRP, KEVENT};

use super::{
    Adapter,
    operations::{Element, List, PutList},
};
use crate::{
    event, irql,
    locked_pages::LockedPages,
    mdl::Mdl,
    pool::{Owned, Shared},
    status::{NoMemory, Status},
};

/// `DMA_SYNCHRONOUS_CALLBACK`.
const SYNCHRONOUS: u32 = 1;
/// `DMA_TRANSFER_CONTEXT_SIZE_V1` on 64-bit systems, in words.
const CONTEXT_WORDS: usize = 16;

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From memory to the device, which cannot write the memory where an IOMMU prevents it.
    ToDevice,
    /// From the device to memory. On coherent processors such a list serves both ways.
    FromDevice,
}

impl Direction {
    const fn write_to_device(self) -> u8 {
        match self {
            Self::ToDevice => 1,
            Self::FromDevice => 0,
        }
    }
}

/// The routine that a list came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListRoutine {
    /// `GetScatterGatherList`.
    Get,
    /// `GetScatterGatherListEx`.
    GetEx,
}

/// A list that the adapter keeps, put back on drop.
///
/// # Invariants
///
/// `list` was given by `adapter` for `direction` and has not been put back. `context`, if there is
/// one, is what it was asked for with.
pub(super) struct HeldList {
    list: NonNull<List>,
    put: PutList,
    direction: Direction,
    adapter: Shared<Adapter>,
    context: Option<Owned<[u64; CONTEXT_WORDS]>>,
}

// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for HeldList {}
// SAFETY: as above; it is only read.
unsafe impl Sync for HeldList {}

/// What the list routine hands over, perhaps in another thread.
struct Delivery {
    list: *mut List,
    done: KEVENT,
}

impl HeldList {
    /// Gets a list for all that an MDL describes, and waits for it.
    ///
    /// # Errors
    ///
    /// [`NoMemory`], also if the table has no routine for lists.
    ///
    /// # Safety
    ///
    /// The MDL describes `length` resident bytes from `start` on, and both stay until the result is
    /// dropped.
    pub(super) unsafe fn new(
        adapter: &Shared<Adapter>,
        mdl: &Mdl,
        start: *mut c_void,
        length: usize,
        direction: Direction,
    ) -> Result<Self, NoMemory> {
        let put = adapter.table.put_list().ok_or(NoMemory)?;
        let length = u32::try_from(length).map_err(|_| NoMemory)?;
        let context = new_context(adapter)?;
        let mut delivery = Delivery {
            list: ptr::null_mut(),
            done: KEVENT::default(),
        };
        let delivery = &raw mut delivery;
        // SAFETY: stays within the delivery; nothing is read.
        let done = unsafe { &raw mut (*delivery).done };
        // SAFETY: the event stays on this stack until the wait below is over.
        unsafe { event::initialize(done) };
        let status = irql::at_dispatch_level(|| match &context {
            // SAFETY: the caller's promise; the delivery stays until `deliver` has run.
            Some(context) => unsafe { get_ex(adapter, context, mdl, length, direction, delivery) },
            // SAFETY: as above.
            None => unsafe { get(adapter, mdl, start, length, direction, delivery) },
        });
        if !Status(status).is_success() {
            return Err(NoMemory);
        }
        // SAFETY: `deliver` runs once, now or later, and signals.
        unsafe { event::wait(done) };
        // SAFETY: written by `deliver`, which is over.
        let list = NonNull::new(unsafe { (*delivery).list }).ok_or(NoMemory)?;
        Ok(Self {
            list,
            put,
            direction,
            adapter: adapter.clone(),
            context,
        })
    }

    /// The routine that it came from.
    pub(super) const fn routine(&self) -> ListRoutine {
        match self.context {
            Some(_) => ListRoutine::GetEx,
            None => ListRoutine::Get,
        }
    }

    /// How many elements it has.
    pub(super) fn count(&self) -> usize {
        // SAFETY: the list is live, by the invariant.
        usize::try_from(unsafe { (*self.list.as_ptr()).count }).unwrap_or(0)
    }

    /// One element: where the device finds it, and how many bytes.
    pub(super) fn element(&self, index: usize) -> Option<(u64, u32)> {
        if index >= self.count() {
            return None;
        }
        // SAFETY: stays within the list; nothing is read.
        let first: *const Element = unsafe { &raw const (*self.list.as_ptr()).first };
        // SAFETY: a list has as many elements as it says.
        let element = unsafe { first.wrapping_add(index).read() };
        Some((element.address, element.length))
    }

    /// The address of a list whose elements follow each other without a gap.
    pub(super) fn only_address(&self) -> Option<u64> {
        let (start, length) = self.element(0)?;
        let mut next = start.checked_add(u64::from(length))?;
        for index in 1..self.count() {
            let (address, length) = self.element(index)?;
            if address != next {
                return None;
            }
            next = next.checked_add(u64::from(length))?;
        }
        Some(start)
    }
}

impl Drop for HeldList {
    fn drop(&mut self) {
        let (raw, direction) = (self.adapter.as_ptr(), self.direction.write_to_device());
        irql::at_dispatch_level(|| {
            // SAFETY: given by the adapter for this direction, by the invariant, and never used
            // again.
            unsafe { (self.put)(raw, self.list.as_ptr(), direction) };
        });
    }
}

/// A context for one transfer, if the table has the routines that want one.
fn new_context(adapter: &Adapter) -> Result<Option<Owned<[u64; CONTEXT_WORDS]>>, NoMemory> {
    let Some((initialize, _)) = adapter.table.lists_ex() else {
        return Ok(None);
    };
    let context = Owned::new([0; CONTEXT_WORDS])?;
    // SAFETY: the adapter is live; the context has the size of version 1.
    let status = unsafe { initialize(adapter.as_ptr(), context.as_ptr().cast()) };
    // An adapter that cannot make one has the older routine still.
    Ok(Status(status).is_success().then_some(context))
}

/// Asks with the newer routine, which fails rather than wait.
///
/// # Safety
///
/// As for [`HeldList::new`]; the delivery stays until `deliver` has run.
unsafe fn get_ex(
    adapter: &Adapter,
    context: &Owned<[u64; CONTEXT_WORDS]>,
    mdl: &Mdl,
    length: u32,
    direction: Direction,
    delivery: *mut Delivery,
) -> i32 {
    let Some((_, get)) = adapter.table.lists_ex() else {
        return Status::NOT_SUPPORTED.0;
    };
    // SAFETY: the adapter and its device are live; the rest is the caller's promise.
    unsafe {
        get(
            adapter.as_ptr(),
            adapter.physical(),
            context.as_ptr().cast(),
            mdl.as_ptr(),
            0,
            length,
            SYNCHRONOUS,
            Some(deliver),
            delivery.cast(),
            direction.write_to_device(),
            ptr::null(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    }
}

/// Asks with the routine that every table has.
///
/// # Safety
///
/// As for [`HeldList::new`]; the delivery stays until `deliver` has run.
unsafe fn get(
    adapter: &Adapter,
    mdl: &Mdl,
    start: *mut c_void,
    length: u32,
    direction: Direction,
    delivery: *mut Delivery,
) -> i32 {
    let Some(get) = adapter.table.get_list() else {
        return Status::NOT_SUPPORTED.0;
    };
    // SAFETY: the adapter and its device are live; the rest is the caller's promise.
    unsafe {
        get(
            adapter.as_ptr(),
            adapter.function(),
            mdl.as_ptr(),
            start,
            length,
            Some(deliver),
            delivery.cast(),
            direction.write_to_device(),
        )
    }
}

/// Takes the list that the adapter made.
///
/// # Safety
///
/// Called by the adapter, with the context given to the list routine.
unsafe extern "C" fn deliver(
    _device: *mut DEVICE_OBJECT,
    _irp: *mut IRP,
    list: *mut List,
    context: *mut c_void,
) {
    let delivery = context.cast::<Delivery>();
    // SAFETY: stays within the delivery; nothing is read.
    let place = unsafe { &raw mut (*delivery).list };
    // SAFETY: the delivery is live until the event is signalled.
    unsafe { place.write(list) };
    // SAFETY: as above; nothing is read.
    let done = unsafe { &raw mut (*delivery).done };
    // SAFETY: set up before the list was asked for.
    unsafe { event::signal(done) };
}

/// The device's addresses of a process's locked pages, which stay locked as long as this lives.
pub struct ScatterGatherList {
    // Dropped in this order: the device loses the pages before they are unlocked.
    held: HeldList,
    pages: LockedPages,
}

impl ScatterGatherList {
    /// Makes locked pages reachable for the device.
    ///
    /// Whether these are the pages themselves is for the caller to know: where no IOMMU translates,
    /// the adapter copies what the device does not reach.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the adapter has not enough of something; the pages are unlocked.
    pub fn new(
        adapter: &Shared<Adapter>,
        pages: LockedPages,
        direction: Direction,
    ) -> Result<Self, NoMemory> {
        let start = usize::try_from(pages.address()).map_err(|_| NoMemory)?;
        let start = ptr::without_provenance_mut(start);
        // SAFETY: locked pages are resident, and are kept by the value that this makes.
        let held =
            unsafe { HeldList::new(adapter, pages.mdl(), start, pages.length(), direction) }?;
        Ok(Self { held, pages })
    }

    /// The pages.
    #[must_use]
    pub const fn pages(&self) -> &LockedPages {
        &self.pages
    }

    /// The routine that the list came from.
    #[must_use]
    pub const fn routine(&self) -> ListRoutine {
        self.held.routine()
    }

    /// Its elements, in order: where the device finds each, and how many bytes.
    pub fn elements(&self) -> impl Iterator<Item = (u64, u32)> {
        (0..self.held.count()).filter_map(|index| self.held.element(index))
    }
}
