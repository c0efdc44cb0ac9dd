//! The device's hardware key: who may open the device, and whether its driver takes part in DMA remapping.

use super::{
    Checker, Rule,
    registry::{dword, writes},
};
use crate::inf::Entry;

/// `FILE_DEVICE_SECURE_OPEN`: names below the device are checked as the device itself.
const SECURE_OPEN: u32 = 0x100;
const DESCRIPTOR: &str = "D:P(A;;GA;;;SY)(A;;GA;;;BA)";

impl Checker<'_> {
    /// The `.HW` section of an install section.
    pub(super) fn hardware(&mut self, install: &str) {
        let section = format!("{install}.HW");
        let line = self.inf.line_of(install).unwrap_or(1);
        if !self.reference(&section, line) {
            return;
        }
        let entries = self.added_registry(&section);
        let line = self.inf.line_of(&section).unwrap_or(line);
        self.security(&entries, line);
        self.characteristics(&entries, line);
        self.remapping(&entries, line);
    }

    fn security(&mut self, entries: &[&Entry], line: usize) {
        let Some(entry) = entries.iter().find(|entry| writes(entry, "", "Security")) else {
            return self.report(
                line,
                Rule::Security,
                "nothing says who may open the device",
                format!("HKR,,Security,,\"{DESCRIPTOR}\""),
            );
        };
        let descriptor = self.inf.expand(entry.value(4));
        if let Err(wrong) = admits_administrators_alone(&descriptor) {
            self.report(entry.line, Rule::Security, wrong, DESCRIPTOR);
        }
    }

    fn characteristics(&mut self, entries: &[&Entry], line: usize) {
        let accepted = "HKR,,DeviceCharacteristics,0x00010001,0x00000100";
        let found = entries
            .iter()
            .find(|entry| writes(entry, "", "DeviceCharacteristics"));
        let set = found.and_then(|entry| dword(entry)).unwrap_or_default();
        if set & SECURE_OPEN == 0 {
            self.report(
                found.map_or(line, |entry| entry.line),
                Rule::Security,
                "DeviceCharacteristics lacks FILE_DEVICE_SECURE_OPEN",
                accepted,
            );
        }
    }

    /// The opt-in of Windows 11 24H2 and later, per device.
    fn remapping(&mut self, entries: &[&Entry], line: usize) {
        let key = "DMA Management";
        let supported = entries
            .iter()
            .find(|entry| writes(entry, key, "RemappingSupported"));
        if supported.and_then(|entry| dword(entry)) != Some(1) {
            self.report(
                supported.map_or(line, |entry| entry.line),
                Rule::DmaRemapping,
                "the device does not opt in to DMA remapping",
                "HKR,\"DMA Management\",RemappingSupported,0x00010001,1",
            );
        }
        let flags = entries
            .iter()
            .find(|entry| writes(entry, key, "RemappingFlags"));
        if let Some(entry) = flags
            && !matches!(dword(entry), Some(0 | 1))
        {
            self.report(
                entry.line,
                Rule::DmaRemapping,
                format!("RemappingFlags is `{}`", entry.value(4)),
                "0 (always) or 1 (external ports only), as REG_DWORD",
            );
        }
    }
}

/// A protected list that admits SYSTEM and the administrators, and nobody else.
fn admits_administrators_alone(descriptor: &str) -> Result<(), String> {
    let list = descriptor
        .strip_prefix("D:P")
        .ok_or_else(|| format!("`{descriptor}` is no protected list of who may open the device"))?;
    let mut trustees = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (ace, tail) = rest
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or_else(|| format!("`{rest}` is no access control entry"))?;
        let fields: Vec<&str> = ace.split(';').collect();
        match fields.as_slice() {
            ["A", _, rights, "", "", trustee @ ("SY" | "BA")] if !rights.is_empty() => {
                trustees.push(*trustee);
            }
            ["A", _, _, _, _, trustee] => {
                return Err(format!("`{trustee}` may open the device"));
            }
            _ => return Err(format!("`({ace})` is no entry that allows")),
        }
        rest = tail;
    }
    for wanted in ["SY", "BA"] {
        if !trustees.contains(&wanted) {
            return Err(format!("`{wanted}` may not open the device"));
        }
    }
    Ok(())
}
