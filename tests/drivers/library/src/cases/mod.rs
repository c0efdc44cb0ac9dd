//! The wrappers, a file per family. Each case is a number and a function.

pub(crate) mod common;
pub(crate) mod domains;
pub(crate) mod information;
pub(crate) mod lists;
pub(crate) mod packets;
pub(crate) mod transfers;
