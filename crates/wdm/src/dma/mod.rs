//! DMA: what a bus-master device can reach, and how to give it memory.
//!
//! * [`Description`]: what the device can do
//! * [`Adapter`]: the system's answer, with the table of operations
//! * [`CommonBuffer`]: memory that the adapter allocates
//! * [`BufferVector`]: many of those at once
//! * [`SharedBlock`]: memory of ours that the adapter makes reachable
//! * [`ScatterGatherList`]: a process's own memory that the adapter makes reachable
//!
//! Only this module calls through the adapter's table. A member of it is used only if the table is
//! long enough to have it, and its slot is not null.
//!
//! IRQL: `PASSIVE_LEVEL` throughout.

mod adapter;
mod buffer_vector;
mod common_buffer;
mod description;
mod operations;
mod scatter_gather;
mod shared_block;

pub use adapter::Adapter;
pub use buffer_vector::{BufferVector, VectorElement};
pub use common_buffer::{Allocator, BufferWanted, CommonBuffer};
pub use description::Description;
pub use scatter_gather::{Direction, ListRoutine, ScatterGatherList};
pub use shared_block::SharedBlock;
