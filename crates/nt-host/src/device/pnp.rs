//! The `PnP` manager: every request a function driver can get, in the orders in which it can get them.

use std::sync::Arc;

use super::node::{Device, Node, Phase};
use super::{check, root_bus};
use crate::access::{read, write};
use crate::call::Stopped;
use crate::host::{Host, HostError};
use crate::irp::{self, NewIrp, send as sender};
use crate::layout::{device, irp as irp_layout, major, stack};
use crate::status::NtStatus;
use crate::{lock, thread};

/// `IRP_MN_START_DEVICE`.
pub(crate) const START: u8 = 0x00;
/// `IRP_MN_QUERY_REMOVE_DEVICE`.
pub(crate) const QUERY_REMOVE: u8 = 0x01;
/// `IRP_MN_REMOVE_DEVICE`.
pub(crate) const REMOVE: u8 = 0x02;
/// `IRP_MN_CANCEL_REMOVE_DEVICE`.
pub(crate) const CANCEL_REMOVE: u8 = 0x03;
/// `IRP_MN_STOP_DEVICE`.
pub(crate) const STOP: u8 = 0x04;
/// `IRP_MN_QUERY_STOP_DEVICE`.
pub(crate) const QUERY_STOP: u8 = 0x05;
/// `IRP_MN_CANCEL_STOP_DEVICE`.
pub(crate) const CANCEL_STOP: u8 = 0x06;
/// `IRP_MN_SURPRISE_REMOVAL`.
pub(crate) const SURPRISE: u8 = 0x17;

const NAMES: &[(u8, &str)] = &[
    (START, "IRP_MN_START_DEVICE"),
    (QUERY_REMOVE, "IRP_MN_QUERY_REMOVE_DEVICE"),
    (REMOVE, "IRP_MN_REMOVE_DEVICE"),
    (CANCEL_REMOVE, "IRP_MN_CANCEL_REMOVE_DEVICE"),
    (STOP, "IRP_MN_STOP_DEVICE"),
    (QUERY_STOP, "IRP_MN_QUERY_STOP_DEVICE"),
    (CANCEL_STOP, "IRP_MN_CANCEL_STOP_DEVICE"),
    (0x07, "IRP_MN_QUERY_DEVICE_RELATIONS"),
    (0x08, "IRP_MN_QUERY_INTERFACE"),
    (0x09, "IRP_MN_QUERY_CAPABILITIES"),
    (0x0D, "IRP_MN_FILTER_RESOURCE_REQUIREMENTS"),
    (0x13, "IRP_MN_QUERY_ID"),
    (0x14, "IRP_MN_QUERY_PNP_DEVICE_STATE"),
    (0x16, "IRP_MN_DEVICE_USAGE_NOTIFICATION"),
    (SURPRISE, "IRP_MN_SURPRISE_REMOVAL"),
];

/// The documented name of a `PnP` request.
pub(crate) fn name_of(minor: u8) -> String {
    let name = NAMES.iter().find(|(number, _)| *number == minor);
    name.map_or_else(
        || format!("IRP_MJ_PNP/{minor:#04x}"),
        |(_, name)| (*name).to_owned(),
    )
}

/// Sends a `PnP` request to the top of the stack, in the system process, and waits.
pub(crate) fn send(host: &Arc<Host>, node: &Arc<Node>, minor: u8) -> Result<NtStatus, Stopped> {
    host.check_alive()?;
    {
        let mut state = lock(&node.state);
        state.current = Some(minor);
        state.events.clear();
    }
    let (status, information) = send_system(host, node, major::PNP, minor, [0; 4])?;
    check::after_request(host, node, minor, status, information);
    lock(&node.state).current = None;
    crate::dma::pnp_completed(host, node.pdo, minor);
    crate::file::run_deferred(host)?;
    Ok(status)
}

/// Sends a request of the system to the top of the stack and waits for its end.
pub(crate) fn send_system(
    host: &Arc<Host>,
    node: &Arc<Node>,
    function: u8,
    minor: u8,
    parameters: [u64; 4],
) -> Result<(NtStatus, u64), Stopped> {
    let top = host.devices.top(node.pdo);
    let new = NewIrp {
        major: function,
        minor,
        stack_count: read(top + device::STACK_SIZE),
        requestor_mode: 0,
        status: NtStatus::NOT_SUPPORTED,
        thread: None,
        file: None,
    };
    let request = irp::create(host, new).map_err(|_| host.die("no memory for an IRP"))?;
    let next = request.next() + stack::PARAMETERS;
    for (slot, value) in (0..).step_by(8).zip(parameters) {
        write(next + slot, value);
    }
    let extra = root_bus::parameters_of(host, function, minor, next);
    if function == major::POWER {
        // Power requests arrive with status NOT_SUPPORTED and information 0, like PnP requests.
        write(request.address + irp_layout::INFORMATION, 0_u64);
    }
    let system = host.processes.system();
    let returned = thread::in_process(&system, || sender::send(host, top, &request))?;
    let result = request.wait(host, host.options.watchdog);
    drop(extra);
    if let Some(result) = result {
        return Ok(result);
    }
    host.check_alive()?;
    let name = irp::check::name_of(function, minor);
    let message = format!("{name} answered {} and hangs", NtStatus(returned));
    host.violation("V308", "hang", message.clone());
    Err(host.die(message))
}

/// The last handle on a device is closed: a surprise-removed device can go now.
pub(crate) fn last_file_closed(host: &Arc<Host>, pdo: u64) -> Result<(), Stopped> {
    let Some(node) = host.nodes.at(pdo) else {
        return Ok(());
    };
    let waits = lock(&node.state).phase == Phase::SurpriseRemoved;
    if waits && !host.files.are_open_on(pdo) {
        remove_now(host, &node)?;
    }
    Ok(())
}

fn remove_now(host: &Arc<Host>, node: &Arc<Node>) -> Result<NtStatus, Stopped> {
    let status = send(host, node, REMOVE)?;
    let mut state = lock(&node.state);
    state.phase = Phase::Removed;
    state.remove_status = status;
    Ok(status)
}

impl Device {
    fn phase(&self) -> Phase {
        lock(&self.node.state).phase
    }

    fn set_phase(&self, phase: Phase) {
        lock(&self.node.state).phase = phase;
    }

    /// A request that is legal in some phases only; `next` follows if it succeeds.
    fn step(&self, legal: &[Phase], minor: u8, next: Phase) -> Result<NtStatus, HostError> {
        if !legal.contains(&self.phase()) {
            return Err(HostError::Status(NtStatus::INVALID_DEVICE_STATE));
        }
        let status = self.send_pnp(minor)?;
        if status.is_success() {
            self.set_phase(next);
        }
        Ok(status)
    }

    /// Starts the device. After a failure only [`Device::remove`] may follow.
    ///
    /// # Errors
    ///
    /// `INVALID_DEVICE_STATE` if it is started already or gone; [`HostError::Stopped`].
    pub fn start(&self) -> Result<NtStatus, HostError> {
        let status = self.step(&[Phase::Added, Phase::Stopped], START, Phase::Started)?;
        if !status.is_success() {
            self.set_phase(Phase::StartFailed);
        }
        Ok(status)
    }

    /// Asks whether the device can be stopped.
    ///
    /// # Errors
    ///
    /// As for [`Device::start`].
    pub fn query_stop(&self) -> Result<NtStatus, HostError> {
        lock(&self.node.state).before_query = Phase::Started;
        self.step(&[Phase::Started], QUERY_STOP, Phase::StopPending)
    }

    /// Stops the device, after [`Device::query_stop`].
    ///
    /// # Errors
    ///
    /// As for [`Device::start`].
    pub fn stop(&self) -> Result<NtStatus, HostError> {
        self.step(&[Phase::StopPending], STOP, Phase::Stopped)
    }

    /// Takes [`Device::query_stop`] back, whatever its answer was.
    ///
    /// # Errors
    ///
    /// As for [`Device::start`].
    pub fn cancel_stop(&self) -> Result<NtStatus, HostError> {
        self.step(
            &[Phase::StopPending, Phase::Started],
            CANCEL_STOP,
            Phase::Started,
        )
    }

    /// Asks whether the device can be removed.
    ///
    /// # Errors
    ///
    /// As for [`Device::start`].
    pub fn query_remove(&self) -> Result<NtStatus, HostError> {
        let phase = self.phase();
        lock(&self.node.state).before_query = phase;
        let legal = [
            Phase::Added,
            Phase::Started,
            Phase::Stopped,
            Phase::StopPending,
        ];
        self.step(&legal, QUERY_REMOVE, Phase::RemovePending)
    }

    /// Takes [`Device::query_remove`] back, whatever its answer was.
    ///
    /// # Errors
    ///
    /// As for [`Device::start`].
    pub fn cancel_remove(&self) -> Result<NtStatus, HostError> {
        let before = lock(&self.node.state).before_query;
        let legal = [
            Phase::RemovePending,
            Phase::Added,
            Phase::Started,
            Phase::Stopped,
        ];
        self.step(&legal, CANCEL_REMOVE, before)
    }

    /// Removes the device. One that runs is asked first; open handles are a veto, as on Windows.
    ///
    /// # Errors
    ///
    /// `DEVICE_BUSY` while handles are open; the driver's veto; [`HostError::Stopped`].
    pub fn remove(&self) -> Result<NtStatus, HostError> {
        crate::file::run_deferred(&self.host)?;
        if self.phase() == Phase::Removed {
            return Ok(lock(&self.node.state).remove_status);
        }
        if self.host.files.are_open_on(self.node.pdo) {
            return Err(HostError::Status(NtStatus::DEVICE_BUSY));
        }
        if self.phase() == Phase::Started {
            let answer = self.query_remove()?;
            if !answer.is_success() {
                self.cancel_remove()?;
                return Err(HostError::Status(answer));
            }
        }
        remove_now(&self.host, &self.node).map_err(HostError::from)
    }

    /// The device vanishes. REMOVE follows by itself when the last handle is closed, at once if none is open.
    ///
    /// # Errors
    ///
    /// As for [`Device::start`].
    pub fn surprise_removal(&self) -> Result<NtStatus, HostError> {
        let legal = [
            Phase::Started,
            Phase::StopPending,
            Phase::Stopped,
            Phase::RemovePending,
            Phase::StartFailed,
        ];
        let status = self.step(&legal, SURPRISE, Phase::SurpriseRemoved)?;
        self.set_phase(Phase::SurpriseRemoved);
        last_file_closed(&self.host, self.node.pdo)?;
        Ok(status)
    }

    /// Sends `IRP_MN_SET_POWER` (2) or `IRP_MN_QUERY_POWER` (3): `system` power state or device state.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`].
    pub fn send_power(&self, minor: u8, system: bool, state: u32) -> Result<NtStatus, HostError> {
        let parameters = [0, u64::from(!system), u64::from(state), 0];
        let (status, _) = send_system(&self.host, &self.node, major::POWER, minor, parameters)?;
        Ok(status)
    }

    /// Sends a WMI request that is for no provider of this driver.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`].
    pub fn send_system_control(&self, minor: u8) -> Result<NtStatus, HostError> {
        let parameters = [self.node.pdo, 0, 0, 0];
        let (status, _) = send_system(
            &self.host,
            &self.node,
            major::SYSTEM_CONTROL,
            minor,
            parameters,
        )?;
        Ok(status)
    }

    /// Sends requests that no driver knows: they must reach the bus unchanged.
    ///
    /// # Errors
    ///
    /// [`HostError::Stopped`].
    pub fn send_bogus_requests(&self) -> Result<(), HostError> {
        for minor in [0x0E, 0x18, 0x1A, 0x2F, 0x7F, 0xFE] {
            self.send_pnp(minor)?;
            self.send_power(minor, true, 1)?;
            self.send_system_control(minor)?;
        }
        Ok(())
    }
}
