//! Files that appear whole: written beside their place, then renamed.

use super::StoreError;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes a file beside its place and renames it there, so that it is complete or absent.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    replace_with(path, |file| file.write_all(bytes))
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

fn replace_with(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<(), StoreError> {
    let temporary = path.with_extension("part");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        write(&mut file)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        // The half-written file is of no use; that it cannot be removed either says nothing new.
        let _ = fs::remove_file(&temporary);
        StoreError::Io { path: path.into(), error }
    })
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
