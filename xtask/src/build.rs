//! Builds driver images.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use driver_package::authenticode;

use crate::{
    architecture::Architecture,
    identity,
    process::execute,
    setup,
    toolchain::Toolchain,
    workspace::{self, DRIVER_TARGET},
};

/// A driver package of this workspace and where its image goes, below the target folder.
struct Driver {
    package: &'static str,
    folder: &'static str,
    image: &'static str,
}

/// Drivers that only the tests load.
const TEST_DRIVERS: [Driver; 4] = [
    Driver {
        package: "faulty-driver",
        folder: "test-drivers",
        image: "faulty",
    },
    Driver {
        package: "library-driver",
        folder: "test-drivers",
        image: "library",
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

/// Sets up what is missing, builds the driver, and puts the image at `target/driver/sanproxy.sys` and into
/// `target/package`.
pub(crate) fn run() -> Result<PathBuf> {
    let image = image(Architecture::X64)?;
    publish(&image)?;
    Ok(image)
}

/// Sets up what is missing and builds the driver; no package is touched.
pub(crate) fn image(architecture: Architecture) -> Result<PathBuf> {
    let for_x64 = setup::run()?;
    let toolchain = match architecture {
        Architecture::X64 => for_x64,
        Architecture::Arm64 => Toolchain::find_or_install(architecture.target())?,
    };
    let driver = Driver {
        package: "sanproxy",
        folder: architecture.image_folder(),
        image: "sanproxy",
    };
    build(toolchain, &driver, architecture.target())
}

/// Puts the image into `target/package`, unless a signed copy of it is there already. A package made of another image goes:
/// its catalogue does not fit.
fn publish(image: &Path) -> Result<()> {
    let folder = workspace::target().join("package");
    let published = folder.join("sanproxy.sys");
    let content = |path: &Path| fs::read(path).ok().as_deref().and_then(authenticode::hash);
    if content(&published).is_some_and(|hash| Some(hash) == content(image)) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    copy(image, &published)
}

/// Builds the drivers that the tests load into `target/test-drivers`.
pub(crate) fn test_drivers() -> Result<()> {
    let toolchain = setup::run()?;
    TEST_DRIVERS
        .iter()
        .try_for_each(|driver| build(toolchain, driver, DRIVER_TARGET).map(drop))
}

fn build(toolchain: Toolchain, driver: &Driver, target: &str) -> Result<PathBuf> {
    let Driver {
        package,
        folder,
        image,
    } = driver;
    execute(toolchain.build(package, target)?)
        .with_context(|| format!("the driver {package} does not build"))?;
    let built = toolchain.output_folder(target);
    let folder = workspace::target().join(folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Cargo names both after the library: the package's name with underscores.
    let library = package.replace('-', "_");
    let mut bytes = read(&built.join(format!("{library}.dll")))?;
    let mut symbols = read(&built.join(format!("{library}.pdb")))?;
    identity::settle(&mut bytes, &mut symbols).with_context(|| format!("{library}.dll"))?;
    let path = folder.join(format!("{image}.sys"));
    write(&path, &bytes)?;
    write(&folder.join(format!("{image}.pdb")), &symbols)?;
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
