//! The structure that the design promises: where `unsafe` is, and which part knows which.
//!
//! Cites security.md: C52; the style's rule on sizes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// All Rust files below a folder of the repository.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("a folder of the repository")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

/// The lines of a file that are code, comments cut off.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a source file");
    text.lines()
        .map(|line| line.split("//").next().unwrap_or("").to_string())
        .collect()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
}

#[test]
fn driver_has_no_unsafe() {
    for path in sources("src") {
        let found = code(&path)
            .into_iter()
            .find(|line| words(line).any(|word| word == "unsafe"));
        assert_eq!(found, None, "{}", path.display());
    }
}

#[test]
fn unsafe_is_found_where_there_is_some() {
    // The proof that the test above can fail.
    let found = sources("crates/wdm/src").iter().any(|path| {
        code(path)
            .iter()
            .any(|line| words(line).any(|word| word == "unsafe"))
    });
    assert!(found);
}

/// The names of all packages that a package of the workspace is built from, itself among them.
fn built_from(package: &str) -> BTreeSet<String> {
    let arguments = [
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal,build",
        "--target",
        "all",
        "--prefix",
        "none",
    ];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--format", "{p}", "--package", package])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_string)
        .collect()
}

#[test]
fn judge_knows_nothing_of_the_driver() {
    let parts = built_from("nt-host");
    let ours: Vec<_> = parts
        .iter()
        .filter(|name| name.starts_with("sanproxy") || *name == "wdm")
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn rules_know_nothing_of_windows() {
    for package in ["sanproxy-abi", "sanproxy-registry"] {
        let parts = built_from(package);
        let windows: Vec<_> = parts
            .iter()
            .filter(|name| name.starts_with("wd") || name.starts_with("windows"))
            .collect();
        assert!(windows.is_empty(), "{package}: {windows:?}");
    }
}

#[test]
fn driver_is_built_from_the_genuine_crates() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    for name in ["wdk", "wdk-sys", "wdk-alloc", "wdk-panic", "wdk-build"] {
        let entry = lock
            .split("[[package]]")
            .find(|entry| entry.contains(&format!("name = \"{name}\"\n")))
            .unwrap_or_else(|| panic!("{name} is not in the lock file"));
        assert!(
            entry.contains("source = \"registry+"),
            "{name} does not come from the registry: {entry}"
        );
    }
    // C52: older ones loop instead of importing the bug check, and its absence would prove nothing.
    let panic = lock
        .split("[[package]]")
        .find(|entry| entry.contains("name = \"wdk-panic\"\n"));
    let version = panic
        .and_then(|entry| entry.split("version = \"").nth(1))
        .expect("a version");
    let minor: u32 = version
        .split('.')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("a number");
    assert!(minor >= 5, "{version}");
}

#[test]
fn file_has_no_more_than_500_lines() {
    let long: Vec<_> = ["src", "crates", "xtask"]
        .into_iter()
        .flat_map(sources)
        // The style sets no limit to tests.
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| {
            (
                fs::read_to_string(&path)
                    .expect("a source file")
                    .lines()
                    .count(),
                path,
            )
        })
        .filter(|(lines, _)| *lines > 500)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}
