//! Amounts as people write and read them: bytes, addresses, durations.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("", 1),
];

/// Reads a number of bytes: `4096`, `0x1000`, `64K`, `64KiB`, `1M`, `2G`.
///
/// # Errors
///
/// What would be accepted.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    if let Some(digits) = lower.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16)
            .map_err(|_| format!("{text:?} is not a hexadecimal number of at most 64 bits"));
    }
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let (number, unit) = lower.split_at(digits.len());
    let unit = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(unit);
    let factor = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .map(|(_, factor)| *factor);
    number
        .replace('_', "")
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| {
            format!("{text:?} is no number of bytes, such as 4096, 0x1000, 64K, 1M or 2G")
        })
}

/// Writes a number of bytes so that it can be read: `64 KiB`, `1.5 MiB`, `100 B`.
#[must_use]
pub fn bytes(value: u64) -> String {
    let fits = UNITS.iter().find(|(_, factor)| value >= *factor);
    let Some((name, factor)) = fits.filter(|(name, _)| !name.is_empty()) else {
        return format!("{value} B");
    };
    let whole = value.checked_div(*factor).unwrap_or(0);
    let rest = value.checked_rem(*factor).unwrap_or(0);
    let tenths = rest.saturating_mul(10).checked_div(*factor).unwrap_or(0);
    if rest == 0 {
        format!("{whole} {name}iB")
    } else {
        format!("{whole}.{tenths} {name}iB")
    }
}

/// Reads a duration: `500ms`, `10s`, `5m`, `2h`, or seconds without a unit.
///
/// # Errors
///
/// What would be accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let (number, unit) = text.split_at(digits.len());
    let milliseconds = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" | "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    number
        .parse::<u64>()
        .ok()
        .zip(milliseconds)
        .and_then(|(number, factor): (u64, u64)| number.checked_mul(factor))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is no duration, such as 500ms, 10s, 5m or 2h"))
}

/// Writes a short duration with three digits or so: `850 ns`, `12.3 µs`, `4.5 ms`.
#[must_use]
pub fn short(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let (unit, factor) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let whole = nanoseconds.checked_div(factor).unwrap_or(0);
    let rest = nanoseconds.checked_rem(factor).unwrap_or(0);
    let tenths = rest.saturating_mul(10).checked_div(factor).unwrap_or(0);
    format!("{whole}.{tenths} {unit}")
}

/// Writes an address.
#[must_use]
pub fn address(value: u64) -> String {
    format!("{value:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_with_and_without_units_are_read() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("0x1000"), Ok(4096));
        assert_eq!(parse_bytes("64k"), Ok(65_536));
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("2G"), Ok(2 << 30));
        assert_eq!(parse_bytes("1_000"), Ok(1000));
    }

    #[test]
    fn bytes_that_make_no_sense_are_refused_with_examples() {
        for text in ["", "x", "12Q", "-1", "99999999T", "0xZ", "K"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert!(parse_bytes("12Q").unwrap_err().contains("64K"));
    }

    #[test]
    fn bytes_are_written_in_the_largest_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(65_536), "64 KiB");
        assert_eq!(bytes(3 << 19), "1.5 MiB");
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("1d").is_err());
    }

    #[test]
    fn short_durations_are_written() {
        assert_eq!(short(Duration::from_nanos(850)), "850 ns");
        assert_eq!(short(Duration::from_nanos(12_340)), "12.3 µs");
    }
}
