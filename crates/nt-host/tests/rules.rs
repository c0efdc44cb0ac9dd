//! RULES.md lists every rule that the source names, with the file that names it.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its files cannot be read"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The rule names in quotes.
fn rules_in(text: &str) -> Vec<&str> {
    let parts = text.split('"');
    let is_rule = |part: &&str| {
        part.len() == 4
            && part.starts_with('V')
            && part[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    parts.filter(is_rule).collect()
}

#[test]
fn rule_named_in_the_source_is_listed_with_its_file() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = fs::read_to_string(package.join("RULES.md")).unwrap();
    let mut files = Vec::new();
    sources(&package.join("src"), &mut files);
    let mut missing = Vec::new();
    for file in files {
        let name = file
            .strip_prefix(package.join("src"))
            .unwrap()
            .display()
            .to_string();
        for rule in rules_in(&fs::read_to_string(&file).unwrap()) {
            let row = format!("| {rule} |");
            let named = |line: &&str| line.starts_with(&row) && line.contains(&format!("`{name}`"));
            if !listed.lines().any(|line| named(&line)) {
                missing.push(format!("{rule} in {name}"));
            }
        }
    }
    missing.dedup();
    assert!(missing.is_empty(), "not in RULES.md: {missing:#?}");
}
