//! What a file knows of the status page, and which address lies in it or in a registration.

use sanproxy_abi::{Error, PAGE_SIZE, wire::Handle};

use super::{File, Tables};
use crate::address_space::View;

/// A view of the status page, and where the device finds the page.
pub(super) struct PageView {
    pub(super) view: View,
    pub(super) device_address: u64,
}

/// Where a process and the device find the status page.
#[derive(Clone, Copy)]
pub(crate) struct PagePlace {
    pub(crate) user_address: u64,
    pub(crate) device_address: u64,
}

/// Where an address was found.
pub(crate) struct Found {
    /// 0 for the status page.
    pub(crate) handle: Handle,
    pub(crate) offset: u64,
    /// 0 if it is not mapped.
    pub(crate) user_address: u64,
}

impl File {
    /// The registration that holds a device address, or the status page, and where in it.
    pub(crate) fn lookup(&self, address: u64) -> Result<Found, Error> {
        let tables = self.tables.lock();
        let ((handle, piece), offset) = tables
            .addresses
            .lookup(address)
            .ok_or(Error::AddressNotFound)?;
        let offset = piece.saturating_add(offset);
        Ok(Found {
            handle,
            offset,
            user_address: tables.user_address(handle, offset).unwrap_or(0),
        })
    }

    /// Maps the status page into the process that opened the file, once.
    pub(crate) fn map_page(&self) -> Result<PagePlace, Error> {
        let (space, _inside) = self.owner()?;
        if let Some(place) = self.tables.lock().page_place() {
            return Ok(place);
        }
        let (memory, device_address) = self.device.page().ok_or(Error::KindNotOffered)?;
        let mut view = PageView {
            view: View::read_only(memory, space)?,
            device_address,
        };
        loop {
            self.grow(1)?;
            let mut tables = self.tables.lock();
            if tables.closed {
                return Err(Error::FileClosed);
            }
            if let Some(place) = tables.page_place() {
                // Another request was faster; the lock is given back before its own view goes.
                drop(tables);
                drop(view);
                return Ok(place);
            }
            match tables.insert_page(view) {
                Ok(place) => return Ok(place),
                Err(back) => view = back,
            }
        }
    }

    /// Takes the view away.
    pub(super) fn unmap_page(&self) {
        let view = self.tables.lock().remove_page();
        drop(view);
    }
}

impl Tables {
    pub(super) fn page_place(&self) -> Option<PagePlace> {
        self.page.as_ref().map(|view| PagePlace {
            user_address: view.view.address(),
            device_address: view.device_address,
        })
    }

    /// Takes a view of the status page in, or hands it back if there is no room.
    pub(super) fn insert_page(&mut self, view: PageView) -> Result<PagePlace, PageView> {
        if self.addresses.growth(1).is_some() {
            return Err(view);
        }
        let place = PagePlace {
            user_address: view.view.address(),
            device_address: view.device_address,
        };
        // Without an adapter the device finds it nowhere.
        if view.device_address != 0 {
            let _ = self
                .addresses
                .insert(view.device_address, PAGE_SIZE, (Handle(0), 0));
        }
        self.page = Some(view);
        Ok(place)
    }

    pub(super) fn remove_page(&mut self) -> Option<PageView> {
        let view = self.page.take()?;
        if view.device_address != 0 {
            self.addresses.remove(view.device_address, (Handle(0), 0));
        }
        Some(view)
    }
}
