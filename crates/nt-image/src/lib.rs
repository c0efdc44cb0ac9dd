//! A Windows driver image, mapped and callable on Linux.
//!
//! [`Image::load`] maps a PE32+ file as the system loader does and binds its imports to Rust
//! functions. [`call`] runs the driver's machine code on the current thread. Each import goes
//! through a stub that notes where the driver made the call, so that [`backtrace`], [`raise`] and
//! [`stop`] always know the driver's registers.
//!
//! The crate knows nothing of the NT kernel: what a routine does is up to its owner.
//!
//! # What a host routine must keep to
//!
//! [`stop`] and [`raise`] leave the host routine, and those between it and the driver, without
//! dropping their values, like `longjmp`: call them where nothing is left to drop and no lock is
//! held. A panic in a routine ends the process.
//!
//! UNSAFETY: this crate maps memory, runs foreign machine code and handles signals.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(
    unsafe_code,
    reason = "mapping and running machine code cannot be expressed in safe Rust"
)]
#![expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "host-side code on addresses; these lints exist for code linked into the driver"
)]

mod backtrace;
mod call;
mod context;
mod dispatch;
mod epilog;
mod error;
mod exports;
mod fault;
mod headers;
mod image;
mod imports;
mod instruction;
mod mapping;
mod registry;
mod relocations;
mod routine;
mod scope;
mod stub;
mod thread;
mod unwind;
mod view;

pub use backtrace::{Frame, backtrace};
pub use call::{Trap, call, stop};
pub use dispatch::raise;
pub use error::LoadError;
pub use headers::{Protection, Section};
pub use image::{Finding, Image};
pub use imports::ImportName;
pub use routine::{Import, Observer, Routine, current_routine, set_observer};
pub use scope::C_SPECIFIC_HANDLER;
pub use stub::stub;
