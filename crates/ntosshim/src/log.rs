//! The log: what a driver did wrong, and what was left when it was unloaded.

use std::{fs::OpenOptions, io::Write, sync::Mutex};

const PATH: &str = r"C:\windows\temp\ntosshim.log";

static WRITING: Mutex<()> = Mutex::new(());

/// Adds a line. A log that cannot be written is no reason to fail a driver.
pub(crate) fn line(text: &str) {
    let _writing = WRITING.lock();
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(PATH) {
        let _: std::io::Result<()> = writeln!(file, "{text}");
    }
}

/// Notes what a driver did wrong.
pub(crate) fn misuse(routine: &str, what: &str) {
    line(&format!("misuse: {routine}: {what}"));
}
