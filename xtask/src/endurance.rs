//! Tests that take as long as one likes: random histories against the model, and loading and unloading again and again.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sanproxy_tests::{
    image::{self, TestImage},
    model::search,
    reload::{Held, cycle, machine},
};

/// Lives on one machine, whose judge remembers addresses that were freed; with the machine that goes.
const LIVES_PER_MACHINE: u64 = 500;
/// What the allocator may keep, in KiB.
const SLACK: u64 = 8192;

fn bar(length: u64, template: &str) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template(template).context("the progress bar's template")?;
    Ok(ProgressBar::new(length).with_style(style))
}

/// So many histories this process plays before it holds all that it ever will.
const WARM: u64 = 50;

/// Plays random histories for some minutes, from one seed on, and prints the first that fails, shortened; fails too if this
/// process grows.
pub(crate) fn fuzz(minutes: u64, first: u64) -> Result<ExitCode> {
    let limit = Duration::from_secs(minutes.saturating_mul(60));
    let bar = bar(limit.as_secs(), "[{elapsed_precise}] {wide_bar} {msg}")?;
    let begun = Instant::now();
    let (mut played, mut steps) = (0_u64, 0_usize);
    let mut warm: Option<Held> = None;
    while begun.elapsed() < limit {
        let seed = first.saturating_add(played);
        match search::seed(seed) {
            Ok(count) => steps = steps.saturating_add(count),
            Err(difference) => {
                bar.abandon();
                println!("seed {seed}:\n{difference}");
                return Ok(ExitCode::FAILURE);
            }
        }
        played = played.saturating_add(1);
        if played >= WARM {
            let held = Held::now();
            let first = *warm.get_or_insert(held);
            if grows(first, held) {
                bar.abandon();
                bail!("it grows: {first:?} after {WARM} histories, after {played} {held:?}");
            }
        }
        bar.set_position(begun.elapsed().as_secs());
        bar.set_message(format!("{played} histories, {steps} steps"));
    }
    bar.finish_and_clear();
    println!("{played} histories, {steps} steps: the driver agrees with the model");
    Ok(ExitCode::SUCCESS)
}

/// Whether this process holds more than the allocator may keep.
fn grows(first: Held, now: Held) -> bool {
    let allowed = first.resident.saturating_add(SLACK);
    now.resident > allowed || now.descriptors > first.descriptors
}

/// Loads and unloads the driver so many times, and looks that nothing is left: in the machine after each life, in this process
/// after each machine.
pub(crate) fn soak(lives: u64) -> Result<ExitCode> {
    let image = image::read(TestImage::Sanproxy);
    let bar = bar(lives, "[{elapsed_precise}] {wide_bar} {pos} of {len} {msg}")?;
    let mut after_first: Option<Held> = None;
    let mut left = lives;
    while left > 0 {
        let count = left.min(LIVES_PER_MACHINE);
        left = left.saturating_sub(count);
        live(&image, count, &bar)?;
        let held = Held::now();
        bar.set_message(format!("{} KiB", held.resident));
        let first = *after_first.get_or_insert(held);
        if grows(first, held) {
            bar.abandon();
            bail!("it grows: {first:?} after the first machine, then {held:?}");
        }
    }
    bar.finish_and_clear();
    if let Some(first) = after_first {
        let last = Held::now();
        println!("{lives} lives; after the first machine {first:?}, at the end {last:?}");
    }
    Ok(ExitCode::SUCCESS)
}

/// So many lives on one machine.
fn live(image: &[u8], count: u64, bar: &ProgressBar) -> Result<()> {
    let host = machine().context("no machine")?;
    for _ in 0..count {
        cycle(&host, image).with_context(|| format!("after {} lives", bar.position()))?;
        bar.inc(1);
    }
    let report = host.report();
    if !report.is_clean() {
        bail!("{report}");
    }
    Ok(())
}
