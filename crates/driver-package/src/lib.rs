//! Driver packages, made and checked on any host.
//!
//! What a Windows user gets of a driver is a folder: the image, an INF that says how to install it, and a catalogue that
//! vouches for both. On Windows the WDK's tools `stampinf`, `InfVerif`, `Inf2Cat` and `SignTool` make it; here the same is
//! done without them, so that it can be done and tested where no Windows is.
//!
//! - [`stamp`]: an INF from its source (INX), with architecture, date and version;
//! - [`inf`] and [`check`]: a reader that knows its line numbers, and the rules that an INF has to keep;
//! - [`authenticode`]: the hash by which a signature and a catalogue know an image;
//! - [`catalog`]: the catalogue, unsigned;
//! - [`signing`]: signatures, made and verified by `osslsigncode`;
//! - [`assemble`]: all of it, into a folder that is replaced as a whole or not at all.

#![forbid(unsafe_code)]

pub mod assemble;
pub mod authenticode;
pub mod catalog;
pub mod certificate;
pub mod check;
pub mod checksums;
pub mod date;
pub mod imports;
pub mod inf;
pub mod signing;
pub mod staging;
pub mod stamp;
