//! Messages between two connected files, and the request that sends one and receives one.
//!
//! A message is sent with a write request or `EXCHANGE`, and received with a read request or
//! `EXCHANGE`. Messages arrive whole, once and in order. A receiver that has not asked yet loses
//! nothing: up to [`MESSAGES_PER_QUEUE`] messages are kept for it, at the cost of the sender's quota.
//! A sender that finds them all taken waits, and can be cancelled.

use crate::layout::choice;
use crate::wire::{ExchangeInput, Flags, Message};
use crate::{Error, wire};

/// The longest message in bytes; the shortest has one byte.
pub const LONGEST_MESSAGE: usize = 65536;
/// How many messages are kept for a receiver that has not asked for them yet.
pub const MESSAGES_PER_QUEUE: u32 = 64;
/// How many send requests, and how many receive requests, one file can have waiting.
pub const WAITING_REQUESTS: u32 = 64;

choice! {
    /// Flags of an exchange request, or-ed together. Undefined bits are zero.
    pub enum ExchangeFlag {
        /// If the message cannot be taken at once, the request fails instead of waiting. It still
        /// waits for the message that it receives.
        DontWait = 1 as "SANPROXY_EXCHANGE_DONT_WAIT",
    }
}

/// A message to send, and room for the next one that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeRequest {
    /// Whether it may wait until the message is taken.
    pub may_wait: bool,
    /// How many bytes of message follow the input struct.
    pub length: usize,
}

/// Where in the input of an exchange the message begins.
pub const EXCHANGE_MESSAGE_OFFSET: usize = size_of::<ExchangeInput>();

impl ExchangeRequest {
    /// Makes a request of the beginning of the input, and of the lengths of input and output.
    ///
    /// # Errors
    ///
    /// Every [`Error`] that can be told without the device.
    pub fn parse(start: &[u8], input_length: usize, output_length: usize) -> Result<Self, Error> {
        let length = input_length
            .checked_sub(EXCHANGE_MESSAGE_OFFSET)
            .ok_or(Error::InputLength)?;
        let header = start
            .get(..EXCHANGE_MESSAGE_OFFSET)
            .ok_or(Error::InputLength)?;
        if output_length == 0 || output_length > LONGEST_MESSAGE {
            return Err(Error::OutputLength);
        }
        let wire::ExchangeInput {
            flags: Flags(flags),
            ..
        } = ExchangeInput::parse(header)?;
        if flags & !ExchangeFlag::DontWait.value() != 0 {
            return Err(Error::ReservedBits);
        }
        Ok(Self {
            may_wait: flags == 0,
            length: message_length(length)?,
        })
    }
}

/// The length of a message or of the room for one, if there can be such a message.
///
/// # Errors
///
/// [`Error::MessageLength`] if it is empty or longer than [`LONGEST_MESSAGE`].
pub const fn message_length(length: usize) -> Result<usize, Error> {
    if length == 0 || length > LONGEST_MESSAGE {
        Err(Error::MessageLength)
    } else {
        Ok(length)
    }
}
