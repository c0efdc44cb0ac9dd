//! The project's commands: `cargo xtask --help` lists them.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "that lint is for code linked into the driver; here an overflow is a panic of a tool"
)]

mod architecture;
mod build;
mod check;
mod compare;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod demo;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod endurance;
mod identity;
mod package;
mod process;
mod programs;
mod setup;
mod test;
mod toolchain;
mod wine;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::architecture::Architecture;

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
    /// Build the driver image into target/driver/sanproxy.sys (or target/driver-arm64/sanproxy.sys)
    Build {
        /// The architecture
        #[arg(long, value_enum, default_value_t)]
        arch: Architecture,
    },
    /// Make the signed driver package in target/package: image, INF, catalogue, header, certificate, checksums
    Package(package::Options),
    /// Compare what two driver images import: fails and lists the differences if there are any
    CompareImports {
        /// An image
        one: PathBuf,
        /// Another
        other: PathBuf,
    },
    /// Build the programs for Windows into target/windows: sanctl and the examples
    Programs,
    /// Show the driver at work in the embedded NT host
    Demo {
        /// Print JSON for programs
        #[arg(long)]
        json: bool,
        /// Listen to the driver's events, and print them
        #[arg(long)]
        trace: bool,
    },
    /// Check format and lints of everything, for this host and for the driver's target
    Check,
    /// Run all tests: unit, property, image, end to end
    Test,
    /// Play random histories against the model of the driver, until the time is over or one differs
    Fuzz {
        /// How long
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// The first seed
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Load and unload the driver again and again, and see that nothing is left
    Soak {
        /// How often
        #[arg(long, default_value_t = 10_000)]
        lives: u64,
    },
}

/// The embedded NT host runs the driver's machine code, and maps memory as Linux does.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod demo {
    pub(crate) fn run(_json: bool, _trace: bool) -> anyhow::Result<std::process::ExitCode> {
        anyhow::bail!("the embedded NT host runs on Linux on x86-64 only")
    }
}

/// As above.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod endurance {
    pub(crate) fn fuzz(_minutes: u64, _seed: u64) -> anyhow::Result<std::process::ExitCode> {
        anyhow::bail!("the embedded NT host runs on Linux on x86-64 only")
    }
    pub(crate) fn soak(_lives: u64) -> anyhow::Result<std::process::ExitCode> {
        anyhow::bail!("the embedded NT host runs on Linux on x86-64 only")
    }
}

fn build_for(architecture: Architecture) -> anyhow::Result<PathBuf> {
    match architecture {
        Architecture::X64 => build::run(),
        Architecture::Arm64 => build::image(architecture),
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup => setup::everything().map(|()| ExitCode::SUCCESS),
        Command::Build { arch } => build_for(arch).map(|image| {
            println!("{}", image.display());
            ExitCode::SUCCESS
        }),
        Command::Package(options) => package::run(&options).map(|()| ExitCode::SUCCESS),
        Command::CompareImports { one, other } => compare::run(&one, &other),
        Command::Programs => programs::run().map(|folder| {
            println!("{}", folder.display());
            ExitCode::SUCCESS
        }),
        Command::Demo { json, trace } => demo::run(json, trace),
        Command::Check => check::run().map(|()| ExitCode::SUCCESS),
        Command::Test => test::run(),
        Command::Fuzz { minutes, seed } => endurance::fuzz(minutes, seed),
        Command::Soak { lives } => endurance::soak(lives),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
