//! I/O request packets: the structure that drivers see, and what the system remembers about it.
//!
//! An IRP lives in guarded memory and becomes inaccessible when it is complete. What the host knows
//! of it (`Irp`) outlives that, so that a dispatch routine's return value can be judged afterwards.

pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod complete;
pub(crate) mod csq;
mod own;
pub(crate) mod owned;
pub(crate) mod send;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::access::{read, write};
use crate::file::FileObject;
use crate::guarded::GuardedBlock;
use crate::host::Host;
use crate::layout::{irp, stack};
use crate::lock;
use crate::process::ThreadObject;
use crate::status::NtStatus;

/// Completed requests that are remembered, to tell a second completion from a wild pointer.
const REMEMBERED: usize = 4096;

/// One device's turn at a request.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    /// The device.
    pub(crate) device: u64,
    /// Its stack location, from 1.
    pub(crate) location: i8,
    /// It marked the request pending (known once the location is done).
    pub(crate) marked: bool,
    /// The status with which the request left this location upwards.
    pub(crate) completed: Option<u32>,
    /// It passed the request down: with the lower device's location.
    pub(crate) passed: Option<i8>,
    /// What the lower driver returned.
    pub(crate) lower_status: Option<u32>,
    /// Its dispatch routine has returned.
    pub(crate) returned: bool,
}

/// How the request's data moves, and what is to be given back at its end.
#[derive(Default)]
pub(crate) struct Transfer {
    /// The system buffer.
    pub(crate) buffer: Option<GuardedBlock>,
    /// Bytes that the driver may report, if it reports bytes of a buffer.
    pub(crate) output_length: Option<u64>,
    /// Output is copied from the system buffer.
    pub(crate) copies_output: bool,
    /// MDL made by the system.
    pub(crate) mdl: u64,
}

/// What changes in the course of a request.
pub(crate) struct State {
    /// Its memory, until it is complete.
    pub(crate) block: Option<GuardedBlock>,
    /// The devices that had it, in order.
    pub(crate) levels: Vec<Level>,
    /// Status and information at its end.
    pub(crate) result: Option<(NtStatus, u64)>,
    /// The transfer.
    pub(crate) transfer: Transfer,
    /// What goes back to the caller.
    pub(crate) output: Vec<u8>,
    /// A driver allocated it and frees it.
    pub(crate) driver_owned: bool,
    /// A driver's completion routine has stopped the completion: it owns the request again.
    pub(crate) reclaimed: bool,
}

/// A request.
pub(crate) struct Irp {
    /// Its address.
    pub(crate) address: u64,
    /// Major function.
    pub(crate) major: u8,
    /// Minor function.
    pub(crate) minor: u8,
    /// Stack locations.
    pub(crate) stack_count: i8,
    /// Status that it started with.
    pub(crate) initial_status: NtStatus,
    /// The thread that issued it.
    pub(crate) thread: Option<Arc<ThreadObject>>,
    /// The file it is for.
    pub(crate) file: Option<Arc<FileObject>>,
    /// What changes.
    pub(crate) state: Mutex<State>,
    done: Condvar,
}

/// The requests of a host.
#[derive(Default)]
pub(crate) struct Irps {
    live: Mutex<HashMap<u64, Arc<Irp>>>,
    gone: Mutex<VecDeque<u64>>,
}

/// What a new request is made with.
pub(crate) struct NewIrp {
    /// Major function.
    pub(crate) major: u8,
    /// Minor function.
    pub(crate) minor: u8,
    /// Stack locations.
    pub(crate) stack_count: i8,
    /// `RequestorMode`: 0 kernel, 1 user.
    pub(crate) requestor_mode: u8,
    /// Status to start with.
    pub(crate) status: NtStatus,
    /// The issuing thread.
    pub(crate) thread: Option<Arc<ThreadObject>>,
    /// The file.
    pub(crate) file: Option<Arc<FileObject>>,
}

impl Irps {
    /// The live request at that address.
    pub(crate) fn at(&self, address: u64) -> Option<Arc<Irp>> {
        lock(&self.live).get(&address).cloned()
    }

    /// Whether a request was there that is complete.
    pub(crate) fn was_completed(&self, address: u64) -> bool {
        lock(&self.gone).contains(&address)
    }

    /// All live requests.
    pub(crate) fn all(&self) -> Vec<Arc<Irp>> {
        lock(&self.live).values().cloned().collect()
    }

    /// The request is complete or freed.
    pub(crate) fn forget(&self, address: u64) {
        lock(&self.live).remove(&address);
        let mut gone = lock(&self.gone);
        gone.push_back(address);
        if gone.len() > REMEMBERED {
            gone.pop_front();
        }
    }
}

/// Makes a request; its stack is empty: the first `send` takes the top location.
pub(crate) fn create(host: &Host, new: NewIrp) -> Result<Arc<Irp>, NtStatus> {
    let count = new.stack_count.max(1);
    let size = irp::STACK + stack::SIZE * count as u64;
    let block = host.object("IRP", size)?;
    let address = block.address();
    write(address + irp::TYPE, irp::TYPE_IRP);
    write(address + irp::SIZE, size as u16);
    write(address + irp::STATUS, new.status.0);
    write(address + irp::REQUESTOR_MODE, new.requestor_mode);
    write(address + irp::STACK_COUNT, count);
    write(address + irp::CURRENT_LOCATION, count + 1);
    write(address + irp::CURRENT_STACK_LOCATION, address + size);
    if let Some(thread) = &new.thread {
        write(address + irp::THREAD, thread.address());
    }
    if let Some(file) = &new.file {
        write(address + irp::ORIGINAL_FILE_OBJECT, file.address());
    }
    let next = next_location(address, count + 1);
    write(next + stack::MAJOR, new.major);
    write(next + stack::MINOR, new.minor);
    if let Some(file) = &new.file {
        write(next + stack::FILE_OBJECT, file.address());
    }
    let made = Arc::new(Irp {
        address,
        major: new.major,
        minor: new.minor,
        stack_count: count,
        initial_status: new.status,
        thread: new.thread,
        file: new.file,
        state: Mutex::new(State {
            block: Some(block),
            levels: Vec::new(),
            result: None,
            transfer: Transfer::default(),
            output: Vec::new(),
            driver_owned: false,
            reclaimed: false,
        }),
        done: Condvar::new(),
    });
    if let Some(thread) = &made.thread {
        thread.issued(&made);
    }
    lock(&host.irps.live).insert(address, Arc::clone(&made));
    Ok(made)
}

/// The address of the location below `current`.
fn next_location(address: u64, current: i8) -> u64 {
    address + irp::STACK + stack::SIZE * (i64::from(current) - 2).max(0) as u64
}

impl Irp {
    /// The address of a stack location, from 1.
    pub(crate) fn location(&self, location: i8) -> u64 {
        self.address + irp::STACK + stack::SIZE * (i64::from(location) - 1).max(0) as u64
    }

    /// The location that the next `send` will use, for its parameters.
    pub(crate) fn next(&self) -> u64 {
        next_location(self.address, read(self.address + irp::CURRENT_LOCATION))
    }

    /// Status and information, once complete.
    pub(crate) fn result(&self) -> Option<(NtStatus, u64)> {
        lock(&self.state).result
    }

    /// It is not sent: this is how it ended.
    pub(crate) fn refuse(&self, status: NtStatus) {
        lock(&self.state).result = Some((status, 0));
        self.notify();
    }

    /// Waits until it is complete; `None` when `limit` has passed or the system has ended.
    pub(crate) fn wait(&self, host: &Host, limit: Duration) -> Option<(NtStatus, u64)> {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.state);
        while state.result.is_none() {
            let left = deadline.checked_duration_since(Instant::now())?;
            if host.is_dead() {
                return None;
            }
            let slice = left.min(Duration::from_millis(20));
            state = match self.done.wait_timeout(state, slice) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        state.result
    }

    /// Wakes those who wait for its end.
    fn notify(&self) {
        self.done.notify_all();
    }
}
