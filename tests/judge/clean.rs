//! The driver that works: nothing of what it does is reported.

use std::time::Duration;

use nt_host::{Control, dma::DmaConfig};

use crate::stage::{Stage, builder, code, input, life_of, live, work};

/// Does some of the work, ends well, and finds nothing reported.
macro_rules! clean {
    ($($name:ident: $function:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let stage = Stage::new();
                stage.work($function);
                let report = stage.end();
                assert!(report.is_clean(), "{report}");
            }
        )*
    };
}

clean! {
    request_without_fault_is_not_reported: work::NOTHING;
    pool_used_correctly_is_not_reported: work::POOL;
    irql_changed_correctly_is_not_reported: work::IRQL;
    locks_used_correctly_are_not_reported: work::LOCKS;
    memory_mapped_correctly_is_not_reported: work::MEMORY;
    dma_done_correctly_is_not_reported: work::DMA;
    requests_sent_correctly_are_not_reported: work::IRP;
    objects_used_correctly_are_not_reported: work::OBJECTS;
    work_items_used_correctly_are_not_reported: work::WORK_ITEMS;
    request_passed_on_and_completed_is_not_reported: work::WAIT_FOR_LOWER;
}

#[test]
fn life_of_a_device_without_fault_is_not_reported() {
    let host = builder().build().expect("a host");
    live(&host, false).expect("every step succeeds");
    let report = host.report();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn surprise_removal_without_fault_is_not_reported() {
    let report = life_of(0, true);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn device_without_dma_is_not_reported() {
    let dma = DmaConfig {
        interface_version: 0,
        ..DmaConfig::default()
    };
    let stage = Stage::on(builder().dma(dma));
    stage.work(work::MEMORY);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn memory_mapped_and_unmapped_in_one_process_is_not_reported() {
    let stage = Stage::new();
    let address = stage.ask(work::MAP_TO_USER, 0, 0);
    let mut bytes = [1; 4];
    stage.process.read(address, &mut bytes).expect("a mapping");
    assert_eq!(bytes, [0; 4]);
    stage.work(work::UNMAP_FROM_USER);
    assert!(stage.process.read(address, &mut bytes).is_err());
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn request_that_waits_and_is_cancelled_is_not_reported() {
    let stage = Stage::new();
    let input = input(0, 0);
    let pending = stage
        .file()
        .begin(&Control::new(code(work::WAIT), &input, 0))
        .expect("it comes back");
    assert!(pending.result().is_none());
    assert!(pending.cancel().expect("it comes back"));
    let result = pending.wait(Duration::from_secs(2)).expect("an end");
    assert_eq!(result.status.0, 0xC000_0120);
    drop(pending);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn request_that_waits_when_its_process_dies_is_not_reported() {
    let stage = Stage::new();
    let input = input(0, 0);
    let pending = stage
        .file()
        .begin(&Control::new(code(work::WAIT), &input, 0))
        .expect("it comes back");
    stage.process.exit().expect("it comes back");
    assert!(pending.result().is_some());
    drop(pending);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}
