//! The whole package: INFs stamped and checked, catalogue made, both signed and verified, checksums listed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    authenticode,
    catalog::{Catalog, CatalogError, Member},
    check::{Finding, check},
    checksums,
    date::Date,
    inf::Inf,
    signing::{Signer, SigningError},
    staging::CHECKSUM_LIST,
    stamp::{Architecture, StampError, Version, stamp},
};

/// An INF to be, and the folder of the package that it makes installable.
#[derive(Debug, Clone)]
pub struct Source {
    /// The folder within the package; empty for the package itself.
    pub folder: String,
    /// Its file name without `.inx`.
    pub stem: String,
    /// The name that findings show.
    pub name: String,
    /// The text.
    pub text: String,
}

/// What a package is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The image's file name.
    pub image_name: String,
    /// The image, unsigned.
    pub image: Vec<u8>,
    /// The INFs.
    pub sources: Vec<Source>,
    /// Other files: the header, programs; these are signed, and the catalogue knows none of them.
    pub others: Vec<(String, Vec<u8>)>,
    /// The architecture.
    pub architecture: Architecture,
    /// The version.
    pub version: Version,
    /// When it is made, in seconds since 1970.
    pub made: u64,
}

/// Why there is no package.
#[derive(Debug, Error)]
pub enum PackageError {
    /// An INF breaks rules.
    #[error("the INF cannot be packaged:{}", lines(.0))]
    Inf(Vec<Finding>),
    /// An INF cannot be stamped.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// The catalogue cannot be made.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Something is not signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The image is none.
    #[error("{0} is no 64-bit Windows image")]
    NoImage(String),
    /// The date is out of range.
    #[error("{0} seconds since 1970 are no date; accepted: 0 to 4102444799")]
    NoDate(u64),
    /// A file cannot be read or written.
    #[error("cannot write {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().fold(String::new(), |text, finding| {
        format!("{text}\n  {finding}")
    })
}

/// Makes the package in `folder`, which exists and is empty, and verifies what it made.
///
/// # Errors
///
/// An INF, the image or the certificate is not good, a program is missing, or a file cannot be written.
pub fn assemble(plan: &Plan, signer: &Signer, folder: &Path) -> Result<(), PackageError> {
    if authenticode::hash(&plan.image).is_none() {
        return Err(PackageError::NoImage(plan.image_name.clone()));
    }
    let infs = plan
        .sources
        .iter()
        .map(|source| checked(plan, source))
        .collect::<Result<Vec<_>, _>>()?;
    let unsigned = folder.join("unsigned");
    write(&unsigned, &plan.image)?;
    let image = folder.join(&plan.image_name);
    signer.sign_image(&unsigned, &image, plan.made)?;
    signer.verify(&image)?;
    remove(&unsigned)?;
    for (source, inf) in plan.sources.iter().zip(&infs) {
        let part = folder.join(&source.folder);
        make(&part)?;
        if !source.folder.is_empty() {
            write(&part.join(&plan.image_name), &read(&image)?)?;
        }
        installable(plan, source, inf, signer, &part)?;
    }
    for (name, bytes) in &plan.others {
        other(plan, signer, &folder.join(name), bytes)?;
    }
    let certificate = format!("{}-test.cer", stem(&plan.image_name));
    write(&folder.join(certificate), signer.certificate().der())?;
    list_checksums(folder)
}

/// Puts another file into the package; a program is signed.
fn other(plan: &Plan, signer: &Signer, path: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    if authenticode::hash(bytes).is_none() {
        return write(path, bytes);
    }
    let unsigned = path.with_extension("unsigned");
    write(&unsigned, bytes)?;
    signer.sign_image(&unsigned, path, plan.made)?;
    signer.verify(path)?;
    remove(&unsigned)
}

/// An INF that has passed the check.
struct Checked {
    text: String,
    inf: Inf,
}

fn checked(plan: &Plan, source: &Source) -> Result<Checked, PackageError> {
    let date = Date::from_unix(plan.made).ok_or(PackageError::NoDate(plan.made))?;
    let text = stamp(
        &source.name,
        &source.text,
        plan.architecture,
        date,
        plan.version,
    )?;
    let inf = Inf::parse(&source.name, &text).map_err(PackageError::Inf)?;
    let files = BTreeSet::from([plan.image_name.to_ascii_lowercase()]);
    let findings = check(&inf, &files);
    if findings.is_empty() {
        Ok(Checked { text, inf })
    } else {
        Err(PackageError::Inf(findings))
    }
}

/// Puts INF and catalogue beside the image in `folder`.
fn installable(
    plan: &Plan,
    source: &Source,
    checked: &Checked,
    signer: &Signer,
    folder: &Path,
) -> Result<(), PackageError> {
    let inf_name = format!("{}.inf", source.stem);
    write(&folder.join(&inf_name), checked.text.as_bytes())?;
    let image = folder.join(&plan.image_name);
    let catalog = Catalog {
        members: vec![
            Member::new(&plan.image_name, &read(&image)?),
            Member::new(&inf_name, checked.text.as_bytes()),
        ],
        hardware_ids: hardware_ids(&checked.inf),
        architecture: plan.architecture,
        made: plan.made,
    };
    let unsigned = folder.join("unsigned");
    write(&unsigned, &catalog.to_der()?)?;
    let name = checked
        .inf
        .entry("Version", "CatalogFile")
        .map_or("", |entry| entry.value(0));
    let path = folder.join(name);
    signer.sign_catalog(&unsigned, &path, plan.made)?;
    remove(&unsigned)?;
    signer.verify(&path)?;
    signer.verify_member(&image, &path)?;
    Ok(())
}

/// The identifiers of all models of an INF.
#[must_use]
pub fn hardware_ids(inf: &Inf) -> Vec<String> {
    let mut ids = Vec::new();
    for manufacturer in inf.entries("Manufacturer") {
        for decoration in manufacturer.values.get(1..).unwrap_or_default() {
            let section = format!("{}.{decoration}", manufacturer.value(0));
            for model in inf.entries(&section) {
                ids.extend(model.values.get(1..).unwrap_or_default().iter().cloned());
            }
        }
    }
    ids
}

fn list_checksums(folder: &Path) -> Result<(), PackageError> {
    let mut files = Vec::new();
    collect(folder, "", &mut files)?;
    files.sort();
    let list = checksums::list(
        files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice())),
    );
    write(&folder.join(CHECKSUM_LIST), list.as_bytes())
}

fn collect(
    folder: &Path,
    prefix: &str,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), PackageError> {
    let failed = |reason| PackageError::File {
        path: folder.to_path_buf(),
        reason,
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(failed)?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push((name, read(&entry.path())?));
        }
    }
    Ok(())
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> PackageError {
    let path = path.to_path_buf();
    move |reason| PackageError::File { path, reason }
}

fn make(path: &Path) -> Result<(), PackageError> {
    fs::create_dir_all(path).map_err(failed(path))
}

fn read(path: &Path) -> Result<Vec<u8>, PackageError> {
    fs::read(path).map_err(failed(path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    fs::write(path, bytes).map_err(failed(path))
}

fn remove(path: &Path) -> Result<(), PackageError> {
    fs::remove_file(path).map_err(failed(path))
}
