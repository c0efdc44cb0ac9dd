//! IOMMU domains: which logical addresses a device may use, and where they lead.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{FrameList, Machine, PAGE_SIZE, Random};

/// The addresses in which a mapping is wanted (both inclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoRange {
    /// Lowest address of the first byte.
    pub lowest: u64,
    /// Highest address of the last byte.
    pub highest: u64,
}

impl IoRange {
    /// Any address that the device can drive.
    pub const ANY: Self = Self {
        lowest: 0,
        highest: u64::MAX,
    };
}

/// What a device may do with a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// Whether the device may read.
    pub read: bool,
    /// Whether the device may write.
    pub write: bool,
}

impl Permissions {
    /// Reads and writes.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
    };
}

/// Why a device's access was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The address is mapped to nothing.
    NotMapped,
    /// The address was mapped and no longer is.
    Unmapped,
    /// The device may not read there.
    Read,
    /// The device may not write there.
    Write,
    /// The device cannot drive so high an address.
    BeyondWidth,
    /// The address leads to no memory.
    Hole,
}

/// A device access that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("device access to logical address {address:#x}: {kind:?}")]
pub struct IommuFault {
    /// The first logical address refused.
    pub address: u64,
    /// Why.
    pub kind: FaultKind,
}

/// Why frames cannot be mapped for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// No free logical addresses within the range wanted.
    #[error("no free logical addresses in that range")]
    NoRange,
    /// Without remapping, frames that are not consecutive cannot be one logical range.
    #[error("the frames are not consecutive and there is no remapping")]
    NotContiguous,
    /// Without remapping, the frames lie outside of the range wanted.
    #[error("the frames are out of the device's reach and there is no remapping")]
    OutOfReach,
}

/// No mapping begins at this logical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing is mapped at logical address {0:#x}")]
pub struct NotMapped(pub u64);

/// Wider addresses than this are never given out: page tables of real IOMMUs end there, too.
const MAXIMUM_BITS: u32 = 47;
const ATTEMPTS: u32 = 64;
const QUARANTINED_RANGES: usize = 1 << 16;

enum Slot {
    Live {
        frames: FrameList,
        permissions: Permissions,
    },
    Quarantined {
        pages: u64,
    },
}

impl Slot {
    const fn pages(&self) -> u64 {
        match self {
            Self::Live { frames, .. } => frames.pages(),
            Self::Quarantined { pages } => *pages,
        }
    }
}

struct State {
    /// First page of each range, live or in quarantine.
    slots: BTreeMap<u64, Slot>,
    quarantine: VecDeque<u64>,
    quarantined_pages: u64,
    live: usize,
    random: Random,
    faults: Vec<IommuFault>,
}

/// The logical addresses of one device.
pub struct IoDomain {
    machine: Arc<Machine>,
    address_bits: u32,
    remapping: bool,
    state: Mutex<State>,
}

impl IoDomain {
    /// A domain in which only mapped addresses work, and logical addresses are not physical ones.
    #[must_use]
    pub fn remapping(machine: &Arc<Machine>, address_bits: u32, seed: u64) -> Arc<Self> {
        Self::new(machine, address_bits, true, seed)
    }

    /// A domain without protection: logical addresses are physical ones.
    #[must_use]
    pub fn pass_through(machine: &Arc<Machine>, address_bits: u32) -> Arc<Self> {
        Self::new(machine, address_bits, false, 0)
    }

    fn new(machine: &Arc<Machine>, address_bits: u32, remapping: bool, seed: u64) -> Arc<Self> {
        let state = State {
            slots: BTreeMap::new(),
            quarantine: VecDeque::new(),
            quarantined_pages: 0,
            live: 0,
            random: Random::new(seed),
            faults: Vec::new(),
        };
        let machine = Arc::clone(machine);
        Arc::new(Self {
            machine,
            address_bits,
            remapping,
            state: Mutex::new(state),
        })
    }

    /// Whether logical addresses differ from physical ones.
    #[must_use]
    pub const fn is_remapping(&self) -> bool {
        self.remapping
    }

    /// The machine whose memory is reached.
    #[must_use]
    pub const fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// The highest logical address that the device drives.
    #[must_use]
    pub const fn highest(&self) -> u64 {
        if self.address_bits >= 64 {
            u64::MAX
        } else {
            (1 << self.address_bits) - 1
        }
    }

    /// Makes frames one range of logical addresses and returns the first.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the range wanted has no place for them.
    pub fn map(
        &self,
        frames: &FrameList,
        range: IoRange,
        permissions: Permissions,
    ) -> Result<u64, MapError> {
        let highest = range.highest.min(self.highest());
        if !self.remapping {
            let mut runs = frames.runs();
            let (Some(run), None) = (runs.next(), runs.next()) else {
                return Err(MapError::NotContiguous);
            };
            let inside =
                run.address() >= range.lowest && run.address() + (run.bytes() - 1) <= highest;
            return if inside {
                Ok(run.address())
            } else {
                Err(MapError::OutOfReach)
            };
        }
        let highest = highest.min((1 << MAXIMUM_BITS) - 1);
        let mut state = self.lock();
        let lowest = range.lowest.div_ceil(PAGE_SIZE).max(1);
        let end = (highest + 1) / PAGE_SIZE;
        let page = state.place(frames, lowest, end).or_else(|| {
            state.end_quarantine();
            state.place(frames, lowest, end)
        });
        let page = page.ok_or(MapError::NoRange)?;
        state.slots.insert(
            page,
            Slot::Live {
                frames: frames.clone(),
                permissions,
            },
        );
        state.live += 1;
        let limit = self.highest().min((1 << MAXIMUM_BITS) - 1) / PAGE_SIZE / 4;
        state.trim_quarantine(limit);
        Ok(page * PAGE_SIZE)
    }

    /// Takes a mapping away; its addresses fault for a long time.
    ///
    /// # Errors
    ///
    /// [`NotMapped`] if none begins there.
    pub fn unmap(&self, address: u64) -> Result<(), NotMapped> {
        if !self.remapping {
            return Ok(());
        }
        let mut state = self.lock();
        let page = address / PAGE_SIZE;
        let pages = match state.slots.get(&page) {
            Some(Slot::Live { frames, .. }) if address.is_multiple_of(PAGE_SIZE) => frames.pages(),
            _ => return Err(NotMapped(address)),
        };
        state.slots.insert(page, Slot::Quarantined { pages });
        state.quarantine.push_back(page);
        state.quarantined_pages += pages;
        state.live -= 1;
        Ok(())
    }

    /// Mappings that exist.
    #[must_use]
    pub fn live(&self) -> usize {
        self.lock().live
    }

    /// Where an access to one byte leads. The fault, if any, is recorded.
    ///
    /// # Errors
    ///
    /// [`IommuFault`] if the access is refused.
    pub fn translate(&self, address: u64, write: bool) -> Result<u64, IommuFault> {
        let mut state = self.lock();
        let result = self.look_up(&state, address, write);
        result.map_err(|kind| {
            let fault = IommuFault { address, kind };
            state.faults.push(fault);
            fault
        })
    }

    /// Records a fault found elsewhere on the way of an access.
    pub(crate) fn record(&self, fault: IommuFault) -> IommuFault {
        self.lock().faults.push(fault);
        fault
    }

    /// All faults so far.
    #[must_use]
    pub fn faults(&self) -> Vec<IommuFault> {
        self.lock().faults.clone()
    }

    /// All faults since the last call.
    pub fn take_faults(&self) -> Vec<IommuFault> {
        std::mem::take(&mut self.lock().faults)
    }

    fn look_up(&self, state: &State, address: u64, write: bool) -> Result<u64, FaultKind> {
        if address > self.highest() {
            return Err(FaultKind::BeyondWidth);
        }
        if !self.remapping {
            return Ok(address);
        }
        let page = address / PAGE_SIZE;
        let (&first, slot) = state
            .slots
            .range(..=page)
            .next_back()
            .ok_or(FaultKind::NotMapped)?;
        if page - first >= slot.pages() {
            return Err(FaultKind::NotMapped);
        }
        let Slot::Live {
            frames,
            permissions,
        } = slot
        else {
            return Err(FaultKind::Unmapped);
        };
        if write && !permissions.write {
            return Err(FaultKind::Write);
        }
        if !write && !permissions.read {
            return Err(FaultKind::Read);
        }
        let frame = frames.get(page - first).ok_or(FaultKind::NotMapped)?;
        Ok(frame * PAGE_SIZE + address % PAGE_SIZE)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A free place in pages `lowest..end`: at random with a gap around it, else the first that fits.
    fn place(&mut self, frames: &FrameList, lowest: u64, end: u64) -> Option<u64> {
        let pages = frames.pages();
        let room = end.checked_sub(lowest)?.checked_sub(pages)? + 1;
        for _ in 0..ATTEMPTS {
            let page = lowest + self.random.below(room);
            if self.is_free(page.saturating_sub(1), pages + 2) && differs(frames, page) {
                return Some(page);
            }
        }
        let mut page = lowest;
        while page + pages <= end {
            match self.slots.range(..page + pages).next_back() {
                Some((first, slot)) if first + slot.pages() > page => page = first + slot.pages(),
                _ if differs(frames, page) => return Some(page),
                _ => page += 1,
            }
        }
        None
    }

    fn is_free(&self, page: u64, pages: u64) -> bool {
        let before = self.slots.range(..page + pages).next_back();
        before.is_none_or(|(first, slot)| first + slot.pages() <= page)
    }

    fn trim_quarantine(&mut self, pages: u64) {
        while self.quarantined_pages > pages || self.quarantine.len() > QUARANTINED_RANGES {
            self.end_one();
        }
    }

    fn end_quarantine(&mut self) {
        while !self.quarantine.is_empty() {
            self.end_one();
        }
    }

    fn end_one(&mut self) {
        let Some(page) = self.quarantine.pop_front() else {
            self.quarantined_pages = 0;
            return;
        };
        if let Some(slot) = self.slots.remove(&page) {
            self.quarantined_pages -= slot.pages();
        }
    }
}

/// Whether no page of the range would have its own physical address.
fn differs(frames: &FrameList, page: u64) -> bool {
    let mut at = page;
    frames.runs().all(|run| {
        let same = at == run.first;
        at += run.count;
        !same
    })
}
