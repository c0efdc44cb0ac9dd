//! Nothing. `wdk-build` depends on `windows`, which is empty on hosts that are not Windows but depends on `windows-future`,
//! which does not compile there. This empty crate takes its place on such hosts.
#![no_std]
