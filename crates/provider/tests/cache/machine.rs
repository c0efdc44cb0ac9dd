//! A machine in a few lines: pages that have frames, registrations that keep frames, secured ranges.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use sanproxy_provider::{Access, ControlCode, Error, Lease, Registrar, RegistrationCache, Status};

pub(crate) const PAGE: u64 = 4096;

/// What a frame holds: one number.
pub(crate) type Frame = Arc<AtomicU64>;

/// A registration as the device has it: where it begins, and its frames.
pub(crate) struct Reach {
    pub(crate) start: u64,
    pub(crate) frames: Vec<Frame>,
}

#[derive(Default)]
pub(crate) struct State {
    pages: BTreeMap<u64, Frame>,
    pub(crate) registered: BTreeMap<u64, (u64, u64)>,
    pub(crate) secured: BTreeMap<u64, (u64, u64)>,
    next: u64,
    /// Requests to register so far.
    pub(crate) registrations: u64,
    /// At most so many registrations, if any limit is set.
    pub(crate) quota: Option<usize>,
    /// Nothing can be secured.
    pub(crate) insecure: bool,
    /// Releases are refused.
    pub(crate) stubborn: bool,
}

/// The machine; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Machine(Arc<Mutex<State>>);

fn refused(request: ControlCode, status: Status) -> Error {
    Error::Refused {
        request,
        status,
        cause: None,
    }
}

fn pages(start: u64, length: u64) -> std::ops::Range<u64> {
    start / PAGE..(start + length).div_ceil(PAGE)
}

impl Machine {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// New frames for pages that have none.
    pub(crate) fn allocate(&self, start: u64, length: u64) {
        for page in pages(start, length) {
            self.state().pages.entry(page).or_default();
        }
    }

    fn is_secured(&self, start: u64, length: u64) -> bool {
        let range = pages(start, length);
        let state = self.state();
        let mut secured = state.secured.values();
        secured.any(|(from, bytes)| {
            let other = pages(*from, *bytes);
            other.start < range.end && other.end > range.start
        })
    }

    /// Frees pages as a program does; whether the system let it.
    pub(crate) fn free(
        &self,
        start: u64,
        length: u64,
        cache: Option<&RegistrationCache<Self>>,
    ) -> bool {
        if self.is_secured(start, length) {
            let told = cache.is_some_and(|cache| cache.invalidate(start, length).has_unsecured());
            if !told || self.is_secured(start, length) {
                return false;
            }
        }
        for page in pages(start, length) {
            self.state().pages.remove(&page);
        }
        true
    }

    /// What the program sees in each page.
    pub(crate) fn contents(&self) -> BTreeMap<u64, u64> {
        let state = self.state();
        let read = |(page, frame): (&u64, &Frame)| (*page, frame.load(Ordering::SeqCst));
        state.pages.iter().map(read).collect()
    }

    /// The program writes a number into a page.
    pub(crate) fn write(&self, page: u64, number: u64) {
        if let Some(frame) = self.state().pages.get(&page) {
            frame.store(number, Ordering::SeqCst);
        }
    }
}

/// The device adds a number to every frame of a range of a registration; gives their sum.
pub(crate) fn transfer(reach: &Reach, start: u64, length: u64, number: u64) -> u64 {
    let first = reach.start / PAGE;
    let frames = pages(start, length).map(|page| {
        let at = usize::try_from(page - first).unwrap();
        reach.frames[at].fetch_add(number, Ordering::SeqCst)
    });
    frames.fold(0, u64::wrapping_add)
}

/// The device does the same through a lease.
pub(crate) fn transfer_leased(lease: &Lease<Machine>, number: u64) -> u64 {
    transfer(lease.memory(), lease.start(), lease.length(), number)
}

impl Registrar for Machine {
    type Name = u64;
    type Secured = u64;
    type Memory = Reach;

    fn register(&self, start: u64, length: u64, _: Access) -> Result<(u64, Reach), Error> {
        let mut state = self.state();
        state.registrations += 1;
        if state
            .quota
            .is_some_and(|quota| state.registered.len() >= quota)
        {
            return Err(refused(ControlCode::Register, Status::QUOTA_EXCEEDED));
        }
        let frames: Option<Vec<Frame>> = pages(start, length)
            .map(|page| state.pages.get(&page).cloned())
            .collect();
        let frames =
            frames.ok_or_else(|| refused(ControlCode::Register, Status::ACCESS_VIOLATION))?;
        state.next += 1;
        let name = state.next;
        state.registered.insert(name, (start, length));
        Ok((name, Reach { start, frames }))
    }

    fn release(&self, name: u64) -> Result<(), Error> {
        let mut state = self.state();
        let stubborn = state.stubborn;
        let known = state.registered.remove(&name).filter(|_| !stubborn);
        known.ok_or_else(|| refused(ControlCode::Release, Status::INVALID_HANDLE))?;
        Ok(())
    }

    fn secure(&self, start: u64, length: u64, _: Access) -> Result<u64, Error> {
        let mut state = self.state();
        let there = pages(start, length).all(|page| state.pages.contains_key(&page));
        if state.insecure || !there {
            return Err(refused(ControlCode::Secure, Status::ACCESS_VIOLATION));
        }
        state.next += 1;
        let name = state.next;
        state.secured.insert(name, (start, length));
        Ok(name)
    }

    fn unsecure(&self, secured: u64) -> Result<(), Error> {
        let known = self.state().secured.remove(&secured);
        known.ok_or_else(|| refused(ControlCode::Unsecure, Status::INVALID_HANDLE))?;
        Ok(())
    }
}
