//! Objects, handles, strings, remove locks.

use crate::stage::{Stage, caught, fault};

caught! {
    device_of_the_bus_deleted_is_v216: 216, 0 => "V216";
    remove_lock_released_with_another_tag_is_v253: 253, 0 => "V253";
    remove_lock_initialised_again_is_v254: 254, 0 => "V254";
    event_provider_never_registered_is_v256: 256, 0 => "V256";
    malformed_string_is_v261: 261, 0 => "V261";
    overlapping_copy_is_v262: 262, 0 => "V262";
    bad_handle_is_v263: 263, 0 => "V263";
    handle_in_the_callers_table_is_v264: 264, 0 => "V264";
    reference_dropped_more_often_than_taken_is_v266: 266, 0 => "V266";
    remove_lock_waited_for_in_a_request_is_v296: 296, 0 => "V296";
}

#[test]
fn user_address_given_to_a_system_service_is_v260() {
    let stage = Stage::new();
    let page = stage.process.allocate(4096).expect("a page");
    drop(stage.send(fault(260), 0, page));
    let report = stage.end();
    assert!(report.has("V260"), "{report}");
}
