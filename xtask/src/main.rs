//! The project's commands: `cargo xtask --help` lists them.

mod build;
mod process;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, shows and tests sanproxy on Linux.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what a build needs (Rust target, Debian packages) and lay out the kit that stands for the WDK
    Setup,
    /// Build the driver image into target/package/sanproxy.sys
    Build,
    /// Run all tests: unit, property, image, end to end
    Test,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup => setup::run().map(|()| ExitCode::SUCCESS),
        Command::Build => build::run().map(|image| {
            println!("{}", image.display());
            ExitCode::SUCCESS
        }),
        Command::Test => test::run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
