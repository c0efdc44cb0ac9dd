//! The registration cache against a plain list, and what a lookup costs when there are very many.
//!
//! Cites san.md: R37-R40, R45.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    reason = "a test may stop"
)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use sanproxy_abi::Access;
use sanproxy_registry::{CacheChunk, CacheKey, CacheLimits, Chunk, Idle, RangeCache, Span};

const LIMITS: CacheLimits = CacheLimits {
    bytes: 100,
    entries: 3,
};

fn span(start: u64, length: u64) -> Span {
    Span::new(start, length).expect("a range")
}

fn insert(cache: &mut RangeCache<u32>, span: Span, access: Access, value: u32) -> CacheKey {
    while let Some(growth) = cache.growth() {
        let chunk: CacheChunk<u32> = Chunk::allocate(growth).expect("memory");
        assert!(cache.add(chunk).is_ok());
    }
    cache.insert(span, access, value).expect("room")
}

/// The values that have been condemned, released and retired; those condemned last come first.
fn released(cache: &mut RangeCache<u32>) -> Vec<u32> {
    let mut values = Vec::new();
    while let Some((key, value)) = cache.next_condemned() {
        values.push(*value);
        cache.retire(key);
    }
    while cache.sweep().is_some() {}
    values
}

/// A cache with one idle range, value 1, of 20 bytes from 100 on.
fn with_idle() -> RangeCache<u32> {
    let mut cache = RangeCache::new(LIMITS, 7);
    let key = insert(&mut cache, span(100, 20), Access::Read, 1);
    cache.release(key);
    cache
}

fn hit(cache: &mut RangeCache<u32>, span: Span, access: Access) -> Option<u32> {
    cache.acquire(span, access).map(|(_, value)| *value)
}

#[test]
fn covered_range_is_a_hit() {
    for (start, length) in [(100, 20), (100, 1), (119, 1), (105, 10)] {
        let mut cache = with_idle();
        assert_eq!(hit(&mut cache, span(start, length), Access::Read), Some(1));
        assert_eq!(cache.idle(), Idle::default(), "what is in use is not idle");
    }
}

#[test]
fn range_that_reaches_beyond_an_entry_is_no_hit() {
    for (start, length) in [(99, 1), (99, 21), (100, 21), (119, 2), (120, 1), (0, 1000)] {
        let mut cache = with_idle();
        assert_eq!(hit(&mut cache, span(start, length), Access::Read), None);
    }
}

#[test]
fn other_access_is_no_hit() {
    let mut cache = with_idle();
    assert_eq!(hit(&mut cache, span(100, 20), Access::Write), None);
    assert_eq!(hit(&mut cache, span(100, 20), Access::ReadWrite), None);
}

#[test]
fn entry_covered_by_two_neighbours_together_is_no_hit() {
    let mut cache = with_idle();
    let key = insert(&mut cache, span(120, 20), Access::Read, 2);
    cache.release(key);
    assert_eq!(hit(&mut cache, span(110, 20), Access::Read), None);
}

#[test]
fn unused_longest_goes_first() {
    let mut cache = RangeCache::new(LIMITS, 7);
    for value in 0..3 {
        let key = insert(
            &mut cache,
            span(u64::from(value) * 50, 10),
            Access::Read,
            value,
        );
        cache.release(key);
    }
    let (used, _) = cache.acquire(span(0, 10), Access::Read).expect("a hit");
    cache.release(used);
    let key = insert(&mut cache, span(500, 10), Access::Read, 3);
    assert_eq!(released(&mut cache), [], "what is in use counts not");
    cache.release(key);
    assert_eq!(released(&mut cache), [1]);
    assert_eq!(hit(&mut cache, span(0, 10), Access::Read), Some(0));
    assert_eq!(cache.evicted(), 1);
}

#[test]
fn idle_bytes_stay_below_the_limit() {
    let mut cache = RangeCache::new(LIMITS, 7);
    for (value, length) in [(0, 60), (1, 40), (2, 50)] {
        let key = insert(
            &mut cache,
            span(u64::from(value) * 500, length),
            Access::Read,
            value,
        );
        cache.release(key);
        assert!(cache.idle().bytes <= LIMITS.bytes);
    }
    assert_eq!(released(&mut cache), [0]);
    let key = insert(&mut cache, span(5000, 101), Access::Read, 3);
    cache.release(key);
    assert_eq!(
        released(&mut cache),
        [3],
        "too long for the cache as a whole"
    );
    assert_eq!(cache.idle().entries, 2, "and at nobody's cost");
}

#[test]
fn busy_entry_is_never_evicted() {
    let mut cache = RangeCache::new(LIMITS, 7);
    let busy = insert(&mut cache, span(0, 100), Access::Read, 99);
    for value in 0..10 {
        let key = insert(
            &mut cache,
            span(1000 + u64::from(value) * 50, 50),
            Access::Read,
            value,
        );
        cache.release(key);
    }
    cache.flush();
    assert!(!released(&mut cache).contains(&99));
    assert_eq!(hit(&mut cache, span(0, 100), Access::Read), Some(99));
    cache.release(busy);
    assert_eq!(cache.idle().entries, 0, "there is a second user");
}

#[test]
fn partial_overlap_is_invalidated_and_a_neighbour_is_not() {
    let mut cache = with_idle();
    assert!(!cache.invalidate(span(120, 1)).any);
    assert!(!cache.invalidate(span(99, 1)).any);
    let overlap = cache.invalidate(span(119, 1000));
    assert!(overlap.any && !overlap.busy);
    assert_eq!(hit(&mut cache, span(100, 20), Access::Read), None);
    assert!(cache.is_releasing(span(100, 1)));
    assert_eq!(released(&mut cache), [1]);
    assert!(!cache.is_releasing(span(100, 1)) && cache.is_empty());
}

#[test]
fn busy_entry_is_doomed_and_goes_with_its_last_user() {
    let mut cache = RangeCache::new(LIMITS, 7);
    let key = insert(&mut cache, span(0, 10), Access::Write, 1);
    let (second, _) = cache.acquire(span(5, 1), Access::Write).expect("a hit");
    assert!(cache.invalidate(span(9, 1)).busy);
    assert!(cache.invalidate(span(9, 1)).busy, "and still is");
    assert_eq!(hit(&mut cache, span(0, 10), Access::Write), None);
    cache.release(key);
    assert_eq!(released(&mut cache), []);
    cache.release(second);
    assert_eq!(released(&mut cache), [1]);
    cache.release(second);
    assert_eq!(released(&mut cache), [], "a key is dead after that");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Register(u64, u64, Access),
    Release(usize),
    Invalidate(u64, u64),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let access = prop_oneof![
        Just(Access::Read),
        Just(Access::Write),
        Just(Access::ReadWrite)
    ];
    prop_oneof![
        4 => (0_u64..200, 1_u64..40, access).prop_map(|(at, length, access)| Step::Register(at, length, access)),
        4 => (0_usize..8).prop_map(Step::Release),
        1 => (0_u64..200, 1_u64..40).prop_map(|(at, length)| Step::Invalidate(at, length)),
        1 => Just(Step::Flush),
    ]
}

/// An entry of the plain list.
struct Plain {
    span: Span,
    access: Access,
    value: u32,
    users: u32,
    doomed: bool,
}

proptest! {
    #[test]
    fn cache_agrees_with_a_plain_list(steps in prop::collection::vec(step(), 1..200)) {
        let limits = CacheLimits { bytes: 120, entries: 6 };
        let mut cache = RangeCache::new(limits, 3);
        let mut plain: Vec<Plain> = Vec::new();
        let mut held: Vec<(CacheKey, u32)> = Vec::new();
        for (value, step) in (0_u32..).zip(steps) {
            match step {
                Step::Register(at, length, access) => {
                    let wish = span(at, length);
                    let fits = |it: &Plain| !it.doomed && it.access == access && it.span.covers(wish);
                    let found = cache.acquire(wish, access).map(|(key, value)| (key, *value));
                    prop_assert_eq!(found.is_some(), plain.iter().any(fits));
                    if let Some((key, value)) = found {
                        let entry = plain.iter_mut().find(|it| it.value == value).expect("known");
                        prop_assert!(fits(entry));
                        entry.users += 1;
                        held.push((key, value));
                    } else {
                        held.push((insert(&mut cache, wish, access, value), value));
                        plain.push(Plain { span: wish, access, value, users: 1, doomed: false });
                    }
                }
                Step::Release(which) if !held.is_empty() => {
                    let (key, value) = held.swap_remove(which % held.len());
                    let entry = plain.iter_mut().find(|it| it.value == value).expect("known");
                    entry.users -= 1;
                    cache.release(key);
                }
                Step::Release(_) => {}
                Step::Invalidate(at, length) => {
                    let gone = span(at, length);
                    let met = |it: &&mut Plain| it.span.overlaps(gone);
                    let overlap = cache.invalidate(gone);
                    let busy = plain.iter_mut().filter(met).any(|it| it.users > 0);
                    let any = plain.iter_mut().filter(met).count() > 0;
                    prop_assert_eq!((overlap.any, overlap.busy), (any, busy));
                    for entry in plain.iter_mut().filter(met) {
                        entry.doomed = true;
                    }
                }
                Step::Flush => cache.flush(),
            }
            for value in released(&mut cache) {
                let at = plain.iter().position(|it| it.value == value).expect("released once");
                prop_assert_eq!(plain.remove(at).users, 0, "what is in use is not released");
            }
            prop_assert!(plain.iter().all(|it| !it.doomed || it.users > 0), "doomed and idle");
            let idle: Vec<u64> = plain.iter().filter(|it| it.users == 0).map(|it| it.span.length()).collect();
            let expected = Idle { bytes: idle.iter().sum(), entries: u32::try_from(idle.len()).unwrap() };
            prop_assert_eq!(cache.idle(), expected);
            prop_assert!(expected.bytes <= limits.bytes && expected.entries <= limits.entries);
            prop_assert_eq!(cache.len() as usize, plain.len());
        }
    }
}

/// A cache with so many idle ranges of a page, with gaps, in no order.
fn filled(count: u64) -> RangeCache<u32> {
    let limits = CacheLimits {
        bytes: u64::MAX,
        entries: u32::MAX,
    };
    let mut cache = RangeCache::new(limits, 11);
    for number in 0..count {
        // An odd factor and a power of two have no factor in common: each place is met once.
        let place = number.wrapping_mul(0x9E37_79B1) % count.next_power_of_two();
        let key = insert(&mut cache, span(place * 8192, 4096), Access::Read, 0);
        cache.release(key);
    }
    cache
}

/// The best of several times for a thousand lookups.
fn lookups(cache: &mut RangeCache<u32>, count: u64) -> Duration {
    let once = |cache: &mut RangeCache<u32>, round: u64| {
        let start = Instant::now();
        for number in 0..1000 {
            let place = (number + round * 1000).wrapping_mul(0x9E37_79B1) % count;
            if let Some((key, _)) = cache.acquire(span(place * 8192 + 8, 100), Access::Read) {
                cache.release(key);
            }
        }
        start.elapsed()
    };
    let times = (0..20).map(|round| once(cache, round));
    times.min().expect("some rounds")
}

#[test]
fn lookup_among_a_million_costs_a_few_times_that_among_a_thousand() {
    let few = lookups(&mut filled(1 << 10), 1 << 10);
    let many = lookups(&mut filled(1 << 20), 1 << 20);
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    println!("a lookup among 2^20 takes {ratio:.1} times as long as one among 2^10");
    // Twice as many steps, and memory that no cache of the processor holds; linear would be 1024.
    assert!(ratio < 60.0, "{ratio}");
}
