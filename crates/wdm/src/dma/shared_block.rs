//! Contiguous memory of ours that an adapter makes reachable for its device.
//!
//! A physical address is not a device address: under DMA remapping the two have nothing to do with
//! each other. So the adapter is asked for the address, in one of two ways: it makes a common buffer
//! of the block, or, where the table is too old for that, it gives a scatter/gather list, which is
//! held for as long as the device may use the memory.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::{ffi::c_void, ptr, ptr::NonNull};

use wdk_sys::{DEVICE_OBJECT, IRP, KEVENT};

use super::{
    Adapter,
    operations::{CreateFromMdl, Element, ExtendedConfiguration, GetList, List, PutList},
};
use crate::{
    contiguous::ContiguousMemory,
    event, irql,
    mdl::Mdl,
    memory::CacheType,
    pool::Shared,
    status::{NoMemory, Status},
};

/// Transfers go both ways; a list for writing to memory serves both on coherent processors.
const FROM_DEVICE: u8 = 0;

/// How the adapter made the block reachable.
enum Reach {
    CommonBuffer,
    List { list: NonNull<List>, put: PutList },
}

/// A contiguous block at one device address.
///
/// # Invariants
///
/// `mdl` describes `memory`, and `reach` is what `adapter` gave for it and has not taken back.
pub struct SharedBlock {
    logical: u64,
    reach: Reach,
    adapter: Shared<Adapter>,
    // Dropped in this order: the description before what it describes.
    #[expect(
        dead_code,
        reason = "the adapter may use it as long as it makes the block reachable"
    )]
    mdl: Mdl,
    memory: ContiguousMemory,
}

// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for SharedBlock {}
// SAFETY: as above; it is only read.
unsafe impl Sync for SharedBlock {}

impl SharedBlock {
    /// Makes a block reachable at one address, between two bounds if the adapter takes those into
    /// account.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the adapter cannot, or would need more than one address.
    pub fn new(
        adapter: &Shared<Adapter>,
        memory: ContiguousMemory,
        lowest: u64,
        highest: u64,
    ) -> Result<Self, NoMemory> {
        // SAFETY: contiguous memory is resident, and kept by the value that this makes.
        let mdl = unsafe { Mdl::of_resident(memory.start(), memory.length()) }?;
        let (logical, reach) = reach(adapter, &mdl, &memory, lowest, highest)?;
        let block = Self {
            logical,
            reach,
            adapter: adapter.clone(),
            mdl,
            memory,
        };
        // Only now, so that dropping the block takes back what the adapter gave.
        if block.logical == u64::MAX {
            Err(NoMemory)
        } else {
            Ok(block)
        }
    }

    /// Where the device finds the first byte.
    #[must_use]
    pub const fn logical_address(&self) -> u64 {
        self.logical
    }

    /// The memory itself.
    pub(crate) const fn memory(&self) -> &ContiguousMemory {
        &self.memory
    }
}

impl Drop for SharedBlock {
    fn drop(&mut self) {
        let raw = self.adapter.as_ptr();
        match self.reach {
            Reach::CommonBuffer => {
                let length = u32::try_from(self.memory.length()).unwrap_or(u32::MAX);
                let start = self.memory.start().as_ptr().cast();
                let cached = u8::from(self.memory.cache() == CacheType::Cached);
                // SAFETY: made by `common_buffer` from this memory, and never used again. The
                // memory itself remains ours.
                unsafe { (self.adapter.free)(raw, length, self.logical, start, cached) };
            }
            Reach::List { list, put } => irql::at_dispatch_level(|| {
                // SAFETY: given by `scatter_gather`, and never used again.
                unsafe { put(raw, list.as_ptr(), FROM_DEVICE) };
            }),
        }
    }
}

/// Tries the two ways, one after the other.
fn reach(
    adapter: &Adapter,
    mdl: &Mdl,
    memory: &ContiguousMemory,
    lowest: u64,
    highest: u64,
) -> Result<(u64, Reach), NoMemory> {
    let created = adapter.table.create_from_mdl().ok_or(NoMemory);
    let created = created.and_then(|create| common_buffer(adapter, create, mdl, lowest, highest));
    if let Ok(logical) = created {
        return Ok((logical, Reach::CommonBuffer));
    }
    // For a block beyond the device's reach, a list might lead to a copy of it.
    let rest = u64::try_from(memory.length())
        .map_err(|_| NoMemory)?
        .saturating_sub(1);
    if memory.physical_address().saturating_add(rest) > adapter.highest_address() {
        return Err(NoMemory);
    }
    let routines = adapter.table.get_list().zip(adapter.table.put_list());
    let (get, put) = routines.ok_or(NoMemory)?;
    let list = scatter_gather(adapter, get, mdl, memory)?;
    // SAFETY: the list has just been given and is not yet put back.
    let logical = unsafe { only_address(list) }.unwrap_or(u64::MAX);
    Ok((logical, Reach::List { list, put }))
}

/// Has the adapter make a common buffer of the block.
fn common_buffer(
    adapter: &Adapter,
    create: CreateFromMdl,
    mdl: &Mdl,
    lowest: u64,
    highest: u64,
) -> Result<u64, NoMemory> {
    let mut limits = ExtendedConfiguration::limits(lowest, highest);
    let (configuration, count) = if (lowest, highest) == (0, u64::MAX) {
        (ptr::null_mut(), 0)
    } else {
        (&raw mut limits, 1)
    };
    let mut logical = 0;
    // SAFETY: the adapter is live; the MDL describes whole resident pages with a system address.
    let status = unsafe {
        create(
            adapter.as_ptr(),
            mdl.as_ptr(),
            configuration,
            count,
            &raw mut logical,
        )
    };
    if Status(status).is_success() {
        Ok(logical)
    } else {
        Err(NoMemory)
    }
}

/// What the list routine hands over, perhaps in another thread.
struct Delivery {
    list: *mut List,
    done: KEVENT,
}

/// Gets a list for the block and waits for it.
fn scatter_gather(
    adapter: &Adapter,
    get: GetList,
    mdl: &Mdl,
    memory: &ContiguousMemory,
) -> Result<NonNull<List>, NoMemory> {
    let length = u32::try_from(memory.length()).map_err(|_| NoMemory)?;
    let mut delivery = Delivery {
        list: ptr::null_mut(),
        done: KEVENT::default(),
    };
    let delivery = &raw mut delivery;
    // SAFETY: stays within the delivery; nothing is read.
    let done = unsafe { &raw mut (*delivery).done };
    // SAFETY: the event stays on this stack until the wait below is over.
    unsafe { event::initialize(done) };
    let status = irql::at_dispatch_level(|| {
        // SAFETY: the adapter and its device are live, the MDL describes the memory, and the
        // delivery stays until `deliver` has run.
        unsafe {
            get(
                adapter.as_ptr(),
                adapter.function(),
                mdl.as_ptr(),
                memory.start().as_ptr().cast(),
                length,
                Some(deliver),
                delivery.cast(),
                FROM_DEVICE,
            )
        }
    });
    if !Status(status).is_success() {
        return Err(NoMemory);
    }
    // SAFETY: `deliver` runs once, now or later, and signals.
    unsafe { event::wait(done) };
    // SAFETY: written by `deliver`, which is over.
    NonNull::new(unsafe { (*delivery).list }).ok_or(NoMemory)
}

/// Takes the list that the adapter made.
///
/// # Safety
///
/// Called by the adapter, with the context given to `GetScatterGatherList`.
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

/// The address of a list whose elements follow each other without a gap.
///
/// # Safety
///
/// The list is live.
unsafe fn only_address(list: NonNull<List>) -> Option<u64> {
    // SAFETY: stays within the list; nothing is read.
    let first: *const Element = unsafe { &raw const (*list.as_ptr()).first };
    // SAFETY: the list is live.
    let count = unsafe { (*list.as_ptr()).count };
    let mut start = None;
    let mut next = None;
    for index in 0..usize::try_from(count).ok()? {
        // SAFETY: a list has as many elements as it says.
        let element = unsafe { first.wrapping_add(index).read() };
        if next.is_some_and(|next| next != element.address) {
            return None;
        }
        start = start.or(Some(element.address));
        next = Some(element.address.checked_add(u64::from(element.length))?);
    }
    start
}
