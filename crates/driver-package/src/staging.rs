//! A folder that is replaced as a whole: it is made beside the old one and takes its place at the end.
//!
//! Whatever happens before that, a failure or Ctrl-C, leaves the old one as it was. The folder in the making is locked, so
//! that two runs cannot write into it; the lock is on the folder itself, which Unix systems allow and Windows does not.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The list of checksums, which marks a folder as a package.
pub const CHECKSUM_LIST: &str = "SHA256SUMS";

/// Why a folder is not replaced.
#[derive(Debug, Error)]
pub enum StagingError {
    /// A file or folder cannot be read or written.
    #[error("cannot {what} {}: {reason}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// Another run is at work.
    #[error("{} is being made by another run: wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// What is there is not a package.
    #[error(
        "{} is not replaced: it has `{found}`, and no package has; accepted: an empty folder, or a package", path.display()
    )]
    NotAPackage {
        /// The folder.
        path: PathBuf,
        /// What no package has.
        found: String,
    },
}

/// A folder in the making. Dropped without [`Stage::publish`], it is gone.
#[derive(Debug)]
pub struct Stage {
    new: PathBuf,
    target: PathBuf,
    _lock: File,
}

impl Stage {
    /// Begins to make `target`, which may hold a package of `stem` already.
    ///
    /// # Errors
    ///
    /// Another run is at work, `target` holds something else, or the folder around it cannot be written.
    pub fn begin(target: &Path, stem: &str) -> Result<Self, StagingError> {
        replaceable(target, stem)?;
        let new = Self::folder_of(target);
        fs::create_dir_all(&new).map_err(failed("make", &new))?;
        let lock = File::open(&new).map_err(failed("open", &new))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StagingError::Busy(target.to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &new)(error)),
        }
        // What a run that was killed has left: nobody else is at work here.
        clear(&new)?;
        remove(&beside(target, "old"))?;
        Ok(Self {
            new,
            target: target.to_path_buf(),
            _lock: lock,
        })
    }

    /// Where a package for `target` is made.
    #[must_use]
    pub fn folder_of(target: &Path) -> PathBuf {
        beside(target, "new")
    }

    /// The folder to write into.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.new
    }

    /// Puts the folder in its place.
    ///
    /// # Errors
    ///
    /// The system refuses; the old folder is then still there.
    pub fn publish(self) -> Result<(), StagingError> {
        if !self.target.exists() {
            return fs::rename(&self.new, &self.target)
                .map_err(failed("put in place", &self.target));
        }
        if exchange(&self.new, &self.target).is_ok() {
            return remove(&self.new);
        }
        // A file system that cannot exchange two folders.
        let old = beside(&self.target, "old");
        fs::rename(&self.target, &old).map_err(failed("replace", &self.target))?;
        if let Err(error) = fs::rename(&self.new, &self.target) {
            fs::rename(&old, &self.target).map_err(failed("restore", &self.target))?;
            return Err(failed("put in place", &self.target)(error));
        }
        remove(&old)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing more can be done about a folder that does not go: the next run tries again.
        let _ = remove(&self.new);
    }
}

/// `package` becomes `.package.new`.
fn beside(target: &Path, word: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{word}"))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StagingError {
    let path = path.to_path_buf();
    move |reason| StagingError::File { what, path, reason }
}

fn remove(path: &Path) -> Result<(), StagingError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what a folder holds, and not the folder.
fn clear(folder: &Path) -> Result<(), StagingError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        if path.is_dir() {
            remove(&path)?;
        } else {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// Refuses to replace a folder that holds anything but a package.
fn replaceable(target: &Path, stem: &str) -> Result<(), StagingError> {
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", target)(error)),
    };
    for entry in entries {
        let name = entry.map_err(failed("read", target))?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(stem) && !["edu", "sanctl.exe", CHECKSUM_LIST].contains(&&*name) {
            return Err(StagingError::NotAPackage {
                path: target.to_path_buf(),
                found: name.into_owned(),
            });
        }
    }
    Ok(())
}

/// Exchanges two folders in one step.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// Exchanges two folders in one step: no other system can.
#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
