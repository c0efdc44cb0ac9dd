//! Pool.

use nt_host::Report;

use crate::stage::{Stage, caught, caught_in_life, fault, input};

caught! {
    pool_block_of_zero_bytes_is_v001: 1, 0 => "V001";
    paged_pool_allocated_at_dispatch_is_v002: 2, 0 => "V002";
    nonpaged_pool_allocated_above_dispatch_is_v003: 3, 0 => "V003";
    free_of_an_address_that_nobody_allocated_is_v004: 4, 0 => "V004";
    paged_pool_freed_at_dispatch_is_v005: 5, 0 => "V005";
    nonpaged_pool_freed_above_dispatch_is_v006: 6, 0 => "V006";
    pool_block_freed_twice_is_v007: 7, 0 => "V007";
    contiguous_memory_freed_twice_is_v007: 7, 1 => "V007";
    mdl_freed_twice_is_v007: 7, 2 => "V007";
    pages_freed_twice_are_v007: 7, 3 => "V007";
    free_of_an_address_inside_a_block_is_v008: 8, 0 => "V008";
    write_past_the_end_seen_at_free_is_v009: 9, 0 => "V009";
    write_into_the_page_after_a_block_is_v010: 10, 0 => "V010";
    write_into_the_page_after_contiguous_memory_is_v010: 10, 1 => "V010";
    write_into_the_page_after_a_common_buffer_is_v010: 10, 2 => "V010";
    write_into_the_page_before_contiguous_memory_is_v011: 11, 1 => "V011";
    write_into_the_page_before_a_common_buffer_is_v011: 11, 2 => "V011";
    write_into_the_page_before_a_block_is_v011: 11, 0 => "V011";
    write_before_the_start_seen_at_free_is_v012: 12, 0 => "V012";
    read_of_a_freed_block_is_v013: 13, 0 => "V013";
    read_of_freed_contiguous_memory_is_v013: 13, 1 => "V013";
    read_of_a_freed_common_buffer_is_v013: 13, 2 => "V013";
    read_of_a_removed_mapping_is_v013: 13, 3 => "V013";
    pool_left_at_unload_is_v016: 16, 0 => "V016";
    irp_freed_as_pool_is_v017: 17, 0 => "V017";
    quota_charged_at_dispatch_is_v019: 19, 0 => "V019";
    free_with_another_tag_is_v023: 23, 0 => "V023";
    two_pool_types_are_v024: 24, 0 => "V024";
    no_pool_type_is_v024: 24, 1 => "V024";
    no_tag_is_v024: 24, 2 => "V024";
    obsolete_allocator_is_v025: 25, 0 => "V025";
    obsolete_allocator_above_dispatch_is_v054: 25, 1 => "V054";
    paged_pool_written_at_dispatch_is_v027: 27, 0 => "V027";
    executable_pool_is_v137: 137, 0 => "V137";
}

caught_in_life! {
    pool_allocated_during_unload_is_v015: 15, false => "V015";
    pool_of_a_removed_device_left_at_unload_is_v016: 16, false => "V016";
}

#[test]
fn uninitialised_pool_in_output_is_v026() {
    let stage = Stage::new();
    let mut output = [0; 256];
    stage
        .file()
        .device_control(fault(26), &input(0, 0), &mut output)
        .expect("it comes back");
    let report = stage.end();
    assert!(report.has("V026"), "{report}");
}

#[test]
fn rest_of_the_system_buffer_in_output_is_v026() {
    let stage = Stage::new();
    let mut output = [0; 256];
    stage
        .file()
        .device_control(fault(26), &input(1, 0), &mut output)
        .expect("it comes back");
    let report = stage.end();
    assert!(report.has("V026"), "{report}");
}

#[test]
fn block_freed_twice_is_reported_with_the_drivers_stack() {
    let report: Report = crate::stage::report_of(7, 0);
    let violation = report
        .violations
        .iter()
        .find(|violation| violation.rule == "V007")
        .expect("the violation");
    assert_eq!(violation.routine, "ExFreePoolWithTag");
    assert!(
        violation
            .stack
            .iter()
            .any(|frame| frame.symbol.starts_with("faulty.sys+0x")),
        "{violation}"
    );
}
