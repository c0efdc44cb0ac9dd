//! The driver's events: each when it should be, with the right fields, and nothing that must not be known.
//!
//! Cites security.md: C25; verifier-rules.md: V256, V257; issue 4, item 7.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use nt_host::{RegistryValue, TraceEvent, TraceValue, USER_LIMIT};
use sanproxy_abi::{
    ControlCode, Error, Kind,
    wire::{ByteCount, Choice, Header, RangeStart, Reserved, SecureInput, SecureOutput, UserRange},
};
use sanproxy_provider::{Access, RegisterOptions, UserBufferOptions};
use sanproxy_tests::{
    image::{self, TestImage},
    stage::{Setting, Stage, accepted},
    trace::{NAME, PROVIDER, events},
    wire::ask,
};

/// A setting under which the ninth page is one too many.
fn tight() -> Setting {
    Setting::default().parameter("MaximumBytesPerFile", RegistryValue::Dword(32 << 10))
}

/// The device is added, and somebody listens.
fn listening(setting: Setting) -> Stage {
    let stage = setting.added().expect("the device is added");
    let listen = stage.host.enable_provider(PROVIDER, 0, u64::MAX);
    listen.expect("the driver has heard of it");
    stage
}

fn started(setting: Setting) -> Stage {
    let stage = listening(setting);
    accepted(stage.device.start()).expect("the device starts");
    stage
}

/// The one event of that name.
fn only(stage: &Stage, name: &str) -> TraceEvent {
    let mut found = events(&stage.host);
    found.retain(|event| event.name == name);
    match found.as_slice() {
        [event] => event.clone(),
        _ => panic!("{} events {name}: {found:?}", found.len()),
    }
}

fn names(stage: &Stage) -> Vec<String> {
    let events = events(&stage.host);
    events.into_iter().map(|event| event.name).collect()
}

fn finish(stage: Stage) {
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}

fn status(event: &TraceEvent) -> u32 {
    match event.field("Status") {
        Some(TraceValue::Status(status)) => status.0,
        other => panic!("{other:?} is no status"),
    }
}

#[test]
fn provider_has_the_identifier_that_tools_make_from_its_name() {
    let made = tracelogging::Guid::from_name(NAME).to_bytes_le();
    let mut ours = PROVIDER.data1.to_le_bytes().to_vec();
    ours.extend(PROVIDER.data2.to_le_bytes());
    ours.extend(PROVIDER.data3.to_le_bytes());
    ours.extend(PROVIDER.data4);
    assert_eq!(made.as_slice(), ours);
}

#[test]
fn start_of_the_device_is_one_event_with_its_status() {
    let stage = started(Setting::default());
    let event = only(&stage, "Start");
    assert_eq!((event.provider.as_str(), status(&event)), (NAME, 0));
    finish(stage);
}

#[test]
fn failed_start_is_one_event_with_its_status() {
    let stage = listening(Setting::default());
    stage.host.faults().fail_from(1);
    let refused = accepted(stage.device.start());
    stage.host.faults().clear();
    assert!(refused.is_err());
    assert!(status(&only(&stage, "Start")) >= 0xC000_0000);
    finish(stage);
}

#[test]
fn stop_of_the_device_is_one_event_with_its_counts() {
    let stage = started(Setting::default());
    let (_process, provider) = stage.provider().expect("a provider");
    drop(provider.register(&RegisterOptions::common_buffer(4096)));
    drop(provider);
    accepted(stage.device.query_stop()).expect("nothing is registered");
    accepted(stage.device.stop()).expect("stopped");
    let event = only(&stage, "Stop");
    let counts = (event.number("Registered"), event.number("Released"));
    assert_eq!(counts, (Some(1), Some(1)));
    finish(stage);
}

#[test]
fn registration_is_one_event_with_kind_length_and_pieces() {
    let stage = started(Setting::default());
    let (_process, provider) = stage.provider().expect("a provider");
    let made = provider
        .register(&RegisterOptions::contiguous(1 << 20))
        .expect("memory");
    let event = only(&stage, "Register");
    assert_eq!(event.number("Kind"), Some(Kind::Contiguous.value().into()));
    assert_eq!(event.number("Length"), Some(1 << 20));
    assert_eq!(
        event.number("Pieces"),
        u64::try_from(made.pieces().len()).ok()
    );
    drop((made, provider));
    finish(stage);
}

#[test]
fn release_is_one_event_with_kind_and_length() {
    let stage = started(Setting::default());
    let (_process, provider) = stage.provider().expect("a provider");
    let made = provider
        .register(&RegisterOptions::common_buffer(8192))
        .expect("memory");
    assert!(!names(&stage).contains(&"Release".to_string()));
    made.release().expect("released");
    let event = only(&stage, "Release");
    let kind = u64::from(Kind::CommonBuffer.value());
    assert_eq!(
        (event.number("Kind"), event.number("Length")),
        (Some(kind), Some(8192))
    );
    drop(provider);
    finish(stage);
}

#[test]
fn registrations_left_open_are_released_in_one_event_each() {
    let stage = started(Setting::default());
    let (_process, provider) = stage.provider().expect("a provider");
    for _ in 0..3 {
        let made = provider.register(&RegisterOptions::common_buffer(4096));
        let _ = made.expect("memory").into_handle();
    }
    drop(provider);
    let count = |wanted: &str| names(&stage).iter().filter(|name| *name == wanted).count();
    assert_eq!((count("Register"), count("Release")), (3, 3));
    finish(stage);
}

#[test]
fn securing_and_unsecuring_are_one_event_each_with_access_and_length() {
    let stage = started(Setting::default());
    let (process, provider) = stage.provider().expect("a provider");
    let start = process.allocate(8192).expect("two pages");
    let secured = provider.secure(start + 10, 5000, Access::Write);
    let event = only(&stage, "Secure");
    let access = u64::from(Access::Write.value());
    assert_eq!(
        (event.number("Access"), event.number("Length")),
        (Some(access), Some(5000))
    );
    assert!(!names(&stage).contains(&"Unsecure".to_string()));
    secured.expect("secured").unsecure().expect("unsecured");
    assert_eq!(only(&stage, "Unsecure").number("Length"), Some(5000));
    drop(provider);
    finish(stage);
}

#[test]
fn range_left_secured_is_unsecured_in_one_event_when_the_file_is_closed() {
    let stage = started(Setting::default());
    let (process, file) = stage.open().expect("a file");
    let input = SecureInput {
        header: Header::of::<SecureInput>(),
        range: UserRange {
            start: RangeStart(process.allocate(4096).expect("a page")),
            length: ByteCount(7),
        },
        access: Choice(Access::Read.value()),
        reserved: Reserved(0),
    };
    let made = ask::<_, SecureOutput>(&file, ControlCode::Secure, &input);
    assert!(made.is_ok(), "{made:?}");
    assert_eq!(names(&stage), ["Start", "Secure"]);
    drop(file);
    assert_eq!(only(&stage, "Unsecure").number("Length"), Some(7));
    assert_eq!(names(&stage), ["Start", "Secure", "Unsecure"]);
    finish(stage);
}

#[test]
fn end_of_a_process_is_one_event_with_what_went_with_it() {
    let stage = started(Setting::default());
    let (process, provider) = stage.provider().expect("a provider");
    let start = process.allocate(8192).expect("two pages");
    let secured = provider.secure(start, 8192, Access::Read).expect("secured");
    let own = UserBufferOptions::new(start, 8192, Access::Read).allow_pieces();
    let own = provider.register_user_buffer(&own).expect("registered");
    let mapped = provider
        .register(&RegisterOptions::common_buffer(4096).map())
        .expect("memory");
    process.exit().expect("killed");
    // A killed process's library does nothing any more.
    std::mem::forget((secured, own, mapped, provider));
    let event = only(&stage, "ProcessExit");
    let told = ["Unmapped", "Released", "Unsecured"].map(|field| event.number(field));
    assert_eq!(told, [Some(1); 3]);
    let count = |wanted: &str| names(&stage).iter().filter(|name| *name == wanted).count();
    assert_eq!((count("Secure"), count("Unsecure")), (1, 1));
    finish(stage);
}

#[test]
fn end_of_a_process_that_holds_nothing_is_not_told() {
    let stage = started(Setting::default());
    let (process, provider) = stage.provider().expect("a provider");
    drop(provider);
    process.exit().expect("the process ends");
    assert_eq!(names(&stage), ["Start"]);
    finish(stage);
}

#[test]
fn failure_is_one_event_with_its_cause_and_status() {
    let stage = started(Setting::default());
    let (_process, provider) = stage.provider().expect("a provider");
    let refused = provider.register(&RegisterOptions::common_buffer(0));
    assert!(refused.is_err());
    let event = only(&stage, "Failure");
    assert_eq!(
        event.number("Cause"),
        u64::try_from(Error::Length.index()).ok()
    );
    assert_eq!(status(&event), Error::Length.status().0);
    drop((refused, provider));
    finish(stage);
}

#[test]
fn exceeded_quota_is_one_event_with_what_is_used() {
    let stage = started(tight());
    let (_process, provider) = stage.provider().expect("a provider");
    let held = provider
        .register(&RegisterOptions::common_buffer(32 << 10))
        .expect("exactly the quota");
    let over = provider.register(&RegisterOptions::common_buffer(4096));
    assert!(over.is_err());
    let event = only(&stage, "Quota");
    assert_eq!(
        event.number("Cause"),
        u64::try_from(Error::FileQuota.index()).ok()
    );
    assert_eq!(event.number("FileBytes"), Some(32 << 10));
    assert_eq!(event.number("FileRegistrations"), Some(1));
    assert_eq!(event.number("DeviceBytes"), Some(32 << 10));
    assert_eq!(event.number("DeviceRegistrations"), Some(1));
    drop((over, held, provider));
    finish(stage);
}

#[test]
fn surprise_removal_is_one_event_with_what_was_registered() {
    let stage = started(Setting::default());
    let (_process, provider) = stage.provider().expect("a provider");
    let made = provider
        .register(&RegisterOptions::common_buffer(4096))
        .expect("memory");
    accepted(stage.device.surprise_removal()).expect("the device is gone");
    assert_eq!(
        only(&stage, "SurpriseRemoval").number("Registrations"),
        Some(1)
    );
    drop((made, provider));
    finish(stage);
}

#[test]
fn whole_life_is_told_in_order() {
    let host = tight().host().expect("a host");
    let listen = host.enable_provider(PROVIDER, 5, u64::MAX);
    listen.expect("nobody to tell yet");
    let file = image::read(TestImage::Sanproxy);
    let driver = host.load("sanproxy", &file).expect("loaded");
    let device = driver.add_device().expect("added");
    let stage = Stage {
        host: host.clone(),
        driver,
        device,
    };
    accepted(stage.device.start()).expect("started");
    let (_process, provider) = stage.provider().expect("a provider");
    let made = provider.register(&RegisterOptions::common_buffer(4096));
    let over = provider.register(&RegisterOptions::common_buffer(32 << 10));
    assert!(over.is_err());
    drop(over);
    drop(made);
    drop(provider);
    finish(stage);
    let told: Vec<_> = events(&host).into_iter().map(|event| event.name).collect();
    let expected = ["Start", "Register", "Quota", "Failure", "Release", "Remove"];
    assert_eq!(told, expected);
}

/// Whether an address of the kernel or in one of `ranges` is among the numbers of an event.
fn tells_an_address(event: &TraceEvent, ranges: &[(u64, u64)]) -> bool {
    event.fields.iter().any(|field| match field.value {
        TraceValue::Unsigned(value) | TraceValue::Hexadecimal(value) => {
            value >= USER_LIMIT
                || ranges
                    .iter()
                    .any(|(first, length)| value.checked_sub(*first).is_some_and(|at| at < *length))
        }
        // No event of the driver has any of these but the status, which is no address.
        TraceValue::Status(_) => false,
        TraceValue::Signed(_) | TraceValue::Boolean(_) | TraceValue::Text(_) => true,
    })
}

#[test]
fn no_value_of_any_event_is_an_address() {
    let stage = started(Setting::default());
    let (process, provider) = stage.provider().expect("a provider");
    let wishes = [
        RegisterOptions::common_buffer(4096).map(),
        RegisterOptions::common_buffer(2 << 20).low_memory(),
        RegisterOptions::contiguous(1 << 20).map(),
        RegisterOptions::common_buffer(4 << 20).allow_pieces().map(),
    ];
    let mut ranges = Vec::new();
    let mut kept = Vec::new();
    for wish in &wishes {
        let made = provider.register(wish).expect("memory");
        ranges.push((made.device_address(), made.length()));
        ranges.extend(made.user_address().map(|address| (address, made.length())));
        kept.push(made);
    }
    let own = process.allocate(16384).expect("memory");
    ranges.push((own, 16384));
    let secured = provider.secure(own, 16384, Access::ReadWrite);
    let registered = UserBufferOptions::new(own, 16384, Access::ReadWrite).allow_pieces();
    let registered = provider.register_user_buffer(&registered);
    let registered = registered.expect("registered");
    ranges.push((registered.device_address(), registered.length()));
    drop((secured, registered));
    let refused = provider.register(&RegisterOptions::common_buffer(u64::MAX));
    assert!(refused.is_err());
    drop((refused, kept, provider));
    let events = events(&stage.host);
    assert!(events.len() >= 14, "{events:?}");
    for event in &events {
        assert!(!tells_an_address(event, &ranges), "{event}");
        assert!(!tells_an_address(event, &[]), "{event}");
    }
    // The proof that this can fail: with a range that a length lies in, the same event tells an address.
    let length = events.iter().find(|event| event.name == "Register");
    assert!(tells_an_address(length.expect("one"), &[(4096, 1)]));
    finish(stage);
}

#[test]
fn nothing_is_written_when_nobody_listens() {
    let stage = Setting::default().started().expect("the device starts");
    let (_process, provider) = stage.provider().expect("a provider");
    drop(provider.register(&RegisterOptions::common_buffer(4096)));
    drop(provider);
    let host = stage.host.clone();
    finish(stage);
    let calls = host.calls();
    assert_eq!(calls.get("EtwWriteTransfer"), None);
    assert_eq!(calls.get("EtwRegister"), Some(&1));
    assert_eq!(calls.get("EtwUnregister"), Some(&1));
}

#[test]
fn nothing_is_written_any_more_after_listening_has_ended() {
    let stage = started(Setting::default());
    let ended = stage.host.disable_provider(PROVIDER);
    ended.expect("the driver has heard of it");
    let before = stage.host.calls().get("EtwWriteTransfer").copied();
    let (_process, provider) = stage.provider().expect("a provider");
    drop(provider.register(&RegisterOptions::common_buffer(4096)));
    drop(provider);
    assert_eq!(stage.host.calls().get("EtwWriteTransfer").copied(), before);
    assert_eq!(names(&stage), ["Start"]);
    finish(stage);
}

#[test]
fn listener_of_warnings_hears_no_registrations() {
    let stage = Setting::default().added().expect("the device is added");
    let listen = stage.host.enable_provider(PROVIDER, 3, u64::MAX);
    listen.expect("the driver has heard of it");
    accepted(stage.device.start()).expect("the device starts");
    let (_process, provider) = stage.provider().expect("a provider");
    drop(provider.register(&RegisterOptions::common_buffer(4096)));
    let refused = provider.register(&RegisterOptions::common_buffer(0));
    assert!(refused.is_err());
    assert_eq!(names(&stage), ["Failure"]);
    assert_eq!(stage.host.calls().get("EtwWriteTransfer"), Some(&1));
    drop((refused, provider));
    finish(stage);
}

#[test]
fn failing_registration_of_the_provider_leaves_the_driver_at_work() {
    let host = Setting::default().host().expect("a host");
    host.faults().fail_routine("EtwRegister", 1);
    let file = image::read(TestImage::Sanproxy);
    let driver = host.load("sanproxy", &file).expect("loaded all the same");
    assert_eq!(host.faults().injected(), ["EtwRegister"]);
    host.faults().clear();
    let device = driver.add_device().expect("added");
    let stage = Stage {
        host: host.clone(),
        driver,
        device,
    };
    let listen = host.enable_provider(PROVIDER, 0, u64::MAX);
    listen.expect("nobody to tell");
    accepted(stage.device.start()).expect("started");
    let (_process, provider) = stage.provider().expect("a provider");
    let made = provider.register(&RegisterOptions::common_buffer(4096));
    made.expect("memory").release().expect("released");
    drop(provider);
    finish(stage);
    assert_eq!(host.etw_events(), []);
    assert_eq!(host.calls().get("EtwUnregister"), None);
}
