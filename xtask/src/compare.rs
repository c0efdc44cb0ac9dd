//! Compares what two images import: the Linux kit against the WDK.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use driver_package::imports::{Import, imports};

/// Prints what only one of two images imports.
pub(crate) fn run(one: &Path, other: &Path) -> Result<ExitCode> {
    let read = |path: &Path| {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        imports(&bytes).with_context(|| {
            format!(
                "{} is no 64-bit Windows image with an import table",
                path.display()
            )
        })
    };
    let (first, second) = (read(one)?, read(other)?);
    let print = |path: &Path, import: &Import| {
        println!("only {}: {} {}", path.display(), import.0, import.1);
    };
    first
        .difference(&second)
        .for_each(|import| print(one, import));
    second
        .difference(&first)
        .for_each(|import| print(other, import));
    if first == second {
        println!("both import the same {} names", first.len());
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}
