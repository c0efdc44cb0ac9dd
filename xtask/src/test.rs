//! Runs all tests and sums them up.

use std::{
    io::{BufRead, BufReader},
    process::{ExitCode, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    architecture::Architecture,
    build,
    process::{cargo, command, execute, output},
    programs, wine,
    workspace::DRIVER_TARGET,
};

/// What a run of tests counted.
#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Builds the drivers, runs every test of the workspace, and ends with one line that counts them.
pub(crate) fn run() -> Result<ExitCode> {
    let before = tracked_changes();
    let image = build::run()?;
    build::test_drivers()?;
    build::image(Architecture::Arm64)?;
    let programs = programs::run()?;
    wine::run()?;
    println!("Built {} and {}", image.display(), programs.display());
    // Plain Cargo has to work too, once set up.
    execute(cargo([
        "check",
        "--quiet",
        "--locked",
        "--package",
        "sanproxy",
        "--target",
        DRIVER_TARGET,
    ]))
    .context("plain cargo check of the driver fails")?;
    if tracked_changes() != before {
        bail!("the build has changed the source tree; see git status");
    }
    let mut counts = Counts::default();
    let all_ran = run_tests(&["test", "--locked", "--no-fail-fast"], &mut counts)?;
    println!(
        "{} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.ignored
    );
    let good = all_ran && counts.failed == 0 && counts.ignored == 0 && counts.passed > 0;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What `git status` tells, or nothing where there is no Git.
fn tracked_changes() -> Option<String> {
    output(command("git", ["status", "--porcelain"]))
}

/// Passes the output on and adds up the result lines of each test program.
fn run_tests(arguments: &[&str], counts: &mut Counts) -> Result<bool> {
    let mut command = cargo(arguments);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what the tests print")?;
            println!("{line}");
            counts.add(&line);
        }
    }
    Ok(child.wait().context("cannot wait for the tests")?.success())
}

impl Counts {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in rest.split(['.', ';']) {
            if let Some((number, word)) = part.trim().split_once(' ')
                && let Ok(number) = number.parse::<u64>()
            {
                let counter = match word {
                    "passed" => &mut self.passed,
                    "failed" => &mut self.failed,
                    "ignored" => &mut self.ignored,
                    _ => continue,
                };
                *counter = counter.saturating_add(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_line_is_counted() {
        let mut counts = Counts::default();
        counts.add("test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        assert_eq!((counts.passed, counts.failed, counts.ignored), (3, 2, 1));
    }

    #[test]
    fn other_line_is_not_counted() {
        let mut counts = Counts::default();
        counts.add("4 passed; 4 failed");
        assert_eq!((counts.passed, counts.failed, counts.ignored), (0, 0, 0));
    }
}
