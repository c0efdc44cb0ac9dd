//! Makes the driver package, as a whole or not at all.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use driver_package::{
    assemble::{Plan, Source, assemble},
    signing::{KeyPair, Signer},
    staging::Stage,
    stamp::Version,
};

use crate::{
    architecture::Architecture,
    build,
    process::{command, output},
    programs, workspace,
};

/// The stem of the package's files.
const STEM: &str = "sanproxy";

/// The INFs: file, and folder of the package that it makes installable.
const SOURCES: [(&str, &str); 2] = [("sanproxy", ""), ("sanproxy-edu", "edu")];

/// What the command line says about a package.
#[derive(Args)]
pub(crate) struct Options {
    /// The architecture
    #[arg(long, value_enum, default_value_t)]
    arch: Architecture,
    /// Package this unsigned image rather than building one
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Where the package goes [default: target/package, or target/package-arm64]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Sign with this certificate (PEM) rather than with a test certificate made for you
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The key of the certificate (PEM, without a password)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

/// Builds, stamps, checks, signs and verifies, then puts the package in its place.
pub(crate) fn run(options: &Options) -> Result<()> {
    let target = match &options.output {
        Some(folder) => folder.clone(),
        None => options.arch.package_folder(),
    };
    remove_on_interrupt(&target)?;
    let image = match &options.image {
        Some(image) => image.clone(),
        None => build::image(options.arch)?,
    };
    let plan = plan(&image, options)?;
    let pair = key_pair(options)?;
    let signer = Signer::new("osslsigncode", pair)?;
    let stage = Stage::begin(&target, STEM)?;
    assemble(&plan, &signer, stage.path())?;
    stage.publish()?;
    println!(
        "{}: version {}, signed by {}",
        target.display(),
        plan.version,
        signer.certificate().subject()
    );
    Ok(())
}

/// Ctrl-C leaves the previous package, and no half-made one beside it.
fn remove_on_interrupt(target: &Path) -> Result<()> {
    let folder = Stage::folder_of(target);
    ctrlc::set_handler(move || {
        // A program that is still signing may write once more: the next run removes what it leaves.
        let _ = fs::remove_dir_all(&folder);
        eprintln!("interrupted: the previous package is as it was");
        std::process::exit(130);
    })
    .context("cannot watch for Ctrl-C")
}

fn plan(image: &Path, options: &Options) -> Result<Plan> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(Plan {
        image_name: format!("{STEM}.sys"),
        image: read(image)?,
        sources: SOURCES
            .iter()
            .map(|(stem, folder)| source(stem, folder))
            .collect::<Result<_>>()?,
        others: others(options)?,
        architecture: options.arch.of_package(),
        version: Version::parse(version).with_context(|| format!("{version} is no version"))?,
        made: made()?,
    })
}

fn source(stem: &str, folder: &str) -> Result<Source> {
    let name = format!("inf/{stem}.inx");
    let path = workspace::root().join(&name);
    Ok(Source {
        folder: folder.to_string(),
        stem: stem.to_string(),
        text: fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        name,
    })
}

/// Files besides driver and INF: the header, and `sanctl`, unless an image from elsewhere is packaged.
///
/// `sanctl` is a program for x86-64; such a program cannot install drivers on a machine with another architecture.
fn others(options: &Options) -> Result<Vec<(String, Vec<u8>)>> {
    let header = workspace::root().join("include/sanproxy.h");
    let mut others = vec![("sanproxy.h".to_string(), read(&header)?)];
    if options.image.is_none() && options.arch == Architecture::X64 {
        let program = programs::run()?.join("sanctl.exe");
        others.push(("sanctl.exe".to_string(), read(&program)?));
    }
    Ok(others)
}

/// The time that the package bears: that of the sources, so that the same sources give the same package.
fn made() -> Result<u64> {
    if let Ok(text) = env::var("SOURCE_DATE_EPOCH") {
        return text
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds"));
    }
    let commit = output(command("git", ["log", "-1", "--format=%ct"]));
    if let Some(seconds) = commit.and_then(|text| text.trim().parse().ok()) {
        return Ok(seconds);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(now.context("the clock is before 1970")?.as_secs())
}

fn key_pair(options: &Options) -> Result<KeyPair> {
    match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => Ok(KeyPair {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        (None, None) => {
            let folder = workspace::target().join("test-certificate");
            Ok(KeyPair::of_developer(&folder, "openssl")?)
        }
        _ => bail!("--certificate and --key go together"),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
