//! An open of a device: its registrations, and the process that they are mapped into.
//!
//! A handle to the file can be passed to another process, and the process that opened it can end
//! before or after. So nothing here assumes in which process it runs. Mappings are made and removed
//! inside a gate, which the end of the owner's process closes: when it is past, none is left.

mod page;
mod tables;

use core::sync::atomic::{AtomicBool, Ordering};

use sanproxy_abi::{Error, EventKind, wire::Handle};
use sanproxy_registry::{Chunk, Quota};
use wdm::{
    mutex::Mutex,
    pool::Shared,
    process::Process,
    rundown::{Inside, Rundown},
    status::Status,
};

use crate::{
    address_space::AddressSpace,
    device::{Debt, Device, ExtraDebt},
    dispatch::status,
    mailbox::Mailbox,
    memory::Registration,
    messages::{self, Endpoint},
    secured::{Secured, SecuredRanges},
    trace::{self, Left},
};

pub(crate) use self::tables::{Attached, Mappings, handle_table};
use self::tables::{Freed, Removed, Tables};

/// A registration that somebody looks at. Pages of the process's own stay locked meanwhile, and the
/// end of the process waits.
pub(crate) struct Held {
    // Dropped in this order.
    pub(crate) registration: Shared<Registration>,
    /// Whether the process still finds it where it was told.
    pub(crate) mapped: bool,
    #[expect(dead_code, reason = "the end of the process waits for it")]
    inside: Option<Inside>,
}

/// An open of a device.
pub(crate) struct File {
    device: Shared<Device>,
    space: Shared<AddressSpace>,
    gate: Rundown,
    swept: AtomicBool,
    quota: Shared<Quota>,
    mailbox: Mailbox,
    endpoint: Endpoint,
    tables: Mutex<Tables>,
    secured: SecuredRanges,
}

impl File {
    /// A new open, by the current process, whose address space that is.
    pub(crate) fn new(
        device: &Shared<Device>,
        space: Shared<AddressSpace>,
    ) -> Result<Self, Status> {
        let _using = device.enter().map_err(|error| device.fail(error))?;
        let tables = Tables::new()?;
        let secured = SecuredRanges::new()?;
        Ok(Self {
            device: device.clone(),
            space,
            gate: Rundown::new()?,
            swept: AtomicBool::new(false),
            quota: Shared::new(Quota::new(device.file_limits()))?,
            mailbox: Mailbox::new()?,
            endpoint: Endpoint::new(),
            tables: Mutex::new(tables),
            secured,
        })
    }

    /// The device.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// What it has registered, and may.
    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Its events.
    pub(crate) const fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// What it is to another file.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it is an open of that device.
    pub(crate) fn is_of(&self, device: &Device) -> bool {
        core::ptr::eq(self.device(), device)
    }

    /// Whether it holds anything of the device: registrations, secured ranges, or a view of the status
    /// page.
    pub(crate) fn holds_memory(&self) -> bool {
        let tables = self.tables.lock();
        !tables.entries.is_empty() || tables.page.is_some() || !self.secured.is_empty()
    }

    /// The address space of the process that opened it.
    pub(crate) const fn space(&self) -> &Shared<AddressSpace> {
        &self.space
    }

    /// The process that opened it.
    pub(crate) fn process(&self) -> &Process {
        self.space.process()
    }

    /// Charges a registration to the file and the device.
    pub(crate) fn charge(&self, bytes: u64) -> Result<Debt, Error> {
        if self.tables.lock().closed {
            return Err(Error::FileClosed);
        }
        let debt = self.device.charge(&self.quota, bytes);
        self.tell_of_quotas();
        debt
    }

    /// Charges a message to the file and the device.
    pub(crate) fn charge_message(&self, bytes: u64) -> Result<ExtraDebt, Error> {
        if self.tables.lock().closed {
            return Err(Error::FileClosed);
        }
        let debt = self.device.charge_message(&self.quota, bytes);
        self.device.publish();
        self.tell_of_quotas();
        debt
    }

    /// Takes events in, and leaves telling of them to its mailbox. The status page is left as it is.
    pub(crate) fn record(&self, kind: EventKind, number: u64) {
        self.device.statistics().count_events(kind, number);
        self.mailbox.record(kind, number);
    }

    /// Tells of events.
    pub(crate) fn tell(&self, kind: EventKind, number: u64) {
        self.record(kind, number);
        // First, so that whoever is told finds it there.
        self.device.publish();
        self.mailbox.deliver();
    }

    /// Tells of quotas that have become nearly used up.
    pub(crate) fn tell_of_quotas(&self) {
        let own = self.quota.take_crossings();
        if own > 0 {
            self.tell(EventKind::FileQuota, own);
        }
        let all = self.device.quota().take_crossings();
        if all > 0 {
            self.device.announce(EventKind::DeviceQuota, all);
        }
    }

    /// The address space of the process that opened the file, if that is the current one and not about
    /// to end: then what is mapped while the result lives is found by its end.
    pub(crate) fn owner(&self) -> Result<(&Shared<AddressSpace>, Inside), Error> {
        if !self.process().is_current() {
            return Err(Error::WrongProcess);
        }
        let inside = self.gate.enter().ok_or(Error::WrongProcess)?;
        Ok((&self.space, inside))
    }

    /// Refuses memory that the driver has mapped into the current process.
    pub(crate) fn check_own(&self, start: u64, length: u64) -> Result<(), Error> {
        let space = if self.process().is_current() {
            Some(self.space.clone())
        } else {
            // The handle was passed on to a process that may have files of its own.
            let files = self.device.files().lock();
            let own = files.iter().find(|file| file.process().is_current());
            own.map(|file| file.space.clone())
        };
        space.map_or(Ok(()), |space| space.with_own(start, length, || Ok(())))
    }

    /// Takes a registration in, with its mappings, and gives it a handle.
    pub(crate) fn insert(
        &self,
        registration: Shared<Registration>,
        mappings: Option<Mappings>,
        attached: Attached,
    ) -> Result<Handle, Error> {
        let pieces = u32::try_from(registration.count()).map_err(|_| Error::NoMemory)?;
        let (kind, length) = (registration.kind.value(), registration.length());
        let mut new = Removed {
            mappings,
            attached,
            registration,
        };
        loop {
            self.grow(pieces)?;
            let mut tables = self.tables.lock();
            if tables.closed {
                return Err(Error::FileClosed);
            }
            // Another request may have taken the room that was made; then there is another try.
            match tables.insert(new) {
                Ok(handle) => {
                    trace::registered(kind, length, pieces);
                    return Ok(handle);
                }
                Err(back) => new = back,
            }
        }
    }

    /// Makes room for one more registration. Memory is asked for with no lock held.
    fn grow(&self, pieces: u32) -> Result<(), Error> {
        loop {
            let (entries, bonds, addresses) = {
                let tables = self.tables.lock();
                let addresses = tables.addresses.growth(pieces);
                (tables.entries.growth(), tables.bonds.growth(), addresses)
            };
            if let Some(growth) = entries {
                let chunk = Chunk::allocate(growth)?;
                let refused = self.tables.lock().entries.add(chunk);
                drop(refused);
            } else if let Some(growth) = bonds {
                let chunk = Chunk::allocate(growth)?;
                let refused = self.tables.lock().bonds.add(chunk);
                drop(refused);
            } else if let Some(growth) = addresses {
                let chunk = Chunk::allocate(growth)?;
                let refused = self.tables.lock().addresses.add(chunk);
                drop(refused);
            } else {
                return Ok(());
            }
        }
    }

    /// The registration with a handle.
    pub(crate) fn get(&self, handle: Handle) -> Result<Held, Error> {
        let inside = self.gate.enter();
        let tables = self.tables.lock();
        let entry = tables.entries.get(handle).ok_or(Error::UnknownHandle)?;
        if entry.registration.user_buffer.is_some() && inside.is_none() {
            // It goes with the process.
            return Err(Error::UnknownHandle);
        }
        let mapped = entry
            .bond
            .is_some_and(|key| tables.bonds.get(key).is_some());
        Ok(Held {
            registration: entry.registration.clone(),
            mapped,
            inside,
        })
    }

    /// Releases one registration: its mappings, then its memory. Its device is being used.
    pub(crate) fn release(&self, handle: Handle) -> Result<(), Error> {
        let _inside = self.gate.enter_or_wait();
        let removed = self
            .tables
            .lock()
            .remove(handle)
            .ok_or(Error::UnknownHandle)?;
        trace::released(&removed.registration);
        drop(removed);
        self.device.count_released();
        Ok(())
    }

    /// Takes a secured range in, and gives it a handle.
    pub(crate) fn insert_secured(&self, secured: Secured) -> Result<Handle, Error> {
        self.secured.insert(secured)
    }

    /// Unsecures one range. Its device is being used.
    pub(crate) fn unsecure(&self, handle: Handle) -> Result<(), Error> {
        let _inside = self.gate.enter_or_wait();
        let secured = self.secured.remove(handle)?;
        trace::unsecured(&secured);
        drop(secured);
        self.device.count_released();
        Ok(())
    }

    /// Unsecures all ranges, and gives their number.
    fn unsecure_all(&self) -> u64 {
        let mut released = 0_u64;
        while let Some(secured) = self.secured.remove_any() {
            trace::unsecured(&secured);
            drop(secured);
            self.device.count_released();
            released = released.saturating_add(1);
        }
        released
    }

    /// Releases all registrations, and gives their number. Its device is being used, or cleared away
    /// by the caller.
    pub(crate) fn release_all(&self) -> u64 {
        let _inside = self.gate.enter_or_wait();
        let mut released = self.unsecure_all();
        loop {
            let removed = self.tables.lock().remove_any();
            let Some(removed) = removed else {
                break;
            };
            trace::released(&removed.registration);
            drop(removed);
            self.device.count_released();
            released = released.saturating_add(1);
        }
        // Last, so that a provider can see all of it.
        self.unmap_page();
        released
    }

    /// The last handle is closed: nothing stays mapped or locked, and nothing new is registered.
    pub(crate) fn cleanup(&self) {
        let _held = self.device.hold();
        self.tables.lock().closed = true;
        self.secured.close();
        messages::leave(self, true);
        self.mailbox.close(Error::FileClosed);
        let _inside = self.gate.enter_or_wait();
        self.unsecure_all();
        self.free_process();
    }

    /// The file is closed: nothing stays registered.
    pub(crate) fn close(&self) {
        let _held = self.device.hold();
        self.release_all();
    }

    /// Whether the current process opened the file, and its end has not been noticed yet.
    pub(crate) fn is_mapped_in_current_process(&self) -> bool {
        self.process().is_current() && !self.swept.load(Ordering::Acquire)
    }

    /// The process that opened the file is about to end: nothing of it stays mapped, locked or
    /// secured.
    pub(crate) fn process_exit(&self) {
        let _held = self.device.hold();
        self.gate.run_down(|| {
            let unsecured = self.unsecure_all();
            trace::process_ended(Left {
                unsecured,
                ..self.free_process()
            });
        });
        self.swept.store(true, Ordering::Release);
    }

    /// Unmaps and releases what is bound to the process; tells what that was.
    fn free_process(&self) -> Left {
        self.unmap_page();
        let mut left = Left::default();
        loop {
            let freed = self.tables.lock().free_any();
            match freed {
                None => return left,
                Some(Freed::Registration(removed)) => {
                    trace::released(&removed.registration);
                    drop(removed);
                    self.device.count_released();
                    left.released = left.released.saturating_add(1);
                }
                Some(Freed::Views(mappings)) => {
                    drop(mappings);
                    left.unmapped = left.unmapped.saturating_add(1);
                }
                Some(Freed::Nothing) => {}
            }
        }
    }
}

impl Device {
    /// Counts a failure, and gives its status.
    pub(crate) fn fail(&self, error: Error) -> Status {
        self.statistics().count_failure(error);
        trace::failed(error);
        self.publish();
        status(error)
    }
}
