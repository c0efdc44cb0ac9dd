//! The driver's service: exactly one, a kernel driver that starts on demand, from the driver store.

use super::{
    Checker, Rule,
    registry::{dword, writes},
};
use crate::inf::Entry;

/// `SPSVCINST_ASSOCSERVICE`: the service is the device's function driver.
const FUNCTION_DRIVER: u32 = 2;

impl Checker<'_> {
    /// The `.Services` section of an install section.
    pub(super) fn service(&mut self, install: &str) {
        let section = format!("{install}.Services");
        let line = self.inf.line_of(install).unwrap_or(1);
        if !self.reference(&section, line) {
            return;
        }
        let line = self.inf.line_of(&section).unwrap_or(line);
        let inf = self.inf;
        let mut drivers = 0_usize;
        for entry in inf.entries(&section) {
            if entry.is("AddService") {
                let flags = super::number(entry.value(1)).unwrap_or_default();
                if flags & FUNCTION_DRIVER != 0 {
                    drivers = drivers.saturating_add(1);
                }
                self.service_install(entry);
            } else {
                self.report(
                    entry.line,
                    Rule::Service,
                    format!(
                        "`{}` among the services",
                        entry.key.as_deref().unwrap_or_default()
                    ),
                    "AddService alone",
                );
            }
        }
        if drivers != 1 {
            self.report(
                line,
                Rule::Service,
                format!("{drivers} services with flag 2 (SPSVCINST_ASSOCSERVICE)"),
                "exactly one: the device's function driver",
            );
        }
    }

    fn service_install(&mut self, add: &Entry) {
        let section = add.value(2);
        if !add.value(3).is_empty() {
            self.report(
                add.line,
                Rule::Service,
                "an event log section, though the driver writes to no event log",
                "AddService = name, 2, section",
            );
        }
        if !self.reference(section, add.line) {
            return;
        }
        self.fixed_number(section, "ServiceType", 1, "a kernel driver");
        self.fixed_number(section, "StartType", 3, "on demand");
        self.fixed_number(section, "ErrorControl", 1, "normal");
        self.service_binary(section);
        let entries = self.added_registry(section);
        let line = self.inf.line_of(section).unwrap_or(add.line);
        self.remapping_of_service(&entries, line);
    }

    fn service_binary(&mut self, section: &str) {
        let accepted = "%13%\\ and a file that CopyFiles names";
        let Some(entry) = self.only(section, "ServiceBinary", Rule::Service, accepted) else {
            return;
        };
        let binary = self.inf.expand(entry.value(0));
        let good = binary
            .strip_prefix("%13%\\")
            .is_some_and(|file| self.inf.entry("SourceDisksFiles", file).is_some());
        if !good {
            self.report(
                entry.line,
                Rule::Service,
                format!("ServiceBinary is `{binary}`"),
                accepted,
            );
        }
    }

    /// The opt-in of Windows before 11 24H2, per driver.
    fn remapping_of_service(&mut self, entries: &[&Entry], line: usize) {
        let found = entries
            .iter()
            .find(|entry| writes(entry, "Parameters", "DmaRemappingCompatible"));
        if found.and_then(|entry| dword(entry)) != Some(1) {
            self.report(
                found.map_or(line, |entry| entry.line),
                Rule::DmaRemapping,
                "the driver does not opt in to DMA remapping",
                "HKR,Parameters,DmaRemappingCompatible,0x00010001,1",
            );
        }
    }
}
