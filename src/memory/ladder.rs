//! What is tried until there is enough memory.
//!
//! Rung 0 is what was asked for. If the caller allows other nodes, each rung is tried on any node
//! after the one asked for; if he allows pieces, blocks of half the length follow, then of a
//! quarter, and so on to a page, or to the most pieces that a registration has. Several pieces are
//! asked for in one call where the adapter can do that, else one by one.

use alloc::vec::Vec;

use sanproxy_abi::{Error, PAGE_SIZE, RegisterFlags, RegisterRequest};
use wdm::node::Node;

use super::{
    Piece, push_within,
    source::{Nature, Source},
};
use crate::device::{Debt, Hardware};

/// The most pieces that a registration is made of.
const MOST_PIECES: u64 = 4096;

/// Memory, and how it was come by.
pub(crate) struct Outcome {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) nature: Nature,
    pub(crate) rung: u32,
}

/// Climbs down the ladder.
///
/// # Errors
///
/// That of the first rung: it is what was asked for.
pub(crate) fn allocate(
    hardware: &Hardware,
    request: &RegisterRequest,
    debt: &Debt,
) -> Result<Outcome, Error> {
    let asked = request
        .node
        .map_or(Node::Any, |node| Node::Number(node.number()));
    let other = request.flags.contains(RegisterFlags::ALLOW_OTHER_NODE) && asked != Node::Any;
    let mut first_error = None;
    let mut rung = 0_u32;
    let mut size = Some(request.length.bytes());
    while let Some(piece_length) = size {
        for node in [Some(asked), other.then_some(Node::Any)]
            .into_iter()
            .flatten()
        {
            let source = Source {
                hardware,
                request,
                node,
                debt,
            };
            match fill(&source, request, piece_length) {
                Ok((pieces, nature)) => {
                    return Ok(Outcome {
                        pieces,
                        nature,
                        rung,
                    });
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
            rung = rung.saturating_add(1);
        }
        size = smaller(request, piece_length);
    }
    Err(first_error.unwrap_or(Error::NoMemory))
}

/// The next smaller size of a piece, if there may be one.
fn smaller(request: &RegisterRequest, piece_length: u64) -> Option<u64> {
    if !request.flags.contains(RegisterFlags::ALLOW_PIECES) || piece_length <= PAGE_SIZE {
        return None;
    }
    let half = (piece_length / 2).checked_next_multiple_of(PAGE_SIZE)?;
    let pieces = request.length.bytes().checked_div(half)?;
    (half < piece_length && pieces < MOST_PIECES).then_some(half)
}

/// Makes up the whole length from pieces of one length; the last one may be shorter.
fn fill(
    source: &Source<'_>,
    request: &RegisterRequest,
    piece_length: u64,
) -> Result<(Vec<Piece>, Nature), Error> {
    let mut left = request.length.bytes();
    let count = left
        .checked_next_multiple_of(piece_length)
        .and_then(|whole| whole.checked_div(piece_length));
    let count = count
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(Error::NoMemory)?;
    if count > 1
        && let Ok(vector) = source.vector(piece_length, count)
    {
        return Ok(vector);
    }
    let mut pieces = Vec::new();
    pieces
        .try_reserve_exact(count)
        .map_err(|_| Error::NoMemory)?;
    let mut nature = None;
    while left > 0 {
        let length = left.min(piece_length);
        let (piece, its) = source.piece(length)?;
        push_within(&mut pieces, piece)?;
        nature = nature.or(Some(its));
        left = left.saturating_sub(length);
    }
    Ok((pieces, nature.ok_or(Error::NoMemory)?))
}
