//! The registration cache over a machine of a few lines.
//!
//! Cites san.md: R31, R37, R39-R41, R43-R48, R55.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop"
)]

mod machine;

use std::sync::Mutex;

use machine::{Machine, PAGE, transfer, transfer_leased};
use proptest::prelude::*;
use sanproxy_provider::{
    Access, CacheLimits, Exposures, Idle, Invalidation, Lease, Registrar, RegistrationCache,
};

const LIMITS: CacheLimits = CacheLimits {
    bytes: 16 * PAGE,
    entries: 4,
};

/// A machine with 16 pages from page 16 on.
fn open() -> (Machine, RegistrationCache<Machine>) {
    let machine = Machine::default();
    machine.allocate(16 * PAGE, 16 * PAGE);
    let cache = RegistrationCache::new(machine.clone(), LIMITS);
    (machine, cache)
}

fn lease(cache: &RegistrationCache<Machine>, page: u64, count: u64) -> Lease<Machine> {
    let range = (page * PAGE, count * PAGE);
    cache.register(range.0, range.1, Access::ReadWrite).unwrap()
}

#[test]
fn second_registration_of_a_covered_range_asks_the_driver_nothing() {
    let (machine, cache) = open();
    drop(lease(&cache, 16, 8));
    let hit = lease(&cache, 20, 2);
    assert_eq!((hit.start(), hit.length()), (20 * PAGE, 2 * PAGE));
    assert_eq!(machine.state().registrations, 1);
    assert_eq!(cache.counters().hits, 1);
    transfer_leased(&hit, 7);
    assert_eq!(machine.contents()[&20], 7);
    assert_eq!(machine.contents()[&22], 0);
}

#[test]
fn other_access_and_larger_range_are_registered_anew() {
    let (machine, cache) = open();
    drop(lease(&cache, 16, 2));
    let reading = cache.register(16 * PAGE, PAGE, Access::Read).unwrap();
    let larger = lease(&cache, 16, 3);
    assert_eq!(machine.state().registrations, 3);
    drop((reading, larger));
    assert_eq!(cache.counters().hits, 0);
}

#[test]
fn memory_freed_and_allocated_at_the_same_address_is_registered_anew() {
    let (machine, cache) = open();
    drop(lease(&cache, 16, 4));
    assert!(machine.free(18 * PAGE, PAGE, Some(&cache)));
    machine.allocate(18 * PAGE, PAGE);
    let anew = lease(&cache, 16, 4);
    assert_eq!(machine.state().registrations, 2);
    transfer_leased(&anew, 5);
    assert_eq!(machine.contents()[&18], 5, "the device writes the new page");
}

#[test]
fn invalidation_says_what_it_has_come_to() {
    let (machine, cache) = open();
    drop(lease(&cache, 16, 1));
    assert_eq!(cache.invalidate(17 * PAGE, PAGE), Invalidation::NotCached);
    assert_eq!(cache.invalidate(0, 0), Invalidation::NotCached);
    assert_eq!(cache.invalidate(16 * PAGE + 9, 1), Invalidation::Undone);
    assert_eq!(cache.invalidate(16 * PAGE, PAGE), Invalidation::NotCached);
    let busy = lease(&cache, 16, 1);
    assert_eq!(cache.invalidate(16 * PAGE, PAGE), Invalidation::NotUndone);
    assert!(
        !machine.free(16 * PAGE, PAGE, Some(&cache)),
        "still secured"
    );
    drop(busy);
    assert!(machine.state().secured.is_empty(), "not kept after that");
    drop(lease(&cache, 16, 1));
    machine.state().stubborn = true;
    assert_eq!(cache.invalidate(16 * PAGE, PAGE), Invalidation::NotUndone);
}

#[test]
fn invalidation_has_the_errors_of_windows_sockets() {
    assert_eq!(Invalidation::Undone.winsock_error(), 0);
    assert_eq!(Invalidation::NotUndone.winsock_error(), 10014);
    assert_eq!(Invalidation::NotCached.winsock_error(), 10022);
    assert!(Invalidation::Undone.has_unsecured());
    assert!(!Invalidation::NotUndone.has_unsecured() && !Invalidation::NotCached.has_unsecured());
}

#[test]
fn what_cannot_be_secured_is_not_cached() {
    let (machine, cache) = open();
    machine.state().insecure = true;
    let alone = lease(&cache, 16, 1);
    assert!(!alone.is_cached());
    drop(alone);
    assert!(machine.state().registered.is_empty());
    assert_eq!(
        (cache.counters().uncached, cache.idle()),
        (1, Idle::default())
    );
}

#[test]
fn range_that_is_not_there_is_refused_and_leaves_nothing() {
    let (machine, cache) = open();
    assert!(cache.register(31 * PAGE, 2 * PAGE, Access::Read).is_err());
    assert!(cache.register(0, PAGE, Access::Read).is_err());
    assert!(machine.state().registered.is_empty() && machine.state().secured.is_empty());
}

#[test]
fn idle_memory_gives_way_when_the_driver_has_no_room() {
    let (machine, cache) = open();
    machine.state().quota = Some(2);
    drop(lease(&cache, 16, 1));
    drop(lease(&cache, 17, 1));
    let first = lease(&cache, 18, 1);
    let second = lease(&cache, 19, 1);
    assert!(
        cache.register(20 * PAGE, PAGE, Access::Read).is_err(),
        "all are in use"
    );
    drop((first, second));
}

#[test]
fn idle_memory_stays_below_the_limits() {
    let (machine, cache) = open();
    for page in 16..28 {
        drop(lease(&cache, page, 1));
        assert!(cache.idle().entries <= LIMITS.entries);
        assert_eq!(
            machine.state().registered.len(),
            cache.idle().entries as usize
        );
        assert_eq!(machine.state().secured.len(), cache.idle().entries as usize);
    }
    assert_eq!(cache.idle().entries, 4);
    assert_eq!(cache.counters().evicted, 8);
    cache.flush();
    assert_eq!(cache.counters().evicted, 8, "flushed is not evicted");
    assert!(machine.state().registered.is_empty() && machine.state().secured.is_empty());
}

#[test]
fn everything_goes_with_the_cache_and_its_last_lease() {
    let (machine, cache) = open();
    drop(lease(&cache, 16, 1));
    let last = lease(&cache, 18, 1);
    drop(cache);
    assert_eq!(machine.state().registered.len(), 2);
    drop(last);
    assert!(machine.state().registered.is_empty() && machine.state().secured.is_empty());
}

#[test]
fn racing_threads_lose_nothing_and_reach_no_stale_page() {
    let (machine, cache) = open();
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (cache, machine) = (&cache, &machine);
            scope.spawn(move || {
                // Each has pages of its own, so that nobody frees what another one uses.
                let page = 16 + 5 * thread;
                for round in 0..500 {
                    let lease = lease(cache, page, 1 + round % 4);
                    transfer_leased(&lease, 1);
                    drop(lease);
                    if round % 7 == 0 {
                        assert!(machine.free(page * PAGE, 4 * PAGE, Some(cache)));
                        machine.allocate(page * PAGE, 4 * PAGE);
                        transfer_leased(&self::lease(cache, page, 1), 1);
                        assert_eq!(machine.contents()[&page], 1);
                    }
                }
            });
        }
    });
    cache.flush();
    assert!(machine.state().registered.is_empty() && machine.state().secured.is_empty());
}

#[test]
fn racing_threads_reach_exposed_memory_until_it_ends_and_never_after() {
    let (machine, cache) = open();
    let exposures = Exposures::new(cache.clone());
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for page in 16..19 {
            let (exposures, ended) = (&exposures, &ended);
            scope.spawn(move || {
                for _ in 0..300 {
                    let made = exposures.expose(page * PAGE, PAGE, Access::ReadWrite);
                    let mut exposure = made.unwrap();
                    let descriptor = exposure.descriptor();
                    ended.lock().unwrap().push(descriptor);
                    // A transfer may be under way; it comes to an end.
                    while let Err(back) = exposure.end() {
                        exposure = back;
                        std::thread::yield_now();
                    }
                    let after = exposures.reach(&descriptor, Access::Write, 0, 1);
                    assert!(after.is_err(), "reached after its end");
                }
            });
        }
        let (exposures, ended) = (&exposures, &ended);
        scope.spawn(move || {
            for round in 0..2000_usize {
                let known = ended.lock().unwrap().clone();
                let Some(descriptor) = known.get(known.len().wrapping_sub(1 + round % 5)) else {
                    continue;
                };
                if let Ok(reach) = exposures.reach(descriptor, Access::Write, 0, PAGE) {
                    transfer(reach.memory(), reach.start(), reach.length(), 1);
                }
            }
        });
    });
    assert_eq!(exposures.count(), 0);
    exposures.close();
    assert!(machine.state().registered.is_empty() && machine.state().secured.is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Allocate(u64, u64),
    Free(u64, u64),
    Write(u64, u64),
    /// Registers, lets the device transfer, and releases.
    Transfer(u64, u64, u64),
    /// Registers and keeps it.
    Hold(u64, u64),
    /// Lets the device transfer through one that is kept, and releases it.
    Finish(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (0_u64..24, 1_u64..6);
    prop_oneof![
        3 => range().prop_map(|(page, count)| Step::Allocate(page, count)),
        2 => range().prop_map(|(page, count)| Step::Free(page, count)),
        2 => (0_u64..30, 1_u64..1000).prop_map(|(page, number)| Step::Write(page, number)),
        6 => (range(), 1_u64..1000).prop_map(|((page, count), number)| Step::Transfer(page, count, number)),
        2 => range().prop_map(|(page, count)| Step::Hold(page, count)),
        2 => (0_usize..4, 1_u64..1000).prop_map(|(which, number)| Step::Finish(which, number)),
    ]
}

/// What a history has shown: each transfer's sum, and the memory after each step.
type Seen = Vec<(Option<u64>, std::collections::BTreeMap<u64, u64>)>;

/// A history on a machine with a cache.
fn cached(steps: &[Step], limits: CacheLimits) -> Seen {
    let machine = Machine::default();
    let cache = RegistrationCache::new(machine.clone(), limits);
    let mut kept: Vec<Lease<Machine>> = Vec::new();
    let mut seen = Vec::new();
    for step in steps {
        let mut sum = None;
        match *step {
            Step::Allocate(page, count) => machine.allocate(page * PAGE, count * PAGE),
            Step::Free(page, count) => {
                let used = |lease: &Lease<Machine>| {
                    lease.start() < (page + count) * PAGE
                        && lease.start() + lease.length() > page * PAGE
                };
                // A program does not free what a transfer is using: not even the rest of what it has
                // got registered with it, which only a program with a cache can tell.
                let freed =
                    !kept.iter().any(used) && machine.free(page * PAGE, count * PAGE, Some(&cache));
                sum = Some(u64::from(freed));
            }
            Step::Write(page, number) => machine.write(page, number),
            Step::Transfer(page, count, number) => {
                let lease = cache.register(page * PAGE, count * PAGE, Access::ReadWrite);
                sum = lease.ok().map(|lease| transfer_leased(&lease, number));
            }
            Step::Hold(page, count) => {
                kept.extend(cache.register(page * PAGE, count * PAGE, Access::ReadWrite));
            }
            Step::Finish(which, number) if !kept.is_empty() => {
                let lease = kept.swap_remove(which % kept.len());
                sum = Some(transfer_leased(&lease, number));
            }
            Step::Finish(..) => {}
        }
        seen.push((sum, machine.contents()));
    }
    drop(kept);
    drop(cache);
    assert!(machine.state().registered.is_empty() && machine.state().secured.is_empty());
    seen
}

/// The same history on a machine without one, that frees only what `seen` has freed.
fn uncached(steps: &[Step], seen: &Seen) -> Seen {
    let machine = Machine::default();
    let mut kept = Vec::new();
    let register = |page: u64, count: u64| {
        let made = machine.register(page * PAGE, count * PAGE, Access::ReadWrite);
        made.ok().map(|(name, reach)| (name, reach, page, count))
    };
    let mut own: Seen = Vec::new();
    for (step, (result, _)) in steps.iter().zip(seen) {
        let mut sum = None;
        match *step {
            Step::Allocate(page, count) => machine.allocate(page * PAGE, count * PAGE),
            Step::Free(page, count) => {
                let freed = *result == Some(1) && machine.free(page * PAGE, count * PAGE, None);
                sum = Some(u64::from(freed));
            }
            Step::Write(page, number) => machine.write(page, number),
            Step::Transfer(page, count, number) => {
                if let Some((name, reach, ..)) = register(page, count) {
                    sum = Some(transfer(&reach, page * PAGE, count * PAGE, number));
                    machine.release(name).unwrap();
                }
            }
            Step::Hold(page, count) => kept.extend(register(page, count)),
            Step::Finish(which, number) if !kept.is_empty() => {
                let (name, reach, page, count) = kept.swap_remove(which % kept.len());
                sum = Some(transfer(&reach, page * PAGE, count * PAGE, number));
                machine.release(name).unwrap();
            }
            Step::Finish(..) => {}
        }
        own.push((sum, machine.contents()));
    }
    own
}

proptest! {
    #[test]
    fn history_shows_the_same_bytes_with_and_without_the_cache(
        steps in prop::collection::vec(step(), 1..120),
        entries in 0_u32..8,
    ) {
        let limits = CacheLimits { bytes: 20 * PAGE, entries };
        let with = cached(&steps, limits);
        let without = uncached(&steps, &with);
        for (step, (with, without)) in steps.iter().zip(with.iter().zip(&without)) {
            prop_assert_eq!(with, without, "after {:?}", step);
        }
    }
}
