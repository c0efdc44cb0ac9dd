//! Signatures, made and verified by `osslsigncode`, with a certificate of the developer's own or one that is given.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use thiserror::Error;

use crate::certificate::{Certificate, CertificateError};

/// Why something is not signed or a signature not good.
#[derive(Debug, Error)]
pub enum SigningError {
    /// A program is not installed.
    #[error("cannot run {program}: {reason}; on Debian and Ubuntu: sudo apt-get install {package}")]
    MissingTool {
        /// The program.
        program: String,
        /// The package that has it.
        package: &'static str,
        /// The system's error.
        reason: std::io::Error,
    },
    /// A program says no.
    #[error("{program} cannot {what} {}:\n{output}", file.display())]
    Refused {
        /// The program.
        program: String,
        /// What it was to do.
        what: &'static str,
        /// The file it was to do it to.
        file: PathBuf,
        /// What it printed.
        output: String,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key cannot be read.
    #[error("cannot read the key {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificate's file, PEM.
    pub certificate: PathBuf,
    /// The key's file, PEM, without a password.
    pub key: PathBuf,
}

impl KeyPair {
    /// The developer's own in `folder`, made there if it is not.
    ///
    /// # Errors
    ///
    /// `openssl` is missing or fails, or the folder cannot be written.
    pub fn of_developer(folder: &Path, openssl: &str) -> Result<Self, SigningError> {
        let pair = Self {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
        };
        if pair.certificate.exists() && pair.key.exists() {
            return Ok(pair);
        }
        let failed = |reason| SigningError::File {
            path: folder.to_path_buf(),
            reason,
        };
        let parent = folder.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        // Made elsewhere and moved: a half-made pair would be taken for a whole one.
        let new = tempfile::Builder::new()
            .prefix(".certificate-")
            .tempdir_in(parent)
            .map_err(failed)?;
        let mut command = Command::new(openssl);
        command
            .args(["req", "-x509", "-newkey", "rsa:3072", "-nodes", "-sha256"])
            .args(["-days", "1095", "-subj", "/CN=sanproxy test certificate"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "keyUsage=critical,digitalSignature"])
            .args(["-addext", "extendedKeyUsage=codeSigning"])
            .arg("-keyout")
            .arg(new.path().join("key.pem"))
            .arg("-out")
            .arg(new.path().join("certificate.pem"));
        run(command, "openssl", "make a certificate in", folder)?;
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(failed)?;
        }
        fs::rename(new.path(), folder).map_err(failed)?;
        Ok(pair)
    }
}

/// What signs and verifies.
#[derive(Debug, Clone)]
pub struct Signer {
    program: String,
    pair: KeyPair,
    certificate: Certificate,
}

impl Signer {
    /// A signer that runs `program` (`osslsigncode`).
    ///
    /// # Errors
    ///
    /// The program cannot be run, the certificate not be used, or the key not be read.
    pub fn new(program: &str, pair: KeyPair) -> Result<Self, SigningError> {
        let missing = |reason| SigningError::MissingTool {
            program: program.to_string(),
            package: "osslsigncode",
            reason,
        };
        Command::new(program)
            .arg("--version")
            .output()
            .map_err(missing)?;
        let certificate = Certificate::read(&pair.certificate)?;
        fs::File::open(&pair.key).map_err(|reason| SigningError::Key {
            path: pair.key.clone(),
            reason,
        })?;
        Ok(Self {
            program: program.to_string(),
            pair,
            certificate,
        })
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Signs an image, with a hash of each page: the kernel can then check a page when it reads it.
    ///
    /// `made` is the time that the signature bears, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The program fails.
    pub fn sign_image(&self, from: &Path, to: &Path, made: u64) -> Result<(), SigningError> {
        self.sign(from, to, made, &["-ph"])
    }

    /// Signs a catalogue; `made` as for an image.
    ///
    /// # Errors
    ///
    /// The program fails.
    pub fn sign_catalog(&self, from: &Path, to: &Path, made: u64) -> Result<(), SigningError> {
        self.sign(from, to, made, &[])
    }

    fn sign(
        &self,
        from: &Path,
        to: &Path,
        made: u64,
        options: &[&str],
    ) -> Result<(), SigningError> {
        let mut command = Command::new(&self.program);
        command
            .args(["sign", "-h", "sha256", "-time", &made.to_string()])
            .args(options)
            .arg("-certs")
            .arg(&self.pair.certificate)
            .arg("-key")
            .arg(&self.pair.key)
            .arg("-in")
            .arg(from)
            .arg("-out")
            .arg(to);
        run(command, "osslsigncode", "sign", from)
    }

    /// Verifies the signature within a file: an image (page hashes as well) or a catalogue.
    ///
    /// # Errors
    ///
    /// There is none, or it does not fit the file or the certificate.
    pub fn verify(&self, file: &Path) -> Result<(), SigningError> {
        let mut command = self.verification();
        command.arg("-in").arg(file);
        run(command, "osslsigncode", "verify", file)
    }

    /// Verifies that a file is a member of a catalogue, and the catalogue's signature.
    ///
    /// # Errors
    ///
    /// It is not, or the catalogue's signature is not good.
    pub fn verify_member(&self, file: &Path, catalog: &Path) -> Result<(), SigningError> {
        let mut command = self.verification();
        command.arg("-catalog").arg(catalog).arg("-in").arg(file);
        run(command, "osslsigncode", "find in the catalogue", file)
    }

    fn verification(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["verify", "-ignore-cdp", "-CAfile"])
            .arg(&self.pair.certificate);
        command
    }
}

/// Runs a program to its end; `package` is what installs it.
fn run(
    mut command: Command,
    package: &'static str,
    what: &'static str,
    file: &Path,
) -> Result<(), SigningError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|reason| SigningError::MissingTool {
            program: program.clone(),
            package,
            reason,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(SigningError::Refused {
        program,
        what,
        file: file.to_path_buf(),
        output: text.trim().to_string(),
    })
}
