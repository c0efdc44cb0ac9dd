//! The rules that an INF has to keep so that Windows 10 and 11 install its package isolated, from the driver store.
//!
//! They are those which `InfVerif /w` and `/h` are documented to enforce, as far as a driver without a framework can
//! break them, and a few of our own on top: who may open the device, and how it takes part in DMA remapping. What Windows
//! would ignore is a finding too: a section that nothing names is a typing error.

mod files;
mod models;
mod registry;
mod security;
mod service;
mod strings;
mod version;

use std::{collections::BTreeSet, fmt};

use crate::inf::{Entry, Inf};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The text is no INF.
    Syntax,
    /// `[Version]`.
    Version,
    /// Manufacturers, models, decorations, hardware identifiers.
    Models,
    /// What is copied, from where and to where.
    Files,
    /// A directive that an isolated package must not have.
    Directive,
    /// What is written to the registry.
    Registry,
    /// The driver's service.
    Service,
    /// Who may open the device.
    Security,
    /// DMA remapping.
    DmaRemapping,
    /// `%tokens%` and directory numbers.
    Strings,
    /// Sections that are missing, or that nothing names.
    Sections,
}

/// One thing that is wrong, where, and what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What it is about.
    pub rule: Rule,
    /// What is wrong.
    pub wrong: String,
    /// What would be accepted.
    pub accepted: String,
}

impl Finding {
    /// A finding.
    pub fn new(
        file: &str,
        line: usize,
        rule: Rule,
        wrong: impl Into<String>,
        accepted: impl Into<String>,
    ) -> Self {
        Self {
            file: file.to_string(),
            line,
            rule,
            wrong: wrong.into(),
            accepted: accepted.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: {}; accepted: {}",
            self.file, self.line, self.wrong, self.accepted
        )
    }
}

/// Checks an INF; `files` are the names in its folder, in lower case.
///
/// No finding means that it may be packaged. The order is that of the lines.
#[must_use]
pub fn check(inf: &Inf, files: &BTreeSet<String>) -> Vec<Finding> {
    let mut checker = Checker {
        inf,
        files,
        findings: Vec::new(),
        named: BTreeSet::new(),
    };
    checker.version();
    checker.models();
    checker.disks();
    checker.forbidden();
    checker.strings();
    checker.unnamed_sections();
    let mut findings = checker.findings;
    findings.sort_by_key(|finding| (finding.line, finding.rule));
    findings.dedup();
    findings
}

/// The check under way.
struct Checker<'a> {
    inf: &'a Inf,
    files: &'a BTreeSet<String>,
    findings: Vec<Finding>,
    /// Sections that something names, in lower case.
    named: BTreeSet<String>,
}

impl<'a> Checker<'a> {
    fn report(
        &mut self,
        line: usize,
        rule: Rule,
        wrong: impl Into<String>,
        accepted: impl Into<String>,
    ) {
        let finding = Finding::new(&self.inf.name, line, rule, wrong, accepted);
        self.findings.push(finding);
    }

    /// Notes that `section` is named on `line`; whether it exists.
    fn reference(&mut self, section: &str, line: usize) -> bool {
        self.named.insert(section.to_ascii_lowercase());
        let exists = self.inf.line_of(section).is_some();
        if !exists {
            self.report(
                line,
                Rule::Sections,
                format!("there is no section [{section}]"),
                "the name of a section of this file",
            );
        }
        exists
    }

    /// The entry that a section must have exactly once.
    fn only(&mut self, section: &str, key: &str, rule: Rule, accepted: &str) -> Option<&'a Entry> {
        let inf = self.inf;
        let line = inf.line_of(section).unwrap_or(1);
        let mut entries = inf.entries(section).filter(|entry| entry.is(key));
        let first = entries.next();
        if let Some(second) = entries.next() {
            self.report(
                second.line,
                rule,
                format!("a second {key} in [{section}]"),
                "one",
            );
        }
        if first.is_none() {
            self.report(
                line,
                rule,
                format!("[{section}] has no {key}"),
                format!("{key} = {accepted}"),
            );
        }
        first
    }

    /// A value that must be one certain text.
    fn fixed(&mut self, section: &str, key: &str, rule: Rule, wanted: &str) {
        if let Some(entry) = self.only(section, key, rule, wanted) {
            let value = self.inf.expand(entry.value(0));
            if !value.eq_ignore_ascii_case(wanted) {
                self.report(
                    entry.line,
                    rule,
                    format!("{key} is `{value}`"),
                    format!("{key} = {wanted}"),
                );
            }
        }
    }

    /// A value that must be one certain number.
    fn fixed_number(&mut self, section: &str, key: &str, wanted: u32, meaning: &str) {
        let accepted = format!("{wanted} ({meaning})");
        if let Some(entry) = self.only(section, key, Rule::Service, &accepted)
            && number(entry.value(0)) != Some(wanted)
        {
            self.report(
                entry.line,
                Rule::Service,
                format!("{key} is `{}`", entry.value(0)),
                accepted,
            );
        }
    }

    fn unnamed_sections(&mut self) {
        const KNOWN: [&str; 6] = [
            "version",
            "strings",
            "manufacturer",
            "destinationdirs",
            "sourcedisksnames",
            "sourcedisksfiles",
        ];
        for section in &self.inf.sections {
            let name = section.name.to_ascii_lowercase();
            let localized = name.starts_with("strings.");
            if !KNOWN.contains(&name.as_str()) && !localized && !self.named.contains(&name) {
                self.report(
                    section.line,
                    Rule::Sections,
                    format!("nothing names the section [{}]", section.name),
                    "sections that a directive names",
                );
            }
        }
    }

    /// Directives and sections that reach out of the package, or are gone from isolated INFs.
    fn forbidden(&mut self) {
        const DIRECTIVES: [&str; 14] = [
            "BitReg",
            "CoInstallers32",
            "DelFiles",
            "Ini2Reg",
            "Installer32",
            "LayoutFile",
            "LoadOrderGroup",
            "ProfileItems",
            "RegisterDlls",
            "RenFiles",
            "StartName",
            "UnregisterDlls",
            "UpdateIniFields",
            "UpdateInis",
        ];
        for section in &self.inf.sections {
            let name = section.name.to_ascii_lowercase();
            if name.ends_with(".coinstallers") || name.starts_with("classinstall32") {
                self.report(
                    section.line,
                    Rule::Directive,
                    format!("a section [{}]", section.name),
                    "no co-installer and no class of its own",
                );
            }
            for entry in &section.entries {
                if name != "strings" && DIRECTIVES.iter().any(|directive| entry.is(directive)) {
                    self.report(
                        entry.line,
                        Rule::Directive,
                        format!(
                            "the directive {} reaches out of the package",
                            entry.key.as_deref().unwrap_or_default()
                        ),
                        "CopyFiles, AddReg and AddService alone",
                    );
                }
            }
        }
    }
}

/// A number as INF files have them: decimal, or hexadecimal with `0x`.
pub(crate) fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
