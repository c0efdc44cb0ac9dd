//! What happens to processes, handles and the device.

use nt_host::{HostError, NtStatus};
use sanproxy_abi::Status;

use super::{
    operation::{Pick, Splash},
    oracle::{OpenFile, Oracle, Phase},
    world::{Agreement, Handle, Running, World, same},
};
use crate::stage::{INTERFACE, accepted};

/// As many processes live at once, at most.
const PROCESSES: usize = 4;
/// As many handles are open at once, at most.
const HANDLES: usize = 8;

/// System power states, and those of a device.
const S0: u32 = 1;
const S3: u32 = 4;
const D0: u32 = 1;
const D3: u32 = 4;
/// `IRP_MN_SET_POWER` and `IRP_MN_QUERY_POWER`.
const SET_POWER: u8 = 2;
const QUERY_POWER: u8 = 3;

fn status<T>(outcome: Result<T, HostError>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

/// The status that a request to the device came to.
fn answered(outcome: Result<NtStatus, HostError>) -> Result<NtStatus, String> {
    match outcome {
        Ok(status) | Err(HostError::Status(status)) => Ok(status),
        Err(error) => Err(error.to_string()),
    }
}

impl World {
    /// A process begins.
    pub fn create_process(&mut self) -> Agreement {
        if self.processes.len() >= PROCESSES {
            return Ok(());
        }
        let process = status(self.stage.host.create_process("provider.exe"))?;
        let number = self.number();
        self.processes.push(Running { number, process });
        self.tell(format!("process {number} begins"));
        Ok(())
    }

    fn place(&self, pick: Pick) -> Option<usize> {
        let count = self.processes.len();
        (count > 0).then(|| usize::from(pick) % count)
    }

    /// A process is ended.
    pub fn end_process(&mut self, pick: Pick) -> Agreement {
        let Some(place) = self.place(pick) else {
            return Ok(());
        };
        let ended = self.processes.remove(place);
        self.tell(format!("process {} is ended", ended.number));
        status(ended.process.exit())?;
        same(
            "mappings of the dead",
            &ended.process.mappings(),
            &Vec::new(),
        )?;
        self.oracle.end_process(ended.number);
        let (closed, left) = self
            .handles
            .drain(..)
            .partition(|handle: &Handle| handle.process == ended.number);
        self.handles = left;
        self.closed(&closed);
        Ok(())
    }

    /// What it means that handles are closed.
    fn closed(&mut self, closed: &[Handle]) {
        for handle in closed {
            if self.handles.iter().all(|left| left.opened != handle.opened) {
                self.oracle.close(handle.opened);
            }
        }
    }

    /// A process opens the device.
    pub fn open(&mut self, pick: Pick) -> Agreement {
        let Some(place) = self.place(pick).filter(|_| self.handles.len() < HANDLES) else {
            return Ok(());
        };
        let (process, opener) = (
            self.processes[place].number,
            self.processes[place].process.clone(),
        );
        let file = match opener.open(&INTERFACE) {
            Ok(file) => Ok(file),
            Err(HostError::Status(status)) => Err(Status(status.0)),
            Err(error) => return Err(error.to_string()),
        };
        self.tell(format!("process {process} opens the device"));
        let actual = file.as_ref().map(|_| ()).map_err(|status| *status);
        // The PnP manager finds no interface of a device that is going.
        if matches!(self.oracle.phase, Phase::RemovePending | Phase::Gone) {
            let expected = Err(Status(NtStatus::OBJECT_NAME_NOT_FOUND.0));
            return same("open", &actual, &expected);
        }
        let expected = self.oracle.gate();
        self.agree("open", actual, expected)?;
        if let Ok(file) = file {
            let (number, opened) = (self.number(), self.number());
            let open = OpenFile {
                owner: Some(process),
                stale: Vec::new(),
            };
            self.oracle.files.insert(opened, open);
            self.handles.push(Handle {
                number,
                process,
                opened,
                file,
            });
            self.tell(format!("  as file {opened} by handle {number}"));
        }
        Ok(())
    }

    /// A handle is duplicated into a process.
    pub fn duplicate(&mut self, pick: Pick, process: Pick) -> Agreement {
        let place = self.place(process).filter(|_| self.handles.len() < HANDLES);
        let (Some(handle), Some(place)) = (self.pick(pick), place) else {
            return Ok(());
        };
        let target = &self.processes[place];
        let (from, opened, process) = (handle.number, handle.opened, target.number);
        let file = status(handle.file.duplicate(&target.process))?;
        let number = self.number();
        self.handles.push(Handle {
            number,
            process,
            opened,
            file,
        });
        self.tell(format!(
            "handle {from} is duplicated into process {process} as handle {number}"
        ));
        Ok(())
    }

    /// A handle is closed.
    pub fn close(&mut self, pick: Pick) -> Agreement {
        let count = self.handles.len();
        if count == 0 {
            return Ok(());
        }
        let handle = self.handles.remove(usize::from(pick) % count);
        self.tell(format!("handle {} is closed", handle.number));
        let opened = handle.opened;
        status(handle.file.close())?;
        if self.handles.iter().all(|left| left.opened != opened) {
            self.oracle.close(opened);
        }
        Ok(())
    }

    /// Sends a request to the device; what it has to answer, and where the device is then.
    fn send(
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
        if self.oracle.registrations.is_empty() {
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
        let (answer, expected) = (self.stage.device.query_stop(), self.consent());
        self.send("query stop", answer, expected, Phase::StopPending)?;
        if self.oracle.phase == Phase::Started {
            // The PnP manager takes back what was refused.
            let answer = self.stage.device.cancel_stop();
            self.send("cancel stop", answer, NtStatus::SUCCESS, Phase::Started)?;
        }
        Ok(())
    }

    /// It is not stopped after all.
    pub fn cancel_stop(&mut self) -> Agreement {
        if self.oracle.phase != Phase::StopPending {
            return Ok(());
        }
        let answer = self.stage.device.cancel_stop();
        self.send("cancel stop", answer, NtStatus::SUCCESS, Phase::Started)
    }

    /// It is stopped.
    pub fn stop(&mut self) -> Agreement {
        if self.oracle.phase != Phase::StopPending {
            return Ok(());
        }
        let answer = self.stage.device.stop();
        self.send("stop", answer, NtStatus::SUCCESS, Phase::Stopped)
    }

    /// It is started again.
    pub fn start(&mut self) -> Agreement {
        if self.oracle.phase != Phase::Stopped {
            return Ok(());
        }
        let answer = self.stage.device.start();
        // Addresses of the former reserve may be those of the new one.
        self.oracle.former.retain(|former| !former.reserved);
        self.send("start", answer, NtStatus::SUCCESS, Phase::Started)
    }

    /// May it be removed?
    pub fn query_remove(&mut self) -> Agreement {
        let before = self.oracle.phase;
        if matches!(before, Phase::RemovePending | Phase::Gone) {
            return Ok(());
        }
        self.oracle.before = before;
        let (answer, expected) = (self.stage.device.query_remove(), self.consent());
        self.send("query remove", answer, expected, Phase::RemovePending)?;
        if self.oracle.phase == before {
            let answer = self.stage.device.cancel_remove();
            self.send("cancel remove", answer, NtStatus::SUCCESS, before)?;
        }
        Ok(())
    }

    /// It is not removed after all.
    pub fn cancel_remove(&mut self) -> Agreement {
        if self.oracle.phase != Phase::RemovePending {
            return Ok(());
        }
        let (answer, before) = (self.stage.device.cancel_remove(), self.oracle.before);
        self.send("cancel remove", answer, NtStatus::SUCCESS, before)
    }

    /// It is torn out.
    pub fn surprise_removal(&mut self) -> Agreement {
        if self.oracle.phase == Phase::Gone {
            return Ok(());
        }
        let answer = self.stage.device.surprise_removal();
        self.send("surprise removal", answer, NtStatus::SUCCESS, Phase::Gone)?;
        self.oracle.forget_all(None);
        self.oracle.former.retain(|former| !former.reserved);
        Ok(())
    }

    /// It is disabled and enabled again: refused while a handle is open.
    pub fn restart(&mut self) -> Agreement {
        if !self.handles.is_empty() {
            return Ok(());
        }
        self.tell("disable and enable");
        status(accepted(self.stage.device.remove()))?;
        status(self.stage.device.add_again())?;
        status(accepted(self.stage.device.start()))?;
        self.nic = self.stage.device.bus_master();
        self.oracle = Oracle::new();
        Ok(())
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
            status(accepted(self.stage.device.send_power(minor, system, state)))?;
        }
        self.compare()?;
        self.tell("wake up");
        for (system, state) in [(true, S0), (false, D0)] {
            status(accepted(
                self.stage.device.send_power(SET_POWER, system, state),
            ))?;
        }
        Ok(())
    }

    /// The owner writes through its mapping.
    pub fn write_by_process(&mut self, splash: Splash) -> Agreement {
        let Some(own) = self.any_registration(splash.registration) else {
            return Ok(());
        };
        let owner = self.oracle.files.get(&own.file).and_then(|file| file.owner);
        let process = self
            .processes
            .iter()
            .find(|running| Some(running.number) == owner && own.mapped);
        let Some(process) = process.map(|running| running.process.clone()) else {
            return Ok(());
        };
        self.tell(format!("process {owner:?} writes {splash:?}"));
        self.splash(splash, |piece, offset, bytes| {
            process
                .write(piece.user + offset, bytes)
                .map_err(|status| format!("cannot write its mapping: {status:?}"))
        })
    }

    /// The NIC writes.
    pub fn write_by_device(&mut self, splash: Splash) -> Agreement {
        let nic = self.nic.clone();
        self.tell(format!("the NIC writes {splash:?}"));
        self.splash(splash, |piece, offset, bytes| {
            nic.write(piece.device + offset, bytes)
                .map_err(|fault| format!("the NIC cannot write: {fault:?}"))
        })
    }

    /// Writes bytes to the memory and to the model.
    fn splash(
        &mut self,
        splash: Splash,
        write: impl Fn(&super::oracle::Piece, u64, &[u8]) -> Agreement,
    ) -> Agreement {
        let count = self.oracle.registrations.len().max(1);
        let picked = usize::from(splash.registration) % count;
        let Some(own) = self.oracle.registrations.get_mut(picked) else {
            return Ok(());
        };
        let start = usize::from(splash.offset) % own.contents.len();
        let end = own.contents.len().min(start + usize::from(splash.length));
        let mut value = splash.seed;
        for byte in &mut own.contents[start..end] {
            value = value.wrapping_mul(5).wrapping_add(17);
            *byte = value;
        }
        let mut begin = 0;
        for piece in &own.pieces {
            let length = usize::try_from(piece.length).unwrap_or(0);
            let (from, to) = (start.max(begin), end.min(begin + length));
            if from < to {
                write(piece, (from - begin) as u64, &own.contents[from..to])?;
            }
            begin += length;
        }
        Ok(())
    }
}
