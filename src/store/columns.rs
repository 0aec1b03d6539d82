//! A table of a result folder, read by the names and types of its columns. Every reader of such a table goes through
//! here, because a folder may come from a stranger: rows, order and types are looked at before anything is indexed.
//!
//! Types are read as a person means them: a whole number may be of any width, but is never below zero, a number may be
//! a whole one, and a text is a text.

use super::files::is_id;
use super::{StoreError, parquet};
use polars::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The column of trials.parquet with the digest of what a program gave.
pub const DATA_DIGEST: &str = "data_digest";
/// That with the numbers in the parameters of the trial's network.
pub const PARAMETERS: &str = "parameters";
/// That with the executor that ran the trial.
pub const EXECUTOR: &str = "executor";
/// Columns that tables of earlier versions lack; in their rows they are empty.
pub const LATER: [&str; 3] = [DATA_DIGEST, PARAMETERS, EXECUTOR];

/// What is wrong with a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// It is not there.
    #[error("there is no column `{column}`, where {kind} should be")]
    Missing {
        /// Its name.
        column: String,
        /// What it should hold.
        kind: &'static str,
    },
    /// It holds something else.
    #[error("column `{column}` holds {found}, where {kind} should be")]
    Kind {
        /// Its name.
        column: String,
        /// What it holds, as Parquet calls it.
        found: String,
        /// What it should hold.
        kind: &'static str,
    },
    /// A cell holds what cannot be.
    #[error("row {row}, column `{column}`: {what}")]
    Cell {
        /// The row, from 1.
        row: usize,
        /// The column.
        column: String,
        /// What is wrong.
        what: String,
    },
    /// Rows are not the cells of a grid.
    #[error("rows {first} to {last} should be one row for each {of}, and are not")]
    Grid {
        /// The first row, from 1.
        first: usize,
        /// The last.
        last: usize,
        /// The columns that say which cell a row is.
        of: String,
    },
}

/// A table with the file that it is of.
#[derive(Debug, Default)]
pub struct StoredTable {
    path: PathBuf,
    frame: DataFrame,
}

impl StoredTable {
    /// Some columns of a table, as far as it has them, or all; empty where the file is not there.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn read(dir: &Path, name: &str, only: Option<&[&str]>) -> Result<StoredTable, StoreError> {
        let path = dir.join(name);
        let failed = |path: &Path, error: String| StoreError::Table { dir: path.into(), error };
        match crate::spec::source::open(&path).map_err(std::io::Error::from) {
            Ok(file) => match parquet::read(file, only) {
                Ok(frame) => Ok(StoredTable { path, frame }),
                Err(error) => Err(failed(&path, error)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(StoredTable { path, frame: DataFrame::default() })
            }
            Err(error) => Err(StoreError::Io { path, error }),
        }
    }

    /// Whether it has no rows; then it may have no columns either.
    pub fn is_empty(&self) -> bool {
        self.frame.height() == 0
    }

    /// The columns as polars has them.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// As [`StoredTable::frame`].
    pub fn frame_mut(&mut self) -> &mut DataFrame {
        &mut self.frame
    }

    /// Other columns and rows of the same file.
    pub fn with_frame(self, frame: DataFrame) -> StoredTable {
        StoredTable { frame, ..self }
    }

    /// Some of its rows, in their order.
    pub fn of_rows(self, rows: impl Iterator<Item = usize>) -> Result<StoredTable, StoreError> {
        let rows: Vec<u32> = rows.map(|row| row as u32).collect();
        if self.frame.width() == 0 || rows.len() == self.frame.height() && rows.is_sorted() {
            return Ok(self);
        }
        let taken = self.frame.take(&IdxCa::new("rows".into(), rows)).map_err(|error| self.unreadable(&error))?;
        Ok(self.with_frame(taken))
    }

    /// Names of its columns but some, in their order.
    pub fn names_but(&self, known: &[&str]) -> Vec<String> {
        let names = self.frame.get_column_names().into_iter().map(|name| name.to_string());
        names.filter(|name| !known.contains(&name.as_str())).collect()
    }

    fn wrong(&self, error: ColumnError) -> StoreError {
        StoreError::Column { path: self.path.clone(), error }
    }

    /// What polars says of it.
    pub fn unreadable(&self, error: &PolarsError) -> StoreError {
        StoreError::Table { dir: self.path.clone(), error: error.to_string() }
    }

    /// An error of a cell of this table; rows count from 0.
    pub fn wrong_cell(&self, row: usize, column: &str, what: impl Into<String>) -> StoreError {
        self.wrong(ColumnError::Cell { row: row + 1, column: column.into(), what: what.into() })
    }

    /// A column of one type of polars, if what it holds is of that kind.
    fn column(&self, name: &str, to: &DataType, fits: impl Fn(&DataType) -> bool) -> Result<Column, StoreError> {
        let kind = kind_of(to);
        let missing = |_| self.wrong(ColumnError::Missing { column: name.into(), kind });
        let column = self.frame.column(name).map_err(missing)?;
        if fits(column.dtype()) {
            return self.cast(column, to);
        }
        let found = column.dtype().to_string();
        Err(self.wrong(ColumnError::Kind { column: name.into(), found, kind }))
    }

    /// A column of one type of polars, where the conversion loses no value.
    ///
    /// # Errors
    /// Where one is lost.
    pub fn cast(&self, column: &Column, to: &DataType) -> Result<Column, StoreError> {
        let (name, kind) = (column.name(), kind_of(to));
        let of_kind = match to {
            DataType::String => is_shown(column.dtype()),
            DataType::Datetime(..) => matches!(column.dtype(), DataType::Datetime(..)),
            to if to.is_integer() => column.dtype().is_integer(),
            _ => is_numeric(column.dtype()),
        };
        let wrong = || {
            let found = column.dtype().to_string();
            self.wrong(ColumnError::Kind { column: name.to_string(), found, kind })
        };
        let cast = column.cast(to).ok().filter(|_| of_kind || column.dtype() == to).ok_or_else(wrong)?;
        let lost = || column.is_null().iter().zip(cast.is_null().iter()).position(|(before, after)| before != after);
        match (column.null_count() != cast.null_count()).then(lost).flatten() {
            None => Ok(cast),
            Some(row) => {
                let value = column.get(row).map_or(String::new(), |value| value.to_string());
                Err(self.wrong_cell(row, name, format!("{value} is not among {kind}")))
            }
        }
    }

    /// The values of a column that has one in each row.
    fn all<T>(&self, name: &str, values: Vec<Option<T>>) -> Result<Vec<T>, StoreError> {
        let all = values.into_iter().enumerate().map(|(row, value)| value.ok_or(row));
        all.collect::<Result<Vec<T>, usize>>().map_err(|row| self.wrong_cell(row, name, NO_VALUE))
    }

    /// A column of texts.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, StoreError> {
        self.all(name, self.some_texts(name)?)
    }

    /// A column of texts that may be missing.
    pub fn some_texts(&self, name: &str) -> Result<Vec<Option<String>>, StoreError> {
        let column = self.column(name, &DataType::String, is_text)?;
        let texts = column.str().map_err(|error| self.unreadable(&error))?;
        Ok(texts.iter().map(|text| text.map(String::from)).collect())
    }

    /// A column of whole numbers from 0 on.
    pub fn counts(&self, name: &str) -> Result<Vec<u64>, StoreError> {
        let column = self.column(name, &DataType::UInt64, DataType::is_integer)?;
        self.all(name, column.u64().map_err(|error| self.unreadable(&error))?.iter().collect())
    }

    /// A column of whole numbers from 0 on that earlier versions lack, and leave empty.
    pub fn later_counts(&self, name: &str) -> Result<Vec<Option<u64>>, StoreError> {
        if !self.has(name) {
            return Ok(vec![None; self.frame.height()]);
        }
        let column = self.column(name, &DataType::UInt64, DataType::is_integer)?;
        Ok(column.u64().map_err(|error| self.unreadable(&error))?.iter().collect())
    }

    /// Whether it has a column.
    pub fn has(&self, name: &str) -> bool {
        self.frame.column(name).is_ok()
    }

    /// A column of numbers that may be missing.
    pub fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>, StoreError> {
        let column = self.column(name, &DataType::Float64, is_numeric)?;
        Ok(column.f64().map_err(|error| self.unreadable(&error))?.iter().collect())
    }

    /// A column of times, in microseconds since 1970.
    pub fn times(&self, name: &str) -> Result<Vec<i64>, StoreError> {
        let column = self.column(name, &MICROS, |kind| matches!(kind, DataType::Datetime(..)))?;
        let failed = |error| self.unreadable(&error);
        let times = column.cast(&DataType::Int64).map_err(failed)?;
        self.all(name, times.i64().map_err(failed)?.iter().collect())
    }

    /// A column of numbers or texts, as text.
    pub fn shown(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let column = self.column(name, &DataType::String, is_shown)?;
        let texts = column.str().map_err(|error| self.unreadable(&error))?;
        Ok(texts.iter().map(|text| text.unwrap_or("").to_string()).collect())
    }

    /// Stretches of rows that have one text in common and do not go past the row `boundary`.
    pub fn runs(&self, name: &str, boundary: usize) -> Result<Vec<(String, Range<usize>)>, StoreError> {
        let column = self.column(name, &DataType::String, is_text)?;
        let mut runs: Vec<(String, Range<usize>)> = Vec::new();
        for (row, text) in column.str().map_err(|error| self.unreadable(&error))?.iter().enumerate() {
            let text = text.ok_or_else(|| self.wrong_cell(row, name, NO_VALUE))?;
            match runs.last_mut() {
                Some((last, rows)) if last == text && row != boundary => rows.end = row + 1,
                _ => runs.push((text.to_string(), row..row + 1)),
            }
        }
        Ok(runs)
    }

    /// Makes sure that it has every column of another table whose types are as they should be, but may have no rows.
    pub fn fits(&self, blank: &DataFrame) -> Result<(), StoreError> {
        if self.is_empty() {
            return Ok(());
        }
        blank.columns().iter().map(|column| (column.name().as_str(), column.dtype())).try_for_each(|(name, kind)| {
            match kind {
                _ if LATER.contains(&name) && !self.has(name) => Ok(()),
                DataType::String if name == "error" || LATER.contains(&name) => self.some_texts(name).map(|_| ()),
                DataType::String => self.texts(name).map(|_| ()),
                DataType::Datetime(..) => self.times(name).map(|_| ()),
                kind if kind.is_integer() => self.whole(name, kind),
                _ => self.numbers(name).map(|_| ()),
            }
        })
    }

    /// Makes sure that a column holds whole numbers of a type, one in each row where no earlier version left it empty.
    fn whole(&self, name: &str, kind: &DataType) -> Result<(), StoreError> {
        let column = self.cast(&self.column(name, kind, DataType::is_integer)?, kind)?;
        match column.is_null().iter().position(|none| none == Some(true)) {
            Some(row) if !LATER.contains(&name) => Err(self.wrong_cell(row, name, NO_VALUE)),
            _ => Ok(()),
        }
    }

    /// The ids of trials.
    pub fn ids(&self) -> Result<Vec<String>, StoreError> {
        let ids = self.texts("trial")?;
        match ids.iter().position(|id| !is_id(id)) {
            Some(row) => Err(self.wrong_cell(row, "trial", format!("{:?} is no trial's id", ids[row]))),
            None => Ok(ids),
        }
    }

    /// The ids of trials, each of which has one row.
    pub fn own_ids(&self) -> Result<Vec<String>, StoreError> {
        let ids = self.ids()?;
        let mut rows = HashMap::with_capacity(ids.len());
        for (row, id) in ids.iter().enumerate() {
            if let Some(before) = rows.insert(id.as_str(), row) {
                return Err(self.wrong_cell(row, "trial", format!("trial {id} is in row {} already", before + 1)));
            }
        }
        Ok(ids)
    }

    /// A column of texts that are among some, each by its place among them.
    pub fn choices(&self, name: &str, among: &[&str]) -> Result<Vec<usize>, StoreError> {
        let place = |(row, text): (usize, &String)| {
            let place = among.iter().position(|one| one == text);
            place.ok_or_else(|| self.wrong_cell(row, name, format!("{text:?} is neither {}", among.join(" nor "))))
        };
        self.texts(name)?.iter().enumerate().map(place).collect()
    }

    /// The grids that stretches of rows are which have one text in common, by that text.
    ///
    /// # Errors
    /// Where cells of a grid are missing, or there twice.
    pub fn grids<const N: usize>(&self, by: &str, dimensions: [&str; N]) -> Result<Vec<FilledGrid<N>>, StoreError> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let places = dimensions.iter().map(|name| self.counts(name)).collect::<Result<Vec<Vec<u64>>, StoreError>>()?;
        let grid = |(name, rows): (String, Range<usize>)| {
            let wrong = || {
                let of = dimensions.map(|name| format!("`{name}`")).join(", ");
                self.wrong(ColumnError::Grid { first: rows.start + 1, last: rows.end, of })
            };
            let size = |at: usize| -> Option<usize> {
                usize::try_from(places[at][rows.clone()].iter().max().copied()?).ok()?.checked_add(1)
            };
            let mut sizes = [0; N];
            for (at, to) in sizes.iter_mut().enumerate() {
                *to = size(at).ok_or_else(wrong)?;
            }
            if sizes.iter().try_fold(1_usize, |cells, size| cells.checked_mul(*size)) != Some(rows.len()) {
                return Err(wrong());
            }
            let mut cells = vec![None; rows.len()];
            for row in rows.clone() {
                let cell = places.iter().zip(&sizes).fold(0, |cell, (at, size)| cell * size + at[row] as usize);
                if cells[cell].replace(row).is_some() {
                    return Err(wrong());
                }
            }
            Ok(FilledGrid { name, sizes, rows: cells.into_iter().flatten().collect() })
        };
        self.runs(by, usize::MAX)?.into_iter().map(grid).collect()
    }
}

/// Rows that are the cells of a grid, one each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledGrid<const N: usize> {
    /// What they have in common.
    pub name: String,
    /// How many places each dimension has.
    pub sizes: [usize; N],
    /// The row of each cell, the last dimension changing first.
    pub rows: Vec<usize>,
}

const MICROS: DataType = DataType::Datetime(TimeUnit::Microseconds, None);

const NO_VALUE: &str = "no value";

/// What a column of one type of polars holds, in words.
fn kind_of(kind: &DataType) -> &'static str {
    match kind {
        DataType::String => "texts",
        DataType::Datetime(..) => "times",
        DataType::UInt32 => "whole numbers from 0 to 4294967295",
        kind if kind.is_unsigned_integer() => "whole numbers from 0 on",
        _ => "numbers",
    }
}

// A column without a single value may have lost its type.
fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::String | DataType::Null)
}

fn is_numeric(kind: &DataType) -> bool {
    kind.is_primitive_numeric() || kind == &DataType::Null
}

fn is_shown(kind: &DataType) -> bool {
    is_numeric(kind) || matches!(kind, DataType::String | DataType::Boolean)
}
