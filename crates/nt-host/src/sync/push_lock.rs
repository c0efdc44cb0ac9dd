//! Push locks: 8 bytes, zero when free; only inside a critical region.

use crate::access::{read, write};
use crate::call::exported;
use crate::export::{IrqlRule, exports};
use crate::host::Host;
use crate::thread::{self, APC, LockKind};

fn check_region(host: &Host, address: u64, code: &'static str) {
    let level = thread::level();
    if level.critical == 0 && level.guarded == 0 && level.irql < APC {
        let message = format!("push lock {address:#x} used outside of a critical region");
        host.violation("V098", code, message);
    }
    if !address.is_multiple_of(8) {
        host.violation(
            "V099",
            "C4/0xE1",
            format!("push lock {address:#x} is not aligned"),
        );
    }
}

fn acquire(address: u64, kind: LockKind) {
    exported(|host| {
        check_region(host, address, "C4/0xEA");
        host.locks.acquire(host, address, kind, thread::irql(), 0)?;
        let value: u64 = read(address);
        // Other readers leave their mark; a writer finds the lock clear.
        if value > u64::from(kind == LockKind::PushShared) {
            let message = format!("push lock {address:#x} holds {value:#x}: not initialised");
            host.violation("V077", "C4/0x1002", message);
        }
        write(address, 1_u64);
        Ok(())
    });
}

fn release(address: u64, kind: LockKind) {
    exported(|host| {
        check_region(host, address, "C4/0xEB");
        // A reader that is still in leaves the mark to the last one; a stale mark is cleared there.
        write(address, 0_u64);
        host.locks.release(host, address, kind);
        Ok(())
    });
}

extern "win64" fn initialize(address: u64) {
    write(address, 0_u64);
}

extern "win64" fn acquire_exclusive(address: u64, _flags: u32) {
    acquire(address, LockKind::PushExclusive);
}

extern "win64" fn acquire_shared(address: u64, _flags: u32) {
    acquire(address, LockKind::PushShared);
}

extern "win64" fn release_exclusive(address: u64, _flags: u32) {
    release(address, LockKind::PushExclusive);
}

extern "win64" fn release_shared(address: u64, _flags: u32) {
    release(address, LockKind::PushShared);
}

exports! {
    "ExInitializePushLock" => initialize, IrqlRule::Any, "V050", "C4/0xE5";
    "ExAcquirePushLockExclusiveEx" => acquire_exclusive, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
    "ExAcquirePushLockSharedEx" => acquire_shared, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
    "ExReleasePushLockExclusiveEx" => release_exclusive, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
    "ExReleasePushLockSharedEx" => release_shared, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
    "ExfAcquirePushLockExclusive" => acquire_exclusive, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
    "ExfAcquirePushLockShared" => acquire_shared, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
    "ExfReleasePushLockExclusive" => release_exclusive, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
    "ExfReleasePushLockShared" => release_shared, IrqlRule::AtMost(APC), "V056", "C4/0x20006";
}
