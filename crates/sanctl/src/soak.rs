//! `sanctl soak`: random operations on several open files, every reply and every byte checked.

use std::time::Duration;

use sanproxy_provider::{Channel, Error, Provider, RegisterOptions, Registration, Status};
use serde::Serialize;

use crate::amount;
use crate::arguments::Plan;
use crate::bench::progress;
use crate::failure::Failure;
use crate::screen::{GOOD, Report, Screen, pairs};
use crate::system::{System, open};

/// Random numbers: xorshift64*, so that a seed does the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed ^ 0x9E37_79B9_7F4A_7C15 | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16).checked_rem(end).unwrap_or(0)
    }
}

/// Memory with what has to be in it: its first and last 64 bytes carry a mark.
struct Held<C: Channel> {
    registration: Registration<C>,
    mark: u64,
}

const MARK: u64 = 64;

struct File<C: Channel> {
    provider: Provider<C>,
    held: Vec<Held<C>>,
}

#[derive(Default, Serialize)]
struct Counts {
    seed: u64,
    seconds: f64,
    operations: u64,
    registered: u64,
    released: u64,
    compared: u64,
    looked_up: u64,
    moved: u64,
    out_of_memory: u64,
    opened_again: u64,
}

impl Report for Counts {
    fn text(&self) -> String {
        let head = format!("{GOOD}No fault found{GOOD:#} with seed {}.\n", self.seed);
        head + &pairs(&[
            ("seconds", format!("{:.1}", self.seconds)),
            ("operations", self.operations.to_string()),
            ("registered", self.registered.to_string()),
            ("released", self.released.to_string()),
            ("compared", self.compared.to_string()),
            ("looked up", self.looked_up.to_string()),
            ("moved", self.moved.to_string()),
            ("refused for want of memory", self.out_of_memory.to_string()),
            ("files closed and opened", self.opened_again.to_string()),
        ])
    }
}

struct Soak<'s, S: System> {
    system: &'s S,
    plan: Plan,
    random: Random,
    files: Vec<File<S::Channel>>,
    bytes: u64,
    counts: Counts,
}

/// `sanctl soak`.
pub(crate) fn soak<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    plan: Plan,
) -> Result<(), Failure> {
    let before = open(system)?.statistics()?;
    let mut soak = Soak::new(system, plan)?;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let template = "{bar:32} {percent:>3} %  {msg}";
    let bar = progress(screen, millis(plan.duration), template);
    let start = system.elapsed();
    let mut failed = None;
    loop {
        let passed = system.elapsed().saturating_sub(start);
        soak.counts.seconds = passed.as_secs_f64();
        let enough = plan
            .operations
            .is_some_and(|most| soak.counts.operations >= most);
        if enough || passed >= plan.duration || system.is_interrupted() {
            break;
        }
        if soak.counts.operations.is_multiple_of(64) {
            bar.set_position(millis(passed));
            bar.set_message(format!("{} operations", soak.counts.operations));
        }
        if let Err(failure) = soak.step() {
            failed = Some(failure);
            break;
        }
        soak.counts.operations = soak.counts.operations.saturating_add(1);
    }
    bar.finish_and_clear();
    let (seed, operations) = (plan.seed, soak.counts.operations);
    let counts = soak.finish();
    if let Some(mut failure) = failed {
        failure.message = format!("{} (seed {seed}, operation {operations})", failure.message);
        return Err(failure);
    }
    let after = open(system)?.statistics()?;
    if after.live_registrations > before.live_registrations {
        let lost = after
            .live_registrations
            .saturating_sub(before.live_registrations);
        return Err(Failure::wrong(format!(
            "{lost} registrations are left after all files are closed (seed {seed})"
        ))
        .cure("if another program used the device meanwhile, that is why: try without it"));
    }
    screen.report(&counts)?;
    if system.is_interrupted() {
        return Err(Failure::interrupted("no fault was found until then"));
    }
    Ok(())
}

impl<'s, S: System> Soak<'s, S> {
    fn new(system: &'s S, plan: Plan) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for _ in 0..plan.files {
            files.push(File {
                provider: open(system)?,
                held: Vec::new(),
            });
        }
        Ok(Self {
            system,
            plan,
            random: Random::new(plan.seed),
            files,
            bytes: 0,
            counts: Counts {
                seed: plan.seed,
                ..Counts::default()
            },
        })
    }

    fn finish(self) -> Counts {
        self.counts
    }

    /// One operation on one file.
    fn step(&mut self) -> Result<(), Failure> {
        let index = self
            .random
            .below(u64::try_from(self.files.len()).unwrap_or(1));
        let index = usize::try_from(index).unwrap_or(0);
        match self.random.below(100) {
            0..40 => self.register(index),
            40..65 => self.release(index),
            65..80 => self.compare(index),
            80..90 => self.look_up(index),
            90..99 => self.exchange(index),
            _ => self.open_again(index),
        }
    }

    fn register(&mut self, index: usize) -> Result<(), Failure> {
        let pages = self.random.below(32).saturating_add(1);
        let length = pages << 12;
        if self.bytes.saturating_add(length) > self.plan.memory {
            return self.release(index);
        }
        let mut options = RegisterOptions::common_buffer(length).map();
        if self.random.below(2) == 0 {
            options = options.low_memory();
        }
        if self.random.below(4) == 0 {
            options = options.allow_pieces();
        }
        let mark = self.random.next();
        let Some(file) = self.files.get_mut(index) else {
            return Ok(());
        };
        let registration = match file.provider.register(&options) {
            Ok(registration) => registration,
            Err(error) if is_full(&error) => {
                self.counts.out_of_memory = self.counts.out_of_memory.saturating_add(1);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut seen = vec![1; usize::try_from(length).unwrap_or(0)];
        registration.read_at(0, &mut seen)?;
        if seen.iter().any(|byte| *byte != 0) {
            return Err(Failure::wrong("new memory holds old bytes"));
        }
        let held = Held { registration, mark };
        held.write()?;
        file.held.push(held);
        self.bytes = self.bytes.saturating_add(length);
        self.counts.registered = self.counts.registered.saturating_add(1);
        self.apart()
    }

    /// No two registrations share an address.
    fn apart(&self) -> Result<(), Failure> {
        let mut ranges: Vec<(u64, u64)> = self
            .files
            .iter()
            .flat_map(|file| &file.held)
            .flat_map(|held| held.registration.pieces())
            .map(|piece| (piece.device_address, piece.length))
            .collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if let [(start, length), (next, _)] = pair
                && start.saturating_add(*length) > *next
            {
                let next = amount::address(*next);
                return Err(Failure::wrong(format!(
                    "two registrations share the address {next}"
                )));
            }
        }
        Ok(())
    }

    /// Takes a registration of a file out of the books.
    fn take(&mut self, index: usize) -> Option<Held<S::Channel>> {
        let file = self.files.get_mut(index)?;
        let which = self.random.below(u64::try_from(file.held.len()).ok()?);
        let which = usize::try_from(which)
            .ok()
            .filter(|which| *which < file.held.len())?;
        let held = file.held.swap_remove(which);
        self.bytes = self.bytes.saturating_sub(held.registration.length());
        Some(held)
    }

    fn put_back(&mut self, index: usize, held: Held<S::Channel>) {
        self.bytes = self.bytes.saturating_add(held.registration.length());
        if let Some(file) = self.files.get_mut(index) {
            file.held.push(held);
        }
    }

    fn release(&mut self, index: usize) -> Result<(), Failure> {
        if let Some(held) = self.take(index) {
            held.check()?;
            held.registration.release()?;
            self.counts.released = self.counts.released.saturating_add(1);
        }
        Ok(())
    }

    fn compare(&mut self, index: usize) -> Result<(), Failure> {
        if let Some(held) = self.take(index) {
            held.check()?;
            self.put_back(index, held);
            self.counts.compared = self.counts.compared.saturating_add(1);
        }
        Ok(())
    }

    /// The own file finds an address, another file does not.
    fn look_up(&mut self, index: usize) -> Result<(), Failure> {
        let Some(held) = self.take(index) else {
            return Ok(());
        };
        let (address, handle) = (
            held.registration.device_address(),
            held.registration.handle(),
        );
        for (number, file) in self.files.iter().enumerate() {
            let found = file.provider.lookup(address)?.map(|found| found.handle);
            let expected = (number == index).then_some(handle);
            if found != expected {
                let address = amount::address(address);
                return Err(Failure::wrong(format!(
                    "looking up {address} gives another answer than it must"
                )));
            }
        }
        self.put_back(index, held);
        self.counts.looked_up = self.counts.looked_up.saturating_add(1);
        Ok(())
    }

    /// Copies the mark of one registration to another and finds it there.
    fn exchange(&mut self, index: usize) -> Result<(), Failure> {
        let (Some(from), Some(mut to)) = (self.take(index), self.take(index)) else {
            return Ok(());
        };
        if let Some(file) = self.files.get(index) {
            let end = |held: &Held<S::Channel>| held.registration.length().saturating_sub(MARK);
            file.provider
                .copy((&from.registration, 0), (&to.registration, 0), MARK)?;
            let (source, target) = (
                (&from.registration, end(&from)),
                (&to.registration, end(&to)),
            );
            file.provider.copy(source, target, MARK)?;
        }
        to.mark = from.mark;
        to.check()?;
        from.check()?;
        self.put_back(index, from);
        self.put_back(index, to);
        self.counts.moved = self.counts.moved.saturating_add(1);
        Ok(())
    }

    /// Closes a file with all that it holds, and opens another.
    fn open_again(&mut self, index: usize) -> Result<(), Failure> {
        let provider = open(self.system)?;
        let Some(file) = self.files.get_mut(index) else {
            return Ok(());
        };
        let old = std::mem::replace(
            file,
            File {
                provider,
                held: Vec::new(),
            },
        );
        for held in old.held {
            self.bytes = self.bytes.saturating_sub(held.registration.length());
            // Left to the driver: closing the file has to release it.
            let _ = held.registration.into_handle();
        }
        self.counts.opened_again = self.counts.opened_again.saturating_add(1);
        Ok(())
    }
}

fn is_full(error: &Error) -> bool {
    matches!(
        error.status(),
        Some(Status::INSUFFICIENT_RESOURCES | Status::QUOTA_EXCEEDED)
    )
}

impl<C: Channel> Held<C> {
    fn pattern(&self) -> Vec<u8> {
        let most = usize::try_from(MARK).unwrap_or(0);
        self.mark
            .to_le_bytes()
            .into_iter()
            .cycle()
            .take(most)
            .collect()
    }

    fn places(&self) -> [u64; 2] {
        [0, self.registration.length().saturating_sub(MARK)]
    }

    fn write(&self) -> Result<(), Failure> {
        for place in self.places() {
            self.registration.write_at(place, &self.pattern())?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        for place in self.places() {
            let mut seen = self.pattern();
            self.registration.read_at(place, &mut seen)?;
            if seen != self.pattern() {
                let address = amount::address(self.registration.device_address());
                return Err(Failure::wrong(format!(
                    "the memory at {address} does not hold what was written to it"
                )));
            }
        }
        Ok(())
    }
}
