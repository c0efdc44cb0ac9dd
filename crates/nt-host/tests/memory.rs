//! Memory and DMA as a driver's machine code uses them, rightly and wrongly.

#[expect(dead_code, reason = "this file needs only a part")]
mod driver;

use driver::{code, expect_rule, run};
use nt_host::{NtStatus, Report};

/// The report after a request that stops the driver.
fn report_of(function: u32) -> Report {
    let running = run(0);
    assert!(running.control(function).is_err(), "the driver goes on");
    running.host.report()
}

#[test]
fn driver_that_keeps_the_rules_of_memory_has_no_finding() {
    let running = run(0);
    let mut output = [0; 8];
    let result = running
        .file
        .device_control(code(0x840), &[], &mut output)
        .unwrap();
    assert_eq!((result.status, result.information), (NtStatus::SUCCESS, 8));
    // What it wrote at the user address, and a list of one element for two consecutive frames.
    assert_eq!(output, [1, 0, 0, 0, 42, 0, 0, 0]);
    let host = running.end();
    assert!(host.report().is_clean(), "{}", host.report());
}

#[test]
fn write_behind_a_pool_block_is_v010_with_the_block() {
    let report = report_of(0x841);
    assert!(report.has("V010"), "{report}");
    assert!(
        report.to_string().contains("byte 4096 of pool block"),
        "{report}"
    );
}

#[test]
fn write_to_freed_pool_is_v013() {
    expect_rule(0x842, "V013");
}

#[test]
fn write_before_a_pool_block_is_v011() {
    expect_rule(0x843, "V011");
}

#[test]
fn lock_of_bad_memory_without_a_guard_stops_the_driver() {
    let report = report_of(0x844);
    assert!(report.has("V269"), "{report}");
}

#[test]
fn call_through_the_table_after_put_is_v164() {
    expect_rule(0x845, "V164");
}

#[test]
fn call_beyond_the_table_is_v180() {
    let report = report_of(0x846);
    assert!(
        report.has("V180") && report.to_string().contains("slot 320"),
        "{report}"
    );
}

#[test]
fn obsolete_way_to_an_adapter_is_v168() {
    expect_rule(0x84D, "V168");
}

#[test]
fn map_registers_that_nobody_allocated_are_v144() {
    expect_rule(0x847, "V144");
}

#[test]
fn use_of_more_pages_than_came_is_v131() {
    let running = run(0);
    running.host.faults().fail_routine("pages for an MDL", 1);
    assert!(running.control(0x848).is_err());
    assert!(
        running.host.report().has("V131"),
        "{}",
        running.host.report()
    );
}

#[test]
fn common_buffer_at_dispatch_level_is_v161() {
    expect_rule(0x849, "V161");
}

#[test]
fn irp_freed_as_pool_is_v017() {
    expect_rule(0x84A, "V017");
}

#[test]
fn adapter_kept_over_remove_is_v179_and_a_leak() {
    let running = run(0);
    running.control(0x84B).unwrap();
    let report = running.end().report();
    assert!(report.has("V179") && report.has("V132"), "{report}");
    let leak = report.leaks.iter().find(|leak| leak.kind == "DMA adapter");
    assert!(!leak.unwrap().stack.is_empty(), "{report}");
}

#[test]
fn pool_left_at_unload_is_v016_and_a_leak_with_its_stack() {
    let running = run(0);
    running.control(0x84C).unwrap();
    let report = running.end().report();
    assert!(report.has("V016"), "{report}");
    let leak = report
        .leaks
        .iter()
        .find(|leak| leak.kind == "pool block")
        .unwrap();
    assert!(
        leak.detail.contains("100 bytes, nonpaged, tag Test"),
        "{leak}"
    );
    assert!(
        leak.stack.iter().any(|frame| frame.symbol.contains("test")),
        "{leak}"
    );
}
