//! Contiguous memory of ours that an adapter makes reachable for its device.
//!
//! A physical address is not a device address: under DMA remapping the two have nothing to do with
//! each other. So the adapter is asked for the address, in one of two ways: it makes a common buffer
//! of the block, or, where the table is too old for that, it gives a scatter/gather list, which is
//! held for as long as the device may use the memory.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use core::ptr;

use super::{
    Adapter, Direction,
    bounds::Bounds,
    held_list::HeldList,
    signatures::{CreateFromMdl, ExtendedConfiguration},
    span::Span,
};
use crate::{
    contiguous::ContiguousMemory,
    mdl::Mdl,
    memory::CacheType,
    pool::Shared,
    status::{NoMemory, Status},
};

/// How the adapter made the block reachable.
enum Reach {
    CommonBuffer,
    List(#[expect(dead_code, reason = "put back on drop")] HeldList),
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
        Ok(Self {
            logical,
            reach,
            adapter: adapter.clone(),
            mdl,
            memory,
        })
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
        match self.reach {
            Reach::CommonBuffer => {
                let raw = self.adapter.as_ptr();
                let length = u32::try_from(self.memory.length()).unwrap_or(u32::MAX);
                let start = self.memory.start().as_ptr().cast();
                let cached = u8::from(self.memory.cache() == CacheType::Cached);
                // SAFETY: made by `common_buffer` from this memory, and never used again. The
                // memory itself remains ours.
                unsafe { (self.adapter.free)(raw, length, self.logical, start, cached) };
            }
            // Dropped after this, before the description and the memory.
            Reach::List(_) => {}
        }
    }
}

/// Tries the two ways, one after the other.
fn reach(
    adapter: &Shared<Adapter>,
    mdl: &Mdl,
    memory: &ContiguousMemory,
    lowest: u64,
    highest: u64,
) -> Result<(u64, Reach), NoMemory> {
    let bounds = Bounds::new(lowest, highest)?;
    let created = adapter.table.create_from_mdl().map_err(NoMemory::from);
    let created = created.and_then(|create| common_buffer(adapter, create, mdl, bounds));
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
    let start = memory.start().as_ptr().cast();
    // Transfers go both ways.
    let span = Span::whole(mdl, start, memory.length(), Direction::FromDevice)?;
    // SAFETY: contiguous memory is resident; the caller keeps both with the list.
    let list = unsafe { HeldList::new(adapter, &span) }?;
    let logical = list.only_address().ok_or(NoMemory)?;
    Ok((logical, Reach::List(list)))
}

/// Has the adapter make a common buffer of the block.
fn common_buffer(
    adapter: &Adapter,
    create: CreateFromMdl,
    mdl: &Mdl,
    bounds: Bounds,
) -> Result<u64, NoMemory> {
    let mut limits = ExtendedConfiguration::limits(bounds.lowest, bounds.highest);
    let (configuration, count) = match (bounds.lower(), bounds.upper()) {
        (None, None) => (ptr::null_mut(), 0),
        _ => (&raw mut limits, 1),
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
