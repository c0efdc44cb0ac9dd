//! What a request to register comes to.

use sanproxy_abi::{Error, PAGE_SIZE};

use super::{Oracle, accounts::Amount};
use crate::model::operation::{Flaw, Reach, Wish};

/// What a request to register may come to.
#[derive(Debug)]
pub struct Expectation {
    /// Whether it may succeed.
    pub success: bool,
    /// How it may fail.
    pub refusals: Vec<Error>,
    /// The most bytes that it may be charged for beyond its own, while it is under way and when it is made.
    pub padding: u64,
}

impl Expectation {
    fn refused(error: Error) -> Self {
        Self {
            success: false,
            refusals: vec![error],
            padding: 0,
        }
    }
}

impl Oracle {
    /// What a request to register comes to.
    pub fn expect(&mut self, file: usize, process: usize, wish: &Wish) -> Expectation {
        if let Some(error) = wish.flaw.and_then(Flaw::found_first) {
            return Expectation::refused(error);
        }
        if let Err(error) = self.gate() {
            return Expectation::refused(error);
        }
        if let Some(flaw) = wish.flaw {
            return Expectation::refused(flaw.error());
        }
        let owner = self.files.get(&file).and_then(|file| file.owner);
        if wish.map && owner != Some(process) {
            return Expectation::refused(Error::WrongProcess);
        }
        let base = Amount::new(1, wish.rounded());
        if let Err(error) = self.charge(file, Amount::default(), base) {
            return Expectation::refused(error);
        }
        let padding = wish.padding();
        // What it takes beyond its length may be too much.
        let mut refusals = Vec::new();
        for (usage, limit, error) in [
            (
                self.usage(Some(file)),
                self.limit_of(file),
                Error::FileQuota,
            ),
            (self.usage(None), self.per_device, Error::DeviceQuota),
        ] {
            if usage.bytes + base.bytes + padding > limit.bytes {
                refusals.push(error);
            }
        }
        let success = wish.reach != Reach::OutOfReach;
        if !success || !refusals.is_empty() {
            refusals.push(Error::NoMemory);
        }
        Expectation {
            success,
            refusals,
            padding,
        }
    }
}

impl Wish {
    /// The length in whole pages.
    pub fn rounded(&self) -> u64 {
        self.length.next_multiple_of(PAGE_SIZE)
    }

    /// The most that it takes beyond its length because of where it has to lie.
    fn padding(&self) -> u64 {
        let length = self.rounded();
        let stride = if self.boundary {
            length.next_power_of_two()
        } else {
            PAGE_SIZE
        };
        let padding = stride.max(self.alignment * PAGE_SIZE) - PAGE_SIZE;
        // In pieces, each may take as much, and the last of them what another would.
        if self.pieces && (padding > 0 || self.reach == Reach::OutOfReach) {
            padding * (length / PAGE_SIZE) + length
        } else {
            padding
        }
    }
}

impl Flaw {
    /// The error of those that are found before the device is looked at.
    fn found_first(self) -> Option<Error> {
        match self {
            Self::TooLong | Self::Node => None,
            Self::Size
            | Self::Version
            | Self::Flag
            | Self::Kind
            | Self::OtherKind
            | Self::Empty
            | Self::Boundary
            | Self::Alignment
            | Self::Bounds
            | Self::Cache => Some(self.error()),
        }
    }

    fn error(self) -> Error {
        match self {
            Self::Size => Error::HeaderSize,
            Self::Version => Error::HeaderVersion,
            Self::Flag => Error::ReservedBits,
            Self::Kind => Error::UnknownKind,
            Self::OtherKind => Error::KindNotOffered,
            Self::Empty | Self::TooLong => Error::Length,
            Self::Boundary => Error::Boundary,
            Self::Alignment => Error::Alignment,
            Self::Bounds => Error::Bounds,
            Self::Cache => Error::UnknownCacheType,
            Self::Node => Error::UnknownNode,
        }
    }
}
