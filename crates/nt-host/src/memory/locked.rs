//! The frames that `MmProbeAndLockPages` keeps, counted, through whatever address they were locked.
//!
//! A driver that gives such a frame back has freed a page that somebody still reads or writes: that is
//! a violation, and the frame is out of use from then on. A process that gives memory of its own back
//! does nothing wrong: the system keeps the frames until the last lock is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nt_machine::{FrameList, FrameRange, Machine};

use crate::host::Host;
use crate::lock;

#[cfg(test)]
mod tests;

/// The locked frames of a host.
#[derive(Default)]
pub(crate) struct LockedFrames(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many locks hold each frame from that number up to the next number here.
    counts: BTreeMap<u64, u32>,
    /// Frames that nobody but locks needs any more.
    orphans: Vec<FrameRange>,
}

impl LockedFrames {
    /// Counts a lock of these frames.
    pub(crate) fn add(&self, frames: &FrameList) {
        let mut state = lock(&self.0);
        frames.runs().for_each(|run| state.change(run, 1));
    }

    /// Ends a lock; gives back what nothing else had kept.
    pub(crate) fn remove(&self, machine: &Machine, frames: &FrameList) {
        let mut state = lock(&self.0);
        frames.runs().for_each(|run| state.change(run, -1));
        if state.orphans.is_empty() {
            return;
        }
        let mut orphans = FrameList::default();
        for run in std::mem::take(&mut state.orphans) {
            orphans.push(run);
        }
        let (free, kept) = state.part(&orphans);
        state.orphans.extend(kept.runs());
        drop(state);
        give_back(machine, &free);
    }

    /// Gives frames of a process's own back, now or after the last lock.
    pub(crate) fn give_back_later(&self, machine: &Machine, frames: &FrameList) {
        let mut state = lock(&self.0);
        let (free, kept) = state.part(frames);
        state.orphans.extend(kept.runs());
        drop(state);
        give_back(machine, &free);
    }

    /// Those of the frames that no lock holds, and those that one does.
    fn part(&self, frames: &FrameList) -> (FrameList, FrameList) {
        lock(&self.0).part(frames)
    }

    /// How many locks hold a frame.
    #[cfg(test)]
    pub(crate) fn count(&self, frame: u64) -> u32 {
        lock(&self.0).count(frame)
    }
}

fn give_back(machine: &Machine, frames: &FrameList) {
    let freed = machine.free_list(frames);
    debug_assert!(freed.is_ok(), "{freed:?}");
}

impl State {
    fn count(&self, frame: u64) -> u32 {
        let from = self.counts.range(..=frame).next_back();
        from.map_or(0, |(_, &count)| count)
    }

    fn change(&mut self, run: FrameRange, by: i32) {
        let end = run.first + run.count;
        for at in [run.first, end] {
            let count = self.count(at);
            self.counts.entry(at).or_insert(count);
        }
        for (_, count) in self.counts.range_mut(run.first..end) {
            *count = count.saturating_add_signed(by);
        }
        for at in [run.first, end] {
            let before = self.counts.range(..at).next_back();
            let before = before.map_or(0, |(_, &count)| count);
            if self.counts.get(&at) == Some(&before) {
                self.counts.remove(&at);
            }
        }
    }

    fn part(&self, frames: &FrameList) -> (FrameList, FrameList) {
        if self.counts.is_empty() {
            return (frames.clone(), FrameList::default());
        }
        let (mut free, mut kept) = (FrameList::default(), FrameList::default());
        for run in frames.runs() {
            let (mut first, end) = (run.first, run.first + run.count);
            while first < end {
                let next = self.counts.range(first + 1..end).next();
                let next = next.map_or(end, |(&at, _)| at);
                let count = next - first;
                let side = if self.count(first) == 0 {
                    &mut free
                } else {
                    &mut kept
                };
                side.push(FrameRange { first, count });
                first = next;
            }
        }
        (free, kept)
    }
}

/// Whether two lists have a frame in common.
pub(super) fn overlap(one: &FrameList, other: &FrameList) -> bool {
    one.runs().any(|run| {
        let mut others = other.runs();
        others.any(|other| {
            run.first < other.first + other.count && other.first < run.first + run.count
        })
    })
}

/// Gives back frames that a driver frees, apart from those that are locked; `what` is what they were.
pub(crate) fn free_frames(host: &Arc<Host>, frames: &FrameList, what: impl Fn() -> String) {
    let (free, kept) = host.memory.locked.part(frames);
    if kept.pages() != 0 {
        let message = format!(
            "{} freed while {} of its {} pages are locked by {}",
            what(),
            kept.pages(),
            frames.pages(),
            lockers(host, &kept)
        );
        host.violation("V312", "4E/0x9A", message);
    }
    if let Some(secured) = host.memory.secured.showing(frames) {
        let message = format!("{} freed while {secured}", what());
        host.violation("V133", "1A", message);
    }
    host.memory.give_back(&free);
}

/// The MDLs by which frames are locked, in words.
fn lockers(host: &Arc<Host>, frames: &FrameList) -> String {
    let mdls = lock(&host.memory.mdls);
    let names: Vec<String> = mdls
        .iter()
        .filter(|(_, state)| state.locked && overlap(&state.frames, frames))
        .map(|(at, _)| format!("MDL {at:#x}"))
        .collect();
    if names.is_empty() {
        return "an MDL whose memory is gone".to_owned();
    }
    names.join(", ")
}
