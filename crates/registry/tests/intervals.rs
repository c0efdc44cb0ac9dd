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
fn range_that_is_in_with_the_same_value_is_refused() {
    let mut map = grown();
    map.insert(100, 10, 7).unwrap();
    assert_eq!(map.insert(100, 5, 7), Err(InsertError::Present));
    assert_eq!(map.insert(100, 10, 8), Ok(()));
}

#[test]
fn address_in_overlapping_ranges_is_found_until_the_last_is_removed() {
    let mut map = grown();
    map.insert(0, 1000, 1).unwrap();
    map.insert(500, 10, 2).unwrap();
    map.insert(600, 10, 3).unwrap();
    assert_eq!(map.lookup(700), Some((1, 700)));
    assert!(map.lookup(505).is_some());
    assert_eq!(map.remove(0, 1), Some(1));
    assert_eq!(map.lookup(700), None);
    assert_eq!(map.lookup(505), Some((2, 5)));
    assert_eq!(map.lookup(609), Some((3, 9)));
}

#[test]
fn same_range_ten_thousand_times_is_found_and_removed() {
    let mut map = IntervalMap::new(3);
    grow(&mut map, 10_000);
    assert!((0..10_000).all(|n| map.insert(4096, 4096, n).is_ok()));
    assert!((0..10_000).all(|n| map.lookup(5000).is_some() && map.remove(4096, n) == Some(n)));
    assert_eq!(map.lookup(5000), None);
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
    assert_eq!(map.remove(101, 7), None);
    assert_eq!(map.remove(100, 8), None);
    assert_eq!(map.remove(100, 7), Some(7));
    assert_eq!(map.remove(100, 7), None);
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
            .all(|n| map.remove(u64::from(n) * 4096, n) == Some(n))
    );
    assert!(map.is_empty());
}

proptest! {
    #[test]
    fn map_is_a_set_of_ranges(
        seed: u64, steps in prop::collection::vec((0_u64..300, 0_u64..60, 0_u8..3, 0_u32..3), 0..300),
    ) {
        let mut map = IntervalMap::new(seed);
        let mut model: BTreeMap<(u64, u32), u64> = BTreeMap::new();
        for (first, length, action, value) in steps {
            if action == 0 {
                let expected = model.remove(&(first, value)).map(|_| value);
                prop_assert_eq!(map.remove(first, value), expected);
            } else {
                grow(&mut map, 1);
                let expected = match (length, model.contains_key(&(first, value))) {
                    (0, _) => Err(InsertError::Empty),
                    (_, true) => Err(InsertError::Present),
                    (_, false) => Ok(()),
                };
                prop_assert_eq!(map.insert(first, length, value), expected);
                if expected.is_ok() {
                    model.insert((first, value), length);
                }
            }
            for address in [first, first + length, 150] {
                let holds = |(f, l): (u64, u64)| f <= address && address < f + l;
                match map.lookup(address) {
                    None => prop_assert!(!model.iter().any(|(k, l)| holds((k.0, *l)))),
                    Some((value, offset)) => {
                        let length = model.get(&(address - offset, value));
                        prop_assert!(length.is_some_and(|l| offset < *l));
                    }
                }
            }
            prop_assert_eq!(usize::try_from(map.len()).unwrap(), model.len());
        }
    }
}

#[test]
fn next_range_is_the_first_that_begins_there_or_above() {
    let mut map = grown();
    for (first, value) in [(50, 5), (10, 1), (30, 3)] {
        map.insert(first, 1, value).unwrap();
    }
    assert_eq!(map.next_from(0), Some((10, 1)));
    assert_eq!(map.next_from(10), Some((10, 1)));
    assert_eq!(map.next_from(11), Some((30, 3)));
    assert_eq!(map.next_from(50), Some((50, 5)));
    assert_eq!(map.next_from(51), None);
}

proptest! {
    #[test]
    fn walk_by_next_range_meets_every_range_once_and_in_order(
        numbers in proptest::collection::btree_set(0_u64..10_000, 0..200),
    ) {
        let mut map = IntervalMap::new(7);
        grow(&mut map, 256);
        for number in &numbers {
            map.insert(*number, 1, 0).unwrap();
        }
        let (mut met, mut from) = (Vec::new(), 0);
        while let Some((first, _)) = map.next_from(from) {
            met.push(first);
            from = first + 1;
        }
        prop_assert_eq!(met, numbers.into_iter().collect::<Vec<_>>());
    }
}
