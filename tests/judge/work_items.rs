//! Work items, and what is for threads of the system alone.

use nt_host::Report;

use crate::stage::{Stage, caught, fault};

caught! {
    key_opened_in_a_programs_thread_is_v313: 313, 0 => "V313";
    interface_registered_in_a_programs_thread_is_v313: 313, 1 => "V313";
    interface_disabled_in_a_programs_thread_is_v313: 313, 2 => "V313";
    work_item_freed_twice_is_v314: 314, 2 => "V314";
    work_item_for_the_device_of_the_bus_is_v314: 314, 3 => "V314";
    work_item_in_the_systems_own_queue_is_v314: 314, 4 => "V314";
    work_item_of_the_driver_queued_is_v314: 314, 5 => "V314";
    work_item_queued_once_freed_is_v314: 314, 6 => "V314";
    no_work_item_queued_is_v300: 314, 7 => "V300";
    work_item_left_is_v298: 298, 0 => "V298";
    work_item_allocated_above_dispatch_is_v074: 315, 0 => "V074";
    work_item_queued_above_dispatch_is_v074: 315, 1 => "V074";
    work_item_freed_above_dispatch_is_v074: 315, 2 => "V074";
}

/// The report when no thread of the system gets to what is queued before the request has come back.
fn busy(rule: u32, variant: u32) -> Report {
    let stage = Stage::new();
    let workers = stage.host.busy_workers();
    let result = stage.send(fault(rule), variant, 0).expect("it comes back");
    assert!(result.status.is_success(), "{result:?}");
    drop(workers);
    stage.end()
}

#[test]
fn work_item_queued_twice_is_v314() {
    let report = busy(314, 0);
    assert!(report.has("V314"), "{report}");
}

#[test]
fn work_item_freed_while_queued_is_v314() {
    let report = busy(314, 1);
    assert!(report.has("V314"), "{report}");
}

#[test]
fn work_item_left_is_listed() {
    let report = busy(298, 0);
    let kinds: Vec<_> = report.leaks.iter().map(|leak| leak.kind).collect();
    assert_eq!(kinds, ["work item"], "{report}");
}

#[test]
fn work_item_queued_when_the_driver_is_unloaded_is_v298() {
    let stage = Stage::new();
    let workers = stage.host.busy_workers();
    stage.send(fault(298), 1, 0).expect("it comes back");
    // The system waits for the routine: it runs, and nothing is lost.
    let report = stage.end();
    drop(workers);
    assert!(report.has("V298"), "{report}");
    assert!(report.leaks.is_empty(), "{report}");
}

#[test]
fn routine_that_ends_before_the_driver_is_unloaded_is_not_reported() {
    let stage = Stage::new();
    stage.send(fault(298), 1, 0).expect("it comes back");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    // Freed by the routine: there is none left.
    while !stage.host.calls().contains_key("IoFreeWorkItem") {
        assert!(std::time::Instant::now() < deadline, "it never runs");
        std::thread::yield_now();
    }
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}
