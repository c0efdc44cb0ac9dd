//! What can go wrong, in words.

use sanproxy_abi::{ControlCode, Status};

use crate::MemoryFault;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The driver refused a request.
    #[error("{} was refused with {status}: {}", request.name(), explanation(*status, *cause))]
    Refused {
        /// What was asked.
        request: ControlCode,
        /// The driver's answer.
        status: Status,
        /// What is wrong with the request, if that can be told without the driver.
        cause: Option<sanproxy_abi::Error>,
    },
    /// A message was not sent, or not received.
    #[error("a message was refused with {status}: {}", explanation(*status, None))]
    Message {
        /// The driver's answer.
        status: Status,
    },
    /// The driver sent a reply of another length than the contract says.
    #[error("the reply to {} has {returned} bytes instead of {expected}", request.name())]
    ReplyLength {
        /// What was asked.
        request: ControlCode,
        /// The length of the reply.
        returned: usize,
        /// The length of the reply in the contract.
        expected: usize,
    },
    /// The driver sent a reply that the contract forbids.
    #[error("the reply to {} breaks the contract: {field} is {value:#x}", request.name())]
    ReplyContent {
        /// What was asked.
        request: ControlCode,
        /// The field that cannot be.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// The driver speaks a version of the interface that this library does not.
    #[error(
        "the driver speaks version {major}.{minor} of the interface; this library needs {}.{} or a \
         later {}.x",
        sanproxy_abi::INTERFACE_MAJOR,
        sanproxy_abi::INTERFACE_MINOR,
        sanproxy_abi::INTERFACE_MAJOR
    )]
    Version {
        /// The driver's major version.
        major: u16,
        /// The driver's minor version.
        minor: u16,
    },
    /// The range reaches beyond the registration.
    #[error("{length} bytes at offset {offset} reach beyond a registration of {available} bytes")]
    OutOfBounds {
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        length: u64,
        /// How long the registration is.
        available: u64,
    },
    /// The registration is not mapped into this process.
    #[error("the registration is not mapped; ask for it with RegisterOptions::map")]
    NotMapped,
    /// The connection is closed: nothing can be exposed to its peer.
    #[error("the connection is closed; memory is exposed to the peer of an open one")]
    ConnectionClosed,
    /// The mapping is not there.
    #[error("the mapping of the registration is gone: {0}")]
    Memory(#[from] MemoryFault),
}

impl Error {
    /// The driver's status, if it refused.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        match self {
            Self::Refused { status, .. } | Self::Message { status } => Some(*status),
            Self::ReplyLength { .. }
            | Self::ReplyContent { .. }
            | Self::Version { .. }
            | Self::OutOfBounds { .. }
            | Self::NotMapped
            | Self::ConnectionClosed
            | Self::Memory(_) => None,
        }
    }
}

fn explanation(status: Status, cause: Option<sanproxy_abi::Error>) -> &'static str {
    match cause {
        Some(cause) => cause.sentence(),
        None => status
            .meaning()
            .unwrap_or("The contract does not say what that means."),
    }
}
