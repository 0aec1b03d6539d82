//! How a trial that was run again agrees with all that a folder has of it: its rows of every table, and its weights with
//! their units.
//!
//! The new record goes through the code that made the tables, so a column that is stored is a column that is compared.
//! Only times are left out. What is not there, or not a number, equals nothing but itself.

use super::columns::{DATA_DIGEST, EXECUTOR, LATER, PARAMETERS};
use super::frames::Columns;
use super::record::Record;
use super::tables::Tables;
use super::{SCALE, StoreError, Weights, weights_file};
use crate::spec::source::read_large;
use polars::prelude::*;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The tables of a folder, with the rows of each trial.
pub struct StoredResults {
    dir: PathBuf,
    tables: Tables,
    /// Rows by trial, in the order of [`Tables::named`].
    places: Vec<HashMap<String, Vec<Range<usize>>>>,
}

/// A trial that was run again.
pub struct Repeat<'a> {
    /// What would be stored of it.
    pub record: &'a Record,
    /// Its weights, if it has any that would be.
    pub weights: Option<&'a Weights>,
    /// The columns of its study.
    pub columns: &'a Columns,
}

/// How a trial agrees with what is stored of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Agreement {
    /// Every bit is the same: so many numbers and texts of tables, so many tensors.
    Identical {
        /// Cells of tables.
        values: usize,
        /// Tensors of weights.
        tensors: usize,
    },
    /// Numbers differ by rounding, at most by so much.
    Within(f64),
    /// What differs first.
    Different(Difference),
}

/// What of a trial differs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Difference {
    /// It ended otherwise.
    #[error("it {stored} in trials.parquet, and {now} now")]
    End {
        /// How it ended, in words.
        stored: String,
        /// How it ends now.
        now: String,
    },
    /// What its dataset's program gave for it.
    #[error("its data differ from those that it was trained on")]
    Data,
    /// A value of a table.
    #[error("`{column}`{place} is {stored} in {file}, and {now} now")]
    Value {
        /// The table's file.
        file: &'static str,
        /// The column.
        column: String,
        /// Which row, in words.
        place: String,
        /// What is stored.
        stored: String,
        /// What there is now.
        now: String,
    },
    /// A table has more or fewer rows of it.
    #[error("{file} has {stored} rows of it, and there are {now} now")]
    Rows {
        /// The table's file.
        file: &'static str,
        /// Rows that are stored.
        stored: usize,
        /// Rows that there are now.
        now: usize,
    },
    /// A column that only one of both has values in.
    #[error("{file} has {} `{column}` of it, and there {} now", if *.stored { "a column" } else { "no column" }, if *.stored { "is none" } else { "is one" })]
    Column {
        /// The table's file.
        file: &'static str,
        /// The column.
        column: String,
        /// Whether it is the stored table that has it.
        stored: bool,
    },
    /// A column is of another type.
    #[error("`{column}` of {file} holds {stored}, and {now} now")]
    Type {
        /// The table's file.
        file: &'static str,
        /// The column.
        column: String,
        /// What is stored.
        stored: String,
        /// What there is now.
        now: String,
    },
    /// A file is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// Its weights.
    #[error("{file}: {what}")]
    Weights {
        /// The file.
        file: String,
        /// What differs.
        what: String,
    },
}

/// When and how fast a trial ran says nothing of its numbers.
const TIMES: [&str; 3] = ["started", "finished", "duration_s"];
/// Columns that say which row it is, beside the trial.
const PLACES: [&str; 7] = ["iteration", "sample", "layer", "neuron", "step", "channel", "baseline"];
/// Tables in which a number is held against the largest of its column: potentials pass through 0.
const BY_COLUMN: [&str; 2] = ["traces.parquet", "layers.parquet"];

/// The largest relative difference so far, or the first one that is too large.
type Largest = Result<f64, Difference>;

impl StoredResults {
    /// Reads the tables of a folder.
    pub fn read(dir: &Path) -> Result<StoredResults, StoreError> {
        let tables = Tables::read(dir)?;
        let mut places = Vec::new();
        for (_, table) in tables.named() {
            let mut rows: HashMap<String, Vec<Range<usize>>> = HashMap::new();
            let runs = if table.is_empty() { Vec::new() } else { table.runs("trial", usize::MAX)? };
            runs.into_iter().for_each(|(trial, stretch)| rows.entry(trial).or_default().push(stretch));
            places.push(rows);
        }
        Ok(StoredResults { dir: dir.into(), tables, places })
    }

    /// Whether sequences of a trial are stored.
    pub fn has_traces(&self, trial: &str) -> bool {
        self.has("traces.parquet", trial)
    }

    /// Whether states of a trial's neurons are stored.
    pub fn has_layers(&self, trial: &str) -> bool {
        self.has("layers.parquet", trial)
    }

    /// Whether weights of a trial are stored.
    pub fn has_weights(&self, trial: &str) -> bool {
        self.dir.join(weights_file(trial)).exists()
    }

    fn has(&self, file: &str, trial: &str) -> bool {
        let named = self.tables.named();
        named.iter().zip(&self.places).any(|((name, _), places)| *name == file && places.contains_key(trial))
    }

    /// Each table's file with its rows, and the trials that these are of.
    pub(super) fn tabled(&self) -> impl Iterator<Item = (&'static str, usize, HashSet<&str>)> {
        let tables = self.tables.named().into_iter().zip(&self.places);
        tables
            .map(|((file, table), places)| (file, table.frame().height(), places.keys().map(String::as_str).collect()))
    }

    /// Holds a trial against all that is stored of it; numbers may differ by `tolerance`, relative.
    ///
    /// # Errors
    /// Where what is stored cannot be read.
    pub fn agrees(&self, again: &Repeat<'_>, tolerance: f64) -> Result<Agreement, StoreError> {
        let Repeat { record, weights, columns } = *again;
        let one = std::slice::from_ref(record);
        let now = Tables::default().with(one, columns, &|_, _| (0, 0), &self.dir)?;
        let (mut largest, mut values) = (0.0_f64, 0);
        for (((file, stored), (_, now)), places) in self.tables.named().into_iter().zip(now.named()).zip(&self.places) {
            let rows = places.get(&record.trial).into_iter().flatten().cloned().flatten();
            let now = now.frame();
            match table(file, stored.frame(), rows, now, tolerance).map_err(|error| stored.unreadable(&error))? {
                Ok(difference) => largest = largest.max(difference),
                Err(difference) => return Ok(Agreement::Different(difference)),
            }
            values += now.height() * now.width();
        }
        match self.weights(&record.trial, weights, tolerance)? {
            Ok(difference) => largest = largest.max(difference),
            Err(difference) => return Ok(Agreement::Different(difference)),
        }
        let tensors = weights.map_or(0, |weights| weights.parameters.len());
        Ok(if largest > 0.0 { Agreement::Within(largest) } else { Agreement::Identical { values, tensors } })
    }

    fn weights(&self, trial: &str, now: Option<&Weights>, tolerance: f64) -> Result<Largest, StoreError> {
        let file = weights_file(trial);
        let path = self.dir.join(&file);
        let wrong = |what: String| Err(Difference::Weights { file: file.clone(), what });
        let bytes = match read_large(&path).map_err(std::io::Error::from) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(if now.is_some() { Err(Difference::Missing(file)) } else { Ok(0.0) });
            }
            Err(error) => return Err(StoreError::Io { path, error }),
        };
        let Some(now) = now else { return Ok(wrong("the trial has no weights now".into())) };
        let failed =
            |error: safetensors::SafeTensorError| StoreError::Table { dir: path.clone(), error: error.to_string() };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(failed)?;
        let stored = SafeTensors::deserialize(&bytes).map_err(failed)?;
        let units = now.units(&path)?;
        Ok(tensors(&stored, now, tolerance)
            .and_then(|largest| Ok(largest.max(metadata(header.metadata(), units.as_deref(), tolerance)?)))
            .or_else(wrong))
    }
}

/// Holds the rows of a trial against those that there are now.
fn table(
    file: &'static str,
    stored: &DataFrame,
    rows: impl Iterator<Item = usize>,
    now: &DataFrame,
    tolerance: f64,
) -> PolarsResult<Largest> {
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let stored = &stored.take(&IdxCa::new("rows".into(), rows))?;
    if stored.height() != now.height() {
        return Ok(Err(Difference::Rows { file, stored: stored.height(), now: now.height() }));
    }
    let is_empty = |name: &str| stored.column(name).map_or(true, |column| column.null_count() == column.len());
    // What an earlier version of the program did not write.
    let earlier = |name: &str| LATER.contains(&name) && is_empty(name) && is_empty(PARAMETERS) && is_empty(EXECUTOR);
    let mut largest = 0.0_f64;
    for new in now.columns().iter().filter(|column| !TIMES.contains(&column.name().as_str())) {
        let Ok(old) = stored.column(new.name()) else {
            if new.null_count() == new.len() || earlier(new.name()) {
                continue;
            }
            return Ok(Err(Difference::Column { file, column: new.name().to_string(), stored: false }));
        };
        if earlier(new.name()) {
            continue;
        }
        let column = new.name().to_string();
        if old.dtype().is_nested() || old.dtype() == &DataType::Binary {
            let (stored, now) = (old.dtype().to_string(), new.dtype().to_string());
            return Ok(Err(Difference::Type { file, column, stored, now }));
        }
        match cells(old, new, BY_COLUMN.contains(&file), tolerance)? {
            Ok(difference) => largest = largest.max(difference),
            Err(_) if new.name() == DATA_DIGEST => return Ok(Err(Difference::Data)),
            Err(_) if new.name() == "status" => {
                return Ok(Err(Difference::End { stored: end(stored), now: end(now) }));
            }
            Err((row, stored, text)) => {
                return Ok(Err(Difference::Value { file, column, place: place(now, row), stored, now: text }));
            }
        }
    }
    let names: BTreeSet<&str> = now.get_column_names().into_iter().map(|name| name.as_str()).collect();
    for column in stored.columns().iter().filter(|column| !names.contains(column.name().as_str())) {
        // Other trials of the study may have columns that this one lacks.
        if column.null_count() < column.len() {
            return Ok(Err(Difference::Column { file, column: column.name().to_string(), stored: true }));
        }
    }
    Ok(Ok(largest))
}

/// How a trial ended, in words, from its row.
fn end(trials: &DataFrame) -> String {
    let error = trials.column("error").ok().and_then(|column| column.get(0).ok()?.get_str().map(String::from));
    error.map_or("completed".into(), |error| format!("failed ({error})"))
}

/// Which row of a table it is, in words.
fn place(table: &DataFrame, row: usize) -> String {
    let of = |name: &&str| {
        let value = table.column(name).ok()?.get(row).ok()?;
        Some(format!("{name} {}", value.get_str().map_or_else(|| value.to_string(), String::from)))
    };
    let parts: Vec<String> = PLACES.iter().filter_map(of).collect();
    if parts.is_empty() { String::new() } else { format!(" of {}", parts.join(", ")) }
}

/// The largest relative difference of two columns; the first row that differs by more than `tolerance`, with both values.
fn cells(
    old: &Column,
    new: &Column,
    by_column: bool,
    tolerance: f64,
) -> PolarsResult<Result<f64, (usize, String, String)>> {
    if !old.dtype().is_float() && !new.dtype().is_float() {
        let (old, new) = (old.cast(&DataType::String)?, new.cast(&DataType::String)?);
        let pairs = old.str()?.iter().zip(new.str()?.iter());
        let shown = |text: Option<&str>| text.unwrap_or("nothing").to_string();
        let differs = pairs.enumerate().find(|(_, (old, new))| !same_text(*old, *new));
        return Ok(differs.map_or(Ok(0.0), |(row, (old, new))| Err((row, shown(old), shown(new)))));
    }
    // A stored column of texts holds numbers where a sweep grew to be of both.
    // What was stored in half as many bits is compared in these.
    let new = if old.dtype() == &DataType::Float32 { &new.cast(&DataType::Float32)? } else { new };
    let (old, new) = (old.cast(&DataType::Float64)?, new.cast(&DataType::Float64)?);
    let (old, new) = (old.f64()?, new.f64()?);
    let size =
        |column: &Float64Chunked| column.iter().flatten().map(f64::abs).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let scale = by_column.then(|| size(old).max(size(new)));
    let mut largest = 0.0_f64;
    for (row, pair) in old.iter().zip(new.iter()).enumerate() {
        let difference = match pair {
            (None, None) => 0.0,
            (Some(a), Some(b)) => relative(a, b, scale.unwrap_or_else(|| a.abs().max(b.abs()))),
            _ => f64::INFINITY,
        };
        if difference > tolerance {
            let shown = |value: Option<f64>| value.map_or("nothing".into(), |value| format!("{value:?}"));
            return Ok(Err((row, shown(pair.0), shown(pair.1))));
        }
        largest = largest.max(difference);
    }
    Ok(Ok(largest))
}

/// Whether two texts are the same, or the same number: values of a sweep are texts where not all of them are numbers.
fn same_text(a: Option<&str>, b: Option<&str>) -> bool {
    let number = |text: Option<&str>| text?.parse::<f64>().ok();
    a == b || matches!((number(a), number(b)), (Some(a), Some(b)) if a == b && a.abs() < (1_u64 << 53) as f64)
}

/// How far two numbers are apart, of `scale`: 0 exactly where their bits are the same, or both are NaN.
pub fn relative(a: f64, b: f64, scale: f64) -> f64 {
    if a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() {
        return 0.0;
    }
    match (a - b).abs() / scale {
        difference if difference.is_finite() => difference.max(f64::MIN_POSITIVE),
        // Zeros of both signs; else one is not finite, and so near to nothing but itself.
        _ if a == b => f64::MIN_POSITIVE,
        _ => f64::INFINITY,
    }
}

/// The largest difference of tensors, relative to the largest number of each; what differs first.
fn tensors(stored: &SafeTensors<'_>, now: &Weights, tolerance: f64) -> Result<f64, String> {
    let mut largest = 0.0_f64;
    for (name, shape, values) in &now.parameters {
        let old = stored.tensor(name).map_err(|_| format!("there is no `{name}` in it"))?;
        if old.dtype() != Dtype::F32 || old.shape() != shape.as_slice() {
            let (dtype, old) = (old.dtype(), old.shape());
            return Err(format!("`{name}` is {dtype:?} of the shape {old:?}, and F32 of the shape {shape:?} now"));
        }
        let old: Vec<f64> =
            old.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect();
        let values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        let finite = old.iter().chain(&values).filter(|value| value.is_finite());
        let scale = finite.fold(0.0_f64, |scale, value| scale.max(value.abs()));
        for (i, (old, new)) in old.iter().zip(&values).enumerate() {
            let difference = relative(*old, *new, scale);
            if difference > tolerance {
                return Err(format!("number {i} of `{name}` is {old:?} in it, and {new:?} now"));
            }
            largest = largest.max(difference);
        }
    }
    match stored.names().into_iter().find(|name| now.parameters.iter().all(|(other, ..)| other != *name)) {
        Some(more) => Err(format!("`{more}` is in it, and the network has no such parameter now")),
        None => Ok(largest),
    }
}

/// The largest difference of the units that weights were fitted in; what differs first.
fn metadata(stored: &Option<HashMap<String, String>>, units: Option<&str>, tolerance: f64) -> Result<f64, String> {
    let stored = stored.iter().flatten();
    if let Some((key, _)) = stored.clone().find(|(key, _)| *key != SCALE) {
        return Err(format!("it has `{key}` among its metadata, which is not ours"));
    }
    match (stored.clone().next().map(|(_, text)| text.as_str()), units) {
        (None, None) => Ok(0.0),
        (Some(old), Some(new)) => {
            let json =
                |text: &str| serde_json::from_str(text).map_err(|_| format!("the units (`{SCALE}`) are not JSON"));
            let difference = json_apart(&json(old)?, &json(new)?);
            let text = || format!("the units (`{SCALE}`) that it was trained in are {old}, and {new} now");
            if difference > tolerance { Err(text()) } else { Ok(difference) }
        }
        (Some(_), None) => Err(format!("it has units (`{SCALE}`), and there are none now")),
        (None, Some(_)) => Err(format!("it lacks the units (`{SCALE}`) that it was trained in")),
    }
}

/// The largest relative difference of the numbers of two documents; infinite where anything else differs.
fn json_apart(a: &serde_json::Value, b: &serde_json::Value) -> f64 {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Number(a), Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => relative(a, b, a.abs().max(b.abs())),
            _ => f64::INFINITY,
        },
        (Array(a), Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).map(|(a, b)| json_apart(a, b)).fold(0.0, f64::max)
        }
        (Object(a), Object(b)) if a.len() == b.len() => {
            a.iter().map(|(key, a)| b.get(key).map_or(f64::INFINITY, |b| json_apart(a, b))).fold(0.0, f64::max)
        }
        _ if a == b => 0.0,
        _ => f64::INFINITY,
    }
}
