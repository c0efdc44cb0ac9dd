//! The INFs keep every rule, and the checker finds each rule broken: every rejection changes one line of a good INF.
//!
//! Cites security.md: C01, C02, C58-C60; san.md: R79.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;

use driver_package::{
    check::{Finding, Rule, check},
    date::Date,
    inf::Inf,
    stamp::{Architecture, Version, stamp},
};
use sanproxy_abi::parameter::PARAMETERS;

const SANPROXY: &str = include_str!("../inf/sanproxy.inx");
const EDU: &str = include_str!("../inf/sanproxy-edu.inx");

fn stamped(source: &str, architecture: Architecture) -> String {
    let date = Date::new(2026, 1, 31).expect("a day");
    let version = Version::parse("0.1.0").expect("a version");
    stamp("sanproxy.inx", source, architecture, date, version).expect("a source")
}

fn findings(text: &str) -> Vec<Finding> {
    let files = BTreeSet::from(["sanproxy.sys".to_string()]);
    match Inf::parse("sanproxy.inx", text) {
        Ok(inf) => check(&inf, &files),
        Err(findings) => findings,
    }
}

/// Replaces `from` by `to` in the good INF and gives the findings with this rule: there must be one.
fn broken(rule: Rule, from: &str, to: &str) -> Vec<Finding> {
    let good = stamped(SANPROXY, Architecture::Amd64);
    assert_eq!(findings(&good), [], "the INF to start from");
    assert!(good.contains(from), "no `{from}`");
    let found = findings(&good.replacen(from, to, 1));
    let of_rule: Vec<Finding> = found
        .iter()
        .filter(|finding| finding.rule == rule)
        .cloned()
        .collect();
    assert!(!of_rule.is_empty(), "nothing of {rule:?} in {found:?}");
    of_rule
}

/// As [`broken`], and the finding stands on the very line that was changed.
fn broken_here(rule: Rule, from: &str, to: &str) {
    let good = stamped(SANPROXY, Architecture::Amd64);
    let position = good.find(from).unwrap_or_else(|| panic!("no `{from}`"));
    let line = good[..position].matches('\n').count() + 1;
    let found = broken(rule, from, to);
    assert!(
        found.iter().any(|finding| finding.line == line),
        "line {line}: {found:?}"
    );
}

#[test]
fn sanproxy_inf_keeps_every_rule() {
    assert_eq!(findings(&stamped(SANPROXY, Architecture::Amd64)), []);
    assert_eq!(findings(&stamped(SANPROXY, Architecture::Arm64)), []);
}

#[test]
fn edu_inf_keeps_every_rule() {
    assert_eq!(findings(&stamped(EDU, Architecture::Amd64)), []);
}

#[test]
fn sanproxy_inf_binds_to_its_root_device_alone() {
    let text = stamped(SANPROXY, Architecture::Amd64);
    let inf = Inf::parse("sanproxy.inx", &text).expect("an INF");
    let ids = driver_package::assemble::hardware_ids(&inf);
    assert_eq!(ids, ["Root\\SanProxy"]);
}

#[test]
fn parameters_of_the_inf_are_those_of_the_contract_with_their_defaults() {
    let text = stamped(SANPROXY, Architecture::Amd64);
    let inf = Inf::parse("sanproxy.inx", &text).expect("an INF");
    let written: Vec<(String, u64)> = inf
        .entries("SanProxy.Parameters")
        .map(|entry| {
            let text = entry.value(4);
            let value = match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => text.parse(),
            };
            assert_eq!(entry.value(3), "0x00010003", "a REG_DWORD that is kept");
            (entry.value(2).to_string(), value.expect("a number"))
        })
        .collect();
    let expected: Vec<(String, u64)> = PARAMETERS
        .iter()
        .filter(|parameter| u32::try_from(parameter.default).is_ok())
        .map(|parameter| (parameter.name.to_string(), parameter.default))
        .collect();
    assert_eq!(written, expected);
    for parameter in PARAMETERS {
        assert!(text.contains(parameter.name), "{}", parameter.name);
    }
}

#[test]
fn finding_names_file_line_fault_and_cure() {
    let found = broken(Rule::Service, "StartType     = 3", "StartType = 0");
    assert_eq!(
        found[0].to_string(),
        "sanproxy.inx:67: StartType is `0`; accepted: 3 (on demand)"
    );
}

#[test]
fn signature_of_windows_95_is_found() {
    broken_here(Rule::Version, "\"$Windows NT$\"", "\"$Chicago$\"");
}

#[test]
fn class_of_others_is_found() {
    broken_here(Rule::Version, "= System", "= Net");
}

#[test]
fn class_identifier_of_another_class_is_found() {
    broken_here(Rule::Version, "{4d36e97d-e325", "{4d36e972-e325");
}

#[test]
fn provider_that_is_empty_is_found() {
    broken_here(Rule::Version, "Provider    = %Provider%", "Provider = \"\"");
}

#[test]
fn catalog_that_is_missing_is_found() {
    let found = broken(Rule::Version, "CatalogFile = sanproxy.cat", "");
    assert!(found[0].wrong.contains("no CatalogFile"), "{found:?}");
}

#[test]
fn catalog_in_a_folder_is_found() {
    broken_here(Rule::Version, "= sanproxy.cat", "= x64\\sanproxy.cat");
}

#[test]
fn catalog_with_another_extension_is_found() {
    broken_here(Rule::Version, "= sanproxy.cat", "= sanproxy.p7b");
}

#[test]
fn driver_version_with_a_day_that_is_none_is_found() {
    broken_here(Rule::Version, "01/31/2026", "31/01/2026");
}

#[test]
fn driver_version_with_three_numbers_is_found() {
    broken_here(Rule::Version, ",0.1.0.0", ",0.1.0");
}

#[test]
fn lockdown_that_is_off_is_found() {
    broken_here(Rule::Version, "PnpLockdown = 1", "PnpLockdown = 0");
}

#[test]
fn lockdown_that_is_missing_is_found() {
    let found = broken(Rule::Version, "PnpLockdown = 1", "");
    assert!(found[0].wrong.contains("no PnpLockdown"), "{found:?}");
}

#[test]
fn second_driver_version_is_found() {
    broken(
        Rule::Version,
        "PnpLockdown = 1",
        "PnpLockdown = 1\nDriverVer = 01/31/2026,0.1.0.0",
    );
}

#[test]
fn manufacturer_without_decoration_is_found() {
    broken_here(Rule::Models, "= Models, NTamd64.10.0...19041", "= Models");
}

#[test]
fn decoration_of_a_windows_without_isolation_is_found() {
    broken_here(
        Rule::Models,
        "= Models, NTamd64.10.0...19041",
        "= Models, NTamd64.10.0...14393",
    );
}

#[test]
fn decoration_of_32_bit_windows_is_found() {
    broken_here(Rule::Models, "Models, NTamd64", "Models, NTx86");
}

#[test]
fn models_section_that_is_missing_is_found() {
    broken_here(
        Rule::Sections,
        "= Models, NTamd64.10.0...19041",
        "= Models, NTamd64.10.0...22000",
    );
}

#[test]
fn hardware_identifier_of_a_class_of_devices_is_found() {
    broken_here(
        Rule::Models,
        "SanProxy, Root\\SanProxy",
        "SanProxy, PCI\\CC_0200",
    );
}

#[test]
fn hardware_identifier_of_a_whole_vendor_is_found() {
    broken_here(
        Rule::Models,
        "SanProxy, Root\\SanProxy",
        "SanProxy, PCI\\VEN_1234",
    );
}

#[test]
fn model_without_hardware_identifier_is_found() {
    broken_here(Rule::Models, "SanProxy, Root\\SanProxy", "SanProxy");
}

#[test]
fn install_section_that_is_missing_is_found() {
    broken_here(Rule::Sections, "= SanProxy, Root", "= SanProxi, Root");
}

#[test]
fn copy_section_that_is_missing_is_found() {
    broken_here(
        Rule::Sections,
        "CopyFiles = SanProxy.Files",
        "CopyFiles = SanProxy.File",
    );
}

#[test]
fn section_that_nothing_names_is_found() {
    broken(Rule::Sections, "[Strings]", "[Spare]\nx = 1\n[Strings]");
}

#[test]
fn file_that_is_not_among_the_sources_is_found() {
    broken_here(
        Rule::Files,
        "sanproxy.sys\r\n\r\n; The device",
        "other.sys\r\n\r\n; The device",
    );
}

#[test]
fn file_that_is_not_in_the_package_is_found() {
    broken(
        Rule::Files,
        "sanproxy.sys = 1",
        "sanproxy.sys = 1\nsanproxy.dll = 1",
    );
}

#[test]
fn file_that_is_renamed_is_found() {
    broken_here(
        Rule::Files,
        "sanproxy.sys\r\n\r\n; The device",
        "other.sys, sanproxy.sys\r\n\r\n; The device",
    );
}

#[test]
fn file_on_an_unknown_disk_is_found() {
    broken_here(Rule::Files, "sanproxy.sys = 1", "sanproxy.sys = 2");
}

#[test]
fn source_disk_in_another_folder_is_found() {
    broken_here(Rule::Files, "1 = %Disk%", "1 = %Disk%,,,\\x64");
}

#[test]
fn destination_outside_the_driver_store_is_found() {
    broken_here(Rule::Files, "DefaultDestDir = 13", "DefaultDestDir = 12");
}

#[test]
fn destination_that_is_missing_is_found() {
    broken(Rule::Files, "DefaultDestDir = 13", "");
}

#[test]
fn directive_that_deletes_files_is_found() {
    broken(
        Rule::Directive,
        "CopyFiles = SanProxy.Files",
        "CopyFiles = SanProxy.Files\nDelFiles = SanProxy.Files",
    );
}

#[test]
fn directive_that_registers_libraries_is_found() {
    broken(
        Rule::Directive,
        "CopyFiles = SanProxy.Files",
        "CopyFiles = SanProxy.Files\nRegisterDlls = SanProxy.Files",
    );
}

#[test]
fn co_installer_is_found() {
    broken(
        Rule::Directive,
        "[Strings]",
        "[SanProxy.NT.CoInstallers]\nCopyFiles = SanProxy.Files\n[Strings]",
    );
}

#[test]
fn class_of_its_own_is_found() {
    broken(Rule::Directive, "[Strings]", "[ClassInstall32]\n[Strings]");
}

#[test]
fn registry_value_of_the_machine_is_found() {
    broken_here(
        Rule::Registry,
        "HKR,Parameters,DmaRemappingCompatible,0x00010001,1",
        "HKLM,Parameters,DmaRemappingCompatible,0x00010001,1",
    );
}

#[test]
fn registry_key_that_leaves_its_place_is_found() {
    broken_here(
        Rule::Registry,
        "HKR,,ReserveBytes",
        "HKR,\\Registry,ReserveBytes",
    );
}

#[test]
fn registry_flags_that_are_no_number_are_found() {
    broken_here(
        Rule::Registry,
        "ReserveBytes,0x00010003",
        "ReserveBytes,REG_DWORD",
    );
}

#[test]
fn service_without_the_function_driver_flag_is_found() {
    broken(
        Rule::Service,
        "AddService = SanProxy, 2,",
        "AddService = SanProxy, 0,",
    );
}

#[test]
fn second_function_driver_is_found() {
    broken(
        Rule::Service,
        "AddService = SanProxy, 2, SanProxy.Service",
        "AddService = SanProxy, 2, SanProxy.Service\nAddService = Other, 2, SanProxy.Service",
    );
}

#[test]
fn service_that_is_no_kernel_driver_is_found() {
    broken_here(Rule::Service, "ServiceType   = 1", "ServiceType   = 16");
}

#[test]
fn service_with_strict_error_control_is_found() {
    broken_here(Rule::Service, "ErrorControl  = 1", "ErrorControl  = 3");
}

#[test]
fn service_binary_in_the_system_folder_is_found() {
    broken_here(
        Rule::Service,
        "= %13%\\sanproxy.sys",
        "= %12%\\sanproxy.sys",
    );
    broken_here(
        Rule::Strings,
        "= %13%\\sanproxy.sys",
        "= %12%\\sanproxy.sys",
    );
}

#[test]
fn service_with_a_load_order_group_is_found() {
    broken(
        Rule::Directive,
        "StartType     = 3",
        "StartType     = 3\nLoadOrderGroup = Base",
    );
}

#[test]
fn services_section_that_is_missing_is_found() {
    broken(
        Rule::Sections,
        "[SanProxy.NT.Services]",
        "[SanProxy.Services]",
    );
}

#[test]
fn device_that_everybody_may_open_is_found() {
    broken_here(Rule::Security, "(A;;GA;;;BA)", "(A;;GA;;;BA)(A;;GR;;;WD)");
}

#[test]
fn device_that_inherits_its_security_is_found() {
    broken_here(Rule::Security, "\"D:P(", "\"D:(");
}

#[test]
fn device_that_administrators_cannot_open_is_found() {
    broken_here(Rule::Security, "(A;;GA;;;BA)", "");
}

#[test]
fn device_without_security_is_found() {
    broken(Rule::Security, "HKR,,Security,,", "HKR,,Securitee,,");
}

#[test]
fn device_without_secure_open_is_found() {
    broken_here(
        Rule::Security,
        "DeviceCharacteristics,0x00010001,0x00000100",
        "DeviceCharacteristics,0x00010001,0",
    );
}

#[test]
fn device_that_opts_out_of_remapping_is_found() {
    broken_here(
        Rule::DmaRemapping,
        "RemappingSupported,0x00010001,1",
        "RemappingSupported,0x00010001,0",
    );
}

#[test]
fn remapping_flags_that_are_undefined_are_found() {
    broken_here(
        Rule::DmaRemapping,
        "RemappingFlags,0x00010001,0",
        "RemappingFlags,0x00010001,2",
    );
}

#[test]
fn driver_that_opts_out_of_remapping_is_found() {
    broken_here(
        Rule::DmaRemapping,
        "DmaRemappingCompatible,0x00010001,1",
        "DmaRemappingCompatible,0x00010001,0",
    );
}

#[test]
fn token_without_string_is_found() {
    broken_here(Rule::Strings, "%Device% =", "%Devise% =");
}

#[test]
fn string_that_stands_twice_is_found() {
    broken(
        Rule::Strings,
        "[Strings]",
        "[Strings]\nProvider = \"another\"",
    );
}

#[test]
fn quote_that_is_left_open_is_found() {
    broken_here(Rule::Syntax, "\"sanproxy installation disk\"", "\"sanproxy");
}
