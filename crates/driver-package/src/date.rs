//! Days of the calendar, from a number of seconds, without a clock.

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: u16,
    /// The month, from 1.
    pub month: u8,
    /// The day, from 1.
    pub day: u8,
}

impl Date {
    /// The day, if the calendar has it.
    #[must_use]
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        der::DateTime::new(year, month, day, 0, 0, 0)
            .ok()
            .map(|_| Self { year, month, day })
    }

    /// The day (UTC) on which so many seconds have passed since 1970.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Option<Self> {
        let moment =
            der::DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).ok()?;
        Self::new(moment.year(), moment.month(), moment.day())
    }

    /// As an INF has it: month, day, year.
    #[must_use]
    pub fn inf(self) -> String {
        format!("{:02}/{:02}/{:04}", self.month, self.day, self.year)
    }

    /// Reads what [`Date::inf`] writes.
    #[must_use]
    pub fn parse_inf(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let mut part = |digits: usize| {
            parts
                .next()
                .filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
        };
        let (month, day, year) = (part(2)?, part(2)?, part(4)?);
        if parts.next().is_some() {
            return None;
        }
        Self::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_the_day() {
        assert_eq!(Date::from_unix(1_763_600_000).unwrap().inf(), "11/20/2025");
    }

    #[test]
    fn day_that_the_calendar_lacks_is_none() {
        assert_eq!(Date::parse_inf("02/30/2026"), None);
        assert_eq!(Date::parse_inf("13/01/2026"), None);
        assert_eq!(Date::parse_inf("1/01/2026"), None);
        assert!(Date::parse_inf("01/31/2026").is_some());
    }
}
