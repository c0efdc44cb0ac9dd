//! What has to be: a pure model of the driver, that knows its contract and nothing of how it works.

pub mod accounts;
pub mod mailbox;
pub mod memory;
pub mod wire;

use std::collections::BTreeMap;

use sanproxy_abi::{Error, EventKind, Kind, PAGE_SIZE};

use self::{
    accounts::{Amount, PER_DEVICE, PER_FILE},
    mailbox::Mailbox,
    memory::{Allocation, Pages, Secured},
    wire::{Link, Outcome, Wire},
};
use super::operation::{Flaw, Reach, Wish};

/// How many bytes one file can have.
pub const BYTES_PER_FILE: u64 = 30 * PAGE_SIZE;
/// How many registrations one file can have.
pub const COUNT_PER_FILE: u64 = 6;
/// How many bytes the device can have.
pub const BYTES_PER_DEVICE: u64 = 50 * PAGE_SIZE;
/// How many registrations the device can have.
pub const COUNT_PER_DEVICE: u64 = 10;
/// The boundary of those that have one: at least the longest wish.
pub const BOUNDARY: u64 = 16 * PAGE_SIZE;

/// Where the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It runs.
    Started,
    /// It has agreed to stop.
    StopPending,
    /// It is stopped.
    Stopped,
    /// It has agreed to be removed.
    RemovePending,
    /// It has been torn out.
    Gone,
}

/// One piece of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the device finds it.
    pub device: u64,
    /// How many bytes.
    pub length: u64,
    /// Where the owner finds it while it is mapped.
    pub user: u64,
}

/// A registration that lives.
pub struct Registration {
    /// Its file.
    pub file: usize,
    /// Its handle.
    pub handle: u64,
    /// Its kind.
    pub kind: Kind,
    /// Its flags.
    pub flags: u32,
    /// Bytes that it is charged for beyond its own.
    pub padding: u64,
    /// Whether the owner's process has it mapped.
    pub mapped: bool,
    /// Whether its memory may come from the driver's reserve, which the device reaches at all times.
    pub reserved: bool,
    /// Its pieces.
    pub pieces: Vec<Piece>,
    /// The memory.
    pub memory: Memory,
}

/// The memory of a registration.
pub enum Memory {
    /// The driver's, with what is in it.
    Driver(Vec<u8>),
    /// A process's own.
    Process {
        /// The pages.
        pages: Pages,
        /// Where in them it begins.
        offset: usize,
        /// How many bytes.
        length: usize,
        /// Whether the device may write.
        write: bool,
    },
}

impl Registration {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        match &self.memory {
            Memory::Driver(bytes) => bytes.len() as u64,
            Memory::Process { length, .. } => *length as u64,
        }
    }

    /// What is in it.
    pub fn contents(&self) -> Vec<u8> {
        match &self.memory {
            Memory::Driver(bytes) => bytes.clone(),
            Memory::Process {
                pages,
                offset,
                length,
                ..
            } => pages.borrow()[*offset..*offset + *length].to_vec(),
        }
    }

    /// Changes what is in it from some place on.
    pub fn store(&mut self, at: usize, bytes: &[u8]) {
        match &mut self.memory {
            Memory::Driver(own) => own[at..at + bytes.len()].copy_from_slice(bytes),
            Memory::Process { pages, offset, .. } => {
                let at = *offset + at;
                pages.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// Whether the device may write to it.
    pub const fn is_writable(&self) -> bool {
        match &self.memory {
            Memory::Driver(_) => true,
            Memory::Process { write, .. } => *write,
        }
    }

    /// Whether it is memory of a process's own.
    pub const fn is_own(&self) -> bool {
        matches!(self.memory, Memory::Process { .. })
    }
}

/// An open file.
#[derive(Default)]
pub struct OpenFile {
    /// The process that has opened it, while that lives.
    pub owner: Option<usize>,
    /// Its endpoint.
    pub endpoint: u64,
    /// What it is to another file.
    pub link: Link,
    /// What it has to be told.
    pub mailbox: Mailbox,
    /// Handles that have been released.
    pub stale: Vec<u64>,
}

/// Device addresses that were given back.
pub struct Formerly {
    /// Its handle.
    pub handle: u64,
    /// Its pieces.
    pub pieces: Vec<Piece>,
    /// Whether the device may still reach them.
    pub reserved: bool,
    /// Whether the device has been there since.
    pub scribbled: bool,
}

/// What a request to register may come to.
#[derive(Debug)]
pub struct Expectation {
    /// Whether it may succeed.
    pub success: bool,
    /// How it may fail.
    pub refusals: Vec<Error>,
    /// The most bytes that it may be charged for beyond its own, while it is under way and when it is made.
    pub padding: u64,
}

impl Expectation {
    fn refused(error: Error) -> Self {
        Self {
            success: false,
            refusals: vec![error],
            padding: 0,
        }
    }
}

/// The model.
pub struct Oracle {
    /// Where the device is.
    pub phase: Phase,
    /// Where it was when its removal was asked for.
    pub before: Phase,
    /// The open files, by the number that they got when they were opened.
    pub files: BTreeMap<usize, OpenFile>,
    /// All registrations, in the order in which they were made.
    pub registrations: Vec<Registration>,
    /// All secured ranges.
    pub secured: Vec<Secured>,
    /// All connections, by numbers that no other has.
    pub wires: BTreeMap<usize, Wire>,
    /// How requests that wait have to end now: one of these.
    pub ends: BTreeMap<usize, Vec<Outcome>>,
    /// All memory of the processes' own, whatever becomes of the device.
    pub allocations: Vec<Allocation>,
    /// What has been given back.
    pub former: Vec<Formerly>,
    /// Registrations made.
    pub made: u64,
    /// Registrations released.
    pub released: u64,
    /// Requests that failed.
    pub failures: BTreeMap<Error, u64>,
    /// The most registrations at once.
    pub peak_count: u64,
    /// The most bytes at once: between these, since how much a wish for a special place takes on its way is not promised.
    pub peak_bytes: [u64; 2],
}

impl Oracle {
    /// A device that has just been started.
    pub fn new() -> Self {
        Self {
            phase: Phase::Started,
            before: Phase::Started,
            files: BTreeMap::new(),
            registrations: Vec::new(),
            secured: Vec::new(),
            wires: BTreeMap::new(),
            ends: BTreeMap::new(),
            allocations: Vec::new(),
            former: Vec::new(),
            made: 0,
            released: 0,
            failures: BTreeMap::new(),
            peak_count: 0,
            peak_bytes: [0, 0],
        }
    }

    /// Counts a failure.
    pub fn fail(&mut self, error: Error) -> Error {
        *self.failures.entry(error).or_default() += 1;
        error
    }

    /// Whether the device answers requests.
    pub fn gate(&self) -> Result<(), Error> {
        match self.phase {
            Phase::Started => Ok(()),
            Phase::StopPending | Phase::Stopped | Phase::RemovePending => Err(Error::NotStarted),
            Phase::Gone => Err(Error::Removed),
        }
    }

    /// The registrations of a file.
    pub fn of(&self, file: usize) -> impl Iterator<Item = &Registration> {
        self.registrations
            .iter()
            .filter(move |own| own.file == file)
    }

    /// What a request to register comes to.
    pub fn expect(&mut self, file: usize, process: usize, wish: &Wish) -> Expectation {
        if let Some(error) = wish.flaw.and_then(Flaw::found_first) {
            return Expectation::refused(error);
        }
        if let Err(error) = self.gate() {
            return Expectation::refused(error);
        }
        if let Some(flaw) = wish.flaw {
            return Expectation::refused(flaw.error());
        }
        let owner = self.files.get(&file).and_then(|file| file.owner);
        if wish.map && owner != Some(process) {
            return Expectation::refused(Error::WrongProcess);
        }
        let base = Amount::new(1, wish.rounded());
        if let Err(error) = self.charge(file, Amount::default(), base) {
            return Expectation::refused(error);
        }
        let padding = wish.padding();
        // What it takes beyond its length may be too much.
        let mut refusals = Vec::new();
        for (usage, limit, error) in [
            (self.usage(Some(file)), PER_FILE, Error::FileQuota),
            (self.usage(None), PER_DEVICE, Error::DeviceQuota),
        ] {
            if usage.bytes + base.bytes + padding > limit.bytes {
                refusals.push(error);
            }
        }
        let success = wish.reach != Reach::OutOfReach;
        if !success || !refusals.is_empty() {
            refusals.push(Error::NoMemory);
        }
        Expectation {
            success,
            refusals,
            padding,
        }
    }

    /// Where a file's registration is.
    pub fn find(&self, file: usize, handle: u64) -> Result<usize, Error> {
        self.registrations
            .iter()
            .position(|own| own.file == file && own.handle == handle)
            .ok_or(Error::UnknownHandle)
    }

    /// Whether a handle has been given to anybody before.
    pub fn knows(&self, handle: u64) -> bool {
        let live = self.registrations.iter().map(|own| own.handle);
        let stale = self.files.values().flat_map(|file| &file.stale).copied();
        let secured = self.secured.iter().map(|secured| secured.handle);
        live.chain(secured)
            .chain(stale)
            .any(|known| known == handle)
    }

    /// Where the device finds, or found, a piece of a registration, and how long it is.
    pub fn piece_of(&self, handle: u64, pick: u8) -> Option<(u64, u64)> {
        let live = self
            .registrations
            .iter()
            .map(|own| (own.handle, &own.pieces));
        let former = self.former.iter().map(|own| (own.handle, &own.pieces));
        let (_, pieces) = live.chain(former).find(|(known, _)| *known == handle)?;
        let piece = pieces.get(usize::from(pick) % pieces.len().max(1))?;
        Some((piece.device, piece.length))
    }

    /// Releases a registration.
    pub fn release(&mut self, file: usize, handle: u64) -> Result<(), Error> {
        self.gate()?;
        let index = self.find(file, handle)?;
        self.forget(index);
        Ok(())
    }

    /// A registration is gone.
    fn forget(&mut self, index: usize) {
        let own = self.registrations.remove(index);
        if let Some(file) = self.files.get_mut(&own.file) {
            file.stale.push(own.handle);
        }
        self.former.push(Formerly {
            handle: own.handle,
            pieces: own.pieces,
            reserved: own.reserved,
            scribbled: false,
        });
        if self.former.len() > 12 {
            self.former.remove(0);
        }
        self.released += 1;
    }

    /// Some registrations are gone; how many.
    fn forget_all(&mut self, is_gone: impl Fn(&Registration) -> bool) -> u64 {
        let mut forgotten = 0;
        while let Some(index) = self.registrations.iter().position(&is_gone) {
            self.forget(index);
            forgotten += 1;
        }
        forgotten
    }

    /// The last handle of a file is closed.
    pub fn close(&mut self, file: usize) {
        self.hang_up(file);
        let reader = self.files.get(&file).and_then(|file| file.mailbox.reader);
        if let Some(reader) = reader {
            self.cancel(reader);
        }
        self.unsecure_all(|secured| secured.file == file);
        self.forget_all(|own| own.file == file);
        self.files.remove(&file);
    }

    /// The device has stopped.
    pub fn stop(&mut self) {
        self.hang_up_all();
        self.announce(EventKind::DeviceStopped, 1);
    }

    /// The device is gone for good, and all that was registered.
    pub fn remove(&mut self) {
        let files: Vec<usize> = self.files.keys().copied().collect();
        for number in files {
            let secured = self.unsecure_all(|secured| secured.file == number);
            let released = secured + self.forget_all(|own| own.file == number);
            if let Some(file) = self.files.get_mut(&number) {
                file.mailbox.add(EventKind::Invalidated, released);
            }
        }
        self.hang_up_all();
        self.announce(EventKind::DeviceRemoved, 1);
        for file in self.files.values_mut() {
            file.mailbox.ended = true;
        }
        self.former.retain(|former| !former.reserved);
    }

    /// A process is about to end: nothing of it stays mapped, locked or secured.
    pub fn end_process(&mut self, process: usize) {
        for (number, file) in &mut self.files {
            if file.owner == Some(process) {
                file.owner = None;
                let own = self.registrations.iter_mut();
                own.filter(|own| own.file == *number)
                    .for_each(|own| own.mapped = false);
            }
        }
        self.unsecure_all(|secured| secured.process == process);
        let orphaned = self.files.iter().filter(|(_, file)| file.owner.is_none());
        let orphaned: Vec<usize> = orphaned.map(|(number, _)| *number).collect();
        self.forget_all(|own| own.is_own() && orphaned.contains(&own.file));
        self.allocations.retain(|own| own.process != process);
    }

    /// The registration of a file that holds a device address, and the offset in it.
    pub fn lookup(&self, file: usize, address: u64) -> Result<(u64, u64), Error> {
        self.gate()?;
        for own in self.of(file) {
            let mut offset = 0;
            for piece in &own.pieces {
                if address >= piece.device && address - piece.device < piece.length {
                    return Ok((own.handle, offset + address - piece.device));
                }
                offset += piece.length;
            }
        }
        Err(Error::AddressNotFound)
    }

    /// Copies.
    pub fn copy(
        &mut self,
        file: usize,
        handles: [u64; 2],
        [from, to, length]: [u64; 3],
    ) -> Result<(), Error> {
        if length == 0 {
            return Err(Error::Length);
        }
        self.gate()?;
        let source = self.find(file, handles[0])?;
        let destination = self.find(file, handles[1])?;
        let places = [(source, from), (destination, to)];
        if places
            .iter()
            .any(|(index, _)| self.registrations[*index].is_own())
        {
            return Err(Error::Access);
        }
        for (index, offset) in places {
            if offset + length > self.registrations[index].length() {
                return Err(Error::OutOfRange);
            }
        }
        let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.registrations[source].contents();
        let bytes = &bytes[place(from)..place(from + length)];
        self.registrations[destination].store(place(to), bytes);
        Ok(())
    }
}

impl Wish {
    /// The length in whole pages.
    pub fn rounded(&self) -> u64 {
        self.length.next_multiple_of(PAGE_SIZE)
    }

    /// The most that it takes beyond its length because of where it has to lie.
    fn padding(&self) -> u64 {
        let length = self.rounded();
        let stride = if self.boundary {
            length.next_power_of_two()
        } else {
            PAGE_SIZE
        };
        let padding = stride.max(self.alignment * PAGE_SIZE) - PAGE_SIZE;
        // In pieces, each may take as much, and the last of them what another would.
        if self.pieces && (padding > 0 || self.reach == Reach::OutOfReach) {
            padding * (length / PAGE_SIZE) + length
        } else {
            padding
        }
    }
}

impl Flaw {
    /// The error of those that are found before the device is looked at.
    fn found_first(self) -> Option<Error> {
        match self {
            Self::TooLong | Self::Node => None,
            Self::Size
            | Self::Version
            | Self::Flag
            | Self::Kind
            | Self::OtherKind
            | Self::Empty
            | Self::Boundary
            | Self::Alignment
            | Self::Bounds
            | Self::Cache => Some(self.error()),
        }
    }

    fn error(self) -> Error {
        match self {
            Self::Size => Error::HeaderSize,
            Self::Version => Error::HeaderVersion,
            Self::Flag => Error::ReservedBits,
            Self::Kind => Error::UnknownKind,
            Self::OtherKind => Error::KindNotOffered,
            Self::Empty | Self::TooLong => Error::Length,
            Self::Boundary => Error::Boundary,
            Self::Alignment => Error::Alignment,
            Self::Bounds => Error::Bounds,
            Self::Cache => Error::UnknownCacheType,
            Self::Node => Error::UnknownNode,
        }
    }
}
