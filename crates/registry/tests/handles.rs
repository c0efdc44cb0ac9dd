//! The handle table against a model, and against guesses.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test may stop"
)]

use std::collections::HashMap;
use std::iter;

use proptest::prelude::*;
use sanproxy_abi::wire::Handle;
use sanproxy_registry::{Chunk, HandleTable, Reservation};

fn reserve<T>(table: &mut HandleTable<T>) -> Reservation {
    if let Some(growth) = table.growth() {
        assert!(table.add(Chunk::allocate(growth).unwrap()).is_ok());
    }
    table.reserve().unwrap()
}

fn insert<T: std::fmt::Debug>(table: &mut HandleTable<T>, value: T) -> Handle {
    let reservation = reserve(table);
    table.fulfil(reservation, value).unwrap()
}

/// The same pseudo-random numbers in every run (`SplitMix64`).
fn numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = state;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    }
}

#[test]
fn table_without_memory_has_no_handle_to_give() {
    let mut table = HandleTable::<u32>::new(1);
    assert!(table.growth().is_some());
    assert!(table.reserve().is_none());
}

#[test]
fn reserved_handle_is_not_valid_until_it_is_fulfilled() {
    let mut table = HandleTable::new(1);
    let reservation = reserve(&mut table);
    let handle = reservation.handle();
    assert_eq!(table.get(handle), None);
    assert_eq!(table.remove(handle), None);
    assert_eq!((table.len(), table.remove_any()), (0, None));
    assert_eq!(table.fulfil(reservation, 7).unwrap(), handle);
    assert_eq!((table.get(handle), table.len()), (Some(&7), 1));
}

#[test]
fn cancelled_handle_is_never_valid() {
    let mut table = HandleTable::new(1);
    let reservation = reserve(&mut table);
    let cancelled = reservation.handle();
    assert!(table.cancel(reservation).is_ok());
    let other = insert(&mut table, 8);
    assert_ne!(other, cancelled);
    assert_eq!(table.get(cancelled), None);
}

#[test]
fn reservation_of_another_table_is_handed_back() {
    let (mut first, mut second) = (HandleTable::new(1), HandleTable::new(2));
    let _own = reserve(&mut second);
    let foreign = reserve(&mut first);
    let (foreign, value) = second.fulfil(foreign, 7).unwrap_err();
    assert_eq!((value, second.len()), (7, 0));
    let foreign = second.cancel(foreign).unwrap_err();
    assert!(first.fulfil(foreign, 7).is_ok());
}

#[test]
fn handle_of_another_table_is_unknown_in_every_pair() {
    let mut tables: Vec<_> = (0..8).map(HandleTable::new).collect();
    let handles: Vec<Vec<Handle>> = tables
        .iter_mut()
        .map(|table| (0..500).map(|n| insert(table, n)).collect())
        .collect();
    for (owner, handles) in handles.iter().enumerate() {
        for (other, table) in tables.iter().enumerate() {
            let known = handles
                .iter()
                .filter(|handle| table.get(**handle).is_some())
                .count();
            assert_eq!(known, if owner == other { 500 } else { 0 });
        }
    }
}

#[test]
fn random_handles_are_refused_a_million_times() {
    let mut table = HandleTable::new(0x5EED);
    for value in 0..10_000 {
        insert(&mut table, value);
    }
    let mut random = numbers(1);
    let accepted = iter::repeat_with(&mut random)
        .take(1_000_000)
        .filter(|guess| table.get(Handle(*guess)).is_some())
        .count();
    assert_eq!(accepted, 0);
    let small = (0..1_000_000)
        .filter(|guess| table.get(Handle(*guess)).is_some())
        .count();
    assert_eq!(small, 0);
}

#[test]
fn handle_one_bit_beside_a_live_one_is_refused() {
    let mut table = HandleTable::new(3);
    let handles: Vec<Handle> = (0..1000).map(|n| insert(&mut table, n)).collect();
    for handle in handles {
        let neighbours = (0..64).map(|bit| Handle(handle.0 ^ (1 << bit)));
        assert_eq!(neighbours.filter(|h| table.get(*h).is_some()).count(), 0);
    }
}

#[test]
fn released_handles_stay_dead_over_a_million_operations() {
    let mut table = HandleTable::new(0xC27);
    let mut random = numbers(27);
    let mut live: Vec<(Handle, u64)> = Vec::new();
    let mut dead: Vec<Handle> = Vec::new();
    for step in 0..1_000_000_u64 {
        let choice = random();
        let pick = |length: usize| usize::try_from(choice >> 8).unwrap() % length;
        match choice % 4 {
            0 | 1 if live.len() < 2000 => live.push((insert(&mut table, step), step)),
            2 if !live.is_empty() => {
                let (handle, value) = live.swap_remove(pick(live.len()));
                assert_eq!(table.remove(handle), Some(value));
                if dead.len() < 50_000 {
                    dead.push(handle);
                } else {
                    let place = pick(dead.len());
                    dead[place] = handle;
                }
            }
            3 if !dead.is_empty() => {
                let handle = dead[pick(dead.len())];
                assert_eq!(table.get(handle), None);
                assert_eq!(table.remove(handle), None);
            }
            _ if !live.is_empty() => {
                let (handle, value) = live[pick(live.len())];
                assert_eq!(table.get(handle), Some(&value));
            }
            _ => {}
        }
    }
    assert_eq!(usize::try_from(table.len()).unwrap(), live.len());
    assert!(dead.iter().all(|handle| table.get(*handle).is_none()));
    // Stale handles still miss when all places are in use.
    assert!(
        live.iter()
            .all(|(handle, value)| table.get(*handle) == Some(value))
    );
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u16),
    Remove(usize),
    RemoveStale(usize),
    RemoveAny,
    Change(usize, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u16>().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::RemoveStale),
        1 => Just(Step::RemoveAny),
        1 => (any::<usize>(), any::<u16>()).prop_map(|(n, value)| Step::Change(n, value)),
    ]
}

proptest! {
    #[test]
    fn table_is_a_map_that_never_gives_a_handle_twice(
        key: u128, steps in prop::collection::vec(step(), 0..400),
    ) {
        let mut table = HandleTable::new(key);
        let mut model: HashMap<u64, u16> = HashMap::new();
        let mut ever: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(value) => {
                    let handle = insert(&mut table, value);
                    prop_assert!(handle.0 != 0 && !ever.contains(&handle.0));
                    ever.push(handle.0);
                    model.insert(handle.0, value);
                }
                Step::Remove(n) | Step::RemoveStale(n) if !ever.is_empty() => {
                    let handle = ever[n % ever.len()];
                    prop_assert_eq!(table.remove(Handle(handle)), model.remove(&handle));
                }
                Step::Remove(_) | Step::RemoveStale(_) => {}
                Step::RemoveAny => match table.remove_any() {
                    Some((handle, value)) => {
                        prop_assert_eq!(model.remove(&handle.0), Some(value));
                    }
                    None => prop_assert!(model.is_empty()),
                },
                Step::Change(n, value) => {
                    if let Some(handle) = ever.get(n % ever.len().max(1))
                        && let Some(place) = table.get_mut(Handle(*handle))
                    {
                        *place = value;
                        model.insert(*handle, value);
                    }
                }
            }
            prop_assert_eq!(usize::try_from(table.len()).unwrap(), model.len());
            prop_assert_eq!(table.is_empty(), model.is_empty());
        }
        let all: HashMap<u64, u16> = table.iter().map(|(handle, value)| (handle.0, *value)).collect();
        prop_assert_eq!(all, model);
        while table.remove_any().is_some() {}
        prop_assert!(ever.iter().all(|handle| table.get(Handle(*handle)).is_none()));
    }
}
