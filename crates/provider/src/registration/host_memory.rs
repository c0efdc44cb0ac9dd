//! A host memory buffer: its reply is held against what was preferred and what will do.

use std::sync::Arc;

use sanproxy_abi::wire::RegisterOutput;
use sanproxy_abi::{ControlCode, HostMemoryRequest, Pages, RegisterRequest};

use super::{Claim, Registration};
use crate::reply::{Check, ask};
use crate::{Channel, Error, HostMemoryOptions};

impl<C: Channel> Registration<C> {
    pub(crate) fn host_memory(channel: Arc<C>, options: &HostMemoryOptions) -> Result<Self, Error> {
        let check = Check(ControlCode::RegisterHostMemory);
        let input = options.wire();
        let reply: RegisterOutput = ask(&channel, check.0, input)?;
        check.that(reply.handle.0 != 0, "handle", 0_u64)?;
        let claim = Claim {
            channel,
            handle: Some(reply.handle),
        };
        let asked = check.some(HostMemoryRequest::try_from(*input).ok(), "status", 0_u64)?;
        let length = reply.length.0;
        let got = check.some(Pages::for_bytes(length).ok(), "length", length)?;
        let sound = got >= asked.minimum && got <= asked.wanted.length;
        check.that(sound && got.bytes() == length, "length", length)?;
        let pieces = reply.pieces.0;
        check.that(pieces <= asked.most_ranges, "pieces", pieces)?;
        // It is as if what was got had been asked for.
        let asked = RegisterRequest {
            length: got,
            ..asked.wanted
        };
        Self::from_reply(claim, &asked, &reply)
    }
}
