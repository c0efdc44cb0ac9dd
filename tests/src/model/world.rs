//! The driver on its stage, next to the model: each operation is done to both, and the two have to agree.

use std::fmt::Debug;

use nt_host::{File, Process, RegistryValue};
use nt_machine::BusMaster;
use sanproxy_abi::{Error, Status};

use super::{
    operation::{Operation, Pick, Target},
    oracle::{
        BYTES_PER_DEVICE, BYTES_PER_FILE, COUNT_PER_DEVICE, COUNT_PER_FILE, Oracle, Registration,
    },
};
use crate::stage::{Setting, Stage};

/// `Err` tells how the driver differs from the model.
pub type Agreement = Result<(), String>;

/// A process that lives.
pub struct Running {
    /// Its number, which no other ever has.
    pub number: usize,
    /// It.
    pub process: Process,
}

/// An open handle.
pub struct Handle {
    /// Its number, which no other ever has.
    pub number: usize,
    /// The process that it belongs to.
    pub process: usize,
    /// The file that it is open on.
    pub opened: usize,
    /// It.
    pub file: File,
}

/// Both.
pub struct World {
    /// The machine, the driver and its device.
    pub stage: Stage,
    /// The NIC behind the device.
    pub nic: BusMaster,
    /// The processes that live.
    pub processes: Vec<Running>,
    /// The open handles.
    pub handles: Vec<Handle>,
    /// What has to be.
    pub oracle: Oracle,
    /// What has happened.
    pub steps: Vec<String>,
    numbers: usize,
}

/// The administrator's settings: limits that a history meets.
fn setting() -> Setting {
    let number = |value: u64| RegistryValue::Qword(value);
    Setting::default()
        .parameter("MaximumBytesPerFile", number(BYTES_PER_FILE))
        .parameter("MaximumCountPerFile", number(COUNT_PER_FILE))
        .parameter("MaximumBytesPerDevice", number(BYTES_PER_DEVICE))
        .parameter("MaximumCountPerDevice", number(COUNT_PER_DEVICE))
        .parameter("ReserveBytes", number(64 << 10))
}

impl World {
    /// A started device and a process that has opened it twice.
    pub fn new() -> Result<Self, String> {
        let stage = setting().started().map_err(|error| error.to_string())?;
        let nic = stage.device.bus_master();
        let mut world = Self {
            stage,
            nic,
            processes: Vec::new(),
            handles: Vec::new(),
            oracle: Oracle::new(),
            steps: Vec::new(),
            numbers: 0,
        };
        world.create_process()?;
        world.open(0)?;
        world.open(0)?;
        Ok(world)
    }

    /// A number that no other has.
    pub fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    /// Adds to the list of what has happened.
    pub fn tell(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
    }

    /// Does an operation, to both.
    pub fn apply(&mut self, operation: &Operation) -> Agreement {
        match *operation {
            Operation::CreateProcess => self.create_process(),
            Operation::EndProcess(pick) => self.end_process(pick),
            Operation::Open(pick) => self.open(pick),
            Operation::Duplicate(handle, process) => self.duplicate(handle, process),
            Operation::Close(pick) => self.close(pick),
            Operation::Register(pick, wish) => self.register(pick, &wish, None),
            Operation::RegisterInShortage(pick, wish, shortage) => {
                self.register(pick, &wish, Some(shortage))
            }
            Operation::Release(pick, target) => self.release(pick, target),
            Operation::Query(pick, target, first) => self.query(pick, target, first),
            Operation::Lookup(pick, target, offset) => self.lookup(pick, target, offset),
            Operation::Move(pick, targets, numbers) => {
                self.copy(pick, targets, numbers.map(u64::from))
            }
            Operation::Capabilities(pick) => self.capabilities(pick),
            Operation::Malformed(pick, what) => self.malformed(pick, what),
            Operation::WriteByProcess(splash) => self.write_by_process(splash),
            Operation::WriteByDevice(splash) => self.write_by_device(splash),
            Operation::QueryStop => self.query_stop(),
            Operation::CancelStop => self.cancel_stop(),
            Operation::Stop => self.stop(),
            Operation::Start => self.start(),
            Operation::QueryRemove => self.query_remove(),
            Operation::CancelRemove => self.cancel_remove(),
            Operation::SurpriseRemoval => self.surprise_removal(),
            Operation::Restart => self.restart(),
            Operation::Sleep => self.sleep(),
        }
    }

    /// One of the open handles.
    pub fn pick(&self, pick: Pick) -> Option<&Handle> {
        let count = self.handles.len().max(1);
        self.handles.get(usize::from(pick) % count)
    }

    /// The number that a request names a registration by.
    pub fn resolve(&self, file: usize, target: Target) -> u64 {
        let choose = |handles: Vec<u64>, pick: Pick| {
            let count = handles.len().max(1);
            let guess = 0x1000_0000_0000_0000 | u64::from(pick);
            handles
                .get(usize::from(pick) % count)
                .copied()
                .unwrap_or(guess)
        };
        let all = || self.oracle.registrations.iter();
        match target {
            Target::Own(pick) => choose(self.oracle.of(file).map(|own| own.handle).collect(), pick),
            Target::Foreign(pick) => {
                let others = all().filter(|own| own.file != file);
                choose(others.map(|own| own.handle).collect(), pick)
            }
            Target::Stale(pick) => {
                let stale = self.oracle.files.get(&file).map(|file| file.stale.clone());
                choose(stale.unwrap_or_default(), pick)
            }
            Target::Guess(number) => number,
        }
    }

    /// One of all registrations.
    pub fn any_registration(&self, pick: Pick) -> Option<&Registration> {
        let count = self.oracle.registrations.len().max(1);
        self.oracle.registrations.get(usize::from(pick) % count)
    }

    /// Compares what came of a request with what had to; a failure that had to be is counted.
    pub fn agree<T: Debug + PartialEq>(
        &mut self,
        what: &str,
        actual: Result<T, Status>,
        expected: Result<T, Error>,
    ) -> Agreement {
        let wanted = match expected {
            Ok(value) => Ok(value),
            Err(error) => Err(self.oracle.fail(error).status()),
        };
        same(what, &actual, &wanted)
    }
}

/// Compares what is with what has to be.
pub fn same<T: Debug + PartialEq>(what: &str, actual: &T, expected: &T) -> Agreement {
    if actual == expected {
        Ok(())
    } else {
        Err(format!("{what}: is {actual:?}, has to be {expected:?}"))
    }
}
