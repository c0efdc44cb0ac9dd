//! Format and lints.

use anyhow::{Context, Result};

use crate::{
    process::{cargo, execute},
    setup,
    workspace::DRIVER_TARGET,
};

/// The packages that are linked into drivers.
const DRIVER_PACKAGES: [&str; 7] = [
    "sanproxy",
    "wdm",
    "sanproxy-abi",
    "sanproxy-registry",
    "minimal-driver",
    "faulty-driver",
    "library-driver",
];

/// Fails at the first finding.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    execute(cargo(["fmt", "--all", "--check"])).context("run `cargo fmt --all`")?;
    execute(cargo(["clippy", "--quiet", "--locked", "--all-targets"]))?;
    let packages = DRIVER_PACKAGES.iter().flat_map(|name| ["--package", name]);
    let driver = ["clippy", "--quiet", "--locked", "--target", DRIVER_TARGET];
    execute(cargo(driver.into_iter().chain(packages)))?;
    println!("Format and lints are clean");
    Ok(())
}
