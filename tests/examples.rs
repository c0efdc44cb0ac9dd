//! The examples for providers: what a stranger copies from has to build without a warning.
//!
//! The Rust example is built with every `cargo test`; here are those in C.

use std::{error::Error, path::Path, process::Command};

type Outcome = Result<(), Box<dyn Error>>;

/// Compiles and links an example in C with one standard, every warning an error.
fn build(example: &str, standard: &str) -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{example}-{standard}.exe"));
    let output = Command::new("x86_64-w64-mingw32-gcc")
        .arg(format!("-std={standard}"))
        .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(root.join("include"))
        .arg(root.join(format!("examples/{example}.c")))
        .arg("-o")
        .arg(&program)
        .arg("-lsetupapi")
        .output()
        .map_err(|error| {
            format!(
                "x86_64-w64-mingw32-gcc does not start ({error}): apt-get install gcc-mingw-w64-x86-64"
            )
        })?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let image = std::fs::read(&program)?;
    assert!(
        image.starts_with(b"MZ"),
        "{} is no program",
        program.display()
    );
    Ok(())
}

#[test]
fn example_in_c_with_all_warnings_builds_as_c11() -> Outcome {
    build("provider", "c11")
}

#[test]
fn example_in_c_with_all_warnings_builds_as_c99() -> Outcome {
    build("provider", "c99")
}

#[test]
fn requests_of_the_book_in_c_with_all_warnings_build_as_c11() -> Outcome {
    build("contract", "c11")
}

#[test]
fn requests_of_the_book_in_c_with_all_warnings_build_as_c99() -> Outcome {
    build("contract", "c99")
}
