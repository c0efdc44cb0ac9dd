//! Memory that a driver gets whole: each block is a section, mapped here, at made-up physical addresses.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    PAGE,
    ranges::{Place, Ranges},
    system::{self, Handle},
};

/// The made-up machine has 64 GiB, less the first MiB.
const FIRST_ADDRESS: u64 = 0x10_0000;
const LAST_ADDRESS: u64 = 0xF_FFFF_FFFF;
/// What fresh memory holds: the kernel promises nothing, so nothing may rely on zeroes.
const FRESH: u8 = 0xCC;

/// What a block was made for, and so which routine frees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Contiguous,
    CommonBuffer,
}

/// A block of memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub(crate) address: usize,
    /// In whole pages.
    pub(crate) length: u64,
    pub(crate) physical: u64,
    pub(crate) purpose: Purpose,
    section: usize,
}

impl Block {
    pub(crate) const fn section(&self) -> Handle {
        ptr::without_provenance_mut(self.section)
    }

    pub(crate) fn as_ptr(&self) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.address)
    }
}

struct Blocks {
    physical: Ranges,
    by_address: BTreeMap<usize, Block>,
}

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks {
    physical: Ranges::new(FIRST_ADDRESS, LAST_ADDRESS),
    by_address: BTreeMap::new(),
});

fn blocks() -> MutexGuard<'static, Blocks> {
    BLOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a block whose physical addresses lie as they have to.
pub(crate) fn allocate(length: u64, place: Place, purpose: Purpose) -> Option<Block> {
    let length = length.checked_next_multiple_of(PAGE)?;
    let mut blocks = blocks();
    let physical = blocks.physical.take(length, place)?;
    let Some((section, address)) = section(length) else {
        blocks.physical.give_back(physical);
        return None;
    };
    let block = Block {
        address,
        length,
        physical,
        purpose,
        section: section.expose_provenance(),
    };
    // SAFETY: just mapped, writable, and as long.
    unsafe { ptr::write_bytes(block.as_ptr().cast::<u8>(), FRESH, length as usize) };
    blocks.by_address.insert(address, block);
    Some(block)
}

/// Makes a section and maps it here.
fn section(length: u64) -> Option<(Handle, usize)> {
    let mut section = ptr::null_mut();
    let mut size = i64::try_from(length).ok()?;
    // SAFETY: all places outlive the call; without a file the memory is the page file's.
    let status = unsafe {
        system::NtCreateSection(
            &raw mut section,
            system::SECTION_ALL_ACCESS,
            ptr::null_mut(),
            &raw mut size,
            system::PAGE_READWRITE,
            system::SEC_COMMIT,
            ptr::null_mut(),
        )
    };
    if !system::is_success(status) {
        return None;
    }
    if let Ok(address) = map(section, system::CURRENT_PROCESS, 0, length) {
        Some((section, address))
    } else {
        close(section);
        None
    }
}

/// Maps `length` bytes of a section, from a multiple of 64 KiB on, into a process.
pub(crate) fn map(
    section: Handle,
    process: Handle,
    offset: u64,
    length: u64,
) -> Result<usize, system::Status> {
    let mut address = ptr::null_mut();
    let mut offset = i64::try_from(offset).map_err(|_| system::INVALID_PARAMETER)?;
    let mut size = length as usize;
    // SAFETY: all places outlive the call; the system chooses an address that is free.
    let status = unsafe {
        system::NtMapViewOfSection(
            section,
            process,
            &raw mut address,
            0,
            0,
            &raw mut offset,
            &raw mut size,
            system::VIEW_UNMAP,
            0,
            system::PAGE_READWRITE,
        )
    };
    if system::is_success(status) {
        Ok(address.expose_provenance())
    } else {
        Err(status)
    }
}

/// The block that holds an address.
pub(crate) fn holding(address: usize) -> Option<Block> {
    let blocks = blocks();
    let (_, block) = blocks.by_address.range(..=address).next_back()?;
    let offset = address.checked_sub(block.address)?;
    ((offset as u64) < block.length).then_some(*block)
}

/// Frees the block that begins at an address, if it was made for that purpose.
pub(crate) fn free(address: usize, purpose: Purpose) -> Option<Block> {
    let mut blocks = blocks();
    if blocks.by_address.get(&address)?.purpose != purpose {
        return None;
    }
    let block = blocks.by_address.remove(&address)?;
    blocks.physical.give_back(block.physical);
    drop(blocks);
    // SAFETY: mapped by `allocate`, and no longer known to anybody.
    let unmapped = unsafe { system::NtUnmapViewOfSection(system::CURRENT_PROCESS, block.as_ptr()) };
    debug_assert!(system::is_success(unmapped));
    close(block.section());
    Some(block)
}

fn close(handle: Handle) {
    // SAFETY: a handle of this module that nobody uses any more.
    unsafe { system::CloseHandle(handle) };
}

/// How many blocks there are.
pub(crate) fn count() -> usize {
    blocks().by_address.len()
}
