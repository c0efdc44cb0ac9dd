//! Synchronisation: locks with their owners and order, events and waits, IRQL, regions, rundown protection.

pub(crate) mod event;
pub(crate) mod irql;
pub(crate) mod lock_registry;
pub(crate) mod mutex;
pub(crate) mod push_lock;
pub(crate) mod rundown;
pub(crate) mod spin_lock;

use crate::USER_LIMIT;
use crate::host::Host;

/// Judges where a synchronisation object lies: it has to be in memory at any IRQL.
pub(crate) fn check_place(host: &Host, what: &str, address: u64) {
    let problem = if address < USER_LIMIT {
        Some("a user address".to_owned())
    } else if crate::memory::is_nonpaged(host, address) == Some(false) {
        Some("in pageable memory".to_owned())
    } else {
        let section = host.drivers.section_at(address);
        section
            .filter(|name| name.starts_with("PAGE"))
            .map(|name| format!("in section {name}"))
    };
    if let Some(problem) = problem {
        host.violation(
            "V099",
            "C4/0xE1",
            format!("{what} {address:#x} is {problem}"),
        );
    }
}
