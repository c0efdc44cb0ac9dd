//! Why a command failed: what went wrong, what to do about it, and the exit code.

use std::io;

use sanproxy_provider::{Error, Status, SystemError};
use serde::Serialize;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// The driver or the system refused.
    Failed,
    /// The command line or a line of a script is wrong.
    Usage,
    /// The driver is not installed, or its device is not started.
    NoDevice,
    /// The program does not run as an administrator.
    NoRights,
    /// A check found something wrong.
    Wrong,
    /// All is well so far; the system has to be restarted to go on.
    Restart,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NoDevice,
        Self::NoRights,
        Self::Wrong,
        Self::Restart,
        Self::Interrupted,
    ];

    /// The number that the program ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoDevice => 3,
            Self::NoRights => 4,
            Self::Wrong => 5,
            Self::Restart => 6,
            Self::Interrupted => 130,
        }
    }
}

/// A command that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What went wrong, in a sentence.
    pub message: String,
    /// What to do about it.
    pub cure: Option<String>,
    /// The driver's status, if it refused.
    pub status: Option<Status>,
    /// The Win32 error, if the system refused.
    pub win32: Option<u32>,
}

/// A failure as `--json` prints it.
#[derive(Serialize)]
struct Record<'a> {
    error: &'a str,
    cure: Option<&'a str>,
    exit_code: u8,
    status: Option<String>,
    win32_error: Option<u32>,
}

impl Failure {
    /// A failure of some kind.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            cure: None,
            status: None,
            win32: None,
        }
    }

    /// The command line is wrong.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A check found something wrong.
    #[must_use]
    pub fn wrong(message: impl Into<String>) -> Self {
        Self::new(Exit::Wrong, message)
    }

    /// Ctrl-C came.
    #[must_use]
    pub fn interrupted(what: &str) -> Self {
        Self::new(Exit::Interrupted, format!("interrupted: {what}"))
    }

    /// With advice.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    /// The failure as one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let record = Record {
            error: &self.message,
            cure: self.cure.as_deref(),
            exit_code: self.exit.code(),
            status: self.status.map(|status| status.to_string()),
            win32_error: self.win32,
        };
        serde_json::to_string(&record).unwrap_or_else(|_| self.message.clone())
    }
}

/// What an administrator does to become one.
const RUN_AS_ADMINISTRATOR: &str =
    "run it in a terminal that was opened with \"Run as administrator\"";
/// What lets a test-signed driver load.
pub(crate) const TEST_SIGNING: &str = "for a test-signed driver: turn Secure Boot off, run \
     \"bcdedit /set testsigning on\", restart, and import the test certificate (docs/windows-vm.md); \
     a driver for others needs a signature of Microsoft";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = error.status();
        let mut failure = Self::new(Exit::Failed, error.to_string());
        failure.status = status;
        if matches!(
            status,
            Some(Status::DEVICE_NOT_READY | Status::DELETE_PENDING)
        ) {
            failure.exit = Exit::NoDevice;
        }
        failure.cure = status.and_then(cure_of_status).map(str::to_owned);
        failure
    }
}

/// What to do about a refusal of the driver.
fn cure_of_status(status: Status) -> Option<&'static str> {
    let cure = match status {
        Status::QUOTA_EXCEEDED => {
            "release something, or raise the limits: sanctl quota shows and sets them"
        }
        Status::INSUFFICIENT_RESOURCES => {
            "ask for less, for pieces (--pieces) or for another node (--other-node); memory is least \
             fragmented after a restart, which is when to take a large reserve (sanctl quota \
             ReserveBytes=...)"
        }
        Status::DEVICE_NOT_READY => "start the device: pnputil /restart-device, or sanctl install",
        Status::DELETE_PENDING => "the device is on its way out; open it again when it is back",
        Status::NOT_SUPPORTED => "sanctl info lists the kinds of memory that this device offers",
        Status::REVISION_MISMATCH => "install the driver and sanctl of one package",
        _ => return None,
    };
    Some(cure)
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        let (exit, cure) = match error.code {
            5 | 740 => (Exit::NoRights, Some(RUN_AS_ADMINISTRATOR)),
            // Signature: certificate chains, catalogues, policies of SetupAPI and the loader.
            0x800B_0100 | 0x800B_0101 | 0x800B_0109 | 0x800B_010A | 0xE000_022F | 0xE000_0240
            | 0xE000_0241 | 0xE000_0242 | 0xE000_0244 | 0xE000_0247 | 577 | 1275 => {
                (Exit::Failed, Some(TEST_SIGNING))
            }
            0xE000_0217 | 0xE000_0100..=0xE000_0102 => (
                Exit::Failed,
                Some("the INF is damaged or not for this Windows: take the one of the package"),
            ),
            0xE000_0203 | 0xE000_0228 => (
                Exit::Failed,
                Some("the INF is for another device or another processor"),
            ),
            2 | 3 => (
                Exit::Failed,
                Some("a file is not there: keep sanproxy.inf, .sys and .cat in one folder"),
            ),
            32 => (
                Exit::Failed,
                Some("another program has a file open: close it and try again"),
            ),
            _ => (Exit::Failed, None),
        };
        let mut failure = Self::new(exit, error.to_string());
        failure.cure = cure.map(str::to_owned);
        failure.win32 = Some(error.code);
        failure
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}

/// The program does not run as an administrator.
pub(crate) fn not_administrator(what: &str) -> Failure {
    Failure::new(Exit::NoRights, format!("{what} takes an administrator"))
        .cure(RUN_AS_ADMINISTRATOR)
}

/// A refusal of something that the driver does for administrators only.
pub(crate) fn for_administrators(error: Error, what: &str) -> Failure {
    let status = error.status();
    if status != Some(Status::ACCESS_DENIED) {
        return error.into();
    }
    let mut failure = not_administrator(what);
    failure.status = status;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_all_different() {
        let mut codes = Exit::ALL.map(Exit::code);
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn access_denied_by_the_system_asks_for_an_administrator() {
        let failure = Failure::from(SystemError::new("open", 5, "Access is denied."));
        assert_eq!(failure.exit, Exit::NoRights);
        assert!(failure.cure.unwrap().contains("administrator"));
    }

    #[test]
    fn untrusted_signature_names_test_signing() {
        let failure = Failure::from(SystemError::new("install", 0xE000_0247, "refused"));
        assert!(failure.cure.unwrap().contains("testsigning on"));
    }

    #[test]
    fn json_of_a_failure_has_cause_cure_and_exit_code() {
        let failure = Failure::new(Exit::Failed, "a \"b\"").cure("c");
        let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(json["error"], "a \"b\"");
        assert_eq!(json["cure"], "c");
        assert_eq!(json["exit_code"], 1);
    }
}
