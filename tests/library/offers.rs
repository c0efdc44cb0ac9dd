//! Tables that end anywhere, and tables with holes: whatever is asked, no member is called that is not there, and nothing is
//! made that could not be given back.

use nt_host::DmaConfig;

use crate::{
    lists::{BUILD, BUILD_EX, GET, GET_EX},
    stage::{FROM_DEVICE, PAGE, Stage, TO_DEVICE, builder, call, interface, pattern},
    system::channel,
    table::MEMBERS,
};

const LIST: [&[u64]; 4] = [
    &[7, PAGE, TO_DEVICE, GET],
    &[7, PAGE, TO_DEVICE, BUILD],
    &[7, PAGE, TO_DEVICE, GET_EX],
    &[7, PAGE, TO_DEVICE, BUILD_EX],
];
const MAP: (u32, &[u64]) = (call::MAP, &[7, PAGE, FROM_DEVICE]);

/// Every request there is, in an order in which each has what it needs.
const EVERYTHING: &[(u32, &[u64])] = &[
    (call::IN_POOL, &[2 * PAGE]),
    (call::ADAPTER, &[]),
    (call::ALIGNMENT, &[]),
    (call::INFO, &[]),
    (call::TRANSFER_INFO, &[0, PAGE, TO_DEVICE]),
    (call::LIST_SIZE, &[0, PAGE]),
    (call::CONFIGURE, &[1, 41]),
    (call::LIST, LIST[0]),
    (call::VIEW, &[]),
    (call::SYNCHRONISE, &[TO_DEVICE]),
    (call::PUT, &[]),
    (call::LIST, LIST[1]),
    (call::PUT, &[]),
    (call::LIST, LIST[2]),
    (call::PUT, &[]),
    (call::LIST, LIST[3]),
    (call::PUT, &[]),
    (call::WAIT_FOR, &[2]),
    MAP,
    (call::REMAINING, &[]),
    (call::FLUSH, &[]),
    (call::GIVE_BACK, &[]),
    (call::TAKE, &[2]),
    MAP,
    (call::CANCEL, &[]),
    (call::DROP_MAPPING, &[]),
    (call::TAKE, &[2]),
    (call::WITHOUT_OBJECT, &[]),
    (call::GIVE_BACK, &[]),
    (call::REQUEST, &[2]),
    (call::AWAIT_REQUEST, &[]),
    (call::GIVE_BACK, &[]),
    (call::REQUEST, &[2]),
    (call::CANCEL_REQUEST, &[]),
    (call::GIVE_BACK, &[]),
    (call::COMMON, &[PAGE, PAGE, u64::MAX]),
    (call::FREE_COMMON, &[]),
    (call::VECTOR, &[PAGE, 0, u64::MAX, 3]),
    (call::SHRINK, &[1]),
    (call::LOCATE_VECTOR, &[]),
    (call::FREE_VECTOR, &[]),
    (call::SHARE, &[PAGE, 0, u64::MAX]),
    (call::UNSHARE, &[]),
    (call::DOMAIN, &[]),
    (call::DOMAIN_BUFFER, &[PAGE, 0, u64::MAX]),
    (call::FREE_COMMON, &[]),
    (call::PUBLISH, &[]),
    (call::JOIN, &[]),
    (call::LEAVE, &[]),
    (call::WITHDRAW, &[]),
];

/// How often each member of the table was called when everything was asked for; none if there was no adapter.
fn ask_for_everything(dma: DmaConfig) -> Vec<(&'static str, u64)> {
    let Some(stage) = Stage::try_on(builder(dma)) else {
        return Vec::new();
    };
    for (call, numbers) in EVERYTHING {
        let bytes = if *call == call::IN_POOL {
            pattern(numbers[0])
        } else {
            Vec::new()
        };
        // Refused or not: the judge tells whether it was right.
        drop(stage.bytes(*call, numbers, &bytes));
    }
    let calls = MEMBERS.map(|member| (member, stage.calls(member))).to_vec();
    stage.finish();
    calls
}

fn called(calls: &[(&'static str, u64)]) -> Vec<&'static str> {
    let called = calls.iter().filter(|(_, count)| *count > 0);
    called.map(|(member, _)| *member).collect()
}

#[test]
fn every_member_of_a_bus_master_is_called_by_some_request() {
    let calls = called(&ask_for_everything(interface(3, true)));
    let of_controllers = [
        "FreeAdapterChannel",
        "ReadDmaCounter",
        "ConfigureAdapterChannel",
    ];
    // Older routines of which the table has better ones; `PutDmaAdapter` comes when the device goes.
    let of_older_tables = ["PutDmaAdapter", "AllocateCommonBufferEx"];
    for member in MEMBERS {
        let expected = !of_controllers.contains(&member) && !of_older_tables.contains(&member);
        assert_eq!(calls.contains(&member), expected, "{member}");
    }
}

#[test]
fn every_member_of_a_controller_is_called_by_some_request() {
    let calls = called(&ask_for_everything(channel(3, true)));
    for member in [
        "FreeAdapterChannel",
        "ReadDmaCounter",
        "ConfigureAdapterChannel",
    ] {
        assert!(calls.contains(&member), "{member}");
    }
}

#[test]
fn table_of_any_size_is_used_as_far_as_it_goes() {
    // Without `PutDmaAdapter`, the first, there is no way to give the adapter back.
    for table_size in (16..=320).step_by(8) {
        for dma in [interface(3, true), channel(3, false)] {
            // Members past the size are traps.
            ask_for_everything(DmaConfig { table_size, ..dma });
        }
    }
}

#[test]
fn member_whose_slot_is_null_is_not_called() {
    // Without `PutDmaAdapter` there is no way to give the adapter back.
    for (index, member) in MEMBERS.iter().enumerate().skip(1) {
        for dma in [interface(3, true), channel(3, false)] {
            let null_members = &MEMBERS[index..=index];
            let calls = ask_for_everything(DmaConfig {
                null_members,
                ..dma
            });
            assert!(!called(&calls).contains(member));
        }
    }
}
