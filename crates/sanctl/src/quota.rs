//! `sanctl quota`: the parameters of the device, in its hardware key.

use std::collections::BTreeMap;

use sanproxy_abi::{PARAMETERS, Parameter};
use serde::Serialize;

use crate::amount::{self, parse_bytes};
use crate::failure::{Exit, Failure, for_administrators, not_administrator};
use crate::screen::{Align, Report, Screen, pairs, table};
use crate::system::{DeviceState, Setting, System, open};

#[derive(Serialize)]
struct Quotas {
    device: String,
    parameters: Vec<Line>,
    restart_needed: bool,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    set: Option<u64>,
    set_to_another_type: Option<u32>,
    default: u64,
    effective: u64,
    lowest: u64,
    highest: u64,
    meaning: &'static str,
}

/// A number as its parameter is best read.
fn shown(name: &str, value: u64) -> String {
    if name.contains("Bytes") || name.contains("Length") {
        amount::bytes(value)
    } else {
        value.to_string()
    }
}

impl Report for Quotas {
    fn text(&self) -> String {
        let heading = [
            ("Parameter", Align::Left),
            ("In effect", Align::Right),
            ("Set", Align::Right),
            ("Default", Align::Right),
            ("Meaning", Align::Left),
        ];
        let rows: Vec<Vec<String>> = self
            .parameters
            .iter()
            .map(|line| {
                let set = match (line.set, line.set_to_another_type) {
                    (Some(value), _) => shown(line.name, value),
                    (None, Some(kind)) => format!("type {kind}?"),
                    (None, None) => "-".to_owned(),
                };
                vec![
                    line.name.to_owned(),
                    shown(line.name, line.effective),
                    set,
                    shown(line.name, line.default),
                    line.meaning.to_owned(),
                ]
            })
            .collect();
        let mut text = table(&heading, &rows);
        if self.restart_needed {
            text.push_str("New values take effect when the device starts: --restart does that.\n");
        }
        text
    }
}

/// A change that was asked for.
struct Change {
    parameter: Parameter,
    /// `None` removes it.
    value: Option<u64>,
}

/// `sanctl quota`.
pub(crate) fn quota<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    set: &[String],
    remove: &[String],
    restart: bool,
) -> Result<(), Failure> {
    let changes = parse(set, remove)?;
    let devices = system.devices()?;
    let device = devices.first().ok_or_else(|| {
        Failure::new(
            Exit::NoDevice,
            "there is no device whose parameters could be shown",
        )
        .cure("sanctl install creates one")
    })?;
    if (restart || !changes.is_empty()) && !system.is_administrator()? {
        return Err(not_administrator("setting parameters"));
    }
    apply(system, device, &changes)?;
    let mut system_restart = false;
    if restart {
        system_restart = system.restart_device(&device.instance).map_err(|error| {
            let mut failure = Failure::from(error);
            failure
                .message
                .push_str("; the parameters are set, and hold from its next start");
            failure
        })?;
    }
    let mut parameters = Vec::new();
    for parameter in PARAMETERS {
        parameters.push(line(
            parameter,
            system.read_setting(&device.instance, parameter.name)?,
        ));
    }
    screen.report(&Quotas {
        device: device.instance.clone(),
        parameters,
        restart_needed: !changes.is_empty() && !restart,
    })?;
    if system_restart {
        return Err(Failure::new(
            Exit::Restart,
            "the device could not be restarted while it is in use",
        )
        .cure("close the programs that use it, or restart Windows"));
    }
    Ok(())
}

/// `sanctl quota --now`: the driver sets them, and writes them for its next start.
pub(crate) fn now<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    set: &[String],
    remove: &[String],
) -> Result<(), Failure> {
    let changes = parse(set, remove)?;
    let provider = open(system)?;
    let before = provider.capabilities()?;
    let mut quotas = sanproxy_provider::Quotas {
        bytes_per_file: before.bytes_per_file,
        count_per_file: before.count_per_file,
        bytes_per_device: before.bytes_per_device,
        count_per_device: before.count_per_device,
    };
    for Change { parameter, value } in &changes {
        let place = match parameter.name {
            "MaximumBytesPerFile" => &mut quotas.bytes_per_file,
            "MaximumCountPerFile" => &mut quotas.count_per_file,
            "MaximumBytesPerDevice" => &mut quotas.bytes_per_device,
            "MaximumCountPerDevice" => &mut quotas.count_per_device,
            other => {
                return Err(
                    Failure::usage(format!("{other} takes a start of the device"))
                        .cure("leave --now out, and give --restart"),
                );
            }
        };
        *place = value.unwrap_or(parameter.default);
    }
    if !changes.is_empty() {
        provider
            .set_quotas(&quotas)
            .map_err(|error| for_administrators(error, "setting quotas"))?;
    }
    screen.report(&InForce(BTreeMap::from([
        ("MaximumBytesPerFile", quotas.bytes_per_file),
        ("MaximumCountPerFile", quotas.count_per_file),
        ("MaximumBytesPerDevice", quotas.bytes_per_device),
        ("MaximumCountPerDevice", quotas.count_per_device),
    ])))
}

/// The quotas of a running device.
#[derive(Serialize)]
struct InForce(BTreeMap<&'static str, u64>);

impl Report for InForce {
    fn text(&self) -> String {
        let rows = self
            .0
            .iter()
            .map(|(name, value)| (*name, shown(name, *value)));
        let rows = pairs(&rows.collect::<Vec<_>>());
        format!("{rows}For files opened from now on, and after every start.\n")
    }
}

fn line(parameter: Parameter, setting: Setting) -> Line {
    let (set, set_to_another_type) = match setting {
        Setting::Absent => (None, None),
        Setting::Number(value) => (Some(value), None),
        Setting::OtherType(kind) => (None, Some(kind)),
    };
    Line {
        name: parameter.name,
        set,
        set_to_another_type,
        default: parameter.default,
        effective: parameter.effective(set),
        lowest: parameter.lowest,
        highest: parameter.highest,
        meaning: parameter.documentation,
    }
}

fn parse(set: &[String], remove: &[String]) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    for text in set {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{text:?} is not NAME=VALUE")))?;
        let parameter = find(name)?;
        let value = parse_bytes(value).map_err(Failure::usage)?;
        let Parameter {
            name,
            lowest,
            highest,
            ..
        } = parameter;
        if value < lowest || value > highest {
            return Err(Failure::usage(format!(
                "{name} takes {} to {}, not {}",
                shown(name, lowest),
                shown(name, highest),
                shown(name, value)
            )));
        }
        changes.push(Change {
            parameter,
            value: Some(value),
        });
    }
    for name in remove {
        changes.push(Change {
            parameter: find(name)?,
            value: None,
        });
    }
    Ok(changes)
}

fn find(name: &str) -> Result<Parameter, Failure> {
    let known = PARAMETERS
        .iter()
        .find(|known| known.name.eq_ignore_ascii_case(name));
    known.copied().ok_or_else(|| {
        let names: Vec<&str> = PARAMETERS.iter().map(|known| known.name).collect();
        Failure::usage(format!("there is no parameter {name:?}"))
            .cure(format!("the parameters are {}", names.join(", ")))
    })
}

/// Makes all changes, or none: what was there before is put back if one cannot be made.
fn apply<S: System>(system: &S, device: &DeviceState, changes: &[Change]) -> Result<(), Failure> {
    let instance = &device.instance;
    let mut undo: Vec<(&str, Setting)> = Vec::new();
    for Change { parameter, value } in changes {
        let name = parameter.name;
        let step = system.read_setting(instance, name).and_then(|before| {
            undo.push((name, before));
            match value {
                Some(value) => system.write_setting(instance, name, *value),
                None => system.remove_setting(instance, name).map(drop),
            }
        });
        let Err(error) = step else { continue };
        let mut failure = Failure::from(error);
        for (name, before) in undo.iter().rev() {
            let back = match before {
                Setting::Number(value) => system.write_setting(instance, name, *value),
                Setting::Absent => system.remove_setting(instance, name).map(drop),
                // Was not touched: the driver ignores it, and only `set` replaces it.
                Setting::OtherType(_) => Ok(()),
            };
            if back.is_err() {
                failure
                    .message
                    .push_str(&format!("; {name} could not be put back"));
            }
        }
        return Err(failure);
    }
    Ok(())
}
