//! The files that are installed in Wine, made of the shipped ones, and how little they differ from those.

use std::{fs, path::Path};

use driver_package::{
    date::Date,
    stamp::{Architecture, Version, stamp},
};
use object::{Object, read::pe::PeFile64};
use sanproxy_tests::image::{self, TestImage};

use crate::{Failure, Outcome, session};

const KERNEL: &[u8] = b"ntoskrnl.exe";
const COMPANION: &[u8] = b"ntosshim.exe";
/// Modules that Wine has itself, with all that is imported from them.
const OWN: &[(&[u8], &[u8])] = &[(b"cng.sys", b"BCryptGenRandom")];

/// What the INF has that Wine 8 does not know, and what it is given instead. Wine knows no decoration but the platform, and
/// no driver store to run a driver from (DIRID 13): the driver goes to the folder for drivers (DIRID 12).
const TRANSLATIONS: [(&str, &str); 3] = [
    ("NTamd64.10.0...19041", "NTamd64"),
    ("DefaultDestDir = 13", "DefaultDestDir = 12"),
    (r"%13%\", r"%12%\"),
];

/// Puts driver and INF into a folder.
pub(crate) fn stage(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    // A missing image is an error of the session here, told once per test.
    let driver = for_wine(&fs::read(TestImage::Sanproxy.path())?)?;
    fs::write(folder.join("sanproxy.sys"), driver)?;
    fs::write(folder.join("sanproxy.inf"), translated(&shipped_inf()?))?;
    Ok(())
}

/// The image with the companion's name in place of the kernel's.
fn for_wine(image: &[u8]) -> Result<Vec<u8>, Failure> {
    let places: Vec<usize> = image
        .windows(KERNEL.len())
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == KERNEL).then_some(at))
        .collect();
    let [at] = places.as_slice() else {
        return Err(format!("the driver names its kernel {} times", places.len()).into());
    };
    let mut image = image.to_vec();
    image
        .iter_mut()
        .skip(*at)
        .zip(COMPANION)
        .for_each(|(byte, new)| *byte = *new);
    Ok(image)
}

/// The INF as `cargo xtask package` stamps it.
fn shipped_inf() -> Result<String, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inf/sanproxy.inx");
    let version = Version::parse(env!("CARGO_PKG_VERSION")).ok_or("the version is no version")?;
    let date = Date::from_unix(0).ok_or("the date is no date")?;
    let source = fs::read_to_string(path)?;
    Ok(stamp(
        "sanproxy.inx",
        &source,
        Architecture::Amd64,
        date,
        version,
    )?)
}

fn translated(inf: &str) -> String {
    TRANSLATIONS
        .iter()
        .fold(inf.to_string(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn driver_in_wine_differs_from_the_shipped_one_in_the_name_of_the_kernel_alone() -> Outcome {
    let shipped = image::read(TestImage::Sanproxy);
    let staged = for_wine(&shipped)?;
    assert_eq!(staged.len(), shipped.len());
    let different: Vec<usize> = (0..)
        .zip(shipped.iter().zip(&staged))
        .filter_map(|(at, (old, new))| (old != new).then_some(at))
        .collect();
    let first = different.first().copied().unwrap_or_default();
    let last = different.last().copied().unwrap_or_default();
    // "krnl" and "shim" differ in every letter.
    assert_eq!((different.len(), last.saturating_sub(first)), (4, 3));
    let name_at = first.saturating_sub(4);
    assert_eq!(
        shipped.get(name_at..).map(|rest| rest.starts_with(KERNEL)),
        Some(true)
    );
    assert_eq!(
        staged
            .get(name_at..)
            .map(|rest| rest.starts_with(COMPANION)),
        Some(true)
    );
    Ok(())
}

#[test]
fn inf_in_wine_differs_from_the_shipped_one_in_what_wine_does_not_know_alone() -> Outcome {
    let shipped = shipped_inf()?;
    let staged = translated(&shipped);
    assert_eq!(staged.lines().count(), shipped.lines().count());
    let changes: Vec<(&str, &str)> = shipped
        .lines()
        .zip(staged.lines())
        .filter(|(old, new)| old != new)
        .collect();
    assert_eq!(
        changes,
        [
            ("DefaultDestDir = 13", "DefaultDestDir = 12"),
            (
                "%Provider% = Models, NTamd64.10.0...19041",
                "%Provider% = Models, NTamd64"
            ),
            ("[Models.NTamd64.10.0...19041]", "[Models.NTamd64]"),
            (
                r"ServiceBinary = %13%\sanproxy.sys",
                r"ServiceBinary = %12%\sanproxy.sys"
            ),
        ]
    );
    Ok(())
}

#[test]
fn every_import_of_the_driver_is_an_export_of_the_companion() -> Outcome {
    let driver = image::read(TestImage::Sanproxy);
    let companion = fs::read(session::built("ntosshim.exe"))?;
    let companion = PeFile64::parse(&*companion)?;
    // Not `Object::exports`, which leaves forwarders out.
    let table = companion.export_table()?.ok_or("it exports nothing")?;
    let exports: Vec<&[u8]> = table
        .exports()?
        .iter()
        .filter_map(|export| export.name)
        .collect();
    let missing: Vec<String> = PeFile64::parse(&*driver)?
        .imports()?
        .iter()
        .filter(|import| {
            let is_own = OWN.contains(&(import.library(), import.name()));
            let is_there = import.library() == KERNEL && exports.contains(&import.name());
            !is_own && !is_there
        })
        .map(|import| String::from_utf8_lossy(import.name()).into_owned())
        .collect();
    assert_eq!(missing, Vec::<String>::new());
    Ok(())
}
