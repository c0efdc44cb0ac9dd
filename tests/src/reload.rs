//! Loading and unloading the driver again and again, and what that leaves in this process.

use std::{fs, sync::Arc};

use nt_host::{Host, HostError};
use sanproxy_provider::{Provider, RegisterOptions};

use crate::{
    channel::HostChannel,
    stage::{INTERFACE, Setting, StageError, accepted},
};

/// What this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Resident memory in KiB.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Mapped ranges.
    pub mappings: usize,
}

impl Held {
    /// What it is now.
    ///
    /// # Panics
    ///
    /// If the system does not tell.
    #[must_use]
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("the state of this process");
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|text| text.split_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir("/proc/self/fd").expect("its descriptors");
        let mappings = fs::read_to_string("/proc/self/maps").expect("its mappings");
        Self {
            resident: resident.expect("a number of KiB"),
            descriptors: descriptors.count(),
            mappings: mappings.lines().count(),
        }
    }
}

/// A machine without a driver.
///
/// # Errors
///
/// The build host lacks memory or address space.
pub fn machine() -> Result<Arc<Host>, HostError> {
    Setting::default().host()
}

/// Loads the driver, uses a device of it, and unloads it.
///
/// # Errors
///
/// Whatever does not succeed.
pub fn cycle(host: &Arc<Host>, image: &[u8]) -> Result<(), StageError> {
    let driver = host.load("sanproxy", image)?;
    let device = driver.add_device()?;
    accepted(device.start())?;
    let process = host.create_process("provider.exe")?;
    let file = process.open(&INTERFACE)?;
    let provider = Provider::open(HostChannel::new(process.clone(), file))?;
    let made = provider.register(&RegisterOptions::common_buffer(8192).map())?;
    made.release()?;
    // One is left to the close.
    let left = provider.register(&RegisterOptions::contiguous(4096).map())?;
    let _handle = left.into_handle();
    drop(provider);
    process.exit()?;
    accepted(device.remove())?;
    drop(device);
    driver.unload()?;
    Ok(())
}
