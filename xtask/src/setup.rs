//! What a build on Linux needs, installed once: the Rust targets, Debian packages, and the kit that stands for the WDK.
//!
//! Each step looks first and does nothing where nothing is missing.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    process::{command, execute, output},
    toolchain::{self, Toolchain},
    workspace::{self, DRIVER_TARGET, PROGRAM_TARGET},
};

/// A package of Debian and Ubuntu, with what needs it.
type Package = (&'static str, &'static str);

/// What a driver is built with.
const FOR_DRIVERS: [Package; 3] = [
    (
        "mingw-w64-common",
        "kernel headers, which wdk-sys makes its bindings from",
    ),
    (
        "mingw-w64-x86-64-dev",
        "the kernel's import list, which the import libraries are made from",
    ),
    ("libclang-dev", "the parser that makes the bindings"),
];

/// What packages, programs for Windows and tests need besides.
const FOR_THE_REST: [Package; 7] = [
    ("clang", "the C header's tests"),
    ("g++", "the C header's tests"),
    (
        "gcc-mingw-w64-x86-64",
        "the linker of the programs for Windows, and the example in C",
    ),
    ("g++-mingw-w64-x86-64", "the C header's tests"),
    ("openssl", "the developer's test certificate"),
    ("osslsigncode", "signatures of the driver and its catalogue"),
    (
        "wine64",
        "a system to install the driver in, and Windows programs to use it",
    ),
];

/// Read by Cargo through `.cargo/config.toml`; Git does not track it, and Windows never has it.
fn cargo_configuration(libclang: &Libclang) -> String {
    format!(
        "\
# Written by `cargo xtask setup` on build hosts that are not Windows.
paths = [\"crates/wdk-build\", \"crates/wdk-build/windows-future\"]

[env]
WDK_KIT_ROOT = {{ value = \"target/wdk-kit\", relative = true }}
LIBCLANG_PATH = \"{}\"
BINDGEN_EXTRA_CLANG_ARGS_x86_64_pc_windows_msvc = \"-resource-dir={resources}\"
BINDGEN_EXTRA_CLANG_ARGS_aarch64_pc_windows_msvc = \"-resource-dir={resources}\"

[target.x86_64-pc-windows-msvc]
linker = \"rust-lld\"

[target.aarch64-pc-windows-msvc]
linker = \"rust-lld\"
",
        libclang.folder.display(),
        resources = libclang.resources.display()
    )
}

/// Sets up what drivers are built with, and says which compiler builds them.
pub(crate) fn run() -> Result<Toolchain> {
    if cfg!(windows) {
        bail!(
            "on Windows nothing is set up here: install the WDK, then `cargo build` or `cargo make` does the rest"
        );
    }
    let toolchain = Toolchain::find_or_install(DRIVER_TARGET)?;
    install_missing(&FOR_DRIVERS)?;
    let kit = kit_root();
    wdk_kit::lay_out(&wdk_kit::Sources::default(), &kit).context("cannot lay out the build kit")?;
    let path = workspace::root().join(".cargo/linux.toml");
    let text = cargo_configuration(&libclang()?);
    if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("Wrote .cargo/linux.toml");
    }
    Ok(toolchain)
}

fn kit_root() -> PathBuf {
    workspace::target().join("wdk-kit")
}

/// The parser's library and the headers that belong to its version: another version's do not fit it, and it does not find
/// its own through the links under which Debian installs it.
struct Libclang {
    folder: PathBuf,
    resources: PathBuf,
}

/// The newest libclang that is installed completely.
fn libclang() -> Result<Libclang> {
    let folders = fs::read_dir("/usr/lib")
        .context("cannot list /usr/lib")?
        .flatten();
    folders
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version: u32 = name.strip_prefix("llvm-")?.parse().ok()?;
            let folder = entry.path().join("lib");
            let resources = folder
                .join("clang")
                .read_dir()
                .ok()?
                .flatten()
                .map(|headers| headers.path())
                .find(|path| path.join("include/mm_malloc.h").exists())?;
            folder
                .join("libclang.so")
                .exists()
                .then_some((version, Libclang { folder, resources }))
        })
        .max_by_key(|(version, _)| *version)
        .map(|(_, libclang)| libclang)
        .context("no /usr/lib/llvm-*/lib/libclang.so with its headers: reinstall the package libclang-dev")
}

/// Sets up everything: what packages, programs for Windows and tests need, too.
pub(crate) fn everything() -> Result<()> {
    run()?;
    install_missing(&FOR_THE_REST)?;
    toolchain::install_target(PROGRAM_TARGET).with_context(|| {
        format!("the programs are built for {PROGRAM_TARGET}; with a network, run: rustup target add {PROGRAM_TARGET}")
    })
}

fn install_missing(packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|(name, _)| !is_installed(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Missing Debian packages:");
    for (name, purpose) in &missing {
        println!("  {name}: {purpose}");
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    install_packages(&names)
}

/// Installs packages as root; who is not root, and has no `sudo` without a password, is told the command.
pub(crate) fn install_packages(names: &[&str]) -> Result<()> {
    let by_hand = format!(
        "sudo apt-get update && sudo apt-get install --no-install-recommends {}",
        names.join(" ")
    );
    let is_root = output(command("id", ["-u"])).is_some_and(|id| id.trim() == "0");
    let prefix: &[&str] = if is_root {
        &[]
    } else if output(command("sudo", ["-n", "true"])).is_some() {
        &["sudo", "-n"]
    } else {
        bail!("packages are missing, and only root can install them; run: {by_hand}");
    };
    let apt = |arguments: &[&str]| {
        let mut words = prefix
            .iter()
            .copied()
            .chain(["apt-get", "-q"])
            .chain(arguments.iter().copied());
        let mut step = command(words.next().unwrap_or("apt-get"), words);
        step.env("DEBIAN_FRONTEND", "noninteractive");
        run_step(step)
    };
    let install = ["install", "--yes", "--no-install-recommends"];
    apt(&["update"])
        .and_then(|()| {
            apt(&install
                .iter()
                .copied()
                .chain(names.iter().copied())
                .collect::<Vec<_>>())
        })
        .with_context(|| format!("packages are missing; with a network, run: {by_hand}"))
}

pub(crate) fn is_installed(package: &str) -> bool {
    output(command(
        "dpkg-query",
        ["--show", "--showformat=${db:Status-Status}", package],
    ))
    .is_some_and(|status| status.trim() == "installed")
}

fn run_step(mut step: std::process::Command) -> Result<()> {
    step.stdout(std::process::Stdio::null());
    execute(step)
}
