//! The fault plan: which call of which routine is to fail.
//!
//! A routine that can fail for want of resources asks `should_fail` once per call, before it does
//! anything. Every question is counted, so a test can fail the first, the second, ... until none is left.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lock;

#[derive(Default)]
struct Plan {
    nth: Option<u64>,
    from: Option<u64>,
    routines: Vec<(String, u64, u64)>,
    random: Option<(u64, u32)>,
    injected: Vec<&'static str>,
}

/// The fault plan of one host.
#[derive(Default)]
pub struct Faults {
    seen: AtomicU64,
    plan: Mutex<Plan>,
}

impl Faults {
    /// Fails the `n`-th call (from 1, counted from now) that can fail, whatever the routine.
    pub fn fail_nth(&self, n: u64) {
        let base = self.seen();
        lock(&self.plan).nth = Some(base + n);
    }

    /// Fails the `n`-th call (from 1, counted from now) of `routine`.
    pub fn fail_routine(&self, routine: &str, n: u64) {
        lock(&self.plan).routines.push((routine.to_owned(), n, 0));
    }

    /// Fails every call from the `n`-th (from 1, counted from now) on.
    pub fn fail_from(&self, n: u64) {
        let base = self.seen();
        lock(&self.plan).from = Some(base + n);
    }

    /// Fails `per_mille` of a thousand calls, picked by `seed`.
    pub fn random(&self, seed: u64, per_mille: u32) {
        lock(&self.plan).random = Some((seed | 1, per_mille));
    }

    /// Nothing fails any more; `seen` and `injected` go on counting.
    pub fn clear(&self) {
        let mut plan = lock(&self.plan);
        plan.nth = None;
        plan.from = None;
        plan.routines.clear();
        plan.random = None;
    }

    /// Calls so far that could have been made to fail.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// The routines that were made to fail, in order.
    #[must_use]
    pub fn injected(&self) -> Vec<&'static str> {
        lock(&self.plan).injected.clone()
    }

    /// Whether this call of `routine` is to fail. Asked once per call.
    pub(crate) fn should_fail(&self, routine: &'static str) -> bool {
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let mut plan = lock(&self.plan);
        let mut fail = plan.nth == Some(number) || plan.from.is_some_and(|from| number >= from);
        for (name, nth, count) in &mut plan.routines {
            if name == routine {
                *count += 1;
                fail |= *count == *nth;
            }
        }
        if let Some((state, per_mille)) = &mut plan.random {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            fail |= *state % 1000 < u64::from(*per_mille);
        }
        if fail {
            plan.injected.push(routine);
        }
        fail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fail_nth_when_reached_fails_that_call_only() {
        let faults = Faults::default();
        faults.fail_nth(2);
        let answers: Vec<bool> = ["A", "B", "C"].map(|name| faults.should_fail(name)).into();
        assert_eq!(answers, [false, true, false]);
        assert_eq!((faults.seen(), faults.injected()), (3, vec!["B"]));
    }

    #[test]
    fn fail_routine_counts_that_routine_only() {
        let faults = Faults::default();
        faults.fail_routine("B", 2);
        let answers: Vec<bool> = ["B", "A", "B", "B"]
            .map(|name| faults.should_fail(name))
            .into();
        assert_eq!(answers, [false, false, true, false]);
    }

    #[test]
    fn fail_from_fails_all_later_calls_until_cleared() {
        let faults = Faults::default();
        faults.fail_from(2);
        assert_eq!(
            ["A", "A", "A"].map(|name| faults.should_fail(name)),
            [false, true, true]
        );
        faults.clear();
        assert!(!faults.should_fail("A"));
    }
}
