//! A driver that keeps the rules passes; one that breaks a rule is told which.

mod driver;

use std::time::Duration;

use driver::{Running, code, expect_rule, expect_rule_in_mode, load, load_into, run, start};
use nt_host::{Control, Host, HostError, NtStatus};

#[test]
fn whole_life_of_a_good_driver_has_no_finding() {
    let running = run(0);
    assert_eq!(running.control(0x81B).unwrap().status, NtStatus::SUCCESS);
    running.device.send_bogus_requests().unwrap();
    assert!(running.device.query_stop().unwrap().is_success());
    assert!(running.device.cancel_stop().unwrap().is_success());
    assert!(running.device.query_stop().unwrap().is_success());
    assert!(running.device.stop().unwrap().is_success());
    assert!(running.device.start().unwrap().is_success());
    assert!(running.device.query_remove().unwrap().is_success());
    assert!(running.device.cancel_remove().unwrap().is_success());
    assert!(running.device.send_power(2, true, 4).unwrap().is_success());
    let host = running.end();
    assert!(host.report().is_clean(), "{}", host.report());
    assert_eq!(host.debug_output(), ["value 42\n"]);
    let events = host.etw_events();
    assert_eq!(
        (events.len(), events[0].id, &events[0].data[0][..]),
        (1, 42, &b"hello"[..])
    );
}

#[test]
fn whole_life_with_pending_lower_drivers_has_no_finding() {
    let host = Host::builder().force_pending(true).build().unwrap();
    let (host, driver) = load_into(host, 0);
    let running = start(host, driver.unwrap());
    running.device.query_stop().unwrap();
    running.device.stop().unwrap();
    running.device.start().unwrap();
    running.device.send_bogus_requests().unwrap();
    let host = running.end();
    assert!(host.report().is_clean(), "{}", host.report());
}

#[test]
fn echo_copies_exactly_what_was_reported() {
    let running = run(0);
    let mut output = [0xEE; 8];
    let result = running
        .file
        .device_control(code(0x800), &[1, 2, 3, 4], &mut output)
        .unwrap();
    assert_eq!((result.status, result.information), (NtStatus::SUCCESS, 4));
    assert_eq!(output, [1, 2, 3, 4, 0xEE, 0xEE, 0xEE, 0xEE]);
}

#[test]
fn pending_request_when_cancelled_ends_cancelled() {
    let running = run(0);
    let pending = running
        .file
        .begin(&Control::new(code(0x807), &[], 0))
        .unwrap();
    assert!(pending.result().is_none());
    assert!(pending.cancel().unwrap());
    assert_eq!(
        pending.wait(Duration::from_secs(1)).unwrap().status,
        NtStatus::CANCELLED
    );
    drop(pending);
    let host = running.end();
    assert!(host.report().is_clean(), "{}", host.report());
}

#[test]
fn pending_request_of_an_exiting_thread_is_cancelled() {
    let running = run(0);
    let thread = running.process.create_thread().unwrap();
    let pending = thread
        .run(|| running.file.begin(&Control::new(code(0x807), &[], 0)))
        .unwrap();
    thread.exit().unwrap();
    assert_eq!(pending.result().unwrap().status, NtStatus::CANCELLED);
    assert!(
        running.host.report().is_clean(),
        "{}",
        running.host.report()
    );
}

#[test]
fn pending_request_completed_by_another_request_succeeds() {
    let running = run(0);
    let pending = running
        .file
        .begin(&Control::new(code(0x807), &[], 0))
        .unwrap();
    running.control(0x808).unwrap();
    assert_eq!(pending.result().unwrap().status, NtStatus::SUCCESS);
    assert!(
        running.host.report().is_clean(),
        "{}",
        running.host.report()
    );
}

#[test]
fn process_exit_with_an_open_handle_closes_it_and_is_clean() {
    let Running {
        host,
        driver,
        device,
        process,
        file,
    } = run(0);
    process.exit().unwrap();
    let after = file.device_control(code(0x800), &[], &mut []);
    assert!(matches!(
        after,
        Err(HostError::Status(NtStatus::INVALID_HANDLE))
    ));
    drop(file);
    device.remove().unwrap();
    driver.unload().unwrap();
    assert!(host.report().is_clean(), "{}", host.report());
}

#[test]
fn handle_when_duplicated_keeps_the_file_past_its_owner() {
    let Running {
        host,
        driver,
        device,
        process,
        file,
    } = run(0);
    let other = host.create_process("other.exe").unwrap();
    let copy = file.duplicate(&other).unwrap();
    process.exit().unwrap();
    assert!(copy.device_control(code(0x800), &[], &mut []).is_ok());
    assert!(matches!(
        device.remove(),
        Err(HostError::Status(NtStatus::DEVICE_BUSY))
    ));
    copy.close().unwrap();
    drop(file);
    device.remove().unwrap();
    driver.unload().unwrap();
    assert!(host.report().is_clean(), "{}", host.report());
}

#[test]
fn surprise_removal_with_an_open_handle_removes_after_its_close() {
    let Running {
        host,
        driver,
        device,
        process: _process,
        file,
    } = run(0);
    device.surprise_removal().unwrap();
    assert!(!device.is_removed());
    file.close().unwrap();
    assert!(device.is_removed());
    driver.unload().unwrap();
    assert!(host.report().is_clean(), "{}", host.report());
}

#[test]
fn device_before_start_cannot_be_opened_by_interface() {
    let (host, driver) = load(0);
    let _device = driver.unwrap().add_device().unwrap();
    let process = host.create_process("early.exe").unwrap();
    let opened = process.open(&driver::INTERFACE);
    assert!(matches!(
        opened,
        Err(HostError::Status(NtStatus::OBJECT_NAME_NOT_FOUND))
    ));
}

#[test]
fn every_kernel_call_failed_once_during_add_and_start_leaves_nothing() {
    for nth in 1.. {
        let (host, driver) = load(0);
        let driver = driver.unwrap();
        host.faults().fail_nth(nth);
        let seen = host.faults().seen();
        if let Ok(device) = driver.add_device() {
            drop(device.start());
            host.faults().clear();
            device.remove().unwrap();
        }
        host.faults().clear();
        let asked = host.faults().seen() - seen;
        driver.unload().unwrap();
        assert!(host.report().is_clean(), "call {nth}: {}", host.report());
        if asked < nth {
            return;
        }
    }
}

#[test]
fn many_threads_in_one_driver_disturb_nobody() {
    let running = run(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    running.control(0x81B).unwrap();
                }
            });
        }
    });
    let host = running.end();
    assert!(host.report().is_clean(), "{}", host.report());
}

#[test]
fn opener_killed_at_any_call_of_another_process_leaves_nothing() {
    for nth in 1..30 {
        let Running {
            host,
            driver,
            device,
            process,
            file,
        } = run(0);
        let other = host.create_process("other.exe").unwrap();
        let copy = file.duplicate(&other).unwrap();
        let victim = process.clone();
        host.at_call(nth, move || victim.exit().unwrap());
        let sent = copy.device_control(code(0x81B), &[1; 16], &mut [0; 16]);
        assert_eq!(sent.unwrap().status, NtStatus::SUCCESS);
        process.exit().unwrap();
        copy.close().unwrap();
        drop(file);
        device.remove().unwrap();
        driver.unload().unwrap();
        assert!(host.report().is_clean(), "call {nth}: {}", host.report());
    }
}

#[test]
fn dead_host_when_called_again_refuses() {
    let running = run(0);
    assert!(matches!(running.control(0x81A), Err(HostError::Stopped(_))));
    assert!(matches!(running.control(0x800), Err(HostError::Stopped(_))));
    assert!(running.device.start().is_err());
}

macro_rules! broken_requests {
    ($($name:ident: $function:literal => $rule:literal;)*) => {
        $(#[test] fn $name() { expect_rule($function, $rule); })*
    };
}

broken_requests! {
    information_beyond_the_buffer_is_v252: 0x801 => "V252";
    second_completion_is_v196: 0x802 => "V196";
    irp_touched_after_completion_is_v197: 0x803 => "V197";
    completion_under_a_spin_lock_is_v193: 0x804 => "V193";
    forgotten_request_is_v225: 0x805 => "V225";
    status_unlike_the_completion_is_v224: 0x806 => "V224";
    marked_pending_but_not_returned_is_v237: 0x809 => "V237";
    raised_irql_at_return_is_v187: 0x80A => "V187";
    inverted_lock_order_is_v076: 0x80B => "V076";
    recursive_spin_lock_is_v075: 0x80C => "V075";
    release_of_a_free_lock_is_v081: 0x80D => "V081";
    push_lock_without_a_region_is_v098: 0x80E => "V098";
    region_not_left_is_v091: 0x80F => "V091";
    dereference_without_reference_is_v266: 0x810 => "V266";
    uninitialised_event_is_v077: 0x811 => "V077";
    attached_at_return_is_v309: 0x812 => "V309";
    null_access_is_v300: 0x813 => "V300";
    zw_call_at_apc_level_is_v073: 0x814 => "V073";
    foreign_remove_lock_tag_is_v253: 0x816 => "V253";
    endless_wait_at_dispatch_level_is_v095: 0x817 => "V095";
    wait_without_end_is_v308: 0x818 => "V308";
    overlapping_memcpy_is_v262: 0x819 => "V262";
    bug_check_is_v308: 0x81A => "V308";
    lock_held_at_return_is_v088: 0x81C => "V088";
    write_past_the_device_extension_is_v010: 0x81E => "V010";
    detach_without_attach_is_v309: 0x820 => "V309";
    remove_lock_kept_is_v294: 0x821 => "V294";
    error_with_a_byte_count_is_v252: 0x822 => "V252";
    rundown_wait_of_a_holder_is_v308: 0x823 => "V308";
    pending_returned_but_not_marked_is_v236: 0x824 => "V236";
    interrupts_disabled_is_v090: 0x825 => "V090";
    completion_with_status_pending_is_v188: 0x826 => "V188";
}

macro_rules! broken_modes {
    ($($name:ident: $mode:literal => $rule:literal;)*) => {
        $(#[test] fn $name() { expect_rule_in_mode($mode, $rule); })*
    };
}

broken_modes! {
    initializing_flag_left_is_v241: 1 => "V241";
    power_flag_not_inherited_is_v238: 2 => "V238";
    attached_after_remove_is_v219: 3 => "V219";
    device_left_after_remove_is_v220: 3 => "V220";
    deletion_before_pass_down_is_v274: 4 => "V274";
    unknown_pnp_request_completed_is_v229: 5 => "V229";
    query_stop_without_status_is_v215: 6 => "V215";
    interface_before_the_bus_is_v286: 7 => "V286";
    interface_left_enabled_is_v297: 8 => "V297";
    wmi_request_completed_is_v222: 9 => "V222";
    device_left_by_failed_add_is_v273: 10 => "V273";
    detached_in_surprise_removal_is_v240: 11 => "V240";
    callback_left_at_unload_is_v298: 13 => "V298";
    registry_handle_left_is_v268: 14 => "V268";
    forwarded_without_remove_lock_is_v295: 15 => "V295";
    provider_left_at_unload_is_v257: 16 => "V257";
    extended_callback_without_integrity_is_v299: 17 => "V299";
    information_changed_on_unknown_request_is_v212: 18 => "V212";
}

#[test]
fn string_not_freed_is_a_leak() {
    let (host, driver) = load(12);
    let driver = driver.unwrap();
    let device = driver.add_device().unwrap();
    device.start().unwrap();
    device.remove().unwrap();
    driver.unload().unwrap();
    let report = host.report();
    assert!(
        report.leaks.iter().any(|leak| leak.kind == "string"),
        "{report}"
    );
}

#[test]
fn reference_left_on_a_file_delays_its_close() {
    let running = run(0);
    running.control(0x815).unwrap();
    running.file.close().unwrap();
    assert!(matches!(
        running.device.remove(),
        Err(HostError::Status(NtStatus::DEVICE_BUSY))
    ));
}
