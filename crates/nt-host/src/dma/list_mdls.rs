//! MDLs for the memory that a scatter/gather list leads to, if that is not the driver's own.

use std::sync::Arc;

use nt_machine::{FrameList, PAGE_SIZE};

use super::adapter::{Adapter, find};
use crate::export::{IrqlRule, exports};
use crate::host::{Host, current};
use crate::memory::mapping::drop_system_view;
use crate::memory::mdl::{LOCKED, Mdl, Origin, new_mdl, with_state};
use crate::memory::unlock_after_request;
use crate::status::NtStatus;
use crate::thread::DISPATCH;
use crate::{access, lock};

/// Where addresses of such MDLs begin: nothing lies there, only `MmGetMdlByteOffset` of them means anything.
const NOWHERE: u64 = 0xFFFF_D0E0_0000_0000;

extern "win64" fn build_mdl_from_scatter_gather_list(
    adapter: u64,
    list: u64,
    original: u64,
    target: u64,
) -> u32 {
    let host = current();
    let Some(adapter) = find(&host, adapter) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    if original == 0 {
        return NtStatus::INVALID_PARAMETER.0;
    }
    match build(&host, &adapter, list, original) {
        Ok(mdl) => {
            access::write::<u64>(target, mdl);
            NtStatus::SUCCESS.0
        }
        Err(status) => status.0,
    }
}

fn build(host: &Arc<Host>, adapter: &Adapter, list: u64, original: u64) -> Result<u64, NtStatus> {
    let known = {
        let state = lock(&adapter.state);
        let known = state.lists.get(&list);
        known.map(|known| (known.transfer.bounced(), known.mdl != 0))
    };
    let Some((bounced, built)) = known else {
        let message = format!("no scatter/gather list at {list:#x}");
        host.violation("V149", "E6/0x06", message);
        return Err(NtStatus::INVALID_PARAMETER);
    };
    if built {
        return Err(NtStatus::NONE_MAPPED);
    }
    // The device works on the driver's own memory: its MDL describes it already.
    let Some(places) = bounced else {
        return Ok(original);
    };
    if host.faults().should_fail("BuildMdlFromScatterGatherList") {
        return Err(NtStatus::INSUFFICIENT_RESOURCES);
    }
    let mut chain = 0;
    for (frames, offset, length) in places.into_iter().rev() {
        let Some(mdl) = describe(host, frames, offset, length) else {
            free(host, chain);
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        };
        access::write::<u64>(mdl, chain);
        chain = mdl;
    }
    if let Some(known) = lock(&adapter.state).lists.get_mut(&list) {
        known.mdl = chain;
    }
    Ok(chain)
}

/// An MDL for frames of the machine.
fn describe(host: &Arc<Host>, frames: FrameList, offset: u64, length: u64) -> Option<u64> {
    let address = NOWHERE + offset % PAGE_SIZE;
    let mut mdl = new_mdl(host, address, length as u32, Origin::System)?;
    mdl.set_frames(&frames);
    mdl.set_flags(LOCKED, 0);
    with_state(host, &mdl, |state| state.frames = frames);
    Some(mdl.at)
}

/// Unmaps and frees the MDLs of a list that is put.
pub(super) fn free(host: &Arc<Host>, chain: u64) {
    let mut at = chain;
    while at != 0 {
        let mut mdl = Mdl::read(at);
        at = mdl.next();
        drop_system_view(host, &mut mdl);
    }
    unlock_after_request(host, chain);
}

exports! {
    "BuildMdlFromScatterGatherList" => build_mdl_from_scatter_gather_list, IrqlRule::AtMost(DISPATCH), "V161", "E6/0x13";
}
