//! `sanctl`: see `sanctl --help`.

use std::process::ExitCode;

use anstream::ColorChoice;
use clap::Parser;
use sanctl::arguments::{Arguments, Colour};
use sanctl::{Exit, Failure};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Programs get JSON for their own mistakes, too.
        Err(error) if error.use_stderr() && std::env::args().any(|word| word == "--json") => {
            let message = error.to_string();
            let message = message.trim_start_matches("error: ").trim_end();
            tell(&Failure::usage(message), true);
            return ExitCode::from(Exit::Usage.code());
        }
        Err(error) => error.exit(),
    };
    let choice = match arguments.color {
        Colour::Auto => ColorChoice::Auto,
        Colour::Always => ColorChoice::Always,
        Colour::Never => ColorChoice::Never,
    };
    choice.write_global();
    let json = arguments.json;
    let Err(failure) = start(arguments) else {
        return ExitCode::from(Exit::Done.code());
    };
    tell(&failure, json);
    ExitCode::from(failure.exit.code())
}

fn tell(failure: &Failure, json: bool) {
    if json {
        eprintln!("{}", failure.json());
        return;
    }
    let bad = anstyle::AnsiColor::Red.on_default().bold();
    let kind = if failure.exit == Exit::Restart {
        "note"
    } else {
        "error"
    };
    anstream::eprintln!("{bad}{kind}:{bad:#} {}", failure.message);
    if let Some(cure) = &failure.cure {
        anstream::eprintln!("  what to do: {cure}");
    }
}

#[cfg(windows)]
fn start(arguments: Arguments) -> Result<(), Failure> {
    use std::io::IsTerminal;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use sanctl::Screen;
    use sanctl::windows::Windows;

    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot watch for Ctrl-C: {error}")))?;
    let mut out = anstream::stdout();
    let live = std::io::stdout().is_terminal();
    let mut screen = Screen::new(&mut out);
    screen.json = arguments.json;
    screen.live = live;
    screen.progress = std::io::stderr().is_terminal() && !arguments.json;
    sanctl::run(arguments, &Windows::new(interrupted), &mut screen)
}

#[cfg(not(windows))]
fn start(_: Arguments) -> Result<(), Failure> {
    Err(Failure::new(Exit::NoDevice, "sanctl works on Windows only")
        .cure("cargo xtask programs builds it for Windows; the tests run its commands here"))
}
