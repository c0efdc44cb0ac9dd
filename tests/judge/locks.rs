//! Locks, waits, regions.

use std::{
    thread,
    time::{Duration, Instant},
};

use nt_host::{Control, RegistryValue};

use crate::stage::{INTERFACE, Stage, builder, caught, caught_in_life, code, fault, input, work};

caught! {
    fast_mutex_taken_twice_is_v075: 75, 0 => "V075";
    two_locks_taken_in_two_orders_are_v076: 76, 0 => "V076";
    fast_mutex_without_initialisation_is_v077: 77, 0 => "V077";
    spin_locks_released_in_the_wrong_order_are_v078: 78, 0 => "V078";
    fast_mutex_initialised_while_held_is_v080: 80, 0 => "V080";
    fast_mutex_released_before_acquired_is_v081: 81, 0 => "V081";
    queued_lock_released_as_a_plain_one_is_v082: 82, 0 => "V082";
    spin_lock_freed_while_owned_is_v084: 84, 0 => "V084";
    guarded_region_left_without_being_in_one_is_v086: 86, 0 => "V086";
    queued_spin_lock_held_at_return_is_v087: 87, 0 => "V087";
    spin_lock_held_at_return_is_v088: 88, 0 => "V088";
    cancel_spin_lock_held_at_return_is_v089: 89, 0 => "V089";
    critical_region_held_at_return_is_v091: 91, 0 => "V091";
    user_wait_on_the_stack_is_v097: 97, 0 => "V097";
    push_lock_outside_of_a_critical_region_is_v098: 98, 0 => "V098";
    event_in_paged_pool_is_v099: 99, 0 => "V099";
    wait_that_never_ends_is_v308: 308, 0 => "V308";
    thread_still_attached_at_return_is_v309: 309, 0 => "V309";
}

caught_in_life! {
    critical_region_kept_by_add_device_is_v085: 85, false => "V085";
}

#[test]
fn fast_mutex_released_by_another_thread_is_v079() {
    let stage = Stage::new();
    let other = stage.host.create_process("other.exe").expect("a process");
    let file = other.open(&INTERFACE).expect("the device opens");
    thread::scope(|scope| {
        scope.spawn(|| {
            let release = || file.device_control(fault(79), &input(1, 0), &mut []);
            // Until the first thread has taken the mutex.
            while release().is_ok_and(|result| !result.status.is_success()) {
                thread::yield_now();
            }
        });
        drop(stage.send(fault(79), 0, 0));
    });
    drop(file);
    let report = stage.end();
    assert!(report.has("V079"), "{report}");
}

#[test]
fn suspended_thread_stands_still_when_the_level_lets_apcs_through() {
    let stage = Stage::new();
    let calls = |name| stage.host.calls().get(name).copied().unwrap_or(0);
    let locks = calls("KeAcquireSpinLockRaiseToDpc");
    // The remove lock, the first spin lock, the second: at that call the level is raised.
    let suspension = stage.host.suspend_at_call(3);
    thread::scope(|scope| {
        let user = scope.spawn(|| stage.send(code(work::LOCKS), 0, 0));
        let limit = Instant::now() + Duration::from_secs(1);
        while !suspension.is_stopped() && Instant::now() < limit {
            thread::yield_now();
        }
        assert!(suspension.is_stopped());
        assert_eq!(calls("KeAcquireSpinLockRaiseToDpc"), locks + 2);
        assert_eq!(calls("KeReleaseSpinLock"), locks + 2);
        assert_eq!(calls("ExAcquireFastMutex"), 0);
        suspension.resume();
        let result = user.join().expect("it ends").expect("the driver survives");
        assert!(result.status.is_success(), "{result:?}");
    });
    assert_eq!(calls("ExAcquireFastMutex"), 1);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn lock_owned_by_a_thread_that_has_ended_is_v083() {
    let stage = Stage::on(builder().parameter("Fault", RegistryValue::Dword(83)));
    let input = input(0, 0);
    let pending = stage
        .file()
        .begin(&Control::new(code(work::WAIT), &input, 0))
        .expect("it comes back");
    // The cancel routine runs in a thread that is gone afterwards.
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| pending.cancel().expect("it comes back"));
        assert!(cancelled.join().expect("it ends"));
    });
    drop(pending);
    let report = stage.end();
    assert!(report.has("V083"), "{report}");
}
