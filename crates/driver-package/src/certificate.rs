//! The certificate that signs: read, and refused before it is used if it cannot be good.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use der::{Decode, DecodePem, Encode};
use thiserror::Error;

use crate::date::Date;

/// What a certificate must allow: signing code.
const CODE_SIGNING: const_oid::ObjectIdentifier =
    const_oid::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// Why a certificate is not used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("cannot read the certificate {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
    /// The file is no certificate.
    #[error("{} is no X.509 certificate ({reason}); accepted: PEM or DER", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its time is over, or has not come.
    #[error(
        "the certificate {} is valid from {from} to {to} (month/day/year), not today; give another one, or remove the \
         test certificate's folder: the next run makes a new one", path.display()
    )]
    NotValidNow {
        /// The file.
        path: PathBuf,
        /// First day.
        from: String,
        /// Last day.
        to: String,
    },
    /// It is for something else.
    #[error(
        "the certificate {} is not for signing code; accepted: extended key usage 1.3.6.1.5.5.7.3.3", .0.display()
    )]
    NotForCode(PathBuf),
}

/// A certificate, read and found usable today.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Vec<u8>,
    subject: String,
}

impl Certificate {
    /// Reads a file in PEM or DER.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no certificate, is not valid today, or not for code.
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let bytes = fs::read(path).map_err(|reason| CertificateError::Unreadable {
            path: path.to_path_buf(),
            reason,
        })?;
        let certificate = x509_cert::Certificate::from_pem(&bytes)
            .or_else(|_| x509_cert::Certificate::from_der(&bytes));
        let unknown = |error: der::Error| CertificateError::NoCertificate {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let certificate = certificate.map_err(unknown)?;
        let content = certificate.tbs_certificate();
        let (from, to) = (
            content.validity().not_before.to_system_time(),
            content.validity().not_after.to_system_time(),
        );
        let now = SystemTime::now();
        if now < from || now > to {
            return Err(CertificateError::NotValidNow {
                path: path.to_path_buf(),
                from: day(from),
                to: day(to),
            });
        }
        if !is_for_code(content) {
            return Err(CertificateError::NotForCode(path.to_path_buf()));
        }
        Ok(Self {
            der: certificate.to_der().map_err(unknown)?,
            subject: content.subject().to_string(),
        })
    }

    /// The bytes of a `.cer` file.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Who it names.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

fn is_for_code(content: &x509_cert::certificate::TbsCertificate) -> bool {
    use x509_cert::ext::pkix::ExtendedKeyUsage;
    matches!(content.get_extension::<ExtendedKeyUsage>(), Ok(Some((_, usage))) if usage.0.contains(&CODE_SIGNING))
}

fn day(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| Date::from_unix(since.as_secs()))
        .map_or_else(|| "before 1970".to_string(), Date::inf)
}
