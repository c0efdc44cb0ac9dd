//! The driver can be loaded and unloaded as often as one likes.
//!
//! Cites san.md: R01, R61.

use sanproxy_tests::{
    image::{self, TestImage},
    reload::{Held, cycle, machine},
};

/// What the allocator may keep, in KiB.
const SLACK: u64 = 4096;

#[test]
fn two_hundred_lives_leave_nothing() {
    let image = image::read(TestImage::Sanproxy);
    let host = machine().expect("a host");
    for life in 0..20 {
        cycle(&host, &image).unwrap_or_else(|error| panic!("life {life}: {error}"));
    }
    let before = Held::now();
    for life in 20..200 {
        cycle(&host, &image).unwrap_or_else(|error| panic!("life {life}: {error}"));
    }
    let after = Held::now();
    let report = host.report();
    assert!(report.is_clean(), "{report}");
    assert_eq!(after.descriptors, before.descriptors);
    assert!(
        after.resident <= before.resident + SLACK,
        "{before:?}, then {after:?}"
    );
}
