//! The reserve that is taken when the device starts serves when the system has no memory any more.
//!
//! Cites san.md: R21; security.md: C24.

use sanproxy_abi::Method;
use sanproxy_provider::{RegisterOptions, Registration};
use sanproxy_tests::{
    channel::HostChannel,
    scene::{Scene, scene},
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
