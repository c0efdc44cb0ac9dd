//! Events and waits. `KEVENT`: Type +0, Size +2, `SignalState` +4, `WaitListHead` +8.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::access::{atomic_i32, read, write};
use crate::call::{Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::lock;
use crate::object::Kind;
use crate::status::NtStatus;
use crate::thread::{self, APC, DISPATCH};

/// `sizeof(KEVENT) / 4`.
const SIZE: u8 = 6;
const SYNCHRONIZATION: u8 = 1;

/// Those who wait: a signal anywhere moves the generation on.
#[derive(Default)]
pub(crate) struct Waits {
    generation: Mutex<u64>,
    moved: Condvar,
}

impl Waits {
    /// The signals so far.
    pub(crate) fn generation(&self) -> u64 {
        *lock(&self.generation)
    }

    /// Something was signalled.
    pub(crate) fn wake(&self) {
        *lock(&self.generation) += 1;
        self.moved.notify_all();
    }

    /// Sleeps until something is signalled after `seen`, at most a while.
    pub(crate) fn sleep(&self, seen: u64, deadline: Instant) {
        let generation = lock(&self.generation);
        if *generation == seen {
            let left = deadline.saturating_duration_since(Instant::now());
            let slice = left.min(Duration::from_millis(20));
            drop(self.moved.wait_timeout(generation, slice));
        }
    }
}

extern "win64" fn initialize(event: u64, kind: u32, state: u8) {
    let host = current();
    super::check_place(&host, "event", event);
    let mutex = event.wrapping_sub(super::mutex::EVENT);
    if host.locks.is_held(mutex) {
        let message = format!("fast mutex {mutex:#x} is initialised while it is held");
        host.violation("V080", "C4/0x1005", message);
    }
    write(event, kind as u8);
    write(event + 1, 0_u8);
    write(event + 2, SIZE);
    write(event + 3, 0_u8);
    write(event + 4, i32::from(state != 0));
    write(event + 8, event + 8);
    write(event + 16, event + 8);
}

fn check_initialised(host: &Host, event: u64) {
    let (kind, size): (u8, u8) = (read(event), read(event + 2));
    if kind > SYNCHRONIZATION || size != SIZE {
        let message = format!("event {event:#x} is not initialised (type {kind}, size {size})");
        host.violation("V077", "C4/0x1002", message);
    }
}

extern "win64" fn set(event: u64, _increment: i32, wait: u8) -> i32 {
    let host = current();
    if wait != 0 && thread::irql() > APC {
        let message = format!("Wait is TRUE at IRQL {}", thread::irql());
        host.violation("V066", "C4/0x20016", message);
    }
    check_initialised(&host, event);
    let before = atomic_i32(event + 4).swap(1, Ordering::SeqCst);
    host.waits.wake();
    before
}

extern "win64" fn clear(event: u64) {
    check_initialised(&current(), event);
    atomic_i32(event + 4).store(0, Ordering::SeqCst);
}

extern "win64" fn reset(event: u64) -> i32 {
    check_initialised(&current(), event);
    atomic_i32(event + 4).swap(0, Ordering::SeqCst)
}

extern "win64" fn read_state(event: u64) -> i32 {
    atomic_i32(event + 4).load(Ordering::SeqCst)
}

/// Takes the signal if there is one.
fn consume(host: &Host, object: u64) -> bool {
    if host.is_object(object, Kind::Process) {
        return host
            .processes
            .at(object)
            .is_none_or(|process| process.has_exited());
    }
    let state = atomic_i32(object + 4);
    if read::<u8>(object) == SYNCHRONIZATION {
        state
            .compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    } else {
        state.load(Ordering::SeqCst) != 0
    }
}

/// How long to wait: `None` for ever.
fn limit(timeout: u64) -> Option<Duration> {
    if timeout == 0 {
        return None;
    }
    let units: i64 = read(timeout);
    // A positive time is a date: the host's clock started in 1601 too, so it is long past or far off.
    Some(Duration::from_nanos(
        units.min(0).unsigned_abs().saturating_mul(100),
    ))
}

fn check_wait(host: &Host, object: u64, mode: u8, limit: Option<Duration>) {
    let irql = thread::irql();
    if irql > DISPATCH {
        host.violation("V094", "C4/0x120", format!("waits at IRQL {irql}"));
    } else if irql == DISPATCH && limit.is_none() {
        host.violation("V095", "C4/0x121", "waits for ever at DISPATCH_LEVEL");
    } else if irql == DISPATCH && limit.is_some_and(|limit| !limit.is_zero()) {
        host.violation("V096", "C4/0x122", "waits at DISPATCH_LEVEL");
    }
    if mode != 0 && thread::is_on_stack(object) {
        host.violation(
            "V097",
            "C4/0x123",
            "UserMode wait on an object on the stack",
        );
    }
    if !host.is_object(object, Kind::Process) {
        check_initialised(host, object);
    }
}

fn wait(host: &Arc<Host>, object: u64, mode: u8, timeout: u64) -> Result<u32, Stopped> {
    let limit = limit(timeout);
    check_wait(host, object, mode, limit);
    let watchdog = Instant::now() + host.options.watchdog;
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let seen = host.waits.generation();
        if consume(host, object) {
            return Ok(NtStatus::SUCCESS.0);
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(NtStatus::TIMEOUT.0);
        }
        host.check_alive()?;
        if now > watchdog {
            let message = format!("object {object:#x} is never signalled");
            host.violation("V308", "hang", message.clone());
            return Err(host.die(message));
        }
        host.waits.sleep(seen, deadline.unwrap_or(watchdog));
    }
}

extern "win64" fn wait_for_single_object(
    object: u64,
    _reason: u32,
    mode: u8,
    _alertable: u8,
    timeout: u64,
) -> u32 {
    exported(|host| wait(host, object, mode, timeout))
}

extern "win64" fn delay(_mode: u8, _alertable: u8, interval: u64) -> u32 {
    let host = current();
    if thread::irql() > APC {
        host.violation(
            "V094",
            "C4/0x120",
            format!("delays at IRQL {}", thread::irql()),
        );
    }
    std::thread::sleep(
        limit(interval)
            .unwrap_or_default()
            .min(host.options.watchdog),
    );
    NtStatus::SUCCESS.0
}

exports! {
    "KeInitializeEvent" => initialize, IrqlRule::Any, "V050", "C4/0xE5";
    "KeSetEvent" => set, IrqlRule::AtMost(DISPATCH), "V048", "C4/0x80";
    "KeClearEvent" => clear, IrqlRule::AtMost(DISPATCH), "V064", "C4/0x20011";
    "KeResetEvent" => reset, IrqlRule::AtMost(DISPATCH), "V064", "C4/0x20011";
    "KeReadStateEvent" => read_state, IrqlRule::Any, "V050", "C4/0xE5";
    "KeWaitForSingleObject" => wait_for_single_object, IrqlRule::Any, "V094", "C4/0x120";
    "KeDelayExecutionThread" => delay, IrqlRule::Any, "V094", "C4/0x120";
}
