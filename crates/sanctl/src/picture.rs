//! A picture of registered memory: where the device sees what, for a terminal and as SVG.
//!
//! Addresses are far apart, so the picture consists of stretches: ranges that lie close together.
//! All stretches are drawn to one scale.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use crate::amount;
use crate::screen::FAINT;

/// Ranges less far apart than this are one stretch.
const CLOSE: u64 = 64 << 10;
/// What the registrations are called in the terminal, in turn.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Their colours in the terminal, in turn.
const TERMINAL: [AnsiColor; 6] = [
    AnsiColor::Green,
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Red,
];
/// Their colours in SVG, in turn: told apart by people who see few colours, too.
const SVG: [&str; 6] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
];

/// A piece of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The number of its registration, from 1.
    pub registration: u64,
    /// Where the device sees it.
    pub start: u64,
    /// How many bytes.
    pub length: u64,
    /// What else is to be said.
    pub note: String,
}

impl Range {
    const fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    fn tone<T: Copy>(&self, tones: &[T], otherwise: T) -> T {
        let turn = usize::try_from(self.registration.saturating_sub(1)).unwrap_or(0);
        let tone = turn
            .checked_rem(tones.len())
            .and_then(|turn| tones.get(turn));
        tone.copied().unwrap_or(otherwise)
    }

    fn letter(&self) -> char {
        let letters: Vec<char> = LETTERS.chars().collect();
        self.tone(&letters, '#')
    }
}

/// Ranges that lie close together.
struct Stretch<'a> {
    ranges: Vec<&'a Range>,
    start: u64,
    end: u64,
}

impl Stretch<'_> {
    const fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    fn used(&self) -> u64 {
        let lengths = self.ranges.iter().map(|range| range.length);
        lengths.fold(0, u64::saturating_add)
    }

    fn title(&self) -> String {
        format!(
            "{} to {}: {}, {} registered",
            amount::address(self.start),
            amount::address(self.end.saturating_sub(1)),
            amount::bytes(self.length()),
            amount::bytes(self.used()),
        )
    }
}

fn stretches(ranges: &[Range]) -> Vec<Stretch<'_>> {
    let mut sorted: Vec<&Range> = ranges.iter().collect();
    sorted.sort_by_key(|range| range.start);
    let mut stretches: Vec<Stretch<'_>> = Vec::new();
    for range in sorted {
        if let Some(last) = stretches.last_mut() {
            // A gap as long as all before it would push what is there to the edge.
            let limit = CLOSE.max(last.length());
            if range.start <= last.end.saturating_add(limit) {
                last.end = last.end.max(range.end());
                last.ranges.push(range);
                continue;
            }
        }
        let (start, end) = (range.start, range.end());
        let ranges = vec![range];
        stretches.push(Stretch { ranges, start, end });
    }
    stretches
}

/// The length of the longest stretch: it takes the whole width.
fn longest(stretches: &[Stretch<'_>]) -> u64 {
    let lengths = stretches.iter().map(Stretch::length);
    lengths.max().unwrap_or(0).max(1)
}

/// The picture as lines of a terminal.
#[must_use]
pub fn terminal(ranges: &[Range], width: usize) -> String {
    let stretches = stretches(ranges);
    let cells = u64::try_from(width.clamp(20, 100)).unwrap_or(80);
    // A cell is a power of two of bytes, at least a page, so that its borders are plain.
    let cell = longest(&stretches)
        .div_ceil(cells)
        .next_power_of_two()
        .max(4096);
    let mut text = String::new();
    for stretch in &stretches {
        let count = stretch.length().div_ceil(cell);
        let line: String = (0..count).map(|index| draw(stretch, index, cell)).collect();
        let _ = writeln!(text, "{}\n{line}", stretch.title());
    }
    if !stretches.is_empty() {
        let cell = amount::bytes(cell);
        let _ = writeln!(text, "{FAINT}1 cell = {cell}{FAINT:#}");
    }
    text
}

/// One cell: the letter of its only registration, `+` for several, `·` for none.
fn draw(stretch: &Stretch<'_>, index: u64, cell: u64) -> String {
    let from = stretch.start.saturating_add(index.saturating_mul(cell));
    let to = from.saturating_add(cell);
    let mut within = stretch
        .ranges
        .iter()
        .filter(|range| range.start < to && range.end() > from);
    let Some(first) = within.next() else {
        return format!("{FAINT}·{FAINT:#}");
    };
    if within.any(|other| other.registration != first.registration) {
        return "+".to_owned();
    }
    let style = Style::new().fg_color(Some(first.tone(&TERMINAL, AnsiColor::White).into()));
    format!("{style}{}{style:#}", first.letter())
}

/// What the letters mean.
#[must_use]
pub fn legend(ranges: &[Range]) -> String {
    let mut text = String::new();
    for range in ranges {
        let style = Style::new().fg_color(Some(range.tone(&TERMINAL, AnsiColor::White).into()));
        let _ = writeln!(
            text,
            "{style}{}{style:#} #{}  {}  {}  {}",
            range.letter(),
            range.registration,
            amount::address(range.start),
            amount::bytes(range.length),
            range.note
        );
    }
    text
}

const WIDTH: u64 = 960;
const MARGIN: u64 = 24;
const ROW: u64 = 60;
const LINE: u64 = 20;

/// The picture as an SVG document.
#[must_use]
pub fn svg(ranges: &[Range], title: &str) -> String {
    let stretches = stretches(ranges);
    let rows = u64::try_from(stretches.len())
        .unwrap_or(0)
        .saturating_mul(ROW);
    let lines = u64::try_from(ranges.len())
        .unwrap_or(0)
        .saturating_mul(LINE);
    let height = rows.saturating_add(lines).saturating_add(120);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"36\" font-size=\"20\" fill=\"#111111\">{title}</text>\n",
        title = escape(title)
    );
    let scale = longest(&stretches);
    let mut top = 72_u64;
    for stretch in &stretches {
        svg_stretch(&mut text, stretch, top, scale);
        top = top.saturating_add(ROW);
    }
    top = top.saturating_add(16);
    for range in ranges {
        let (box_top, baseline) = (top.saturating_sub(11), top);
        let _ = writeln!(
            text,
            "<rect x=\"{MARGIN}\" y=\"{box_top}\" width=\"13\" height=\"13\" fill=\"{}\"/>\
             <text x=\"48\" y=\"{baseline}\" fill=\"#111111\">#{}</text>\
             <text x=\"96\" y=\"{baseline}\" fill=\"#111111\" font-family=\"monospace\">{}</text>\
             <text x=\"320\" y=\"{baseline}\" text-anchor=\"end\" fill=\"#111111\">{}</text>\
             <text x=\"344\" y=\"{baseline}\" fill=\"#555555\">{}</text>",
            range.tone(&SVG, "#888888"),
            range.registration,
            amount::address(range.start),
            amount::bytes(range.length),
            escape(&range.note)
        );
        top = top.saturating_add(LINE);
    }
    text.push_str("</svg>\n");
    text
}

/// A stretch: a bar as long as it is, compared to the longest, with a box for each of its ranges.
fn svg_stretch(text: &mut String, stretch: &Stretch<'_>, top: u64, longest: u64) {
    let inner = WIDTH.saturating_sub(MARGIN.saturating_mul(2));
    let place = |bytes: u64| {
        let scaled = u128::from(bytes).saturating_mul(u128::from(inner));
        let scaled = scaled.checked_div(u128::from(longest)).unwrap_or(0);
        u64::try_from(scaled).unwrap_or(inner)
    };
    let (bar, whole) = (top.saturating_add(8), place(stretch.length()).max(2));
    let _ = writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"{top}\" fill=\"#111111\">{}</text>\
         <rect x=\"{MARGIN}\" y=\"{bar}\" width=\"{whole}\" height=\"26\" fill=\"#eeeeee\" stroke=\"#999999\"/>",
        stretch.title()
    );
    for range in &stretch.ranges {
        let left = place(range.start.saturating_sub(stretch.start));
        let width = place(range.length).max(2);
        let x = MARGIN.saturating_add(left);
        let _ = write!(
            text,
            "<rect x=\"{x}\" y=\"{bar}\" width=\"{width}\" height=\"26\" fill=\"{}\" stroke=\"#ffffff\">\
             <title>#{} {} {}</title></rect>",
            range.tone(&SVG, "#888888"),
            range.registration,
            amount::address(range.start),
            amount::bytes(range.length)
        );
        if width >= 32 {
            let (middle, baseline) = (x.saturating_add(width / 2), bar.saturating_add(18));
            let _ = write!(
                text,
                "<text x=\"{middle}\" y=\"{baseline}\" text-anchor=\"middle\" fill=\"#111111\">#{}</text>",
                range.registration
            );
        }
        text.push('\n');
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(registration: u64, start: u64, length: u64) -> Range {
        Range {
            registration,
            start,
            length,
            note: "cached & <mapped>".to_owned(),
        }
    }

    fn plain(ranges: &[Range]) -> String {
        anstream::adapter::strip_str(&terminal(ranges, 20)).to_string()
    }

    #[test]
    fn neighbours_and_gaps_are_drawn_cell_by_cell() {
        let text = plain(&[range(1, 0x10000, 0x2000), range(2, 0x13000, 0x1000)]);
        assert!(
            text.contains("0x10000 to 0x13fff: 16 KiB, 12 KiB registered"),
            "{text}"
        );
        assert!(text.contains("AA·B"), "{text}");
    }

    #[test]
    fn ranges_far_apart_are_two_stretches() {
        let text = plain(&[range(1, 0x1000_0000, 0x1000), range(2, 0x4000_0000, 0x1000)]);
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn cell_with_two_registrations_is_marked() {
        let mut ranges: Vec<Range> = (1..=2).map(|n| range(n, n << 12, 0x1000)).collect();
        ranges.extend([range(3, 15 << 12, 0x1000), range(4, 30 << 12, 0x1000)]);
        assert!(plain(&ranges).contains('+'));
    }

    #[test]
    fn stretches_are_drawn_to_one_scale() {
        let text = plain(&[
            range(1, 0x1000_0000, 0x1_4000),
            range(2, 0x4000_0000, 0x2000),
        ]);
        let drawn: Vec<&str> = text.lines().filter(|line| !line.contains(' ')).collect();
        assert_eq!(drawn, ["A".repeat(20), "B".repeat(2)], "{text}");
    }

    #[test]
    fn svg_has_a_box_for_each_range_and_escapes_notes() {
        let text = svg(
            &[range(1, 0x10000, 0x2000), range(2, 0x13000, 0x1000)],
            "t & u",
        );
        assert_eq!(text.matches("stroke=\"#ffffff\"").count(), 2);
        assert!(text.contains("t &amp; u") && text.contains("&lt;mapped&gt;"));
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_registered_draws_nothing() {
        assert!(terminal(&[], 80).is_empty());
        assert!(svg(&[], "empty").ends_with("</svg>\n"));
    }
}
