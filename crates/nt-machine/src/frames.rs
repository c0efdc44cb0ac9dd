//! Handing out frames: by node, within bounds, in runs or scattered.

use std::ops::Range;

use crate::machine::MachineConfig;
use crate::random::Random;
use crate::runs::{Bounds, FreeRuns};
use crate::{PAGE_SIZE, pages_for};

/// A run of consecutive frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameRange {
    /// Number of the first frame.
    pub first: u64,
    /// Frames in the run.
    pub count: u64,
}

impl FrameRange {
    /// The physical address of the first byte.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.first * PAGE_SIZE
    }

    /// Bytes in the run.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.count * PAGE_SIZE
    }

    /// The frame numbers.
    #[must_use]
    pub const fn frames(&self) -> Range<u64> {
        self.first..self.first + self.count
    }
}

/// Frames in a given order, stored as runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrameList {
    /// Index of the first page of each run, and the run.
    runs: Vec<(u64, FrameRange)>,
    pages: u64,
}

impl FrameList {
    /// Adds a run at the end.
    pub fn push(&mut self, run: FrameRange) {
        if run.count == 0 {
            return;
        }
        match self.runs.last_mut() {
            Some((_, last)) if last.first + last.count == run.first => last.count += run.count,
            _ => self.runs.push((self.pages, run)),
        }
        self.pages += run.count;
    }

    /// Frames in the list.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// The frame at `index`.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<u64> {
        if index >= self.pages {
            return None;
        }
        let run = self
            .runs
            .partition_point(|(at, _)| *at <= index)
            .checked_sub(1)?;
        let (at, run) = self.runs.get(run)?;
        Some(run.first + (index - at))
    }

    /// The runs, in order.
    #[must_use]
    pub fn runs(&self) -> impl ExactSizeIterator<Item = FrameRange> + '_ {
        self.runs.iter().map(|(_, run)| *run)
    }

    /// The frame numbers, in order.
    pub fn frames(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().flat_map(|(_, run)| run.frames())
    }

    /// The `count` frames from `index` on, as far as there are so many.
    #[must_use]
    pub fn slice(&self, index: u64, count: u64) -> Self {
        let (from, to) = (index, index.saturating_add(count).min(self.pages));
        let mut part = Self::default();
        for &(at, run) in &self.runs {
            let start = at.max(from);
            let end = (at + run.count).min(to);
            if start < end {
                part.push(FrameRange {
                    first: run.first + (start - at),
                    count: end - start,
                });
            }
        }
        part
    }
}

impl From<FrameRange> for FrameList {
    fn from(run: FrameRange) -> Self {
        let mut list = Self::default();
        list.push(run);
        list
    }
}

impl FromIterator<u64> for FrameList {
    fn from_iter<I: IntoIterator<Item = u64>>(frames: I) -> Self {
        let mut list = Self::default();
        for first in frames {
            list.push(FrameRange { first, count: 1 });
        }
        list
    }
}

/// What frames are wanted.
#[derive(Debug, Clone, Copy)]
pub struct FrameRequest {
    /// Frames wanted.
    pub count: u64,
    /// Lowest physical byte address allowed.
    pub lowest: u64,
    /// Highest physical byte address allowed (inclusive).
    pub highest: u64,
    /// A multiple of this many bytes is never crossed; zero for no such limit.
    pub boundary: u64,
    /// The node that is preferred.
    pub node: Option<u32>,
    /// Whether no other node will do.
    pub strict: bool,
    /// Whether the machine's low reserve may be used.
    pub reserve: bool,
}

impl FrameRequest {
    /// `count` frames, wherever they lie.
    #[must_use]
    pub const fn anywhere(count: u64) -> Self {
        let (lowest, highest, boundary) = (0, u64::MAX, 0);
        Self {
            count,
            lowest,
            highest,
            boundary,
            node: None,
            strict: false,
            reserve: false,
        }
    }

    fn bounds(&self) -> Option<Bounds> {
        if self.count == 0 || (self.boundary != 0 && self.boundary < PAGE_SIZE) {
            return None;
        }
        let highest = self
            .highest
            .checked_add(1)
            .map_or(u64::MAX / PAGE_SIZE, |end| end / PAGE_SIZE);
        let highest = highest.checked_sub(1)?;
        let (lowest, boundary) = (pages_for(self.lowest), self.boundary / PAGE_SIZE);
        Some(Bounds {
            lowest,
            highest,
            boundary,
        })
    }
}

/// Frames were given back that nobody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frames {:#x}..{:#x} are not allocated", .0.first, .0.first + .0.count)]
pub struct NotAllocated(pub FrameRange);

/// Runs do not cross these addresses: a request bounded by one of them then looks at nothing above it.
const ZONE_ENDS: [u64; 4] = [1 << 28, 1 << 32, 1 << 36, u64::MAX];

/// Frames taken at once to serve scattered requests.
const STASH_FRAMES: u64 = 512;

struct Zone {
    frames: Range<u64>,
    reserve: bool,
    runs: FreeRuns,
}

#[derive(Default)]
struct Node {
    zones: Vec<Zone>,
    /// Frames in shuffled order, for requests that want single frames.
    stash: Vec<u64>,
}

/// The free frames of a machine.
pub(crate) struct FrameAllocator {
    nodes: Vec<Node>,
    random: Random,
}

impl FrameAllocator {
    pub(crate) fn new(config: &MachineConfig) -> Self {
        let nodes = config.nodes.iter().map(|node| {
            let mut zones = Vec::new();
            for range in &node.ranges {
                add_zones(&mut zones, range, false);
            }
            for range in &node.low_reserve {
                add_zones(&mut zones, range, true);
            }
            // The highest first, so that low memory is spared; the reserve last of all.
            zones.sort_by_key(|zone| (zone.reserve, std::cmp::Reverse(zone.frames.start)));
            Node {
                zones,
                stash: Vec::new(),
            }
        });
        Self {
            nodes: nodes.collect(),
            random: Random::new(config.seed),
        }
    }

    /// Frames free at the moment.
    pub(crate) fn free_frames(&self) -> u64 {
        let of_node = |node: &Node| {
            node.stash.len() as u64 + node.zones.iter().map(|zone| zone.runs.free()).sum::<u64>()
        };
        self.nodes.iter().map(of_node).sum()
    }

    /// The node that `frame` belongs to.
    pub(crate) fn node_of(&self, frame: u64) -> Option<u32> {
        let has = |node: &Node| node.zones.iter().any(|zone| zone.frames.contains(&frame));
        self.nodes.iter().position(has).map(|node| node as u32)
    }

    /// Consecutive frames.
    pub(crate) fn take(&mut self, request: &FrameRequest) -> Option<FrameRange> {
        let bounds = request.bounds()?;
        let first = self.take_run(request, bounds).or_else(|| {
            self.drain_stashes();
            self.take_run(request, bounds)
        })?;
        Some(FrameRange {
            first,
            count: request.count,
        })
    }

    /// Frames that need not be consecutive, and mostly are not.
    pub(crate) fn take_scattered(&mut self, request: &FrameRequest) -> Option<FrameList> {
        let bounds = FrameRequest {
            count: 1,
            ..*request
        }
        .bounds()?;
        let free = request.lowest == 0 && request.highest == u64::MAX;
        let mut list = FrameList::default();
        for _ in 0..request.count {
            let single = FrameRequest {
                count: 1,
                ..*request
            };
            let from_stash = if free {
                self.take_from_stash(request)
            } else {
                None
            };
            let frame = from_stash
                .or_else(|| self.take_run(&single, bounds))
                .or_else(|| {
                    self.drain_stashes();
                    self.take_run(&single, bounds)
                });
            let Some(first) = frame else {
                for run in list.runs() {
                    self.give_back(run);
                }
                return None;
            };
            list.push(FrameRange { first, count: 1 });
        }
        Some(list)
    }

    /// Takes frames back.
    pub(crate) fn give(&mut self, range: FrameRange) -> Result<(), NotAllocated> {
        let known = |frame: u64| {
            self.nodes
                .iter()
                .any(|node| node.zones.iter().any(|z| z.frames.contains(&frame)))
        };
        let last = range.first + range.count.saturating_sub(1);
        let stashed = self
            .nodes
            .iter()
            .any(|n| n.stash.iter().any(|f| range.frames().contains(f)));
        if range.count == 0 || !known(range.first) || !known(last) || stashed {
            return Err(NotAllocated(range));
        }
        let overlap = |zone: &Zone| zone.runs.overlaps(range.first, range.count);
        if self.nodes.iter().any(|node| node.zones.iter().any(overlap)) {
            return Err(NotAllocated(range));
        }
        self.give_back(range);
        Ok(())
    }

    fn take_run(&mut self, request: &FrameRequest, bounds: Bounds) -> Option<u64> {
        let from_end = self.random.next() & 1 == 1;
        let Self { nodes, .. } = self;
        order(nodes.len(), request).find_map(|node| {
            let zones = nodes.get_mut(node)?.zones.iter_mut();
            zones
                .filter(|zone| request.reserve || !zone.reserve)
                .filter(|zone| {
                    zone.frames.start <= bounds.highest && zone.frames.end > bounds.lowest
                })
                .find_map(|zone| zone.runs.take(request.count, bounds, from_end))
        })
    }

    fn take_from_stash(&mut self, request: &FrameRequest) -> Option<u64> {
        order(self.nodes.len(), request).find_map(|index| {
            if self.nodes.get(index)?.stash.is_empty() {
                let node = Some(index as u32);
                let run = FrameRequest {
                    node,
                    strict: true,
                    ..FrameRequest::anywhere(STASH_FRAMES)
                };
                let first = self.take_run(&run, run.bounds()?)?;
                let mut stash: Vec<u64> = (first..first + STASH_FRAMES).collect();
                self.random.shuffle(&mut stash);
                self.nodes.get_mut(index)?.stash = stash;
            }
            self.nodes.get_mut(index)?.stash.pop()
        })
    }

    fn drain_stashes(&mut self) {
        let stashed: Vec<u64> = self
            .nodes
            .iter_mut()
            .flat_map(|node| node.stash.drain(..))
            .collect();
        for first in stashed {
            self.give_back(FrameRange { first, count: 1 });
        }
    }

    /// The run may cross zones if it was joined from several.
    fn give_back(&mut self, range: FrameRange) {
        for zone in self.nodes.iter_mut().flat_map(|node| node.zones.iter_mut()) {
            let start = range.first.max(zone.frames.start);
            let end = (range.first + range.count).min(zone.frames.end);
            if start < end {
                zone.runs.insert(start, end - start);
            }
        }
    }
}

/// The nodes to look at, the preferred one first.
fn order(nodes: usize, request: &FrameRequest) -> impl Iterator<Item = usize> + use<> {
    let first = request.node.map_or(0, |node| node as usize);
    let others = if request.strict { 0 } else { nodes };
    std::iter::once(first).chain((0..others).filter(move |node| *node != first))
}

fn add_zones(zones: &mut Vec<Zone>, range: &Range<u64>, reserve: bool) {
    let (mut start, end) = (pages_for(range.start), range.end / PAGE_SIZE);
    for zone_end in ZONE_ENDS {
        let to = end.min(zone_end / PAGE_SIZE);
        if start < to {
            let mut runs = FreeRuns::default();
            runs.insert(start, to - start);
            zones.push(Zone {
                frames: start..to,
                reserve,
                runs,
            });
            start = to;
        }
    }
}
