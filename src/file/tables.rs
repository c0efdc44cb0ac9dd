//! What a file knows: its registrations by handle and by device address, and what is bound to its process.

use alloc::vec::Vec;

use sanproxy_abi::wire::Handle;
use sanproxy_registry::{HandleTable, IntervalMap};
use wdm::{
    crash_dump::Marked,
    pool::{Owned, Shared},
    secret::{secret, seed},
    status::Status,
};

use crate::{address_space::View, device::Listed, memory::Registration};

use super::page::PageView;

/// What a file knows by handle.
pub(super) struct Entry {
    pub(super) registration: Shared<Registration>,
    /// Where what binds it to the process is, if anything does.
    pub(super) bond: Option<Handle>,
    pub(super) attached: Attached,
}

/// What is true of a registration as long as it has a handle.
pub(crate) struct Attached {
    /// It is on the list of the device.
    #[expect(dead_code, reason = "on the list until dropped")]
    pub(crate) listed: Listed,
    /// Its pieces that are in crash dumps.
    #[expect(dead_code, reason = "in crash dumps until dropped")]
    pub(crate) marked: Vec<Marked>,
}

/// Mappings of the pieces of one registration.
pub(crate) type Mappings = Vec<View>;

/// What must not outlast the owner's process.
pub(super) enum Bond {
    /// Views of memory, which itself may stay.
    Views(Mappings),
    /// Locked pages of the process's own: the registration goes with them.
    Pages(Handle),
}

/// Each is too large to be moved about on a kernel stack, so each has a block of its own.
pub(super) struct Tables {
    pub(super) closed: bool,
    pub(super) entries: Owned<HandleTable<Entry>>,
    pub(super) bonds: Owned<HandleTable<Bond>>,
    pub(super) addresses: Owned<IntervalMap<(Handle, u64)>>,
    pub(super) page: Option<PageView>,
}

/// What is taken out of the tables together. Dropped in this order: views before memory.
pub(super) struct Removed {
    pub(super) mappings: Option<Mappings>,
    pub(super) attached: Attached,
    pub(super) registration: Shared<Registration>,
}

/// What was bound to the process.
pub(super) enum Freed {
    Views(Mappings),
    Registration(Removed),
    /// It was released meanwhile.
    Nothing,
}

#[inline(never)]
pub(crate) fn handle_table<T>() -> Result<Owned<HandleTable<T>>, Status> {
    Ok(Owned::new(HandleTable::new(secret()?))?)
}

impl Tables {
    pub(super) fn new() -> Result<Self, Status> {
        Ok(Self {
            closed: false,
            entries: handle_table()?,
            bonds: handle_table()?,
            addresses: Owned::new(IntervalMap::new(seed()?))?,
            page: None,
        })
    }

    /// Where the process finds a byte of a registration, or of the status page.
    pub(super) fn user_address(&self, handle: Handle, offset: u64) -> Option<u64> {
        if handle == Handle(0) {
            return self.page_place()?.user_address.checked_add(offset);
        }
        let entry = self.entries.get(handle)?;
        self.bonds.get(entry.bond?)?;
        entry.registration.user_address_at(offset)
    }

    /// Takes everything in, or hands it back if there is no room.
    pub(super) fn insert(&mut self, new: Removed) -> Result<Handle, Removed> {
        let pieces = u32::try_from(new.registration.count()).unwrap_or(u32::MAX);
        let room = self.entries.growth().is_none()
            && self.bonds.growth().is_none()
            && self.addresses.growth(pieces).is_none();
        if !room {
            return Err(new);
        }
        let Removed {
            mappings,
            attached,
            registration,
        } = new;
        let Some(reservation) = self.entries.reserve() else {
            return Err(Removed {
                mappings,
                attached,
                registration,
            });
        };
        let handle = reservation.handle();
        let bond = match mappings {
            Some(mappings) => Some(Bond::Views(mappings)),
            None if registration.user_buffer.is_some() => Some(Bond::Pages(handle)),
            None => None,
        };
        let bond = bond.and_then(|bond| {
            let reservation = self.bonds.reserve()?;
            self.bonds.fulfil(reservation, bond).ok()
        });
        let mut offset = 0_u64;
        for span in registration.spans() {
            // There is room, as was seen above.
            let _ = self
                .addresses
                .insert(span.device_address, span.length, (handle, offset));
            offset = offset.saturating_add(span.length);
        }
        let entry = Entry {
            registration,
            bond,
            attached,
        };
        match self.entries.fulfil(reservation, entry) {
            Ok(handle) => Ok(handle),
            // The reservation is this table's own, just made.
            Err((_, entry)) => Err(self.take_out(handle, entry)),
        }
    }

    /// Takes out one thing that is bound to the process, and what goes with it.
    pub(super) fn free_any(&mut self) -> Option<Freed> {
        let (_, bond) = self.bonds.remove_any()?;
        Some(match bond {
            Bond::Views(mappings) => Freed::Views(mappings),
            Bond::Pages(handle) => self
                .remove(handle)
                .map_or(Freed::Nothing, Freed::Registration),
        })
    }

    pub(super) fn remove(&mut self, handle: Handle) -> Option<Removed> {
        let entry = self.entries.remove(handle)?;
        Some(self.take_out(handle, entry))
    }

    pub(super) fn remove_any(&mut self) -> Option<Removed> {
        let (handle, entry) = self.entries.remove_any()?;
        Some(self.take_out(handle, entry))
    }

    /// Removes what belongs to an entry from the other tables.
    fn take_out(&mut self, handle: Handle, entry: Entry) -> Removed {
        let Entry {
            registration,
            bond,
            attached,
        } = entry;
        let mut offset = 0_u64;
        for span in registration.spans() {
            self.addresses.remove(span.device_address, (handle, offset));
            offset = offset.saturating_add(span.length);
        }
        let mappings = match bond.and_then(|key| self.bonds.remove(key)) {
            Some(Bond::Views(mappings)) => Some(mappings),
            Some(Bond::Pages(_)) | None => None,
        };
        Removed {
            mappings,
            attached,
            registration,
        }
    }
}
