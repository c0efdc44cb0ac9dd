//! Arenas: address space in which frames are mapped, each mapping between guard pages.
//!
//! An address that was unmapped is inaccessible at once and is not used again for a long time, so that
//! a late access faults instead of hitting somebody else's memory.

// UNSAFETY: mapping frames and taking mappings away.
#![expect(unsafe_code, reason = "frames are mapped by system calls")]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::address_space::Reservation;
use crate::{FrameList, Machine, PAGE_SIZE};

/// What the processor may do with a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protection {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read, write and execute.
    ReadWriteExecute,
}

impl Protection {
    /// Whether writes are allowed.
    #[must_use]
    pub const fn writable(self) -> bool {
        matches!(self, Self::ReadWrite | Self::ReadWriteExecute)
    }

    const fn bits(self) -> i32 {
        match self {
            Self::None => libc::PROT_NONE,
            Self::Read => libc::PROT_READ,
            Self::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
            Self::ReadWriteExecute => libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
        }
    }
}

/// How frames are to be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapOptions {
    /// What the processor may do.
    pub protection: Protection,
    /// Whether the mapping needs guard pages even if the arena already has very many.
    pub guarded: bool,
}

impl MapOptions {
    /// Read and write, guarded as long as there are not too many mappings.
    pub const READ_WRITE: Self = Self {
        protection: Protection::ReadWrite,
        guarded: false,
    };
}

/// Frames that are mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Address of the first byte.
    pub address: u64,
    /// The frames, in the order of addresses.
    pub frames: FrameList,
    /// What the processor may do.
    pub protection: Protection,
}

/// An address that is not mapped, or not so that it could be used in that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("address {0:#x} is not mapped")]
pub struct BadAddress(pub u64);

struct State {
    live: BTreeMap<u64, Mapping>,
    next: u64,
    quarantine: VecDeque<(u64, u64)>,
    free: BTreeMap<u64, u64>,
    window: Option<Reservation>,
}

/// Address space of the kernel or of one process.
pub struct Arena {
    machine: Arc<Machine>,
    space: Reservation,
    user: bool,
    state: Mutex<State>,
}

impl Arena {
    /// Address space above [`USER_LIMIT`](crate::USER_LIMIT).
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub fn kernel(machine: &Arc<Machine>, size: u64) -> io::Result<Self> {
        Ok(Self::over(machine, Reservation::kernel(size)?, false))
    }

    /// Address space below [`USER_LIMIT`](crate::USER_LIMIT), shared with no other arena.
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub fn user(machine: &Arc<Machine>, size: u64) -> io::Result<Self> {
        Ok(Self::over(machine, Reservation::user(size)?, true))
    }

    fn over(machine: &Arc<Machine>, space: Reservation, user: bool) -> Self {
        let state = State {
            live: BTreeMap::new(),
            next: space.base() + PAGE_SIZE,
            quarantine: VecDeque::new(),
            free: BTreeMap::new(),
            window: None,
        };
        Self {
            machine: Arc::clone(machine),
            space,
            user,
            state: Mutex::new(state),
        }
    }

    /// The machine whose frames are mapped here.
    #[must_use]
    pub const fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Whether there are so many mappings that only consecutive frames can still be mapped cheaply.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.lock().live.len() >= self.machine.config().guarded_mappings
    }

    /// Maps frames and returns the address of the first byte.
    ///
    /// # Errors
    ///
    /// When there is no address space left or the system refuses the mapping.
    pub fn map(&self, frames: &FrameList, options: MapOptions) -> io::Result<u64> {
        if frames.pages() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = self.lock();
        let plain = !options.guarded && options.protection == Protection::ReadWrite;
        let many = state.live.len() >= self.machine.config().guarded_mappings;
        let in_window = if plain && many {
            self.show_in_window(&mut state, frames)?
        } else {
            None
        };
        let address = match in_window {
            Some(address) => address,
            None => self.map_guarded(&mut state, frames, options.protection)?,
        };
        let mapping = Mapping {
            address,
            frames: frames.clone(),
            protection: options.protection,
        };
        state.live.insert(address, mapping);
        Ok(address)
    }

    /// Takes away the mapping that begins at `address`.
    ///
    /// # Errors
    ///
    /// [`BadAddress`] if none begins there.
    pub fn unmap(&self, address: u64) -> Result<Mapping, BadAddress> {
        let mut state = self.lock();
        let mapping = state.live.remove(&address).ok_or(BadAddress(address))?;
        if self.contains_guarded(address) {
            let pages = mapping.frames.pages();
            hide(address, pages * PAGE_SIZE);
            state.quarantine.push_back((address, pages + 1));
        }
        Ok(mapping)
    }

    /// Shows other frames, as many, where a mapping begins at `address`, for reading and writing.
    ///
    /// # Errors
    ///
    /// When no mapping of so many pages begins there, or the system refuses the new one.
    pub fn remap(&self, address: u64, frames: &FrameList) -> io::Result<()> {
        let mut state = self.lock();
        let guarded = self.contains_guarded(address);
        let mapping = state
            .live
            .get_mut(&address)
            .filter(|old| guarded && old.frames.pages() == frames.pages())
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = address;
        for run in frames.runs() {
            let (from, bytes) = (run.address(), run.bytes());
            show(&self.machine, at, from, bytes, Protection::ReadWrite)?;
            at += bytes;
        }
        mapping.frames = frames.clone();
        mapping.protection = Protection::ReadWrite;
        Ok(())
    }

    /// Changes what the processor may do with a mapping that begins at `address`.
    ///
    /// # Errors
    ///
    /// [`BadAddress`] if none begins there, or if it has no pages of its own.
    pub fn protect(&self, address: u64, protection: Protection) -> Result<(), BadAddress> {
        let mut state = self.lock();
        let guarded = self.contains_guarded(address);
        let mapping = state
            .live
            .get_mut(&address)
            .filter(|_| guarded)
            .ok_or(BadAddress(address))?;
        let length = (mapping.frames.pages() * PAGE_SIZE) as usize;
        // SAFETY: the pages are a live mapping of this arena.
        let result =
            unsafe { libc::mprotect(address as *mut libc::c_void, length, protection.bits()) };
        if result != 0 {
            return Err(BadAddress(address));
        }
        mapping.protection = protection;
        Ok(())
    }

    /// Whether the address lies in this arena, mapped or not.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        let state = self.lock();
        let inside = |space: &Reservation| address.wrapping_sub(space.base()) < space.size();
        inside(&self.space) || state.window.as_ref().is_some_and(inside)
    }

    /// The live mapping that holds the byte at `address`.
    #[must_use]
    pub fn mapping_at(&self, address: u64) -> Option<Mapping> {
        find(&self.lock(), address).cloned()
    }

    /// The live mappings, by address.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
        self.lock().live.values().cloned().collect()
    }

    /// The physical address of the byte at `address`.
    #[must_use]
    pub fn translate(&self, address: u64) -> Option<u64> {
        physical(&self.lock(), address, false)
    }

    /// The frames of the pages that hold `length` bytes from `address` on; they may span mappings.
    #[must_use]
    pub fn frames_of(&self, address: u64, length: u64, write: bool) -> Option<FrameList> {
        let state = self.lock();
        let end = address.checked_add(length.max(1))?;
        let mut list = FrameList::default();
        let mut at = address / PAGE_SIZE * PAGE_SIZE;
        while at < end {
            let mapping = find(&state, at)?;
            if mapping.protection == Protection::None || (write && !mapping.protection.writable()) {
                return None;
            }
            let first = (at - mapping.address) / PAGE_SIZE;
            let part = mapping.frames.slice(first, (end - at).div_ceil(PAGE_SIZE));
            part.runs().for_each(|run| list.push(run));
            at += part.pages() * PAGE_SIZE;
        }
        Some(list)
    }

    /// Reads bytes as a program that lives in this arena would.
    ///
    /// # Errors
    ///
    /// [`BadAddress`] with the first address that cannot be read.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), BadAddress> {
        let mut at = address;
        for part in pieces(address, bytes) {
            let from = physical(&self.lock(), at, false).ok_or(BadAddress(at))?;
            self.machine
                .read_physical(from, part)
                .map_err(|_| BadAddress(at))?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Writes bytes as a program that lives in this arena would.
    ///
    /// # Errors
    ///
    /// [`BadAddress`] with the first address that cannot be written; what precedes it is written.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), BadAddress> {
        let (mut at, mut rest) = (address, bytes);
        while !rest.is_empty() {
            let room = (PAGE_SIZE - at % PAGE_SIZE) as usize;
            let (part, next) = rest.split_at(room.min(rest.len()));
            let to = physical(&self.lock(), at, true).ok_or(BadAddress(at))?;
            self.machine
                .write_physical(to, part)
                .map_err(|_| BadAddress(at))?;
            at += part.len() as u64;
            rest = next;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn contains_guarded(&self, address: u64) -> bool {
        address.wrapping_sub(self.space.base()) < self.space.size()
    }

    /// The address of one run of frames in the linear window, unless a live mapping shows it there.
    fn show_in_window(&self, state: &mut State, frames: &FrameList) -> io::Result<Option<u64>> {
        let mut runs = frames.runs();
        let (Some(run), None) = (runs.next(), runs.next()) else {
            return Ok(None);
        };
        if state.window.is_none() {
            let size = self.machine.size();
            let window = if self.user {
                Reservation::user(size)?
            } else {
                Reservation::kernel(size)?
            };
            show(&self.machine, window.base(), 0, size, Protection::ReadWrite)?;
            state.window = Some(window);
        }
        let Some(window) = &state.window else {
            return Ok(None);
        };
        let address = window.base() + run.address();
        let before = state.live.range(..address + run.bytes()).next_back();
        let taken = before.is_some_and(|(at, old)| at + old.frames.pages() * PAGE_SIZE > address);
        Ok((!taken).then_some(address))
    }

    fn map_guarded(
        &self,
        state: &mut State,
        frames: &FrameList,
        protection: Protection,
    ) -> io::Result<u64> {
        let pages = frames.pages();
        let end = self.space.base() + self.space.size();
        let address = state
            .take(pages + 1, end)
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let mut at = address;
        for run in frames.runs() {
            if let Err(error) = show(&self.machine, at, run.address(), run.bytes(), protection) {
                hide(address, pages * PAGE_SIZE);
                state.quarantine.push_back((address, pages + 1));
                return Err(error);
            }
            at += run.bytes();
        }
        Ok(address)
    }
}

impl State {
    /// Address space for `pages` pages, the guard page after them included.
    fn take(&mut self, pages: u64, end: u64) -> Option<u64> {
        let bytes = pages.checked_mul(PAGE_SIZE)?;
        if bytes <= end - self.next {
            let address = self.next;
            self.next += bytes;
            return Some(address);
        }
        self.take_used(pages).or_else(|| {
            // Only now are addresses used again, those unmapped longest ago first.
            let old = self.quarantine.len().div_ceil(2);
            for (address, pages) in self.quarantine.drain(..old) {
                self.free.insert(address, pages);
            }
            self.join_free();
            self.take_used(pages)
        })
    }

    fn take_used(&mut self, pages: u64) -> Option<u64> {
        let (&address, &count) = self.free.iter().find(|(_, count)| **count >= pages)?;
        self.free.remove(&address);
        if count > pages {
            self.free.insert(address + pages * PAGE_SIZE, count - pages);
        }
        Some(address)
    }

    fn join_free(&mut self) {
        let mut joined: BTreeMap<u64, u64> = BTreeMap::new();
        for (&address, &pages) in &self.free {
            match joined.last_entry() {
                Some(mut last) if last.key() + last.get() * PAGE_SIZE == address => {
                    *last.get_mut() += pages;
                }
                _ => {
                    joined.insert(address, pages);
                }
            }
        }
        self.free = joined;
    }
}

fn find(state: &State, address: u64) -> Option<&Mapping> {
    let (_, mapping) = state.live.range(..=address).next_back()?;
    (address - mapping.address < mapping.frames.pages() * PAGE_SIZE).then_some(mapping)
}

fn physical(state: &State, address: u64, write: bool) -> Option<u64> {
    let mapping = find(state, address)?;
    if mapping.protection == Protection::None || (write && !mapping.protection.writable()) {
        return None;
    }
    let offset = address - mapping.address;
    Some(mapping.frames.get(offset / PAGE_SIZE)? * PAGE_SIZE + offset % PAGE_SIZE)
}

/// Cuts `bytes`, which lie at `address`, at page boundaries.
fn pieces(address: u64, bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    let room = (PAGE_SIZE - address % PAGE_SIZE) as usize;
    let (first, rest) = bytes.split_at_mut(room.min(bytes.len()));
    std::iter::once(first)
        .chain(rest.chunks_mut(PAGE_SIZE as usize))
        .filter(|part| !part.is_empty())
}

/// Maps bytes of the memory file over reserved address space.
fn show(
    machine: &Machine,
    at: u64,
    from: u64,
    bytes: u64,
    protection: Protection,
) -> io::Result<()> {
    let flags = libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let (at, file, from) = (
        at as *mut libc::c_void,
        machine.descriptor(),
        from.cast_signed(),
    );
    // SAFETY: replaces only pages that the arena has reserved and shows nobody.
    let got = unsafe { libc::mmap(at, bytes as usize, protection.bits(), flags, file, from) };
    if got == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Makes reserved address space inaccessible again.
fn hide(at: u64, bytes: u64) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    let at = at as *mut libc::c_void;
    // SAFETY: replaces only pages that the arena has reserved. It cannot fail for want of memory.
    unsafe { libc::mmap(at, bytes as usize, libc::PROT_NONE, flags, -1, 0) };
}
