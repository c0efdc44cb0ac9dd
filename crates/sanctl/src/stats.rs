//! `sanctl stats` and `sanctl watch`: the counters of the device.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sanproxy_provider::{Channel, EventKind, Provider, Statistics};
use serde::Serialize;

use crate::failure::Failure;
use crate::screen::{FAINT, HEAD, Report, Screen, pairs};
use crate::system::{System, open};
use crate::{amount, memory};

/// The counters, shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Figures {
    live_registrations: u64,
    live_bytes: u64,
    peak_registrations: u64,
    peak_bytes: u64,
    made: u64,
    released: u64,
    file_registrations: u64,
    file_bytes: u64,
    failures: BTreeMap<String, u64>,
    latencies: Vec<Latency>,
}

/// Registrations that took less than so long, and no less than half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Latency {
    below_nanoseconds: u64,
    count: u64,
}

impl From<&Statistics> for Figures {
    fn from(statistics: &Statistics) -> Self {
        let failures = statistics.failures();
        Self {
            live_registrations: statistics.live_registrations,
            live_bytes: statistics.live_bytes,
            peak_registrations: statistics.peak_registrations,
            peak_bytes: statistics.peak_bytes,
            made: statistics.made,
            released: statistics.released,
            file_registrations: statistics.file_registrations,
            file_bytes: statistics.file_bytes,
            failures: failures
                .map(|(cause, count)| (format!("{cause:?}"), count))
                .collect(),
            latencies: statistics
                .latencies()
                .map(|(units, count)| Latency {
                    below_nanoseconds: units.saturating_mul(100),
                    count,
                })
                .collect(),
        }
    }
}

impl Report for Figures {
    fn text(&self) -> String {
        let both = |count: u64, bytes: u64| format!("{count} with {}", amount::bytes(bytes));
        let mut text = pairs(&[
            (
                "registered now",
                both(self.live_registrations, self.live_bytes),
            ),
            (
                "at most so far",
                both(self.peak_registrations, self.peak_bytes),
            ),
            ("made", self.made.to_string()),
            ("released", self.released.to_string()),
            (
                "of this file",
                both(self.file_registrations, self.file_bytes),
            ),
        ]);
        if self.failures.is_empty() {
            text.push_str("no request has failed since the device started\n");
        } else {
            text.push_str(&format!("{HEAD}failed requests by cause{HEAD:#}\n"));
            let rows: Vec<(&str, String)> = self
                .failures
                .iter()
                .map(|(cause, count)| (cause.as_str(), count.to_string()))
                .collect();
            text.push_str(&pairs(&rows));
        }
        text.push_str(&histogram(&self.latencies));
        text
    }
}

/// How long registrations took: a line per power of two, with a bar.
fn histogram(latencies: &[Latency]) -> String {
    let most = latencies.iter().map(|one| one.count).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let line = |one: &Latency| {
        let width = u128::from(one.count)
            .saturating_mul(32)
            .div_ceil(u128::from(most));
        let bar = "#".repeat(usize::try_from(width).unwrap_or(0));
        let below = Duration::from_nanos(one.below_nanoseconds);
        format!(
            "below {:>9}  {:>9}  {bar}\n",
            format!("{below:?}"),
            one.count
        )
    };
    let lines: String = latencies.iter().map(line).collect();
    format!("{HEAD}registrations by how long they took{HEAD:#}\n{lines}")
}

/// What an event is called.
pub(crate) const fn event_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Invalidated => "registrations gone",
        EventKind::DeviceStopped => "device stopped",
        EventKind::DeviceStarted => "device started",
        EventKind::DeviceRemoved => "device removed",
        EventKind::FileQuota => "file near its quota",
        EventKind::DeviceQuota => "device near its quota",
        EventKind::Connected => "connected",
        EventKind::Disconnected => "disconnected",
    }
}

/// `sanctl stats`.
pub(crate) fn stats<S: System>(system: &S, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let provider = open(system)?;
    screen.report(&Figures::from(&provider.statistics()?))
}

/// One look at the counters, with what happened since the last.
#[derive(Serialize)]
struct Sample {
    seconds: f64,
    #[serde(flatten)]
    figures: Figures,
    made_per_second: u64,
    released_per_second: u64,
    failed_per_second: u64,
    /// What has happened to the device since the watch began.
    events: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    history: String,
    #[serde(skip)]
    live: bool,
}

/// The lines of a sample that is drawn anew each time.
const LIVE_LINES: usize = 6;

impl Report for Sample {
    fn text(&self) -> String {
        let figures = &self.figures;
        let now = format!(
            "{} with {}",
            figures.live_registrations,
            amount::bytes(figures.live_bytes)
        );
        let Self {
            made_per_second,
            released_per_second,
            failed_per_second,
            ..
        } = self;
        if !self.live {
            return format!(
                "{:8.1}s  now {now}  made {made_per_second}/s  released {released_per_second}/s  \
                 failed {failed_per_second}/s{}\n",
                self.seconds,
                told(&self.events, "  ")
            );
        }
        let peak = amount::bytes(figures.peak_bytes);
        format!(
            "{HEAD}registered now{HEAD:#}  {now}  {FAINT}(at most {} with {peak}){FAINT:#}\n\
             made            {:>12}  {made_per_second}/s\n\
             released        {:>12}  {released_per_second}/s\n\
             failed          {:>12}  {failed_per_second}/s\n\
             {FAINT}bytes{FAINT:#}           {}\n\
             {FAINT}events{FAINT:#}          {}\n",
            figures.peak_registrations,
            figures.made,
            figures.released,
            figures
                .failures
                .values()
                .fold(0, |sum: u64, count| sum.saturating_add(*count)),
            self.history,
            told(&self.events, "")
        )
    }
}

/// Events in a line, each with how often it came.
fn told(events: &BTreeMap<&'static str, u64>, before: &str) -> String {
    let each = events.iter().map(|(name, count)| match count {
        1 => (*name).to_owned(),
        count => format!("{name} ({count} times)"),
    });
    let line = each.collect::<Vec<_>>().join(", ");
    if line.is_empty() {
        return line;
    }
    format!("{before}{line}")
}

/// `sanctl watch`.
pub(crate) fn watch<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    every: Duration,
    duration: Option<Duration>,
) -> Result<(), Failure> {
    if every < Duration::from_millis(10) {
        return Err(Failure::usage("--every takes at least 10ms"));
    }
    let provider = open(system)?;
    let events = Mutex::default();
    thread::scope(|scope| {
        let listening = scope.spawn(|| listen(&provider, &events));
        let outcome = show(system, screen, &provider, &events, (every, duration));
        // It may be on its way to the driver, where it can be cancelled.
        while !listening.is_finished() {
            provider.cancel();
            thread::sleep(Duration::from_millis(1));
        }
        outcome
    })
}

/// How often each event has come.
type Counts = Mutex<BTreeMap<&'static str, u64>>;

fn lock(events: &Counts) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts events until the wait for them is cancelled, or none can come any more.
fn listen<C: Channel>(provider: &Provider<C>, counts: &Counts) {
    while let Ok(events) = provider.wait_event() {
        let mut counts = lock(counts);
        for (kind, count) in events.iter() {
            let sum = counts.entry(event_name(kind)).or_default();
            *sum = sum.saturating_add(count);
        }
    }
}

/// Shows sample after sample.
fn show<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    provider: &Provider<S::Channel>,
    events: &Counts,
    (every, duration): (Duration, Option<Duration>),
) -> Result<(), Failure> {
    let start = system.elapsed();
    let mut before: Option<(Duration, Figures)> = None;
    let mut history = VecDeque::new();
    loop {
        let now = system.elapsed();
        let figures = Figures::from(&provider.statistics().inspect_err(|_| {
            // What has happened tells why.
            let _ = screen.say(told(&lock(events), ""));
        })?);
        history.push_back(figures.live_bytes);
        if history.len() > 60 {
            history.pop_front();
        }
        let drawn = before.is_some();
        let sample = sample(
            now.saturating_sub(start),
            now,
            figures.clone(),
            before.as_ref(),
        );
        let sample = Sample {
            history: bars(&history),
            events: lock(events).clone(),
            live: screen.live,
            ..sample
        };
        screen.rewind(if drawn { LIVE_LINES } else { 0 })?;
        screen.sample(&sample)?;
        before = Some((now, figures));
        let spent = system.elapsed().saturating_sub(start);
        let left = duration.map_or(every, |duration| duration.saturating_sub(spent));
        if left.is_zero() || !memory::wait(system, Some(every.min(left))) {
            return Ok(());
        }
    }
}

fn sample(
    since: Duration,
    now: Duration,
    figures: Figures,
    before: Option<&(Duration, Figures)>,
) -> Sample {
    let failed = |figures: &Figures| {
        figures
            .failures
            .values()
            .fold(0, |sum: u64, count| sum.saturating_add(*count))
    };
    let rate = |count: &dyn Fn(&Figures) -> u64| {
        let Some((then, old)) = before else { return 0 };
        let passed = u64::try_from(now.saturating_sub(*then).as_millis()).unwrap_or(u64::MAX);
        let more = count(&figures).saturating_sub(count(old));
        more.saturating_mul(1000).checked_div(passed).unwrap_or(0)
    };
    Sample {
        seconds: since.as_secs_f64(),
        made_per_second: rate(&|figures| figures.made),
        released_per_second: rate(&|figures| figures.released),
        failed_per_second: rate(&failed),
        events: BTreeMap::new(),
        history: String::new(),
        live: false,
        figures,
    }
}

/// A line of bars, the highest value as a full one.
fn bars(values: &VecDeque<u64>) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let height = u128::from(*value)
            .saturating_mul(8)
            .div_ceil(u128::from(most));
        let height = usize::try_from(height).unwrap_or(0);
        BARS.get(height).copied().unwrap_or(' ')
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_values() {
        assert_eq!(bars(&VecDeque::from([0, 1, 4, 8])), " ▁▄█");
        assert_eq!(bars(&VecDeque::from([0, 0])), "  ");
    }
}
