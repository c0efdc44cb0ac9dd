//! `%tokens%`: each has its string, once; a number between percent signs is a folder, and only the driver store will do.

use std::collections::BTreeSet;

use super::{Checker, Rule, files::DRIVER_STORE};
use crate::inf::{Piece, pieces};

impl Checker<'_> {
    pub(super) fn strings(&mut self) {
        let inf = self.inf;
        let mut seen = BTreeSet::new();
        for entry in inf.entries("Strings") {
            let token = entry.key.as_deref().unwrap_or_default();
            if !seen.insert(token.to_ascii_lowercase()) {
                self.report(
                    entry.line,
                    Rule::Strings,
                    format!("a second string `{token}`"),
                    "one",
                );
            }
        }
        for section in &inf.sections {
            if section.name.to_ascii_lowercase().starts_with("strings") {
                continue;
            }
            for entry in &section.entries {
                for text in entry.key.iter().chain(&entry.values) {
                    self.tokens(text, entry.line);
                }
            }
        }
    }

    fn tokens(&mut self, text: &str, line: usize) {
        for piece in pieces(text) {
            let Piece::Token(token) = piece else {
                continue;
            };
            let is_folder = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
            if is_folder && token != DRIVER_STORE {
                self.report(
                    line,
                    Rule::Strings,
                    format!("the folder %{token}%"),
                    "%13%, the driver store",
                );
            } else if !is_folder && !token.is_empty() && self.inf.string(token).is_none() {
                self.report(
                    line,
                    Rule::Strings,
                    format!("%{token}% has no string"),
                    format!("{token} = \"text\" in [Strings]"),
                );
            }
        }
    }
}
