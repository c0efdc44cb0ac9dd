//! What the commands need of the system, so that they can be tried without one.

use std::path::Path;
use std::time::Duration;

use sanproxy_provider::{Channel, Provider, SystemError};

use crate::failure::{Exit, Failure, TEST_SIGNING};

/// The hardware identifier of the root-enumerated device.
pub const HARDWARE_ID: &str = r"Root\SanProxy";
/// The name of the driver's service.
pub const SERVICE: &str = "sanproxy";
/// The name of the driver's file.
pub const IMAGE: &str = "sanproxy.sys";

/// A device of the driver, as the system sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DeviceState {
    /// The identifier under which the system knows it.
    pub instance: String,
    /// Whether its driver runs.
    pub started: bool,
    /// What is wrong with it: a number of the device manager.
    pub problem: Option<u32>,
    /// The INF that its driver came from.
    pub inf: Option<String>,
}

/// A setting of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// There is none: the default holds.
    Absent,
    /// A number.
    Number(u64),
    /// A value of another type, which the driver does not take.
    OtherType(u32),
}

/// What another program printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramOutput {
    /// Whether it ended well.
    pub success: bool,
    /// Its exit code, if it has one.
    pub code: Option<i32>,
    /// What it printed.
    pub text: String,
}

/// Memory of this program's own, in whole pages; freed when it is dropped.
pub trait Pages: Sized {
    /// Where it begins.
    fn start(&self) -> u64;
    /// How many bytes.
    fn length(&self) -> u64;
    /// Frees it.
    ///
    /// # Errors
    ///
    /// The system refuses; then it is still there.
    fn free(self) -> Result<(), (Self, SystemError)>;
}

/// The result of something that the system may refuse.
pub type Outcome<T> = Result<T, SystemError>;

/// What the commands need of the system.
#[expect(
    clippy::missing_errors_doc,
    reason = "each function fails when the system refuses, with the system's error"
)]
pub trait System {
    /// An open file on the device. A thread may wait for it while another one cancels that.
    type Channel: Channel + Send + Sync;
    /// Memory of this program's own.
    type Pages: Pages;

    /// Opens the first started device; `None` if there is none.
    fn open(&self) -> Outcome<Option<Self::Channel>>;
    /// Allocates memory of the program's own that has opened a file: this one.
    fn allocate(&self, channel: &Self::Channel, length: u64) -> Outcome<Self::Pages>;
    /// Whether the system can lock and secure the memory of programs: Wine cannot.
    fn locks_own_memory(&self) -> bool;
    /// Whether this program may change the system.
    fn is_administrator(&self) -> Outcome<bool>;
    /// Whether the system loads test-signed drivers, if it tells.
    fn test_signing(&self) -> Option<bool>;
    /// All devices of the driver.
    fn devices(&self) -> Outcome<Vec<DeviceState>>;
    /// Makes sure that a file is an INF.
    fn check_inf(&self, inf: &Path) -> Outcome<()>;
    /// Creates the root-enumerated device; gives its identifier.
    fn create_root_device(&self, inf: &Path) -> Outcome<String>;
    /// Gives the driver to the device; tells whether a restart of the system is needed.
    fn update_driver(&self, inf: &Path) -> Outcome<bool>;
    /// Removes a device; tells whether a restart of the system is needed.
    fn remove_device(&self, instance: &str) -> Outcome<bool>;
    /// Removes a driver from the driver store.
    fn uninstall_inf(&self, name: &str) -> Outcome<()>;
    /// Stops and deletes the driver's service; tells whether there was one.
    fn delete_service(&self) -> Outcome<bool>;
    /// Restarts a device; tells whether a restart of the system is needed.
    fn restart_device(&self, instance: &str) -> Outcome<bool>;
    /// Reads a setting of a device.
    fn read_setting(&self, instance: &str, name: &str) -> Outcome<Setting>;
    /// Writes a setting of a device.
    fn write_setting(&self, instance: &str, name: &str, value: u64) -> Outcome<()>;
    /// Removes a setting of a device; tells whether there was one.
    fn remove_setting(&self, instance: &str, name: &str) -> Outcome<bool>;
    /// Runs verifier.exe of the system.
    fn verifier(&self, arguments: &[&str]) -> Outcome<ProgramOutput>;
    /// Whether Ctrl-C came.
    fn is_interrupted(&self) -> bool;
    /// How long the program has been running.
    fn elapsed(&self) -> Duration;
    /// Waits; Ctrl-C ends it early.
    fn sleep(&self, duration: Duration);
}

/// Opens the device, or says why that is not possible.
pub(crate) fn open<S: System>(system: &S) -> Result<Provider<S::Channel>, Failure> {
    match system.open()? {
        Some(channel) => Ok(Provider::open(channel)?),
        None => Err(why_not_open(&system.devices()?)),
    }
}

/// Why there is no device that could be opened.
pub(crate) fn why_not_open(devices: &[DeviceState]) -> Failure {
    let Some(device) = devices.iter().find(|device| !device.started) else {
        return if devices.is_empty() {
            Failure::new(
                Exit::NoDevice,
                "the driver is not installed: there is no device of it",
            )
            .cure("sanctl install creates the device and installs the driver")
        } else {
            Failure::new(Exit::NoDevice, "the device runs, but offers no interface")
                .cure("another driver may have it; sanctl uninstall and install again")
        };
    };
    let instance = &device.instance;
    match device.problem {
        None => Failure::new(Exit::NoDevice, format!("the device {instance} is stopped")).cure(
            format!("pnputil /restart-device \"{instance}\", or restart Windows"),
        ),
        Some(problem) => {
            let (what, cure) = meaning_of_problem(problem);
            let message = format!("the device {instance} does not run: {what} (code {problem})");
            Failure::new(Exit::NoDevice, message).cure(cure)
        }
    }
}

/// What a problem number of the device manager means, and what to do about it.
pub(crate) fn meaning_of_problem(problem: u32) -> (&'static str, &'static str) {
    match problem {
        1 | 18 | 28 => (
            "it has no driver",
            "sanctl install, with sanproxy.inf, .sys and .cat in one folder",
        ),
        10 => (
            "the driver does not start it",
            "the event log tells the cause; too large a ReserveBytes is one (sanctl quota)",
        ),
        12 => ("it lacks resources", "restart Windows"),
        14 => ("Windows has to be restarted first", "restart Windows"),
        21 | 24 | 45 => (
            "it is not there, or on its way out",
            "sanctl install, or restart Windows if it was just removed",
        ),
        22 => (
            "it is disabled",
            "pnputil /enable-device, or the device manager",
        ),
        31 | 37 => (
            "the driver does not load",
            "sanctl uninstall, then sanctl install",
        ),
        32 => (
            "the driver's service is disabled",
            "sanctl uninstall, then sanctl install",
        ),
        39 => (
            "the driver's file is damaged or missing",
            "sanctl uninstall, then sanctl install",
        ),
        48 => (
            "Windows blocks the driver",
            "the block list has it: take a newer version",
        ),
        52 => (
            "Windows does not trust the driver's signature",
            TEST_SIGNING,
        ),
        _ => (
            "the device manager reports a problem",
            "look it up in the device manager",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(started: bool, problem: Option<u32>) -> DeviceState {
        DeviceState {
            instance: r"ROOT\SANPROXY\0000".to_owned(),
            started,
            problem,
            inf: None,
        }
    }

    #[test]
    fn missing_device_tells_to_install() {
        let failure = why_not_open(&[]);
        assert_eq!(failure.exit, Exit::NoDevice);
        assert!(failure.message.contains("not installed"));
        assert!(failure.cure.unwrap().contains("sanctl install"));
    }

    #[test]
    fn stopped_device_is_named() {
        let failure = why_not_open(&[device(false, None)]);
        assert!(failure.message.contains(r"ROOT\SANPROXY\0000 is stopped"));
    }

    #[test]
    fn untrusted_driver_tells_about_test_signing() {
        let failure = why_not_open(&[device(false, Some(52))]);
        assert!(failure.message.contains("signature") && failure.message.contains("52"));
        assert!(failure.cure.unwrap().contains("testsigning on"));
    }
}
