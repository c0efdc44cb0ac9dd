//! No file, and no device, has more than the administrator allows.
//!
//! Cites san.md: R54; security.md: C32.

use nt_host::RegistryValue;
use sanproxy_abi::Error;
use sanproxy_provider::RegisterOptions;
use sanproxy_tests::{
    scene::{scene, scene_of},
    stage::Setting,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn quota_of_bytes_per_file_is_kept_to_the_byte() {
    let scene = scene_of(
        Setting::default().parameter("MaximumBytesPerFile", RegistryValue::Dword(64 << 10)),
    );
    let first = scene
        .provider
        .register(&RegisterOptions::common_buffer(60 * KIB))
        .expect("within the quota");
    let over = scene
        .provider
        .register(&RegisterOptions::common_buffer(8 * KIB))
        .err()
        .expect("over it");
    assert_eq!(over.status(), Some(Error::FileQuota.status()));
    let exact = scene
        .provider
        .register(&RegisterOptions::common_buffer(4 * KIB))
        .expect("exactly it");
    drop(first);
    let again = scene
        .provider
        .register(&RegisterOptions::common_buffer(60 * KIB))
        .expect("room returns");
    drop((exact, again));
    scene.finish();
}

#[test]
fn quota_counts_what_an_alignment_makes_the_driver_hold() {
    let quota = RegistryValue::Dword(64 << 10);
    let scene = scene_of(Setting::default().parameter("MaximumBytesPerFile", quota));
    let options = RegisterOptions::common_buffer(4 * KIB).alignment(GIB);
    // A page that happens to lie at a multiple of 1 GiB costs a page; any other costs up to 1 GiB more.
    let refused = (0..8)
        .find_map(|_| scene.provider.register(&options).err())
        .expect("not eight such pages");
    assert_eq!(refused.status(), Some(Error::FileQuota.status()));
    assert_eq!(
        scene.provider.statistics().expect("statistics").file_bytes,
        0,
        "nothing stays charged"
    );
    scene.finish();
}

#[test]
fn what_an_alignment_makes_the_driver_hold_is_given_back() {
    let scene = scene();
    let options = RegisterOptions::common_buffer(64 * KIB).alignment(2 * MIB);
    let registration = scene.provider.register(&options).expect("aligned memory");
    let held = scene.provider.statistics().expect("statistics").live_bytes;
    assert!(
        [64 * KIB, 64 * KIB + 2 * MIB - 4 * KIB].contains(&held),
        "{held}"
    );
    drop(registration);
    assert_eq!(
        scene.provider.statistics().expect("statistics").live_bytes,
        0
    );
    scene.finish();
}

#[test]
fn quota_of_count_per_file_is_kept() {
    let scene =
        scene_of(Setting::default().parameter("MaximumCountPerFile", RegistryValue::Dword(3)));
    let page = RegisterOptions::common_buffer(4 * KIB);
    let three: Vec<_> = (0..3)
        .map(|_| scene.provider.register(&page).expect("within the quota"))
        .collect();
    let over = scene.provider.register(&page).err().expect("over it");
    assert_eq!(over.status(), Some(Error::FileQuota.status()));
    drop(three);
    scene.finish();
}

#[test]
fn quota_of_the_device_holds_over_several_files() {
    let scene =
        scene_of(Setting::default().parameter("MaximumCountPerDevice", RegistryValue::Dword(3)));
    let page = RegisterOptions::common_buffer(4 * KIB);
    let (_, other) = scene.stage.provider().expect("a second provider");
    let two: Vec<_> = (0..2)
        .map(|_| scene.provider.register(&page).expect("within the quota"))
        .collect();
    let third = other.register(&page).expect("within the quota");
    let over = other.register(&page).err().expect("over it");
    assert_eq!(over.status(), Some(Error::DeviceQuota.status()));
    drop((two, third, other));
    scene.finish();
}
