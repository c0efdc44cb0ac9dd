//! `sanctl install` and `sanctl uninstall`: the root-enumerated device, its driver, its service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::failure::{Exit, Failure, not_administrator};
use crate::screen::{GOOD, Report, Screen};
use crate::system::{DeviceState, SERVICE, System, why_not_open};

/// How long a device may take to start.
const START: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Installed {
    device: String,
    created: bool,
    restart_needed: bool,
}

impl Report for Installed {
    fn text(&self) -> String {
        let what = if self.created {
            "created and started"
        } else {
            "was there; its driver is updated"
        };
        format!("{GOOD}{}{GOOD:#} {what}.\n", self.device)
    }
}

/// The INF that is meant when none is named: the one next to the program.
pub(crate) fn inf_path(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let path = match given {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("sanproxy.inf"),
    };
    if !path.is_file() {
        return Err(
            Failure::usage(format!("there is no file {}", path.display()))
                .cure("name the sanproxy.inf of the package: sanctl install PATH"),
        );
    }
    // SetupAPI takes no relative path.
    Ok(std::path::absolute(path)?)
}

fn restart(what: &str) -> Failure {
    Failure::new(
        Exit::Restart,
        format!("{what}, but Windows has to be restarted first"),
    )
    .cure("restart Windows")
}

/// `sanctl install`.
pub(crate) fn install<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    inf: &Path,
) -> Result<(), Failure> {
    if !system.is_administrator()? {
        return Err(not_administrator("installing a driver"));
    }
    system.check_inf(inf)?;
    let existing = root_device(&system.devices()?);
    if system.is_interrupted() {
        return Err(Failure::interrupted("nothing was changed"));
    }
    let (device, created) = match existing {
        Some(device) => (device.instance, false),
        None => (system.create_root_device(inf)?, true),
    };
    let outcome = give_driver(system, inf, &device);
    let restart_needed = match outcome {
        Ok(restart_needed) => restart_needed,
        Err(failure) if created => return Err(undo(system, &device, failure)),
        Err(failure) => return Err(failure),
    };
    screen.report(&Installed {
        device,
        created,
        restart_needed,
    })?;
    if restart_needed {
        Err(restart("the driver is installed"))
    } else {
        Ok(())
    }
}

/// Gives the driver to the device and makes sure that it runs.
fn give_driver<S: System>(system: &S, inf: &Path, device: &str) -> Result<bool, Failure> {
    if system.is_interrupted() {
        return Err(Failure::interrupted("the installation"));
    }
    let restart_needed = system.update_driver(inf)?;
    if system.is_interrupted() {
        return Err(Failure::interrupted("the installation"));
    }
    // The system may start the device in the background.
    let end = system.elapsed().saturating_add(START);
    loop {
        let devices = system.devices()?;
        let state = devices.iter().find(|state| state.instance == *device);
        match state {
            Some(state) if !state.started && !restart_needed => {
                let over = state.problem.is_some() || system.elapsed() >= end;
                if over || system.is_interrupted() {
                    return Err(why_not_open(std::slice::from_ref(state)));
                }
            }
            _ => return Ok(restart_needed),
        }
        system.sleep(Duration::from_millis(100));
    }
}

/// Removes what a failed installation left, and says so.
fn undo<S: System>(system: &S, device: &str, mut failure: Failure) -> Failure {
    let driver = system.devices().ok().and_then(|devices| {
        let state = devices.into_iter().find(|state| state.instance == *device);
        state.and_then(|state| state.inf)
    });
    let removed = system.remove_device(device);
    let uninstalled = driver.map_or(Ok(()), |inf| system.uninstall_inf(&inf));
    let deleted = system.delete_service();
    match removed.and(uninstalled).and(deleted) {
        Ok(_) => failure.message.push_str("; the machine is as it was"),
        Err(error) => {
            failure
                .message
                .push_str(&format!("; and it could not be undone: {error}"));
        }
    }
    failure
}

/// Whether an INF came with a driver package: such are called oem and a number in the driver store,
/// or keep their names where there is none. An INF of Windows itself is never removed.
fn is_third_party(inf: &str) -> bool {
    let name = inf.to_ascii_lowercase();
    name.starts_with("oem") || name.starts_with(SERVICE)
}

fn root_device(devices: &[DeviceState]) -> Option<DeviceState> {
    let root = |device: &&DeviceState| device.instance.to_ascii_uppercase().starts_with("ROOT\\");
    devices.iter().find(root).cloned()
}

#[derive(Serialize)]
struct Uninstalled {
    devices: Vec<String>,
    drivers: Vec<String>,
    service: bool,
    restart_needed: bool,
}

impl Report for Uninstalled {
    fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        lines.extend(
            self.devices
                .iter()
                .map(|device| format!("Removed the device {device}.\n")),
        );
        lines.extend(
            self.drivers
                .iter()
                .map(|inf| format!("Removed the driver {inf}.\n")),
        );
        if self.service {
            lines.push(format!("Deleted the service {SERVICE}.\n"));
        }
        lines.concat()
    }
}

/// `sanctl uninstall`.
pub(crate) fn uninstall<S: System>(system: &S, screen: &mut Screen<'_>) -> Result<(), Failure> {
    if !system.is_administrator()? {
        return Err(not_administrator("removing a driver"));
    }
    let devices = system.devices()?;
    if system.is_interrupted() {
        return Err(Failure::interrupted("nothing was changed"));
    }
    let mut done = Uninstalled {
        devices: Vec::new(),
        drivers: Vec::new(),
        service: false,
        restart_needed: false,
    };
    let mut first = None;
    // One step that fails keeps none of the others from being done; the first error is told.
    for device in &devices {
        match system.remove_device(&device.instance) {
            Ok(restart) => {
                done.restart_needed |= restart;
                done.devices.push(device.instance.clone());
            }
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    let mut drivers: Vec<String> = devices
        .into_iter()
        .filter_map(|device| device.inf)
        .collect();
    drivers.sort();
    drivers.dedup();
    for inf in drivers.into_iter().filter(|inf| is_third_party(inf)) {
        match system.uninstall_inf(&inf) {
            Ok(()) => done.drivers.push(inf),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    match system.delete_service() {
        Ok(existed) => done.service = existed,
        Err(error) => drop(first.get_or_insert(error)),
    }
    if let Some(error) = first {
        return Err(error.into());
    }
    if done.devices.is_empty() && !done.service {
        return Err(Failure::new(
            Exit::NoDevice,
            "nothing of sanproxy is installed",
        ));
    }
    screen.report(&done)?;
    if done.restart_needed {
        Err(restart("the driver is removed"))
    } else {
        Ok(())
    }
}
