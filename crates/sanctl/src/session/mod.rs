//! `sanctl session`: commands that share one open file.

mod commands;
mod own_memory;
mod said;
mod talk;
mod waiting;

use std::collections::BTreeMap;
use std::io::BufRead;

use clap::Parser;
use sanproxy_provider::{Provider, Registration, SecuredRange, StatusPage};

use self::commands::{Command, Line};
use self::said::{Listing, Said, Status, hex, plain};
use crate::arguments::Wish;
use crate::failure::Failure;
use crate::memory::{self, Shown, draw};
use crate::screen::{BAD, Screen};
use crate::stats::Figures;
use crate::system::System;

/// One open file and what it holds.
struct OpenFile<S: System> {
    provider: Provider<S::Channel>,
    held: BTreeMap<u64, Registration<S::Channel>>,
    secured: BTreeMap<u64, SecuredRange<S::Channel>>,
    /// Mapped when it is first read.
    page: Option<StatusPage<S::Channel>>,
    /// Freed last.
    memory: BTreeMap<u64, S::Pages>,
}

/// Open files, one of them in use.
pub(crate) struct Session<'s, S: System> {
    system: &'s S,
    files: BTreeMap<u8, OpenFile<S>>,
    current: u8,
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
        let mut session = Self {
            system,
            files: BTreeMap::new(),
            current: 1,
            next: 1,
        };
        session.switch_to(1)?;
        Ok(session)
    }

    fn switch_to(&mut self, number: u8) -> Result<(), Failure> {
        if !self.files.contains_key(&number) {
            let file = OpenFile {
                provider: crate::system::open(self.system)?,
                held: BTreeMap::new(),
                secured: BTreeMap::new(),
                page: None,
                memory: BTreeMap::new(),
            };
            self.files.insert(number, file);
        }
        self.current = number;
        Ok(())
    }

    fn file(&self) -> Result<&OpenFile<S>, Failure> {
        self.files.get(&self.current).ok_or_else(no_file)
    }

    fn file_mut(&mut self) -> Result<&mut OpenFile<S>, Failure> {
        self.files.get_mut(&self.current).ok_or_else(no_file)
    }

    /// A number that nothing in this session has had.
    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
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
                let held = &mut self.file_mut()?.held;
                let registration = held.remove(&number).ok_or_else(|| unknown(number))?;
                registration.release()?;
                screen.sample(&Said::Released { released: number })?;
            }
            Command::List => screen.sample(&self.listing()?)?,
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
                let written = text.len();
                screen.sample(&Said::Written { written })?;
            }
            Command::Read {
                number,
                offset,
                length,
            } => screen.sample(&self.read(number, offset, length)?)?,
            Command::Copy {
                source,
                source_offset,
                destination,
                destination_offset,
                length,
            } => {
                let from = (self.find(source)?, source_offset);
                let to = (self.find(destination)?, destination_offset);
                self.file()?.provider.copy(from, to, length)?;
                screen.sample(&Said::Copied { copied: length })?;
            }
            Command::Map { svg } => {
                let held = self.file()?.held.iter();
                let ranges: Vec<_> = held.flat_map(|(n, one)| memory::ranges(*n, one)).collect();
                draw(screen, &ranges, svg.as_deref())?;
            }
            Command::Stats => {
                screen.sample(&Figures::from(&self.file()?.provider.statistics()?))?;
            }
            Command::Status => {
                let file = self.file_mut()?;
                let page = match file.page.take() {
                    Some(page) => page,
                    None => file.provider.status_page()?,
                };
                screen.sample(&Status::from(page.read()?))?;
                file.page = Some(page);
            }
            Command::Wait { duration } => {
                if !memory::wait(self.system, Some(duration)) {
                    return Err(Failure::interrupted("all registrations are released"));
                }
            }
            Command::File { number } => {
                self.switch_to(number)?;
                screen.sample(&Said::File { file: number })?;
            }
            Command::Quit => return Ok(Next::End),
            Command::OwnMemory(command) => self.own_memory(screen, command)?,
            Command::Talk(command) => self.talk(screen, command)?,
        }
        Ok(Next::More)
    }

    fn register(&mut self, screen: &mut Screen<'_>, wish: &Wish) -> Result<(), Failure> {
        let registration = wish.register(&self.file()?.provider)?;
        self.hold(screen, registration)
    }

    fn hold(
        &mut self,
        screen: &mut Screen<'_>,
        registration: Registration<S::Channel>,
    ) -> Result<(), Failure> {
        let number = self.number();
        screen.sample(&Shown::new(number, &registration))?;
        self.file_mut()?.held.insert(number, registration);
        Ok(())
    }

    fn find(&self, number: u64) -> Result<&Registration<S::Channel>, Failure> {
        self.file()?
            .held
            .get(&number)
            .ok_or_else(|| unknown(number))
    }

    fn listing(&self) -> Result<Listing, Failure> {
        let held = self.file()?.held.iter();
        Ok(Listing {
            registrations: held.map(|(number, one)| Shown::new(*number, one)).collect(),
        })
    }

    fn lookup(&self, address: u64) -> Result<Said, Failure> {
        let file = self.file()?;
        let found = file.provider.lookup(address)?;
        let number = found.and_then(|found| {
            let mut held = file.held.iter();
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
        Ok(Said::Read {
            text: plain(&bytes),
            hex: hex(&bytes),
        })
    }
}

fn unknown(number: u64) -> Failure {
    Failure::usage(format!("this session holds no registration #{number}"))
        .cure("list shows what it holds")
}

fn no_file() -> Failure {
    Failure::usage("no file is open")
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

/// The answer to `sanctl release`.
pub(crate) fn only_in_a_session() -> Failure {
    Failure::usage(
        "sanctl release alone has nothing to work on: registrations belong to the open file that \
         made them, and nobody else can release them",
    )
    .cure(
        "use it in a session: sanctl session -c \"register 64K\" -c list -c \"release 1\"; sanctl \
         list shows whose registrations there are",
    )
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
