//! Rundown protection: `EX_RUNDOWN_REF` holds twice the number of references, plus one once it is run down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::access::{atomic_u64, write};
use crate::call::{Stopped, exported};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::thread::{APC, DISPATCH};

const ACTIVE: u64 = 1;

extern "win64" fn initialize(address: u64) {
    let host = current();
    super::check_place(&host, "rundown reference", address);
    write(address, 0_u64);
}

extern "win64" fn acquire(address: u64) -> u8 {
    let counter = atomic_u64(address);
    let add = |value: u64| (value & ACTIVE == 0).then_some(value + 2);
    u8::from(
        counter
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, add)
            .is_ok(),
    )
}

extern "win64" fn release(address: u64) {
    let counter = atomic_u64(address);
    let subtract = |value: u64| value.checked_sub(2);
    if counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, subtract)
        .is_err()
    {
        let message = format!("rundown reference {address:#x} is not acquired");
        current().violation("V081", "C4/0x1007", message);
    }
    let host = current();
    host.waits.wake();
}

fn wait(host: &Arc<Host>, address: u64) -> Result<(), Stopped> {
    atomic_u64(address).fetch_or(ACTIVE, Ordering::SeqCst);
    let deadline = Instant::now() + host.options.watchdog;
    loop {
        let seen = host.waits.generation();
        let value = atomic_u64(address).load(Ordering::SeqCst);
        if value == ACTIVE {
            return Ok(());
        }
        host.check_alive()?;
        if Instant::now() > deadline {
            let message = format!(
                "{} references on {address:#x} are never released",
                value / 2
            );
            host.violation("V308", "hang", message.clone());
            return Err(host.die(message));
        }
        host.waits.sleep(seen, deadline);
    }
}

extern "win64" fn wait_for_release(address: u64) {
    exported(|host| wait(host, address));
}

extern "win64" fn completed(address: u64) {
    write(address, ACTIVE);
}

extern "win64" fn reinitialize(address: u64) {
    write(address, 0_u64);
}

exports! {
    "ExInitializeRundownProtection" => initialize, IrqlRule::Any, "V050", "C4/0xE5";
    "ExAcquireRundownProtection" => acquire, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "ExReleaseRundownProtection" => release, IrqlRule::AtMost(DISPATCH), "V050", "C4/0xE5";
    "ExWaitForRundownProtectionRelease" => wait_for_release, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
    "ExRundownCompleted" => completed, IrqlRule::Any, "V050", "C4/0xE5";
    "ExReInitializeRundownProtection" => reinitialize, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
}
