//! Files that appear whole: written beside their place, then renamed.

use super::StoreError;
use crate::spec::source::read_large;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Temporary files that are being written.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Writes a file beside its place and renames it there, so that it is complete or absent.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    replace_with(path, |file| file.write_all(bytes))
}

/// As [`replace`], and what processes left of the same file that were killed while they wrote it goes first.
pub fn replace_tidily(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    remove_abandoned(folder, |temporary| is_temporary_of(temporary, path))?;
    replace(path, bytes)
}

/// As [`replace`], and the disk has file and name before this returns, so that neither is lost with the power.
pub fn replace_durably(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> std::io::Result<()>,
) -> Result<(), StoreError> {
    replace_synced(path, write)?;
    sync_folder_of(path)
}

/// As [`replace_durably`] without the name, which several files of a folder have made durable by [`sync_folder_of`].
pub fn replace_synced(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> std::io::Result<()>,
) -> Result<(), StoreError> {
    replace_with(path, |file| {
        // Parquet is written byte by byte.
        let mut buffered = BufWriter::new(&mut *file);
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        file.sync_all()
    })
}

/// Makes the names in a file's folder durable.
pub fn sync_folder_of(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::Io { path: folder.into(), error })
}

/// As [`replace`], by whatever writes the file.
pub fn replace_with(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<(), StoreError> {
    let failed = |error| StoreError::Io { path: path.into(), error };
    let (temporary, mut file) = temporary(path).map_err(failed)?;
    let written = write(&mut file).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The half-written file is of no use; that it cannot be removed either says nothing new.
        let _ = fs::remove_file(&temporary);
    }
    unfinished().remove(&temporary);
    written.map_err(failed)
}

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what is being written, for a process that ends in a hurry; none is begun as long as the result is held.
pub fn remove_unfinished() -> impl Drop {
    let unfinished = unfinished();
    unfinished.iter().for_each(|path| drop(fs::remove_file(path)));
    unfinished
}

/// A new file beside a path, `.NAME.PROCESS.NUMBER.part`: never one that is there, nor what a link names.
fn temporary(path: &Path) -> std::io::Result<(PathBuf, File)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut unfinished = unfinished();
    loop {
        let mut own = OsString::from(".");
        own.push(name);
        own.push(format!(".{}.{}.part", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        let own = path.with_file_name(own);
        match OpenOptions::new().write(true).create_new(true).open(&own) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            opened => {
                let file = opened?;
                unfinished.insert(own.clone());
                return Ok((own, file));
            }
        }
    }
}

/// The file and the process that a temporary file's name speaks of; none where the name is not one of ours.
fn parts_of(name: &str) -> Option<(&str, u32)> {
    let (rest, number) = name.strip_prefix('.')?.strip_suffix(".part")?.rsplit_once('.')?;
    number.parse::<u64>().ok()?;
    let (file, process) = rest.rsplit_once('.')?;
    Some((file, process.parse().ok()?))
}

/// Whether a file of a result folder is one that a process was writing when it was killed; earlier versions wrote
/// `manifest.part` and the like.
pub fn is_temporary(path: &Path) -> bool {
    const EARLIER: [&str; 7] = ["manifest", "trials", "history", "traces", "layers", "baselines", "report"];
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let earlier = || name.strip_suffix(".part").is_some_and(|stem| EARLIER.contains(&stem) || is_id(stem));
    is_file(path) && (parts_of(name).is_some() || earlier())
}

/// Whether a file is what a process has written of another one.
pub fn is_temporary_of(temporary: &Path, path: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(String::from);
    let of = name(temporary).and_then(|name| Some(parts_of(&name)?.0.to_string()));
    is_file(temporary) && of.is_some() && of == name(path)
}

/// Removes temporary files that processes left in a folder; those of processes that are alive stay.
pub fn remove_left_behind(folder: &Path) -> Result<(), StoreError> {
    remove_abandoned(folder, is_temporary)
}

fn remove_abandoned(folder: &Path, is_ours: impl Fn(&Path) -> bool) -> Result<(), StoreError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_ours(path)) {
        let process = path.file_name().and_then(|name| Some(parts_of(name.to_str()?)?.1));
        let alive = |id: u32| id != std::process::id() && Path::new("/proc").join(id.to_string()).exists();
        if !process.is_some_and(alive) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Whether a text is the id of a trial: nothing else becomes part of a path.
pub fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether a path itself is a file, and no link to one.
pub fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

/// Whether a file is there, and no link to one, that holds just these bytes.
pub fn holds(path: &Path, bytes: &[u8]) -> bool {
    is_file(path) && read_large(path).is_ok_and(|there| there == bytes)
}

/// Refuses a folder inside of another that is a link, or no folder.
pub fn check_inside(dir: &Path, name: &str) -> Result<(), StoreError> {
    match fs::symlink_metadata(dir.join(name)) {
        Ok(meta) if meta.is_symlink() => Err(StoreError::Outside { dir: dir.into(), name: name.into() }),
        Ok(meta) if !meta.is_dir() => Err(StoreError::NotOurs { dir: dir.into(), name: name.into() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::Io { path: dir.join(name), error }),
    }
}

/// Refuses a folder that has the name of a file of ours, which could not be written.
pub fn check_no_folder(dir: &Path, name: &str) -> Result<(), StoreError> {
    match fs::symlink_metadata(dir.join(name)) {
        Ok(meta) if meta.is_dir() => Err(StoreError::NotOurs { dir: dir.into(), name: name.into() }),
        _ => Ok(()),
    }
}

/// Makes a folder inside of another, where it is really inside.
pub fn create_inside(dir: &Path, name: &str) -> Result<PathBuf, StoreError> {
    check_inside(dir, name)?;
    let folder = dir.join(name);
    create_folder(&folder)?;
    Ok(folder)
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::Io { path: path.into(), error }),
        _ => Ok(()),
    }
}

/// Makes a folder and those that it lies in.
pub fn create_folder(dir: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(dir).map_err(|error| StoreError::Io { path: dir.into(), error })
}
