//! The package: signed, vouched for by its catalogue, replaced as a whole or not at all.
//!
//! Cites san.md: R80, R81; security.md: C55.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use driver_package::{
    assemble::{PackageError, Plan, Source, assemble},
    authenticode,
    catalog::members,
    certificate::CertificateError,
    signing::{KeyPair, Signer, SigningError},
    staging::{Stage, StagingError},
    stamp::{Architecture, Version},
};
use object::{Object, ObjectSection, read::pe::PeFile64};
use sanproxy_tests::image::{self, TestImage};
use tempfile::TempDir;

fn source(folder: &str, stem: &str, text: &str) -> Source {
    Source {
        folder: folder.to_string(),
        stem: stem.to_string(),
        name: format!("inf/{stem}.inx"),
        text: text.to_string(),
    }
}

fn plan() -> Plan {
    Plan {
        image_name: "sanproxy.sys".to_string(),
        image: image::read(TestImage::Sanproxy),
        sources: vec![
            source("", "sanproxy", include_str!("../inf/sanproxy.inx")),
            source(
                "edu",
                "sanproxy-edu",
                include_str!("../inf/sanproxy-edu.inx"),
            ),
        ],
        others: vec![("sanproxy.h".to_string(), b"header".to_vec())],
        architecture: Architecture::Amd64,
        version: Version::parse("0.1.0").expect("a version"),
        made: 1_763_600_000,
    }
}

/// A certificate made for one test; `extra` are options of `openssl req`, and the last of a kind holds.
fn key_pair(folder: &Path, extra: &[&str]) -> KeyPair {
    let pair = KeyPair {
        certificate: folder.join("c.pem"),
        key: folder.join("k.pem"),
    };
    let status = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test",
        ])
        .args(extra)
        .arg("-keyout")
        .arg(&pair.key)
        .arg("-out")
        .arg(&pair.certificate)
        .output()
        .expect("openssl, which `cargo xtask setup` installs")
        .status;
    assert!(status.success());
    pair
}

const CODE: [&str; 2] = ["-addext", "extendedKeyUsage=codeSigning"];

struct Made {
    folder: TempDir,
    signer: Signer,
}

impl Made {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = key_pair(folder.path(), &CODE);
        let signer = Signer::new("osslsigncode", pair).expect("a signer");
        fs::create_dir(folder.path().join("package")).expect("a folder");
        let made = Self { folder, signer };
        assemble(&plan(), &made.signer, &made.file("")).expect("a package");
        made
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("package").join(name)
    }

    /// Changes one byte of a file.
    fn flip(&self, name: &str, offset: impl Fn(&[u8]) -> usize) {
        let mut bytes = fs::read(self.file(name)).expect("the file");
        let offset = offset(&bytes);
        bytes[offset] ^= 1;
        fs::write(self.file(name), bytes).expect("the file");
    }
}

/// The first byte of the code.
fn code(file: &[u8]) -> usize {
    let image = PeFile64::parse(file).expect("an image");
    let text = image.section_by_name(".text").expect("code");
    usize::try_from(text.file_range().expect("bytes").0).expect("an offset")
}

fn position(file: &[u8], of: &[u8]) -> usize {
    file.windows(of.len())
        .position(|window| window == of)
        .expect("it is there")
}

#[test]
fn package_has_every_file_and_their_checksums() {
    let made = Made::new();
    let list = fs::read_to_string(made.file("SHA256SUMS")).expect("the list");
    let names: Vec<&str> = list.lines().filter_map(|line| line.get(66..)).collect();
    assert_eq!(
        names,
        [
            "edu/sanproxy-edu.cat",
            "edu/sanproxy-edu.inf",
            "edu/sanproxy.sys",
            "sanproxy-test.cer",
            "sanproxy.cat",
            "sanproxy.h",
            "sanproxy.inf",
            "sanproxy.sys"
        ]
    );
    let output = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(made.file(""))
        .output()
        .expect("sha256sum");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn signed_image_is_the_tested_image_but_for_its_signature() {
    let tested = image::read(TestImage::Sanproxy);
    let made = Made::new();
    let signed = fs::read(made.file("sanproxy.sys")).expect("the image");
    assert_eq!(authenticode::is_signed(&tested), Some(false));
    assert_eq!(authenticode::is_signed(&signed), Some(true));
    assert_eq!(authenticode::hash(&signed), authenticode::hash(&tested));
    let contents = |file: &[u8]| -> Vec<Vec<u8>> {
        let image = PeFile64::parse(file).expect("an image");
        let data = image
            .sections()
            .map(|section| section.data().map(<[u8]>::to_vec));
        data.collect::<Result<_, _>>().expect("the sections")
    };
    assert_eq!(contents(&signed), contents(&tested));
}

#[test]
fn program_of_the_package_is_signed() {
    let made = Made::new();
    let mut plan = plan();
    // Any image will do.
    plan.others = vec![("sanctl.exe".to_string(), image::read(TestImage::Sanproxy))];
    let folder = made.folder.path().join("programs");
    fs::create_dir(&folder).expect("a folder");
    assemble(&plan, &made.signer, &folder).expect("a package");
    let verified = made.signer.verify(&folder.join("sanctl.exe"));
    verified.expect("a good signature");
    assert!(!folder.join("sanctl.unsigned").exists());
}

#[test]
fn signed_image_has_the_checksum_that_the_kernel_computes() {
    let made = Made::new();
    let signed = fs::read(made.file("sanproxy.sys")).expect("the image");
    let (stored, computed) = authenticode::checksums(&signed).expect("an image");
    assert_ne!(stored, 0);
    assert_eq!(stored, computed);
}

#[test]
fn catalog_lists_image_and_inf_by_their_hashes() {
    let made = Made::new();
    let catalog = fs::read(made.file("sanproxy.cat")).expect("the catalogue");
    let inf = fs::read(made.file("sanproxy.inf")).expect("the INF");
    let image = fs::read(made.file("sanproxy.sys")).expect("the image");
    let mut listed: Vec<_> = members(&catalog)
        .expect("a catalogue")
        .into_iter()
        .map(|member| (member.name, member.hash, member.is_image))
        .collect();
    listed.sort();
    let expected = [
        (
            "sanproxy.inf".to_string(),
            authenticode::flat_hash(&inf),
            false,
        ),
        (
            "sanproxy.sys".to_string(),
            authenticode::hash(&image).expect("an image"),
            true,
        ),
    ];
    assert_eq!(listed, expected);
}

#[test]
fn same_sources_and_certificate_give_the_same_bytes() {
    let made = Made::new();
    let again = made.folder.path().join("again");
    fs::create_dir(&again).expect("a folder");
    assemble(&plan(), &made.signer, &again).expect("a package");
    let list = |path: PathBuf| fs::read_to_string(path).expect("the list");
    assert_eq!(
        list(again.join("SHA256SUMS")),
        list(made.file("SHA256SUMS"))
    );
}

#[test]
fn image_with_a_flipped_byte_of_code_fails_its_signature() {
    let made = Made::new();
    made.signer
        .verify(&made.file("sanproxy.sys"))
        .expect("good");
    made.flip("sanproxy.sys", code);
    assert!(made.signer.verify(&made.file("sanproxy.sys")).is_err());
}

#[test]
fn image_with_a_flipped_byte_is_no_member_of_the_catalog() {
    let made = Made::new();
    let (image, catalog) = (made.file("sanproxy.sys"), made.file("sanproxy.cat"));
    made.signer.verify_member(&image, &catalog).expect("good");
    made.flip("sanproxy.sys", code);
    assert!(made.signer.verify_member(&image, &catalog).is_err());
}

#[test]
fn catalog_with_a_flipped_hash_fails_its_signature() {
    let made = Made::new();
    made.signer
        .verify(&made.file("sanproxy.cat"))
        .expect("good");
    let image = fs::read(made.file("sanproxy.sys")).expect("the image");
    let hash = authenticode::hash(&image).expect("an image");
    made.flip("sanproxy.cat", |file| position(file, &hash));
    assert!(made.signer.verify(&made.file("sanproxy.cat")).is_err());
    let image = made.file("sanproxy.sys");
    assert!(
        made.signer
            .verify_member(&image, &made.file("sanproxy.cat"))
            .is_err()
    );
}

#[test]
fn page_hash_with_a_flipped_byte_fails_the_signature() {
    let made = Made::new();
    // The list of page hashes begins with that of the headers, at offset 0; that of the code follows.
    let image = fs::read(made.file("sanproxy.sys")).expect("the image");
    let offset = u32::try_from(code(&image))
        .expect("an offset")
        .to_le_bytes();
    // The signature stands behind all that the unsigned image has.
    let table = image::read(TestImage::Sanproxy).len();
    made.flip("sanproxy.sys", |file| {
        table + position(&file[table..], &offset) + 5
    });
    assert!(made.signer.verify(&made.file("sanproxy.sys")).is_err());
}

#[test]
fn signature_of_somebody_else_is_refused() {
    let made = Made::new();
    let other = tempfile::tempdir().expect("a folder");
    let pair = key_pair(other.path(), &CODE);
    let stranger = Signer::new("osslsigncode", pair).expect("a signer");
    assert!(stranger.verify(&made.file("sanproxy.sys")).is_err());
}

#[test]
fn signing_program_that_is_missing_is_named_with_its_package() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = key_pair(folder.path(), &CODE);
    let error = Signer::new("osslsigncode-missing", pair).expect_err("no such program");
    assert!(matches!(error, SigningError::MissingTool { .. }));
    assert!(
        error.to_string().contains("apt-get install osslsigncode"),
        "{error}"
    );
}

#[test]
fn certificate_program_that_is_missing_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("certificate");
    let error = KeyPair::of_developer(&target, "openssl-missing").expect_err("no such program");
    assert!(
        error.to_string().contains("apt-get install openssl"),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn developer_certificate_is_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("certificate");
    let first = KeyPair::of_developer(&target, "openssl").expect("a certificate");
    let bytes = fs::read(&first.certificate).expect("the certificate");
    let key = fs::metadata(&first.key).expect("the key").permissions();
    assert_eq!(key.mode() & 0o077, 0, "the key is its owner's alone");
    let second = KeyPair::of_developer(&target, "openssl").expect("a certificate");
    assert_eq!(
        fs::read(&second.certificate).expect("the certificate"),
        bytes
    );
}

#[test]
fn certificate_that_has_expired_is_refused_with_its_days() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = key_pair(folder.path(), &CODE);
    let csr = folder.path().join("csr.pem");
    let extensions = folder.path().join("ext");
    fs::write(&extensions, "extendedKeyUsage=codeSigning").expect("a file");
    let run = |arguments: &[&str], files: &[(&str, &Path)]| {
        let mut command = Command::new("openssl");
        command.args(arguments);
        for (option, file) in files {
            command.arg(option).arg(file);
        }
        assert!(command.output().expect("openssl").status.success());
    };
    run(
        &["req", "-new", "-subj", "/CN=test"],
        &[("-key", &good.key), ("-out", &csr)],
    );
    let base = folder.path().join("ca");
    fs::create_dir(&base).expect("a folder");
    fs::write(base.join("index"), "").expect("a file");
    let configuration = folder.path().join("ca.conf");
    let text = format!(
        "[ca]\ndefault_ca=a\n[a]\ndatabase={0}/index\nnew_certs_dir={0}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n\
         [p]\ncommonName=supplied\n",
        base.display()
    );
    fs::write(&configuration, text).expect("a file");
    let expired = folder.path().join("expired.pem");
    run(
        &[
            "ca",
            "-batch",
            "-selfsign",
            "-startdate",
            "20200101000000Z",
            "-enddate",
            "20210101000000Z",
        ],
        &[
            ("-config", &configuration),
            ("-keyfile", &good.key),
            ("-in", &csr),
            ("-extfile", &extensions),
            ("-out", &expired),
        ],
    );
    let pair = KeyPair {
        certificate: expired,
        key: good.key,
    };
    let error = Signer::new("osslsigncode", pair).expect_err("an expired certificate");
    assert!(
        error
            .to_string()
            .contains("valid from 01/01/2020 to 01/01/2021"),
        "{error}"
    );
}

#[test]
fn certificate_that_is_none_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = key_pair(folder.path(), &CODE);
    fs::write(&pair.certificate, "no certificate").expect("a file");
    let error = Signer::new("osslsigncode", pair).expect_err("no certificate");
    assert!(matches!(
        error,
        SigningError::Certificate(CertificateError::NoCertificate { .. })
    ));
}

#[test]
fn certificate_that_is_not_for_code_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = key_pair(folder.path(), &["-addext", "extendedKeyUsage=serverAuth"]);
    let error = Signer::new("osslsigncode", pair).expect_err("not for code");
    assert!(matches!(
        error,
        SigningError::Certificate(CertificateError::NotForCode(_))
    ));
}

#[test]
fn inf_with_an_error_makes_no_package_and_names_file_and_line() {
    let made = Made::new();
    let mut plan = plan();
    plan.sources[0].text = plan.sources[0]
        .text
        .replace("DefaultDestDir = 13", "DefaultDestDir = 12");
    let error = assemble(&plan, &made.signer, &made.file("")).expect_err("a broken INF");
    assert!(matches!(error, PackageError::Inf(_)));
    assert!(
        error.to_string().contains("inf/sanproxy.inx:17: "),
        "{error}"
    );
}

#[test]
fn image_that_is_none_makes_no_package() {
    let made = Made::new();
    let mut plan = plan();
    plan.image = b"no image".to_vec();
    let error = assemble(&plan, &made.signer, &made.file("")).expect_err("no image");
    assert!(matches!(error, PackageError::NoImage(_)));
}

/// A folder with a package that only has a mark of its own.
fn published(folder: &Path) -> PathBuf {
    let target = folder.join("package");
    let stage = Stage::begin(&target, "sanproxy").expect("a stage");
    fs::write(stage.path().join("sanproxy.inf"), "old").expect("a file");
    stage.publish().expect("a package");
    target
}

fn mark(target: &Path) -> String {
    fs::read_to_string(target.join("sanproxy.inf")).expect("the package")
}

#[test]
fn new_package_takes_the_place_of_the_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = published(folder.path());
    let stage = Stage::begin(&target, "sanproxy").expect("a stage");
    fs::write(stage.path().join("sanproxy.inf"), "new").expect("a file");
    assert_eq!(mark(&target), "old");
    stage.publish().expect("a package");
    assert_eq!(mark(&target), "new");
    assert!(!Stage::folder_of(&target).exists());
}

#[test]
fn run_that_fails_leaves_the_old_package_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = published(folder.path());
    let stage = Stage::begin(&target, "sanproxy").expect("a stage");
    fs::write(stage.path().join("sanproxy.inf"), "new").expect("a file");
    drop(stage);
    assert_eq!(mark(&target), "old");
    assert!(!Stage::folder_of(&target).exists());
}

#[test]
fn leftovers_of_a_killed_run_are_removed_by_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = published(folder.path());
    let left = Stage::folder_of(&target);
    fs::create_dir(&left).expect("a folder");
    fs::write(left.join("sanproxy.dll"), "half").expect("a file");
    let stage = Stage::begin(&target, "sanproxy").expect("a stage");
    stage.publish().expect("a package");
    assert!(!target.join("sanproxy.dll").exists());
}

#[test]
fn two_runs_at_once_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = published(folder.path());
    let first = Stage::begin(&target, "sanproxy").expect("a stage");
    let second = Stage::begin(&target, "sanproxy").expect_err("busy");
    assert!(matches!(second, StagingError::Busy(_)));
    drop(first);
    drop(Stage::begin(&target, "sanproxy").expect("a stage"));
    assert_eq!(
        fs::read_dir(folder.path()).expect("the folder").count(),
        1,
        "the package alone is left"
    );
}

#[test]
fn folder_with_other_files_is_never_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = published(folder.path());
    fs::write(target.join("thesis.odt"), "years of work").expect("a file");
    let error = Stage::begin(&target, "sanproxy").expect_err("not a package");
    assert!(error.to_string().contains("thesis.odt"), "{error}");
    assert!(target.join("thesis.odt").exists());
}

#[test]
fn place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").expect("a file");
    let error = Stage::begin(&file.join("package"), "sanproxy").expect_err("below a file");
    assert!(
        error.to_string().contains(&*file.to_string_lossy()),
        "{error}"
    );
}

/// Ends `cargo xtask package` in the middle: the signing program stands still until it is told.
#[test]
fn package_interrupted_while_signing_leaves_the_old_one_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = published(folder.path());
    let began = folder.path().join("began");
    let program = folder.path().join("osslsigncode");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = sign ]; then touch '{}'; exec sleep 60; fi\n",
        began.display()
    );
    fs::write(&program, script).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    let search = std::env::var("PATH").expect("a search path");
    let mut child = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--package",
            "xtask",
            "--",
            "package",
            "--image",
        ])
        .arg(TestImage::Sanproxy.path())
        .arg("--output")
        .arg(&target)
        .env("PATH", format!("{}:{search}", folder.path().display()))
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("cargo");
    let start = std::time::Instant::now();
    while !began.exists() {
        assert!(start.elapsed().as_secs() < 120, "the signing never began");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Cargo has become the program that it runs: the signal reaches it.
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.expect("kill").success());
    assert_eq!(child.wait().expect("the run").code(), Some(130));
    assert_eq!(mark(&target), "old");
    assert!(!Stage::folder_of(&target).exists());
}
