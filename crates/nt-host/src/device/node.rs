//! Device nodes: what the `PnP` manager knows of one device, from its PDO up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::interface::{Guid, Interface};
use super::{check, object, pnp};
use crate::access::read;
use crate::call::{Entry, Stopped};
use crate::driver::DriverObject;
use crate::host::{Host, HostError};
use crate::irp::Irp;
use crate::layout::{device, driver, major};
use crate::status::NtStatus;
use crate::{lock, thread};

/// Where a device is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Known to the bus; no function driver.
    Enumerated,
    /// `AddDevice` has succeeded.
    Added,
    /// Running.
    Started,
    /// START has failed: only REMOVE may follow.
    StartFailed,
    /// Asked to stop, and agreed.
    StopPending,
    /// Stopped, to be started again.
    Stopped,
    /// Asked to go, and agreed.
    RemovePending,
    /// Gone without being asked; REMOVE follows with the last handle's close.
    SurpriseRemoved,
    /// REMOVE is done.
    Removed,
}

/// What happened in the course of a `PnP` request, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The request has reached the bus driver.
    ReachedBus(u8),
    /// The driver has detached from the stack.
    Detached,
    /// The driver has deleted its device.
    Deleted,
}

/// What changes in the life of a node.
pub(crate) struct NodeState {
    /// Where it is.
    pub(crate) phase: Phase,
    /// Phase to return to when a query is cancelled.
    pub(crate) before_query: Phase,
    /// The `PnP` minor now in the stack.
    pub(crate) current: Option<u8>,
    /// What happened since it entered.
    pub(crate) events: Vec<Event>,
    /// Its interfaces.
    pub(crate) interfaces: Vec<Interface>,
    /// Devices that drivers have attached.
    pub(crate) attached: Vec<u64>,
    /// The driver's answer to REMOVE.
    pub(crate) remove_status: NtStatus,
}

/// A device as the `PnP` manager knows it.
pub(crate) struct Node {
    /// Its PDO.
    pub(crate) pdo: u64,
    /// Device instance path, such as `ROOT\SANPROXY\0000`.
    pub(crate) instance: String,
    /// What changes.
    pub(crate) state: Mutex<NodeState>,
}

/// The nodes of a host.
#[derive(Default)]
pub(crate) struct Nodes {
    by_pdo: Mutex<HashMap<u64, Arc<Node>>>,
}

impl Nodes {
    /// The node of that PDO.
    pub(crate) fn at(&self, pdo: u64) -> Option<Arc<Node>> {
        lock(&self.by_pdo).get(&pdo).cloned()
    }

    /// All nodes.
    pub(crate) fn all(&self) -> Vec<Arc<Node>> {
        lock(&self.by_pdo).values().cloned().collect()
    }

    /// A driver has attached a device to the node's stack.
    pub(crate) fn attached(&self, pdo: u64, source: u64) {
        if let Some(node) = self.at(pdo) {
            lock(&node.state).attached.push(source);
        }
    }

    /// Something happened in the stack of the node.
    pub(crate) fn note(&self, pdo: u64, event: Event) {
        if let Some(node) = self.at(pdo) {
            lock(&node.state).events.push(event);
        }
    }

    /// A request has arrived at a device.
    pub(crate) fn request_reached(&self, _host: &Host, device: u64, request: &Irp) {
        if request.major == major::PNP {
            self.note(device, Event::ReachedBus(request.minor));
        }
    }

    /// A running device that offers the interface.
    pub(crate) fn open_interface(&self, guid: &Guid) -> Option<u64> {
        let nodes = self.all();
        let offers = |node: &&Arc<Node>| {
            let state = lock(&node.state);
            let enabled = state
                .interfaces
                .iter()
                .any(|own| own.guid == *guid && own.enabled);
            enabled
                && matches!(
                    state.phase,
                    Phase::Started | Phase::StopPending | Phase::Stopped
                )
        };
        nodes.iter().find(offers).map(|node| node.pdo)
    }
}

/// A device on the root bus, with the driver that was added to it.
#[derive(Clone)]
pub struct Device {
    pub(crate) host: Arc<Host>,
    pub(crate) node: Arc<Node>,
    pub(crate) driver: Arc<DriverObject>,
}

impl Device {
    /// A new PDO, with the driver's `AddDevice` called for it.
    pub(crate) fn add(host: &Arc<Host>, driver: &Arc<DriverObject>) -> Result<Self, HostError> {
        host.check_alive()?;
        let pdo = super::root_bus::create_pdo(host)?;
        let count = lock(&host.nodes.by_pdo).len();
        let instance = format!("ROOT\\{}\\{count:04}", driver.name.to_uppercase());
        host.registry
            .create_device(&instance, &host.options.parameters);
        let state = NodeState {
            phase: Phase::Enumerated,
            before_query: Phase::Enumerated,
            current: None,
            events: Vec::new(),
            interfaces: Vec::new(),
            attached: Vec::new(),
            remove_status: NtStatus::SUCCESS,
        };
        let node = Arc::new(Node {
            pdo,
            instance,
            state: Mutex::new(state),
        });
        lock(&host.nodes.by_pdo).insert(pdo, Arc::clone(&node));
        let device = Self {
            host: Arc::clone(host),
            node,
            driver: Arc::clone(driver),
        };
        device.call_add_device()?;
        Ok(device)
    }

    /// Calls `AddDevice` again after REMOVE, as after "disable" and "enable".
    ///
    /// # Errors
    ///
    /// The status of `AddDevice`; `INVALID_DEVICE_STATE` unless the device was removed.
    pub fn add_again(&self) -> Result<(), HostError> {
        if lock(&self.node.state).phase != Phase::Removed {
            return Err(HostError::Status(NtStatus::INVALID_DEVICE_STATE));
        }
        self.call_add_device()
    }

    fn call_add_device(&self) -> Result<(), HostError> {
        crate::dma::device_added(&self.host, self.node.pdo);
        let status = self.run_add_device()?;
        if status.is_success() {
            lock(&self.node.state).phase = Phase::Added;
            Ok(())
        } else {
            lock(&self.node.state).phase = Phase::Removed;
            Err(HostError::Status(status))
        }
    }

    fn run_add_device(&self) -> Result<NtStatus, Stopped> {
        let host = &self.host;
        let object = self.driver.address();
        let extension: u64 = read(object + driver::DRIVER_EXTENSION);
        let routine: u64 = read(extension + driver::ADD_DEVICE);
        if routine == 0 {
            host.violation(
                "V221",
                "C9/0x21F",
                "the driver has set no AddDevice routine",
            );
            return Ok(NtStatus::INVALID_DEVICE_REQUEST);
        }
        let before = host.devices.of_driver(object);
        let system = host.processes.system();
        let arguments = [object, self.node.pdo];
        let status = thread::in_process(&system, || {
            host.call_driver(Entry::Callback, "AddDevice", routine, &arguments)
        })?;
        let status = NtStatus(status as u32);
        check::after_add_device(host, self.node.pdo, object, &before, status);
        Ok(status)
    }

    /// The address of its PDO.
    #[must_use]
    pub fn pdo(&self) -> u64 {
        self.node.pdo
    }

    /// Its instance path.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.node.instance
    }

    /// The interfaces that the driver has registered, and whether each is enabled.
    #[must_use]
    pub fn interfaces(&self) -> Vec<(Guid, bool)> {
        let state = lock(&self.node.state);
        state
            .interfaces
            .iter()
            .map(|own| (own.guid, own.enabled))
            .collect()
    }

    /// `Flags` of the device object on top of the stack.
    #[must_use]
    pub fn top_flags(&self) -> u32 {
        read(self.host.devices.top(self.node.pdo) + device::FLAGS)
    }

    /// Whether the driver's devices are gone from the stack.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        lock(&self.node.state).phase == Phase::Removed
    }

    /// Takes the device off the bus; a driver must be gone from it.
    pub(crate) fn forget_all(host: &Host) {
        let nodes = core::mem::take(&mut *lock(&host.nodes.by_pdo));
        for pdo in nodes.keys() {
            object::delete(host, *pdo);
        }
    }

    /// Sends a `PnP` request with that minor, in whatever state the device is.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`] if the driver did not come back.
    pub fn send_pnp(&self, minor: u8) -> Result<NtStatus, HostError> {
        pnp::send(&self.host, &self.node, minor).map_err(HostError::from)
    }
}
