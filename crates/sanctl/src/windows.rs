//! The commands' needs, met by Windows.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sanproxy_provider::SystemError;
use sanproxy_provider::windows::{self, DeviceChannel, OwnPages};

use crate::system::{
    DeviceState, HARDWARE_ID, Outcome, Pages, ProgramOutput, SERVICE, Setting, System,
};

/// The name under which root-enumerated devices are numbered: `ROOT\SANPROXY\0000`.
const ENUMERATED_AS: &str = "SANPROXY";

/// This computer.
#[derive(Debug)]
pub struct Windows {
    start: Instant,
    interrupted: Arc<AtomicBool>,
}

impl Windows {
    /// This computer; the flag tells of Ctrl-C.
    #[must_use]
    pub fn new(interrupted: Arc<AtomicBool>) -> Self {
        Self {
            start: Instant::now(),
            interrupted,
        }
    }
}

impl Pages for OwnPages {
    fn start(&self) -> u64 {
        Self::start(self)
    }

    fn length(&self) -> u64 {
        Self::length(self)
    }

    fn free(self) -> Result<(), (Self, SystemError)> {
        Self::free(self)
    }
}

impl System for Windows {
    type Channel = DeviceChannel;
    type Pages = OwnPages;

    fn open(&self) -> Outcome<Option<DeviceChannel>> {
        DeviceChannel::open_first()
    }

    fn allocate(&self, _: &DeviceChannel, length: u64) -> Outcome<OwnPages> {
        OwnPages::allocate(length)
    }

    fn locks_own_memory(&self) -> bool {
        !windows::is_wine()
    }

    fn is_administrator(&self) -> Outcome<bool> {
        windows::is_administrator()
    }

    fn test_signing(&self) -> Option<bool> {
        windows::test_signing()
    }

    fn devices(&self) -> Outcome<Vec<DeviceState>> {
        let devices = windows::devices(HARDWARE_ID, SERVICE)?;
        let state = |device: windows::Device| DeviceState {
            instance: device.instance,
            started: device.started,
            problem: device.problem,
            inf: device.inf,
        };
        Ok(devices.into_iter().map(state).collect())
    }

    fn check_inf(&self, inf: &Path) -> Outcome<()> {
        windows::check_inf(inf)
    }

    fn create_root_device(&self, inf: &Path) -> Outcome<String> {
        windows::create_root_device(inf, ENUMERATED_AS, HARDWARE_ID)
    }

    fn update_driver(&self, inf: &Path) -> Outcome<bool> {
        windows::update_driver(inf, HARDWARE_ID)
    }

    fn remove_device(&self, instance: &str) -> Outcome<bool> {
        windows::remove_device(instance)
    }

    fn uninstall_inf(&self, name: &str) -> Outcome<()> {
        windows::uninstall_inf(name)
    }

    fn delete_service(&self) -> Outcome<bool> {
        windows::delete_service(SERVICE)
    }

    fn restart_device(&self, instance: &str) -> Outcome<bool> {
        windows::restart(instance)
    }

    fn read_setting(&self, instance: &str, name: &str) -> Outcome<Setting> {
        Ok(match windows::read_setting(instance, name)? {
            windows::Setting::Absent => Setting::Absent,
            windows::Setting::Number(value) => Setting::Number(value),
            windows::Setting::OtherType(kind) => Setting::OtherType(kind),
        })
    }

    fn write_setting(&self, instance: &str, name: &str, value: u64) -> Outcome<()> {
        windows::write_setting(instance, name, value)
    }

    fn remove_setting(&self, instance: &str, name: &str) -> Outcome<bool> {
        windows::remove_setting(instance, name)
    }

    fn verifier(&self, arguments: &[&str]) -> Outcome<ProgramOutput> {
        // By its full path: no other program of that name is started in its place.
        let path = windows::system_folder()?.join("verifier.exe");
        let output = Command::new(&path).args(arguments).output();
        let output = output.map_err(|error| {
            windows::refusal(format!("cannot start {}", path.display()), &error)
        })?;
        let text = [output.stdout, output.stderr].concat();
        Ok(ProgramOutput {
            success: output.status.success(),
            code: output.status.code(),
            text: text_of(&text),
        })
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// What a program printed: UTF-16 from some of them, when they do not print to a console.
fn text_of(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let wide = units.iter().filter(|[_, high]| *high == 0).count() > units.len() / 2;
    if wide {
        let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    }
}
