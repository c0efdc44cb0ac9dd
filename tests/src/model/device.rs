//! What happens to the device.

use std::sync::OnceLock;

use nt_host::{HostError, NtStatus};
use sanproxy_abi::EventKind;

use super::{
    lives::status,
    oracle::{Oracle, Phase},
    world::{Agreement, World, same},
};
use crate::{
    image::{self, TestImage},
    stage::accepted,
};

/// System power states, and those of a device.
const S0: u32 = 1;
const S3: u32 = 4;
const D0: u32 = 1;
const D3: u32 = 4;
/// `IRP_MN_SET_POWER` and `IRP_MN_QUERY_POWER`.
const SET_POWER: u8 = 2;
const QUERY_POWER: u8 = 3;

/// The status that a request to the device came to.
fn answered(outcome: Result<NtStatus, HostError>) -> Result<NtStatus, String> {
    match outcome {
        Ok(status) | Err(HostError::Status(status)) => Ok(status),
        Err(error) => Err(error.to_string()),
    }
}

/// The driver's image, read once.
fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| image::read(TestImage::Sanproxy))
}

impl World {
    /// Sends a request to the device; what it has to answer, and where the device is then.
    fn send_pnp(
        &mut self,
        what: &str,
        answer: Result<NtStatus, HostError>,
        expected: NtStatus,
        next: Phase,
    ) -> Agreement {
        self.tell(what);
        same(what, &answered(answer)?, &expected)?;
        if expected.is_success() {
            self.oracle.phase = next;
        }
        Ok(())
    }

    /// Nobody has memory registered: only then may the device go.
    fn consent(&self) -> NtStatus {
        if self.oracle.registrations.is_empty() && self.oracle.secured.is_empty() {
            NtStatus::SUCCESS
        } else {
            NtStatus::DEVICE_BUSY
        }
    }

    /// May the device be stopped?
    pub fn query_stop(&mut self) -> Agreement {
        if self.oracle.phase != Phase::Started {
            return Ok(());
        }
        let (answer, expected) = (self.device.query_stop(), self.consent());
        self.send_pnp("query stop", answer, expected, Phase::StopPending)?;
        if self.oracle.phase == Phase::Started {
            // The PnP manager takes back what was refused.
            let answer = self.device.cancel_stop();
            self.send_pnp("cancel stop", answer, NtStatus::SUCCESS, Phase::Started)?;
        }
        Ok(())
    }

    /// It is not stopped after all.
    pub fn cancel_stop(&mut self) -> Agreement {
        if self.oracle.phase != Phase::StopPending {
            return Ok(());
        }
        let answer = self.device.cancel_stop();
        self.send_pnp("cancel stop", answer, NtStatus::SUCCESS, Phase::Started)
    }

    /// It is stopped.
    pub fn stop(&mut self) -> Agreement {
        if self.oracle.phase != Phase::StopPending {
            return Ok(());
        }
        let answer = self.device.stop();
        self.oracle.stop();
        self.send_pnp("stop", answer, NtStatus::SUCCESS, Phase::Stopped)
    }

    /// It is started again.
    pub fn start(&mut self) -> Agreement {
        if self.oracle.phase != Phase::Stopped {
            return Ok(());
        }
        let answer = self.device.start();
        // Addresses of the former reserve may be those of the new one.
        self.oracle.former.retain(|former| !former.reserved);
        self.oracle.announce(EventKind::DeviceStarted, 1);
        self.oracle.generation += 1;
        self.send_pnp("start", answer, NtStatus::SUCCESS, Phase::Started)
    }

    /// May it be removed?
    pub fn query_remove(&mut self) -> Agreement {
        let before = self.oracle.phase;
        if matches!(before, Phase::RemovePending | Phase::Gone) {
            return Ok(());
        }
        self.oracle.before = before;
        let (answer, expected) = (self.device.query_remove(), self.consent());
        self.send_pnp("query remove", answer, expected, Phase::RemovePending)?;
        if self.oracle.phase == before {
            let answer = self.device.cancel_remove();
            self.send_pnp("cancel remove", answer, NtStatus::SUCCESS, before)?;
        }
        Ok(())
    }

    /// It is not removed after all.
    pub fn cancel_remove(&mut self) -> Agreement {
        if self.oracle.phase != Phase::RemovePending {
            return Ok(());
        }
        let (answer, before) = (self.device.cancel_remove(), self.oracle.before);
        self.send_pnp("cancel remove", answer, NtStatus::SUCCESS, before)
    }

    /// It is torn out.
    pub fn surprise_removal(&mut self) -> Agreement {
        if self.oracle.phase == Phase::Gone {
            return Ok(());
        }
        let answer = self.device.surprise_removal();
        self.send_pnp("surprise removal", answer, NtStatus::SUCCESS, Phase::Gone)?;
        self.oracle.remove();
        Ok(())
    }

    /// It is disabled and enabled again: refused while a handle is open.
    pub fn restart(&mut self) -> Agreement {
        if !self.handles.is_empty() {
            return Ok(());
        }
        self.tell("disable and enable");
        status(accepted(self.device.remove()))?;
        status(self.device.add_again())?;
        status(accepted(self.device.start()))?;
        self.begin_anew();
        Ok(())
    }

    /// The driver is unloaded and loaded again: nothing is left of it in between. Not while a handle is open.
    pub fn reload(&mut self) -> Agreement {
        if !self.handles.is_empty() {
            return Ok(());
        }
        self.tell("unload and load");
        status(accepted(self.device.remove()))?;
        if let Some(driver) = self.driver.take() {
            status(driver.unload())?;
        }
        let driver = status(self.host.load("sanproxy", image()))?;
        self.device = status(driver.add_device())?;
        self.driver = Some(driver);
        status(accepted(self.device.start()))?;
        self.begin_anew();
        Ok(())
    }

    /// The device begins anew; the processes go on.
    fn begin_anew(&mut self) {
        self.nic = self.device.bus_master();
        self.oracle = Oracle {
            allocations: std::mem::take(&mut self.oracle.allocations),
            per_file: self.oracle.per_file,
            per_device: self.oracle.per_device,
            ..Oracle::started()
        };
    }

    /// The system sleeps and wakes up: nothing that was registered is lost.
    pub fn sleep(&mut self) -> Agreement {
        if self.oracle.phase != Phase::Started {
            return Ok(());
        }
        self.tell("sleep");
        for (minor, system, state) in [
            (QUERY_POWER, true, S3),
            (SET_POWER, true, S3),
            (SET_POWER, false, D3),
        ] {
            status(accepted(self.device.send_power(minor, system, state)))?;
        }
        self.compare()?;
        self.tell("wake up");
        for (system, state) in [(true, S0), (false, D0)] {
            status(accepted(self.device.send_power(SET_POWER, system, state)))?;
        }
        Ok(())
    }
}
