//! Checkpoints: where a long trial stands, so that it goes on there with the bits it would have had.
//!
//! A file a trial, replaced as a whole: a header of eight bytes, the BLAKE3 digest of the rest, and the rest: a line
//! of JSON that says what follows, then arrays of little-endian numbers. It goes when the disk has the trial's record.

use super::StoreError;
use super::files::{remove, replace_durably};
use crate::spec::source::read_large;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder of checkpoints in a result folder.
pub const FOLDER: &str = "checkpoints";

const HEADER: &[u8; 8] = b"runnerc1";

/// Bytes before the JSON.
const BEFORE: usize = HEADER.len() + 32;

/// Where a trial stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// Updates done.
    pub iteration: usize,
    /// Seconds of training until then.
    pub seconds: f64,
    /// Arrays by name.
    pub floats: Vec<(String, Vec<f32>)>,
    /// Arrays of wider numbers by name.
    pub doubles: Vec<(String, Vec<f64>)>,
}

/// Names and lengths of the arrays.
#[derive(Serialize, Deserialize)]
struct Index {
    iteration: usize,
    seconds: f64,
    floats: Vec<(String, usize)>,
    doubles: Vec<(String, usize)>,
}

/// Where the checkpoint of a trial lies in the folder.
pub fn path(dir: &Path, trial: &str) -> PathBuf {
    dir.join(FOLDER).join(format!("{trial}.state"))
}

/// Replaces a trial's checkpoint.
pub fn write(dir: &Path, trial: &str, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let path = path(dir, trial);
    let rest =
        encode(checkpoint).map_err(|error| StoreError::Manifest { path: path.clone(), error: error.to_string() })?;
    replace_durably(&path, |file| {
        file.write_all(HEADER)?;
        file.write_all(blake3::hash(&rest).as_bytes())?;
        file.write_all(&rest)
    })
}

/// A trial's checkpoint; none where there is none, or where it is damaged: then the trial begins anew, which costs
/// time and changes nothing.
pub fn read(dir: &Path, trial: &str) -> Option<Checkpoint> {
    let bytes = read_large(&path(dir, trial)).ok()?;
    let rest = bytes.get(BEFORE..)?;
    let intact = &bytes[..HEADER.len()] == HEADER && blake3::hash(rest).as_bytes()[..] == bytes[HEADER.len()..BEFORE];
    intact.then(|| decode(rest)).flatten()
}

/// Removes a trial's checkpoint, if there is one.
pub fn forget(dir: &Path, trial: &str) -> Result<(), StoreError> {
    remove(&path(dir, trial))
}

/// Removes those of some trials, which a process left that was killed before it could.
pub fn forget_all(dir: &Path, trials: &HashSet<&str>) -> Result<(), StoreError> {
    let ended = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|id| trials.contains(id));
    files(dir)?.iter().filter(|path| ended(path)).try_for_each(|path| remove(path))
}

/// All checkpoints of a folder.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let folder = dir.join(FOLDER);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    Ok(super::listed(&folder)?.into_iter().filter(|path| super::is_named(path, "state")).collect())
}

fn encode(checkpoint: &Checkpoint) -> serde_json::Result<Vec<u8>> {
    let Checkpoint { iteration, seconds, floats, doubles } = checkpoint;
    let index = Index {
        iteration: *iteration,
        seconds: *seconds,
        floats: floats.iter().map(|(name, values)| (name.clone(), values.len())).collect(),
        doubles: doubles.iter().map(|(name, values)| (name.clone(), values.len())).collect(),
    };
    let mut bytes = serde_json::to_vec(&index)?;
    bytes.push(b'\n');
    floats.iter().flat_map(|(_, values)| values).for_each(|x| bytes.extend(x.to_le_bytes()));
    doubles.iter().flat_map(|(_, values)| values).for_each(|x| bytes.extend(x.to_le_bytes()));
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let line = bytes.iter().position(|byte| *byte == b'\n')?;
    let index: Index = serde_json::from_slice(&bytes[..line]).ok()?;
    let mut rest = &bytes[line + 1..];
    let mut numbers = |count: usize, width: usize| {
        let (head, tail) = rest.split_at_checked(count.checked_mul(width)?)?;
        rest = tail;
        Some(head)
    };
    let mut checkpoint = Checkpoint { iteration: index.iteration, seconds: index.seconds, ..Checkpoint::default() };
    for (name, count) in index.floats {
        let values = numbers(count, 4)?.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        checkpoint.floats.push((name, values.collect()));
    }
    for (name, count) in index.doubles {
        let number = |b: &[u8]| b.try_into().map_or(f64::NAN, f64::from_le_bytes);
        checkpoint.doubles.push((name, numbers(count, 8)?.chunks_exact(8).map(number).collect()));
    }
    Some(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_checkpoint_comes_back_and_a_damaged_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FOLDER)).unwrap();
        let checkpoint = Checkpoint {
            iteration: 7,
            seconds: 0.1,
            floats: vec![("a".into(), vec![-0.0, f32::MIN_POSITIVE]), ("b".into(), vec![])],
            doubles: vec![("c".into(), vec![0.1 + 0.2])],
        };
        write(dir.path(), "t", &checkpoint).unwrap();
        assert_eq!(read(dir.path(), "t"), Some(checkpoint));
        let bytes = fs::read(path(dir.path(), "t")).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(path(dir.path(), "t"), &changed).unwrap();
            assert_eq!(read(dir.path(), "t"), None, "byte {at}");
            fs::write(path(dir.path(), "t"), &bytes[..at]).unwrap();
            assert_eq!(read(dir.path(), "t"), None, "cut at {at}");
        }
    }
}
