//! `sanctl session`: commands that share one open file.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sanproxy_provider::{Provider, Registration};
use serde::Serialize;

use crate::amount::{self, parse_bytes, parse_duration};
use crate::arguments::Wish;
use crate::failure::Failure;
use crate::memory::{self, Shown, draw};
use crate::screen::{Align, BAD, Report, Screen, table};
use crate::stats::Figures;
use crate::system::System;

/// Commands of a session; registrations are named by the numbers that `register` gives.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_version_flag = true,
    max_term_width = 100
)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_value_name = "COMMAND", help_template = "{subcommands}")]
enum Command {
    /// Register memory
    Register(Wish),
    /// Release a registration
    Release {
        /// Its number
        number: u64,
    },
    /// List what this session holds
    List,
    /// Show one registration as the driver sees it
    Query {
        /// Its number
        number: u64,
    },
    /// Find the registration that holds a device address
    Lookup {
        /// The address
        #[arg(value_parser = parse_bytes)]
        address: u64,
    },
    /// Write text into mapped memory
    Write {
        /// The registration
        number: u64,
        /// Where in it
        #[arg(value_parser = parse_bytes)]
        offset: u64,
        /// What
        text: String,
    },
    /// Read mapped memory
    Read {
        /// The registration
        number: u64,
        /// Where in it
        #[arg(value_parser = parse_bytes)]
        offset: u64,
        /// How much, at most 4096 bytes
        #[arg(value_parser = parse_bytes)]
        length: u64,
    },
    /// Copy inside the driver from one registration to another
    Copy {
        /// From this registration
        source: u64,
        /// Where in it
        #[arg(value_parser = parse_bytes)]
        source_offset: u64,
        /// To this registration
        destination: u64,
        /// Where in it
        #[arg(value_parser = parse_bytes)]
        destination_offset: u64,
        /// How much
        #[arg(value_parser = parse_bytes)]
        length: u64,
    },
    /// Draw what this session holds
    Map {
        /// Write the picture as SVG too
        #[arg(long)]
        svg: Option<PathBuf>,
    },
    /// Show the counters of the device
    Stats,
    /// Wait
    Wait {
        /// How long
        #[arg(value_parser = parse_duration)]
        duration: Duration,
    },
    /// End the session and release all
    Quit,
}

/// The result of a command that has little to say.
#[derive(Serialize)]
#[serde(untagged)]
enum Said {
    Released {
        released: u64,
    },
    Found {
        registration: Option<u64>,
        offset: Option<u64>,
    },
    Written {
        written: usize,
    },
    Read {
        text: String,
        hex: String,
    },
    Copied {
        copied: u64,
    },
}

impl Report for Said {
    fn text(&self) -> String {
        match self {
            Self::Released { released } => format!("Released #{released}.\n"),
            Self::Found {
                registration: Some(number),
                offset,
            } => {
                let offset = amount::address(offset.unwrap_or(0));
                format!("#{number}, offset {offset}\n")
            }
            Self::Found {
                registration: None, ..
            } => "Nothing of this session.\n".to_owned(),
            Self::Written { written } => format!("Wrote {written} bytes.\n"),
            Self::Read { text, hex } => format!("{hex}\n{text}\n"),
            Self::Copied { copied } => format!("Copied {}.\n", amount::bytes(*copied)),
        }
    }
}

#[derive(Serialize)]
struct Listing {
    registrations: Vec<Shown>,
}

impl Report for Listing {
    fn text(&self) -> String {
        if self.registrations.is_empty() {
            return "Nothing is registered.\n".to_owned();
        }
        let heading = [
            ("#", Align::Right),
            ("Length", Align::Right),
            ("Kind", Align::Left),
            ("Device address", Align::Right),
            ("Mapped at", Align::Right),
            ("Pieces", Align::Right),
            ("From", Align::Left),
        ];
        let rows: Vec<_> = self.registrations.iter().map(Shown::row).collect();
        table(&heading, &rows)
    }
}

/// One open file and what it holds.
pub(crate) struct Session<'s, S: System> {
    system: &'s S,
    provider: Provider<S::Channel>,
    held: BTreeMap<u64, Registration<S::Channel>>,
    next: u64,
}

/// Whether a session goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    More,
    End,
}

impl<'s, S: System> Session<'s, S> {
    pub(crate) fn new(system: &'s S) -> Result<Self, Failure> {
        Ok(Self {
            system,
            provider: crate::system::open(system)?,
            held: BTreeMap::new(),
            next: 1,
        })
    }

    /// Carries out one line; an empty line and a comment do nothing.
    pub(crate) fn line(&mut self, screen: &mut Screen<'_>, text: &str) -> Result<Next, Failure> {
        let words = split(text).map_err(Failure::usage)?;
        if words.is_empty() {
            return Ok(Next::More);
        }
        match Line::try_parse_from(words) {
            Ok(line) => self.command(screen, line.command),
            Err(error) if error.use_stderr() => {
                let message = error.to_string();
                let message = message.trim_start_matches("error: ");
                let first = message.lines().next().unwrap_or_default();
                Err(Failure::usage(first)
                    .cure("help lists the commands, help COMMAND explains one"))
            }
            Err(help) => screen.say(help).map(|()| Next::More),
        }
    }

    fn command(&mut self, screen: &mut Screen<'_>, command: Command) -> Result<Next, Failure> {
        match command {
            Command::Register(wish) => self.register(screen, &wish)?,
            Command::Release { number } => {
                let registration = self.held.remove(&number).ok_or_else(|| unknown(number))?;
                registration.release()?;
                screen.sample(&Said::Released { released: number })?;
            }
            Command::List => screen.sample(&self.listing())?,
            Command::Query { number } => {
                self.find(number)?.query()?;
                screen.sample(&Shown::new(number, self.find(number)?))?;
            }
            Command::Lookup { address } => screen.sample(&self.lookup(address)?)?,
            Command::Write {
                number,
                offset,
                text,
            } => {
                self.find(number)?.write_at(offset, text.as_bytes())?;
                screen.sample(&Said::Written {
                    written: text.len(),
                })?;
            }
            Command::Read {
                number,
                offset,
                length,
            } => {
                screen.sample(&self.read(number, offset, length)?)?;
            }
            Command::Copy {
                source,
                source_offset,
                destination,
                destination_offset,
                length,
            } => {
                let from = (self.find(source)?, source_offset);
                let to = (self.find(destination)?, destination_offset);
                self.provider.copy(from, to, length)?;
                screen.sample(&Said::Copied { copied: length })?;
            }
            Command::Map { svg } => {
                let held = self.held.iter();
                let ranges: Vec<_> = held.flat_map(|(n, one)| memory::ranges(*n, one)).collect();
                draw(screen, &ranges, svg.as_deref())?;
            }
            Command::Stats => screen.sample(&Figures::from(&self.provider.statistics()?))?,
            Command::Wait { duration } => {
                if !memory::wait(self.system, Some(duration)) {
                    return Err(Failure::interrupted("all registrations are released"));
                }
            }
            Command::Quit => return Ok(Next::End),
        }
        Ok(Next::More)
    }

    fn register(&mut self, screen: &mut Screen<'_>, wish: &Wish) -> Result<(), Failure> {
        let registration = self.provider.register(&wish.options())?;
        let number = self.next;
        self.next = self.next.saturating_add(1);
        screen.sample(&Shown::new(number, &registration))?;
        self.held.insert(number, registration);
        Ok(())
    }

    fn find(&self, number: u64) -> Result<&Registration<S::Channel>, Failure> {
        self.held.get(&number).ok_or_else(|| unknown(number))
    }

    fn listing(&self) -> Listing {
        let held = self.held.iter();
        Listing {
            registrations: held.map(|(number, one)| Shown::new(*number, one)).collect(),
        }
    }

    fn lookup(&self, address: u64) -> Result<Said, Failure> {
        let found = self.provider.lookup(address)?;
        let number = found.and_then(|found| {
            let mut held = self.held.iter();
            held.find(|(_, one)| one.handle() == found.handle)
                .map(|(number, _)| *number)
        });
        Ok(Said::Found {
            registration: number,
            offset: found.map(|found| found.offset),
        })
    }

    fn read(&self, number: u64, offset: u64, length: u64) -> Result<Said, Failure> {
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= 4096);
        let length = length.ok_or_else(|| Failure::usage("at most 4096 bytes are read at once"))?;
        let mut bytes = vec![0; length];
        self.find(number)?.read_at(offset, &mut bytes)?;
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = |byte: &u8| {
            if (32..127).contains(byte) {
                char::from(*byte)
            } else {
                '.'
            }
        };
        Ok(Said::Read {
            text: bytes.iter().map(plain).collect(),
            hex: hex.join(" "),
        })
    }
}

fn unknown(number: u64) -> Failure {
    Failure::usage(format!("this session holds no registration #{number}"))
        .cure("list shows what it holds")
}

/// Splits a line into words: blanks part them, double quotes hold them together, # begins a comment.
fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for letter in text.trim_start_matches('\u{feff}').chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '#' if !quoted && word.is_none() => break,
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    if quoted {
        return Err(format!("a quote is not closed in: {}", text.trim()));
    }
    words.extend(word);
    Ok(words)
}

/// Runs lines until one says to quit, the input ends, or one fails.
pub(crate) fn run<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    lines: impl Iterator<Item = Result<String, Failure>>,
    keep_going: bool,
) -> Result<(), Failure> {
    let mut session = Session::new(system)?;
    let mut first = None;
    for line in lines {
        if system.is_interrupted() {
            return Err(Failure::interrupted("all registrations are released"));
        }
        match line.and_then(|line| session.line(screen, &line)) {
            Ok(Next::More) => {}
            Ok(Next::End) => break,
            Err(failure) if keep_going && failure.exit != crate::Exit::Interrupted => {
                screen.say(format_args!("{BAD}error:{BAD:#} {}", failure.message))?;
                first.get_or_insert(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    first.map_or(Ok(()), Err)
}

/// The lines of an input.
pub(crate) fn lines(input: impl BufRead) -> impl Iterator<Item = Result<String, Failure>> {
    input.lines().map(|line| line.map_err(Failure::from))
}

/// The answer to `sanctl list` and `sanctl release`.
pub(crate) fn only_in_a_session(command: &str) -> Failure {
    Failure::usage(format!(
        "sanctl {command} alone has nothing to work on: registrations belong to the open file that made \
         them, and the driver tells nobody about those of others"
    ))
    .cure("use it in a session: sanctl session -c \"register 64K\" -c list -c \"release 1\"; sanctl stats shows totals")
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn line_is_split_at_blanks_but_not_in_quotes() {
        assert_eq!(
            split("write 1 0 \"a b\"").unwrap(),
            ["write", "1", "0", "a b"]
        );
        assert_eq!(split("  list # all").unwrap(), ["list"]);
        assert_eq!(split("write 1 0 \"\"").unwrap(), ["write", "1", "0", ""]);
        assert_eq!(split("write 1 0 a#b").unwrap(), ["write", "1", "0", "a#b"]);
        assert!(split("# nothing").unwrap().is_empty());
        assert!(split("\"open").is_err());
    }
}
