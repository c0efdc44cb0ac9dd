//! What a file has to be told without asking.

use sanproxy_abi::{EVENT_KINDS, EventKind};

/// Events that have happened and were not told yet.
///
/// Several that happen in one step may be told together or one after the other; none is lost, and none told twice.
#[derive(Default)]
pub struct Mailbox {
    happened: [u64; EVENT_KINDS],
    /// More of these may have happened: what a wish for a special place takes on its way is not promised.
    perhaps: [bool; EVENT_KINDS],
    /// Whether nothing more can happen.
    pub ended: bool,
    /// The request that waits.
    pub reader: Option<usize>,
}

impl Mailbox {
    /// It happens so often.
    pub fn add(&mut self, kind: EventKind, number: u64) {
        self.happened[kind.index() as usize] += number;
    }

    /// It may have happened.
    pub fn may_have(&mut self, kind: EventKind) {
        self.perhaps[kind.index() as usize] = true;
    }

    /// Whether there is something to tell.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.happened.iter().any(|number| *number > 0)
    }

    /// A reader waits on: there is nothing to tell.
    pub fn is_silent(&mut self) -> Result<(), String> {
        if self.has_news() {
            return Err(format!("a reader waits, with {:?} to tell", self.happened));
        }
        self.perhaps = [false; EVENT_KINDS];
        Ok(())
    }

    /// These were told: of all there were, or perhaps of some.
    pub fn told(&mut self, counts: [u64; EVENT_KINDS], all: bool) -> Result<(), String> {
        let numbers = self.happened.iter_mut().zip(self.perhaps).zip(counts);
        for (((happened, perhaps), told), kind) in numbers.zip(EventKind::ALL) {
            let invented = told > *happened && !perhaps;
            let lost = all && told < *happened;
            if invented || lost {
                return Err(format!("{kind:?} is told {told} times, was {happened}"));
            }
            *happened = happened.saturating_sub(told);
        }
        if all {
            self.perhaps = [false; EVENT_KINDS];
        }
        Ok(())
    }
}
