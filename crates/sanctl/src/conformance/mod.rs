//! The conformance suite: what the driver promises, tried through an open file like any program's.

mod device;
mod memory;
mod own_memory;
mod ownership;
mod requests;

use sanproxy_provider::Provider;
use serde::Serialize;

use crate::failure::Failure;
use crate::screen::{BAD, GOOD, Report, Screen};
use crate::system::{System, open};

/// What a check finds: nothing, or what is wrong.
type Finding = Result<(), String>;

/// A check before it has a type of its own.
type Named<S> = (&'static str, fn(&Ground<'_, S>) -> Finding);

/// Where the checks run.
struct Ground<'s, S: System> {
    system: &'s S,
}

impl<S: System> Ground<'_, S> {
    /// A new open file.
    fn open(&self) -> Result<Provider<S::Channel>, String> {
        open(self.system).map_err(|failure| failure.message)
    }
}

/// A promise and how it is tried.
struct Check<S: System> {
    name: &'static str,
    run: fn(&Ground<'_, S>) -> Finding,
}

#[derive(Serialize)]
struct Line {
    check: &'static str,
    passed: bool,
    skipped: bool,
    finding: Option<String>,
}

/// What a run of the suite found.
#[derive(Serialize)]
pub(crate) struct Suite {
    passed: usize,
    failed: usize,
    /// Not tried, because this system cannot show it.
    skipped: usize,
    checks: Vec<Line>,
}

impl Suite {
    /// A failure, if there was one.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        if self.failed == 0 {
            return Ok(());
        }
        let names = self
            .checks
            .iter()
            .filter(|line| !line.passed && !line.skipped)
            .map(|line| line.check);
        let names: Vec<&str> = names.collect();
        Err(Failure::wrong(format!(
            "{} of {} checks failed: {}",
            self.failed,
            self.checks.len(),
            names.join(", ")
        )))
    }
}

impl Report for Suite {
    fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.checks {
            match &line.finding {
                Some(why) if line.skipped => {
                    text.push_str(&format!("skipped {}: {why}\n", line.check));
                }
                None => text.push_str(&format!("{GOOD}ok{GOOD:#}      {}\n", line.check)),
                Some(finding) => {
                    text.push_str(&format!("{BAD}failed{BAD:#}  {}: {finding}\n", line.check));
                }
            }
        }
        text.push_str(&format!("{} passed, {} failed", self.passed, self.failed));
        if self.skipped > 0 {
            text.push_str(&format!(", {} skipped", self.skipped));
        }
        text.push('\n');
        text
    }
}

/// Runs all checks.
pub(crate) fn run<S: System>(system: &S, screen: &Screen<'_>) -> Result<Suite, Failure> {
    // A device that cannot be opened fails the command, not forty checks.
    drop(open(system)?);
    let ground = Ground { system };
    let checks: Vec<Check<S>> = requests::checks()
        .into_iter()
        .chain(memory::checks())
        .chain(ownership::checks())
        .chain(device::checks())
        .collect();
    let of_own_memory = own_memory::checks::<S>();
    let (checks, skipped) = if system.locks_own_memory() {
        (
            checks.into_iter().chain(of_own_memory).collect(),
            Vec::new(),
        )
    } else {
        (checks, of_own_memory)
    };
    let length = u64::try_from(checks.len()).unwrap_or(0);
    let bar = crate::bench::progress(screen, length, "{bar:32} {pos}/{len} {msg}");
    let mut suite = Suite {
        passed: 0,
        failed: 0,
        skipped: skipped.len(),
        checks: Vec::new(),
    };
    for check in checks {
        if system.is_interrupted() {
            bar.finish_and_clear();
            return Err(Failure::interrupted("the suite did not end"));
        }
        bar.set_message(check.name);
        let finding = (check.run)(&ground).err();
        let passed = finding.is_none();
        let counter = if passed {
            &mut suite.passed
        } else {
            &mut suite.failed
        };
        *counter = counter.saturating_add(1);
        suite.checks.push(Line {
            check: check.name,
            passed,
            skipped: false,
            finding,
        });
        bar.inc(1);
    }
    suite.checks.extend(skipped.iter().map(|check| Line {
        check: check.name,
        passed: false,
        skipped: true,
        finding: Some("this system cannot lock the memory of a program".to_owned()),
    }));
    bar.finish_and_clear();
    Ok(suite)
}

/// Fails unless something holds.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// An error of the library as a finding.
fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
