//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::amount::{parse_bytes, parse_duration};
pub use crate::wish::{CacheName, KindName, Placement, Wish};
use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  sanctl install sanproxy.inf        create the device, install the driver
  sanctl info                        what the device offers
  sanctl register 64K --low --map --hold 1m
                                     64 KiB below 4 GiB, mapped, for a minute
  sanctl session                     several registrations at once, by commands
  sanctl watch                       live figures until Ctrl-C
  sanctl soak --for 10m              try hard to break it
  sanctl verify                      the same under Driver Verifier

Registrations belong to the open file that made them, and go when it is closed. So a registration
lives as long as `sanctl register --hold` or `sanctl session` runs, and nobody can release those of
another program. An administrator can list them: sanctl list.

Exit codes:
    0  done
    1  the driver or the system refused
    2  the command line or a line of a script is wrong
    3  no driver is installed, or its device does not run
    4  not an administrator
    5  a check found something wrong
    6  all is well so far; restart Windows and go on
  130  interrupted by Ctrl-C

Sizes are written 4096, 0x1000, 64K, 1M, 2G; durations 500ms, 10s, 5m, 2h.";

/// Installs, looks at, uses, measures and verifies the sanproxy driver.
#[derive(Debug, Parser)]
#[command(name = "sanctl", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Arguments {
    /// Print JSON for programs; errors too, on the error stream
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours; the variable `NO_COLOR` is respected
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub color: Colour,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the root-enumerated device Root\SanProxy and install its driver
    #[command(
        after_help = "Without a path, sanproxy.inf next to sanctl.exe is taken. If a step \
        fails or Ctrl-C comes, the device is removed again.\n\nExample: sanctl install \
        C:\\sanproxy\\sanproxy.inf"
    )]
    Install {
        /// The INF of the package, beside sanproxy.sys and sanproxy.cat
        inf: Option<PathBuf>,
    },
    /// Remove the device, its driver and its service
    Uninstall,
    /// Show the driver, its device and what it offers
    Info,
    /// Register memory, show it, and hold it for a while or while a program runs
    #[command(after_help = "\
Examples:
  sanctl register 64K --low                   can this be had? (released at once)
  sanctl register 1M --map --hold             hold it until Ctrl-C
  sanctl register 1M --hold 5m                hold it for five minutes
  sanctl register 64M --host-memory --minimum 8M --ranges 16
                                              several ranges, 8 to 64 MiB, as much as there is
  sanctl register 2M --low -- server.exe -v   hold it while a program runs; the program finds
      SANPROXY_DEVICE_ADDRESS and SANPROXY_LENGTH in its environment

The memory is mapped, if at all, into sanctl only: a program that wants to touch memory registers
it itself (crates/provider, include/sanproxy.h).")]
    Register {
        /// What.
        #[command(flatten)]
        wish: Wish,
        /// Hold it until Ctrl-C, or for this long
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "program")]
        hold: Option<Option<Duration>>,
        /// Hold it while this program runs
        #[arg(last = true, value_name = "PROGRAM")]
        program: Vec<OsString>,
    },
    /// Use one open file by commands from a terminal, a file or a pipe
    #[command(after_help = "\
Examples:
  sanctl session                     type commands; `help` lists them
  sanctl session script.txt          commands of a file, one a line, # begins a comment
  sanctl session -c \"register 64K --map\" -c \"write 1 0 hello\" -c list
  sanctl session -c \"allocate 1M\" -c \"buffer 1 --pieces\" -c \"secure 1\" -c \"free 1\"
                                     memory of its own; secured, it cannot be freed
  sanctl session -c endpoint -c \"connect 7\" -c \"send hello\" -c receive
                                     messages, with another session that connects here

`file 2` goes on with a second open file: one session can be both sides of a connection.

A script stops at its first error, with that error's exit code. All registrations of a session
are released at its end. With --json each command prints one line.")]
    Session {
        /// A file with commands, - for the standard input
        script: Option<PathBuf>,
        /// A command; may be given several times
        #[arg(
            short,
            long = "command",
            value_name = "COMMAND",
            conflicts_with = "script"
        )]
        commands: Vec<String>,
        /// Go on after an error
        #[arg(long)]
        keep_going: bool,
    },
    /// List the registrations of all programs, with owner, kind and pieces
    #[command(after_help = "\
It takes an administrator. In a session `list` lists what that session holds, by its own numbers.

Example: sanctl list --json")]
    List,
    /// Only within a session: the driver releases nobody else's registrations
    Release {
        /// The number that the session gave it
        number: Option<u64>,
    },
    /// Show the counters of the device
    Stats,
    /// Draw where the device sees memory that is registered for this picture
    #[command(after_help = "\
The driver tells a program about its own registrations only, so this registers memory, draws it and
releases it: to see where memory comes from, how far apart pieces lie, how fragmented it is.
In a session `map` draws what the session holds.

Examples:
  sanctl map 64K 64K 1M --low
  sanctl map 8M --pieces --count 4 --svg memory.svg")]
    Map {
        /// How much to register, each
        #[arg(required = true, value_parser = parse_bytes, value_name = "SIZE")]
        sizes: Vec<u64>,
        /// How many of each
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
        count: u16,
        /// How it is placed.
        #[command(flatten)]
        placement: Placement,
        /// Write the picture as SVG too
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Show the counters of the device as they change, and its events, until Ctrl-C
    Watch {
        /// How often
        #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "DURATION")]
        every: Duration,
        /// How long
        #[arg(long = "for", value_parser = parse_duration, value_name = "DURATION")]
        duration: Option<Duration>,
    },
    /// Measure what requests cost
    #[command(
        after_help = "Each line is measured for the same time. \"empty request\" is the \
        floor: what any request to any driver costs.\n\nExample: sanctl bench --for 2s --live 10000"
    )]
    Bench {
        /// How long to measure each line
        #[arg(long = "for", default_value = "500ms", value_parser = parse_duration, value_name = "DURATION")]
        duration: Duration,
        /// How many other registrations there are meanwhile
        #[arg(long, default_value_t = 0)]
        live: u32,
    },
    /// Register, write, look up, move, compare and release at random; stops by itself
    #[command(
        after_help = "Every reply and every byte is checked. The same seed does the same \
        operations again.\n\nExample: sanctl soak --for 10m --files 8"
    )]
    Soak(Plan),
    /// Show or set the limits and other parameters of the device
    #[command(after_help = "\
Parameters take effect when the device starts, so give --restart, or restart it later. --now lets
the driver itself set the four that begin with Maximum and count bytes or registrations: they hold
at once, and are written for the next start.

Examples:
  sanctl quota MaximumCountPerFile=100 --now
  sanctl quota
  sanctl quota MaximumBytesPerFile=2G ReserveBytes=16M --restart
  sanctl quota --default MaximumBytesPerFile")]
    Quota {
        /// Parameters to set
        #[arg(value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// A parameter to remove, so that its default holds; may be given several times
        #[arg(long = "default", value_name = "NAME")]
        remove: Vec<String>,
        /// Restart the device, so that the parameters take effect
        #[arg(long)]
        restart: bool,
        /// Let the driver set the quotas, without a restart
        #[arg(long, conflicts_with = "restart")]
        now: bool,
    },
    /// Run the conformance suite under Driver Verifier
    #[command(after_help = "\
First call: switches Driver Verifier on for sanproxy.sys, and asks for a restart of Windows (exit
code 6). Second call, after the restart: runs the suite, reads the counters of the verifier and
switches it off; Windows goes back to normal with its next restart. A violation stops the machine
(a blue screen, by design): the bug check's parameters name the rule.

  sanctl verify --suite-only      only the suite, no verifier
  sanctl verify --off             only switch the verifier off")]
    Verify(Wanted),
}

/// What a soak is to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Plan {
    /// How long
    #[arg(long = "for", default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    pub duration: Duration,
    /// Stop after this many operations
    #[arg(long, value_name = "N")]
    pub operations: Option<u64>,
    /// The beginning of the random numbers
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many open files
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub files: u16,
    /// How many bytes are registered at most
    #[arg(long, default_value = "16M", value_parser = parse_bytes, value_name = "SIZE")]
    pub memory: u64,
}

/// What `sanctl verify` is to do.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wanted {
    /// Only run the suite
    #[arg(long, conflicts_with_all = ["off", "low_resources", "replace"])]
    pub suite_only: bool,
    /// Only switch the verifier off
    #[arg(long, conflicts_with_all = ["low_resources", "replace"])]
    pub off: bool,
    /// Let allocations fail at random, too
    #[arg(long)]
    pub low_resources: bool,
    /// Replace settings of the verifier that are for other drivers
    #[arg(long)]
    pub replace: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use sanproxy_provider::RegisterOptions;

    use super::*;
    use crate::failure::Exit;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_documents_every_exit_code() {
        for exit in Exit::ALL {
            let line = format!("\n{:>5}  ", exit.code());
            assert!(EXAMPLES.contains(&line), "{exit:?}");
        }
    }

    #[test]
    fn wish_becomes_the_request_as_written() {
        let line = [
            "sanctl",
            "register",
            "64K",
            "--low",
            "--map",
            "--node",
            "1",
            "--highest",
            "1G",
        ];
        let arguments = Arguments::try_parse_from(line).unwrap();
        let Command::Register { wish, .. } = arguments.command else {
            panic!("another command");
        };
        let expected = RegisterOptions::common_buffer(65_536)
            .map()
            .low_memory()
            .highest(1 << 30)
            .node(1);
        assert_eq!(wish.options(), expected);
    }

    #[test]
    fn hold_and_a_program_together_are_refused() {
        let line = ["sanctl", "register", "64K", "--hold", "1s", "--", "x"];
        assert!(Arguments::try_parse_from(line).is_err());
    }
}
