//! Kernel objects in guarded memory: each ends at an inaccessible page, and is inaccessible once freed.
//!
//! A driver that reads past an IRP, or touches it after completion, faults on the spot. Freed
//! addresses are not used again soon, so a stale pointer stays recognisable.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use crate::lock;

const PAGE: usize = 4096;
const REGION: usize = 1 << 30;
/// Freed objects that stay inaccessible before their addresses are used again.
const QUARANTINE: usize = 8192;
/// What fills the bytes around an object: a write that strays there shows.
const SLACK: u8 = 0xFE;
/// Filled bytes before an object, where its page begins no later.
const AHEAD: u64 = 128;

/// What an address in guarded memory belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// What was allocated there, such as "IRP".
    pub(crate) kind: &'static str,
    /// Its first byte.
    pub(crate) base: u64,
    /// Its length in bytes.
    pub(crate) size: usize,
    /// It has been freed.
    pub(crate) freed: bool,
}

struct Region {
    base: u64,
    used: usize,
}

#[derive(Default)]
struct Heap {
    regions: Vec<Region>,
    /// By first page: live and quarantined objects, with the number of pages including the guard.
    places: BTreeMap<u64, (usize, Place)>,
    quarantine: VecDeque<u64>,
    /// Page runs free for use again, by their length.
    reusable: BTreeMap<usize, Vec<u64>>,
}

/// The guarded memory of one host.
#[derive(Clone, Default)]
pub(crate) struct GuardedHeap {
    heap: Arc<Mutex<Heap>>,
}

/// One object; made inaccessible when dropped.
pub(crate) struct GuardedBlock {
    heap: GuardedHeap,
    first_page: u64,
    address: u64,
    size: usize,
}

impl GuardedHeap {
    /// Zeroed memory for an object of `size` bytes, 16-byte aligned, with a guard page after it.
    pub(crate) fn allocate(&self, kind: &'static str, size: usize) -> io::Result<GuardedBlock> {
        let rounded = size.max(1).next_multiple_of(16);
        let pages = rounded.div_ceil(PAGE);
        let first_page = self.take_pages(pages + 1)?;
        protect(first_page, pages * PAGE, libc::PROT_READ | libc::PROT_WRITE)?;
        let address = first_page + (pages * PAGE - rounded) as u64;
        let ahead = AHEAD.min(address - first_page);
        crate::access::fill(address - ahead, SLACK, ahead as usize);
        crate::access::fill(address + size as u64, SLACK, rounded - size);
        let place = Place {
            kind,
            base: address,
            size,
            freed: false,
        };
        lock(&self.heap)
            .places
            .insert(first_page, (pages + 1, place));
        Ok(GuardedBlock {
            heap: self.clone(),
            first_page,
            address,
            size,
        })
    }

    fn take_pages(&self, pages: usize) -> io::Result<u64> {
        let mut heap = lock(&self.heap);
        if let Some(run) = heap.reusable.get_mut(&pages).and_then(Vec::pop) {
            return Ok(run);
        }
        let bytes = pages * PAGE;
        if heap
            .regions
            .last()
            .is_none_or(|region| region.used + bytes > REGION)
        {
            let base = reserve(REGION.max(bytes))?;
            heap.regions.push(Region { base, used: 0 });
        }
        let Some(region) = heap.regions.last_mut() else {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        };
        let first = region.base + region.used as u64;
        region.used += bytes;
        Ok(first)
    }

    /// What lies at `address`: a live object, a freed one, or the page that guards one.
    pub(crate) fn place_of(&self, address: u64) -> Option<Place> {
        let heap = lock(&self.heap);
        let (first, (pages, place)) = heap.places.range(..=address).next_back()?;
        (address < first + (pages * PAGE) as u64).then(|| place.clone())
    }

    fn retire(&self, first_page: u64) {
        let mut heap = lock(&self.heap);
        let Some((pages, place)) = heap.places.get_mut(&first_page) else {
            return;
        };
        place.freed = true;
        let bytes = *pages * PAGE;
        // A failure leaves the page accessible: less checking, nothing wrong.
        drop(protect(first_page, bytes, libc::PROT_NONE));
        discard(first_page, bytes);
        heap.quarantine.push_back(first_page);
        if heap.quarantine.len() > QUARANTINE
            && let Some(oldest) = heap.quarantine.pop_front()
            && let Some((pages, _)) = heap.places.remove(&oldest)
        {
            heap.reusable.entry(pages).or_default().push(oldest);
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        for region in &self.regions {
            // SAFETY: the region was reserved by `reserve` and nothing points into it any more.
            unsafe { libc::munmap(region.base as *mut libc::c_void, REGION) };
        }
    }
}

impl GuardedBlock {
    /// The object's address.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// The object's length.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether the bytes between the object's end and the guard page, and before it, are intact.
    pub(crate) fn slack_is_intact(&self) -> bool {
        let ahead = AHEAD.min(self.address - self.first_page) as usize;
        let rounded = self.size.max(1).next_multiple_of(16);
        let before = crate::access::read_bytes(self.address - ahead as u64, ahead);
        let behind =
            crate::access::read_bytes(self.address + self.size as u64, rounded - self.size);
        before[..] == [SLACK; AHEAD as usize][..ahead] && behind[..] == [SLACK; 16][..behind.len()]
    }
}

impl Drop for GuardedBlock {
    fn drop(&mut self) {
        self.heap.retire(self.first_page);
    }
}

fn reserve(bytes: usize) -> io::Result<u64> {
    // SAFETY: a fresh anonymous reservation at an address of the system's choice.
    let address = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            bytes,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(address as u64)
    }
}

fn protect(address: u64, bytes: usize, protection: i32) -> io::Result<()> {
    // SAFETY: the range lies in a reservation of this heap.
    let result = unsafe { libc::mprotect(address as *mut libc::c_void, bytes, protection) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn discard(address: u64, bytes: usize) {
    // SAFETY: the range lies in a reservation of this heap and is no longer in use.
    unsafe { libc::madvise(address as *mut libc::c_void, bytes, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_when_allocated_is_zeroed_and_ends_at_a_page() {
        let heap = GuardedHeap::default();
        let block = heap.allocate("test", 208).unwrap();
        assert_eq!(
            crate::access::read_bytes(block.address(), 208),
            vec![0; 208]
        );
        assert_eq!((block.address() + 208) % 4096, 0);
        assert!(block.slack_is_intact());
    }

    #[test]
    fn slack_when_overwritten_is_reported() {
        let heap = GuardedHeap::default();
        let block = heap.allocate("test", 10).unwrap();
        crate::access::write::<u8>(block.address() + 10, 1);
        assert!(!block.slack_is_intact());
    }

    #[test]
    fn place_of_freed_block_is_freed_and_not_reused_at_once() {
        let heap = GuardedHeap::default();
        let block = heap.allocate("test", 100).unwrap();
        let address = block.address();
        drop(block);
        assert!(heap.place_of(address).unwrap().freed);
        assert_ne!(heap.allocate("test", 100).unwrap().address(), address);
    }
}
