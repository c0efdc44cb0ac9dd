//! A device: what is known of it from `AddDevice` to its removal.

mod hardware;
mod listing;
mod news;
pub(crate) mod pnp;
mod settings;
mod status_page;

use core::sync::atomic::AtomicU64;

use sanproxy_abi::{Error, INTERFACE_CLASS, QuotaRequest};
use sanproxy_registry::{Charge, Limits, Quota, Statistics, Surcharge};
use wdm::{
    crash_dump::CrashDump,
    device::Objects,
    interface::{Interface, InterfaceClass},
    memory::Memory,
    mutex::Mutex,
    pool::Shared,
    rundown::{Inside, Rundown},
    status::Status,
    work_item,
};

pub(crate) use self::{
    hardware::Hardware,
    listing::{Listed, Listing, Listings},
    settings::Settings,
    status_page::StatusPage,
};
use crate::driver::Files;

/// What a registration owes to its file and its device.
pub(crate) type Debt = Charge<Shared<Quota>, Shared<Quota>>;

/// What a piece owes for bytes that it holds beyond its own.
pub(crate) type ExtraDebt = Surcharge<Shared<Quota>, Shared<Quota>>;

/// Where a device is between its arrival and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Added, and not started yet.
    Added,
    /// Started: the only phase in which requests are answered.
    Started,
    /// Asked whether it may be stopped, and agreed.
    StopPending,
    /// Stopped, to be started again.
    Stopped,
    /// Asked whether it may be removed, and agreed.
    RemovePending,
    /// Removed, or gone by surprise.
    Gone,
}

/// # Invariants
///
/// `gate` guards `hardware`: whoever is inside may use it. A closed gate stays until the device is
/// started again, so that those who come late can wait for the end of the clearing away.
struct State {
    phase: Phase,
    /// The phase to go back to if a removal is cancelled.
    before: Phase,
    gate: Option<Rundown>,
    hardware: Option<Shared<Hardware>>,
}

/// A device.
pub(crate) struct Device {
    objects: Shared<Objects>,
    files: Shared<Files>,
    interface: Interface,
    state: Mutex<State>,
    quota: Shared<Quota>,
    /// What a file opened now may have.
    file_limits: Mutex<Limits>,
    /// Held while the quotas are changed, or read for a start.
    quota_change: Mutex<()>,
    statistics: Statistics,
    listings: Shared<Listings>,
    page: Mutex<Option<StatusPage>>,
    /// How often it has been started.
    starts: AtomicU64,
    dump: Option<Shared<CrashDump>>,
}

/// The right to use the hardware, until dropped.
pub(crate) struct Using {
    // Dropped in this order: whoever waits at the gate finds no other owner of the hardware.
    pub(crate) hardware: Shared<Hardware>,
    #[expect(dead_code, reason = "kept until the request is done")]
    inside: Inside,
}

impl Device {
    /// The state of a device just added.
    pub(crate) fn new(
        objects: Objects,
        files: &Shared<Files>,
        dump: Option<&Shared<CrashDump>>,
    ) -> Result<Shared<Self>, Status> {
        let class = InterfaceClass {
            data1: INTERFACE_CLASS.data1,
            data2: INTERFACE_CLASS.data2,
            data3: INTERFACE_CLASS.data3,
            data4: INTERFACE_CLASS.data4,
        };
        let interface = Interface::register(&objects.physical, class)?;
        let state = State {
            phase: Phase::Added,
            before: Phase::Added,
            gate: None,
            hardware: None,
        };
        let device = Self {
            objects: Shared::new(objects)?,
            files: files.clone(),
            interface,
            state: Mutex::new(state),
            quota: Shared::new(Quota::new(Limits { bytes: 0, count: 0 }))?,
            file_limits: Mutex::new(Limits { bytes: 0, count: 0 }),
            quota_change: Mutex::new(()),
            statistics: Statistics::new(),
            listings: Shared::new(Listings::new()?)?,
            page: Mutex::new(None),
            starts: AtomicU64::new(0),
            dump: dump.cloned(),
        };
        Ok(Shared::new(device)?)
    }

    /// The open files of all devices.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Whether it is removed, or its removal has begun.
    pub(crate) fn is_gone(&self) -> bool {
        self.state.lock().phase == Phase::Gone
    }

    /// What all its files together have registered, and may.
    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// What a file opened now may have.
    pub(crate) fn file_limits(&self) -> Limits {
        *self.file_limits.lock()
    }

    /// The registrations of all its files.
    pub(crate) const fn listings(&self) -> &Shared<Listings> {
        &self.listings
    }

    /// What is put into crash dumps, if the system asks for it.
    pub(crate) const fn dump(&self) -> Option<&Shared<CrashDump>> {
        self.dump.as_ref()
    }

    /// The status page, if there is one: its memory, and where the device finds it.
    pub(crate) fn page(&self) -> Option<(Memory, u64)> {
        self.page.lock().as_ref().map(StatusPage::place)
    }

    /// A registration has been made.
    pub(crate) fn count_made(&self) {
        self.statistics.count_made();
        self.publish();
    }

    /// A registration has been released, or a secured range.
    pub(crate) fn count_released(&self) {
        self.statistics.count_released();
        self.publish();
    }

    /// Brings the status page up to date.
    pub(crate) fn publish(&self) {
        if let Some(page) = &mut *self.page.lock() {
            page.publish(&self.quota, &self.statistics);
        }
    }

    /// Fails unless it is started.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.state.lock().check()
    }

    /// Sets the quotas, here and in the registry. If the registry cannot be written they are as they
    /// were, as far as it lets them.
    ///
    /// The key is opened by threads of the system alone. Nothing is held while one is waited for.
    pub(crate) fn set_quotas(&self, quotas: QuotaRequest) -> Result<(), Error> {
        let changed = work_item::run(&self.objects.function, move || self.change_quotas(&quotas));
        changed.map_err(|_| Error::NoMemory)?
    }

    fn change_quotas(&self, quotas: &QuotaRequest) -> Result<(), Error> {
        // A change takes long, but whoever waits here makes one too, or starts the device.
        let _change = self.quota_change.lock();
        let old = settings::quotas(self.file_limits(), self.quota.limits());
        if settings::write(&self.objects, quotas).is_err() {
            // What cannot be restored either is what the administrator has asked for.
            let _ = settings::write(&self.objects, &old);
            return Err(Error::RegistryFailed);
        }
        let (file, device) = settings::limits(quotas);
        *self.file_limits.lock() = file;
        self.quota.set_limits(device);
        Ok(())
    }

    /// What has been done so far.
    pub(crate) const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Enters the device, if it is started.
    pub(crate) fn enter(&self) -> Result<Using, Error> {
        self.state.lock().enter()
    }

    /// Charges a registration, if the device is still started. From then on it cannot be stopped
    /// until the charge is given back.
    pub(crate) fn charge(&self, file: &Shared<Quota>, bytes: u64) -> Result<Debt, Error> {
        let state = self.state.lock();
        state.check()?;
        Ok(Charge::new(file.clone(), self.quota.clone(), bytes)?)
    }

    /// Charges a message, if the device is still started; it does not keep the device from stopping.
    pub(crate) fn charge_message(
        &self,
        file: &Shared<Quota>,
        bytes: u64,
    ) -> Result<ExtraDebt, Error> {
        self.state.lock().check()?;
        Ok(Surcharge::new(file.clone(), self.quota.clone(), bytes)?)
    }

    /// Keeps the hardware up as long as the result lives. If it is being cleared away, waits until
    /// it is.
    pub(crate) fn hold(&self) -> Option<Inside> {
        let gate = self.state.lock().gate.clone();
        gate?.enter_or_wait()
    }
}

impl State {
    fn check(&self) -> Result<(), Error> {
        match self.phase {
            Phase::Started => Ok(()),
            Phase::Added | Phase::StopPending | Phase::Stopped | Phase::RemovePending => {
                Err(Error::NotStarted)
            }
            Phase::Gone => Err(Error::Removed),
        }
    }

    fn enter(&self) -> Result<Using, Error> {
        self.check()?;
        let inside = self
            .gate
            .as_ref()
            .and_then(Rundown::enter)
            .ok_or(Error::NotStarted)?;
        let hardware = self.hardware.clone().ok_or(Error::NotStarted)?;
        Ok(Using { hardware, inside })
    }
}
