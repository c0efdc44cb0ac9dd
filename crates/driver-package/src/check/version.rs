//! `[Version]`: what the file is, which class the device is of, and which catalogue vouches for the package.

use super::{Checker, Rule};
use crate::{date::Date, stamp::Version};

/// System classes that a driver without hardware of its own may join.
const CLASSES: [(&str, &str); 1] = [("System", "{4d36e97d-e325-11ce-bfc1-08002be10318}")];

impl Checker<'_> {
    pub(super) fn version(&mut self) {
        if !self.reference("Version", 1) {
            return;
        }
        self.fixed("Version", "Signature", Rule::Version, "$Windows NT$");
        self.fixed("Version", "PnpLockdown", Rule::Version, "1");
        self.class();
        self.provider();
        self.driver_version();
        self.catalog_file();
    }

    fn class(&mut self) {
        let class = self.only("Version", "Class", Rule::Version, "System");
        let guid = self.only("Version", "ClassGuid", Rule::Version, CLASSES[0].1);
        let (Some(class), Some(guid)) = (class, guid) else {
            return;
        };
        let Some((_, wanted)) = CLASSES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(class.value(0)))
        else {
            return self.report(
                class.line,
                Rule::Version,
                format!("Class is `{}`", class.value(0)),
                "System",
            );
        };
        if !guid.value(0).eq_ignore_ascii_case(wanted) {
            self.report(
                guid.line,
                Rule::Version,
                format!(
                    "ClassGuid {} is not that of class {}",
                    guid.value(0),
                    class.value(0)
                ),
                *wanted,
            );
        }
    }

    fn provider(&mut self) {
        if let Some(entry) = self.only("Version", "Provider", Rule::Version, "%Provider%")
            && self.inf.expand(entry.value(0)).trim().is_empty()
        {
            self.report(
                entry.line,
                Rule::Version,
                "Provider is empty",
                "the name of who provides the package",
            );
        }
    }

    fn driver_version(&mut self) {
        const ACCEPTED: &str = "mm/dd/yyyy,w.x.y.z with numbers up to 65535";
        let Some(entry) = self.only("Version", "DriverVer", Rule::Version, ACCEPTED) else {
            return;
        };
        let dots = entry.value(1).matches('.').count();
        let good = Date::parse_inf(entry.value(0)).is_some()
            && Version::parse(entry.value(1)).is_some()
            && dots == 3;
        if !good || entry.values.len() != 2 {
            self.report(
                entry.line,
                Rule::Version,
                format!("DriverVer is `{}`", entry.values.join(",")),
                ACCEPTED,
            );
        }
    }

    fn catalog_file(&mut self) {
        let Some(entry) = self.only("Version", "CatalogFile", Rule::Version, "name.cat") else {
            return;
        };
        let name = entry.value(0);
        let is_catalog = name.rsplit_once('.').is_some_and(|(stem, extension)| {
            !stem.is_empty() && extension.eq_ignore_ascii_case("cat")
        });
        if !is_catalog || name.contains(['\\', '/', '%']) {
            self.report(
                entry.line,
                Rule::Version,
                format!("CatalogFile is `{name}`"),
                "a file name that ends in .cat, without a folder",
            );
        }
    }
}
