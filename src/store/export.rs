//! The tables in formats of others: CSV, and TensorBoard's event files.
//!
//! An event file is a sequence of TFRecords: length (u64), masked CRC-32C of the length, data, masked CRC-32C of the
//! data, little-endian. The data are protocol buffers, of which these few fields are written by hand: `Event`
//! { wall_time = 1, step = 2, file_version = 3, summary = 5 }, `Summary` { value = 1 }, `Value` { tag = 1,
//! simple_value = 2 }. Sources: TensorFlow's `record_writer.cc`, `event.proto` and `summary.proto`.

use super::columns::StoredTable;
use super::files::{create_folder, create_inside, holds, is_temporary_of, remove, replace_tidily};
use super::{FILES, StoreError};
use polars::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a folder was not exported, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read, or nothing can be written; nothing was.
    #[error(transparent)]
    Refused(#[from] StoreError),
    /// Not all could be written.
    #[error(transparent)]
    CutShort(StoreError),
}

/// A folder that an export is written to. For as long as not all is there, a mark in it says what is being written, so
/// that the same export goes on.
pub struct Target {
    out: PathBuf,
    what: String,
}

impl Target {
    /// A folder, and a text of what is exported to it, which is the same where exports are.
    pub fn new(out: PathBuf, what: String) -> Target {
        Target { out, what }
    }

    /// Whether nothing lies there but what the same export left, or it is not there.
    pub fn is_free(&self) -> bool {
        let mut entries = fs::read_dir(&self.out).into_iter().flatten().filter_map(Result::ok);
        let begun = holds(&self.mark(), self.what.as_bytes());
        begun || entries.all(|entry| is_temporary_of(&entry.path(), &self.mark()))
    }

    fn mark(&self) -> PathBuf {
        self.out.join(".unfinished")
    }

    fn begin(&self) -> Result<(), StoreError> {
        create_folder(&self.out)?;
        replace_tidily(&self.mark(), self.what.as_bytes())
    }

    fn end(&self) -> Result<(), ExportError> {
        remove(&self.mark()).map_err(ExportError::CutShort)
    }
}

/// Writes every table as a CSV file; what is not defined is an empty cell.
///
/// # Errors
/// Where a table cannot be read, or a file cannot be written.
pub fn csv(dir: &Path, target: &Target) -> Result<Vec<PathBuf>, ExportError> {
    let names = FILES.iter().filter_map(|name| name.strip_suffix(".parquet"));
    let read = |name| Ok((name, StoredTable::read(dir, &format!("{name}.parquet"), None)?));
    let mut tables = names.map(read).collect::<Result<Vec<(&str, StoredTable)>, StoreError>>()?;
    // Folders of earlier versions lack some.
    tables.retain(|(_, table)| table.frame().width() > 0);
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    target.begin()?;
    let write = |(name, table): (&str, StoredTable)| {
        let path = target.out.join(format!("{name}.csv"));
        replace_tidily(&path, csv_text(table.frame()).as_bytes()).map_err(ExportError::CutShort)?;
        Ok(path)
    };
    let files = tables.into_iter().map(write).collect::<Result<_, ExportError>>()?;
    target.end()?;
    Ok(files)
}

fn csv_text(table: &DataFrame) -> String {
    let names: Vec<String> = table.get_column_names().iter().map(|name| quoted(name)).collect();
    let mut text = names.join(",") + "\n";
    let columns: Vec<Series> = table.columns().iter().map(|column| column.as_materialized_series().clone()).collect();
    for row in 0..table.height() {
        let cells: Vec<String> = columns.iter().map(|column| cell(column.get(row).unwrap_or(AnyValue::Null))).collect();
        text += &cells.join(",");
        text.push('\n');
    }
    text
}

fn cell(value: AnyValue<'_>) -> String {
    match value {
        AnyValue::Null => String::new(),
        AnyValue::String(text) => quoted(text),
        AnyValue::Float64(x) => format!("{x:?}"),
        AnyValue::Float32(x) => format!("{x:?}"),
        other => quoted(&other.to_string()),
    }
}

/// A text as CSV, by RFC 4180.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// Writes a folder a trial with an event file: every number of the history by its iteration.
///
/// # Errors
/// Where a table cannot be read, or a file cannot be written.
pub fn tensorboard(dir: &Path, target: &Target) -> Result<Vec<PathBuf>, ExportError> {
    let trials = StoredTable::read(dir, "trials.parquet", Some(&["trial", "finished"]))?;
    let history = StoredTable::read(dir, "history.parquet", None)?;
    if trials.is_empty() || history.is_empty() {
        return Ok(Vec::new());
    }
    let ends = trials.own_ids()?.into_iter().zip(trials.times("finished")?);
    let iterations = history.counts("iteration")?;
    let numbers = history.names_but(&["trial", "iteration"]).into_iter();
    let numbers = numbers.map(|name| Ok((history.numbers(&name)?, name)));
    let numbers = numbers.collect::<Result<Vec<(Vec<Option<f64>>, String)>, StoreError>>()?;
    let mut rows_of: HashMap<String, Vec<Range<usize>>> = HashMap::new();
    for (id, rows) in history.runs("trial", usize::MAX)? {
        rows_of.entry(id).or_default().push(rows);
    }
    let trials: Vec<_> = ends.filter_map(|(id, micros)| Some((rows_of.remove(&id)?, id, micros))).collect();
    if trials.is_empty() {
        return Ok(Vec::new());
    }
    target.begin()?;
    let mut files = Vec::new();
    for (rows, id, micros) in trials {
        let wall = micros as f64 / 1e6;
        let mut bytes = record(&event(wall, 0, Content::Version));
        for (values, tag) in &numbers {
            for row in rows.iter().cloned().flatten() {
                let Some(value) = values[row] else { continue };
                bytes.extend(record(&event(wall, iterations[row] as i64, Content::Scalar(tag, value as f32))));
            }
        }
        let name = format!("events.out.tfevents.{}.runner", micros / 1_000_000);
        let folder = create_inside(&target.out, &id).map_err(ExportError::CutShort)?;
        replace_tidily(&folder.join(&name), &bytes).map_err(ExportError::CutShort)?;
        files.push(folder.join(name));
    }
    target.end()?;
    Ok(files)
}

enum Content<'a> {
    Version,
    Scalar(&'a str, f32),
}

fn event(wall: f64, step: i64, content: Content<'_>) -> Vec<u8> {
    let mut bytes = vec![0x09];
    bytes.extend(wall.to_le_bytes());
    match content {
        Content::Version => field(&mut bytes, 3, b"brain.Event:2"),
        Content::Scalar(tag, value) => {
            bytes.push(0x10);
            varint(&mut bytes, step as u64);
            let mut one = Vec::new();
            field(&mut one, 1, tag.as_bytes());
            one.push(0x15);
            one.extend(value.to_le_bytes());
            let mut summary = Vec::new();
            field(&mut summary, 1, &one);
            field(&mut bytes, 5, &summary);
        }
    }
    bytes
}

/// A field of bytes.
fn field(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

fn varint(to: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

/// Data as a TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked(&length).to_le_bytes());
    bytes.extend(data);
    bytes.extend(masked(data).to_le_bytes());
    bytes
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn an_event_is_that_of_tensorflows_writer() {
        let event = event(1.0, 300, Content::Scalar("loss", 0.5));
        let expected = b"\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f";
        assert_eq!(event, expected);
    }

    #[test]
    fn what_csv_cannot_hold_plain_is_quoted() {
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(cell(AnyValue::Float64(0.1)), "0.1");
    }
}
