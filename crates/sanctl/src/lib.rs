//! The command line of the sanproxy driver.
//!
//! Everything is here but the entry point, and generic over [`system::System`]: what the commands
//! need of the system, among it the channel to the driver. So the commands are tried without
//! Windows, on a driver that follows a script or one that runs in a simulated machine.
#![forbid(unsafe_code)]
#![expect(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "text for people is made once per command; readable beats fast"
)]
#![expect(
    clippy::option_option,
    clippy::struct_excessive_bools,
    reason = "the command line has such options"
)]

mod advice;
pub mod amount;
pub mod arguments;
mod bench;
mod conformance;
mod failure;
mod info;
mod install;
mod list;
mod memory;
pub mod picture;
mod quota;
mod run;
mod screen;
mod session;
mod soak;
mod stats;
pub mod system;
mod verify;
#[cfg(windows)]
pub mod windows;
pub mod wish;

pub use failure::{Exit, Failure};
pub use run::run;
pub use screen::Screen;
