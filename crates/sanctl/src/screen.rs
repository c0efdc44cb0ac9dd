//! What a person or a program sees.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::Failure;

/// Headings.
pub(crate) const HEAD: Style = Style::new().bold();
/// What is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Where results go. Styles are always written: the stream behind it takes them out where nobody
/// wants them.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    /// Whether results are JSON.
    pub json: bool,
    /// Whether results go to a terminal, so that lines can be drawn anew.
    pub live: bool,
    /// Whether progress may be shown on the error stream.
    pub progress: bool,
    /// How many characters fit on a line.
    pub width: usize,
}

/// A result: JSON for programs, text for people.
pub(crate) trait Report: Serialize {
    /// The text for people, lines ended.
    fn text(&self) -> String;
}

impl<'a> Screen<'a> {
    /// A screen that writes plain text to `out`, 80 characters wide.
    #[must_use]
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            json: false,
            live: false,
            progress: false,
            width: 80,
        }
    }

    /// Shows a result.
    pub(crate) fn report(&mut self, report: &impl Report) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string_pretty(report).map_err(io::Error::from)?;
            writeln!(self.out, "{text}")?;
        } else {
            self.out.write_all(report.text().as_bytes())?;
        }
        Ok(self.out.flush()?)
    }

    /// Shows one of many results: JSON takes one line.
    pub(crate) fn sample(&mut self, report: &impl Report) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string(report).map_err(io::Error::from)?;
            writeln!(self.out, "{text}")?;
        } else {
            self.out.write_all(report.text().as_bytes())?;
        }
        Ok(self.out.flush()?)
    }

    /// Says something to people; programs do not see it.
    pub(crate) fn say(&mut self, text: impl Display) -> Result<(), Failure> {
        if !self.json {
            writeln!(self.out, "{text}")?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Draws over the last `lines` lines.
    pub(crate) fn rewind(&mut self, lines: usize) -> Result<(), Failure> {
        if self.live && !self.json && lines > 0 {
            write!(self.out, "\x1b[{lines}A\x1b[J")?;
        }
        Ok(())
    }
}

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with a bold heading; columns as wide as their widest cell.
pub(crate) fn table(heading: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |column: usize, name: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .chain([name.chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = heading
        .iter()
        .enumerate()
        .map(|(column, (name, _))| width(column, name))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.zip(&widths).zip(heading) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            if !line.is_empty() {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.push_str(&format!("{cell}{padding}")),
                Align::Right => line.push_str(&format!("{padding}{cell}")),
            }
        }
        line.trim_end().to_owned()
    };
    let head = line(&mut heading.iter().map(|(name, _)| *name));
    let mut text = format!("{HEAD}{head}{HEAD:#}\n");
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
        text.push('\n');
    }
    text
}

/// Names and values, one pair a line, values below each other.
pub(crate) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    rows.iter()
        .map(|(name, value)| {
            let padding = " ".repeat(width.saturating_sub(name.chars().count()));
            format!("{name}{padding}  {value}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_aligns_its_columns() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned()],
            vec!["bcd".to_owned(), "200".to_owned()],
        ];
        let text = table(&[("Name", Align::Left), ("Count", Align::Right)], &rows);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "Name  Count\na         1\nbcd     200\n");
    }

    #[test]
    fn said_text_is_hidden_from_programs() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out);
        screen.json = true;
        screen.say("hello").unwrap();
        assert!(out.is_empty());
    }
}
