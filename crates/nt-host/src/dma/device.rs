//! The device behind a PDO: its logical addresses, its bus master, its faults.

use std::sync::Arc;

use nt_machine::{BusMaster, FaultKind, IoDomain, IommuFault};

use super::adapter::Adapter;
use super::transfer::Transfer;
use crate::host::Host;
use crate::{Device, lock};

/// Whether the address is that of a physical device object.
pub(crate) fn is_pdo(host: &Host, address: u64) -> bool {
    host.devices.is_pdo(address)
}

/// The logical addresses of the device behind that PDO: its own, or those of the domain that it has joined.
pub(crate) fn domain(host: &Host, pdo: u64) -> Arc<IoDomain> {
    if let Some(joined) = lock(&host.dma.joined).get(&pdo) {
        return Arc::clone(joined);
    }
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
    /// It keeps to the domain that the device is in now: after `JoinDmaDomain` or `LeaveDmaDomain` ask again.
    ///
    /// What it is refused shows in the host's report, unless the caller takes it away with
    /// `bus_master().domain().take_faults()` first: a test that plays a broken device does.
    #[must_use]
    pub fn bus_master(&self) -> BusMaster {
        bus_master(&self.host, self.pdo())
    }
}

/// A transfer that the device has begun; it has ended when this is dropped.
pub struct BeganTransfer {
    host: Arc<Host>,
    pdo: u64,
    logical: u64,
}

impl Drop for BeganTransfer {
    fn drop(&mut self) {
        let mut busy = lock(&self.host.dma.busy);
        let own = (self.pdo, self.logical);
        if let Some(index) = busy.iter().position(|one| *one == own) {
            busy.swap_remove(index);
        }
    }
}

impl Device {
    /// Has the device begin a transfer to or from the mapped buffer that holds this logical address.
    ///
    /// Until the value is dropped, a driver that flushes that buffer, or puts the list, without having cancelled the
    /// transfer does so too early.
    #[must_use = "the transfer has ended when the value is dropped"]
    pub fn begin_transfer(&self, logical: u64) -> BeganTransfer {
        begin_transfer(&self.host, self.pdo(), logical)
    }
}

/// Has the device behind that PDO begin a transfer.
pub(crate) fn begin_transfer(host: &Arc<Host>, pdo: u64, logical: u64) -> BeganTransfer {
    let host = Arc::clone(host);
    lock(&host.dma.busy).push((pdo, logical));
    BeganTransfer { host, pdo, logical }
}

/// Where the device is in the middle of a transfer, if it is.
pub(super) fn under_way(host: &Host, adapter: &Adapter, transfer: &Transfer) -> Option<u64> {
    let busy = lock(&host.dma.busy).clone();
    let is_in = |&(pdo, logical): &(u64, u64)| pdo == adapter.pdo && transfer.has_address(logical);
    busy.into_iter().find(is_in).map(|(_, logical)| logical)
}

/// Judges the end of a transfer: the device has to be done with it.
pub(super) fn judge_idle(host: &Host, adapter: &Adapter, transfer: &Transfer) {
    if let Some(logical) = under_way(host, adapter, transfer) {
        let message = format!("the device has not ended its transfer at {logical:#x}");
        host.violation("V173", "E6/0x23", message);
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
