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

/// A driver package of this workspace and where its image goes, below the target folder.
struct Driver {
    package: &'static str,
    folder: &'static str,
    image: &'static str,
}

const SANPROXY: Driver = Driver {
    package: "sanproxy",
    folder: "driver",
    image: "sanproxy",
};

/// Drivers that only the tests load.
const TEST_DRIVERS: [Driver; 3] = [
    Driver {
        package: "faulty-driver",
        folder: "test-drivers",
        image: "faulty",
    },
    Driver {
        package: "minimal-driver",
        folder: "test-drivers",
        image: "minimal",
    },
    Driver {
        package: "panicking-driver",
        folder: "test-drivers",
        image: "panicking",
    },
];

/// Sets up what is missing, builds the driver and puts the image at `target/driver/sanproxy.sys`.
pub(crate) fn run() -> Result<PathBuf> {
    setup::run()?;
    build(&SANPROXY)
}

/// Builds the drivers that the tests load into `target/test-drivers`.
pub(crate) fn test_drivers() -> Result<()> {
    TEST_DRIVERS
        .iter()
        .try_for_each(|driver| build(driver).map(drop))
}

fn build(driver: &Driver) -> Result<PathBuf> {
    let Driver {
        package,
        folder,
        image,
    } = driver;
    execute(cargo([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        package,
        "--target",
        DRIVER_TARGET,
    ]))
    .with_context(|| format!("the driver {package} does not build"))?;
    let built = workspace::target().join(DRIVER_TARGET).join("release");
    let folder = workspace::target().join(folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Cargo names both after the library: the package's name with underscores.
    let library = package.replace('-', "_");
    let path = folder.join(format!("{image}.sys"));
    copy(&built.join(format!("{library}.dll")), &path)?;
    copy(
        &built.join(format!("{library}.pdb")),
        &folder.join(format!("{image}.pdb")),
    )?;
    Ok(path)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
