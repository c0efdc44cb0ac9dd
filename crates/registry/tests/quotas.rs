//! Quotas: charged before, given back once.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test may stop at an overflow"
)]

use std::sync::Arc;
use std::thread;

use proptest::prelude::*;
use sanproxy_abi::Error;
use sanproxy_registry::{Charge, Exceeded, Limits, Quota, Statistics, Usage};

const WIDE: Limits = Limits {
    bytes: u64::MAX,
    count: u64::MAX,
};
const NOTHING: Usage = Usage { bytes: 0, count: 0 };

#[test]
fn charge_up_to_the_limit_is_taken_and_one_byte_more_is_not() {
    let device = Quota::new(WIDE);
    for (bytes, taken) in [
        (9999, true),
        (10_000, true),
        (10_001, false),
        (u64::MAX, false),
    ] {
        let file = Quota::new(Limits {
            bytes: 10_000,
            count: 10,
        });
        assert_eq!(Charge::new(&file, &device, bytes).is_ok(), taken);
        assert_eq!((file.usage(), device.usage()), (NOTHING, NOTHING));
    }
}

#[test]
fn count_limit_is_reached_and_room_returns_after_release() {
    let file = Quota::new(Limits {
        bytes: 100,
        count: 2,
    });
    let device = Quota::new(WIDE);
    let first = Charge::new(&file, &device, 10).unwrap();
    let _second = Charge::new(&file, &device, 10).unwrap();
    assert_eq!(Charge::new(&file, &device, 10).unwrap_err(), Exceeded::File);
    drop(first);
    assert!(Charge::new(&file, &device, 10).is_ok());
}

#[test]
fn device_limit_refuses_and_leaves_the_file_as_it_was() {
    let file = Quota::new(WIDE);
    let device = Quota::new(Limits { bytes: 5, count: 1 });
    assert_eq!(
        Charge::new(&file, &device, 6).unwrap_err(),
        Exceeded::Device
    );
    assert_eq!(
        (file.usage(), file.peak(), device.peak()),
        (NOTHING, NOTHING, NOTHING)
    );
    assert_eq!(Error::from(Exceeded::Device), Error::DeviceQuota);
    assert_eq!(Error::from(Exceeded::File), Error::FileQuota);
}

#[test]
fn peak_stays_when_charges_are_given_back() {
    let (file, device) = (Quota::new(WIDE), Quota::new(WIDE));
    {
        let _first = Charge::new(&file, &device, 30).unwrap();
        let second = Charge::new(&file, &device, 12).unwrap();
        assert_eq!(second.bytes(), 12);
    }
    let _later = Charge::new(&file, &device, 1).unwrap();
    assert_eq!(
        device.peak(),
        Usage {
            bytes: 42,
            count: 2
        }
    );
    assert_eq!(device.usage(), Usage { bytes: 1, count: 1 });
}

#[test]
fn limits_lowered_later_hold_for_new_charges_only() {
    let (file, device) = (Quota::new(WIDE), Quota::new(WIDE));
    let old = Charge::new(&file, &device, 30).unwrap();
    file.set_limits(Limits {
        bytes: 10,
        count: 1,
    });
    assert_eq!(
        file.limits(),
        Limits {
            bytes: 10,
            count: 1
        }
    );
    assert_eq!(Charge::new(&file, &device, 1).unwrap_err(), Exceeded::File);
    drop(old);
    assert!(Charge::new(&file, &device, 1).is_ok());
}

#[test]
fn charges_of_many_threads_never_pass_the_limit_and_all_come_back() {
    let limits = Limits {
        bytes: 1000,
        count: 7,
    };
    let device = Arc::new(Quota::new(limits));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let file = Arc::new(Quota::new(WIDE));
                for n in 0..20_000 {
                    let charge = Charge::new(Arc::clone(&file), Arc::clone(&device), n % 400);
                    let usage = device.usage();
                    assert!(usage.bytes <= limits.bytes && usage.count <= limits.count);
                    drop(charge);
                }
                assert_eq!(file.usage(), NOTHING);
            });
        }
    });
    assert_eq!(device.usage(), NOTHING);
    assert!(device.peak().count >= 1 && device.peak().count <= 7);
}

#[test]
fn failures_are_counted_by_cause() {
    let statistics = Statistics::default();
    statistics.count_failure(Error::Bounds);
    statistics.count_failure(Error::Bounds);
    statistics.count_failure(Error::FileClosed);
    statistics.count_made();
    statistics.count_released();
    let failures = statistics.failures();
    assert_eq!(failures[Error::Bounds.index()], 2);
    assert_eq!(failures[Error::FileClosed.index()], 1);
    assert_eq!(failures.iter().sum::<u64>(), 3);
    assert_eq!((statistics.made(), statistics.released()), (1, 1));
}

proptest! {
    #[test]
    fn usage_is_the_sum_of_the_charges_held(
        bytes in 0_u64..2000, count in 0_u64..12,
        steps in prop::collection::vec((0_u64..500, any::<bool>()), 0..60),
    ) {
        let limits = Limits { bytes, count };
        let (file, device) = (Quota::new(limits), Quota::new(WIDE));
        let mut held = Vec::new();
        for (amount, release) in steps {
            let (sum, number) = (held.iter().map(Charge::bytes).sum::<u64>(), u64::try_from(held.len()).unwrap());
            if release {
                held.pop();
            } else {
                let fits = sum + amount <= bytes && number < count;
                let charge = Charge::new(&file, &device, amount);
                prop_assert_eq!(charge.is_ok(), fits);
                held.extend(charge);
            }
            let usage = Usage {
                bytes: held.iter().map(Charge::bytes).sum(),
                count: u64::try_from(held.len()).unwrap(),
            };
            prop_assert_eq!((file.usage(), device.usage()), (usage, usage));
        }
    }
}

#[test]
fn charge_that_is_reduced_gives_the_rest_back_once() {
    let (file, device) = (Quota::new(WIDE), Quota::new(WIDE));
    let mut charge = Charge::new(&file, &device, 10_000).unwrap();
    charge.reduce_to(4096);
    let less = Usage {
        bytes: 4096,
        count: 1,
    };
    assert_eq!(
        (charge.bytes(), file.usage(), device.usage()),
        (4096, less, less)
    );
    charge.reduce_to(8192);
    assert_eq!(charge.bytes(), 4096, "it does not grow");
    drop(charge);
    assert_eq!((file.usage(), device.usage()), (NOTHING, NOTHING));
}

#[test]
fn latency_is_counted_in_the_bucket_of_its_power_of_two() {
    let statistics = Statistics::default();
    for units in [0, 1, 2, 3, 4, u64::MAX] {
        statistics.count_latency(units);
    }
    let counts = statistics.latencies();
    assert_eq!(&counts[..5], &[1, 1, 2, 1, 0]);
    assert_eq!(counts.last(), Some(&1));
    assert_eq!(counts.iter().sum::<u64>(), 6);
}

#[test]
fn available_bytes_are_what_the_limit_leaves() {
    let quota = Quota::new(Limits {
        bytes: 100,
        count: 9,
    });
    let charge = Charge::new(&quota, &quota, 30).unwrap();
    assert_eq!(quota.available(), 40, "charged as file and as device");
    quota.set_limits(Limits {
        bytes: 10,
        count: 9,
    });
    assert_eq!(quota.available(), 0);
    drop(charge);
}
