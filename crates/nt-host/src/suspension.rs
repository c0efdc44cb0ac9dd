//! A program that suspends one of its threads while the driver works for it.
//!
//! The system suspends a thread through a normal kernel APC. So the thread goes on inside of critical
//! and guarded regions and at raised IRQL, and stands still at the first point outside of them,
//! whatever it holds there.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::host::Host;
use crate::lock;
use crate::process::is_system_thread;
use crate::thread::{self, APC};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not suspended yet, or no normal kernel APC has been delivered since.
    Running,
    /// It stands still.
    Stopped,
    /// It goes on, for good.
    Resumed,
}

struct State {
    phase: Mutex<Phase>,
    changed: Condvar,
}

impl State {
    /// Stands still until somebody resumes the thread, or the system ends.
    fn stop(&self, host: &Host) {
        let mut phase = lock(&self.phase);
        if *phase == Phase::Running {
            *phase = Phase::Stopped;
        }
        while *phase == Phase::Stopped && !host.is_dead() {
            let waited = self.changed.wait_timeout(phase, Duration::from_millis(20));
            phase = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The suspension of one thread, which goes on when this is dropped.
pub struct Suspension(Arc<State>);

impl Suspension {
    /// Whether the thread stands still inside of the driver.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *lock(&self.0.phase) == Phase::Stopped
    }

    /// Lets the thread go on.
    pub fn resume(&self) {
        *lock(&self.0.phase) = Phase::Resumed;
        self.0.changed.notify_all();
    }
}

impl Drop for Suspension {
    fn drop(&mut self) {
        self.resume();
    }
}

thread_local! {
    /// The suspension of this thread, until it leaves the driver.
    static OWN: RefCell<Option<Arc<State>>> = const { RefCell::new(None) };
}

/// The suspension that is to come.
#[derive(Default)]
pub(crate) struct Suspensions {
    is_set: AtomicBool,
    next: Mutex<Option<(u64, Arc<State>)>>,
}

impl Suspensions {
    /// A thread enters a routine of the kernel.
    fn called(&self, host: &Host) {
        if !self.is_set.load(Ordering::Relaxed) || is_system_thread(host) {
            return;
        }
        let mut next = lock(&self.next);
        let is_due = next.as_mut().is_some_and(|(left, _)| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        if is_due && let Some((_, state)) = next.take() {
            self.is_set.store(false, Ordering::SeqCst);
            OWN.set(Some(state));
        }
    }
}

impl Host {
    /// As if its program suspended, at the `n`-th call of the driver from now (from 1) that a thread
    /// of a program makes, the thread that makes it.
    ///
    /// A thread that leaves the driver first is not stopped any more: it holds nothing there.
    #[must_use]
    pub fn suspend_at_call(&self, n: u64) -> Suspension {
        let state = Arc::new(State {
            phase: Mutex::new(Phase::Running),
            changed: Condvar::new(),
        });
        *lock(&self.suspensions.next) = Some((n, Arc::clone(&state)));
        self.suspensions.is_set.store(true, Ordering::SeqCst);
        Suspension(state)
    }
}

/// This thread is about to run a routine of the kernel.
pub(crate) fn entered(host: &Host) {
    host.suspensions.called(host);
    deliver(host);
}

/// Stands still if this thread is suspended, and may be here.
pub(crate) fn deliver(host: &Host) {
    let Some(state) = OWN.with_borrow(Option::clone) else {
        return;
    };
    let level = thread::level();
    if level.irql < APC && level.critical == 0 && level.guarded == 0 {
        state.stop(host);
    }
}

/// This thread has left the driver.
pub(crate) fn left() {
    OWN.set(None);
}
