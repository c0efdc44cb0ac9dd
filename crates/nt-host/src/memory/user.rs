//! The address space of a process: memory of its own, mappings that a driver made, pages locked.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use nt_machine::{
    Arena, CacheType, FrameList, FrameRequest, Machine, MapOptions, PAGE_SIZE, Protection,
    pages_for,
};

use super::MemoryState;
use super::locked::LockedFrames;
use super::secure::Callback;
use super::stacks::Stack;
use crate::lock;
use crate::status::NtStatus;

/// Address space of a process.
const SPACE: u64 = 16 << 30;

/// Frames of a process's own; freed when neither the process nor a lock needs them.
pub(crate) struct Region {
    machine: Arc<Machine>,
    locked: Arc<LockedFrames>,
    frames: FrameList,
}

impl Drop for Region {
    fn drop(&mut self) {
        self.machine.release_cache(&self.frames);
        self.locked.give_back_later(&self.machine, &self.frames);
    }
}

/// A mapping of an MDL in a process.
pub(crate) struct View {
    /// The MDL.
    pub(crate) mdl: u64,
    /// Bytes mapped.
    pub(crate) length: u64,
    /// The frames.
    pub(crate) frames: FrameList,
    /// The kernel block shown.
    pub(crate) source: Option<u64>,
    /// Who mapped it.
    pub(crate) stack: Stack,
}

/// Pages of a process that an MDL keeps locked.
pub(crate) struct Lock {
    /// Pages.
    pub(crate) pages: u64,
    /// The memory that stays because of it.
    pub(crate) regions: Vec<Arc<Region>>,
    /// Who locked them.
    pub(crate) stack: Stack,
}

#[derive(Default)]
struct State {
    regions: BTreeMap<u64, Arc<Region>>,
    /// By the address given to the driver.
    views: BTreeMap<u64, View>,
    /// By MDL.
    locks: BTreeMap<u64, Lock>,
    /// By number.
    callbacks: BTreeMap<u64, Callback>,
    callbacks_made: u64,
}

/// The address space of one process.
pub(crate) struct ProcessMemory {
    /// Its addresses.
    pub(crate) arena: Arena,
    locked: Arc<LockedFrames>,
    state: Mutex<State>,
}

impl ProcessMemory {
    /// An empty address space.
    pub(crate) fn new(memory: &MemoryState) -> io::Result<Self> {
        Ok(Self {
            arena: Arena::user(&memory.machine, SPACE)?,
            locked: Arc::clone(&memory.locked),
            state: Mutex::default(),
        })
    }

    /// Zeroed pages of the process's own.
    pub(crate) fn allocate(&self, length: u64) -> Result<u64, NtStatus> {
        let region = self.region(length)?;
        let address = self.arena.map(&region.frames, MapOptions::READ_WRITE);
        let address = address.map_err(|_| NtStatus::NO_MEMORY)?;
        lock(&self.state).regions.insert(address, Arc::new(region));
        Ok(address)
    }

    /// Zeroed frames.
    fn region(&self, length: u64) -> Result<Region, NtStatus> {
        let machine = self.arena.machine();
        let frames = machine.allocate_pieces(&FrameRequest::anywhere(pages_for(length.max(1))));
        let frames = frames.ok_or(NtStatus::NO_MEMORY)?;
        machine.zero(&frames).map_err(|_| NtStatus::NO_MEMORY)?;
        machine
            .use_cache(&frames, CacheType::Cached)
            .map_err(|_| NtStatus::NO_MEMORY)?;
        Ok(Region {
            machine: Arc::clone(machine),
            locked: Arc::clone(&self.locked),
            frames,
        })
    }

    /// Other pages of the process's own where there were some; what is locked stays where it is.
    pub(crate) fn replace(&self, address: u64) -> Result<(), NtStatus> {
        let length = self.allocation_length(address);
        let region = self.region(length.ok_or(NtStatus::INVALID_PARAMETER)?)?;
        self.arena
            .remap(address, &region.frames)
            .map_err(|_| NtStatus::NO_MEMORY)?;
        let old = lock(&self.state).regions.insert(address, Arc::new(region));
        drop(old);
        Ok(())
    }

    /// Changes what the process may do with memory of its own.
    pub(crate) fn protect(&self, address: u64, to: Protection) -> Result<(), NtStatus> {
        self.arena
            .protect(address, to)
            .map_err(|_| NtStatus::INVALID_PARAMETER)
    }

    /// How long the memory of the process's own is that begins there.
    pub(crate) fn allocation_length(&self, address: u64) -> Option<u64> {
        let state = lock(&self.state);
        let region = state.regions.get(&address)?;
        Some(region.frames.pages() * PAGE_SIZE)
    }

    /// Whether one allocation of the process's own holds the range.
    pub(crate) fn has_allocation(&self, start: u64, end: u64) -> bool {
        let state = lock(&self.state);
        let region = state.regions.range(..=start).next_back();
        region.is_some_and(|(at, region)| end <= at + region.frames.pages() * PAGE_SIZE)
    }

    /// The frames of the pages of a range, if one mapping of a driver's holds it.
    pub(crate) fn view_frames(&self, start: u64, end: u64) -> Option<FrameList> {
        let state = lock(&self.state);
        let (at, view) = state.views.range(..end).next_back()?;
        let (first, pages) = (at / PAGE_SIZE * PAGE_SIZE, view.frames.pages());
        let inside = first <= start && end <= first + pages * PAGE_SIZE;
        let index = start.checked_sub(first)? / PAGE_SIZE;
        let last = (end - first).div_ceil(PAGE_SIZE);
        inside.then(|| view.frames.slice(index, last - index))
    }

    /// Has a callback called when secured memory is freed or protected; gives its number.
    pub(crate) fn add_callback(&self, callback: Callback) -> u64 {
        let mut state = lock(&self.state);
        state.callbacks_made += 1;
        let number = state.callbacks_made;
        state.callbacks.insert(number, callback);
        number
    }

    /// Has it called no more.
    pub(crate) fn remove_callback(&self, number: u64) {
        let removed = lock(&self.state).callbacks.remove(&number);
        drop(removed);
    }

    /// The callbacks, to be called with no lock held.
    pub(crate) fn callbacks(&self) -> Vec<Callback> {
        lock(&self.state).callbacks.values().cloned().collect()
    }

    /// Gives pages of the process's own back; what is locked stays where it is.
    pub(crate) fn free(&self, address: u64) -> Result<(), NtStatus> {
        let region = lock(&self.state).regions.remove(&address);
        let region = region.ok_or(NtStatus::INVALID_PARAMETER)?;
        self.arena
            .unmap(address)
            .map_err(|_| NtStatus::INVALID_PARAMETER)?;
        drop(region);
        Ok(())
    }

    /// The memory of the process's own in a range.
    pub(crate) fn regions(&self, address: u64, length: u64) -> Vec<Arc<Region>> {
        let state = lock(&self.state);
        let before = state.regions.range(..=address).next_back();
        let first = before.map_or(address, |(&at, _)| at);
        state
            .regions
            .range(first..address + length.max(1))
            .map(|(_, it)| Arc::clone(it))
            .collect()
    }

    pub(crate) fn add_lock(&self, mdl: u64, new: Lock) {
        lock(&self.state).locks.insert(mdl, new);
    }

    pub(crate) fn remove_lock(&self, mdl: u64) {
        let removed = lock(&self.state).locks.remove(&mdl);
        drop(removed);
    }

    pub(crate) fn take_locks(&self) -> BTreeMap<u64, Lock> {
        std::mem::take(&mut lock(&self.state).locks)
    }

    pub(crate) fn add_view(&self, address: u64, view: View) {
        lock(&self.state).views.insert(address, view);
    }

    pub(crate) fn take_view(&self, address: u64) -> Option<View> {
        lock(&self.state).views.remove(&address)
    }

    /// The MDL that is mapped at exactly this address.
    pub(crate) fn view_mdl(&self, address: u64) -> Option<u64> {
        lock(&self.state).views.get(&address).map(|view| view.mdl)
    }

    pub(crate) fn take_views(&self) -> BTreeMap<u64, View> {
        std::mem::take(&mut lock(&self.state).views)
    }

    /// The mappings that drivers made: address and bytes.
    pub(crate) fn views(&self) -> Vec<(u64, u64)> {
        lock(&self.state)
            .views
            .iter()
            .map(|(&at, view)| (at, view.length))
            .collect()
    }

    /// The process is gone: so is its memory.
    pub(crate) fn clear(&self) {
        let regions = std::mem::take(&mut lock(&self.state).regions);
        for &address in regions.keys() {
            let unmapped = self.arena.unmap(address);
            debug_assert!(unmapped.is_ok(), "{unmapped:?}");
        }
    }
}
