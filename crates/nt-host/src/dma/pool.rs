//! The system's map registers, which all adapters share, and the requests that wait for them.
//!
//! A request that finds too few registers, or its adapter's channel taken, waits in a queue; its routine is called by
//! whoever gives back what it waits for: in the call of the driver's that frees registers, or when a test lets go of those
//! that it holds ([`Device::hold_map_registers`]). Routines run at `DISPATCH_LEVEL`, one after the other, and no lock of the
//! host's is held meanwhile. A request never overtakes another that waits for registers.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::adapter::Adapter;
use super::channels::ChannelRequest;
use super::lists::ListRequest;
use crate::call::Stopped;
use crate::host::Host;
use crate::{Device, lock};

/// What a request is granted registers for.
pub(super) enum Work {
    /// Of a routine that gets a channel.
    Channel(ChannelRequest),
    /// Of a routine that gets a list.
    List(Box<ListRequest>),
}

/// A request for map registers.
pub(super) struct Request {
    pub(super) adapter: Arc<Adapter>,
    pub(super) registers: u32,
    /// The transfer context that it was made with, or 0.
    pub(super) context: u64,
    pub(super) work: Work,
}

/// What became of a request.
pub(super) enum Admission {
    /// The registers are its own.
    Granted(Request),
    /// It waits.
    Queued,
    /// It may not wait.
    Refused(Request),
}

/// Free registers and the queue.
pub(super) struct Pool(Mutex<State>);

struct State {
    free: u32,
    queue: VecDeque<Request>,
}

impl Pool {
    /// A system with so many registers.
    pub(super) const fn new(free: u32) -> Self {
        let queue = VecDeque::new();
        Self(Mutex::new(State { free, queue }))
    }

    /// Grants a request what it needs, or has it wait if it may.
    pub(super) fn admit(&self, request: Request, may_wait: bool) -> Admission {
        let mut state = lock(&self.0);
        state.queue.push_back(request);
        let own = state.queue.len() - 1;
        if state.first_ready() == Some(own) {
            return state
                .take(own)
                .map_or(Admission::Queued, Admission::Granted);
        }
        if may_wait {
            return Admission::Queued;
        }
        state
            .queue
            .pop_back()
            .map_or(Admission::Queued, Admission::Refused)
    }

    /// Registers that nobody has.
    pub(super) fn free(&self) -> u32 {
        lock(&self.0).free
    }

    /// Takes up to `count` registers for somebody else; how many it got.
    fn take(&self, count: u32) -> u32 {
        let mut state = lock(&self.0);
        let taken = count.min(state.free);
        state.free -= taken;
        taken
    }

    /// Gives registers back, without granting them yet.
    pub(super) fn give_back(&self, count: u32) {
        lock(&self.0).free += count;
    }

    fn next(&self) -> Option<Request> {
        let mut state = lock(&self.0);
        let index = state.first_ready()?;
        state.take(index)
    }

    /// Takes requests out of the queue that shall not be granted any more.
    pub(super) fn withdraw(&self, unwanted: impl Fn(&Request) -> bool) -> Vec<Request> {
        let mut state = lock(&self.0);
        let queue = std::mem::take(&mut state.queue);
        let (gone, kept): (Vec<_>, Vec<_>) = queue.into_iter().partition(unwanted);
        state.queue = kept.into();
        gone
    }

    /// How many requests of that kind wait.
    pub(super) fn waiting(&self, counted: impl Fn(&Request) -> bool) -> usize {
        lock(&self.0).queue.iter().filter(|it| counted(it)).count()
    }
}

impl State {
    /// The first request that has all it waits for; none behind one that lacks registers.
    fn first_ready(&self) -> Option<usize> {
        for (index, request) in self.queue.iter().enumerate() {
            let channel = matches!(request.work, Work::Channel(_));
            if channel && lock(&request.adapter.state).channel_taken {
                continue;
            }
            return (request.registers <= self.free).then_some(index);
        }
        None
    }

    fn take(&mut self, index: usize) -> Option<Request> {
        let request = self.queue.remove(index)?;
        self.free -= request.registers;
        let mut state = lock(&request.adapter.state);
        state.registers += request.registers;
        if matches!(request.work, Work::Channel(_)) {
            state.channel_taken = true;
        }
        drop(state);
        Some(request)
    }
}

/// Takes back registers that an adapter had.
pub(super) fn release(host: &Host, adapter: &Adapter, count: u32) {
    let mut state = lock(&adapter.state);
    state.registers = state.registers.saturating_sub(count);
    drop(state);
    host.dma.registers.give_back(count);
}

/// Calls the routines of requests that can be granted now.
///
/// # Errors
///
/// [`Stopped`] if one of them did not come back.
pub(super) fn serve(host: &Arc<Host>) -> Result<(), Stopped> {
    thread_local! {
        static SERVING: Cell<bool> = const { Cell::new(false) };
    }
    struct Serving;
    impl Drop for Serving {
        fn drop(&mut self) {
            SERVING.set(false);
        }
    }
    if SERVING.replace(true) {
        // One of those routines has freed registers: the loop that called it goes on with the next.
        return Ok(());
    }
    let serving = Serving;
    while let Some(request) = host.dma.registers.next() {
        grant(host, request)?;
    }
    drop(serving);
    Ok(())
}

/// Calls the routine of a request that was granted.
pub(super) fn grant(host: &Arc<Host>, request: Request) -> Result<(), Stopped> {
    let Request {
        adapter,
        registers,
        context,
        work,
    } = request;
    match work {
        Work::Channel(channel) => {
            super::channels::grant(host, &adapter, registers, context, &channel)
        }
        Work::List(list) => super::lists::grant(host, &adapter, *list),
    }
}

/// Map registers that another device has; they are free again when this is dropped.
pub struct HeldMapRegisters {
    host: Arc<Host>,
    count: u32,
}

impl HeldMapRegisters {
    /// How many they are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }
}

/// Takes up to `count` registers for another device.
pub(super) fn hold(host: &Arc<Host>, count: u32) -> HeldMapRegisters {
    HeldMapRegisters {
        host: Arc::clone(host),
        count: host.dma.registers.take(count),
    }
}

impl Drop for HeldMapRegisters {
    fn drop(&mut self) {
        self.host.dma.registers.give_back(self.count);
        // Stopped means that the system has ended: the report tells why.
        drop(serve(&self.host));
    }
}

impl Device {
    /// Has another device take `count` of the system's map registers, or as many as are free: `u32::MAX` takes all.
    ///
    /// Requests of the driver's that need more than are left wait, or fail if they may not. When the value is dropped, the
    /// routines of those that waited are called on the thread that drops it, at `DISPATCH_LEVEL`.
    ///
    /// ```no_run
    /// # fn example(device: &nt_host::Device) {
    /// let held = device.hold_map_registers(u32::MAX);
    /// // A request of the driver's for a scatter/gather list is queued now.
    /// assert_eq!(device.waiting_for_map_registers(), 1);
    /// drop(held);
    /// // Its routine has been called.
    /// assert_eq!(device.waiting_for_map_registers(), 0);
    /// # }
    /// ```
    #[must_use = "the registers are free again when the value is dropped"]
    pub fn hold_map_registers(&self, count: u32) -> HeldMapRegisters {
        hold(&self.host, count)
    }

    /// Map registers that nobody has.
    #[must_use]
    pub fn free_map_registers(&self) -> u32 {
        self.host.dma.registers.free()
    }

    /// Requests of this device's driver that wait for map registers or for the channel of their adapter.
    #[must_use]
    pub fn waiting_for_map_registers(&self) -> usize {
        let pdo = self.pdo();
        let of_device = |request: &Request| request.adapter.pdo == pdo;
        self.host.dma.registers.waiting(of_device)
    }
}
