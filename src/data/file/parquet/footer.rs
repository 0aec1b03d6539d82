//! The end of a file, where it says what it holds.
//! Source: the Apache Parquet format, "File format" and "Metadata".

use super::{MAGIC, line};
use base64::Engine;
use polars_arrow_format::ipc::planus::ReadAsRoot;
use polars_arrow_format::ipc::{MessageHeaderRef, MessageRef, TimeUnit, TypeRef};
use polars_parquet::read::{FileMetadata, read_metadata};
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;
use polars_parquet_format::{FileMetaData, SchemaElement};
use std::collections::HashMap;
use std::io::Cursor;

/// Groups within groups that a schema may have.
const DEEPEST: usize = 64;

/// The most rows that a file of this size may have. A value that repeats takes next to no room, so that a small file may
/// have a thousand a byte; what they take in memory is bounded, as a large one has fewer.
pub fn most_rows(bytes: usize) -> usize {
    const SMALL: usize = 1 << 24;
    bytes.saturating_add(1024).saturating_mul(1024).min(SMALL).max(bytes.saturating_mul(16))
}

/// The most bytes that a column of a file of this size may take once it is unpacked.
pub fn most_bytes(bytes: usize) -> usize {
    most_rows(bytes).saturating_mul(16)
}

/// Reads the footer.
///
/// # Errors
/// Where there is none, or one that claims what cannot be.
pub fn read(bytes: &[u8]) -> Result<FileMetadata, String> {
    check_schema(bytes)?;
    let metadata = read_metadata(&mut Cursor::new(bytes)).map_err(line)?;
    let rows = metadata.row_groups.iter().try_fold(0usize, |rows, group| rows.checked_add(group.num_rows()));
    if rows != Some(metadata.num_rows) {
        return Err("its parts have other numbers of rows than the whole".into());
    }
    if metadata.num_rows > most_rows(bytes.len()) {
        return Err(format!("it claims {} rows, which {} bytes cannot hold", metadata.num_rows, bytes.len()));
    }
    Ok(metadata)
}

/// Checks the schema while it is a flat list, as trees of it grow with the square of its depth.
fn check_schema(bytes: &[u8]) -> Result<(), String> {
    let rest = bytes.strip_suffix(MAGIC).ok_or("it does not end in Parquet's mark")?;
    let (rest, length) = rest.split_last_chunk::<4>().ok_or("it ends too early")?;
    let begins = rest.len().checked_sub(u32::from_le_bytes(*length) as usize).ok_or("it ends too early")?;
    let footer = &rest[begins..];
    let most = footer.len().saturating_mul(16).saturating_add(1 << 16);
    let file = FileMetaData::read_from_in_protocol(&mut TCompactInputProtocol::new(footer, most))
        .map_err(|_| "its footer makes no sense")?;
    match depth(&file.schema) {
        depth if depth > DEEPEST => Err(format!("its columns nest {depth} levels deep; {DEEPEST} are read")),
        _ => Ok(()),
    }
}

/// How deep groups lie within groups, of a list in which each is followed by what it has.
fn depth(schema: &[SchemaElement]) -> usize {
    // Members that are still to come, of each group that is open.
    let mut open: Vec<i32> = Vec::new();
    let mut deepest = 0;
    for element in schema {
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if let Some(members) = element.num_children.filter(|members| *members > 0) {
            open.push(members);
        }
        deepest = deepest.max(open.len());
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    deepest
}

/// What Parquet has no type for, and writers of Arrow say beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hint {
    /// Counts of a unit of time; how many of them make a second.
    Duration(f64),
    /// Whole numbers of 128 bits.
    Wide {
        /// Whether they have a sign.
        signed: bool,
    },
}

/// The hints by column; none where they cannot be read.
pub fn hints(metadata: &FileMetadata) -> HashMap<String, Hint> {
    let values = metadata.key_value_metadata().iter().flatten();
    let text = values.filter(|pair| pair.key == "ARROW:schema").find_map(|pair| pair.value.as_ref());
    let bytes = text.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    bytes.and_then(|bytes| hints_of(&bytes)).unwrap_or_default()
}

fn hints_of(bytes: &[u8]) -> Option<HashMap<String, Hint>> {
    // A length of four bytes stands before the message, in newer files after a mark.
    let message = match bytes.strip_prefix(&[0xff; 4]) {
        Some(rest) => rest.get(4..)?,
        None => bytes.get(4..)?,
    };
    let MessageHeaderRef::Schema(schema) = MessageRef::read_as_root(message).ok()?.header().ok()?? else {
        return None;
    };
    let mut hints = HashMap::new();
    for field in schema.fields().ok()?? {
        let Ok(field) = field else { continue };
        let (Ok(Some(name)), Ok(Some(kind))) = (field.name(), field.type_()) else { continue };
        if let Some(hint) = hint(kind) {
            hints.insert(name.to_string(), hint);
        }
    }
    Some(hints)
}

fn hint(kind: TypeRef<'_>) -> Option<Hint> {
    match kind {
        TypeRef::Duration(duration) => Some(Hint::Duration(match duration.unit().ok()? {
            TimeUnit::Second => 1.0,
            TimeUnit::Millisecond => 1e3,
            TimeUnit::Microsecond => 1e6,
            TimeUnit::Nanosecond => 1e9,
        })),
        TypeRef::Int(int) if int.bit_width().ok()? == 128 => Some(Hint::Wide { signed: int.is_signed().ok()? }),
        _ => None,
    }
}
