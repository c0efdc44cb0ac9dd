//! A host memory buffer: as much as can be had of a total, in as few ranges as that takes.
//!
//! Each range is as long as all that is missing; if there is no such block, half as long, and so on
//! to a page. The number of times that the length was halved is the rung of the answer.

use alloc::vec::Vec;

use sanproxy_abi::{Error, HostMemoryRequest, PAGE_SIZE, RegisterFlags};
use wdm::node::Node;

use super::{
    Outcome, Piece, push_within,
    source::{Nature, Source},
};
use crate::device::{Debt, Hardware};

/// Allocates up to `total` bytes, which are charged, or at least the minimum.
///
/// # Errors
///
/// That of the first range which could not be had: it is what was asked for.
pub(crate) fn allocate_host_memory(
    hardware: &Hardware,
    request: &HostMemoryRequest,
    total: u64,
    debt: &Debt,
) -> Result<Outcome, Error> {
    let most = u64::from(request.most_ranges).min(total / PAGE_SIZE);
    let mut pieces = Vec::new();
    pieces
        .try_reserve_exact(usize::try_from(most).map_err(|_| Error::NoMemory)?)
        .map_err(|_| Error::NoMemory)?;
    let longest = u64::from(hardware.settings.maximum_length);
    let mut length = total.min(longest.saturating_sub(longest % PAGE_SIZE));
    let (mut left, mut rung) = (total, 0_u32);
    let (mut nature, mut first_error) = (None, None);
    while left > 0 && pieces.len() < pieces.capacity() {
        length = length.min(left);
        match range(hardware, request, length, debt) {
            Ok((piece, its)) => {
                push_within(&mut pieces, piece)?;
                nature = nature.or(Some(its));
                left = left.saturating_sub(length);
            }
            Err(error) => {
                first_error = first_error.or(Some(error));
                rung = rung.saturating_add(1);
                match (length / 2).checked_next_multiple_of(PAGE_SIZE) {
                    Some(half) if half > 0 && half < length => length = half,
                    Some(_) | None => break,
                }
            }
        }
    }
    let got = total.saturating_sub(left);
    let nature = nature.filter(|_| got >= request.minimum.bytes());
    Ok(Outcome {
        pieces,
        nature: nature.ok_or(first_error.unwrap_or(Error::NoMemory))?,
        rung,
    })
}

/// One range, from the node asked for, or from another if that will do.
fn range(
    hardware: &Hardware,
    request: &HostMemoryRequest,
    length: u64,
    debt: &Debt,
) -> Result<(Piece, Nature), Error> {
    let wanted = &request.wanted;
    let node = wanted
        .node
        .map_or(Node::Any, |node| Node::Number(node.number()));
    let from = |node| {
        let source = Source {
            hardware,
            request: wanted,
            node,
            debt,
        };
        source.piece(length)
    };
    let other = wanted.flags.contains(RegisterFlags::ALLOW_OTHER_NODE) && node != Node::Any;
    from(node).or_else(|error| {
        if other {
            from(Node::Any).map_err(|_| error)
        } else {
            Err(error)
        }
    })
}
