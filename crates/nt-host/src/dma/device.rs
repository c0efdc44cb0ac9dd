//! The device behind a PDO: its logical addresses, its bus master, its faults.

use std::sync::Arc;

use nt_machine::{BusMaster, FaultKind, IoDomain, IommuFault};

use crate::host::Host;
use crate::{Device, lock};

/// Whether the address is that of a physical device object.
pub(crate) fn is_pdo(host: &Host, address: u64) -> bool {
    host.devices.is_pdo(address)
}

/// The logical addresses of the device behind that PDO.
pub(crate) fn domain(host: &Host, pdo: u64) -> Arc<IoDomain> {
    let mut domains = lock(&host.dma.domains);
    let made = domains.len() as u64;
    let new = || {
        if host.options.dma.remapping {
            IoDomain::remapping(host.machine(), 64, host.options.seed.wrapping_add(made))
        } else {
            IoDomain::pass_through(host.machine(), 64)
        }
    };
    Arc::clone(domains.entry(pdo).or_insert_with(new))
}

/// The bus master of the device behind that PDO: it knows logical addresses alone.
pub(crate) fn bus_master(host: &Host, pdo: u64) -> BusMaster {
    BusMaster::new(domain(host, pdo), host.options.dma.address_bits)
}

impl Device {
    /// The bus master behind this device: it knows logical addresses and nothing else.
    ///
    /// What it is refused shows in the host's report, unless the caller takes it away with
    /// `bus_master().domain().take_faults()` first: a test that plays a broken device does.
    #[must_use]
    pub fn bus_master(&self) -> BusMaster {
        bus_master(&self.host, self.pdo())
    }
}

/// Turns accesses that were refused since the last call into violations.
pub(crate) fn report_faults(host: &Host) {
    let domains: Vec<(u64, Arc<IoDomain>)> = lock(&host.dma.domains)
        .iter()
        .map(|(&pdo, domain)| (pdo, Arc::clone(domain)))
        .collect();
    for (pdo, domain) in domains {
        for fault in domain.take_faults() {
            let rule = rule_of(host, &domain, &fault);
            host.violation(rule, "E6/0x26", format!("device {pdo:#x}: {fault}"));
        }
    }
}

fn rule_of(host: &Host, domain: &IoDomain, fault: &IommuFault) -> &'static str {
    if fault.kind == FaultKind::Unmapped {
        return "V181";
    }
    let frame = fault.address / nt_machine::PAGE_SIZE;
    let physical = domain.is_remapping() && host.machine().cache_of(frame).is_some();
    if physical { "V182" } else { "V176" }
}
