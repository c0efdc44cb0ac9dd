//! `sanctl bench`: what requests cost.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sanproxy_provider::{
    Access, CacheLimits, Channel, Error, Provider, RegisterOptions, Registration,
    RegistrationCache, StatusPage, UserBufferOptions, UserBuffers,
};
use serde::Serialize;

use crate::amount;
use crate::failure::Failure;
use crate::screen::{Align, Report, Screen, table};
use crate::system::{Pages, System, open};

/// What one request costs, over many.
#[derive(Serialize)]
struct Line {
    what: &'static str,
    count: u64,
    median_nanoseconds: u64,
    p99_nanoseconds: u64,
    per_second: u64,
}

#[derive(Serialize)]
struct Bench {
    live_registrations: u32,
    milliseconds_each: u64,
    lines: Vec<Line>,
}

impl Report for Bench {
    fn text(&self) -> String {
        let heading = [
            ("Request", Align::Left),
            ("Median", Align::Right),
            ("99 %", Align::Right),
            ("Per second", Align::Right),
            ("Measured", Align::Right),
        ];
        let short = |nanoseconds| amount::short(Duration::from_nanos(nanoseconds));
        let rows: Vec<Vec<String>> = self
            .lines
            .iter()
            .map(|line| {
                vec![
                    line.what.to_owned(),
                    short(line.median_nanoseconds),
                    short(line.p99_nanoseconds),
                    line.per_second.to_string(),
                    line.count.to_string(),
                ]
            })
            .collect();
        let live = self.live_registrations;
        format!(
            "{}{live} other registrations meanwhile\n",
            table(&heading, &rows)
        )
    }
}

/// A step to be measured.
type Step<'a> = (&'static str, Box<dyn FnMut() -> Result<(), Error> + 'a>);

fn registering<'a, C: Channel>(
    provider: &'a Provider<C>,
    options: RegisterOptions,
) -> Box<dyn FnMut() -> Result<(), Error> + 'a> {
    Box::new(move || provider.register(&options)?.release())
}

fn steps<'a, C: Channel>(provider: &'a Provider<C>, memory: &'a Registration<C>) -> Vec<Step<'a>> {
    let common = RegisterOptions::common_buffer;
    let half = memory.length() / 2;
    let middle = memory.device_address().saturating_add(half);
    vec![
        (
            "empty request",
            Box::new(|| provider.statistics().map(drop)),
        ),
        (
            "look up",
            Box::new(move || provider.lookup(middle).map(drop)),
        ),
        (
            "register and release 4 KiB",
            registering(provider, common(4 << 10)),
        ),
        (
            "register and release 4 KiB, mapped",
            registering(provider, common(4 << 10).map()),
        ),
        (
            "register and release 64 KiB",
            registering(provider, common(64 << 10)),
        ),
        (
            "register and release 64 KiB, mapped",
            registering(provider, common(64 << 10).map()),
        ),
        (
            "register and release 1 MiB",
            registering(provider, common(1 << 20)),
        ),
        (
            "move 64 KiB",
            Box::new(move || provider.copy((memory, 0), (memory, half), 64 << 10)),
        ),
    ]
}

/// What is measured of the device's page, and of messages between two files.
fn polling<'a, C: Channel>(
    page: &'a StatusPage<C>,
    (one, other): (&'a Provider<C>, &'a Provider<C>),
) -> Vec<Step<'a>> {
    vec![
        (
            "read the status page, no request",
            Box::new(|| page.read().map(drop)),
        ),
        (
            "send and receive 64 bytes",
            Box::new(|| {
                one.send(&[0; 64])?;
                other.receive(&mut [0; 64]).map(drop)
            }),
        ),
    ]
}

/// What is measured of memory of the program's own.
fn own_memory<'a, C: Channel>(
    provider: &'a Provider<C>,
    cache: &'a RegistrationCache<UserBuffers<C>>,
    start: u64,
) -> Vec<Step<'a>> {
    let access = Access::ReadWrite;
    let options = UserBufferOptions::new(start, OWN_MEMORY, access).allow_pieces();
    vec![
        (
            "register and release 1 MiB of its own",
            Box::new(move || provider.register_user_buffer(&options)?.release()),
        ),
        (
            "secure and unsecure 1 MiB of its own",
            Box::new(move || provider.secure(start, OWN_MEMORY, access)?.unsecure()),
        ),
        (
            "the same from the cache, no request",
            Box::new(move || cache.register(start, OWN_MEMORY, access).map(drop)),
        ),
    ]
}

/// What the cache keeps.
const CACHE: CacheLimits = CacheLimits {
    bytes: 16 << 20,
    entries: 16,
};

/// How much memory of the program's own is measured.
const OWN_MEMORY: u64 = 1 << 20;

/// `sanctl bench`.
pub(crate) fn bench<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    duration: Duration,
    live: u32,
) -> Result<(), Failure> {
    let provider = open(system)?;
    let mut others = Vec::new();
    for _ in 0..live {
        if system.is_interrupted() {
            return Err(Failure::interrupted("everything is released"));
        }
        others.push(provider.register(&RegisterOptions::common_buffer(4096))?);
    }
    let memory = provider.register(&RegisterOptions::common_buffer(256 << 10))?;
    let other = open(system)?;
    let number = other.endpoint()?.own;
    other.connect(provider.connect(number)?.own)?;
    let page = provider.status_page()?;
    let cache = RegistrationCache::new(provider.user_buffers(), CACHE);
    let pages = if system.locks_own_memory() {
        Some(system.allocate(provider.channel(), OWN_MEMORY)?)
    } else {
        None
    };
    let mut steps = steps(&provider, &memory);
    steps.extend(polling(&page, (&provider, &other)));
    steps.extend(
        pages
            .iter()
            .flat_map(|pages| own_memory(&provider, &cache, pages.start())),
    );
    let bar = progress(
        screen,
        u64::try_from(steps.len()).unwrap_or(0),
        "{bar:32} {msg}",
    );
    let mut lines = Vec::new();
    for (what, mut step) in steps {
        if system.is_interrupted() {
            bar.finish_and_clear();
            return Err(Failure::interrupted("everything is released"));
        }
        bar.set_message(what);
        lines.push(measure(what, duration, &mut step)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    screen.report(&Bench {
        live_registrations: live,
        milliseconds_each: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        lines,
    })
}

/// A progress bar on the error stream, or none.
pub(crate) fn progress(screen: &Screen<'_>, length: u64, template: &str) -> ProgressBar {
    if !screen.progress {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn measure(
    what: &'static str,
    duration: Duration,
    step: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<Line, Failure> {
    /// So that a long measurement does not fill memory with its own times.
    const MOST: usize = 1 << 20;
    step()?;
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.is_empty() || (begin.elapsed() < duration && times.len() < MOST) {
        let start = Instant::now();
        step()?;
        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    let passed = u64::try_from(begin.elapsed().as_micros())
        .unwrap_or(u64::MAX)
        .max(1);
    let count = u64::try_from(times.len()).unwrap_or(u64::MAX);
    times.sort_unstable();
    let at = |hundredths: usize| {
        let index = times.len().saturating_mul(hundredths) / 100;
        times
            .get(index.min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    Ok(Line {
        what,
        count,
        median_nanoseconds: at(50),
        p99_nanoseconds: at(99),
        per_second: count
            .saturating_mul(1_000_000)
            .checked_div(passed)
            .unwrap_or(0),
    })
}
