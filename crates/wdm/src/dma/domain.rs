//! DMA domains: what devices share that see the same logical addresses.
//!
//! The pages of the routines are of Windows 10, and short: a handle is got and never closed, a device joins
//! one domain and leaves it. Nothing is said of memory that a device has mapped when it joins or leaves; so
//! join before anything else is asked of the adapter, and leave when all of it is given back. IRQL: `PASSIVE_LEVEL` throughout, as the pages say.

// UNSAFETY: calls through the adapter's table.
#![expect(unsafe_code, reason = "calls the adapter's routines")]

use wdk_sys::HANDLE;

use super::{Adapter, Error, signatures::LeaveDomain};
use crate::{pool::Shared, status::Status};

/// The domain of an adapter's device. There is nothing to close; the adapter is kept, for the handle is
/// its.
pub struct DmaDomain {
    handle: HANDLE,
    adapter: Shared<Adapter>,
}

// SAFETY: a handle of a domain is as good on any thread.
unsafe impl Send for DmaDomain {}
// SAFETY: as above.
unsafe impl Sync for DmaDomain {}

impl DmaDomain {
    /// The domain of an adapter: `GetDmaDomain`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`]; [`Error::Refused`] with `STATUS_NOT_FOUND` if the device has none.
    pub fn of(adapter: &Shared<Adapter>) -> Result<Self, Error> {
        let get = adapter.table.get_domain()?;
        // SAFETY: the adapter is live.
        let handle = unsafe { get(adapter.as_ptr()) };
        if handle.is_null() {
            return Err(Error::Refused(Status::NOT_FOUND));
        }
        Ok(Self {
            handle,
            adapter: adapter.clone(),
        })
    }

    /// The adapter that it came from.
    #[must_use]
    pub const fn adapter(&self) -> &Shared<Adapter> {
        &self.adapter
    }

    pub(super) const fn handle(&self) -> HANDLE {
        self.handle
    }
}

/// The membership of an adapter's device in a domain, which it leaves on drop.
///
/// # Invariants
///
/// Unless `left`, `adapter` has joined `domain`, and `leave` is a member of its table.
pub struct DomainMembership {
    leave: LeaveDomain,
    left: bool,
    adapter: Shared<Adapter>,
    domain: Shared<DmaDomain>,
}

impl DomainMembership {
    /// Joins a domain: `JoinDmaDomain`.
    ///
    /// # Errors
    ///
    /// [`Error::NotOffered`] if the table can join and not leave, [`Error::Refused`].
    pub fn join(adapter: &Shared<Adapter>, domain: &Shared<DmaDomain>) -> Result<Self, Error> {
        let (join, leave) = (adapter.table.join_domain()?, adapter.table.leave_domain()?);
        // SAFETY: the adapter is live; the handle is that of a domain, whose adapter is kept.
        Error::check(unsafe { join(adapter.as_ptr(), domain.handle) })?;
        Ok(Self {
            leave,
            left: false,
            adapter: adapter.clone(),
            domain: domain.clone(),
        })
    }

    /// The adapter that has joined.
    #[must_use]
    pub const fn adapter(&self) -> &Shared<Adapter> {
        &self.adapter
    }

    /// The domain.
    #[must_use]
    pub const fn domain(&self) -> &Shared<DmaDomain> {
        &self.domain
    }

    /// Leaves the domain, and tells how that went: `LeaveDmaDomain`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`].
    pub fn leave(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.left {
            return Ok(());
        }
        self.left = true;
        // SAFETY: the adapter is live and has joined, by the invariant.
        Error::check(unsafe { (self.leave)(self.adapter.as_ptr()) })
    }
}

impl Drop for DomainMembership {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _: Result<(), Error> = self.end();
    }
}
