//! Who writes to a result folder: one process at a time, which readers need not ask.
//!
//! The operating system holds the lock and lets go of it when the process ends, however it ends; the file only says
//! who that is.

use super::StoreError;
use crate::spec::source::check_plain;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// The file that is locked.
pub const LOCK: &str = ".lock";

/// How long a run that starts waits for who has the folder.
const PATIENCE: Duration = Duration::from_millis(300);

/// A process that writes to a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// The machine that it runs on.
    pub host: String,
    /// Since when, RFC 3339, UTC.
    pub since: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}, since {}", self.pid, self.host, self.since)
    }
}

/// The right to write to a folder, until it is dropped.
pub struct Lock {
    file: File,
    /// A process that had it and ended without giving it back.
    pub left_by: Option<Holder>,
}

impl Lock {
    /// Takes hold of a folder; that of a process that is dead is taken over.
    ///
    /// # Errors
    /// Where a process that is alive has it.
    pub fn take(dir: &Path) -> Result<Lock, StoreError> {
        let path = dir.join(LOCK);
        let failed = |error| StoreError::Io { path: path.clone(), error };
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_symlink() => {
                return Err(StoreError::NotOurs { dir: dir.into(), name: LOCK.into() });
            }
            Ok(meta) => check_plain(&meta).map_err(|error| failed(error.into()))?,
            Err(_) => {}
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // A reader that looks who has it holds it for an instant.
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => std::thread::sleep(PATIENCE / 100),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::InUse { dir: dir.into(), holder: said(&mut file) });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let left_by = said(&mut file);
        let host = super::environment::host().unwrap_or_else(|| "an unknown host".into());
        let since = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let own = serde_json::to_vec(&Holder { pid: std::process::id(), host, since }).unwrap_or_default();
        write(&mut file, &own).map_err(failed)?;
        Ok(Lock { file, left_by })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nothing depends on the text; the lock itself goes with the file.
        let _ = write(&mut self.file, &[]);
    }
}

fn said(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.take(1 << 16).read_to_string(&mut text)).ok()?;
    serde_json::from_str(&text).ok()
}

fn write(file: &mut File, text: &[u8]) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text)
}

/// Who writes to a folder now, as far as its file says. Holds the folder for an instant, for which a run that starts
/// then waits.
pub fn holder(dir: &Path) -> Option<Holder> {
    let mut file = crate::spec::source::open(&dir.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => said(&mut file),
        _ => None,
    }
}
