//! DMA domains: logical addresses that several devices share.
//!
//! Every device behind an IOMMU begins in a domain of its own. An adapter that joins another's domain gives its device the
//! other's logical addresses until it leaves. Without an IOMMU there are no domains, and `GetDmaDomain` returns NULL.

use std::sync::Arc;

use nt_machine::IoDomain;

use super::adapter::{Adapter, find};
use super::buffers::{self, Memory, Wanted};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::status::NtStatus;
use crate::thread::PASSIVE;
use crate::{access, lock};

/// Where handles of domains begin: an address at which nothing lies.
const FIRST_HANDLE: u64 = 0xFFFF_D0D0_0000_0000;

extern "win64" fn get_dma_domain(adapter: u64) -> u64 {
    let host = current();
    let domain = find(&host, adapter).map(|adapter| adapter.domain());
    domain
        .filter(|domain| domain.is_remapping())
        .map_or(0, |domain| handle_of(&host, &domain))
}

fn handle_of(host: &Host, domain: &Arc<IoDomain>) -> u64 {
    let mut handles = lock(&host.dma.domain_handles);
    let known = handles.iter().find(|(_, known)| Arc::ptr_eq(known, domain));
    if let Some((handle, _)) = known {
        return *handle;
    }
    let handle = FIRST_HANDLE + 4 * handles.len() as u64;
    handles.insert(handle, Arc::clone(domain));
    handle
}

fn domain_of(host: &Host, handle: u64) -> Option<Arc<IoDomain>> {
    lock(&host.dma.domain_handles).get(&handle).cloned()
}

extern "win64" fn join_dma_domain(adapter: u64, handle: u64) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    let Some(domain) = domain_of(&host, handle) else {
        return NtStatus::INVALID_HANDLE.0;
    };
    if is_joined(&host, &adapter) || is_in_use(&adapter) {
        return NtStatus::INVALID_DEVICE_STATE.0;
    }
    if host.faults().should_fail("JoinDmaDomain") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    adapter.set_domain(Arc::clone(&domain));
    lock(&host.dma.joined).insert(adapter.pdo, domain);
    NtStatus::SUCCESS.0
}

extern "win64" fn leave_dma_domain(adapter: u64) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    if !is_joined(&host, &adapter) || is_in_use(&adapter) {
        return NtStatus::INVALID_DEVICE_STATE.0;
    }
    leave(&host, &adapter);
    NtStatus::SUCCESS.0
}

fn is_joined(host: &Host, adapter: &Adapter) -> bool {
    let joined = lock(&host.dma.joined).get(&adapter.pdo).cloned();
    joined.is_some_and(|domain| Arc::ptr_eq(&domain, &adapter.domain()))
}

/// What is mapped in one domain means nothing in another.
fn is_in_use(adapter: &Adapter) -> bool {
    let state = lock(&adapter.state);
    !state.buffers.is_empty() || !state.lists.is_empty() || !state.allocations.is_empty()
}

/// The adapter's device has its own logical addresses again.
pub(super) fn leave(host: &Host, adapter: &Adapter) {
    if is_joined(host, adapter) {
        lock(&host.dma.joined).remove(&adapter.pdo);
        adapter.set_domain(super::device::domain(host, adapter.pdo));
    }
}

extern "win64" fn allocate_domain_common_buffer(
    adapter: u64,
    handle: u64,
    maximum: u64,
    length: u32,
    flags: u32,
    cache: u64,
    node: u32,
    logical: u64,
    address: u64,
) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    let cache: u32 = if cache == 0 { 1 } else { access::read(cache) };
    if cache > 1 || flags & !1 != 0 || length == 0 {
        let message = format!("{length} bytes, caching type {cache}, flags {flags:#x}");
        host.violation("V008", "C4/0x16", message);
        return NtStatus::INVALID_PARAMETER.0;
    }
    let Some(domain) = domain_of(&host, handle) else {
        return NtStatus::INVALID_HANDLE.0;
    };
    if !Arc::ptr_eq(&domain, &adapter.domain()) {
        return NtStatus::INVALID_PARAMETER.0;
    }
    // Large pages: this machine has none to give.
    if flags != 0 || host.faults().should_fail("AllocateDomainCommonBuffer") {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    }
    let bound = if maximum == 0 {
        u64::MAX
    } else {
        access::read(maximum)
    };
    let wanted = Wanted {
        length: u64::from(length),
        lowest: 0,
        highest: bound.min(reach(&host, &domain)),
        cached: cache == 1,
        ignore_cache: false,
        node,
        memory: Memory::Own,
    };
    let Some((made, at)) = buffers::allocate(&host, &adapter, &wanted) else {
        return NtStatus::INSUFFICIENT_RESOURCES.0;
    };
    access::write::<u64>(logical, at);
    access::write::<u64>(address, made);
    NtStatus::SUCCESS.0
}

/// The highest address that all devices in a domain drive.
fn reach(host: &Host, domain: &Arc<IoDomain>) -> u64 {
    let live = host.dma.live().into_iter();
    let members = live.filter(|adapter| Arc::ptr_eq(&adapter.domain(), domain));
    let lowest = members.map(|adapter| adapter.highest()).min();
    lowest.unwrap_or(u64::MAX)
}

exports! {
    "AllocateDomainCommonBuffer" => allocate_domain_common_buffer, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "JoinDmaDomain" => join_dma_domain, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "LeaveDmaDomain" => leave_dma_domain, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
    "GetDmaDomain" => get_dma_domain, IrqlRule::AtMost(PASSIVE), "V161", "E6/0x13";
}
