//! Builds driver images.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    process::{cargo, execute},
    setup,
    workspace::{self, DRIVER_TARGET},
};

/// Sets up what is missing, builds the driver and puts the image at `target/package/sanproxy.sys`.
pub(crate) fn run() -> Result<PathBuf> {
    setup::run()?;
    execute(cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "sanproxy",
        "--target",
        DRIVER_TARGET,
    ]))
    .context("the driver does not build")?;
    let built = workspace::target().join(DRIVER_TARGET).join("release");
    let package = workspace::target().join("package");
    fs::create_dir_all(&package).with_context(|| format!("cannot make {}", package.display()))?;
    let image = package.join("sanproxy.sys");
    copy(&built.join("sanproxy.dll"), &image)?;
    copy(&built.join("sanproxy.pdb"), &package.join("sanproxy.pdb"))?;
    Ok(image)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
