//! Tables in files: CSV, Parquet and NPY, read once into named columns.
//!
//! What a column holds is looked at only when it is asked for, so that columns nobody names may hold anything, and what
//! is not asked for takes no more memory than its file. How a file begins is looked at before the rest of it is read, and
//! memory is asked for only where there is as much. Errors name the file, the row, and the column.

mod csv;
mod error;
mod npy;
mod parquet;

use crate::data::memory;
use crate::spec::diagnostic::suggest;
use crate::spec::source::{MAX_LARGE, Opened, ReadError};
use csv::CsvTable;
pub use error::{TableError, Uneven};
use npy::NpyArray;
use parquet::{Parquet, ReadAs, Unreadable};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

/// A cell as it is read.
#[derive(Debug, Clone, PartialEq)]
enum Cell<'a> {
    Number(f64),
    Text(Cow<'a, str>),
    Missing,
}

/// The cells of a column, from the first row on.
type Cells<'a> = Box<dyn Iterator<Item = Cell<'a>> + 'a>;

/// What a file holds, as it lies there.
#[derive(Debug)]
enum FileContents {
    Csv(CsvTable),
    Npy(NpyArray),
    Parquet(Box<Parquet>),
}

/// What a file is, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Npy,
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Format {
        match path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).as_deref() {
            Some("parquet") => Format::Parquet,
            Some("npy") => Format::Npy,
            _ => Format::Csv,
        }
    }

    /// Looks at how a file begins, whose rest may be long.
    fn check(self, file: &str, begins: &[u8]) -> Result<(), TableError> {
        if begins.starts_with(b"PK\x03\x04") {
            let arrays = begins.windows(4).any(|bytes| bytes == b".npy");
            return Err(TableError::Zip { file: file.into(), arrays });
        }
        let (format, mark, whose) = match self {
            Format::Csv => {
                return csv::utf16(begins)
                    .map_or(Ok(()), |called| Err(TableError::Utf16 { file: file.into(), called }));
            }
            Format::Npy => ("NPY", npy::MAGIC, "NumPy's"),
            Format::Parquet => ("Parquet", parquet::MAGIC, "Parquet's"),
        };
        let error = || format!("it does not begin with {whose} mark");
        match begins.starts_with(mark) {
            true => Ok(()),
            false => Err(TableError::NotOfFormat { file: file.into(), format, error: error() }),
        }
    }
}

/// Bytes that a number of a column which is asked for takes: itself, and what is kept of its row to find samples by.
const OF_NUMBER: usize = 32;

/// Bytes that the name of a column takes in memory, at least.
const NAME: usize = 48;

/// A table as it was read.
#[derive(Debug)]
pub struct TableFile {
    /// Its path, for errors.
    file: String,
    names: Vec<String>,
    /// The place of each name, the first of several, and whether there are several.
    places: HashMap<String, (usize, bool)>,
    contents: FileContents,
    /// Digest of its bytes.
    digest: String,
}

impl TableFile {
    /// Reads a file by the ending of its name; a pipe, too, where it is needed `once` alone.
    ///
    /// # Errors
    /// Where it cannot be read, or does not hold what its name says.
    pub fn read(path: &Path, once: bool) -> Result<TableFile, TableError> {
        let (file, format) = (path.display().to_string(), Format::of(path));
        let bytes = bytes(path, &file, format, once)?;
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let (names, contents) = match format {
            Format::Parquet => of_parquet(&file, bytes)?,
            Format::Npy => of_npy(&file, bytes)?,
            Format::Csv => {
                let (names, table) = csv::read(file.clone(), bytes)?;
                (names, FileContents::Csv(table))
            }
        };
        let table = TableFile::new(file, names, contents, digest);
        if table.rows() == 0 {
            return Err(TableError::NoRows(table.file));
        }
        Ok(table)
    }

    fn new(file: String, names: Vec<String>, contents: FileContents, digest: String) -> TableFile {
        let mut places: HashMap<String, (usize, bool)> = HashMap::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            places.entry(name.clone()).and_modify(|(_, twice)| *twice = true).or_insert((place, false));
        }
        TableFile { file, names, places, contents, digest }
    }

    /// Digest of the file's bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its path, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Rows below the header.
    pub fn rows(&self) -> usize {
        match &self.contents {
            FileContents::Csv(table) => table.rows(),
            FileContents::Npy(array) => array.rows,
            FileContents::Parquet(table) => table.rows(),
        }
    }

    /// A column of numbers.
    ///
    /// # Errors
    /// Where there is none of this name, or a cell of it is no finite number of single precision.
    pub fn numbers(&self, column: &str) -> Result<Vec<f64>, TableError> {
        self.room(OF_NUMBER)?;
        let mut cells = self.column(column, ReadAs::Numbers)?;
        let number = |cell: &Cell<'_>| match cell {
            Cell::Number(x) => Some(*x).filter(|x| x.is_finite()),
            Cell::Text(text) => text.trim().parse::<f64>().ok().filter(|x| x.is_finite()),
            Cell::Missing => None,
        };
        let mut numbers = Vec::with_capacity(self.rows());
        let bad = cells.find_map(|cell| match number(&cell) {
            Some(x) => {
                numbers.push(x);
                None
            }
            None => Some(cell),
        });
        let place = |row: usize| (self.file.clone(), self.place(row), column.to_string());
        if let Some(row) = numbers.iter().position(|number| number.abs() > f64::from(f32::MAX)) {
            let (file, place, column) = place(row);
            return Err(TableError::TooLarge { file, place, column, value: format!("{:e}", numbers[row]) });
        }
        let Some(bad) = bad else { return Ok(numbers) };
        let more = cells.filter(|cell| number(cell).is_none()).count();
        let (file, place, column) = place(numbers.len());
        if let (Cell::Text(text), FileContents::Csv(table)) = (&bad, &self.contents)
            && csv::has_lone_return(text)
        {
            return Err(TableError::LoneReturn { file, line: table.line_of(numbers.len()) });
        }
        let text = match &bad {
            Cell::Text(text) if is_beyond_double(text.trim()) => {
                let value = text.trim().chars().take(40).collect();
                return Err(TableError::TooLarge { file, place, column, value });
            }
            Cell::Missing => return Err(TableError::Missing { file, place, column, more }),
            Cell::Number(x) => x.to_string(),
            Cell::Text(text) => text.trim().chars().take(40).flat_map(char::escape_debug).collect(),
        };
        Err(TableError::NotANumber { file, place, column, text, more })
    }

    /// A column of names.
    ///
    /// # Errors
    /// Where there is none of this name, or a cell of it is empty.
    pub fn texts(&self, column: &str) -> Result<Vec<String>, TableError> {
        self.room(NAME)?;
        let text = |(row, cell): (usize, Cell<'_>)| match cell {
            Cell::Number(x) => Ok(x.to_string()),
            Cell::Text(text) => Ok(text.trim().to_string()),
            Cell::Missing => {
                let (file, place, column) = (self.file.clone(), self.place(row), column.to_string());
                Err(TableError::Missing { file, place, column, more: 0 })
            }
        };
        self.column(column, ReadAs::Names)?.enumerate().map(text).collect()
    }

    /// Makes sure that so many bytes for each row may be asked for.
    fn room(&self, of_row: usize) -> Result<(), TableError> {
        let room = memory::check(self.rows().saturating_mul(of_row));
        room.map_err(|error| TableError::NoRoom { file: self.file.clone(), error })
    }

    /// Whether cells of a column that are one number were written as several.
    pub fn merges(&self, column: &str) -> bool {
        let whole = |cell: Cell<'_>| match cell {
            Cell::Text(text) => text.trim().parse::<i128>().ok(),
            _ => None,
        };
        let Ok(cells) = self.column(column, ReadAs::Numbers) else { return false };
        let mut wholes = cells.map(whole);
        let Some(Some(first)) = wholes.next() else { return false };
        let mut differ = false;
        // A cell that is no whole number ends it.
        let all = wholes.all(|whole| {
            differ |= whole.is_some_and(|whole| whole != first);
            whole.is_some()
        });
        all && differ
    }

    /// One next step after an error of this file. It may take as long as the file has columns.
    pub fn help(&self, error: &TableError) -> Option<String> {
        match error {
            TableError::Duplicate { .. } => self.no_header(),
            TableError::Unknown { name, .. } => {
                self.no_header().or_else(|| suggest(name, self.names.iter().map(String::as_str), ""))
            }
            error => error.help(),
        }
    }

    /// What to say where the first row of a text looks as if it were no header.
    fn no_header(&self) -> Option<String> {
        let first = self.names.first().filter(|_| matches!(self.contents, FileContents::Csv(_)))?;
        let shown: String = self.names.join(",").chars().take(40).flat_map(char::escape_debug).collect();
        let is_number = |name: &String| name.is_empty() || name.parse::<f64>().is_ok();
        let no_names = self.names.iter().all(is_number) || first.starts_with(['#', '%']);
        no_names.then(|| format!("the first row, `{shown}`, was taken for the names; write a line of names above it"))
    }

    /// A row in words.
    pub fn place(&self, row: usize) -> String {
        match &self.contents {
            FileContents::Csv(table) => format!("row {} (line {})", row + 1, table.line_of(row)),
            _ => format!("row {}", row + 1),
        }
    }

    fn column(&self, name: &str, reading: ReadAs) -> Result<Cells<'_>, TableError> {
        let (file, column) = (self.file.clone(), name.to_string());
        let place = match self.places.get(name) {
            Some((place, false)) => *place,
            Some((_, true)) => return Err(TableError::Duplicate { file, name: column }),
            None => return Err(TableError::Unknown { file, name: column }),
        };
        match &self.contents {
            FileContents::Csv(table) => Ok(Box::new(table.column(place))),
            FileContents::Npy(array) => Ok(Box::new(array.column(place))),
            FileContents::Parquet(table) => match table.cells(place, reading) {
                Ok(cells) => Ok(Box::new(cells.into_iter())),
                Err(Unreadable::Holds(holds)) => {
                    Err(TableError::Holds { file, column, holds, needed: reading.needed() })
                }
                Err(Unreadable::Unreadable(error)) => Err(TableError::Column { file, column, error }),
            },
        }
    }
}

/// The bytes of a file, once it begins as its format does and there is room for it.
fn bytes(path: &Path, file: &str, format: Format, once: bool) -> Result<Vec<u8>, TableError> {
    let unreadable = |error: ReadError| TableError::Unreadable {
        file: file.into(),
        error: error.to_string(),
        special: matches!(error, ReadError::Special(_)),
    };
    let opened = Opened::of(path, once).map_err(unreadable)?;
    if opened.begins.is_empty() {
        return Err(TableError::Empty(file.into()));
    }
    format.check(file, &opened.begins)?;
    if let Some(length) = opened.length.filter(|length| *length <= MAX_LARGE) {
        let room = memory::check(usize::try_from(length).unwrap_or(usize::MAX));
        room.map_err(|error| TableError::NoRoom { file: file.into(), error })?;
    }
    opened.read(MAX_LARGE).map_err(unreadable)
}

fn of_npy(file: &str, bytes: Vec<u8>) -> Result<(Vec<String>, FileContents), TableError> {
    let array = npy::read(file.into(), bytes)?;
    let room = memory::check(array.width.saturating_mul(NAME));
    room.map_err(|error| TableError::NoRoom { file: file.into(), error })?;
    Ok(((0..array.width).map(|i| i.to_string()).collect(), FileContents::Npy(array)))
}

fn of_parquet(file: &str, bytes: Vec<u8>) -> Result<(Vec<String>, FileContents), TableError> {
    let not_of_format = |error| TableError::NotOfFormat { file: file.into(), format: "Parquet", error };
    let table = Parquet::open(bytes).map_err(not_of_format)?;
    let names = table.names();
    match (names.is_empty(), table.rows()) {
        (true, _) => Err(TableError::NoColumns(file.into())),
        (_, 0) => Err(TableError::Rowless(file.into())),
        _ => Ok((names, FileContents::Parquet(Box::new(table)))),
    }
}

/// A whole number; one that double precision cannot tell from its neighbours stays a text, as which it is exact.
fn whole(number: i128) -> Cell<'static> {
    match number.unsigned_abs() {
        size if size > 1 << f64::MANTISSA_DIGITS => Cell::Text(number.to_string().into()),
        _ => Cell::Number(number as f64),
    }
}

/// A number of half precision, IEEE 754.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// Whether a text is a number that double precision does not reach.
fn is_beyond_double(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// Tables that are in use, so that the configurations of a sweep share one.
#[derive(Debug, Default)]
pub struct FileTables {
    held: Mutex<HashMap<PathBuf, Weak<TableFile>>>,
}

impl FileTables {
    /// A table, read unless somebody holds it already.
    ///
    /// # Errors
    /// As [`TableFile::read`].
    pub fn read(&self, path: &Path, once: bool) -> Result<Arc<TableFile>, TableError> {
        // What a panic elsewhere left behind is as good as it was.
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(table) = held.get(path).and_then(Weak::upgrade) {
            return Ok(table);
        }
        let table = Arc::new(TableFile::read(path, once)?);
        held.insert(path.into(), Arc::downgrade(&table));
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TableFile, TableError> {
        let (names, table) = csv::read("t.csv".into(), text.as_bytes().to_vec())?;
        Ok(TableFile::new("t.csv".into(), names, FileContents::Csv(table), String::new()))
    }

    #[test]
    fn quotes_protect_commas_line_ends_and_quotes() {
        let table = read("a,\"b, c\"\r\n1,\"x\ny \"\"z\"\"\"\r\n2,w\r\n").unwrap();
        assert_eq!(table.numbers("a").unwrap(), [1.0, 2.0]);
        assert_eq!(table.texts("b, c").unwrap(), ["x\ny \"z\"", "w"]);
        assert_eq!(table.place(1), "row 2 (line 4)");
    }

    #[test]
    fn semicolons_tabs_blank_lines_and_a_mark_of_byte_order_are_no_obstacle() {
        for text in ["a;b\n1;2\n", "a\tb\n\n1\t2\n\n", "\u{feff}a,b\n1,2"] {
            assert_eq!(read(text).unwrap().numbers("b").unwrap(), [2.0], "{text:?}");
        }
    }

    #[test]
    fn the_first_bad_cell_is_named_and_the_others_are_counted() {
        let table = read("a,b\n1,2\n,3\nNA,4\n").unwrap();
        let error = table.numbers("a").unwrap_err();
        assert_eq!(error.to_string(), "t.csv: row 2 (line 3), column `a`: no value");
        assert!(error.help().unwrap().contains("another cell"));
        assert_eq!(table.numbers("b").unwrap(), [2.0, 3.0, 4.0]);
    }
}
