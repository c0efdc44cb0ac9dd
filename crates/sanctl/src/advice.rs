//! What to do about a refused registration: what was asked, and what would be accepted.

use sanproxy_abi::Error as Cause;
use sanproxy_provider::{Capabilities, Channel, Error, Kind, Provider, Statistics, Status};

use crate::amount;
use crate::wish::Wish;

/// In numbers, if they tell more than the refusal itself.
pub(crate) fn on_refusal<C: Channel>(
    provider: &Provider<C>,
    wish: &Wish,
    error: &Error,
) -> Option<String> {
    let Error::Refused { status, cause, .. } = error else {
        return None;
    };
    // A device that has gone meanwhile tells nothing.
    let offered = provider.capabilities().ok()?;
    match (*cause, *status) {
        (Some(cause), _) => on_cause(wish, cause, &offered),
        (None, Status::INVALID_PARAMETER) => beyond_the_device(wish, &offered),
        (None, Status::QUOTA_EXCEEDED) => {
            let used = provider.statistics().ok()?;
            Some(quotas(wish, &offered, &used))
        }
        (None, Status::NOT_SUPPORTED) => Some(kinds(&offered)),
        (None, _) => None,
    }
}

fn on_cause(wish: &Wish, cause: Cause, offered: &Capabilities) -> Option<String> {
    let size = amount::bytes(wish.size);
    let placement = &wish.placement;
    if cause == Cause::Length {
        return Some(length(wish, offered));
    }
    if cause == Cause::Alignment {
        let asked = amount::bytes(placement.alignment?);
        let most = amount::bytes(sanproxy_abi::LARGEST_ALIGNMENT);
        return Some(format!(
            "an alignment of {asked} was asked for; a power of two up to {most} will do"
        ));
    }
    if cause == Cause::Boundary {
        let asked = amount::bytes(placement.boundary?);
        return Some(format!(
            "a boundary of {asked} was asked for; a power of two of at least {size} in whole pages will do"
        ));
    }
    if cause == Cause::Bounds {
        let lowest = placement.lowest.unwrap_or(0);
        let highest = placement.highest.unwrap_or(u64::MAX);
        let highest = if placement.low {
            highest.min(sanproxy_abi::LOW_MEMORY_HIGHEST)
        } else {
            highest
        };
        return Some(format!(
            "{size} were asked for between {} and {}",
            amount::address(lowest),
            amount::address(highest)
        ));
    }
    if cause == Cause::HostMemoryLimits {
        let minimum = amount::bytes(wish.least());
        let ranges = wish.ranges.unwrap_or(sanproxy_abi::MOST_RANGES);
        return Some(format!(
            "{minimum} to {size} in at most {ranges} ranges were asked for"
        ));
    }
    None
}

fn length(wish: &Wish, offered: &Capabilities) -> String {
    format!(
        "{} were asked for; 1 byte to {} can be registered at once",
        amount::bytes(wish.size),
        amount::bytes(offered.longest_registration)
    )
}

/// What only the device can know to be too much.
fn beyond_the_device(wish: &Wish, offered: &Capabilities) -> Option<String> {
    if let Some(node) = wish.placement.node
        && node > offered.highest_node
    {
        let highest = offered.highest_node;
        return Some(format!(
            "node {node} was asked for; the nodes are 0 to {highest}"
        ));
    }
    (wish.size > offered.longest_registration).then(|| length(wish, offered))
}

fn quotas(wish: &Wish, offered: &Capabilities, used: &Statistics) -> String {
    let of = |bytes, most_bytes, count, most_count| {
        format!(
            "{} of {} and {count} of {most_count} registrations",
            amount::bytes(bytes),
            amount::bytes(most_bytes)
        )
    };
    let own = of(
        used.file_bytes,
        offered.bytes_per_file,
        used.file_registrations,
        offered.count_per_file,
    );
    let all = of(
        used.live_bytes,
        offered.bytes_per_device,
        used.live_registrations,
        offered.count_per_device,
    );
    format!(
        "{} were asked for; this file has {own}, all files {all}: release something, or raise the \
         limits (sanctl quota shows and sets them)",
        amount::bytes(wish.size)
    )
}

fn kinds(offered: &Capabilities) -> String {
    let kinds = Kind::ALL
        .iter()
        .filter(|kind| offered.kinds.contains(**kind));
    let names: Vec<_> = kinds.map(|kind| kind.name()).collect();
    format!("this device offers {}", names.join(", "))
}
