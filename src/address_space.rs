//! The address space of a process that has opened a device: what the driver shows it there, and what it
//! locks or secures there for it.
//!
//! A program could ask the driver to lock memory that the driver itself has mapped for it. That would
//! stay locked, and reachable for the device, when the memory is released and has another owner. So the
//! driver knows what it has mapped, and refuses that. One request at a time maps, unmaps, locks or
//! secures memory of a process, so that nothing comes in between the question and the deed.

use sanproxy_abi::Error;
use sanproxy_registry::{Chunk, IntervalMap};
use wdm::{
    memory::Memory,
    mutex::Mutex,
    pool::{Owned, Shared},
    process::Process,
    secret::seed,
    status::Status,
    user_mapping::UserMapping,
};

use crate::memory::{Piece, ReservedPages};

/// The views that the driver has made, by address.
type Views = Mutex<Owned<IntervalMap<()>>>;

/// The address space of a process. All files that the process has opened share it.
pub(crate) struct AddressSpace {
    process: Shared<Process>,
    views: Views,
}

/// A mapping of device memory, until dropped. It may outlive the registration, so it keeps what the next
/// owner of the pages waits for.
pub(crate) struct View {
    // Dropped in this order: the pages are given back when nobody sees them any more.
    mapping: Option<UserMapping>,
    #[expect(dead_code, reason = "kept as long as they are mapped")]
    pages: Option<Shared<ReservedPages>>,
    address: u64,
    space: Shared<AddressSpace>,
}

impl AddressSpace {
    /// That of the current process.
    pub(crate) fn current() -> Result<Self, Status> {
        Ok(Self {
            process: Shared::new(Process::current()?)?,
            views: Mutex::new(Owned::new(IntervalMap::new(seed()?))?),
        })
    }

    /// The process.
    pub(crate) const fn process(&self) -> &Shared<Process> {
        &self.process
    }

    /// Does something to memory that the process itself has allocated, as far as the driver knows: while
    /// it is done, the driver does not map anything there, or unmap it.
    pub(crate) fn with_own<T>(
        &self,
        start: u64,
        length: u64,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let views = self.views.lock();
        let end = start.checked_add(length).ok_or(Error::UserRange)?;
        let begins_in = views.lookup(start).is_some();
        let next = views.next_from(start);
        if begins_in || next.is_some_and(|(first, ())| first < end) {
            return Err(Error::UserRange);
        }
        work()
    }

    /// Takes one more view in: what `map` makes. Memory for that is asked for with no lock held.
    fn add(
        &self,
        length: u64,
        map: impl FnOnce() -> Result<UserMapping, Status>,
    ) -> Result<UserMapping, Error> {
        loop {
            let growth = self.views.lock().growth(1);
            if let Some(growth) = growth {
                let chunk = Chunk::allocate(growth)?;
                let refused = self.views.lock().add(chunk);
                drop(refused);
            }
            let mut views = self.views.lock();
            if views.growth(1).is_some() {
                continue;
            }
            let mapping = map().map_err(|_| Error::MappingFailed)?;
            // There is room, and where something is mapped already nothing else is.
            return match views.insert(mapping.address(), length, ()) {
                Ok(()) => Ok(mapping),
                Err(_) => Err(Error::MappingFailed),
            };
        }
    }
}

impl View {
    /// Maps a piece into the current process, which has to be that of `space`.
    pub(crate) fn new(piece: &Piece, space: &Shared<AddressSpace>) -> Result<Self, Error> {
        let mapping = space.add(piece.length(), || {
            UserMapping::new(piece.memory().clone(), &space.process)
        })?;
        Ok(Self::of(mapping, piece.pages().cloned(), space))
    }

    /// Maps memory into the current process, which has to be that of `space`, to be read only.
    pub(crate) fn read_only(memory: Memory, space: &Shared<AddressSpace>) -> Result<Self, Error> {
        let length = u64::try_from(memory.length()).map_err(|_| Error::MappingFailed)?;
        let mapping = space.add(length, || UserMapping::read_only(memory, &space.process))?;
        Ok(Self::of(mapping, None, space))
    }

    fn of(
        mapping: UserMapping,
        pages: Option<Shared<ReservedPages>>,
        space: &Shared<AddressSpace>,
    ) -> Self {
        Self {
            address: mapping.address(),
            mapping: Some(mapping),
            pages,
            space: space.clone(),
        }
    }

    /// Where the process finds it.
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut views = self.space.views.lock();
        views.remove(self.address, ());
        drop(self.mapping.take());
    }
}
