//! Which nodes the machine has.

use crate::access;
use crate::export::{IrqlRule, exports};
use crate::host::current;

/// Processors per node.
const PROCESSORS: u32 = 4;

extern "win64" fn ke_query_highest_node_number() -> u64 {
    current().machine().nodes().saturating_sub(1) as u64
}

/// Writes a `GROUP_AFFINITY` (mask, group, three reserved words) and the number of processors.
extern "win64" fn ke_query_node_active_affinity(node: u16, affinity: u64, count: u64) {
    let exists = usize::from(node) < current().machine().nodes();
    let processors = if exists { PROCESSORS } else { 0 };
    let mask = ((1_u64 << processors) - 1)
        .checked_shl(u32::from(node) * PROCESSORS)
        .unwrap_or(0);
    if affinity != 0 {
        access::write::<u64>(affinity, mask);
        access::write::<u64>(affinity + 8, 0);
    }
    if count != 0 {
        access::write::<u16>(count, processors as u16);
    }
}

exports! {
    "KeQueryHighestNodeNumber" => ke_query_highest_node_number, IrqlRule::Any, "V050", "C4/0xE5";
    "KeQueryNodeActiveAffinity" => ke_query_node_active_affinity, IrqlRule::Any, "V050", "C4/0xE5";
}
