//! The registrations of all files of a device, in the order in which they were made.
//!
//! Each has a number that is never given twice. So an administrator who asks for those after the
//! last one that he knows sees every registration that stays exactly once, whatever comes and goes.

use core::{
    cmp::Ordering,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use sanproxy_abi::{Error, wire::EnumeratedRegistration};
use sanproxy_registry::{Chunk, IntervalMap};
use wdm::{
    mutex::Mutex,
    pool::{Owned, Shared},
    secret::seed,
    status::Status,
};

/// What is told of a registration; its number is filled in when it is listed.
pub(crate) type Listing = EnumeratedRegistration;

/// A listing in the order of its number, which no two share.
#[derive(Clone, Copy)]
struct ByNumber(Listing);

impl Ord for ByNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.serial.cmp(&other.0.serial)
    }
}

impl PartialOrd for ByNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByNumber {
    fn eq(&self, other: &Self) -> bool {
        self.0.serial == other.0.serial
    }
}

impl Eq for ByNumber {}

/// The list.
pub(crate) struct Listings {
    last: AtomicU64,
    map: Mutex<Owned<IntervalMap<ByNumber>>>,
}

/// A registration that is in the list, until dropped.
pub(crate) struct Listed {
    listing: Listing,
    listings: Shared<Listings>,
}

impl Listings {
    /// An empty list.
    pub(super) fn new() -> Result<Self, Status> {
        let map = Owned::new(IntervalMap::new(seed()?))?;
        Ok(Self {
            last: AtomicU64::new(0),
            map: Mutex::new(map),
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.map.lock().len())
    }

    /// The first registration with a number of at least `serial`.
    pub(crate) fn next_from(&self, serial: u64) -> Option<Listing> {
        self.map
            .lock()
            .next_from(serial)
            .map(|(_, listing)| listing.0)
    }
}

impl Listed {
    /// Puts a registration on the list.
    pub(crate) fn new(listings: &Shared<Listings>, mut listing: Listing) -> Result<Self, Error> {
        loop {
            // Memory is asked for with no lock held.
            let growth = listings.map.lock().growth(1);
            if let Some(growth) = growth {
                let chunk = Chunk::allocate(growth)?;
                let refused = listings.map.lock().add(chunk);
                drop(refused);
            }
            let mut map = listings.map.lock();
            if map.growth(1).is_some() {
                continue;
            }
            // Under the lock, so that the numbers appear in their order.
            let serial = listings.last.fetch_add(1, Relaxed).saturating_add(1);
            listing.serial.0 = serial;
            map.insert(serial, 1, ByNumber(listing))
                .map_err(|_| Error::NoMemory)?;
            return Ok(Self {
                listing,
                listings: listings.clone(),
            });
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let number = self.listing.serial.0;
        let mut map = self.listings.map.lock();
        map.remove(number, ByNumber(self.listing));
    }
}
