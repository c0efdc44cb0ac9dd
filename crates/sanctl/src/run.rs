//! From a command line to what does it.

use std::io::{BufReader, IsTerminal, stdin};
use std::path::{Path, PathBuf};

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::screen::Screen;
use crate::session::{lines, only_in_a_session};
use crate::system::System;
use crate::{bench, info, install, list, memory, quota, session, soak, stats, verify};

/// Carries out a command.
///
/// # Errors
///
/// What went wrong, with the exit code.
pub fn run<S: System>(
    arguments: Arguments,
    system: &S,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    match arguments.command {
        Command::Install { inf } => install::install(system, screen, &install::inf_path(inf)?),
        Command::Uninstall => install::uninstall(system, screen),
        Command::Info => info::info(system, screen),
        Command::Register {
            wish,
            hold,
            program,
        } => memory::register(system, screen, &wish, hold, &program),
        Command::Session {
            script,
            commands,
            keep_going,
        } => run_session(system, screen, script, commands, keep_going),
        Command::List => list::list(system, screen),
        Command::Release { .. } => Err(only_in_a_session()),
        Command::Stats => stats::stats(system, screen),
        Command::Map {
            sizes,
            count,
            placement,
            svg,
        } => memory::map(system, screen, (&sizes, count), &placement, svg.as_deref()),
        Command::Watch { every, duration } => stats::watch(system, screen, every, duration),
        Command::Bench { duration, live } => bench::bench(system, screen, duration, live),
        Command::Soak(plan) => soak::soak(system, screen, plan),
        Command::Quota {
            set,
            remove,
            restart,
            now,
        } if now => {
            debug_assert!(!restart, "the command line excludes it");
            quota::now(system, screen, &set, &remove)
        }
        Command::Quota {
            set,
            remove,
            restart,
            ..
        } => quota::quota(system, screen, &set, &remove, restart),
        Command::Verify(wanted) => verify::verify(system, screen, wanted),
    }
}

fn run_session<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    script: Option<PathBuf>,
    commands: Vec<String>,
    keep_going: bool,
) -> Result<(), Failure> {
    if !commands.is_empty() {
        return session::run(system, screen, commands.into_iter().map(Ok), keep_going);
    }
    if let Some(path) = script.filter(|path| path != Path::new("-")) {
        let file = std::fs::File::open(&path).map_err(|error| {
            Failure::usage(format!(
                "cannot open the script {}: {error}",
                path.display()
            ))
        })?;
        return session::run(system, screen, lines(BufReader::new(file)), keep_going);
    }
    let typed = stdin().is_terminal();
    if typed {
        screen.say("Commands, one a line; help lists them, quit ends the session.")?;
    }
    session::run(system, screen, lines(stdin().lock()), keep_going || typed)
}
