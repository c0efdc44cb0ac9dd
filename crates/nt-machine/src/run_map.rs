//! Values attached to runs of frames.

use std::collections::BTreeMap;
use std::ops::Range;

/// A map from frames to values that stores runs, so that a large block costs one entry.
#[derive(Debug)]
pub(crate) struct RunMap<T> {
    /// Start to (end, value); runs never overlap.
    runs: BTreeMap<u64, (u64, T)>,
}

impl<T> Default for RunMap<T> {
    fn default() -> Self {
        Self {
            runs: BTreeMap::new(),
        }
    }
}

impl<T: Clone> RunMap<T> {
    /// The value at `frame`.
    pub(crate) fn get(&self, frame: u64) -> Option<&T> {
        let (_, (end, value)) = self.runs.range(..=frame).next_back()?;
        (frame < *end).then_some(value)
    }

    /// The first frame of `range` that has a value which `matches`.
    pub(crate) fn find(
        &self,
        range: &Range<u64>,
        mut matches: impl FnMut(&T) -> bool,
    ) -> Option<(u64, &T)> {
        let first = self
            .runs
            .range(..=range.start)
            .next_back()
            .map_or(range.start, |(&at, _)| at);
        self.runs
            .range(first..range.end)
            .filter(|(_, (end, _))| *end > range.start)
            .find(|(_, (_, value))| matches(value))
            .map(|(&at, (_, value))| (at.max(range.start), value))
    }

    /// Replaces the value of every frame in `range`; `change` sees what was there.
    pub(crate) fn update(
        &mut self,
        range: &Range<u64>,
        mut change: impl FnMut(Option<&T>) -> Option<T>,
    ) {
        self.split(range.start);
        self.split(range.end);
        let inside: Vec<(u64, u64)> = self
            .runs
            .range(range.clone())
            .map(|(&at, &(end, _))| (at, end))
            .collect();
        let mut next = range.start;
        for (at, end) in inside {
            if at > next {
                self.put(next, at, change(None));
            }
            let old = self.runs.remove(&at).map(|(_, value)| value);
            self.put(at, end, change(old.as_ref()));
            next = end;
        }
        if next < range.end {
            self.put(next, range.end, change(None));
        }
    }

    fn put(&mut self, start: u64, end: u64, value: Option<T>) {
        if let Some(value) = value {
            self.runs.insert(start, (end, value));
        }
    }

    /// Makes sure that no run has `at` in its middle.
    fn split(&mut self, at: u64) {
        let Some((&start, run)) = self.runs.range_mut(..at).next_back() else {
            return;
        };
        let end = run.0;
        if start < at && at < end {
            run.0 = at;
            let value = run.1.clone();
            self.runs.insert(at, (end, value));
        }
    }
}
