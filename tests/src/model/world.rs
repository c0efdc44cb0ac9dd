//! The driver on its stage, next to the model: each operation is done to both, and the two have to agree.

use std::{fmt::Debug, sync::Arc};

use nt_host::{Device, Driver, File, Host, Process, RegistryValue, Thread};
use nt_machine::BusMaster;
use sanproxy_abi::{Error, Status};

use super::{
    operation::{Operation, Pick, Target},
    oracle::{
        BYTES_PER_DEVICE, BYTES_PER_FILE, COUNT_PER_DEVICE, COUNT_PER_FILE, Oracle,
        registration::Registration,
    },
    traffic::Request,
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
    /// Whether its token is an administrator's.
    pub administrator: bool,
    /// Its threads besides the first, each with a number that no other ever has.
    pub threads: Vec<(usize, Thread)>,
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
    /// The machine.
    pub host: Arc<Host>,
    /// The driver, while it is loaded.
    pub driver: Option<Driver>,
    /// Its device.
    pub device: Device,
    /// The NIC behind the device.
    pub nic: BusMaster,
    /// The processes that live.
    pub processes: Vec<Running>,
    /// The open handles.
    pub handles: Vec<Handle>,
    /// Requests that have not ended, as far as anybody has looked.
    pub requests: Vec<Request>,
    /// What has to be.
    pub oracle: Oracle,
    /// Whether the system has crashed.
    pub crashed: bool,
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
        let Stage {
            host,
            driver,
            device,
        } = stage;
        let mut world = Self {
            nic: device.bus_master(),
            host,
            driver: Some(driver),
            device,
            requests: Vec::new(),
            processes: Vec::new(),
            handles: Vec::new(),
            oracle: Oracle::started(),
            crashed: false,
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
            Operation::CreateThread(pick) => self.create_thread(pick),
            Operation::EndThread(pick) => self.end_thread(pick),
            Operation::Open(pick) => self.open(pick),
            Operation::Duplicate(handle, process) => self.duplicate(handle, process),
            Operation::Close(pick) => self.close(pick),
            Operation::Register(pick, wish) => self.register(pick, &wish, None),
            Operation::RegisterInShortage(pick, wish, shortage) => {
                self.register(pick, &wish, Some(shortage))
            }
            Operation::Release(pick, target) => self.release(pick, target),
            Operation::Query(pick, target, first) => self.query(pick, target, first),
            Operation::Lookup(pick, target, piece, offset) => {
                self.lookup(pick, target, piece, offset)
            }
            Operation::Move(pick, targets, offsets, length) => {
                self.copy(pick, targets, offsets, u64::from(length))
            }
            Operation::Capabilities(pick) => self.capabilities(pick),
            Operation::Malformed(pick, what) => self.malformed(pick, what),
            Operation::Allocate(process, pages) => self.allocate(process, u64::from(pages)),
            Operation::Free(pick) => self.free(pick),
            Operation::Replace(pick) => self.replace(pick),
            Operation::Protect(pick, to) => self.protect(pick, to),
            Operation::WriteOwn(splash) => self.write_own(splash),
            Operation::RegisterOwn(pick, wish) => self.register_own(pick, &wish, None),
            Operation::RegisterOwnInShortage(pick, wish, call) => {
                self.register_own(pick, &wish, Some(call))
            }
            Operation::Secure(pick, own) => self.secure(pick, &own),
            Operation::Unsecure(pick, target) => self.unsecure(pick, target),
            Operation::WriteByProcess(splash) => self.write_by_process(splash),
            Operation::WriteByDevice(splash) => self.write_by_device(splash),
            Operation::WriteLate(splash) => self.write_late(splash),
            Operation::ReadBeside(pick) => self.read_beside(pick),
            _ => self.apply_other(operation),
        }
    }

    fn apply_other(&mut self, operation: &Operation) -> Agreement {
        match *operation {
            Operation::RegisterHost(pick, wish, call) => self.register_host(pick, &wish, call),
            Operation::MapPage(pick) => self.map_page(pick),
            Operation::Enumerate(pick, after) => self.enumerate(pick, after),
            Operation::SetQuotas(pick, quotas) => self.set_quotas(pick, &quotas),
            Operation::SetAdministrator(pick, token) => self.set_administrator(pick, token),
            Operation::Crash => self.crash(),
            Operation::Connect(pick, peer) => self.connect(pick, peer),
            Operation::ConnectBoth(one, other) => self.connect_both(one, other),
            Operation::Disconnect(pick) => self.disconnect(pick),
            Operation::Send(pick, sender, length, number) => {
                self.send(pick, sender, length, number)
            }
            Operation::Receive(pick, sender, room, number) => {
                self.receive(pick, sender, room, number)
            }
            Operation::Exchange(pick, sender, length, room, may_wait) => {
                self.exchange(pick, sender, [length, room], may_wait)
            }
            Operation::Wait(pick, sender) => self.wait(pick, sender),
            Operation::Cancel(pick) => self.cancel(pick),
            Operation::CancelAll(pick) => self.cancel_all(pick),
            Operation::QueryStop => self.query_stop(),
            Operation::CancelStop => self.cancel_stop(),
            Operation::Stop => self.stop(),
            Operation::Start => self.start(),
            Operation::QueryRemove => self.query_remove(),
            Operation::CancelRemove => self.cancel_remove(),
            Operation::SurpriseRemoval => self.surprise_removal(),
            Operation::Restart => self.restart(),
            Operation::Reload => self.reload(),
            Operation::Sleep => self.sleep(),
            _ => Err(format!("nobody does {operation:?}")),
        }
    }

    /// One of the open handles.
    pub fn pick(&self, pick: Pick) -> Option<&Handle> {
        let count = self.handles.len().max(1);
        self.handles.get(usize::from(pick) % count)
    }

    /// The number that a request names a registration by, or a secured range.
    pub fn resolve(&self, file: usize, target: Target, ranges: bool) -> u64 {
        let choose = |handles: Vec<u64>, pick: Pick| {
            let count = handles.len().max(1);
            let guess = 0x1000_0000_0000_0000 | u64::from(pick);
            handles
                .get(usize::from(pick) % count)
                .copied()
                .unwrap_or(guess)
        };
        let registered = self.oracle.registrations.iter();
        let registered = registered.map(|own| (own.file, own.handle));
        let secured = self.oracle.secured.iter();
        let secured = secured.map(|secured| (secured.file, secured.handle));
        // What is meant comes first, the other sort now and then.
        let all: Vec<_> = if ranges {
            secured.chain(registered).collect()
        } else {
            registered.chain(secured).collect()
        };
        let of = |is_own: bool| {
            let some = all.iter().filter(|(owner, _)| (*owner == file) == is_own);
            some.map(|(_, handle)| *handle).collect()
        };
        match target {
            Target::Own(pick) => choose(of(true), pick),
            Target::InPieces(pick) => {
                let own = self.oracle.of(file);
                let own = own.filter(|own| own.pieces.len() > 1 && !own.is_own());
                let handles: Vec<u64> = own.map(|own| own.handle).collect();
                let handles = if handles.is_empty() {
                    of(true)
                } else {
                    handles
                };
                choose(handles, pick)
            }
            Target::Foreign(pick) => choose(of(false), pick),
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
