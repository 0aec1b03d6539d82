//! Pictures of a single neuron, for `runner probe`.

use super::{ReportError, plots};
use crate::store::StoreError;
use crate::store::files::replace_tidily;
use std::path::{Path, PathBuf};

/// Draws the signals that answer a current, `NAME.svg` in a folder.
///
/// # Errors
/// Where a picture cannot be drawn or written.
pub fn response(
    dir: &Path,
    name: &str,
    current: &[f32],
    signals: &[(String, Vec<f32>)],
) -> Result<PathBuf, ReportError> {
    write(dir, name, &plots::probe::response(name, current, signals)?)
}

/// Draws firing rates over constant currents, `fi.svg` in a folder.
///
/// # Errors
/// As [`response`].
pub fn rates(dir: &Path, currents: &[f32], rates: &[f32]) -> Result<PathBuf, ReportError> {
    write(dir, "fi", &plots::probe::rates(currents, rates)?)
}

fn write(dir: &Path, name: &str, svg: &str) -> Result<PathBuf, ReportError> {
    std::fs::create_dir_all(dir).map_err(|error| StoreError::Io { path: dir.into(), error })?;
    let path = dir.join(format!("{name}.svg"));
    replace_tidily(&path, svg.as_bytes())?;
    Ok(path)
}
