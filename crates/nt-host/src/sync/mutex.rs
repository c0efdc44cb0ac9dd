//! Fast mutexes: `FAST_MUTEX` is Count +0, Owner +8, Contention +16, Event +24, `OldIrql` +48.
//!
//! `ExInitializeFastMutex` is inline: Count becomes 1 and the event is initialised.

use std::sync::Arc;

use crate::access::{read, write};
use crate::call::{Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::Host;
use crate::thread::{self, APC, LockKind};

/// Offset of the event in a fast mutex.
pub(crate) const EVENT: u64 = 24;

fn check_initialised(host: &Host, address: u64) {
    let count: i32 = read(address);
    if count != 1 {
        let message = format!("fast mutex {address:#x} has Count {count}: not initialised");
        host.violation("V077", "C4/0x1002", message);
    }
}

fn taken(address: u64, old: u8) {
    write(address, 0_i32);
    write(address + 8, thread::id());
    write(address + 48, u32::from(old));
}

fn acquire(host: &Arc<Host>, address: u64, raise: bool) -> Result<(), Stopped> {
    let old = thread::irql();
    if raise && old < APC {
        thread::set_irql(APC);
    }
    host.locks
        .acquire(host, address, LockKind::FastMutex, old, 0)?;
    check_initialised(host, address);
    taken(address, old);
    Ok(())
}

fn release(host: &Host, address: u64, lower: bool) {
    // The memory first: the next owner writes its own.
    let old: u32 = read(address + 48);
    write(address + 8, 0_u64);
    write(address, 1_i32);
    let held = host.locks.release(host, address, LockKind::FastMutex);
    if lower {
        thread::set_irql(held.map_or(old as u8, |held| held.irql));
    }
}

extern "win64" fn acquire_fast(address: u64) {
    exported(|host| acquire(host, address, true));
}

extern "win64" fn release_fast(address: u64) {
    exported(|host| {
        release(host, address, true);
        Ok(())
    });
}

extern "win64" fn try_acquire_fast(address: u64) -> u8 {
    exported(|host| {
        let old = thread::irql();
        let got = host
            .locks
            .try_acquire(host, address, LockKind::FastMutex, old)?;
        if got {
            check_initialised(host, address);
            thread::set_irql(APC.max(old));
            taken(address, old);
        }
        Ok(u8::from(got))
    })
}

/// The unsafe variants want special kernel APCs off already.
fn check_unsafe(host: &Host) {
    let level = thread::level();
    if level.irql != APC && level.critical == 0 && level.guarded == 0 {
        let message = format!(
            "called at IRQL {}, outside of a critical region",
            level.irql
        );
        host.violation("V035", "C4/0x39", message);
    }
}

extern "win64" fn acquire_unsafe(address: u64) {
    exported(|host| {
        check_unsafe(host);
        acquire(host, address, false)
    });
}

extern "win64" fn release_unsafe(address: u64) {
    exported(|host| {
        check_unsafe(host);
        release(host, address, false);
        Ok(())
    });
}

exports! {
    "ExAcquireFastMutex" => acquire_fast, IrqlRule::AtMost(APC), "V055", "C4/0x20005";
    "ExReleaseFastMutex" => release_fast, IrqlRule::Exactly(APC), "V032", "C4/0x34";
    "ExTryToAcquireFastMutex" => try_acquire_fast, IrqlRule::AtMost(APC), "V055", "C4/0x20005";
    "ExAcquireFastMutexUnsafe" => acquire_unsafe, IrqlRule::AtMost(APC), "V035", "C4/0x39";
    "ExReleaseFastMutexUnsafe" => release_unsafe, IrqlRule::AtMost(APC), "V035", "C4/0x3A";
}
