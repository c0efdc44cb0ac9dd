//! `cargo xtask demo`: the driver at work in the embedded NT host, from loading to unloading.

mod memory;
mod report;
mod sharing;
mod story;
mod timeline;

use std::process::ExitCode;

use anyhow::Result;

use crate::build;

/// Builds the driver, runs the story, and prints it for a person or for a program.
pub(crate) fn run(json: bool, trace: bool) -> Result<ExitCode> {
    let image = build::run()?;
    let report = story::tell(&image, !json, trace);
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        report.print();
    }
    Ok(if report.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
