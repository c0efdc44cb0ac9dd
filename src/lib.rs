//! sanproxy: DMA memory for RDMA service providers.
//!
//! A program opens the device, registers memory that the device can reach, and releases it again.
//! What it may ask, and what comes back, is written down in `sanproxy-abi`.
//!
//! | module | what it does |
//! | --- | --- |
//! | `driver` | what the system asks of the driver, and who answers |
//! | `device` | a device: Plug and Play, its parameters, what it holds while it is started |
//! | `file` | an open of a device: its registrations, and in which process they are mapped |
//! | `dispatch` | control codes: from bytes to a handler and back, a file per family |
//! | `mailbox` | events of a file, and the request that waits for them |
//! | `messages` | messages between two files: endpoints, connections, requests that wait |
//! | `memory` | what a registration is, and where its memory comes from |
//! | `secured` | which ranges of the opener's own memory a file has secured |
//! | `trace` | the events for those who watch it |
//!
//! There is no `unsafe` here: everything that touches the kernel is in `wdm`. Nothing here panics.

#![cfg_attr(windows, no_std)]
#![cfg(windows)]
#![forbid(unsafe_code)]

extern crate alloc;
extern crate wdk_panic;

mod address_space;
mod device;
mod dispatch;
mod driver;
mod file;
mod mailbox;
mod memory;
mod messages;
mod secured;
mod trace;

use wdk_alloc::WdkAllocator;

#[global_allocator]
static ALLOCATOR: WdkAllocator = WdkAllocator;

wdm::driver!(driver::SanProxy);
