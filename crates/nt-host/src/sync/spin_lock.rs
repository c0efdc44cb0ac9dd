//! Spin locks, plain and queued. The lock's 8 bytes are the driver's: zero when free, as `KeInitializeSpinLock` leaves them.
//!
//! `KLOCK_QUEUE_HANDLE`: LockQueue.Next +0, LockQueue.Lock +8, `OldIrql` +16.

use std::sync::Arc;

use crate::access::{read, write};
use crate::call::{Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::Host;
use crate::thread::{self, DISPATCH, LockKind};

fn acquire(
    host: &Arc<Host>,
    address: u64,
    kind: LockKind,
    irql: u8,
    handle: u64,
) -> Result<(), Stopped> {
    host.locks.acquire(host, address, kind, irql, handle)?;
    // The owner before has cleared it.
    let value: u64 = read(address);
    if value != 0 {
        let message = format!("spin lock {address:#x} holds {value:#x}: not initialised");
        host.violation("V077", "C4/0x1002", message);
    }
    write(address, 1_u64);
    Ok(())
}

/// Releases; the level to go back to.
fn release(host: &Host, address: u64, kind: LockKind) -> Option<u8> {
    write(address, 0_u64);
    host.locks
        .release(host, address, kind)
        .map(|held| held.irql)
}

extern "win64" fn acquire_raise(address: u64) -> u8 {
    let old = thread::set_irql(DISPATCH.max(thread::irql()));
    exported(|host| acquire(host, address, LockKind::Spin, old, 0));
    old
}

extern "win64" fn release_to(address: u64, irql: u8) {
    exported(|host| {
        if let Some(before) = release(host, address, LockKind::Spin)
            && before != irql
        {
            let message = format!("IRQL was {before} before the acquire, {irql} is restored");
            host.violation("V029", "C4/0x31", message);
        }
        thread::set_irql(irql);
        Ok(())
    });
}

extern "win64" fn acquire_at_dpc(address: u64) {
    exported(|host| acquire(host, address, LockKind::Spin, DISPATCH, 0));
}

extern "win64" fn release_from_dpc(address: u64) {
    exported(|host| {
        release(host, address, LockKind::Spin);
        Ok(())
    });
}

fn acquire_queued(address: u64, handle: u64, old: u8) {
    exported(|host| acquire(host, address, LockKind::Queued, old, handle));
    write(handle, 0_u64);
    write(handle + 8, address);
    write(handle + 16, old);
}

fn release_queued(handle: u64) -> u8 {
    exported(|host| {
        let address: u64 = read(handle + 8);
        let known = thread::held().iter().any(|held| held.handle == handle);
        if !known {
            let message = format!("queue handle {handle:#x} holds no lock");
            host.violation("V087", "C4/0x40006", message);
            return Ok(thread::irql());
        }
        let old = release(host, address, LockKind::Queued);
        write(handle + 8, 0_u64);
        Ok(old.unwrap_or_else(|| read(handle + 16)))
    })
}

extern "win64" fn acquire_in_stack(address: u64, handle: u64) {
    let old = thread::set_irql(DISPATCH.max(thread::irql()));
    acquire_queued(address, handle, old);
}

extern "win64" fn release_in_stack(handle: u64) {
    let old = release_queued(handle);
    thread::set_irql(old);
}

extern "win64" fn acquire_in_stack_at_dpc(address: u64, handle: u64) {
    acquire_queued(address, handle, DISPATCH);
}

extern "win64" fn release_in_stack_from_dpc(handle: u64) {
    release_queued(handle);
}

exports! {
    "KeAcquireSpinLockRaiseToDpc" => acquire_raise, IrqlRule::AtMost(DISPATCH), "V038", "C4/0x42";
    "KeReleaseSpinLock" => release_to, IrqlRule::Exactly(DISPATCH), "V030", "C4/0x32";
    "KeAcquireSpinLockAtDpcLevel" => acquire_at_dpc, IrqlRule::Exactly(DISPATCH), "V037", "C4/0x40";
    "KeReleaseSpinLockFromDpcLevel" => release_from_dpc, IrqlRule::Exactly(DISPATCH), "V037", "C4/0x41";
    "KeAcquireInStackQueuedSpinLock" => acquire_in_stack, IrqlRule::AtMost(DISPATCH), "V064", "C4/0x20011";
    "KeReleaseInStackQueuedSpinLock" => release_in_stack, IrqlRule::Exactly(DISPATCH), "V033", "C4/0x35";
    "KeAcquireInStackQueuedSpinLockAtDpcLevel" => acquire_in_stack_at_dpc, IrqlRule::Exactly(DISPATCH), "V037", "C4/0x40";
    "KeReleaseInStackQueuedSpinLockFromDpcLevel" => release_in_stack_from_dpc, IrqlRule::Exactly(DISPATCH), "V033", "C4/0x36";
}
