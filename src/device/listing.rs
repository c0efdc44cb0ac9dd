//! The registrations of all files of a device, in the order in which they were made.
//!
//! Each has a number that is never given twice. So an administrator who asks for those after the
//! last one that he knows sees every registration that stays exactly once, whatever comes and goes.

use core::{
    cmp::Ordering,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use sanproxy_abi::{
    Error,
    wire::{EnumeratedRegistration, Handle},
};
use sanproxy_registry::{Chunk, HandleTable, IntervalMap};
use wdm::{
    mutex::Mutex,
    pool::{Owned, Shared},
    secret::seed,
    status::Status,
};

use crate::{file::handle_table, memory::Registration};

/// What is told of a registration; its number is filled in when it is listed.
pub(crate) type Listing = EnumeratedRegistration;

/// A listing in the order of its number, which no two share.
#[derive(Clone, Copy)]
struct ByNumber {
    listing: Listing,
    /// Under which its registration is kept; none of a secured range.
    registration: Option<Handle>,
}

impl Ord for ByNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.listing.serial.cmp(&other.listing.serial)
    }
}

impl PartialOrd for ByNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByNumber {
    fn eq(&self, other: &Self) -> bool {
        self.listing.serial == other.listing.serial
    }
}

impl Eq for ByNumber {}

/// What is listed.
struct Known {
    by_number: Owned<IntervalMap<ByNumber>>,
    registrations: Owned<HandleTable<Shared<Registration>>>,
}

impl Known {
    /// What has a number, if anything does.
    fn get(&self, serial: u64) -> Option<ByNumber> {
        let (number, entry) = self.by_number.next_from(serial)?;
        (number == serial).then_some(entry)
    }

    /// Takes out what has a number, and gives its registration.
    fn remove(&mut self, serial: u64) -> Option<Shared<Registration>> {
        let entry = self.get(serial)?;
        self.by_number.remove(serial, entry);
        self.registrations.remove(entry.registration?)
    }
}

/// The list.
pub(crate) struct Listings {
    last: AtomicU64,
    known: Mutex<Known>,
}

/// A registration that is in the list, until dropped.
pub(crate) struct Listed {
    serial: u64,
    listings: Shared<Listings>,
}

impl Listings {
    /// An empty list.
    pub(super) fn new() -> Result<Self, Status> {
        Ok(Self {
            last: AtomicU64::new(0),
            known: Mutex::new(Known {
                by_number: Owned::new(IntervalMap::new(seed()?))?,
                registrations: handle_table()?,
            }),
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.known.lock().by_number.len())
    }

    /// The first registration with a number of at least `serial`.
    pub(crate) fn next_from(&self, serial: u64) -> Option<Listing> {
        let (_, entry) = self.known.lock().by_number.next_from(serial)?;
        Some(entry.listing)
    }

    /// Looks at the registration with a number. It is not kept: its owner may be about to end, and then
    /// nobody else may have it any more.
    pub(crate) fn look_at<T>(
        &self,
        serial: u64,
        look: impl FnOnce(&Registration) -> T,
    ) -> Option<T> {
        let known = self.known.lock();
        let kept = known.get(serial)?.registration?;
        known
            .registrations
            .get(kept)
            .map(|registration| look(registration))
    }

    /// Makes room for one more. Memory is asked for with no lock held.
    fn grow(&self) -> Result<(), Error> {
        loop {
            let (numbers, registrations) = {
                let known = self.known.lock();
                (known.by_number.growth(1), known.registrations.growth())
            };
            if let Some(growth) = numbers {
                let chunk = Chunk::allocate(growth)?;
                let refused = self.known.lock().by_number.add(chunk);
                drop(refused);
            } else if let Some(growth) = registrations {
                let chunk = Chunk::allocate(growth)?;
                let refused = self.known.lock().registrations.add(chunk);
                drop(refused);
            } else {
                return Ok(());
            }
        }
    }
}

impl Listed {
    /// Puts a registration on the list, or a secured range.
    pub(crate) fn new(
        listings: &Shared<Listings>,
        mut listing: Listing,
        registration: Option<&Shared<Registration>>,
    ) -> Result<Self, Error> {
        loop {
            listings.grow()?;
            let mut known = listings.known.lock();
            // Another request may have taken the room that was made; then there is another try.
            if known.by_number.growth(1).is_some() || known.registrations.growth().is_some() {
                continue;
            }
            // Under the lock, so that the numbers appear in their order.
            let serial = listings.last.fetch_add(1, Relaxed).saturating_add(1);
            listing.serial.0 = serial;
            let kept = registration.and_then(|registration| {
                let place = known.registrations.reserve()?;
                known.registrations.fulfil(place, registration.clone()).ok()
            });
            let entry = ByNumber {
                listing,
                registration: kept,
            };
            if known.by_number.insert(serial, 1, entry).is_err() {
                let refused = kept.and_then(|kept| known.registrations.remove(kept));
                drop(known);
                drop(refused);
                return Err(Error::NoMemory);
            }
            return Ok(Self {
                serial,
                listings: listings.clone(),
            });
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let registration = self.listings.known.lock().remove(self.serial);
        // Its owner has it still, and drops it next.
        drop(registration);
    }
}
