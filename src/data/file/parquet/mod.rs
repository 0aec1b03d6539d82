//! Parquet: the footer is read at once, a column when it is asked for, so that columns nobody names may hold anything.
//!
//! A file is not trusted: what it says of sizes is held against its own before memory is taken (`footer`, `pages`), and
//! a reader that gives up on damage is an error of the column (`guard`). Types of Parquet become cells in `holds`.
//! polars reads the columns, below the types of its tables, of which few are built.

mod footer;
mod guard;
mod holds;
mod pages;

use super::Cell;
use holds::Holds;
use polars_parquet::parquet::schema::types::ParquetType;
use polars_parquet::read::FileMetadata;

/// What such a file begins and ends with.
pub const MAGIC: &[u8] = b"PAR1";

/// What a column is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAs {
    /// To compute with.
    Numbers,
    /// To tell rows apart by.
    Names,
}

impl ReadAs {
    /// What is needed, in words.
    pub fn needed(self) -> &'static str {
        match self {
            ReadAs::Numbers => "numbers",
            ReadAs::Names => "names",
        }
    }
}

/// Why a column cannot be used.
#[derive(Debug)]
pub enum Unreadable {
    /// It holds something else; this, in the plural.
    Holds(&'static str),
    /// It cannot be read.
    Unreadable(String),
}

/// A file whose columns are still to be read.
pub struct Parquet {
    bytes: Vec<u8>,
    metadata: FileMetadata,
    columns: Vec<(String, Holds)>,
}

impl std::fmt::Debug for Parquet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parquet").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Parquet {
    /// Reads what a file says of itself.
    ///
    /// # Errors
    /// Where it is no Parquet, damaged, or claims more than its bytes can hold.
    pub fn open(bytes: Vec<u8>) -> Result<Parquet, String> {
        guard::guarded(|| {
            let metadata = footer::read(&bytes)?;
            let hints = footer::hints(&metadata);
            let column = |field: &ParquetType| {
                let name = field.get_field_info().name.to_string();
                let holds = Holds::of(field, hints.get(&name).copied());
                (name, holds)
            };
            let columns = metadata.schema().fields().iter().map(column).collect();
            Ok(Parquet { bytes, metadata, columns })
        })
    }

    /// Names of the columns, in order.
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Its rows.
    pub fn rows(&self) -> usize {
        self.metadata.num_rows
    }

    /// The cells of a column, by its place.
    ///
    /// # Errors
    /// Where it holds nothing of the kind, or its pages cannot be read.
    pub fn cells(&self, place: usize, reading: ReadAs) -> Result<Vec<Cell<'static>>, Unreadable> {
        let (name, holds) = &self.columns[place];
        if let Holds::Other(words) = holds {
            return Err(Unreadable::Holds(words));
        }
        let read = || {
            let mut cells = Vec::new();
            for series in pages::read(&self.bytes, &self.metadata, name)? {
                cells.extend(holds.cells(&series, reading, self.bytes.len())?);
            }
            Ok(cells)
        };
        guard::guarded(read).map_err(Unreadable::Unreadable)
    }
}

/// The first line of what a library says.
fn line(error: impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or("").to_string()
}
