//! Replies that tell the pieces of a registration: as many as it takes.

use sanproxy_abi::PIECES_PER_REPLY;
use sanproxy_abi::wire::{Piece as Wire, QueryRegistrationOutput};

use crate::reply::Check;
use crate::{Error, Piece};

/// Asks again and again, each time from the first piece that is missing, until all are there: at least one
/// and at most `most`. What a single piece has to be is for `read` to say.
pub(crate) fn collect(
    check: Check,
    most: u64,
    mut ask_from: impl FnMut(u32) -> Result<QueryRegistrationOutput, Error>,
    read: impl Fn(&Wire) -> Result<Piece, Error>,
) -> Result<Vec<Piece>, Error> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut total = None;
    loop {
        let got = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        let reply = ask_from(got)?;
        let returned = usize::try_from(reply.returned.0).unwrap_or(usize::MAX);
        for piece in reply.pieces.iter().skip(returned) {
            let rest = piece.device_address.0 | piece.length.0 | piece.user_address.0;
            check.that(rest == 0, "pieces beyond the last", rest)?;
        }
        let all = *total.get_or_insert(reply.total.0);
        check.that(reply.total.0 == all, "total", reply.total.0)?;
        check.that(all >= 1 && u64::from(all) <= most, "total", all)?;
        let left = usize::try_from(all.saturating_sub(got)).unwrap_or(usize::MAX);
        let sound = returned == left.min(PIECES_PER_REPLY);
        check.that(sound, "returned", reply.returned.0)?;
        for piece in reply.pieces.iter().take(returned) {
            pieces.push(read(piece)?);
        }
        if returned == left {
            return Ok(pieces);
        }
    }
}
