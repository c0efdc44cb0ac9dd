//! The machine: its memory file, its nodes and holes, and what is known of each frame.

// UNSAFETY: one system call creates the memory file, another gives pages back.
#![expect(
    unsafe_code,
    reason = "memory files and hole punching have no safe interface"
)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::PAGE_SIZE;
use crate::frames::{FrameAllocator, FrameList, FrameRange, FrameRequest, NotAllocated};
use crate::run_map::RunMap;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
/// Up to so many frames are taken one by one where they may lie apart.
const SCATTERED_PAGES: u64 = 4;
/// Larger requests are served in so many runs at most.
const PIECES: u64 = 3;

/// Memory of one NUMA node, as ranges of physical byte addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// Ordinary memory.
    pub ranges: Vec<Range<u64>>,
    /// Memory that only requests which say so may use.
    pub low_reserve: Vec<Range<u64>>,
}

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineConfig {
    /// The nodes; addresses in none of their ranges are holes.
    pub nodes: Vec<NodeConfig>,
    /// What fresh frames are filled with; `None` leaves them zero, which costs no time.
    pub fill: Option<u8>,
    /// Seed of all choices that the machine makes.
    pub seed: u64,
    /// Mappings per arena that get guard pages of their own; further ones show the frames in a linear
    /// window, because a process may only have some tens of thousands of separate mappings.
    pub guarded_mappings: usize,
}

impl Default for MachineConfig {
    /// 64 GiB in two nodes, with the hole below 4 GiB that devices need.
    fn default() -> Self {
        let first = NodeConfig {
            ranges: vec![MIB..3 * GIB, 4 * GIB..33 * GIB],
            ..NodeConfig::default()
        };
        let second = NodeConfig {
            ranges: vec![33 * GIB..65 * GIB],
            ..NodeConfig::default()
        };
        Self {
            nodes: vec![first, second],
            fill: Some(0xCC),
            seed: 1,
            guarded_mappings: 4096,
        }
    }
}

impl MachineConfig {
    /// 64 GiB without memory below 4 GiB, but for a reserve of 64 MiB.
    #[must_use]
    pub fn without_low_memory() -> Self {
        let first = NodeConfig {
            ranges: vec![4 * GIB..36 * GIB],
            low_reserve: vec![16 * MIB..80 * MIB],
        };
        let second = NodeConfig {
            ranges: vec![36 * GIB..68 * GIB],
            ..NodeConfig::default()
        };
        Self {
            nodes: vec![first, second],
            ..Self::default()
        }
    }
}

/// How the processor caches accesses to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheType {
    /// Cached, as ordinary memory is.
    Cached,
    /// Not cached.
    NonCached,
    /// Not cached, writes combined.
    WriteCombined,
}

/// A frame would be in use with two cache types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame {frame:#x} is in use as {existing:?}")]
pub struct CacheClash {
    /// The first such frame.
    pub frame: u64,
    /// The type in use.
    pub existing: CacheType,
}

/// An address where the machine has no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory at physical address {0:#x}")]
pub struct Hole(pub u64);

#[derive(Clone)]
struct CacheUse {
    cache: CacheType,
    users: u64,
}

/// A simulated machine.
pub struct Machine {
    file: File,
    size: u64,
    config: MachineConfig,
    frames: Mutex<FrameAllocator>,
    caches: Mutex<RunMap<CacheUse>>,
    owners: Mutex<RunMap<u32>>,
}

/// Nothing panics while it holds these locks, and their data is consistent at each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// Builds a machine.
    ///
    /// # Errors
    ///
    /// When the system refuses the memory file.
    pub fn new(config: MachineConfig) -> io::Result<Arc<Self>> {
        // SAFETY: the name is a C string; the flags are valid.
        let descriptor = unsafe { libc::memfd_create(c"machine".as_ptr(), libc::MFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh and nobody else's.
        let file = unsafe { File::from_raw_fd(descriptor) };
        let ranges = config
            .nodes
            .iter()
            .flat_map(|node| node.ranges.iter().chain(&node.low_reserve));
        let size = ranges.map(|range| range.end).max().unwrap_or(0);
        file.set_len(size)?;
        let frames = Mutex::new(FrameAllocator::new(&config));
        let (caches, owners) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Self {
            file,
            size,
            config,
            frames,
            caches,
            owners,
        }))
    }

    /// What the machine was made from.
    #[must_use]
    pub const fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The highest physical address plus one.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Number of nodes.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.config.nodes.len()
    }

    /// The memory file, for mappings.
    pub(crate) fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Allocates consecutive frames that carry the fill pattern.
    #[must_use]
    pub fn allocate(&self, request: &FrameRequest) -> Option<FrameRange> {
        let range = lock(&self.frames).take(request)?;
        if self.fill(range).is_err() {
            self.give_back(range).ok()?;
            return None;
        }
        Some(range)
    }

    /// Allocates frames that need not be consecutive, and mostly are not.
    #[must_use]
    pub fn allocate_scattered(&self, request: &FrameRequest) -> Option<FrameList> {
        let list = lock(&self.frames).take_scattered(request)?;
        let filled: io::Result<()> = list.runs().try_for_each(|run| self.fill(run));
        if filled.is_err() {
            self.free_list(&list).ok()?;
            return None;
        }
        Some(list)
    }

    /// Allocates frames in a few runs: memory as it is after a while, without the cost of single pages.
    #[must_use]
    pub fn allocate_pieces(&self, request: &FrameRequest) -> Option<FrameList> {
        if request.count <= SCATTERED_PAGES {
            return self.allocate_scattered(request);
        }
        let mut list = FrameList::default();
        let mut left = request.count;
        for piece in (1..=PIECES).rev() {
            let count = left.div_ceil(piece);
            let Some(run) = self.allocate(&FrameRequest { count, ..*request }) else {
                self.free_list(&list).ok()?;
                return None;
            };
            list.push(run);
            left -= count;
            if left == 0 {
                break;
            }
        }
        Some(list)
    }

    /// Takes frames back; their contents are gone.
    ///
    /// # Errors
    ///
    /// [`NotAllocated`] if one of them is free or no memory of this machine; nothing is freed then.
    pub fn free(&self, range: FrameRange) -> Result<(), NotAllocated> {
        self.give_back(range)
    }

    /// Takes all frames of a list back.
    ///
    /// # Errors
    ///
    /// As [`free`](Self::free), for the first run concerned; the runs before it are freed.
    pub fn free_list(&self, list: &FrameList) -> Result<(), NotAllocated> {
        list.runs().try_for_each(|run| self.give_back(run))
    }

    /// Frames free at the moment, the reserve included.
    #[must_use]
    pub fn free_frames(&self) -> u64 {
        lock(&self.frames).free_frames()
    }

    /// The node of a frame, if it is memory.
    #[must_use]
    pub fn node_of(&self, frame: u64) -> Option<u32> {
        lock(&self.frames).node_of(frame)
    }

    /// Reads memory at a physical address.
    ///
    /// # Errors
    ///
    /// [`Hole`] if one of the bytes is no memory; nothing is read then.
    pub fn read_physical(&self, address: u64, bytes: &mut [u8]) -> Result<(), Hole> {
        self.check_memory(address, bytes.len() as u64)?;
        self.file
            .read_exact_at(bytes, address)
            .map_err(|_| Hole(address))
    }

    /// Writes memory at a physical address.
    ///
    /// # Errors
    ///
    /// [`Hole`] if one of the bytes is no memory; nothing is written then.
    pub fn write_physical(&self, address: u64, bytes: &[u8]) -> Result<(), Hole> {
        self.check_memory(address, bytes.len() as u64)?;
        self.file
            .write_all_at(bytes, address)
            .map_err(|_| Hole(address))
    }

    /// Zeroes frames.
    ///
    /// # Errors
    ///
    /// [`Hole`] at the first frame that is no memory; those before it are zeroed.
    pub fn zero(&self, frames: &FrameList) -> Result<(), Hole> {
        let zeros = [0; PAGE_SIZE as usize];
        frames
            .frames()
            .try_for_each(|frame| self.write_physical(frame * PAGE_SIZE, &zeros))
    }

    /// Notes that frames are used with a cache type; several users of one type are fine.
    ///
    /// # Errors
    ///
    /// [`CacheClash`] if a frame is in use with another type; nothing is noted then.
    pub fn use_cache(&self, frames: &FrameList, cache: CacheType) -> Result<(), CacheClash> {
        let mut caches = lock(&self.caches);
        for run in frames.runs() {
            if let Some((frame, used)) = caches.find(&run.frames(), |used| used.cache != cache) {
                return Err(CacheClash {
                    frame,
                    existing: used.cache,
                });
            }
        }
        for run in frames.runs() {
            caches.update(&run.frames(), |used| {
                Some(CacheUse {
                    cache,
                    users: used.map_or(1, |used| used.users + 1),
                })
            });
        }
        Ok(())
    }

    /// Takes one use of [`use_cache`](Self::use_cache) back.
    pub fn release_cache(&self, frames: &FrameList) {
        let mut caches = lock(&self.caches);
        for run in frames.runs() {
            caches.update(&run.frames(), |used| match used {
                Some(used) if used.users > 1 => Some(CacheUse {
                    users: used.users - 1,
                    ..*used
                }),
                _ => None,
            });
        }
    }

    /// The cache type that a frame is in use with.
    #[must_use]
    pub fn cache_of(&self, frame: u64) -> Option<CacheType> {
        lock(&self.caches).get(frame).map(|used| used.cache)
    }

    /// Attaches a tag to frames, or takes it away.
    pub fn set_owner(&self, frames: &FrameList, tag: Option<u32>) {
        let mut owners = lock(&self.owners);
        for run in frames.runs() {
            owners.update(&run.frames(), |_| tag);
        }
    }

    /// The tag of a frame.
    #[must_use]
    pub fn owner_of(&self, frame: u64) -> Option<u32> {
        lock(&self.owners).get(frame).copied()
    }

    /// Whether all bytes are memory.
    pub(crate) fn check_memory(&self, address: u64, length: u64) -> Result<(), Hole> {
        let mut at = address;
        let end = address.checked_add(length).ok_or(Hole(address))?;
        while at < end {
            let mut ranges = self
                .config
                .nodes
                .iter()
                .flat_map(|node| node.ranges.iter().chain(&node.low_reserve));
            at = ranges
                .find(|range| range.contains(&at))
                .ok_or(Hole(at))?
                .end;
        }
        Ok(())
    }

    fn fill(&self, range: FrameRange) -> io::Result<()> {
        let Some(byte) = self.config.fill else {
            return Ok(());
        };
        let pattern = vec![byte; range.bytes().min(MIB) as usize];
        let mut at = range.address();
        let end = at + range.bytes();
        while at < end {
            let part = (end - at).min(pattern.len() as u64) as usize;
            self.file.write_all_at(&pattern[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }

    /// The contents go first: a frame that is free may be somebody else's at once.
    fn give_back(&self, range: FrameRange) -> Result<(), NotAllocated> {
        let mut frames = lock(&self.frames);
        frames.give(range)?;
        lock(&self.caches).update(&range.frames(), |_| None);
        lock(&self.owners).update(&range.frames(), |_| None);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (offset, length) = (range.address().cast_signed(), range.bytes().cast_signed());
        // SAFETY: changes bytes of the memory file only, and these frames are nobody's: whoever allocates
        // them next waits for the lock. A failure leaves old contents, which fresh frames may have.
        unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset, length) };
        drop(frames);
        Ok(())
    }
}
