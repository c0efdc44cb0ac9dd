//! The judge, judged: a check counts once a driver that breaks the rule on purpose has been caught by it.
//!
//! Each test loads the faulty driver, has it break one rule, and looks for that rule in the report; the same driver
//! doing the same work without a fault must give a clean one. Cites verifier-rules.md: the numbers in the tests' names.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where its stage cannot be set"
)]

mod claims;
mod clean;
mod crash;
mod dma;
mod dma_map;
mod host;
mod irp;
mod irql;
mod leaks;
mod lifecycle;
mod locks;
mod memory;
mod object;
mod pool;
mod stage;
mod work_items;
