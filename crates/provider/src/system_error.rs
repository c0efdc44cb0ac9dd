//! A refusal of the operating system.

use std::fmt;

/// What was tried, and how the operating system refused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemError {
    /// What was tried.
    pub operation: String,
    /// The Win32 error.
    pub code: u32,
    /// The system's own words for it.
    pub text: String,
}

impl SystemError {
    /// A refusal with the system's words for it.
    #[must_use]
    pub fn new(operation: impl Into<String>, code: u32, text: impl Into<String>) -> Self {
        let (operation, text) = (operation.into(), text.into());
        Self {
            operation,
            code,
            text,
        }
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            code,
            text,
        } = self;
        write!(formatter, "{operation}: {text} ")?;
        // The errors of SetupAPI and of certificates are known by their hexadecimal numbers.
        if *code < 0x8000_0000 {
            write!(formatter, "(Windows error {code})")
        } else {
            write!(formatter, "(Windows error {code:#010X})")
        }
    }
}

impl std::error::Error for SystemError {}

#[cfg(test)]
mod tests {
    use super::SystemError;

    #[test]
    fn system_error_shows_what_was_tried_and_the_number_as_it_is_known() {
        let small = SystemError::new("open the device", 5, "Access is denied.");
        assert_eq!(
            small.to_string(),
            "open the device: Access is denied. (Windows error 5)"
        );
        let large = SystemError::new("install", 0xE000_0247, "refused");
        assert_eq!(
            large.to_string(),
            "install: refused (Windows error 0xE0000247)"
        );
    }
}
