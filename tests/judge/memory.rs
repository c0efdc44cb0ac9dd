//! MDLs, mappings, contiguous memory, processes.

use nt_host::{Report, Violation};

use crate::stage::{INTERFACE, Stage, caught, fault, input, report_of, work};

caught! {
    unlock_of_what_was_never_locked_is_v108: 108, 0 => "V108";
    unlock_of_nonpaged_pool_is_v109: 109, 0 => "V109";
    paged_pool_described_as_nonpaged_is_v110: 110, 0 => "V110";
    obsolete_mapping_is_v111: 111, 0 => "V111";
    bug_check_asked_for_on_failure_is_v112: 112, 0 => "V112";
    map_of_what_is_not_locked_is_v114: 114, 0 => "V114";
    map_of_a_hand_made_mdl_is_v118: 118, 0 => "V118";
    kernel_object_shown_to_user_is_v115: 115, 0 => "V115";
    pages_locked_twice_are_v116: 116, 0 => "V116";
    pages_mapped_twice_are_v117: 117, 0 => "V117";
    partial_mdl_unlocked_is_v119: 119, 0 => "V119";
    stack_described_as_nonpaged_is_v121: 121, 0 => "V121";
    mdl_freed_while_its_pages_are_locked_is_v124: 120, 2 => "V124";
    mdl_freed_while_mapped_is_v120: 120, 0 => "V120";
    mdl_freed_while_mapped_to_user_is_v120: 120, 1 => "V120";
    pages_unlocked_twice_are_v123: 123, 0 => "V123";
    contiguous_memory_freed_while_mapped_to_user_is_v125: 120, 1 => "V125";
    memory_shown_to_user_as_it_came_is_v127: 127, 0 => "V127";
    part_of_a_page_shown_to_user_is_v128: 128, 0 => "V128";
    contiguous_memory_freed_as_pool_is_v129: 129, 0 => "V129";
    pool_freed_as_contiguous_memory_is_v129: 129, 1 => "V129";
    contiguous_memory_freed_with_another_length_is_v129: 129, 2 => "V129";
    contiguous_memory_freed_with_another_cache_type_is_v129: 129, 3 => "V129";
    mdl_freed_as_pool_is_v129: 129, 4 => "V129";
    page_mdl_freed_before_its_pages_is_v130: 130, 0 => "V130";
    page_mdl_never_freed_is_v132: 130, 2 => "V132";
    page_mdl_freed_as_an_ordinary_one_is_v130: 130, 1 => "V130";
    pages_mapped_with_two_cache_types_are_v134: 134, 0 => "V134";
    write_past_contiguous_memory_is_v135: 135, 0 => "V135";
    executable_contiguous_memory_is_v138: 138, 0 => "V138";
    executable_mapping_is_v139: 139, 0 => "V139";
    common_buffer_freed_while_locked_is_v312: 312, 0 => "V312";
    common_buffer_freed_while_locked_through_a_view_is_v312: 312, 1 => "V312";
    vector_of_common_buffers_freed_while_locked_is_v312: 312, 2 => "V312";
    contiguous_memory_freed_while_locked_through_a_view_is_v312: 312, 3 => "V312";
    page_mdl_freed_while_locked_through_its_mapping_is_v312: 312, 4 => "V312";
    page_mdl_freed_while_locked_through_a_view_is_v312: 312, 5 => "V312";
    pool_freed_while_locked_is_v312: 312, 6 => "V312";
    memory_locked_twice_and_unlocked_once_is_v312: 312, 7 => "V312";
    view_removed_while_secured_is_v133: 133, 1 => "V133";
    unchecked_null_is_v300: 300, 0 => "V300";
    null_given_to_a_routine_of_the_systems_is_v300: 300, 1 => "V300";
}

/// Does what breaks a rule, except for the breach, and finds nothing reported.
macro_rules! not_reported {
    ($($name:ident: $fault:literal, $variant:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let report = report_of($fault, $variant);
                assert!(report.is_clean(), "{report}");
            }
        )*
    };
}

not_reported! {
    common_buffer_unlocked_and_freed_is_not_reported: 312, 16;
    common_buffer_unlocked_through_a_view_and_freed_is_not_reported: 312, 17;
    vector_of_common_buffers_unlocked_and_freed_is_not_reported: 312, 18;
    contiguous_memory_unlocked_through_a_view_and_freed_is_not_reported: 312, 19;
    page_mdl_unlocked_through_its_mapping_and_freed_is_not_reported: 312, 20;
    page_mdl_unlocked_through_a_view_and_freed_is_not_reported: 312, 21;
    pool_unlocked_and_freed_is_not_reported: 312, 22;
    memory_unlocked_as_often_as_locked_is_not_reported: 312, 23;
    view_removed_after_it_was_unsecured_is_not_reported: 133, 2;
}

#[test]
fn locked_memory_freed_is_one_violation_that_names_the_mdl() {
    let report = report_of(312, 1);
    let [violation] = report.violations.as_slice() else {
        panic!("{report}")
    };
    assert_eq!((violation.rule, violation.code), ("V312", "4E/0x9A"));
    let message = &violation.message;
    assert!(
        message.contains("common buffer") && message.contains("1 of its 2 pages"),
        "{message}"
    );
    assert!(message.contains("locked by MDL 0x"), "{message}");
}

/// The report after a fault that needs a page of the calling process.
fn with_user_page(rule: u32, variant: u32) -> Report {
    let stage = Stage::new();
    let page = stage.process.allocate(4096).expect("a page");
    drop(stage.send(fault(rule), variant, page));
    stage.end()
}

#[test]
fn pages_locked_at_process_exit_are_v122() {
    let report = with_user_page(122, 0);
    assert!(report.has("V122"), "{report}");
}

#[test]
fn pages_locked_at_process_exit_are_reported_with_the_stack_of_the_lock() {
    let report = with_user_page(122, 0);
    let locked = |violation: &&Violation| violation.rule == "V122";
    let violation = report
        .violations
        .iter()
        .find(locked)
        .expect("the violation");
    assert!(!violation.stack.is_empty(), "{violation}");
}

#[test]
fn partial_allocation_taken_as_full_is_v131() {
    let stage = Stage::new();
    stage.host.faults().fail_routine("pages for an MDL", 1);
    drop(stage.send(fault(131), 0, 0));
    let report = stage.end();
    assert!(report.has("V131"), "{report}");
}

#[test]
fn full_allocation_taken_as_full_is_not_reported() {
    let report = report_of(131, 0);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn mapping_left_at_process_exit_is_v125() {
    let stage = Stage::new();
    stage.ask(work::MAP_TO_USER, 0, 0);
    let report = stage.end();
    assert!(report.has("V125"), "{report}");
}

#[test]
fn mapping_removed_in_another_process_is_v126() {
    let stage = Stage::new();
    stage.ask(work::MAP_TO_USER, 0, 0);
    let other = stage.host.create_process("other.exe").expect("a process");
    let file = other.open(&INTERFACE).expect("the device opens");
    let unmap = crate::stage::code(work::UNMAP_FROM_USER);
    drop(file.device_control(unmap, &input(1, 0), &mut []));
    drop(file);
    let report = stage.end();
    assert!(report.has("V126"), "{report}");
}

#[test]
fn memory_unsecured_twice_is_v133() {
    let report = with_user_page(133, 0);
    assert!(report.has("V133"), "{report}");
}

#[test]
fn user_address_given_to_a_kernel_routine_is_v258() {
    let report = with_user_page(258, 0);
    assert!(report.has("V258"), "{report}");
}

#[test]
fn event_in_user_memory_is_v099() {
    let report = with_user_page(258, 1);
    assert!(report.has("V099"), "{report}");
}

#[test]
fn user_memory_that_is_gone_read_without_a_guard_is_v269() {
    let stage = Stage::new();
    let page = stage.process.allocate(4096).expect("a page");
    stage.process.free(page).expect("freed");
    drop(stage.send(fault(269), 0, page));
    let report = stage.end();
    assert!(report.has("V269"), "{report}");
}
