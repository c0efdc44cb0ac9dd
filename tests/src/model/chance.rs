//! How likely each operation is.

use nt_host::Protection;
use proptest::{collection::vec, prelude::*, sample::select};
use sanproxy_abi::{CacheType, Kind};

use super::operation::{
    Flaw, HostFlaw, HostWish, Malformation, Offset, Operation, Own, OwnWish, Peer, Pick, Quotas,
    RangeFlaw, Reach, Sender, Shortage, Splash, Target, Wish,
};

fn pick() -> impl Strategy<Value = Pick> + Clone {
    any::<Pick>()
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        12 => pick().prop_map(Target::Own),
        2 => pick().prop_map(Target::Foreign),
        2 => pick().prop_map(Target::Stale),
        1 => any::<u64>().prop_map(Target::Guess),
    ]
}

fn flaw() -> impl Strategy<Value = Option<Flaw>> {
    prop_oneof![
        9 => Just(None),
        1 => select(vec![
            Flaw::Size, Flaw::Version, Flaw::Flag, Flaw::Kind, Flaw::OtherKind, Flaw::Empty,
            Flaw::TooLong, Flaw::Boundary, Flaw::Alignment, Flaw::Bounds, Flaw::Cache, Flaw::Node,
        ]).prop_map(Some),
    ]
}

fn reach() -> impl Strategy<Value = Reach> {
    prop_oneof![
        12 => Just(Reach::Anywhere),
        4 => Just(Reach::LowMemory),
        1 => Just(Reach::OutOfReach),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let memory = (
        select(vec![Kind::CommonBuffer, Kind::Contiguous]),
        prop_oneof![3 => 1_u64..=4 * 4096, 1 => 1_u64..=16 * 4096],
        any::<bool>(),
        any::<bool>(),
    );
    let place = (
        reach(),
        prop_oneof![6 => Just(0_u64), 1 => select(vec![1_u64, 2, 4, 16])],
        prop::bool::weighted(0.15),
        select(vec![
            CacheType::Cached,
            CacheType::Cached,
            CacheType::NonCached,
            CacheType::WriteCombined,
        ]),
        prop_oneof![4 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(1))],
    );
    let dump = prop::bool::weighted(0.3);
    (memory, place, dump, flaw()).prop_map(|(memory, place, dump, flaw)| {
        let (kind, length, map, pieces) = memory;
        let (reach, alignment, boundary, cache, node) = place;
        Wish {
            kind,
            length,
            map,
            pieces,
            reach,
            alignment,
            boundary,
            cache,
            node,
            dump,
            flaw,
        }
    })
}

fn host_wish() -> impl Strategy<Value = HostWish> {
    let flaw = prop_oneof![
        9 => Just(None),
        1 => select(vec![
            HostFlaw::Flag, HostFlaw::Empty, HostFlaw::Minimum, HostFlaw::NoRange, HostFlaw::Ranges,
            HostFlaw::Alignment, HostFlaw::Node,
        ]).prop_map(Some),
    ];
    let length = (
        prop_oneof![3 => 1_u64..=6 * 4096, 2 => 1_u64..=40 * 4096],
        prop_oneof![1 => Just(0_u64), 2 => 0_u64..=20 * 4096],
        prop_oneof![1 => Just(1_u32), 3 => 2..30_u32],
    );
    let alignment = prop_oneof![5 => Just(0_u64), 1 => select(vec![1_u64, 2, 4])];
    let flags = (any::<bool>(), reach(), prop::bool::weighted(0.3));
    (length, flags, alignment, flaw).prop_map(|(length, flags, alignment, flaw)| {
        let ((preferred, fewer, ranges), (map, reach, dump)) = (length, flags);
        HostWish {
            preferred,
            fewer,
            ranges,
            map,
            reach,
            alignment,
            dump,
            flaw,
        }
    })
}

fn quotas() -> impl Strategy<Value = Quotas> {
    let file = (select(vec![20_u64, 30, 30, 40]), select(vec![4_u64, 6, 8]));
    let device = (
        select(vec![30_u64, 50, 50, 60]),
        select(vec![7_u64, 10, 12]),
    );
    let unwritten = prop_oneof![6 => Just(None), 1 => (1..5_u8).prop_map(Some)];
    (file, device, prop::bool::weighted(0.1), unwritten).prop_map(
        |(file, device, flaw, unwritten)| Quotas {
            file,
            device,
            flaw,
            unwritten,
        },
    )
}

fn administration() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (pick(), host_wish(), prop_oneof![5 => Just(None), 1 => (1..40_u8).prop_map(Some)])
            .prop_map(|(handle, wish, call)| Operation::RegisterHost(handle, wish, call)),
        5 => pick().prop_map(Operation::MapPage),
        2 => (pick(), pick()).prop_map(|(handle, after)| Operation::Enumerate(handle, after)),
        3 => (pick(), quotas()).prop_map(|(handle, quotas)| Operation::SetQuotas(handle, quotas)),
        2 => (pick(), any::<bool>())
            .prop_map(|(process, token)| Operation::SetAdministrator(process, token)),
    ]
}

fn own() -> impl Strategy<Value = Own> {
    let flaw = prop_oneof![
        12 => Just(None),
        1 => select(vec![
            RangeFlaw::Empty, RangeFlaw::Wraps, RangeFlaw::Kernel, RangeFlaw::TooLong,
        ]).prop_map(Some),
    ];
    let access = prop_oneof![8 => 1..=3_u32, 1 => select(vec![0_u32, 4, u32::MAX])];
    let place = (
        prop_oneof![1 => Just(0_u16), 2 => any::<u16>()],
        prop_oneof![1 => Just(4096_u16), 3 => 1..20_000_u16],
    );
    (pick(), place, access, flaw).prop_map(|(allocation, (offset, length), access, flaw)| Own {
        allocation,
        offset,
        length,
        access,
        flaw,
    })
}

fn own_wish() -> impl Strategy<Value = OwnWish> {
    let often = prop::bool::weighted(0.85);
    (own(), often, reach(), prop::bool::weighted(0.03)).prop_map(|(own, pieces, reach, flag)| {
        OwnWish {
            own,
            pieces,
            reach,
            flag,
        }
    })
}

fn splash() -> impl Strategy<Value = Splash> {
    let length = prop_oneof![3 => 1..6000_u16, 2 => Just(u16::MAX)];
    (pick(), any::<u16>(), length, any::<u8>()).prop_map(|(registration, offset, length, seed)| {
        Splash {
            registration,
            // What is long begins at the start.
            offset: if length == u16::MAX { 0 } else { offset },
            length,
            seed,
        }
    })
}

fn malformation() -> impl Strategy<Value = Malformation> {
    select(vec![
        Malformation::Code,
        Malformation::ShortInput,
        Malformation::LongInput,
        Malformation::ShortOutput,
        Malformation::HeaderSize,
        Malformation::HeaderVersion,
        Malformation::Reserved,
    ])
}

/// Places that are near the start or the end more often than not, and now and then next to overflowing.
fn offset() -> impl Strategy<Value = Offset> {
    prop_oneof![
        6 => (0..3000_u32).prop_map(Offset::At),
        2 => (0..20_000_u32).prop_map(Offset::At),
        1 => Just(Offset::At(u32::MAX)),
        3 => (0..3000_u32).prop_map(Offset::BeforeEnd),
        2 => (0..3_u32).prop_map(Offset::BeforeEnd),
    ]
}

fn shortage() -> impl Strategy<Value = Shortage> {
    prop_oneof![
        1 => (1..40_u8).prop_map(Shortage::Call),
        2 => (1..3_u8).prop_map(Shortage::CommonBuffer),
    ]
}

fn request() -> impl Strategy<Value = Operation> {
    use Operation::{
        Capabilities, Lookup, Malformed, Move, Query, Register, RegisterInShortage, Release,
    };
    let first = prop_oneof![6 => Just(0_u32), 1 => 0..20_u32];
    let same = prop_oneof![2 => target(), 3 => pick().prop_map(Target::InPieces)];
    let length =
        prop_oneof![8 => 1..3000_u32, 2 => 1..20_000_u32, 1 => Just(0_u32), 1 => Just(u32::MAX)];
    prop_oneof![
        12 => (pick(), wish()).prop_map(|(handle, wish)| Register(handle, wish)),
        5 => (pick(), wish(), shortage())
            .prop_map(|(handle, wish, shortage)| RegisterInShortage(handle, wish, shortage)),
        6 => (pick(), target()).prop_map(|(handle, target)| Release(handle, target)),
        2 => (pick(), target(), first)
            .prop_map(|(handle, target, first)| Query(handle, target, first)),
        3 => (pick(), target(), pick(), offset())
            .prop_map(|(handle, target, piece, offset)| Lookup(handle, target, piece, offset)),
        4 => (pick(), [target(), target()], [offset(), offset()], length)
            .prop_map(|(handle, targets, places, length)| Move(handle, targets, places, length)),
        // Within one registration, where both ranges may overlap.
        3 => (pick(), same, [offset(), offset()], 1..9000_u32)
            .prop_map(|(handle, target, places, length)| {
                Move(handle, [target, target], places, length)
            }),
        1 => pick().prop_map(Capabilities),
        1 => (pick(), malformation()).prop_map(|(handle, what)| Malformed(handle, what)),
    ]
}

fn memory() -> impl Strategy<Value = Operation> {
    use Operation::{
        Allocate, Free, Protect, RegisterOwn, RegisterOwnInShortage, Replace, Secure, Unsecure,
        WriteOwn,
    };
    let protection = prop_oneof![
        2 => Just(Protection::ReadWrite),
        2 => Just(Protection::Read),
        1 => Just(Protection::None),
    ];
    prop_oneof![
        6 => (pick(), 1..6_u8).prop_map(|(process, pages)| Allocate(process, pages)),
        2 => pick().prop_map(Free),
        1 => pick().prop_map(Replace),
        2 => (pick(), protection).prop_map(|(allocation, to)| Protect(allocation, to)),
        4 => splash().prop_map(WriteOwn),
        8 => (pick(), own_wish()).prop_map(|(handle, wish)| RegisterOwn(handle, wish)),
        1 => (pick(), own_wish(), 1..24_u8)
            .prop_map(|(handle, wish, call)| RegisterOwnInShortage(handle, wish, call)),
        4 => (pick(), own()).prop_map(|(handle, own)| Secure(handle, own)),
        2 => (pick(), target()).prop_map(|(handle, target)| Unsecure(handle, target)),
    ]
}

fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![2 => Just(None), 1 => pick().prop_map(Some)]
}

fn message() -> impl Strategy<Value = u32> {
    prop_oneof![
        8 => 1..200_u32,
        3 => 1..6000_u32,
        1 => 1..=65_536_u32,
        1 => select(vec![0_u32, 65_537, 100_000]),
    ]
}

fn room() -> impl Strategy<Value = u32> {
    prop_oneof![
        1 => 1..100_u32,
        6 => 200..6000_u32,
        1 => Just(65_536_u32),
        1 => select(vec![0_u32, 65_537]),
    ]
}

fn traffic() -> impl Strategy<Value = Operation> {
    use Operation::{
        Cancel, CancelAll, Connect, ConnectBoth, Disconnect, Exchange, Receive, Send, Wait,
    };
    let peer = prop_oneof![
        8 => pick().prop_map(Peer::File),
        1 => Just(Peer::Nobody),
        1 => any::<u64>().prop_map(Peer::Guess),
    ];
    let number = || prop_oneof![8 => Just(1_u8), 2 => 2..9_u8, 1 => 60..70_u8];
    prop_oneof![
        3 => (pick(), peer).prop_map(|(handle, peer)| Connect(handle, peer)),
        3 => (pick(), pick()).prop_map(|(one, other)| ConnectBoth(one, other)),
        1 => pick().prop_map(Disconnect),
        6 => (pick(), sender(), message(), number())
            .prop_map(|(handle, sender, length, number)| Send(handle, sender, length, number)),
        5 => (pick(), sender(), room(), number())
            .prop_map(|(handle, sender, room, number)| Receive(handle, sender, room, number)),
        3 => (pick(), sender(), message(), room(), any::<bool>())
            .prop_map(|(handle, sender, length, room, may_wait)| {
                Exchange(handle, sender, length, room, may_wait)
            }),
        6 => (pick(), sender()).prop_map(|(handle, sender)| Wait(handle, sender)),
        3 => pick().prop_map(Cancel),
        1 => pick().prop_map(CancelAll),
    ]
}

fn life() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => Just(Operation::CreateProcess),
        1 => pick().prop_map(Operation::EndProcess),
        2 => pick().prop_map(Operation::CreateThread),
        1 => pick().prop_map(Operation::EndThread),
        6 => pick().prop_map(Operation::Open),
        3 => (pick(), pick()).prop_map(|(handle, process)| Operation::Duplicate(handle, process)),
        2 => pick().prop_map(Operation::Close),
    ]
}

fn bus() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => splash().prop_map(Operation::WriteByProcess),
        4 => splash().prop_map(Operation::WriteByDevice),
        1 => splash().prop_map(Operation::WriteLate),
        1 => pick().prop_map(Operation::ReadBeside),
    ]
}

fn device() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => Just(Operation::QueryStop),
        4 => Just(Operation::CancelStop),
        2 => Just(Operation::Stop),
        6 => Just(Operation::Start),
        2 => Just(Operation::QueryRemove),
        6 => Just(Operation::CancelRemove),
        1 => Just(Operation::SurpriseRemoval),
        3 => Just(Operation::Restart),
        3 => Just(Operation::Reload),
        2 => Just(Operation::Sleep),
    ]
}

/// Any operation.
pub(super) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        26 => request(),
        16 => memory(),
        10 => administration(),
        16 => traffic(),
        10 => bus(),
        14 => life(),
        7 => device(),
    ]
}

/// A history: begun by a process that has opened the device twice, and ended by a crash now and then.
pub(super) fn history() -> impl Strategy<Value = Vec<Operation>> {
    (vec(operation(), 1..90), prop::bool::weighted(0.2)).prop_map(|(mut all, crashes)| {
        if crashes {
            all.push(Operation::Crash);
        }
        all
    })
}
