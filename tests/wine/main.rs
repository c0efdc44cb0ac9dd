//! The driver that ships, in Wine, as a user meets it: installed from its INF, found by its interface, used by programs for
//! Windows through `DeviceIoControl`, and uninstalled.
//!
//! Wine's kernel lacks what has to do with memory and DMA; the module `ntosshim.exe` (`crates/ntosshim`) stands in for that.
//! The image in Wine is the shipped one but for the twelve bytes that name the kernel, and so is its INF but for what Wine's
//! parser does not know: tests below say exactly that. What Wine cannot show (a device that transfers data, interrupt
//! levels, cleanup requests of its own) is for the embedded host to show.
//!
//! `cargo xtask test` installs Wine and builds what these tests need. They fail where that is missing.

mod installation;
mod ownership;
mod probe;
mod programs;
mod refusals;
mod registration;
mod sanctl;
mod session;
mod staging;

/// What a test ends with.
type Outcome = Result<(), Failure>;

/// Why a test fails, if not for a wrong value.
type Failure = Box<dyn std::error::Error>;
