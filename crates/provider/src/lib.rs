//! What a SAN service provider uses to talk to the sanproxy driver.
//!
//! A [`Provider`] is one open file on the device. It asks for memory with [`Provider::register`]
//! and gets a [`Registration`], which is released when it is dropped. The way to the driver is a
//! [`Channel`]; every reply that comes through it is checked, length and content, before any of
//! it is believed.
//!
//! ```
//! # fn demo<C: sanproxy_provider::Channel>(channel: C) -> Result<(), sanproxy_provider::Error> {
//! use sanproxy_provider::{Provider, RegisterOptions};
//!
//! let provider = Provider::open(channel)?;
//! let memory = provider.register(&RegisterOptions::common_buffer(1 << 20).low_memory().map())?;
//! memory.write_at(0, b"for the device")?;
//! println!("the device finds it at {:#x}", memory.device_address());
//! memory.release()?;
//! # Ok(())
//! # }
//! ```
//!
//! On Windows the module `windows` has the channel to a real device; anywhere else a channel leads
//! to a simulated one.
#![cfg_attr(not(windows), forbid(unsafe_code))]

mod administration;
mod cache;
mod capabilities;
mod channel;
mod error;
mod exposure;
mod host_memory;
#[cfg(any(windows, test))]
mod mappings;
mod messages;
mod options;
mod pieces;
mod provider;
mod registration;
mod reply;
mod secured;
mod statistics;
mod status_page;
mod system_error;
mod user_buffers;
mod win32;
#[cfg(windows)]
pub mod windows;

pub use administration::{ListedRegistration, Quotas};
pub use cache::{CacheCounters, Invalidation, Lease, Registrar, RegistrationCache};
pub use capabilities::{Capabilities, Interface};
pub use channel::{Channel, MemoryFault};
pub use error::Error;
pub use exposure::{Descriptor, Exposure, Exposures, Reach, Unreachable};
pub use host_memory::HostMemoryOptions;
pub use messages::{Connection, Events};
pub use options::RegisterOptions;
pub use provider::{Location, Provider};
pub use registration::{Piece, Registration, RegistrationReport, UserBufferOptions};
pub use sanproxy_abi::wire::{EndpointId, Handle};
pub use sanproxy_abi::{
    Access, AddressKind, CacheType, ConnectionState, ControlCode, DeviceState, EventKind, Kind,
    Kinds, LONGEST_MESSAGE, Method, Side, Status,
};
pub use sanproxy_registry::{CacheLimits, Idle};
pub use secured::SecuredRange;
pub use statistics::Statistics;
pub use status_page::{DeviceStatus, StatusPage};
pub use system_error::SystemError;
pub use user_buffers::{UserBuffer, UserBuffers};
pub use win32::{status_of_win32, win32_of_status};
