//! A device: what is known of it from `AddDevice` to its removal.

mod hardware;
mod news;
pub(crate) mod pnp;
mod settings;

use sanproxy_abi::{Error, INTERFACE_CLASS};
use sanproxy_registry::{Charge, Limits, Quota, Statistics, Surcharge};
use wdm::{
    device::Objects,
    interface::{Interface, InterfaceClass},
    mutex::Mutex,
    pool::Shared,
    rundown::{Inside, Rundown},
    status::Status,
};

pub(crate) use self::{hardware::Hardware, settings::Settings};
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
    statistics: Statistics,
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
    pub(crate) fn new(objects: Objects, files: &Shared<Files>) -> Result<Shared<Self>, Status> {
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
            statistics: Statistics::new(),
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
