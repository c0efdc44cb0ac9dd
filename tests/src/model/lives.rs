//! What happens to processes, threads and handles.

use nt_host::{HostError, NtStatus};
use sanproxy_abi::Status;

use super::{
    operation::Pick,
    oracle::{OpenFile, Phase},
    world::{Agreement, Handle, Running, World, same},
};
use crate::stage::INTERFACE;

/// As many processes live at once, at most.
const PROCESSES: usize = 4;
/// As many threads does a process have besides the first, at most.
const THREADS: usize = 2;
/// As many handles are open at once, at most.
const HANDLES: usize = 8;

/// What the host says of it.
pub(super) fn status<T>(outcome: Result<T, HostError>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

impl World {
    /// A process begins.
    pub fn create_process(&mut self) -> Agreement {
        if self.processes.len() >= PROCESSES {
            return Ok(());
        }
        let process = status(self.host.create_process("provider.exe"))?;
        let number = self.number();
        self.processes.push(Running {
            number,
            process,
            administrator: true,
            threads: Vec::new(),
        });
        self.tell(format!("process {number} begins"));
        Ok(())
    }

    /// Where one of the processes is.
    pub fn place(&self, pick: Pick) -> Option<usize> {
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
        self.cancelled(|request| request.process == ended.number);
        let (closed, left) = self
            .handles
            .drain(..)
            .partition(|handle: &Handle| handle.process == ended.number);
        self.handles = left;
        self.closed(&closed);
        Ok(())
    }

    /// A thread begins.
    pub fn create_thread(&mut self, pick: Pick) -> Agreement {
        let number = self.number();
        let Some(place) = self.place(pick) else {
            return Ok(());
        };
        let running = &mut self.processes[place];
        if running.threads.len() >= THREADS {
            return Ok(());
        }
        let thread = status(running.process.create_thread())?;
        running.threads.push((number, thread));
        let step = format!("thread {number} of process {} begins", running.number);
        self.tell(step);
        Ok(())
    }

    /// A thread ends, and with it what it has asked for.
    pub fn end_thread(&mut self, pick: Pick) -> Agreement {
        let count = self
            .processes
            .iter()
            .map(|running| running.threads.len())
            .sum();
        let Some(chosen) = usize::from(pick).checked_rem(count) else {
            return Ok(());
        };
        let all = self.processes.iter_mut().flat_map(|running| {
            let places = 0..running.threads.len();
            let threads = &mut running.threads;
            places.map(|place| threads[place].0).collect::<Vec<_>>()
        });
        let Some(number) = all.into_iter().nth(chosen) else {
            return Ok(());
        };
        for running in &mut self.processes {
            let place = running.threads.iter().position(|(own, _)| *own == number);
            if let Some(place) = place {
                let (_, thread) = running.threads.remove(place);
                status(thread.exit())?;
            }
        }
        self.tell(format!("thread {number} ends"));
        self.cancelled(|request| request.thread == Some(number));
        Ok(())
    }

    /// What it means that handles are closed.
    fn closed(&mut self, closed: &[Handle]) {
        for (place, handle) in (1..).zip(closed) {
            let mut left = self.handles.iter().chain(closed.iter().skip(place));
            if left.all(|left| left.opened != handle.opened) {
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
            let endpoint = super::traffic::endpoint(&file)?;
            let mut others = self.oracle.files.values().map(|file| file.endpoint);
            if endpoint == 0 || others.any(|other| other >= endpoint) {
                return Err(format!("endpoint {endpoint} is not new"));
            }
            let open = OpenFile {
                owner: Some(process),
                endpoint,
                process_id: opener.id(),
                limit: self.oracle.per_file,
                ..OpenFile::default()
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
}
