//! The IRQL, and the regions that keep APCs away.

use crate::access::write;
use crate::export::{IrqlRule, exports};
use crate::host::current;
use crate::thread::{self, APC, DISPATCH, HIGH};

fn raise(irql: u8) -> u8 {
    let before = thread::irql();
    if irql < before || irql > HIGH {
        let message = format!("raised from {before} to {irql}");
        current().violation("V028", "C4/0x30", message);
    }
    thread::set_irql(irql.min(HIGH))
}

extern "win64" fn kf_raise_irql(irql: u8) -> u8 {
    raise(irql)
}

extern "win64" fn ke_raise_irql(irql: u8, old: u64) {
    let before = raise(irql);
    write(old, before);
}

extern "win64" fn raise_to_dpc() -> u8 {
    raise(DISPATCH)
}

extern "win64" fn lower(irql: u8) {
    let before = thread::irql();
    if irql > before {
        current().violation(
            "V029",
            "C4/0x31",
            format!("lowered from {before} to {irql}"),
        );
    } else if irql < DISPATCH && thread::holds_spin_lock() {
        let message = format!("lowered to {irql} while a spin lock is held");
        current().violation("V088", "C4/0x40009", message);
    }
    thread::set_irql(irql);
}

extern "win64" fn current_irql() -> u8 {
    thread::irql()
}

extern "win64" fn enter_critical() {
    let level = thread::level();
    thread::set_level(thread::Level {
        critical: level.critical + 1,
        ..level
    });
}

extern "win64" fn leave_critical() {
    let level = thread::level();
    if level.critical == 0 {
        current().violation("V036", "C4/0x3E", "the thread is in no critical region");
        return;
    }
    thread::set_level(thread::Level {
        critical: level.critical - 1,
        ..level
    });
}

extern "win64" fn enter_guarded() {
    let level = thread::level();
    thread::set_level(thread::Level {
        guarded: level.guarded + 1,
        ..level
    });
}

extern "win64" fn leave_guarded() {
    let level = thread::level();
    if level.guarded == 0 {
        current().violation("V086", "C4/0x4000E", "the thread is in no guarded region");
        return;
    }
    thread::set_level(thread::Level {
        guarded: level.guarded - 1,
        ..level
    });
}

extern "win64" fn are_apcs_disabled() -> u8 {
    let level = thread::level();
    u8::from(level.critical > 0 || level.guarded > 0 || level.irql >= APC)
}

extern "win64" fn are_all_apcs_disabled() -> u8 {
    let level = thread::level();
    u8::from(level.guarded > 0 || level.irql >= APC)
}

exports! {
    "KfRaiseIrql" => kf_raise_irql, IrqlRule::Any, "V028", "C4/0x30";
    "KeRaiseIrql" => ke_raise_irql, IrqlRule::Any, "V028", "C4/0x30";
    "KeRaiseIrqlToDpcLevel" => raise_to_dpc, IrqlRule::AtMost(DISPATCH), "V028", "C4/0x30";
    "KeLowerIrql" => lower, IrqlRule::Any, "V029", "C4/0x31";
    "KfLowerIrql" => lower, IrqlRule::Any, "V029", "C4/0x31";
    "KeGetCurrentIrql" => current_irql, IrqlRule::Any, "V050", "C4/0xE5";
    "KeEnterCriticalRegion" => enter_critical, IrqlRule::AtMost(APC), "V049", "C4/0x11A";
    "KeLeaveCriticalRegion" => leave_critical, IrqlRule::AtMost(APC), "V049", "C4/0x11B";
    "KeEnterGuardedRegion" => enter_guarded, IrqlRule::AtMost(APC), "V063", "C4/0x2000F";
    "KeLeaveGuardedRegion" => leave_guarded, IrqlRule::AtMost(APC), "V063", "C4/0x2000F";
    "KeAreApcsDisabled" => are_apcs_disabled, IrqlRule::AtMost(DISPATCH), "V064", "C4/0x20011";
    "KeAreAllApcsDisabled" => are_all_apcs_disabled, IrqlRule::AtMost(DISPATCH), "V064", "C4/0x20011";
}
