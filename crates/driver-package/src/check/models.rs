//! Manufacturers, the Windows versions they support, and the devices that the driver binds to.

use super::{Checker, Rule};
use crate::inf::Entry;

/// The first Windows 10 whose driver store runs isolated packages: version 1709.
const LOWEST_BUILD: u32 = 19041;
const DECORATION: &str = "NTamd64.10.0...19041 or NTarm64.10.0...19041, or a later build";

impl Checker<'_> {
    pub(super) fn models(&mut self) {
        if !self.reference("Manufacturer", 1) {
            return;
        }
        let inf = self.inf;
        let mut some = false;
        for manufacturer in inf.entries("Manufacturer") {
            some = true;
            let models = manufacturer.value(0);
            let decorations = manufacturer.values.get(1..).unwrap_or_default();
            if decorations.iter().all(String::is_empty) {
                self.report(
                    manufacturer.line,
                    Rule::Models,
                    "a manufacturer without a decoration, which means every Windows and x86",
                    DECORATION,
                );
            }
            for decoration in decorations.iter().filter(|text| !text.is_empty()) {
                if !is_supported(decoration) {
                    self.report(
                        manufacturer.line,
                        Rule::Models,
                        format!("the decoration `{decoration}`"),
                        DECORATION,
                    );
                }
                let section = format!("{models}.{decoration}");
                if self.reference(&section, manufacturer.line) {
                    for model in inf.entries(&section) {
                        self.model(model, decoration);
                    }
                }
            }
        }
        if !some {
            let line = inf.line_of("Manufacturer").unwrap_or(1);
            self.report(
                line,
                Rule::Models,
                "[Manufacturer] is empty",
                "%Name% = Models, decoration",
            );
        }
    }

    fn model(&mut self, model: &Entry, decoration: &str) {
        if model.key.is_none() || model.value(0).is_empty() {
            return self.report(
                model.line,
                Rule::Models,
                "a model without a description or an install section",
                "%Description% = Install, hardware identifier",
            );
        }
        let identifiers = model.values.get(1..).unwrap_or_default();
        if identifiers.iter().all(String::is_empty) {
            self.report(
                model.line,
                Rule::Models,
                "a model without a hardware identifier",
                "%Description% = Install, hardware identifier",
            );
        }
        for identifier in identifiers.iter().filter(|text| !text.is_empty()) {
            if !names_one_device(identifier) {
                self.report(
                    model.line,
                    Rule::Models,
                    format!("`{identifier}` fits devices that are not ours"),
                    "Root\\Name, or PCI\\VEN_xxxx&DEV_xxxx",
                );
            }
        }
        self.install(model.value(0), decoration, model.line);
    }

    /// The section that installs a model: `Name.NTamd64`, `Name.NT` or `Name`, and its companions.
    fn install(&mut self, name: &str, decoration: &str, line: usize) {
        let platform = decoration.split('.').next().unwrap_or_default();
        let candidates = [
            format!("{name}.{decoration}"),
            format!("{name}.{platform}"),
            format!("{name}.NT"),
            name.to_string(),
        ];
        let found = candidates
            .iter()
            .find(|section| self.inf.line_of(section).is_some());
        let Some(section) = found else {
            return self.report(
                line,
                Rule::Sections,
                format!("there is no section [{name}.NT]"),
                "the name of an install section of this file",
            );
        };
        self.named.insert(section.to_ascii_lowercase());
        self.copies(section);
        self.added_registry(section);
        self.service(section);
        self.hardware(section);
    }
}

/// `NT<architecture>.10.0...<build>` with a build that knows isolated packages.
fn is_supported(decoration: &str) -> bool {
    let Some((platform, rest)) = decoration.split_once('.') else {
        return false;
    };
    let platform = platform.to_ascii_lowercase();
    let build = rest
        .strip_prefix("10.0...")
        .and_then(|build| build.parse::<u32>().ok());
    ["ntamd64", "ntarm64"].contains(&platform.as_str())
        && build.is_some_and(|build| build >= LOWEST_BUILD)
}

/// Whether an identifier names one device rather than a class of them.
fn names_one_device(identifier: &str) -> bool {
    let identifier = identifier.to_ascii_uppercase();
    if identifier.contains('*') {
        return false;
    }
    match identifier.split_once('\\') {
        Some(("ROOT", name)) => !name.is_empty(),
        Some(("PCI", name)) => name.starts_with("VEN_") && name.contains("&DEV_"),
        _ => false,
    }
}
