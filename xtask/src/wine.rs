//! Builds what Wine needs to run the driver: the companion of its kernel, a module that Rust programs want, and the tests'
//! probe.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    process::{cargo, command, execute},
    workspace::{self, PROGRAM_TARGET},
};

/// Modules: the package, what Cargo makes of it, and what Wine looks for.
const MODULES: [(&str, &str, &str); 2] = [
    ("ntosshim", "ntosshim.dll", "ntosshim.exe"),
    (
        "bcryptprimitives",
        "bcryptprimitives.dll",
        "bcryptprimitives.dll",
    ),
];

/// Builds all of it into `target/wine`. The set-up is done.
pub(crate) fn run() -> Result<PathBuf> {
    let folder = workspace::target().join("wine");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (package, built, name) in MODULES {
        execute(cargo([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "tool",
            "--target",
            PROGRAM_TARGET,
            "--package",
            package,
        ]))
        .with_context(|| format!("{package} does not build"))?;
        let built = workspace::target()
            .join(PROGRAM_TARGET)
            .join("tool")
            .join(built);
        let path = folder.join(name);
        fs::copy(&built, &path)
            .with_context(|| format!("cannot copy {} to {}", built.display(), path.display()))?;
    }
    probe(&folder)?;
    Ok(folder)
}

fn probe(folder: &Path) -> Result<()> {
    let output = folder.join("probe.exe");
    let output = output.to_string_lossy();
    execute(command(
        "x86_64-w64-mingw32-gcc",
        [
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-I",
            "include",
            "tests/wine/probe.c",
            "-o",
            &output,
            "-lsetupapi",
            "-lnewdev",
        ],
    ))
    .context("tests/wine/probe.c does not build")
}
