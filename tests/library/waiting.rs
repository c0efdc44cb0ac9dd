//! Requests for which map registers are short, because another device has them.

use std::{
    thread,
    time::{Duration, Instant},
};

use nt_host::DmaConfig;

use crate::lists::{BUILD, BUILD_EX, GET, GET_EX};
use crate::stage::{
    INSUFFICIENT_RESOURCES, PAGE, Stage, TO_DEVICE, call, device_read, elements, interface,
};

/// Sends a request while another device has all registers, sees it wait, and lets go of them.
fn waits(stage: &Stage, call: u32, numbers: &[u64]) -> Vec<u64> {
    let held = stage.device.hold_map_registers(u32::MAX);
    thread::scope(|scope| {
        let asking = scope.spawn(|| stage.ask(call, numbers));
        let limit = Instant::now() + Duration::from_secs(5);
        while stage.device.waiting_for_map_registers() == 0 {
            assert!(Instant::now() < limit, "it never waited");
            thread::yield_now();
        }
        assert!(!asking.is_finished());
        drop(held);
        asking.join().expect("it comes back")
    })
}

#[test]
fn list_waits_until_another_device_gives_its_registers_back() {
    for (version, member) in [(1, GET), (2, GET), (2, BUILD), (3, BUILD)] {
        let stage = Stage::new(interface(version, false));
        let bytes = stage.pool_buffer(2 * PAGE);
        let list = waits(&stage, call::LIST, &[0, 2 * PAGE, TO_DEVICE, member]);
        assert_eq!(device_read(&stage.nic(), &elements(&list)), bytes);
        stage.ask(call::PUT, &[]);
        stage.finish();
    }
}

#[test]
fn list_of_version_3_fails_rather_than_wait() {
    for member in [GET_EX, BUILD_EX] {
        let stage = Stage::new(interface(3, false));
        stage.pool_buffer(PAGE);
        let held = stage.device.hold_map_registers(u32::MAX);
        let refused = stage.try_ask(call::LIST, &[0, PAGE, TO_DEVICE, member]);
        assert_eq!(refused, Err(INSUFFICIENT_RESOURCES));
        drop(held);
        stage.ask(call::LIST, &[0, PAGE, TO_DEVICE, member]);
        stage.finish();
    }
}

/// Without the budget, the second list would be queued behind the first for ever.
#[test]
fn list_for_which_own_lists_leave_no_registers_is_refused_at_once() {
    for member in [GET, BUILD] {
        let stage = Stage::new(DmaConfig {
            map_registers: 4,
            system_map_registers: 4,
            ..interface(2, false)
        });
        stage.pool_buffer(4 * PAGE);
        stage.ask(call::LIST, &[0, 3 * PAGE, TO_DEVICE, member]);
        let second = [0, 2 * PAGE, TO_DEVICE, member];
        assert_eq!(
            stage.try_ask(call::SECOND_LIST, &second),
            Err(INSUFFICIENT_RESOURCES)
        );
        assert_eq!(stage.device.waiting_for_map_registers(), 0);
        stage.finish();
    }
}

/// Without the budget they would be queued behind the list for ever.
#[test]
fn registers_or_a_list_to_wait_for_are_refused_at_once_beside_a_list_of_version_3() {
    let stage = Stage::new(DmaConfig {
        map_registers: 4,
        system_map_registers: 4,
        ..interface(3, false)
    });
    stage.pool_buffer(4 * PAGE);
    stage.ask(call::LIST, &[0, 3 * PAGE, TO_DEVICE, GET_EX]);
    assert_eq!(
        stage.try_ask(call::WAIT_FOR, &[2]),
        Err(INSUFFICIENT_RESOURCES)
    );
    let list = [0, 2 * PAGE, TO_DEVICE, GET];
    assert_eq!(
        stage.try_ask(call::SECOND_LIST, &list),
        Err(INSUFFICIENT_RESOURCES)
    );
    stage.ask(call::WAIT_FOR, &[1]);
    stage.finish();
}

#[test]
fn registers_are_waited_for_until_another_device_gives_them_back() {
    for version in [1, 2, 3] {
        let stage = Stage::new(interface(version, false));
        waits(&stage, call::WAIT_FOR, &[3]);
        stage.ask(call::GIVE_BACK, &[]);
        stage.finish();
    }
}

#[test]
fn registers_that_another_device_has_are_not_taken() {
    let stage = Stage::new(interface(3, false));
    let held = stage.device.hold_map_registers(u32::MAX);
    assert_eq!(stage.try_ask(call::TAKE, &[1]), Err(INSUFFICIENT_RESOURCES));
    drop(held);
    stage.ask(call::TAKE, &[1]);
    stage.finish();
}

#[test]
fn request_that_waits_is_cancelled() {
    let stage = Stage::new(interface(3, false));
    let held = stage.device.hold_map_registers(u32::MAX);
    stage.ask(call::REQUEST, &[2]);
    assert_eq!(stage.device.waiting_for_map_registers(), 1);
    assert_eq!(stage.ask(call::CANCEL_REQUEST, &[]), [0]);
    assert_eq!(stage.device.waiting_for_map_registers(), 0);
    drop(held);
    stage.ask(call::TAKE, &[257]);
    stage.finish();
}

#[test]
fn request_cancelled_too_late_brings_its_registers() {
    let stage = Stage::new(interface(3, false));
    let bytes = stage.pool_buffer(PAGE);
    let held = stage.device.hold_map_registers(u32::MAX);
    stage.ask(call::REQUEST, &[2]);
    drop(held);
    assert_eq!(stage.ask(call::CANCEL_REQUEST, &[]), [1]);
    let mapped = stage.ask(call::MAP, &[0, PAGE, TO_DEVICE]);
    assert_eq!(device_read(&stage.nic(), &elements(&mapped[1..])), bytes);
    stage.finish();
}

#[test]
fn request_that_is_forgotten_while_it_waits_is_cancelled() {
    let stage = Stage::new(interface(3, false));
    let held = stage.device.hold_map_registers(u32::MAX);
    stage.ask(call::REQUEST, &[2]);
    stage.ask(call::FORGET_REQUEST, &[]);
    assert_eq!(stage.device.waiting_for_map_registers(), 0);
    drop(held);
    stage.finish();
}

#[test]
fn request_that_is_forgotten_when_it_was_granted_gives_its_registers_back() {
    let stage = Stage::new(interface(3, false));
    let free = stage.device.free_map_registers();
    stage.ask(call::REQUEST, &[2]);
    assert_eq!(stage.device.free_map_registers(), free - 2);
    stage.ask(call::FORGET_REQUEST, &[]);
    assert_eq!(stage.device.free_map_registers(), free);
    stage.finish();
}

#[test]
fn request_that_waits_when_its_file_is_closed_is_cancelled() {
    let stage = Stage::new(interface(3, false));
    let held = stage.device.hold_map_registers(u32::MAX);
    stage.ask(call::REQUEST, &[2]);
    stage.finish();
    drop(held);
}
