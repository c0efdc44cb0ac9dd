//! DMA: what a device can reach, and how to give it memory.
//!
//! * [`Description`]: what the device can do
//! * [`Adapter`]: the system's answer, with the table of operations
//! * [`CommonBuffer`]: memory that the adapter allocates
//! * [`BufferVector`]: many of those at once
//! * [`SharedBlock`]: memory of ours that the adapter makes reachable
//! * [`ScatterGatherList`]: a process's own memory that the adapter makes reachable
//! * [`TransferBuffer`]: memory for transfers, and [`TransferList`], the device's addresses of it
//! * [`MapRegisters`], [`RegisterRequest`], [`Mapping`]: transfers packet by packet
//! * [`DmaDomain`], [`DomainMembership`]: devices that see the same addresses
//!
//! Only this module calls through the adapter's table. A member of it is used only if the table is
//! long enough to have it, and its slot is not null; so is the member that gives back what it gave. Else the
//! answer is [`Error::NotOffered`].
//!
//! IRQL: `PASSIVE_LEVEL`, where a function does not say otherwise.

mod adapter;
mod bounds;
mod budget;
mod buffer_vector;
mod channel_use;
mod common_buffer;
mod context;
mod description;
mod domain;
mod error;
mod held_list;
mod information;
mod list_buffer;
mod map_registers;
mod mapping;
mod operations;
mod register_request;
mod scatter_gather;
mod shared_block;
mod signatures;
mod span;
mod transfer_buffer;
mod transfer_list;

pub use adapter::Adapter;
pub use buffer_vector::{BufferVector, VectorElement};
pub use common_buffer::{Allocator, BufferWanted, CommonBuffer};
pub use description::{Description, SystemDescription, TransferWidth};
pub use domain::{DmaDomain, DomainMembership};
pub use error::Error;
pub use held_list::ListMember;
pub use information::{AdapterInfo, ListSize, TransferInfo};
pub use map_registers::MapRegisters;
pub use mapping::Mapping;
pub use register_request::RegisterRequest;
pub use scatter_gather::{Direction, ListRoutine, ScatterGatherList};
pub use shared_block::SharedBlock;
pub use transfer_buffer::TransferBuffer;
pub use transfer_list::{DeviceView, TransferList};
