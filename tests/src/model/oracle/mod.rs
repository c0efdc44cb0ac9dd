//! What has to be: a pure model of the driver, that knows its contract and nothing of how it works.

pub mod accounts;
pub mod mailbox;
pub mod memory;
pub mod registration;
pub mod wire;
mod wish;

use std::collections::BTreeMap;

use sanproxy_abi::{EVENT_KINDS, Error, EventKind, PAGE_SIZE};

use self::{
    accounts::{Amount, PER_DEVICE, PER_FILE},
    mailbox::Mailbox,
    memory::{Allocation, Secured},
    registration::Registration,
    wire::{Link, Outcome, Wire},
};

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
    /// The number that the system knows the process by that has opened it.
    pub process_id: u64,
    /// What it may have.
    pub limit: Amount,
    /// Where its process and the device find the status page, if it is mapped.
    pub page: Option<(u64, u64)>,
    /// Handles that have been released.
    pub stale: Vec<u64>,
}

/// Device addresses that were given back.
pub struct Formerly {
    /// Its handle.
    pub handle: u64,
    /// Its pieces.
    pub pieces: Vec<registration::Piece>,
    /// Whether the device may still reach them.
    pub reserved: bool,
    /// Whether the device has been there since.
    pub scribbled: bool,
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
    /// What all files together may have.
    pub per_device: Amount,
    /// What a file may have that is opened now.
    pub per_file: Amount,
    /// Events that files were told of, by kind.
    pub events: [u64; EVENT_KINDS],
    /// Whether there may have been more warnings of quotas.
    pub perhaps: bool,
    /// Whether the status page may not know yet how many bytes there are.
    pub page_is_late: bool,
    /// How often the device was started.
    pub generation: u64,
    /// The serial numbers that registrations were listed with, by their numbers.
    pub serials: BTreeMap<u64, u64>,
}

impl Oracle {
    /// A device that has just been started.
    pub fn started() -> Self {
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
            per_device: PER_DEVICE,
            per_file: PER_FILE,
            events: [0; EVENT_KINDS],
            perhaps: false,
            page_is_late: false,
            generation: 1,
            serials: BTreeMap::new(),
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
        self.unmap_pages(|_| true);
        self.announce(EventKind::DeviceStopped, 1);
    }

    /// The device is gone for good, and all that was registered.
    pub fn remove(&mut self) {
        let files: Vec<usize> = self.files.keys().copied().collect();
        for number in files {
            let secured = self.unsecure_all(|secured| secured.file == number);
            let released = secured + self.forget_all(|own| own.file == number);
            self.tell(number, EventKind::Invalidated, released);
        }
        self.hang_up_all();
        self.unmap_pages(|_| true);
        self.announce(EventKind::DeviceRemoved, 1);
        for file in self.files.values_mut() {
            file.mailbox.ended = true;
        }
        self.former.retain(|former| !former.reserved);
    }

    /// Some files' processes do not see the status page any more.
    fn unmap_pages(&mut self, of: impl Fn(&OpenFile) -> bool) {
        for file in self.files.values_mut().filter(|file| of(file)) {
            file.page = None;
        }
    }

    /// A process is about to end: nothing of it stays mapped, locked or secured.
    pub fn end_process(&mut self, process: usize) {
        self.unmap_pages(|file| file.owner == Some(process));
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

    /// The registration of a file that holds a device address, or the status page; where in it, and where the process finds it.
    pub fn lookup(&self, file: usize, address: u64) -> Result<(u64, u64, u64), Error> {
        self.gate()?;
        let page = self.files.get(&file).and_then(|file| file.page);
        if let Some((user, device)) = page
            && address >= device
            && address - device < PAGE_SIZE
        {
            return Ok((0, address - device, user + address - device));
        }
        for own in self.of(file) {
            let mut offset = 0;
            for piece in &own.pieces {
                if address >= piece.device && address - piece.device < piece.length {
                    let within = address - piece.device;
                    let user = if own.mapped { piece.user + within } else { 0 };
                    return Ok((own.handle, offset + within, user));
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
        for (index, offset) in places {
            if offset + length > self.registrations[index].length() {
                return Err(Error::OutOfRange);
            }
        }
        let (source_memory, destination_memory) = (
            &self.registrations[source],
            &self.registrations[destination],
        );
        if !source_memory.is_readable() || !destination_memory.is_writable() {
            return Err(Error::Access);
        }
        let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.registrations[source].contents();
        let bytes = &bytes[place(from)..place(from + length)];
        self.registrations[destination].store(place(to), bytes);
        Ok(())
    }
}
