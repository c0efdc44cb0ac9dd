//! What the tests and the demonstration share: the images, and a stage on which the driver is run.
//!
//! A [`stage::Stage`] is a simulated machine with the driver loaded and its device started, as a [`stage::Setting`] says;
//! [`wire`] sends requests byte by byte, [`channel`] lets the provider library do it.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod channel;
pub mod image;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod model;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod reload;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod scene;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod stage;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod trace;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod wire;
