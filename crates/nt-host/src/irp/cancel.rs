//! Cancellation: the cancel spin lock, `IoCancelIrp`, and what a cancel routine has to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Irp, check};
use crate::access::{atomic_u64, read, write};
use crate::call::{Entry, Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::Host;
use crate::layout::{irp, stack};
use crate::lock;
use crate::thread::{self, DISPATCH};

/// The system-wide cancel spin lock.
#[derive(Default)]
pub(crate) struct CancelLock {
    owner: AtomicU64,
}

impl CancelLock {
    fn acquire(&self, host: &Host) -> Result<u8, Stopped> {
        let this = thread::id();
        if self.owner.load(Ordering::SeqCst) == this {
            host.violation(
                "V089",
                "CancelSpinLock",
                "the cancel spin lock is already held",
            );
            return Err(host.die("V089: recursive acquisition of the cancel spin lock"));
        }
        while self
            .owner
            .compare_exchange(0, this, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            host.check_alive()?;
            std::thread::yield_now();
        }
        Ok(thread::set_irql(DISPATCH))
    }

    fn release(&self, host: &Host, irql: u8) {
        if self.is_held() {
            self.owner.store(0, Ordering::SeqCst);
            thread::set_irql(irql);
        } else {
            host.violation(
                "V089",
                "CancelSpinLock",
                "the cancel spin lock is not held here",
            );
        }
    }

    /// As a queue's cancel routine releases it.
    pub(crate) fn release_for_queue(&self, irql: u8) {
        self.owner.store(0, Ordering::SeqCst);
        thread::set_irql(irql);
    }

    /// Whether this thread holds it.
    pub(crate) fn is_held(&self) -> bool {
        self.owner.load(Ordering::SeqCst) == thread::id()
    }

    /// A routine of the driver has returned: it may not hold the lock any more.
    pub(crate) fn check_return(&self, host: &Host) {
        if self.is_held() {
            let message = "the cancel spin lock is still held at return";
            host.violation("V089", "CancelSpinlockRelease", message);
            self.owner.store(0, Ordering::SeqCst);
        }
    }
}

/// Cancels the request: its cancel routine runs, if it has one; whether it had.
pub(crate) fn cancel(host: &Arc<Host>, request: &Arc<Irp>) -> Result<bool, Stopped> {
    if request.result().is_some() {
        return Ok(false);
    }
    let irql = host.cancel_lock.acquire(host)?;
    let routine = take_routine(request, irql);
    if routine == 0 {
        host.cancel_lock.release(host, irql);
        return Ok(false);
    }
    let location: u64 = read(request.address + irp::CURRENT_STACK_LOCATION);
    let device: u64 = read(location + stack::DEVICE_OBJECT);
    let context = format!(
        "cancel routine of {}",
        check::name_of(request.major, request.minor)
    );
    let arguments = [device, request.address];
    // The routine is entered at DISPATCH_LEVEL and leaves at the level it restores.
    host.call_driver(Entry::Lock, &context, routine, &arguments)?;
    if host.cancel_lock.is_held() {
        host.cancel_lock.check_return(host);
        thread::set_irql(irql);
    } else if thread::irql() != irql {
        let message = format!("released to IRQL {}, CancelIrql was {irql}", thread::irql());
        host.violation("V089", "CancelSpinLock", message);
        thread::set_irql(irql);
    }
    Ok(true)
}

/// Marks the request cancelled and takes its cancel routine; zero if it has none, or is complete.
///
/// Its memory goes at its completion, for which this lock is needed: the driver may complete it
/// meanwhile, unless its cancel routine has been taken.
fn take_routine(request: &Irp, irql: u8) -> u64 {
    let state = lock(&request.state);
    if state.block.is_none() {
        return 0;
    }
    write(request.address + irp::CANCEL, 1_u8);
    let slot = atomic_u64(request.address + irp::CANCEL_ROUTINE);
    let routine = slot.swap(0, Ordering::SeqCst);
    if routine != 0 {
        write(request.address + irp::CANCEL_IRQL, irql);
    }
    routine
}

extern "win64" fn io_acquire_cancel_spin_lock(irql: u64) {
    exported(|host| {
        let old = host.cancel_lock.acquire(host)?;
        write(irql, old);
        Ok(())
    });
}

extern "win64" fn io_release_cancel_spin_lock(irql: u8) {
    exported(|host| {
        host.cancel_lock.release(host, irql);
        Ok(())
    });
}

extern "win64" fn io_cancel_irp(address: u64) -> u8 {
    exported(|host| {
        if let Some(request) = host.irps.at(address) {
            cancel(host, &request).map(u8::from)
        } else {
            host.violation("V197", "44", format!("{address:#x} is no live IRP"));
            Ok(0)
        }
    })
}

exports! {
    "IoAcquireCancelSpinLock" => io_acquire_cancel_spin_lock, IrqlRule::AtMost(DISPATCH), "V089", "CancelSpinLock";
    "IoReleaseCancelSpinLock" => io_release_cancel_spin_lock, IrqlRule::Exactly(DISPATCH), "V089", "CancelSpinLock";
    "IoCancelIrp" => io_cancel_irp, IrqlRule::AtMost(DISPATCH), "V074", "C4/0x20022";
}
