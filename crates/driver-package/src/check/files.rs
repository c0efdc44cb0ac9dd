//! What is copied: each file is in the package and on the list of source files, keeps its name, and stays in the driver store.

use super::{Checker, Rule};

/// The folder of the package in the driver store.
pub(super) const DRIVER_STORE: &str = "13";

impl Checker<'_> {
    /// `CopyFiles` of an install section.
    pub(super) fn copies(&mut self, install: &str) {
        let inf = self.inf;
        for directive in inf.entries(install).filter(|entry| entry.is("CopyFiles")) {
            for name in &directive.values {
                match name.strip_prefix('@') {
                    Some(file) => {
                        self.copied_file(file, directive.line);
                        self.destination("DefaultDestDir", directive.line);
                    }
                    None => self.copy_section(name, directive.line),
                }
            }
        }
    }

    fn copy_section(&mut self, section: &str, line: usize) {
        if !self.reference(section, line) {
            return;
        }
        let inf = self.inf;
        for entry in inf.entries(section) {
            let (to, from) = (entry.value(0), entry.value(1));
            if !from.is_empty() && !from.eq_ignore_ascii_case(to) {
                self.report(
                    entry.line,
                    Rule::Files,
                    format!("`{from}` is renamed to `{to}`"),
                    "a file keeps its name",
                );
            }
            self.copied_file(if from.is_empty() { to } else { from }, entry.line);
        }
        let key = if inf.entry("DestinationDirs", section).is_some() {
            section
        } else {
            "DefaultDestDir"
        };
        self.destination(key, line);
    }

    fn copied_file(&mut self, file: &str, line: usize) {
        if file.contains(['\\', '/']) {
            self.report(
                line,
                Rule::Files,
                format!("`{file}` names a folder"),
                "a file name alone",
            );
        }
        if self.inf.entry("SourceDisksFiles", file).is_none() {
            self.report(
                line,
                Rule::Files,
                format!("`{file}` is not in [SourceDisksFiles]"),
                format!("{file} = 1 there"),
            );
        }
    }

    fn destination(&mut self, key: &str, line: usize) {
        let inf = self.inf;
        let Some(entry) = inf.entry("DestinationDirs", key) else {
            return self.report(
                line,
                Rule::Files,
                "no entry of [DestinationDirs] says where the files go",
                "DefaultDestDir = 13",
            );
        };
        if entry.value(0) != DRIVER_STORE || !entry.value(1).is_empty() {
            self.report(
                entry.line,
                Rule::Files,
                format!("files go to folder `{}`", entry.values.join(",")),
                "13, the driver store, without a subfolder",
            );
        }
    }

    /// `[SourceDisksNames]` and `[SourceDisksFiles]` against each other, the package and what is copied.
    pub(super) fn disks(&mut self) {
        let inf = self.inf;
        for entry in inf.entries("SourceDisksNames") {
            if !entry.value(3).is_empty() {
                self.report(
                    entry.line,
                    Rule::Files,
                    format!("the source disk lies in `{}`", entry.value(3)),
                    "the folder of the INF",
                );
            }
        }
        for entry in inf.entries("SourceDisksFiles") {
            let file = entry.key.as_deref().unwrap_or_default();
            if inf.entry("SourceDisksNames", entry.value(0)).is_none() {
                self.report(
                    entry.line,
                    Rule::Files,
                    format!(
                        "`{file}` is on disk `{}`, which [SourceDisksNames] lacks",
                        entry.value(0)
                    ),
                    "the number of a disk there",
                );
            }
            if !self.files.contains(&file.to_ascii_lowercase()) {
                self.report(
                    entry.line,
                    Rule::Files,
                    format!("`{file}` is not in the package"),
                    self.files.iter().cloned().collect::<Vec<_>>().join(", "),
                );
            }
            if !self.is_copied(file) {
                self.report(
                    entry.line,
                    Rule::Files,
                    format!("`{file}` is copied nowhere"),
                    "files that a CopyFiles directive names",
                );
            }
        }
    }

    fn is_copied(&self, file: &str) -> bool {
        let inf = self.inf;
        let directives = inf
            .sections
            .iter()
            .flat_map(|section| section.all("CopyFiles"));
        directives
            .flat_map(|directive| &directive.values)
            .any(|name| match name.strip_prefix('@') {
                Some(name) => name.eq_ignore_ascii_case(file),
                None => inf
                    .entries(name)
                    .any(|entry| entry.value(0).eq_ignore_ascii_case(file)),
            })
    }
}
