//! What the frame allocator promises, whatever the order of requests.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::single_range_in_vec_init,
    reason = "a test may fail loudly, and its arithmetic is small"
)]

use nt_machine::{
    CacheType, FrameList, FrameRange, FrameRequest, Machine, MachineConfig, NodeConfig,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// 64 MiB in two nodes with a hole, without fill, so that a case costs little.
fn small() -> MachineConfig {
    let first = NodeConfig {
        ranges: vec![MIB..16 * MIB, 20 * MIB..36 * MIB],
        ..NodeConfig::default()
    };
    let second = NodeConfig {
        ranges: vec![36 * MIB..68 * MIB],
        low_reserve: vec![17 * MIB..18 * MIB],
    };
    MachineConfig {
        nodes: vec![first, second],
        fill: None,
        ..MachineConfig::default()
    }
}

fn machine(config: MachineConfig) -> Arc<Machine> {
    Machine::new(config).expect("a machine")
}

#[derive(Debug, Clone)]
enum Step {
    Take {
        count: u64,
        lowest: u64,
        highest: u64,
        boundary: u64,
        node: Option<u32>,
        strict: bool,
    },
    Scatter(u64),
    Free(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let boundary = prop_oneof![Just(0), (12u32..26).prop_map(|bits| 1 << bits)];
    let take = (
        1u64..600,
        0..70 * MIB,
        0..70 * MIB,
        boundary,
        prop::option::of(0u32..2),
        any::<bool>(),
    );
    prop_oneof![
        3 => take.prop_map(|(count, a, b, boundary, node, strict)| Step::Take {
            count, lowest: a.min(b), highest: a.max(b), boundary, node, strict
        }),
        1 => (1u64..40).prop_map(Step::Scatter),
        3 => any::<prop::sample::Index>().prop_map(Step::Free),
    ]
}

fn check_bounds(machine: &Machine, run: FrameRange, request: &FrameRequest) {
    let last = run.address() + run.bytes() - 1;
    assert!(
        run.address() >= request.lowest && last <= request.highest,
        "{run:?} for {request:?}"
    );
    let of = |address: u64| address.checked_div(request.boundary);
    assert_eq!(of(run.address()), of(last), "{run:?} for {request:?}");
    if request.strict {
        assert!(
            run.frames()
                .all(|frame| machine.node_of(frame) == Some(request.node.unwrap_or(0)))
        );
    }
    let mut byte = [0];
    machine
        .read_physical(run.address(), &mut byte)
        .expect("memory at the start");
    machine
        .read_physical(last, &mut byte)
        .expect("memory at the end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn frames_of_any_history_never_overlap_and_all_come_back(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let machine = machine(small());
        let whole = machine.free_frames();
        let mut taken = BTreeSet::new();
        let mut live: Vec<FrameList> = Vec::new();
        for step in steps {
            match step {
                Step::Take { count, lowest, highest, boundary, node, strict } => {
                    let request = FrameRequest {
                        count, lowest, highest, boundary, node, strict, reserve: false
                    };
                    if let Some(run) = machine.allocate(&request) {
                        check_bounds(&machine, run, &request);
                        for frame in run.frames() {
                            prop_assert!(taken.insert(frame), "frame {frame:#x} given twice");
                        }
                        live.push(run.into());
                    }
                }
                Step::Scatter(count) => {
                    if let Some(list) = machine.allocate_scattered(&FrameRequest::anywhere(count)) {
                        prop_assert_eq!(list.pages(), count);
                        for frame in list.frames() {
                            prop_assert!(taken.insert(frame), "frame {frame:#x} given twice");
                        }
                        live.push(list);
                    }
                }
                Step::Free(index) => {
                    if !live.is_empty() {
                        let list = live.swap_remove(index.index(live.len()));
                        list.frames().for_each(|frame| { taken.remove(&frame); });
                        prop_assert_eq!(machine.free_list(&list), Ok(()));
                    }
                }
            }
            prop_assert_eq!(machine.free_frames() + taken.len() as u64, whole);
        }
        for list in live {
            prop_assert_eq!(machine.free_list(&list), Ok(()));
        }
        prop_assert_eq!(machine.free_frames(), whole);
        // Neighbours were joined again: the largest run of the machine is whole.
        let run = FrameRequest::anywhere(32 * MIB / nt_machine::PAGE_SIZE);
        prop_assert!(machine.allocate(&run).is_some());
    }

    #[test]
    fn slice_of_a_list_has_the_frames_at_those_indexes(
        frames in prop::collection::vec(0u64..50, 1..60), from in 0u64..70, count in 0u64..70
    ) {
        let list: FrameList = frames.iter().copied().collect();
        let expected: Vec<u64> =
            frames.iter().copied().skip(from as usize).take(count as usize).collect();
        prop_assert_eq!(list.slice(from, count).frames().collect::<Vec<_>>(), expected);
        prop_assert_eq!(list.get(from), frames.get(from as usize).copied());
    }
}

#[test]
fn allocation_with_the_same_seed_gives_the_same_frames() {
    let (one, two) = (machine(small()), machine(small()));
    let take = |machine: &Machine| -> Vec<_> {
        (1..50)
            .map(|count| machine.allocate(&FrameRequest::anywhere(count)))
            .collect()
    };
    assert_eq!(take(&one), take(&two));
}

#[test]
fn allocation_with_another_seed_gives_other_frames() {
    let (one, two) = (
        machine(small()),
        machine(MachineConfig {
            seed: 77,
            ..small()
        }),
    );
    let take = |machine: &Machine| machine.allocate_scattered(&FrameRequest::anywhere(100));
    assert_ne!(take(&one), take(&two));
}

#[test]
fn fresh_frames_carry_the_fill_pattern_even_when_used_before() {
    let machine = machine(MachineConfig {
        fill: Some(0xCC),
        ..small()
    });
    let only = FrameRequest {
        lowest: MIB,
        highest: MIB + 4095,
        ..FrameRequest::anywhere(1)
    };
    let run = machine.allocate(&only).expect("a frame");
    machine
        .write_physical(run.address(), &[1; 4096])
        .expect("written");
    machine.free(run).expect("freed");
    let run = machine.allocate(&only).expect("the same frame");
    let mut bytes = [0; 4096];
    machine
        .read_physical(run.address(), &mut bytes)
        .expect("read");
    assert_eq!(bytes, [0xCC; 4096]);
}

#[test]
fn low_reserve_is_given_only_to_requests_that_say_so() {
    let machine = machine(MachineConfig::without_low_memory());
    let low = FrameRequest {
        highest: 0xFFFF_FFFF,
        ..FrameRequest::anywhere(1)
    };
    assert_eq!(machine.allocate(&low), None);
    let run = machine
        .allocate(&FrameRequest {
            reserve: true,
            ..low
        })
        .expect("a low frame");
    assert!(run.address() < 1 << 28);
}

#[test]
fn reserve_is_not_touched_while_other_memory_is_left() {
    let machine = machine(MachineConfig::without_low_memory());
    let request = FrameRequest {
        reserve: true,
        ..FrameRequest::anywhere(16)
    };
    assert!(machine.allocate(&request).expect("frames").address() >= 1 << 32);
}

#[test]
fn free_of_frames_that_are_free_is_not_allocated() {
    let machine = machine(small());
    let run = machine
        .allocate(&FrameRequest::anywhere(4))
        .expect("frames");
    machine.free(run).expect("freed");
    assert!(machine.free(run).is_err());
}

#[test]
fn access_to_a_hole_is_refused_with_its_address() {
    let machine = machine(small());
    let mut bytes = [0; 32];
    let error = machine
        .read_physical(16 * MIB - 16, &mut bytes)
        .expect_err("a hole");
    assert_eq!(error.0, 16 * MIB);
}

#[test]
fn frame_in_use_with_one_cache_type_refuses_another_until_released() {
    let machine = machine(small());
    let list = FrameList::from(
        machine
            .allocate(&FrameRequest::anywhere(8))
            .expect("frames"),
    );
    machine.use_cache(&list, CacheType::Cached).expect("first");
    machine
        .use_cache(&list.slice(2, 2), CacheType::Cached)
        .expect("same type");
    let clash = machine
        .use_cache(&list.slice(3, 1), CacheType::NonCached)
        .expect_err("clash");
    assert_eq!(clash.existing, CacheType::Cached);
    machine.release_cache(&list);
    assert_eq!(machine.cache_of(list.get(0).expect("frame")), None);
    assert!(
        machine
            .use_cache(&list.slice(2, 1), CacheType::NonCached)
            .is_err()
    );
    machine.release_cache(&list.slice(2, 2));
    assert!(machine.use_cache(&list, CacheType::NonCached).is_ok());
}
