//! The interval map against a model: the standard library's ordered map.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test may stop at an overflow"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sanproxy_registry::{Chunk, InsertError, IntervalMap};

fn grow(map: &mut IntervalMap<u32>, ranges: u32) {
    while let Some(growth) = map.growth(ranges) {
        assert!(map.add(Chunk::allocate(growth).unwrap()).is_ok());
    }
}

fn grown() -> IntervalMap<u32> {
    let mut map = IntervalMap::new(1);
    grow(&mut map, 8);
    map
}

#[test]
fn address_in_a_range_is_found_with_its_offset_and_others_are_not() {
    let mut map = grown();
    map.insert(100, 10, 7).unwrap();
    assert_eq!(map.lookup(99), None);
    assert_eq!(map.lookup(100), Some((7, 0)));
    assert_eq!(map.lookup(109), Some((7, 9)));
    assert_eq!(map.lookup(110), None);
}

#[test]
fn range_that_overlaps_by_one_byte_is_refused() {
    let mut map = grown();
    map.insert(100, 10, 7).unwrap();
    for (first, length) in [(109, 1), (100, 1), (91, 10), (50, 100), (100, 10), (104, 2)] {
        assert_eq!(map.insert(first, length, 8), Err(InsertError::Overlap));
    }
    assert_eq!(map.insert(110, 1, 8), Ok(()));
    assert_eq!(map.insert(90, 10, 9), Ok(()));
}

#[test]
fn range_that_is_empty_or_beyond_the_last_address_is_refused() {
    let mut map = grown();
    assert_eq!(map.insert(5, 0, 1), Err(InsertError::Empty));
    assert_eq!(map.insert(u64::MAX, 2, 1), Err(InsertError::Empty));
    assert_eq!(map.insert(u64::MAX, 1, 1), Ok(()));
    assert_eq!(map.lookup(u64::MAX), Some((1, 0)));
}

#[test]
fn range_without_memory_for_it_is_refused() {
    let mut map = IntervalMap::new(1);
    assert!(map.growth(1).is_some());
    assert_eq!(map.insert(1, 1, 1), Err(InsertError::Full));
    grow(&mut map, 1000);
    assert!((0..1000).all(|n| map.insert(n * 10, 10, 1).is_ok()));
    assert_eq!(map.len(), 1000);
}

#[test]
fn range_that_is_not_there_is_not_removed() {
    let mut map = grown();
    map.insert(100, 10, 7).unwrap();
    assert_eq!(map.remove(101), None);
    assert_eq!(map.remove(100), Some(7));
    assert_eq!(map.remove(100), None);
    assert!(map.is_empty());
}

#[test]
fn hundred_thousand_ranges_in_order_are_found_and_removed() {
    let mut map = IntervalMap::new(99);
    grow(&mut map, 100_000);
    for n in 0..100_000_u32 {
        map.insert(u64::from(n) * 4096, 4096, n).unwrap();
    }
    assert!((0..100_000_u32).all(|n| map.lookup(u64::from(n) * 4096 + 5) == Some((n, 5))));
    assert!(
        (0..100_000_u32)
            .rev()
            .all(|n| map.remove(u64::from(n) * 4096) == Some(n))
    );
    assert!(map.is_empty());
}

proptest! {
    #[test]
    fn map_is_an_ordered_map_of_ranges(
        seed: u64, steps in prop::collection::vec((0_u64..300, 0_u64..12, 0_u8..3), 0..300),
    ) {
        let mut map = IntervalMap::new(seed);
        let mut model: BTreeMap<u64, (u64, u32)> = BTreeMap::new();
        for (value, (first, length, action)) in (0_u32..).zip(steps) {
            if action == 0 {
                prop_assert_eq!(map.remove(first), model.remove(&first).map(|(_, value)| value));
            } else {
                grow(&mut map, 1);
                let overlap = model.iter().any(|(f, (l, _))| *f < first + length && first < f + l);
                let expected = match (length, overlap) {
                    (0, _) => Err(InsertError::Empty),
                    (_, true) => Err(InsertError::Overlap),
                    (_, false) => Ok(()),
                };
                prop_assert_eq!(map.insert(first, length, value), expected);
                if expected.is_ok() {
                    model.insert(first, (length, value));
                }
            }
            let found = model.range(..=first).next_back();
            let found = found.filter(|(f, (l, _))| first < **f + l);
            prop_assert_eq!(map.lookup(first), found.map(|(f, (_, value))| (*value, first - f)));
            prop_assert_eq!(usize::try_from(map.len()).unwrap(), model.len());
        }
    }
}
