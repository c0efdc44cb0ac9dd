//! Secured ranges: memory of the program's own that it can neither free nor take access from.

use std::sync::Arc;

use sanproxy_abi::wire::{
    ByteCount, Choice, Handle, Header, RangeStart, Reserved, SecureInput, SecureOutput,
    UnsecureInput, UserRange,
};
use sanproxy_abi::{Access, ControlCode};

use crate::reply::{Check, ask};
use crate::{Channel, Error};

/// A range of this process's memory that is secured until this is dropped. Freeing it, or taking
/// the access away, first calls the process's secure-memory callbacks, and fails if it is still
/// secured after that.
pub struct SecuredRange<C: Channel> {
    channel: Arc<C>,
    handle: Option<Handle>,
}

impl<C: Channel> SecuredRange<C> {
    pub(crate) fn new(
        channel: &Arc<C>,
        start: u64,
        length: u64,
        access: Access,
    ) -> Result<Self, Error> {
        Ok(Self {
            handle: Some(secure(channel, start, length, access)?),
            channel: Arc::clone(channel),
        })
    }

    /// Unsecures the range now. The handle is spent, whatever the outcome.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the driver does not know it any more.
    pub fn unsecure(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        match self.handle.take() {
            Some(handle) => unsecure(&self.channel, handle),
            None => Ok(()),
        }
    }

    /// Names the secured range to the driver.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.unwrap_or(Handle(0))
    }
}

impl<C: Channel> Drop for SecuredRange<C> {
    fn drop(&mut self) {
        // Nobody is left to be told: what cannot be unsecured now is when the file is closed.
        let _ = self.end();
    }
}

/// Secures a range; gives its handle.
pub(crate) fn secure(
    channel: &impl Channel,
    start: u64,
    length: u64,
    access: Access,
) -> Result<Handle, Error> {
    let input = SecureInput {
        header: Header::of::<SecureInput>(),
        range: UserRange {
            start: RangeStart(start),
            length: ByteCount(length),
        },
        access: Choice(access.value()),
        reserved: Reserved(0),
    };
    let reply: SecureOutput = ask(channel, ControlCode::Secure, &input)?;
    Check(ControlCode::Secure).that(reply.handle.0 != 0, "handle", 0_u64)?;
    Ok(reply.handle)
}

/// Ends the securing of a range. Allocates nothing: it may run while the heap frees memory.
pub(crate) fn unsecure(channel: &impl Channel, handle: Handle) -> Result<(), Error> {
    let input = UnsecureInput {
        header: Header::of::<UnsecureInput>(),
        handle,
    };
    let _: Header = ask(channel, ControlCode::Unsecure, &input)?;
    Ok(())
}
