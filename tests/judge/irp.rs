//! Requests: each completed exactly once, with what its caller can take.

use std::time::Duration;

use nt_host::{Control, RegistryValue};

use crate::stage::{Stage, builder, caught, code, fault, input, report_on, work};

caught! {
    free_of_what_is_no_irp_is_v183: 183, 0 => "V183";
    request_of_a_wrong_type_sent_is_v185: 185, 0 => "V185";
    request_sent_to_what_is_no_device_is_v186: 186, 0 => "V186";
    request_completed_as_pending_is_v188: 188, 0 => "V188";
    request_completed_with_a_cancel_routine_is_v189: 189, 0 => "V189";
    request_completed_twice_is_v196: 196, 0 => "V196";
    request_sent_past_the_device_below_is_v209: 209, 0 => "V209";
    request_sent_to_another_device_than_attached_is_v277: 209, 0 => "V277";
    request_touched_after_completion_is_v197: 197, 0 => "V197";
    request_passed_with_a_cancel_routine_is_v200: 200, 0 => "V200";
    request_below_with_a_cancel_routine_is_v228: 200, 0 => "V228";
    request_sent_to_no_device_is_v201: 201, 0 => "V201";
    request_without_a_stack_location_is_v205: 205, 0 => "V205";
    request_freed_by_who_did_not_make_it_is_v184: 184, 0 => "V184";
    plug_and_play_request_sent_with_a_status_is_v208: 208, 0 => "V208";
    status_returned_unlike_the_one_given_is_v224: 224, 0 => "V224";
    request_neither_completed_nor_pended_is_v225: 225, 0 => "V225";
    capabilities_asked_for_without_initialisation_are_v231: 231, 0 => "V231";
    request_of_the_system_sent_is_v232: 232, 0 => "V232";
    request_completed_that_was_never_sent_is_v233: 233, 0 => "V233";
    pending_returned_without_mark_is_v236: 236, 0 => "V236";
    mark_without_pending_returned_is_v237: 237, 0 => "V237";
    request_reused_while_in_use_is_v290: 251, 0 => "V290";
    more_output_than_room_is_v252: 252, 0 => "V252";
    completion_routine_of_a_request_not_sent_is_v288: 288, 0 => "V288";
    break_point_left_in_is_v301: 301, 0 => "V301";
    remove_lock_held_at_return_is_v294: 294, 0 => "V294";
}

#[test]
fn cancelled_request_that_is_never_completed_is_v267() {
    let stage = Stage::on(builder().parameter("Fault", RegistryValue::Dword(267)));
    let input = input(0, 0);
    let pending = stage
        .file()
        .begin(&Control::new(code(work::WAIT), &input, 0))
        .expect("it comes back");
    drop(pending.cancel());
    let _ended = pending.wait(Duration::from_secs(3));
    drop(stage.process.exit());
    let report = stage.end();
    assert!(report.has("V267"), "{report}");
}

#[test]
fn user_address_in_a_kernel_request_is_v259() {
    let stage = Stage::new();
    let page = stage.process.allocate(4096).expect("a page");
    drop(stage.send(fault(259), 0, page));
    let report = stage.end();
    assert!(report.has("V259"), "{report}");
}

#[test]
fn request_freed_while_in_use_is_v206() {
    let report = report_on(builder().force_pending(true), 206, 0);
    assert!(report.has("V206"), "{report}");
}

#[test]
fn pending_answer_from_below_not_passed_on_is_v227() {
    let stage = Stage::on(builder().force_pending(true));
    drop(stage.send(fault(227), 0, 0));
    let report = stage.end();
    assert!(report.has("V227"), "{report}");
}

#[test]
fn pending_answer_from_below_passed_on_is_not_reported() {
    let stage = Stage::on(builder().force_pending(true));
    stage.work(work::NOTHING);
    stage.work(work::WAIT_FOR_LOWER);
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}
