//! Rundown: something may be used by many until somebody takes it down.

// UNSAFETY: hands the rundown reference's address to the kernel.
#![expect(unsafe_code, reason = "calls the rundown routines of the kernel")]

use core::sync::atomic::{AtomicBool, Ordering};

use wdk_sys::{
    EX_RUNDOWN_REF,
    ntddk::{
        ExAcquireRundownProtection, ExInitializeRundownProtection, ExReleaseRundownProtection,
        ExWaitForRundownProtectionRelease,
    },
};

use crate::{
    event::Event,
    pool::{Owned, Shared},
    status::NoMemory,
};

/// A gate that many may pass until it is closed, once and for ever. Copies are the same gate.
#[derive(Clone)]
pub struct Rundown {
    gate: Shared<Gate>,
}

/// # Invariants
///
/// The reference has been set up at its present address.
struct Gate {
    reference: Owned<EX_RUNDOWN_REF>,
    closing: AtomicBool,
    finished: Event,
}

// SAFETY: the kernel synchronises the use of a rundown reference.
unsafe impl Send for Gate {}
// SAFETY: as above.
unsafe impl Sync for Gate {}

impl Rundown {
    /// An open gate.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub fn new() -> Result<Self, NoMemory> {
        let finished = Event::new()?;
        let reference = Owned::new(EX_RUNDOWN_REF::default())?;
        // SAFETY: the reference lies in pool, where its owner keeps it.
        unsafe { ExInitializeRundownProtection(reference.as_ptr()) };
        let closing = AtomicBool::new(false);
        let gate = Shared::new(Gate {
            reference,
            closing,
            finished,
        })?;
        Ok(Self { gate })
    }

    /// Passes the gate, if it is open: what it guards stays up until the result is dropped.
    #[must_use]
    pub fn enter(&self) -> Option<Inside> {
        // SAFETY: set up and live, by the invariant.
        let entered = unsafe { ExAcquireRundownProtection(self.gate.reference.as_ptr()) };
        (entered != 0).then(|| Inside {
            rundown: self.clone(),
        })
    }

    /// Passes the gate, or else waits until what it guarded has been taken down.
    #[must_use]
    pub fn enter_or_wait(&self) -> Option<Inside> {
        let inside = self.enter();
        if inside.is_none() {
            self.gate.finished.wait();
        }
        inside
    }

    /// Closes the gate, waits until everybody is outside, and takes down what it guards. Whoever
    /// comes second waits until the first has finished.
    ///
    /// Not to be called by somebody who is inside.
    pub fn run_down(&self, take_down: impl FnOnce()) {
        if self.gate.closing.swap(true, Ordering::AcqRel) {
            self.gate.finished.wait();
            return;
        }
        // SAFETY: set up and live, by the invariant, and called once.
        unsafe { ExWaitForRundownProtectionRelease(self.gate.reference.as_ptr()) };
        take_down();
        self.gate.finished.signal();
    }
}

/// Proof that the gate is still open, or that whoever closed it waits.
pub struct Inside {
    rundown: Rundown,
}

impl Drop for Inside {
    fn drop(&mut self) {
        // SAFETY: acquired when this value was made.
        unsafe { ExReleaseRundownProtection(self.rundown.gate.reference.as_ptr()) };
    }
}
