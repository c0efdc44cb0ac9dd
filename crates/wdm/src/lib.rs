//! A safe layer over the Windows Driver Model.
//!
//! Every buffer, mapping, lock, reference and adapter is an owned value whose `Drop` makes the one
//! right release call, and every request is an obligation that a function can only return from by
//! completing it or passing it down. A driver written on top needs no `unsafe` of its own.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`entry`] | the driver: `DriverEntry`, `AddDevice`, dispatch, unload |
//! | [`device`], [`interface`], [`registry_value`] | device objects, device interfaces, parameters |
//! | [`irp`], [`pnp`], [`control`], [`mod@file`] | requests: the obligation, and what each family of them asks |
//! | [`direct`], [`pending`] | transfers through locked pages; requests that wait and can be cancelled |
//! | [`remove_lock`], [`mutex`], [`rundown`], [`event`] | who may be where, and who waits for whom |
//! | [`process`], [`caller`] | referenced processes, running inside one, and noticing the end of one; who asks |
//! | [`work_item`] | work for threads of the system |
//! | [`clock`] | how long something takes |
//! | [`crash_dump`] | memory that is to be in a crash dump |
//! | [`pool`], [`list`], [`fifo`] | fallible owners of nonpaged pool |
//! | [`contiguous`], [`dma`], [`memory`] | memory for devices, and parts of it |
//! | [`window`] | looking at memory that others may change at any moment |
//! | [`trace`] | events for those who watch the driver at work |
//! | [`user_mapping`] | showing such memory to a process |
//! | [`secured_range`] | keeping a process from freeing its own memory unnoticed |
//! | [`locked_pages`] | a process's own memory, for a device |
//!
//! IRQL: `PASSIVE_LEVEL`, where a function does not say otherwise.

#![no_std]
#![cfg(windows)]

extern crate alloc;

pub mod caller;
pub mod clock;
pub mod contiguous;
pub mod control;
pub mod crash_dump;
mod critical_region;
pub mod device;
pub mod direct;
pub mod dma;
pub mod entry;
pub mod event;
pub mod fifo;
pub mod file;
mod guard;
pub mod interface;
pub mod irp;
mod irql;
mod layout;
pub mod list;
pub mod locked_pages;
mod mdl;
pub mod memory;
pub mod mutex;
pub mod node;
pub mod pending;
pub mod pnp;
pub mod pool;
pub mod process;
pub mod registry_value;
pub mod remove_lock;
pub mod rundown;
pub mod secret;
pub mod secured_range;
mod spin_lock;
pub mod status;
pub mod trace;
pub mod user_mapping;
pub mod window;
pub mod work_item;
