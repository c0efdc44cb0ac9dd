//! The test driver, built once, and a host that runs it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its set-up fails"
)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nt_host::{Device, Driver, File, Guid, Host, HostError, IoResult, Process, RegistryValue};

/// The driver's interface.
pub(crate) const INTERFACE: Guid = Guid::from_u128(0x6d2e5a10_0f0b_4c5e_9d5e_3a6c1a2b3c4d);

fn file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(build)
}

fn build() -> Vec<u8> {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/image");
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("test-driver");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(package)
        .args(["rustc", "--quiet", "--locked", "--offline"]);
    cargo
        .args(["--target", "x86_64-pc-windows-msvc", "--target-dir"])
        .arg(&output);
    cargo
        .args(["--", "-C", "linker=rust-lld"])
        .env_remove("RUSTFLAGS");
    for option in [
        "/NODEFAULTLIB",
        "/ENTRY:DriverEntry",
        "/SUBSYSTEM:NATIVE",
        "/DRIVER",
    ] {
        cargo.arg("-C").arg(format!("link-arg={option}"));
    }
    let status = cargo.status().expect("cargo can be run");
    assert!(status.success(), "the test driver does not build: {status}");
    let file = output.join("x86_64-pc-windows-msvc/debug/test_driver.dll");
    std::fs::read(file).expect("the test driver has been built")
}

/// A control code of the driver, buffered.
pub(crate) const fn code(function: u32) -> u32 {
    0x8000_0000 | function << 2
}

/// A host with the driver loaded in a mode.
pub(crate) fn load(mode: u32) -> (Arc<Host>, Result<Driver, HostError>) {
    let host = Host::builder()
        .watchdog(Duration::from_millis(600))
        .build()
        .unwrap();
    load_into(host, mode)
}

/// Loads the driver into a host.
pub(crate) fn load_into(host: Arc<Host>, mode: u32) -> (Arc<Host>, Result<Driver, HostError>) {
    let key = "\\Registry\\Machine\\System\\CurrentControlSet\\Services\\test";
    host.set_registry_value(key, "Mode", &RegistryValue::Dword(mode));
    host.enable_provider(INTERFACE, 0, u64::MAX).unwrap();
    let driver = host.load("test", file());
    (host, driver)
}

/// A running device, and a process with an open file.
pub(crate) struct Running {
    pub(crate) host: Arc<Host>,
    pub(crate) driver: Driver,
    pub(crate) device: Device,
    pub(crate) process: Process,
    pub(crate) file: File,
}

/// Starts the device in a mode and opens it.
pub(crate) fn run(mode: u32) -> Running {
    let (host, driver) = load(mode);
    start(host, driver.unwrap())
}

pub(crate) fn start(host: Arc<Host>, driver: Driver) -> Running {
    let device = driver.add_device().unwrap();
    assert!(device.start().unwrap().is_success());
    let process = host.create_process("test.exe").unwrap();
    let file = process.open(&INTERFACE).unwrap();
    Running {
        host,
        driver,
        device,
        process,
        file,
    }
}

impl Running {
    /// Sends a request.
    pub(crate) fn control(&self, function: u32) -> Result<IoResult, HostError> {
        let mut output = [0; 16];
        self.file
            .device_control(code(function), &[1; 16], &mut output)
    }

    /// Closes, removes, unloads.
    pub(crate) fn end(self) -> Arc<Host> {
        self.file.close().unwrap();
        self.process.exit().unwrap();
        self.device.remove().unwrap();
        self.driver.unload().unwrap();
        self.host
    }
}

/// Sends the request that breaks a rule, and expects the rule in the report.
#[track_caller]
pub(crate) fn expect_rule(function: u32, rule: &str) {
    let running = run(0);
    // A broken rule may stop the driver.
    drop(running.control(function));
    let report = running.host.report();
    assert!(report.has(rule), "{function:#x}: {rule} expected\n{report}");
}

/// Goes through a whole life in the mode that breaks a rule, and expects the rule in the report.
#[track_caller]
pub(crate) fn expect_rule_in_mode(mode: u32, rule: &str) {
    let (host, driver) = load(mode);
    if let Ok(driver) = driver
        && let Ok(device) = driver.add_device()
    {
        drop(device.start());
        drop(device.query_stop());
        drop(device.cancel_stop());
        drop(device.send_bogus_requests());
        drop(if mode == 11 {
            device.surprise_removal()
        } else {
            device.remove()
        });
        drop(driver.unload());
    }
    let report = host.report();
    assert!(report.has(rule), "mode {mode}: {rule} expected\n{report}");
}
