//! What has to be: a pure model of the driver, that knows its contract and nothing of how it works.

use std::collections::BTreeMap;

use sanproxy_abi::{Error, Kind, PAGE_SIZE};

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
    /// What is in it.
    pub contents: Vec<u8>,
}

impl Registration {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        self.contents.len() as u64
    }
}

/// An open file.
pub struct OpenFile {
    /// The process that has opened it, while that lives.
    pub owner: Option<usize>,
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

    /// Registrations and bytes, of a file or of all.
    pub fn usage(&self, file: Option<usize>) -> (u64, u64) {
        self.registrations
            .iter()
            .filter(|own| file.is_none_or(|file| own.file == file))
            .fold((0, 0), |(count, bytes), own| {
                (count + 1, bytes + own.length() + own.padding)
            })
    }

    /// What a request to register comes to.
    pub fn expect(&self, file: usize, process: usize, wish: &Wish) -> Expectation {
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
        let padding = wish.padding();
        let mut refusals = Vec::new();
        for (usage, limits, error) in [
            (
                self.usage(Some(file)),
                (COUNT_PER_FILE, BYTES_PER_FILE),
                Error::FileQuota,
            ),
            (
                self.usage(None),
                (COUNT_PER_DEVICE, BYTES_PER_DEVICE),
                Error::DeviceQuota,
            ),
        ] {
            let bytes = usage.1 + wish.rounded();
            if usage.0 + 1 > limits.0 || bytes > limits.1 {
                return Expectation::refused(error);
            }
            // What it takes beyond its length may be too much.
            if bytes + padding > limits.1 {
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

    /// A request to register was charged for, whether it succeeds or not.
    pub fn charged(&mut self, length: u64, padding: u64) {
        let (count, bytes) = self.usage(None);
        self.peak_count = self.peak_count.max(count + 1);
        let [low, high] = self.peak_bytes;
        self.peak_bytes = [
            low.max(bytes + length),
            high.max(bytes + length + padding)
                .min(BYTES_PER_DEVICE.max(high)),
        ];
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
        live.chain(stale).any(|known| known == handle)
    }

    /// Where the device finds, or found, the first piece of a registration.
    pub fn address_of(&self, handle: u64) -> Option<u64> {
        let live = self
            .registrations
            .iter()
            .map(|own| (own.handle, &own.pieces));
        let former = self.former.iter().map(|own| (own.handle, &own.pieces));
        let (_, pieces) = live.chain(former).find(|(known, _)| *known == handle)?;
        pieces.first().map(|piece| piece.device)
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
        });
        if self.former.len() > 12 {
            self.former.remove(0);
        }
        self.released += 1;
    }

    /// All registrations of a file are gone, or of all files.
    pub fn forget_all(&mut self, file: Option<usize>) {
        while let Some(index) = self
            .registrations
            .iter()
            .position(|own| file.is_none_or(|file| own.file == file))
        {
            self.forget(index);
        }
    }

    /// The last handle of a file is closed.
    pub fn close(&mut self, file: usize) {
        self.forget_all(Some(file));
        self.files.remove(&file);
    }

    /// A process is about to end: nothing of it stays mapped in it.
    pub fn end_process(&mut self, process: usize) {
        for (number, file) in &mut self.files {
            if file.owner == Some(process) {
                file.owner = None;
                let own = self.registrations.iter_mut();
                own.filter(|own| own.file == *number)
                    .for_each(|own| own.mapped = false);
            }
        }
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
        for (index, offset) in [(source, from), (destination, to)] {
            if offset + length > self.registrations[index].length() {
                return Err(Error::OutOfRange);
            }
        }
        let range = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.registrations[source].contents[range(from)..range(from + length)].to_vec();
        self.registrations[destination].contents[range(to)..range(to + length)]
            .copy_from_slice(&bytes);
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
