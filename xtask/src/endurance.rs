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

/// Lives after which memory has to stay as it is.
const WARM_UP: u64 = 100;
/// What the allocator may keep, in KiB.
const SLACK: u64 = 8192;

fn bar(length: u64, template: &str) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template(template).context("the progress bar's template")?;
    Ok(ProgressBar::new(length).with_style(style))
}

/// Plays random histories for some minutes, from one seed on, and prints the first that fails, shortened.
pub(crate) fn fuzz(minutes: u64, first: u64) -> Result<ExitCode> {
    let limit = Duration::from_secs(minutes.saturating_mul(60));
    let bar = bar(limit.as_secs(), "[{elapsed_precise}] {wide_bar} {msg}")?;
    let begun = Instant::now();
    let (mut played, mut steps) = (0_u64, 0_usize);
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
        bar.set_position(begun.elapsed().as_secs());
        bar.set_message(format!("{played} histories, {steps} steps"));
    }
    bar.finish_and_clear();
    println!("{played} histories, {steps} steps: the driver agrees with the model");
    Ok(ExitCode::SUCCESS)
}

/// Loads and unloads the driver so many times, and looks that nothing is left.
pub(crate) fn soak(lives: u64) -> Result<ExitCode> {
    let image = image::read(TestImage::Sanproxy);
    let host = machine().context("no machine")?;
    let bar = bar(lives, "[{elapsed_precise}] {wide_bar} {pos} of {len} {msg}")?;
    let mut before = Held::now();
    for life in 1..=lives {
        cycle(&host, &image).with_context(|| format!("life {life}"))?;
        if life == WARM_UP.min(lives) {
            before = Held::now();
        }
        if life.is_multiple_of(50) {
            bar.set_message(format!("{} KiB", Held::now().resident));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let after = Held::now();
    let report = host.report();
    if !report.is_clean() {
        bail!("{report}");
    }
    if after.descriptors != before.descriptors
        || after.resident > before.resident.saturating_add(SLACK)
    {
        bail!("it grows: {before:?}, then {after:?}");
    }
    println!(
        "{lives} lives: {} KiB after {WARM_UP}, {} KiB at the end; {} descriptors, then {}",
        before.resident, after.resident, before.descriptors, after.descriptors
    );
    Ok(ExitCode::SUCCESS)
}
