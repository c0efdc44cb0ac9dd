//! The reserve that is taken when the device starts serves when the system has no memory any more.
//!
//! Cites san.md: R21; security.md: C24.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use nt_host::{File, Host, RegistryValue};
use sanproxy_abi::{
    Method, RegisterFlags, Status,
    wire::{Choice, Flags, RegisterOutput},
};
use sanproxy_provider::{RegisterOptions, Registration};
use sanproxy_tests::{
    channel::HostChannel,
    scene::{Scene, scene},
    stage::Setting,
    wire::{good_register, register, release},
};

const KIB: u64 = 1 << 10;

/// Registers a page while the adapter has no memory.
fn from_the_reserve(scene: &Scene) -> Registration<HostChannel> {
    scene
        .stage
        .host
        .faults()
        .fail_routine("AllocateCommonBufferWithBounds", 1);
    let options = RegisterOptions::common_buffer(4 * KIB).map();
    let registration = scene
        .provider
        .register(&options)
        .expect("the reserve has a page");
    scene.stage.host.faults().clear();
    assert_eq!(registration.method(), Method::Reserve);
    registration
}

#[test]
fn reserve_serves_when_the_system_has_no_memory() {
    let scene = scene();
    let registration = from_the_reserve(&scene);
    scene
        .nic
        .write(registration.device_address(), &[3])
        .expect("the NIC reaches it");
    let mut seen = [0];
    registration.read_at(0, &mut seen).expect("mapped");
    assert_eq!(seen, [3]);
    drop(registration);
    scene.finish();
}

#[test]
fn reserve_page_is_zero_again_for_the_next_owner() {
    let scene = scene();
    let first = from_the_reserve(&scene);
    let address = first.device_address();
    first.write_at(0, &[0xEE; 4096]).expect("mapped");
    first.release().expect("released");
    // The device is late: the reserve stays within its reach.
    scene
        .nic
        .write(address, &[0xDD; 64])
        .expect("the reserve is reachable at all times");
    // The whole reserve: the page of before is among them.
    let all: Vec<_> = (0..256).map(|_| from_the_reserve(&scene)).collect();
    assert!(
        all.iter()
            .any(|registration| registration.device_address() == address)
    );
    for registration in &all {
        let mut seen = vec![0xFF; 4096];
        registration.read_at(0, &mut seen).expect("mapped");
        assert!(seen.iter().all(|byte| *byte == 0));
    }
    drop(all);
    scene.finish();
}

/// Registers a mapped page through a file while the adapter has no memory.
fn mapped_from_the_reserve(host: &Host, file: &File) -> Result<RegisterOutput, Status> {
    host.faults()
        .fail_routine("AllocateCommonBufferWithBounds", 1);
    let mut input = good_register();
    input.flags = Flags(RegisterFlags::MAP.bits());
    let made = register(file, &input);
    host.faults().clear();
    if let Ok(made) = &made {
        assert_eq!(made.method, Choice(Method::Reserve.value()));
    }
    made
}

/// Closes the handle, and has `meanwhile` done when the views have been taken out of the file, before they are unmapped.
fn close(
    host: &Arc<Host>,
    file: &Arc<File>,
    meanwhile: impl FnOnce() + Send + 'static,
) -> Receiver<()> {
    let (tell, unmapping) = mpsc::channel();
    host.at_routine("MmUnmapLockedPages", 1, move || {
        let _ = tell.send(());
        meanwhile();
    });
    let file = Arc::clone(file);
    thread::spawn(move || file.close_handle());
    unmapping
}

#[test]
fn page_of_the_reserve_has_no_next_owner_while_a_process_still_sees_it() {
    let stage = Setting::default()
        .parameter("ReserveBytes", RegistryValue::Dword(4096))
        .started()
        .expect("the device starts");
    let (_owner, file) = stage.open().expect("a file");
    let (_next, next_file) = stage.open().expect("another file");
    let (file, next_file) = (Arc::new(file), Arc::new(next_file));
    let made = mapped_from_the_reserve(&stage.host, &file).expect("the one page");
    let full = mapped_from_the_reserve(&stage.host, &next_file).map(|_| ());
    assert_eq!(full, Err(Status::INSUFFICIENT_RESOURCES));

    let (released, is_released) = mpsc::channel();
    let (answer, answered): (Sender<Result<(), Status>>, _) = mpsc::channel();
    let (host, closing, asking) = (
        Arc::clone(&stage.host),
        Arc::clone(&file),
        Arc::clone(&next_file),
    );
    // A release is inside of the driver (it has entered the device, and is about to enter the file) when the last handle is
    // closed. It ends before the cleanup has unmapped anything.
    stage
        .host
        .at_routine("ExAcquireRundownProtection", 2, move || {
            let other = Arc::clone(&host);
            let unmapping = close(&host, &closing, move || {
                let _ = is_released.recv();
                let next = mapped_from_the_reserve(&other, &asking).map(|_| ());
                let _ = answer.send(next);
            });
            let _ = unmapping.recv();
        });
    release(&file, made.handle).expect("released");
    released.send(()).expect("somebody waits");
    let next = answered.recv().expect("an answer");
    assert_eq!(
        next,
        Err(Status::INSUFFICIENT_RESOURCES),
        "it is still seen"
    );

    // When it is unmapped, it is free.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while mapped_from_the_reserve(&stage.host, &next_file).is_err() {
        assert!(std::time::Instant::now() < limit, "it is never given back");
        thread::yield_now();
    }
    // The threads let go of their handles when they end.
    for file in [&file, &next_file] {
        while Arc::strong_count(file) > 1 {
            assert!(std::time::Instant::now() < limit, "a thread does not end");
            thread::yield_now();
        }
    }
    drop((file, next_file));
    let report = stage.finish().expect("the driver unloads");
    assert!(report.is_clean(), "{report}");
}
