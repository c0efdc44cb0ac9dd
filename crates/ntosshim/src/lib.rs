//! The companion of Wine's `ntoskrnl.exe`, for drivers that hand out memory.
//!
//! Debian's Wine 8 runs a kernel driver as a module of the process `winedevice.exe`. Much of the kernel's memory and DMA
//! interface is missing there. This module, `ntosshim.exe`, stands where the driver expects `ntoskrnl.exe`: it hands on to
//! Wine what Wine has (`forwarded.def`), and does the rest itself:
//!
//! - [`ranges`]: which addresses of the made-up machine are taken;
//! - `blocks`: memory, each block a section, so that it can be mapped into the program that uses the driver;
//! - `contiguous`, `pool`, `mdl`, `dma`: the routines of the kernel on top of that;
//! - `views`: mappings in programs;
//! - `process`: whose request is being served, and the end of processes;
//! - `stack`: device stacks, and the cleanup request, which Wine never sends;
//! - `locks`: rundown protection and interrupt levels;
//! - `absent`: what there is none of here.
//!
//! What a driver does wrong with them goes to `C:\windows\temp\ntosshim.log`, and so does a summary when it is unloaded.
//!
//! # What Wine cannot show
//!
//! There is no kernel address space and no physical memory: addresses of both kinds are numbers here, and `winedevice.exe`
//! holds the memory. A device that transfers data does not exist. Interrupt levels are only remembered.

// UNSAFETY: is called by drivers with raw pointers, and calls Wine with such.
#![cfg_attr(
    windows,
    expect(unsafe_code, reason = "the border between a driver and Wine")
)]
#![cfg_attr(
    windows,
    expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "the kernel's interface is addresses and numbers of mixed widths, and its contracts are documented elsewhere"
    )
)]

#[cfg(windows)]
mod absent;
#[cfg(windows)]
mod blocks;
#[cfg(windows)]
mod contiguous;
#[cfg(windows)]
mod dma;
#[cfg(windows)]
mod locks;
#[cfg(windows)]
mod log;
#[cfg(windows)]
mod mdl;
#[cfg(windows)]
mod pool;
#[cfg(windows)]
mod process;
pub mod ranges;
#[cfg(windows)]
mod stack;
#[cfg(windows)]
mod system;
#[cfg(windows)]
mod views;

/// Bytes in a page.
pub const PAGE: u64 = 4096;
