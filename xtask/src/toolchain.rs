//! Which compiler builds the drivers.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    process::{cargo, command, execute, output},
    workspace,
};

/// Debian's compiler, and the sources of its library.
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
const DEBIAN_COMPILER: &str = "/usr/bin/rustc";

/// A compiler for the drivers' target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The one that runs this program, with the target's library from rustup.
    Rustup,
    /// Debian's, which builds the library from its sources: for places that rustup's servers cannot be reached from.
    Debian,
}

impl Toolchain {
    /// Finds one that is installed, or installs one: rustup's if it can be had, else Debian's.
    pub(crate) fn find_or_install(target: &str) -> Result<Self> {
        if has_library(target)? {
            return Ok(Self::Rustup);
        }
        if is_debian_installed() {
            return Ok(Self::Debian);
        }
        if install_target(target).is_ok() {
            return Ok(Self::Rustup);
        }
        println!(
            "The Rust target cannot be fetched; installing Debian's compiler with its library sources instead"
        );
        crate::setup::install_packages(&DEBIAN_PACKAGES).with_context(|| {
            format!(
                "the driver is built for {target}; with a network, run: rustup target add {target}"
            )
        })?;
        Ok(Self::Debian)
    }

    /// The command that builds a driver package for release.
    pub(crate) fn build(self, package: &str, target: &str) -> Result<Command> {
        let mut build = cargo([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            package,
        ]);
        build.args(["--target", target]);
        if self == Self::Debian {
            build
                .args([
                    "-Zbuild-std=core,alloc",
                    "-Zbuild-std-features=compiler-builtins-mem",
                ])
                .args([Path::new("--target-dir"), &target_folder(self)])
                .env("RUSTC", DEBIAN_COMPILER)
                // Building the library is not stable, and Debian's compiler is a stable one.
                .env("RUSTC_BOOTSTRAP", "1")
                // It has no linker of its own; rustup's works with either.
                .env(linker_variable(target), linker()?);
        }
        Ok(build)
    }

    /// Where the built images are.
    pub(crate) fn output_folder(self, target: &str) -> PathBuf {
        target_folder(self).join(target).join("release")
    }
}

/// Two compilers do not share what they have built.
fn target_folder(toolchain: Toolchain) -> PathBuf {
    match toolchain {
        Toolchain::Rustup => workspace::target(),
        Toolchain::Debian => workspace::target().join("debian"),
    }
}

fn rustlib() -> Result<PathBuf> {
    let sysroot = output(command("rustc", ["--print", "sysroot"]))
        .context("cannot run rustc: install Rust with rustup (https://rustup.rs)")?;
    Ok(PathBuf::from(sysroot.trim()).join("lib/rustlib"))
}

/// Has rustup fetch the library of a target, unless it is there.
pub(crate) fn install_target(target: &str) -> Result<()> {
    if has_library(target)? {
        return Ok(());
    }
    println!("Installing the Rust target {target}");
    execute(command("rustup", ["target", "add", target]))
}

fn has_library(target: &str) -> Result<bool> {
    Ok(rustlib()?.join(target).join("lib").is_dir())
}

/// The variable by which Cargo is told the linker of a target.
fn linker_variable(target: &str) -> String {
    let name = target.replace('-', "_").to_ascii_uppercase();
    format!("CARGO_TARGET_{name}_LINKER")
}

fn linker() -> Result<PathBuf> {
    Ok(rustlib()?.join("x86_64-unknown-linux-gnu/bin/rust-lld"))
}

fn is_debian_installed() -> bool {
    DEBIAN_PACKAGES
        .iter()
        .all(|name| crate::setup::is_installed(name))
}
