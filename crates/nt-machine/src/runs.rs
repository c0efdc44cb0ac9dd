//! Free frames as runs, found by address and by length.
//!
//! Two indexes of the same runs: by start, to join neighbours when frames come back, and by length, so
//! that a long run is found without a walk over the short ones.

use std::collections::{BTreeMap, BTreeSet};

/// Where a run may lie, in frame numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// First frame allowed.
    pub(crate) lowest: u64,
    /// Last frame allowed.
    pub(crate) highest: u64,
    /// A multiple of this many frames is never crossed; zero for no such limit.
    pub(crate) boundary: u64,
}

/// Free runs of frames; neighbours are always joined.
#[derive(Debug, Default)]
pub(crate) struct FreeRuns {
    by_start: BTreeMap<u64, u64>,
    by_count: BTreeSet<(u64, u64)>,
    free: u64,
}

impl FreeRuns {
    /// Free frames in all runs.
    pub(crate) const fn free(&self) -> u64 {
        self.free
    }

    /// Whether any of the frames is free.
    pub(crate) fn overlaps(&self, start: u64, count: u64) -> bool {
        self.by_start
            .range(..start + count)
            .next_back()
            .is_some_and(|(&first, &length)| first + length > start)
    }

    /// Takes frames back; false if one of them is free already.
    pub(crate) fn insert(&mut self, mut start: u64, mut count: u64) -> bool {
        if self.overlaps(start, count) {
            return false;
        }
        self.free += count;
        if let Some((&first, &length)) = self.by_start.range(..start).next_back()
            && first + length == start
        {
            self.forget(first, length);
            start = first;
            count += length;
        }
        if let Some(&length) = self.by_start.get(&(start + count)) {
            self.forget(start + count, length);
            count += length;
        }
        self.remember(start, count);
        true
    }

    /// Finds `count` frames within `bounds` in the shortest run that has them, and removes them.
    pub(crate) fn take(&mut self, count: u64, bounds: Bounds, from_end: bool) -> Option<u64> {
        let (run_start, run_count, start) =
            self.by_count
                .range((count, 0)..)
                .find_map(|&(run_count, run_start)| {
                    let end = run_start + run_count;
                    place(run_start, end, count, bounds, from_end)
                        .map(|at| (run_start, run_count, at))
                })?;
        self.forget(run_start, run_count);
        self.free -= count;
        if start > run_start {
            self.remember(run_start, start - run_start);
        }
        let (end, run_end) = (start + count, run_start + run_count);
        if run_end > end {
            self.remember(end, run_end - end);
        }
        Some(start)
    }

    fn remember(&mut self, start: u64, count: u64) {
        self.by_start.insert(start, count);
        self.by_count.insert((count, start));
    }

    fn forget(&mut self, start: u64, count: u64) {
        self.by_start.remove(&start);
        self.by_count.remove(&(count, start));
    }
}

/// The place for `count` frames in `run_start..run_end`, at its lower or its upper end.
fn place(run_start: u64, run_end: u64, count: u64, bounds: Bounds, from_end: bool) -> Option<u64> {
    let low = run_start.max(bounds.lowest);
    let end = run_end.min(bounds.highest.saturating_add(1));
    if end < low || end - low < count || (bounds.boundary != 0 && count > bounds.boundary) {
        return None;
    }
    let start = if from_end { end - count } else { low };
    let last = start + count - 1;
    if bounds.boundary == 0 || start / bounds.boundary == last / bounds.boundary {
        return Some(start);
    }
    let crossed = last / bounds.boundary * bounds.boundary;
    let start = if from_end {
        crossed.checked_sub(count)?
    } else {
        crossed
    };
    (start >= low && start + count <= end).then_some(start)
}
