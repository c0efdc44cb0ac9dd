//! The life of the driver and its device: every legal order of PnP requests, and what requests get meanwhile.
//!
//! Cites san.md: R01, R02, R07; security.md: C03, C04, C30, C35, C36; io-pnp-rules.md sections 2-5.

use nt_host::{HostError, NtStatus};
use sanproxy_abi::{Error, Status};
use sanproxy_provider::RegisterOptions;
use sanproxy_tests::{
    stage::{INTERFACE, Setting, Stage, accepted},
    wire::{good_register, register, release},
};

fn assert_clean(stage: Stage) {
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

#[test]
fn add_and_remove_without_start_leaves_nothing() {
    let stage = Setting::default().added().expect("the device is added");
    assert_clean(stage);
}

#[test]
fn start_and_remove_leaves_nothing() {
    let stage = Setting::default().started().expect("the device starts");
    assert_clean(stage);
}

#[test]
fn load_and_unload_without_a_device_leaves_nothing() {
    let host = Setting::default().host().expect("a host");
    let image = sanproxy_tests::image::read(sanproxy_tests::image::TestImage::Sanproxy);
    let driver = host.load("sanproxy", &image).expect("loaded");
    driver.unload().expect("unloaded");
    let report = host.report();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn stop_and_start_again_serves_requests() {
    let stage = Setting::default().started().expect("the device starts");
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.stop()).expect("a stop");
    accepted(stage.device.start()).expect("a second start");
    let (_, file) = stage.open().expect("a file");
    let made = register(&file, &good_register()).expect("a page");
    release(&file, made.handle).expect("released");
    drop(file);
    assert_clean(stage);
}

#[test]
fn start_without_a_stop_gives_back_what_the_device_had() {
    let stage = Setting::default().started().expect("the device starts");
    let (_, file) = stage.open().expect("a file");
    let old = register(&file, &good_register()).expect("a page");
    let nic = stage.device.bus_master();
    nic.write(old.device_address.0, &[1]).expect("reachable");
    accepted(stage.device.send_pnp(0)).expect("a second start");
    assert!(nic.write(old.device_address.0, &[1]).is_err());
    nic.domain().take_faults();
    let error = release(&file, old.handle).expect_err("it went with the old adapter");
    assert_eq!(error, Error::UnknownHandle.status());
    let new = register(&file, &good_register()).expect("a page of the new adapter");
    release(&file, new.handle).expect("released");
    drop(file);
    assert_clean(stage);
}

#[test]
fn query_stop_with_a_registration_is_refused_and_the_registration_lives() {
    let stage = Setting::default().started().expect("the device starts");
    let (_, file) = stage.open().expect("a file");
    let made = register(&file, &good_register()).expect("a page");
    assert!(accepted(stage.device.query_stop()).is_err());
    accepted(stage.device.cancel_stop()).expect("a cancel");
    release(&file, made.handle).expect("still there");
    drop(file);
    assert_clean(stage);
}

#[test]
fn cancelled_stop_serves_requests_again() {
    let stage = Setting::default().started().expect("the device starts");
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.cancel_stop()).expect("a cancel");
    let (_, file) = stage.open().expect("a file");
    register(&file, &good_register()).expect("a page");
    drop(file);
    assert_clean(stage);
}

#[test]
fn cancelled_removal_serves_requests_again() {
    let stage = Setting::default().started().expect("the device starts");
    accepted(stage.device.query_remove()).expect("nothing is open");
    accepted(stage.device.cancel_remove()).expect("a cancel");
    let (_, file) = stage.open().expect("a file");
    register(&file, &good_register()).expect("a page");
    drop(file);
    assert_clean(stage);
}

#[test]
fn cancelled_removal_leaves_a_pending_stop_pending() {
    let stage = Setting::default().started().expect("the device starts");
    let (_, file) = stage.open().expect("a file");
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.query_remove()).expect("nothing is registered");
    accepted(stage.device.cancel_remove()).expect("a cancel");
    assert_eq!(
        register(&file, &good_register()),
        Err(Error::NotStarted.status())
    );
    accepted(stage.device.cancel_stop()).expect("a cancel");
    register(&file, &good_register()).expect("a page");
    drop(file);
    assert_clean(stage);
}

#[test]
fn disabled_and_enabled_device_serves_requests_again() {
    let stage = Setting::default().started().expect("the device starts");
    let (_, file) = stage.open().expect("a file");
    register(&file, &good_register()).expect("a page");
    drop(file);
    accepted(stage.device.remove()).expect("disabled");
    stage.device.add_again().expect("enabled");
    accepted(stage.device.start()).expect("a start");
    let (_, file) = stage.open().expect("a file");
    register(&file, &good_register()).expect("a page");
    drop(file);
    assert_clean(stage);
}

#[test]
fn request_after_stop_is_not_ready() {
    let stage = Setting::default().started().expect("the device starts");
    let (_, file) = stage.open().expect("a file");
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.stop()).expect("a stop");
    assert_eq!(
        register(&file, &good_register()),
        Err(Error::NotStarted.status())
    );
    accepted(stage.device.start()).expect("a second start");
    register(&file, &good_register()).expect("a page");
    drop(file);
    assert_clean(stage);
}

#[test]
fn request_before_start_is_not_ready() {
    let stage = Setting::default().added().expect("the device is added");
    let process = stage.host.create_process("early.exe").expect("a process");
    // Past the PnP manager, which would not let it through before the start.
    match process.open_device(&stage.device) {
        Ok(file) => {
            assert_eq!(
                register(&file, &good_register()),
                Err(Error::NotStarted.status())
            );
        }
        Err(HostError::Status(status)) => assert_eq!(status, NtStatus(Status::DEVICE_NOT_READY.0)),
        Err(error) => panic!("{error}"),
    }
    assert_clean(stage);
}

#[test]
fn surprise_removal_takes_everything_and_late_requests_fail() {
    let stage = Setting::default().started().expect("the device starts");
    let (process, provider) = stage.provider().expect("a provider");
    let registration = provider
        .register(&RegisterOptions::common_buffer(1 << 20).map())
        .expect("memory");
    let address = registration.user_address().expect("mapped");
    accepted(stage.device.surprise_removal()).expect("the device is gone");
    assert!(
        process.read(address, &mut [0]).is_err(),
        "the mapping is gone"
    );
    let late = provider
        .register(&RegisterOptions::common_buffer(4096))
        .err()
        .expect("too late");
    assert_eq!(late.status(), Some(Error::Removed.status()));
    drop(registration);
    drop(provider);
    assert_clean(stage);
}

#[test]
fn removal_is_refused_while_memory_is_registered() {
    let stage = Setting::default().started().expect("the device starts");
    let (_, file) = stage.open().expect("a file");
    let made = register(&file, &good_register()).expect("a page");
    assert!(accepted(stage.device.query_remove()).is_err());
    accepted(stage.device.cancel_remove()).expect("a cancel");
    release(&file, made.handle).expect("still there");
    drop(file);
    assert_clean(stage);
}

#[test]
fn two_devices_of_one_driver_do_not_share_registrations() {
    let stage = Setting::default().started().expect("the device starts");
    let second = stage.driver.add_device().expect("a second device");
    accepted(second.start()).expect("a second start");
    let process = stage.host.create_process("both.exe").expect("a process");
    let first_file = process.open_device(&stage.device).expect("the first");
    let second_file = process.open_device(&second).expect("the second");
    let made = register(&first_file, &good_register()).expect("a page");
    assert_eq!(
        release(&second_file, made.handle),
        Err(Error::UnknownHandle.status())
    );
    drop((first_file, second_file));
    accepted(second.remove()).expect("removed");
    assert_clean(stage);
}

#[test]
fn power_and_system_control_requests_pass_down() {
    let stage = Setting::default().started().expect("the device starts");
    // IRP_MN_QUERY_POWER and IRP_MN_SET_POWER of the system, to sleep and back.
    accepted(stage.device.send_power(0x03, true, 4)).expect("a power query");
    accepted(stage.device.send_power(0x02, true, 4)).expect("a power change");
    accepted(stage.device.send_power(0x02, true, 1)).expect("a power change");
    let answer = stage.device.send_system_control(0).expect("passed down");
    assert!(!answer.is_success(), "the root bus knows no WMI");
    stage
        .device
        .send_bogus_requests()
        .expect("the driver survives what it does not know");
    assert_clean(stage);
}

#[test]
fn open_with_a_name_below_the_device_fails_and_leaves_nothing() {
    let stage = Setting::default().started().expect("the device starts");
    let process = stage.host.create_process("namer.exe").expect("a process");
    for name in [
        "\\",
        "\\a",
        "\\a\\b",
        ":stream",
        "\\very-long-name-very-long-name-very-long-name-very-long-name",
    ] {
        assert!(process.open_with(&INTERFACE, name).is_err(), "{name}");
    }
    assert_clean(stage);
}

#[test]
fn driver_is_loaded_and_unloaded_many_times_without_growth() {
    let host = Setting::default().host().expect("a host");
    let image = sanproxy_tests::image::read(sanproxy_tests::image::TestImage::Sanproxy);
    for _ in 0..50 {
        let driver = host.load("sanproxy", &image).expect("loaded");
        let device = driver.add_device().expect("added");
        accepted(device.start()).expect("started");
        accepted(device.remove()).expect("removed");
        driver.unload().expect("unloaded");
    }
    let report = host.report();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn minimal_driver_loads_and_unloads() {
    // The host runs drivers that it has never heard of.
    let host = Setting::default().host().expect("a host");
    let image = sanproxy_tests::image::read(sanproxy_tests::image::TestImage::Minimal);
    let driver = host.load("minimal", &image).expect("loaded");
    driver.unload().expect("unloaded");
    let violations = host.report().violations;
    // It fills no dispatch table, and is told so; nothing else is wrong with it.
    assert!(
        violations.iter().all(|violation| violation.rule == "V221"),
        "{violations:?}"
    );
    assert!(host.report().leaks.is_empty());
}

/// The driver's last act of a request but two is to give the remove lock back: after it, the device may go. The driver stays
/// as long as the file is open, so it can still leave the critical region in which it held the lock; the last is to let go of
/// the file.
#[test]
fn request_uses_its_device_until_nothing_of_it_is_left() {
    let stage = Setting::default().started().expect("the device starts");
    let (_process, file) = stage.open().expect("a file");
    let total = |host: &nt_host::Host| host.calls().values().sum::<u64>();
    let before = total(&stage.host);
    let _ = sanproxy_tests::wire::statistics(&file);
    let calls = total(&stage.host) - before;
    let released = |host: &nt_host::Host| host.calls().get("IoReleaseRemoveLockEx").copied();
    let earlier = released(&stage.host);
    let (tell, before_the_last_three) = std::sync::mpsc::channel();
    let host = std::sync::Arc::clone(&stage.host);
    // Before the call that gives it back.
    stage.host.at_call(calls - 3, move || {
        let _ = tell.send(released(&host));
    });
    let _ = sanproxy_tests::wire::statistics(&file);
    assert_eq!(before_the_last_three.recv(), Ok(earlier));
    drop(file);
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}
