//! The library with drivers that keep the contract, and with drivers that break it.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may stop"
)]

mod exchange;
mod hostile;
mod model;
