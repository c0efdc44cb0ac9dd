//! What can happen: one variant for each operation.
//!
//! An operation names what it acts on by a number that is reduced to what there is when its turn comes. So each history is one
//! that can happen, and still is after any of its operations is left out.

use nt_host::Protection;
use sanproxy_abi::{CacheType, Kind};

/// Picks one of those that there are.
pub type Pick = u8;

/// A registration, or a secured range, as a request names it.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// One of the file's own.
    Own(Pick),
    /// One of the file's own that has several pieces, if any has.
    InPieces(Pick),
    /// One of another file.
    Foreign(Pick),
    /// One that the file has released.
    Stale(Pick),
    /// None.
    Guess(u64),
}

/// A place in something that has a length.
#[derive(Clone, Copy, Debug)]
pub enum Offset {
    /// So far from its start.
    At(u32),
    /// So far before its end.
    BeforeEnd(u32),
}

impl Offset {
    /// The place in what is so long.
    #[must_use]
    pub fn within(self, length: u64) -> u64 {
        match self {
            Self::At(offset) => u64::from(offset),
            Self::BeforeEnd(offset) => length.saturating_sub(u64::from(offset)),
        }
    }
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
    /// Whether it is to be in crash dumps.
    pub dump: bool,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
}

/// What is wrong with a request for host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFlaw {
    /// A flag that is not defined.
    Flag,
    /// No length.
    Empty,
    /// The minimum is more than is preferred.
    Minimum,
    /// No range will do.
    NoRange,
    /// More ranges than there can be.
    Ranges,
    /// An alignment that is no power of two.
    Alignment,
    /// A node that the machine does not have.
    Node,
}

/// A request for a host memory buffer.
#[derive(Clone, Copy, Debug)]
pub struct HostWish {
    /// How many bytes are preferred.
    pub preferred: u64,
    /// How many fewer will do, at most all but one.
    pub fewer: u64,
    /// How many ranges will do.
    pub ranges: u32,
    /// Whether it is to be mapped.
    pub map: bool,
    /// Where it may lie.
    pub reach: Reach,
    /// The alignment in pages, a power of two, or 0.
    pub alignment: u64,
    /// Whether it is to be in crash dumps.
    pub dump: bool,
    /// What is wrong with it.
    pub flaw: Option<HostFlaw>,
}

impl HostWish {
    /// How many bytes will do.
    #[must_use]
    pub fn minimum(&self) -> u64 {
        self.preferred.saturating_sub(self.fewer).max(1)
    }
}

/// Quotas that an administrator sets, in pages and registrations.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// What a file may have.
    pub file: (u64, u64),
    /// What the device may have.
    pub device: (u64, u64),
    /// Whether one is beyond what can be set.
    pub flaw: bool,
    /// Which of the four cannot be written to the registry, if one cannot.
    pub unwritten: Option<u8>,
}

/// What the system has not enough of while a request is under way.
#[derive(Clone, Copy, Debug)]
pub enum Shortage {
    /// Whatever this call asks for.
    Call(u8),
    /// Common buffers, at this call for one.
    CommonBuffer(u8),
}

/// What is wrong with a range of memory that a process alleges to be its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeFlaw {
    /// It is empty.
    Empty,
    /// Its end is beyond the last address.
    Wraps,
    /// It belongs to the kernel.
    Kernel,
    /// It reaches beyond the allocation.
    TooLong,
}

/// Memory of a process's own, as a request names it.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// Which of all allocations. It may be another process's.
    pub allocation: Pick,
    /// Where in it.
    pub offset: u16,
    /// How many bytes; as many as there are at most.
    pub length: u16,
    /// The access: 1 reading, 2 writing, 3 both; anything else is none.
    pub access: u32,
    /// What is wrong with it.
    pub flaw: Option<RangeFlaw>,
}

/// A request to register memory of the process's own.
#[derive(Clone, Copy, Debug)]
pub struct OwnWish {
    /// The memory.
    pub own: Own,
    /// Whether several pieces will do.
    pub pieces: bool,
    /// Where the device is to find it.
    pub reach: Reach,
    /// Whether a flag is set that it cannot have.
    pub flag: bool,
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

/// Bytes that are written somewhere in a registration, or in memory of a process's own.
#[derive(Clone, Copy, Debug)]
pub struct Splash {
    /// Which of all.
    pub registration: Pick,
    /// Where.
    pub offset: u16,
    /// How many bytes.
    pub length: u16,
    /// Which bytes.
    pub seed: u8,
}

/// Whom a file is to be connected with.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// One of all files: perhaps itself.
    File(Pick),
    /// Nobody: it only asks for its own.
    Nobody,
    /// An endpoint that nobody has.
    Guess(u64),
}

/// Who sends a request, of the process that the handle belongs to.
pub type Sender = Option<Pick>;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// A process begins.
    CreateProcess,
    /// A process is ended, with all its handles.
    EndProcess(Pick),
    /// A thread of a process begins.
    CreateThread(Pick),
    /// A thread ends, with all its requests.
    EndThread(Pick),
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
    /// A request for a host memory buffer, perhaps while one call of the system fails.
    RegisterHost(Pick, HostWish, Option<u8>),
    /// A request to map the status page.
    MapPage(Pick),
    /// A request for all registrations that were made after one.
    Enumerate(Pick, Pick),
    /// A request to set the quotas.
    SetQuotas(Pick, Quotas),
    /// A process gets an administrator's token, or another.
    SetAdministrator(Pick, bool),
    /// The system crashes, and that is the end.
    Crash,
    /// A request to release.
    Release(Pick, Target),
    /// A request for the pieces of a registration, from one of them on.
    Query(Pick, Target, u32),
    /// A request for the registration that holds the address that is somewhere in a piece of another, or close to it.
    Lookup(Pick, Target, Pick, Offset),
    /// A request to copy, with both offsets and the length.
    Move(Pick, [Target; 2], [Offset; 2], u32),
    /// A request for what the device offers.
    Capabilities(Pick),
    /// A request that is not one.
    Malformed(Pick, Malformation),
    /// A process gets memory of its own, so many pages.
    Allocate(Pick, u8),
    /// It frees some.
    Free(Pick),
    /// It frees some and gets other pages at the same place.
    Replace(Pick),
    /// It changes what it may do with some.
    Protect(Pick, Protection),
    /// It writes to some.
    WriteOwn(Splash),
    /// A request to register memory of the process's own.
    RegisterOwn(Pick, OwnWish),
    /// The same while one call of the system fails.
    RegisterOwnInShortage(Pick, OwnWish, u8),
    /// A request to secure memory of the process's own.
    Secure(Pick, Own),
    /// A request to end that.
    Unsecure(Pick, Target),
    /// A request to connect.
    Connect(Pick, Peer),
    /// Two files name each other.
    ConnectBoth(Pick, Pick),
    /// A request to disconnect.
    Disconnect(Pick),
    /// So many write requests, with messages of a length.
    Send(Pick, Sender, u32, u8),
    /// So many read requests, with room for a message.
    Receive(Pick, Sender, u32, u8),
    /// A request to send a message and to receive one, with room for it; whether it waits until the message is taken.
    Exchange(Pick, Sender, u32, u32, bool),
    /// A request for events.
    Wait(Pick, Sender),
    /// A request that waits is cancelled.
    Cancel(Pick),
    /// All requests of a file are cancelled.
    CancelAll(Pick),
    /// The owner's process writes through its mapping.
    WriteByProcess(Splash),
    /// The NIC writes.
    WriteByDevice(Splash),
    /// The NIC writes where it may do so no more.
    WriteLate(Splash),
    /// The NIC reads next to a registration.
    ReadBeside(Pick),
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
    /// The driver is unloaded and loaded again.
    Reload,
    /// The system sleeps (S3) and wakes up.
    Sleep,
}
