//! What can happen: one variant for each operation, and how a random one is chosen.
//!
//! An operation names what it acts on by a number that is reduced to what there is when its turn comes. So each history is one
//! that can happen, and still is after any of its operations is left out.

use proptest::{collection::vec, prelude::*};
use sanproxy_abi::{CacheType, Kind};

/// Picks one of those that there are.
pub type Pick = u8;

/// A registration as a request names it.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// One of the file's own.
    Own(Pick),
    /// One of another file.
    Foreign(Pick),
    /// One that the file has released.
    Stale(Pick),
    /// None.
    Guess(u64),
}

/// Where a registration's memory may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere.
    Anywhere,
    /// Below 4 GiB, by the flag.
    LowMemory,
    /// Where the device's address lines do not reach.
    OutOfReach,
}

/// What is wrong with a request to register that would otherwise be in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The header's size.
    Size,
    /// The header's version.
    Version,
    /// A flag that is not defined.
    Flag,
    /// The kind.
    Kind,
    /// A kind of which this request is not.
    OtherKind,
    /// No length.
    Empty,
    /// More than the longest registration.
    TooLong,
    /// A boundary that is no power of two.
    Boundary,
    /// An alignment that is no power of two.
    Alignment,
    /// Bounds with no room between them.
    Bounds,
    /// The cache type.
    Cache,
    /// A node that the machine does not have.
    Node,
}

/// A request to register.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The kind of memory.
    pub kind: Kind,
    /// How many bytes.
    pub length: u64,
    /// Whether it is to be mapped.
    pub map: bool,
    /// Whether several pieces will do.
    pub pieces: bool,
    /// Where it may lie.
    pub reach: Reach,
    /// The alignment in pages, a power of two, or 0.
    pub alignment: u64,
    /// Whether it must not cross a multiple of 64 KiB, the most that is asked for.
    pub boundary: bool,
    /// The cache type.
    pub cache: CacheType,
    /// The node, if one is asked for.
    pub node: Option<u32>,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
}

/// What the system has not enough of while a request is under way.
#[derive(Clone, Copy, Debug)]
pub enum Shortage {
    /// Whatever this call asks for.
    Call(u8),
    /// Common buffers, at this call for one.
    CommonBuffer(u8),
}

/// What is wrong with the form of a request.
#[derive(Clone, Copy, Debug)]
pub enum Malformation {
    /// An unknown control code.
    Code,
    /// A byte too few.
    ShortInput,
    /// A byte too many.
    LongInput,
    /// An output buffer too short.
    ShortOutput,
    /// A wrong size in the header.
    HeaderSize,
    /// A wrong version in the header.
    HeaderVersion,
    /// A reserved field that is not zero.
    Reserved,
}

/// Bytes that are written somewhere in a registration.
#[derive(Clone, Copy, Debug)]
pub struct Splash {
    /// Which of all registrations.
    pub registration: Pick,
    /// Where.
    pub offset: u16,
    /// How many bytes.
    pub length: u16,
    /// Which bytes.
    pub seed: u8,
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// A process begins.
    CreateProcess,
    /// A process is ended, with all its handles.
    EndProcess(Pick),
    /// A process opens the device.
    Open(Pick),
    /// A handle is duplicated into a process.
    Duplicate(Pick, Pick),
    /// A handle is closed.
    Close(Pick),
    /// A request to register.
    Register(Pick, Wish),
    /// The same while the system is short of memory.
    RegisterInShortage(Pick, Wish, Shortage),
    /// A request to release.
    Release(Pick, Target),
    /// A request for the pieces of a registration, from one of them on.
    Query(Pick, Target, u32),
    /// A request for the registration that holds the address that is so far into another.
    Lookup(Pick, Target, u32),
    /// A request to copy, with both offsets and the length.
    Move(Pick, [Target; 2], [u32; 3]),
    /// A request for what the device offers.
    Capabilities(Pick),
    /// A request that is not one.
    Malformed(Pick, Malformation),
    /// The owner's process writes through its mapping.
    WriteByProcess(Splash),
    /// The NIC writes.
    WriteByDevice(Splash),
    /// May the device be stopped?
    QueryStop,
    /// It is not stopped after all.
    CancelStop,
    /// It is stopped.
    Stop,
    /// It is started again.
    Start,
    /// May it be removed?
    QueryRemove,
    /// It is not removed after all.
    CancelRemove,
    /// It is torn out.
    SurpriseRemoval,
    /// It is disabled and enabled by an administrator.
    Restart,
    /// The system sleeps (S3) and wakes up.
    Sleep,
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        12 => any::<Pick>().prop_map(Target::Own),
        2 => any::<Pick>().prop_map(Target::Foreign),
        2 => any::<Pick>().prop_map(Target::Stale),
        1 => any::<u64>().prop_map(Target::Guess),
    ]
}

fn flaw() -> impl Strategy<Value = Option<Flaw>> {
    prop_oneof![
        9 => Just(None),
        1 => prop::sample::select(vec![
            Flaw::Size, Flaw::Version, Flaw::Flag, Flaw::Kind, Flaw::OtherKind, Flaw::Empty,
            Flaw::TooLong, Flaw::Boundary, Flaw::Alignment, Flaw::Bounds, Flaw::Cache, Flaw::Node,
        ]).prop_map(Some),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let memory = (
        prop::sample::select(vec![Kind::CommonBuffer, Kind::Contiguous]),
        prop_oneof![3 => 1_u64..=4 * 4096, 1 => 1_u64..=16 * 4096],
        any::<bool>(),
        any::<bool>(),
    );
    let place = (
        prop_oneof![
            12 => Just(Reach::Anywhere),
            4 => Just(Reach::LowMemory),
            1 => Just(Reach::OutOfReach),
        ],
        prop_oneof![6 => Just(0_u64), 1 => prop::sample::select(vec![1_u64, 2, 4, 16])],
        prop::bool::weighted(0.15),
        prop::sample::select(vec![
            CacheType::Cached,
            CacheType::Cached,
            CacheType::NonCached,
            CacheType::WriteCombined,
        ]),
        prop_oneof![4 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(1))],
    );
    (memory, place, flaw()).prop_map(|(memory, place, flaw)| {
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
            flaw,
        }
    })
}

fn splash() -> impl Strategy<Value = Splash> {
    (any::<Pick>(), any::<u16>(), 1..6000_u16, any::<u8>()).prop_map(
        |(registration, offset, length, seed)| Splash {
            registration,
            offset,
            length,
            seed,
        },
    )
}

fn malformation() -> impl Strategy<Value = Malformation> {
    prop::sample::select(vec![
        Malformation::Code,
        Malformation::ShortInput,
        Malformation::LongInput,
        Malformation::ShortOutput,
        Malformation::HeaderSize,
        Malformation::HeaderVersion,
        Malformation::Reserved,
    ])
}

/// Numbers that are small more often than not, and now and then next to overflowing.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0..3000_u32, 2 => 0..20_000_u32, 1 => Just(u32::MAX), 1 => Just(0)]
}

fn shortage() -> impl Strategy<Value = Shortage> {
    prop_oneof![
        (1..40_u8).prop_map(Shortage::Call),
        (1..3_u8).prop_map(Shortage::CommonBuffer),
    ]
}

fn request() -> impl Strategy<Value = Operation> {
    use Operation::{
        Capabilities, Lookup, Malformed, Move, Query, Register, RegisterInShortage, Release,
    };
    let pick = any::<Pick>;
    prop_oneof![
        12 => (pick(), wish()).prop_map(|(handle, wish)| Register(handle, wish)),
        3 => (pick(), wish(), shortage())
            .prop_map(|(handle, wish, shortage)| RegisterInShortage(handle, wish, shortage)),
        6 => (pick(), target()).prop_map(|(handle, target)| Release(handle, target)),
        2 => (pick(), target(), prop_oneof![6 => Just(0_u32), 1 => 0..20_u32])
            .prop_map(|(handle, target, first)| Query(handle, target, first)),
        2 => (pick(), target(), number())
            .prop_map(|(handle, target, offset)| Lookup(handle, target, offset)),
        3 => (pick(), [target(), target()], [number(), number(), number()])
            .prop_map(|(handle, targets, numbers)| Move(handle, targets, numbers)),
        // Within one registration, where both ranges may overlap.
        3 => (pick(), target(), [0..3000_u32, 0..3000_u32, 1..3000_u32])
            .prop_map(|(handle, target, numbers)| Move(handle, [target, target], numbers)),
        1 => pick().prop_map(Capabilities),
        1 => (pick(), malformation()).prop_map(|(handle, what)| Malformed(handle, what)),
    ]
}

fn life() -> impl Strategy<Value = Operation> {
    let pick = any::<Pick>;
    prop_oneof![
        3 => Just(Operation::CreateProcess),
        1 => pick().prop_map(Operation::EndProcess),
        6 => pick().prop_map(Operation::Open),
        3 => (pick(), pick()).prop_map(|(handle, process)| Operation::Duplicate(handle, process)),
        2 => pick().prop_map(Operation::Close),
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
        4 => Just(Operation::Restart),
        2 => Just(Operation::Sleep),
    ]
}

/// Any operation.
pub fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        28 => request(),
        4 => splash().prop_map(Operation::WriteByProcess),
        4 => splash().prop_map(Operation::WriteByDevice),
        12 => life(),
        5 => device(),
    ]
}

/// A history: begun by a process that has opened the device twice.
pub fn history() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..70)
}
