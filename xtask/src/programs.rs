//! Builds what runs on Windows in user mode: `sanctl` and the examples.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    process::{cargo, command, execute},
    setup,
    workspace::{self, PROGRAM_TARGET},
};

/// A Rust program: the words that choose it, what Cargo calls it below the profile's folder, and what we call it.
struct Program {
    selection: &'static [&'static str],
    built: &'static str,
    name: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program {
        selection: &["--package", "sanctl"],
        built: "sanctl.exe",
        name: "sanctl.exe",
    },
    Program {
        selection: &["--package", "sanproxy-provider", "--example", "provider"],
        built: "examples/provider.exe",
        name: "provider-rust.exe",
    },
];

/// Sets up what is missing, builds the programs and puts them into `target/windows`.
pub(crate) fn run() -> Result<PathBuf> {
    setup::everything()?;
    let folder = workspace::target().join("windows");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for program in &PROGRAMS {
        let arguments = [
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "tool",
            "--target",
            PROGRAM_TARGET,
        ];
        execute(cargo(arguments.iter().chain(program.selection)))
            .with_context(|| format!("{} does not build", program.name))?;
        let built = workspace::target()
            .join(PROGRAM_TARGET)
            .join("tool")
            .join(program.built);
        let path = folder.join(program.name);
        fs::copy(&built, &path)
            .with_context(|| format!("cannot copy {} to {}", built.display(), path.display()))?;
    }
    for example in ["provider", "contract"] {
        let source = format!("examples/{example}.c");
        let output = folder.join(format!("{example}-c.exe"));
        let output = output.to_string_lossy();
        execute(command(
            "x86_64-w64-mingw32-gcc",
            [
                "-O2",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-I",
                "include",
                &source,
                "-o",
                &output,
                "-lsetupapi",
            ],
        ))
        .with_context(|| format!("{source} does not build"))?;
    }
    Ok(folder)
}
