//! What a provider does with the driver, from start to end: finds the device, registers low memory,
//! writes and reads it, looks its address up, releases it.
//!
//! Build it for Windows and run it as an administrator:
//!
//! ```text
//! cargo build --package sanproxy-provider --example provider --target x86_64-pc-windows-gnu
//! ```

use std::process::ExitCode;

use sanproxy_provider::{Channel, Error, Provider, RegisterOptions};

/// How much memory to register: 64 KiB.
const LENGTH: usize = 64 << 10;

/// The steps; works with any channel.
fn show<C: Channel>(provider: &Provider<C>) -> Result<bool, Error> {
    let [major, minor, patch] = provider.interface().driver;
    println!("driver {major}.{minor}.{patch}");

    let wanted = u64::try_from(LENGTH).unwrap_or(0);
    let memory = provider.register(&RegisterOptions::common_buffer(wanted).low_memory().map())?;
    println!(
        "registered {} bytes; the device finds them at {:#x}",
        memory.length(),
        memory.device_address()
    );

    let written: Vec<u8> = (0..=u8::MAX).cycle().take(LENGTH).collect();
    memory.write_at(0, &written)?;
    let mut read = vec![0; LENGTH];
    memory.read_at(0, &mut read)?;
    let equal = read == written;
    println!(
        "written and read again: {}",
        if equal { "equal" } else { "DIFFERENT" }
    );

    let middle = memory.device_address().saturating_add(wanted / 2);
    let location = provider.lookup(middle)?;
    let found =
        location.is_some_and(|found| found.handle == memory.handle() && found.offset == wanted / 2);
    println!(
        "looked up {middle:#x}: {}",
        if found { "found" } else { "NOT FOUND" }
    );

    memory.release()?;
    let left = provider.statistics()?.file_registrations;
    println!("released; this file has {left} registrations");
    Ok(equal && found && left == 0)
}

#[cfg(windows)]
fn main() -> ExitCode {
    use sanproxy_provider::windows::DeviceChannel;

    let outcome = match DeviceChannel::open_first() {
        Ok(Some(channel)) => Provider::open(channel)
            .and_then(|provider| show(&provider))
            .map_err(|error| error.to_string()),
        Ok(None) => Err("no sanproxy device is started; `sanctl install` makes one".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(windows))]
fn main() -> ExitCode {
    /// A device that this system cannot have.
    enum NoDevice {}

    impl Channel for NoDevice {
        fn control(
            &self,
            _: u32,
            _: &[u8],
            _: &mut [u8],
        ) -> Result<usize, sanproxy_provider::Status> {
            match *self {}
        }
        fn read_memory(&self, _: u64, _: &mut [u8]) -> Result<(), sanproxy_provider::MemoryFault> {
            match *self {}
        }
        fn write_memory(&self, _: u64, _: &[u8]) -> Result<(), sanproxy_provider::MemoryFault> {
            match *self {}
        }
    }

    let _: fn(&Provider<NoDevice>) -> Result<bool, Error> = show;
    eprintln!(
        "error: a real device exists on Windows only; the head of this file says how to build it"
    );
    ExitCode::FAILURE
}
