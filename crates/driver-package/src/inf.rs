//! A reader of INF files that keeps line numbers.
//!
//! It reads the syntax alone: sections, entries, quoting, continuation lines, comments, `%tokens%`. What the sections mean
//! is the business of [`crate::check`]. Names of sections, keys and tokens are compared without regard to case.

use crate::check::{Finding, Rule};

/// A file, read.
#[derive(Debug, Clone)]
pub struct Inf {
    /// The file's name, as findings show it.
    pub name: String,
    /// The sections in their order; those of the same name are one to Windows, and separate here.
    pub sections: Vec<Section>,
}

/// A section.
#[derive(Debug, Clone)]
pub struct Section {
    /// The name between the brackets.
    pub name: String,
    /// The line of its header, counted from 1.
    pub line: usize,
    /// The entries in their order.
    pub entries: Vec<Entry>,
}

/// One logical line: `key = value, value` or `value, value`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The line on which it starts, counted from 1.
    pub line: usize,
    /// What stands before the equals sign.
    pub key: Option<String>,
    /// The fields after it, without their quotes; tokens are not replaced.
    pub values: Vec<String>,
}

impl Entry {
    /// The field with this index, empty if there is none: to Windows that is the same.
    #[must_use]
    pub fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }

    /// Whether the key is `name`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.key
            .as_deref()
            .is_some_and(|key| key.eq_ignore_ascii_case(name))
    }
}

impl Section {
    /// The entries with this key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.is(key))
    }
}

impl Inf {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Every line that is no INF syntax.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let mut sections: Vec<Section> = Vec::new();
        let mut findings = Vec::new();
        let mut wrong = |line, message: &str, accepted: &str| {
            findings.push(Finding::new(name, line, Rule::Syntax, message, accepted));
        };
        for (line, text) in logical_lines(text) {
            if !text.is_ascii() {
                wrong(
                    line,
                    "a character that is not ASCII, which Windows reads by the machine's code page",
                    "ASCII",
                );
            }
            if let Some(rest) = text.strip_prefix('[') {
                match rest.split_once(']') {
                    Some((name, "")) if !name.trim().is_empty() => sections.push(Section {
                        name: name.trim().to_string(),
                        line,
                        entries: Vec::new(),
                    }),
                    _ => wrong(line, "a broken section header", "[Name] alone on its line"),
                }
                continue;
            }
            let Some(section) = sections.last_mut() else {
                wrong(
                    line,
                    "an entry outside of any section",
                    "a section header first",
                );
                continue;
            };
            match entry(line, &text) {
                Some(entry) => section.entries.push(entry),
                None => wrong(line, "a quote that is not closed", "\"text\" on one line"),
            }
        }
        if findings.is_empty() {
            Ok(Self {
                name: name.to_string(),
                sections,
            })
        } else {
            Err(findings)
        }
    }

    /// All sections of this name.
    pub fn sections<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Section> + use<'a> {
        let name = name.to_string();
        self.sections
            .iter()
            .filter(move |section| section.name.eq_ignore_ascii_case(&name))
    }

    /// The entries of all sections of this name.
    pub fn entries<'a>(&'a self, section: &str) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.sections(section).flat_map(|section| &section.entries)
    }

    /// The line of the section's header.
    #[must_use]
    pub fn line_of(&self, section: &str) -> Option<usize> {
        self.sections(section).next().map(|section| section.line)
    }

    /// The first entry of this key in sections of this name.
    #[must_use]
    pub fn entry(&self, section: &str, key: &str) -> Option<&Entry> {
        self.entries(section).find(|entry| entry.is(key))
    }

    /// The text of a string token.
    #[must_use]
    pub fn string(&self, token: &str) -> Option<&str> {
        self.entry("Strings", token).map(|entry| entry.value(0))
    }

    /// `text` with its string tokens replaced; unknown ones and directory numbers stay.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Token("") => out.push('%'),
                Piece::Token(token) => match self.string(token) {
                    Some(value) => out.push_str(value),
                    None => out.extend(["%", token, "%"]),
                },
            }
        }
        out
    }
}

/// A part of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    /// What stands between two percent signs; empty for `%%`, which means one percent sign.
    Token(&'a str),
}

/// The parts of a field. A single percent sign begins no token.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push(Piece::Text(before));
        let Some((token, tail)) = after.split_once('%') else {
            out.push(Piece::Text(after));
            return out;
        };
        out.push(Piece::Token(token));
        rest = tail;
    }
    out.push(Piece::Text(rest));
    out
}

/// Lines without comments and blanks at their ends, those that end in a backslash joined with the next; empty ones left out.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = without_comment(line).trim();
        let (line, continues) = match line.strip_suffix('\\') {
            Some(line) => (line.trim_end(), true),
            None => (line, false),
        };
        match lines.last_mut() {
            Some((_, last)) if open => last.push_str(line),
            _ => lines.push((number, line.to_string())),
        }
        open = continues;
    }
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (index, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ';' if !quoted => return line.get(..index).unwrap_or(line),
            _ => {}
        }
    }
    line
}

/// Splits a line into key and fields; `None` if a quote is not closed.
fn entry(line: usize, text: &str) -> Option<Entry> {
    let mut key = None;
    let mut values = Vec::new();
    let mut field = String::new();
    let mut was_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                was_quoted = true;
                quoted(&mut characters, &mut field)?;
            }
            '=' if key.is_none() && values.is_empty() => {
                key = Some(finish(&mut field, &mut was_quoted));
            }
            ',' => values.push(finish(&mut field, &mut was_quoted)),
            // Blanks after the closing quote.
            ' ' | '\t' if was_quoted => {}
            _ => field.push(character),
        }
    }
    values.push(finish(&mut field, &mut was_quoted));
    Some(Entry { line, key, values })
}

/// Reads up to the closing quote; a doubled one is a quote in the text.
fn quoted(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    field: &mut String,
) -> Option<()> {
    // What stood before the quote can only be blanks: they are no part of the field.
    if field.trim().is_empty() {
        field.clear();
    }
    loop {
        match characters.next()? {
            '"' if characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => return Some(()),
            character => field.push(character),
        }
    }
}

fn finish(field: &mut String, was_quoted: &mut bool) -> String {
    let text = std::mem::take(field);
    if std::mem::take(was_quoted) {
        text
    } else {
        text.trim().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Inf {
        Inf::parse("a.inf", text).unwrap()
    }

    #[test]
    fn entry_with_quotes_and_comment_is_split_into_fields() {
        let inf = parse("[A] ; first\nkey = one, \"t;w\"\"o,\" ,three ; x\n");
        let entry = inf.entry("a", "KEY").unwrap();
        assert_eq!(entry.values, ["one", "t;w\"o,", "three"]);
        assert_eq!(entry.line, 2);
    }

    #[test]
    fn continued_line_has_the_number_of_its_first() {
        let inf = parse("[A]\n\nx = 1,\\\n  2\ny = 3\n");
        assert_eq!(inf.entry("A", "x").unwrap().values, ["1", "2"]);
        assert_eq!(inf.entry("A", "x").unwrap().line, 3);
        assert_eq!(inf.entry("A", "y").unwrap().line, 5);
    }

    #[test]
    fn token_is_replaced_by_its_string() {
        let inf = parse("[Strings]\nName = \"sanproxy\"\n");
        assert_eq!(inf.expand("%13%\\%name%.sys 5%%"), "%13%\\sanproxy.sys 5%");
    }

    #[test]
    fn quote_left_open_is_found_with_its_line() {
        let findings = Inf::parse("a.inf", "[A]\nx = \"1\n").unwrap_err();
        assert!(findings[0].to_string().starts_with("a.inf:2: "));
    }

    #[test]
    fn entry_before_the_first_section_is_found() {
        let findings = Inf::parse("a.inf", "x = 1\n[A]\n").unwrap_err();
        assert_eq!(findings[0].line, 1);
    }

    #[test]
    fn section_header_that_is_not_closed_is_found() {
        let findings = Inf::parse("a.inf", "[A\nx = 1\n").unwrap_err();
        assert_eq!(findings[0].line, 1);
    }

    #[test]
    fn character_beyond_ascii_is_found() {
        let findings = Inf::parse("a.inf", "[A]\nx = \u{e9}\n").unwrap_err();
        assert_eq!(findings[0].line, 2);
    }
}
