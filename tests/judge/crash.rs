//! Crashes: what callbacks may do at `HIGH_LEVEL`, and what they may name.

use nt_host::Report;

use crate::stage::{Stage, caught, fault};

caught! {
    crash_callback_left_at_unload_is_v298: 310, 0 => "V298";
    crash_callback_whose_record_is_freed_is_v298: 310, 7 => "V298";
}

/// The report after a crash with a callback of that sort, and what is in the dump.
fn crash(variant: u32) -> (Report, Vec<u8>) {
    let stage = Stage::new();
    let result = stage.send(fault(310), variant, 0).expect("it comes back");
    assert!(result.status.is_success(), "{result:?}");
    let dump = stage.host.crash(0xE2).expect("the callback comes back");
    let bytes = dump.ranges.into_iter().flat_map(|range| range.bytes);
    (stage.host.report(), bytes.collect())
}

#[test]
fn page_of_the_driver_named_correctly_is_in_the_dump_and_not_reported() {
    let (report, bytes) = crash(0);
    assert!(report.is_clean(), "{report}");
    assert_eq!(bytes, [0x77; 4096]);
}

#[test]
fn callback_taken_back_is_not_called() {
    let (report, bytes) = crash(8);
    assert!(report.is_clean(), "{report}");
    assert!(bytes.is_empty());
}

fn caught_in_the_crash(variant: u32, rule: &str) {
    let (report, _) = crash(variant);
    assert!(report.has(rule), "not caught:\n{report}");
}

#[test]
fn address_inside_a_page_is_v310() {
    caught_in_the_crash(1, "V310");
}

#[test]
fn address_of_both_kinds_is_v310() {
    caught_in_the_crash(2, "V310");
}

#[test]
fn memory_of_a_process_is_v310() {
    caught_in_the_crash(3, "V310");
}

#[test]
fn more_pages_than_the_block_has_are_v310() {
    caught_in_the_crash(6, "V310");
}

#[test]
fn callback_that_always_has_one_more_range_is_v310() {
    caught_in_the_crash(9, "V310");
}

#[test]
fn lock_taken_at_high_level_is_v038() {
    caught_in_the_crash(4, "V038");
}

#[test]
fn pool_allocated_at_high_level_is_v003() {
    caught_in_the_crash(5, "V003");
}
