//! Which ranges of the opener's own memory a file has secured.
//!
//! They are found by handle only, and have a lock of their own. A secured range costs the kernel
//! memory, so each is charged as a registration of no bytes.

use sanproxy_abi::{Error, wire::Handle};
use sanproxy_registry::{Chunk, HandleTable};
use wdm::{mutex::Mutex, pool::Owned, secured_range::SecuredRange, status::Status};

use crate::{
    device::{Debt, Listed},
    file::handle_table,
};

/// A secured range, with what it owes.
pub(crate) struct Secured {
    // Dropped in this order: it is listed and counts until it is unsecured.
    #[expect(dead_code, reason = "kept secured until dropped")]
    pub(crate) range: SecuredRange,
    #[expect(dead_code, reason = "on the list until dropped")]
    pub(crate) listed: Listed,
    #[expect(dead_code, reason = "given back when dropped")]
    pub(crate) debt: Debt,
    /// How many bytes were asked for.
    pub(crate) length: u64,
}

struct Table {
    closed: bool,
    ranges: Owned<HandleTable<Secured>>,
}

/// The secured ranges of a file.
pub(crate) struct SecuredRanges(Mutex<Table>);

impl SecuredRanges {
    /// None yet.
    pub(crate) fn new() -> Result<Self, Status> {
        Ok(Self(Mutex::new(Table {
            closed: false,
            ranges: handle_table()?,
        })))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().ranges.is_empty()
    }

    /// No further ones are taken in.
    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
    }

    /// Takes a range in, and gives it a handle. Memory is asked for with no lock held.
    pub(crate) fn insert(&self, secured: Secured) -> Result<Handle, Error> {
        loop {
            let growth = {
                let mut table = self.0.lock();
                if table.closed {
                    return Err(Error::FileClosed);
                }
                match table.ranges.reserve() {
                    // The reservation is this table's own, just made.
                    Some(reservation) => {
                        let fulfilled = table.ranges.fulfil(reservation, secured);
                        return fulfilled.map_err(|_| Error::NoMemory);
                    }
                    None => table.ranges.growth(),
                }
            };
            if let Some(growth) = growth {
                let chunk = Chunk::allocate(growth)?;
                let refused = self.0.lock().ranges.add(chunk);
                drop(refused);
            }
        }
    }

    /// Takes one out; it is unsecured when the caller drops it.
    pub(crate) fn remove(&self, handle: Handle) -> Result<Secured, Error> {
        let removed = self.0.lock().ranges.remove(handle);
        removed.ok_or(Error::UnknownHandle)
    }

    /// Takes any one out.
    pub(crate) fn remove_any(&self) -> Option<Secured> {
        let (_, secured) = self.0.lock().ranges.remove_any()?;
        Some(secured)
    }
}
