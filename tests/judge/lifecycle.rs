//! The life cycle: `AddDevice`, plug and play, power, removal.

use nt_host::RegistryValue;

use sanproxy_tests::image::{self, TestImage};

use crate::stage::{Stage, builder, caught_in_life, life_on, live, report_on};

caught_in_life! {
    device_deleted_while_attached_is_v198: 198, false => "V198";
    device_detached_twice_is_v199: 199, false => "V199";
    control_field_copied_along_is_v203: 203, false => "V203";
    status_changed_on_an_unknown_request_is_v211: 211, false => "V211";
    information_changed_on_an_unknown_request_is_v212: 212, false => "V212";
    failed_request_passed_down_is_v213: 213, false => "V213";
    status_turned_into_not_supported_is_v214: 214, false => "V214";
    stop_passed_down_without_a_status_is_v215: 215, false => "V215";
    stack_copied_without_a_completion_routine_is_v218: 218, false => "V218";
    device_not_detached_at_remove_is_v219: 219, false => "V219";
    device_not_deleted_at_remove_is_v220: 220, false => "V220";
    system_control_completed_is_v222: 222, false => "V222";
    system_control_completed_is_v292: 222, false => "V292";
    completion_routine_in_pageable_code_is_v226: 226, false => "V226";
    stop_completed_instead_of_passed_is_v229: 229, false => "V229";
    stop_completed_instead_of_passed_is_v276: 229, false => "V276";
    power_down_that_fails_is_v291: 291, false => "V291";
    power_request_completed_is_v230: 230, false => "V230";
    device_deleted_twice_is_v239: 239, false => "V239";
    device_detached_at_surprise_removal_is_v240: 240, true => "V240";
    failed_add_device_that_leaves_a_device_is_v273: 273, false => "V273";
    device_detached_before_remove_went_down_is_v274: 274, false => "V274";
    device_deleted_at_surprise_removal_is_v275: 275, true => "V275";
    device_still_initialising_is_v241: 241, false => "V241";
    both_ways_of_transfer_are_v243: 243, false => "V243";
    stop_that_fails_is_v245: 245, false => "V245";
    remove_that_fails_is_v249: 249, false => "V249";
    function_device_in_place_of_the_pdo_is_v247: 247, false => "V247";
    remove_lock_of_the_device_initialised_again_is_v254: 254, false => "V254";
    status_of_the_lower_driver_not_returned_is_v280: 280, false => "V280";
    device_started_before_the_bus_is_v286: 286, false => "V286";
    remove_lock_not_held_while_passing_is_v295: 295, false => "V295";
    remove_lock_waited_for_at_stop_is_v296: 296, false => "V296";
    interface_enabled_twice_is_v297: 301, false => "V297";
}

#[test]
fn request_completed_while_a_lower_driver_has_it_is_v281() {
    let report = life_on(builder().force_pending(true), 281, false);
    assert!(report.has("V281"), "{report}");
    assert!(report.has("V202"), "{report}");
}

#[test]
fn completion_routine_copied_along_is_v204() {
    let builder = builder().parameter("Fault", RegistryValue::Dword(204));
    let report = report_on(builder, 204, 0);
    assert!(report.has("V204"), "{report}");
}

#[test]
fn request_sent_to_itself_is_not_reported() {
    let report = report_on(builder(), 204, 0);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn power_pageable_flag_not_inherited_is_v238() {
    const POWER_PAGABLE: u32 = 0x2000;
    let host = builder()
        .pdo_flags(POWER_PAGABLE)
        .parameter("Fault", RegistryValue::Dword(238))
        .build()
        .expect("a host");
    drop(live(&host, false));
    let report = host.report();
    assert!(report.has("V238"), "{report}");
}

#[test]
fn transfer_flag_of_the_lower_device_dropped_is_v242() {
    const BUFFERED_IO: u32 = 0x4;
    let report = life_on(builder().pdo_flags(BUFFERED_IO), 242, false);
    assert!(report.has("V242"), "{report}");
}

#[test]
fn requests_that_nobody_knows_are_passed_and_not_reported() {
    let stage = Stage::new();
    stage.device.send_bogus_requests().expect("it comes back");
    let report = stage.end();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn driver_without_add_device_is_v221() {
    let host = builder().build().expect("a host");
    let minimal = host
        .load("minimal", &image::read(TestImage::Minimal))
        .expect("the driver loads");
    drop(minimal.add_device());
    assert!(host.report().has("V221"), "{}", host.report());
}

#[test]
fn transfer_flag_of_the_lower_device_inherited_is_not_reported() {
    const BUFFERED_IO: u32 = 0x4;
    let host = builder().pdo_flags(BUFFERED_IO).build().expect("a host");
    live(&host, false).expect("every step succeeds");
    let report = host.report();
    assert!(report.is_clean(), "{report}");
}
