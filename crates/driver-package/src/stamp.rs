//! An INF from its source: what `stampinf` does on Windows.
//!
//! `$ARCH$` becomes the architecture, `DriverVer` of `[Version]` becomes date and version. Lines keep their numbers, so
//! that a finding in the INF can be named by its line in the source. Line ends become those of Windows.

use std::fmt;

use thiserror::Error;

use crate::date::Date;

/// Architectures that packages are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Architecture {
    /// As a decoration of an INF names it: `amd64`, `arm64`.
    #[must_use]
    pub const fn decoration(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As a catalogue names it: `X64`, `ARM64`.
    #[must_use]
    pub const fn catalog(self) -> &'static str {
        match self {
            Self::Amd64 => "X64",
            Self::Arm64 => "ARM64",
        }
    }
}

/// A version of four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub [u16; 4]);

impl Version {
    /// Reads `1.2.3` or `1.2.3.4`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = [0_u16; 4];
        let mut count = 0_usize;
        for part in text.split('.') {
            *numbers.get_mut(count)? = part.parse().ok()?;
            count = count.saturating_add(1);
        }
        (count >= 3).then_some(Self(numbers))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(formatter, "{a}.{b}.{c}.{d}")
    }
}

/// Why a source cannot be stamped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StampError {
    /// There is nowhere to put date and version.
    #[error(
        "{0}: no DriverVer entry in a section [Version]; accepted: `DriverVer =`, which is filled in"
    )]
    NoDriverVer(String),
    /// Another `$WORD$` than `$ARCH$`.
    #[error("{0}:{1}: `{2}` stands for nothing; accepted: $ARCH$")]
    UnknownPlaceholder(String, usize, String),
}

/// Stamps `source`, which errors call `name`.
///
/// # Errors
///
/// No place for date and version, or a placeholder that is not known.
pub fn stamp(
    name: &str,
    source: &str,
    architecture: Architecture,
    date: Date,
    version: Version,
) -> Result<String, StampError> {
    let mut out = String::new();
    let mut in_version = false;
    let mut stamped = false;
    for (number, line) in (1_usize..).zip(source.lines()) {
        let line = line.replace("$ARCH$", architecture.decoration());
        if let Some(placeholder) = placeholder(&line) {
            return Err(StampError::UnknownPlaceholder(
                name.to_string(),
                number,
                placeholder,
            ));
        }
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            in_version = trimmed.to_ascii_lowercase().starts_with("[version]");
        }
        let key = line.split('=').next().unwrap_or_default();
        if in_version && line.contains('=') && key.trim().eq_ignore_ascii_case("DriverVer") {
            out.extend([key, "= ", &date.inf(), ",", &version.to_string()]);
            stamped = true;
        } else {
            out.push_str(&line);
        }
        out.push_str("\r\n");
    }
    if stamped {
        Ok(out)
    } else {
        Err(StampError::NoDriverVer(name.to_string()))
    }
}

/// The first `$WORD$` of a line; `$Windows NT$` has a blank and is none.
fn placeholder(line: &str) -> Option<String> {
    let mut rest = line;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some((word, _)) = after.split_once('$')
            && !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            return Some(format!("${word}$"));
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str =
        "[Version]\nSignature = \"$Windows NT$\"\nDriverVer = ; filled in\n[A.NT$ARCH$]\n";

    fn stamped(source: &str) -> Result<String, StampError> {
        let date = Date::new(2026, 2, 3).unwrap();
        let version = Version::parse("0.1.2").unwrap();
        stamp("a.inx", source, Architecture::Arm64, date, version)
    }

    #[test]
    fn architecture_date_and_version_are_filled_in() {
        let text = stamped(SOURCE).unwrap();
        assert!(
            text.contains("DriverVer = 02/03/2026,0.1.2.0\r\n"),
            "{text}"
        );
        assert!(text.contains("[A.NTarm64]\r\n"), "{text}");
    }

    #[test]
    fn source_without_driver_version_is_refused() {
        let source = SOURCE.replace("DriverVer", "DriverDate");
        assert!(matches!(stamped(&source), Err(StampError::NoDriverVer(_))));
    }

    #[test]
    fn placeholder_that_is_unknown_is_refused_with_its_line() {
        let source = SOURCE.replace("$ARCH$", "$CPU$");
        assert_eq!(
            stamped(&source).unwrap_err().to_string(),
            "a.inx:4: `$CPU$` stands for nothing; accepted: $ARCH$"
        );
    }

    #[test]
    fn version_with_a_number_beyond_16_bits_is_none() {
        assert_eq!(Version::parse("0.1.65536"), None);
        assert_eq!(Version::parse("0.1"), None);
        assert_eq!(Version::parse("1.2.3.4.5"), None);
    }
}
