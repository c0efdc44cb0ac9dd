//! What is shown of a registration, and the commands that make one and hold it.

use std::ffi::OsString;
use std::path::Path;
use std::process;
use std::time::Duration;

use sanproxy_provider::{AddressKind, Channel, Registration};
use serde::Serialize;

use crate::amount;
use crate::arguments::{Placement, Wish};
use crate::failure::Failure;
use crate::picture::{self, Range};
use crate::screen::{Report, Screen, pairs};
use crate::system::{System, open};

/// A registration, shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shown {
    /// Its number in the session.
    pub(crate) number: u64,
    handle: String,
    kind: &'static str,
    length: u64,
    device_address: Option<String>,
    address_kind: &'static str,
    user_address: Option<String>,
    method: &'static str,
    cache: &'static str,
    node: Option<u32>,
    low: bool,
    rung: u32,
    copy: bool,
    pieces: Vec<ShownPiece>,
}

#[derive(Clone, Debug, Serialize)]
struct ShownPiece {
    device_address: Option<String>,
    user_address: Option<String>,
    length: u64,
}

impl Shown {
    pub(crate) fn new<C: Channel>(number: u64, registration: &Registration<C>) -> Self {
        let known = registration.address_kind() != AddressKind::None;
        let address = |value: u64| known.then(|| amount::address(value));
        Self {
            number,
            handle: amount::address(registration.handle().0),
            kind: registration.kind().name(),
            length: registration.length(),
            device_address: address(registration.device_address()),
            address_kind: registration.address_kind().name(),
            user_address: registration.user_address().map(amount::address),
            method: registration.method().name(),
            cache: registration.cache().name(),
            node: registration.node(),
            low: registration.is_low(),
            rung: registration.rung(),
            copy: registration.is_copy(),
            pieces: registration
                .pieces()
                .iter()
                .map(|piece| ShownPiece {
                    device_address: address(piece.device_address),
                    user_address: piece.user_address.map(amount::address),
                    length: piece.length,
                })
                .collect(),
        }
    }

    /// The cells of a table's row.
    pub(crate) fn row(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.number.to_string(),
            amount::bytes(self.length),
            self.kind.to_owned(),
            or_dash(&self.device_address),
            or_dash(&self.user_address),
            self.pieces.len().to_string(),
            self.method.to_owned(),
        ]
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        let none = || "none".to_owned();
        let mut rows = vec![
            (
                "registration",
                format!("#{} (handle {})", self.number, self.handle),
            ),
            (
                "length",
                format!("{} ({} bytes)", amount::bytes(self.length), self.length),
            ),
            ("kind", self.kind.to_owned()),
            (
                "device address",
                self.device_address.clone().map_or_else(none, |address| {
                    let low = if self.low { ", below 4 GiB" } else { "" };
                    format!("{address} ({}{low})", self.address_kind)
                }),
            ),
            (
                "mapped at",
                self.user_address
                    .clone()
                    .unwrap_or_else(|| "not mapped".to_owned()),
            ),
            ("from", self.method.to_owned()),
            ("cache", self.cache.to_owned()),
        ];
        if let Some(node) = self.node {
            rows.push(("node", node.to_string()));
        }
        if self.rung > 0 {
            rows.push((
                "second best",
                format!("step {} of the driver's ladder", self.rung),
            ));
        }
        if self.copy {
            rows.push(("a copy", "synchronize brings it up to date".to_owned()));
        }
        if self.pieces.len() > 1 {
            rows.push(("pieces", self.pieces.len().to_string()));
        }
        let mut text = pairs(&rows);
        for piece in self.pieces.iter().filter(|_| self.pieces.len() > 1) {
            let address = piece.device_address.clone().unwrap_or_else(none);
            text.push_str(&format!("  {address}  {}\n", amount::bytes(piece.length)));
        }
        text
    }
}

/// `sanctl register`.
pub(crate) fn register<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    wish: &Wish,
    hold: Option<Option<Duration>>,
    program: &[OsString],
) -> Result<(), Failure> {
    let provider = open(system)?;
    let registration = wish.register(&provider)?;
    screen.report(&Shown::new(1, &registration))?;
    if let Some((name, arguments)) = program.split_first() {
        let outcome = run(name, arguments, &registration);
        registration.release()?;
        return outcome;
    }
    match hold {
        None => screen.say("Could be had; released again. --hold keeps it.")?,
        Some(duration) => {
            screen.say(match duration {
                None => "Held until Ctrl-C.".to_owned(),
                Some(duration) => format!("Held for {}, or until Ctrl-C.", amount::short(duration)),
            })?;
            wait(system, duration);
            screen.say("Released.")?;
        }
    }
    Ok(registration.release()?)
}

/// Waits for the end of a duration or for Ctrl-C. Gives whether the time is over.
pub(crate) fn wait<S: System>(system: &S, duration: Option<Duration>) -> bool {
    let end = duration.map(|duration| system.elapsed().saturating_add(duration));
    while !system.is_interrupted() {
        let left = match end {
            Some(end) => end.saturating_sub(system.elapsed()),
            None => Duration::from_secs(1),
        };
        if left.is_zero() {
            return true;
        }
        system.sleep(left.min(Duration::from_millis(100)));
    }
    false
}

/// Runs a program that finds in its environment what was registered. No shell is involved.
fn run<C: Channel>(
    name: &OsString,
    arguments: &[OsString],
    registration: &Registration<C>,
) -> Result<(), Failure> {
    let shown = name.to_string_lossy();
    let status = process::Command::new(name)
        .args(arguments)
        .env(
            "SANPROXY_DEVICE_ADDRESS",
            amount::address(registration.device_address()),
        )
        .env("SANPROXY_LENGTH", registration.length().to_string())
        .status()
        .map_err(|error| Failure::usage(format!("cannot start {shown}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let failure = Failure::new(crate::Exit::Failed, format!("{shown} failed ({status})"));
    Err(failure.cure("the memory is released; what failed is the program"))
}

/// The ranges of a registration.
pub(crate) fn ranges<C: Channel>(number: u64, registration: &Registration<C>) -> Vec<Range> {
    let note = format!(
        "{}, {}{}",
        registration.kind().name(),
        registration.method().name(),
        if registration.user_address().is_some() {
            ", mapped"
        } else {
            ""
        }
    );
    let pieces = registration.pieces().iter();
    pieces
        .map(|piece| Range {
            registration: number,
            start: piece.device_address,
            length: piece.length,
            note: note.clone(),
        })
        .collect()
}

/// A drawn picture.
#[derive(Serialize)]
struct Picture {
    ranges: Vec<Stretch>,
    svg: Option<String>,
    #[serde(skip)]
    drawing: String,
}

#[derive(Serialize)]
struct Stretch {
    registration: u64,
    device_address: String,
    length: u64,
}

impl Report for Picture {
    fn text(&self) -> String {
        self.drawing.clone()
    }
}

/// Draws ranges on the screen and, if wanted, into a file.
pub(crate) fn draw(
    screen: &mut Screen<'_>,
    ranges: &[Range],
    svg: Option<&Path>,
) -> Result<(), Failure> {
    if let Some(path) = svg {
        let title = "Registered memory as the device sees it";
        std::fs::write(path, picture::svg(ranges, title))
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
    }
    let mut drawing = picture::terminal(ranges, screen.width);
    drawing.push_str(&picture::legend(ranges));
    if ranges.is_empty() {
        drawing.push_str("Nothing is registered.\n");
    }
    let stretches = ranges.iter().map(|range| Stretch {
        registration: range.registration,
        device_address: amount::address(range.start),
        length: range.length,
    });
    let picture = Picture {
        ranges: stretches.collect(),
        svg: svg.map(|path| path.display().to_string()),
        drawing,
    };
    screen.report(&picture)
}

/// `sanctl map`.
pub(crate) fn map<S: System>(
    system: &S,
    screen: &mut Screen<'_>,
    (sizes, count): (&[u64], u16),
    placement: &Placement,
    svg: Option<&Path>,
) -> Result<(), Failure> {
    let provider = open(system)?;
    let (mut held, mut all) = (Vec::new(), Vec::new());
    for size in (0..count).flat_map(|_| sizes) {
        let registration = provider.register(&placement.options(*size, false))?;
        held.push(registration);
    }
    for (number, registration) in (1_u64..).zip(&held) {
        all.extend(ranges(number, registration));
    }
    if held
        .iter()
        .any(|one| one.address_kind() == AddressKind::None)
    {
        return Err(Failure::new(
            crate::Exit::Failed,
            "the device gives no addresses, so there is nothing to draw",
        )
        .cure("contiguous memory of a device without a DMA adapter has none; try --kind common"));
    }
    draw(screen, &all, svg)
}
