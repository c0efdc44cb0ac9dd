//! The contract between the sanproxy driver and the programs that use it.
//!
//! Both sides are built from this crate, and the C header is generated from it, so there is one
//! place where a number is written down. Bytes become a wire struct ([`wire`], an allegation), the
//! wire struct becomes a [`Request`] (checked), and nothing after that checks again.
//!
//! * [`code`]: control codes and the interface class
//! * [`choice`]: numbers with names: kinds, methods, cache types, flags
//! * [`event`], [`exchange`]: what a program is told without asking, and messages between files
//! * [`wire`]: the structs that cross the border, byte by byte
//! * [`request`]: from bytes to checked requests
//! * [`error`], [`status`]: what can be wrong, and the NTSTATUS that says so
//! * [`parameter`]: what an administrator can set, and the defaults
//! * [`layout`]: all of the above as tables, for the tests and the C header
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod layout;

pub mod choice;
pub mod code;
pub mod error;
pub mod event;
pub mod exchange;
pub mod parameter;
pub mod request;
pub mod status;
pub mod user_buffer;
pub mod wire;

pub use choice::{
    Access, AddressKind, CacheType, DeviceState, Kind, Kinds, Method, RegisterFlags, Side,
};
pub use code::{CODES, Code, ControlCode, Guid, INTERFACE_CLASS, Transfer};
pub use error::Error;
pub use event::{ConnectionState, EVENT_KINDS, EventKind};
pub use exchange::{
    EXCHANGE_MESSAGE_OFFSET, ExchangeFlag, ExchangeRequest, LONGEST_MESSAGE, MESSAGES_PER_QUEUE,
    WAITING_REQUESTS,
};
pub use parameter::{PARAMETERS, Parameter};
pub use request::{
    Alignment, Boundary, Bounds, HostMemoryRequest, MoveRequest, Node, Pages, Place,
    QueryRegistrationRequest, QuotaRequest, RegisterRequest, Request, SecureRequest,
};
pub use status::Status;
pub use user_buffer::{RegisterUserBufferRequest, SynchronizeRequest, UserBytes};

/// The version of the wire structs, in every header.
pub const WIRE_VERSION: u16 = 1;
/// The major version of the interface: another one means that old programs do not work.
pub const INTERFACE_MAJOR: u16 = 1;
/// The minor version of the interface: a higher one only adds.
pub const INTERFACE_MINOR: u16 = 0;
/// The size of a page, the unit in which memory is registered.
pub const PAGE_SIZE: u64 = 4096;
/// How many pieces one `QUERY_REGISTRATION` reply can hold.
pub const PIECES_PER_REPLY: usize = 32;
/// How many failure counters a `STATISTICS` reply holds; those without an [`Error`] are zero.
pub const FAILURE_COUNTERS: usize = 48;
/// How many buckets the latency histogram of a `STATISTICS` reply has.
pub const LATENCY_BUCKETS: usize = 24;
/// How many registrations one `ENUMERATE` reply can hold.
pub const REGISTRATIONS_PER_REPLY: usize = 16;
/// The most ranges that a registration is made of.
pub const MOST_RANGES: u32 = 4096;
/// The kind under which `ENUMERATE` lists a secured range.
pub const SECURED_RANGE: u32 = 0;
/// The node number that stands for "any node".
pub const ANY_NODE: u32 = u32::MAX;
/// The highest device address of low memory (below 4 GiB as the device sees it).
pub const LOW_MEMORY_HIGHEST: u64 = 0xFFFF_FFFF;
/// The largest alignment that can be asked for: 1 GiB.
pub const LARGEST_ALIGNMENT: u64 = 1 << 30;
