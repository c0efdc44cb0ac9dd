//! Text as Win32 has it: UTF-16 with a zero at the end.

/// A string for Win32.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// The text up to the first zero.
pub(super) fn narrow(text: &[u16]) -> String {
    String::from_utf16_lossy(text.split(|unit| *unit == 0).next().unwrap_or_default())
}

/// The strings of a `REG_MULTI_SZ`, or the one of a `REG_SZ`.
pub(super) fn list(text: &[u16]) -> Vec<String> {
    text.split(|unit| *unit == 0)
        .filter(|part| !part.is_empty())
        .map(String::from_utf16_lossy)
        .collect()
}
