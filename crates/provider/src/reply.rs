//! One request and its reply, checked: nothing of a reply is believed before it went through here.

use sanproxy_abi::wire::Message;
use sanproxy_abi::{ControlCode, Request};

use crate::{Channel, Error};

/// Sends a request and takes a reply of exactly the contract's length with a sound header.
pub(crate) fn ask<Input: Message, Output: Message>(
    channel: &impl Channel,
    request: ControlCode,
    input: &Input,
) -> Result<Output, Error> {
    let mut output = Output::new_zeroed();
    let expected = size_of::<Output>();
    let returned = channel
        .control(request.value(), input.as_bytes(), output.as_mut_bytes())
        .map_err(|status| {
            // The driver's status is coarser than the contract's causes: find the cause again.
            let cause = Request::parse(request.value(), input.as_bytes(), expected).err();
            let cause = cause.filter(|cause| cause.status() == status);
            Error::Refused {
                request,
                status,
                cause,
            }
        })?;
    if returned != expected {
        return Err(Error::ReplyLength {
            request,
            returned,
            expected,
        });
    }
    Output::parse(output.as_bytes()).map_err(|_| {
        let header = output.header();
        let value = u64::from(header.reserved) << 48
            | u64::from(header.version) << 32
            | u64::from(header.size);
        Error::ReplyContent {
            request,
            field: "header or a reserved field",
            value,
        }
    })
}

/// Looks at the fields of one reply.
#[derive(Clone, Copy)]
pub(crate) struct Check(pub(crate) ControlCode);

impl Check {
    /// Fails unless the field is sound.
    pub(crate) fn that(
        self,
        sound: bool,
        field: &'static str,
        value: impl Into<u64>,
    ) -> Result<(), Error> {
        self.some(sound.then_some(()), field, value)
    }

    /// Fails unless the field has a meaning.
    pub(crate) fn some<T>(
        self,
        meaning: Option<T>,
        field: &'static str,
        value: impl Into<u64>,
    ) -> Result<T, Error> {
        meaning.ok_or_else(|| Error::ReplyContent {
            request: self.0,
            field,
            value: value.into(),
        })
    }
}
