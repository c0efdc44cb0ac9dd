//! What is written to the registry: relative to the device's or the service's own key, and nowhere else.

use super::{Checker, Rule, number};
use crate::inf::Entry;

impl<'a> Checker<'a> {
    /// The sections that `AddReg` of `section` names, checked.
    pub(super) fn added_registry(&mut self, section: &str) -> Vec<&'a Entry> {
        let inf = self.inf;
        let mut all = Vec::new();
        for directive in inf
            .entries(section)
            .filter(|entry| entry.is("AddReg") || entry.is("DelReg"))
        {
            for name in &directive.values {
                if self.reference(name, directive.line) {
                    for entry in inf.entries(name) {
                        self.registry_entry(entry);
                        all.push(entry);
                    }
                }
            }
        }
        all
    }

    fn registry_entry(&mut self, entry: &Entry) {
        let root = entry.value(0);
        if !root.eq_ignore_ascii_case("HKR") {
            self.report(
                entry.line,
                Rule::Registry,
                format!("a value below `{root}`"),
                "HKR: the key of the device or the service itself",
            );
        }
        let key = entry.value(1);
        if key.starts_with('\\') || key.contains("..") {
            self.report(
                entry.line,
                Rule::Registry,
                format!("the key `{key}` leaves its place"),
                "a relative key",
            );
        }
        if !entry.value(3).is_empty() && number(entry.value(3)).is_none() {
            self.report(
                entry.line,
                Rule::Registry,
                format!("the flags `{}` are no number", entry.value(3)),
                "0x00010001 (REG_DWORD), 0x00010003 (the same, kept if it exists)",
            );
        }
    }
}

/// Whether an entry writes this value of this key.
pub(super) fn writes(entry: &Entry, key: &str, name: &str) -> bool {
    entry.value(1).eq_ignore_ascii_case(key) && entry.value(2).eq_ignore_ascii_case(name)
}

/// The number that an entry writes as `REG_DWORD`.
pub(super) fn dword(entry: &Entry) -> Option<u32> {
    /// The type alone, without the bit that keeps an existing value.
    const KEEP: u32 = 2;
    let flags = number(entry.value(3))? & !KEEP;
    (flags == 0x0001_0001)
        .then(|| number(entry.value(4)))
        .flatten()
}
