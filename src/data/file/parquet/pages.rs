//! The pages of a column, unpacked once what they claim is known to be possible.
//! Source: the Apache Parquet format, "Data pages" and "Encodings".

use super::footer::{most_bytes, most_rows};
use super::line;
use crate::data::memory;
use polars::prelude::{ArrowDataType, ArrowField, ArrowTimeUnit, Series};
use polars_parquet::parquet::encoding::{Encoding, uleb128};
use polars_parquet::parquet::page::split_buffer;
use polars_parquet::read::{
    BasicDecompressor, ColumnChunkMetadata, FileMetadata, PageReader, PhysicalType, column_iter_to_arrays,
};
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;
use polars_parquet_format::{Encoding as FormatEncoding, PageHeader};
use std::io::Cursor;

/// Bytes that a value takes once it is unpacked, and as a cell.
const CELL: usize = 40;

/// The widest values of a fixed width that are read, in bytes.
const WIDEST: usize = 1024;

/// The values of a flat column, as they are stored; one series a group of rows.
///
/// # Errors
/// Where they are not all there, or cannot be unpacked.
pub fn read(bytes: &[u8], metadata: &FileMetadata, name: &str) -> Result<Vec<Series>, String> {
    let mut all = Vec::new();
    for group in metadata.row_groups.iter().filter(|group| group.num_rows() > 0) {
        let column = group.columns_under_root_iter(name).and_then(|mut columns| columns.next());
        let column = column.ok_or("it is not in every group of rows")?;
        let range = column.byte_range();
        let chunk = bytes.get(range.start as usize..range.end as usize).ok_or("the file ends too early")?;
        let pages = || PageReader::new(Cursor::new(chunk.to_vec().into()), column, Vec::new(), usize::MAX);
        if check(chunk, column, group.num_rows(), bytes.len())? {
            check_deltas(pages())?;
        }
        let field = ArrowField::new(name.into(), stored(column.physical_type())?, true);
        let kind = &column.descriptor().descriptor.primitive_type;
        let pages = BasicDecompressor::new(pages(), Vec::new());
        let (arrays, _) = column_iter_to_arrays(vec![pages], vec![kind], field.clone(), None).map_err(line)?;
        let series = Series::try_from((&field, arrays)).map_err(line)?;
        if series.len() != group.num_rows() {
            return Err(format!("a group of {} rows has {} values", group.num_rows(), series.len()));
        }
        all.push(series);
    }
    Ok(all)
}

/// As what values are unpacked, whatever they mean.
fn stored(physical: PhysicalType) -> Result<ArrowDataType, String> {
    Ok(match physical {
        PhysicalType::Boolean => ArrowDataType::Boolean,
        PhysicalType::Int32 => ArrowDataType::Int32,
        PhysicalType::Int64 => ArrowDataType::Int64,
        PhysicalType::Int96 => ArrowDataType::Timestamp(ArrowTimeUnit::Microsecond, None),
        PhysicalType::Float => ArrowDataType::Float32,
        PhysicalType::Double => ArrowDataType::Float64,
        PhysicalType::ByteArray => ArrowDataType::BinaryView,
        PhysicalType::FixedLenByteArray(width @ 1..=WIDEST) => ArrowDataType::FixedSizeBinary(width),
        PhysicalType::FixedLenByteArray(width) => {
            return Err(format!("its values take {width} bytes each; 1 to {WIDEST} are read"));
        }
    })
}

/// Checks that pages claim as many values as there are rows, and no more room than a file of this size may ask for;
/// whether some are stored as differences.
fn check(chunk: &[u8], column: &ColumnChunkMetadata, rows: usize, file: usize) -> Result<bool, String> {
    let claims = || format!("its pages claim more than {file} bytes can hold");
    if column.num_values() != rows as i64 {
        return Err(format!("a group of {rows} rows claims {} values", column.num_values()));
    }
    if let PhysicalType::FixedLenByteArray(width) = column.physical_type()
        && rows.saturating_mul(width) > most_bytes(file)
    {
        return Err(claims());
    }
    let size = |size: i32| usize::try_from(size).map_err(|_| "a page of it has a size below 0");
    let (mut rest, mut room, mut values, mut deltas) = (chunk, most_bytes(file), 0, false);
    while values < rows && !rest.is_empty() {
        let header = PageHeader::read_from_in_protocol(&mut TCompactInputProtocol::new(&mut rest, chunk.len()))
            .map_err(|_| "a page of it has no header")?;
        let data = match (header.data_page_header, header.data_page_header_v2, header.dictionary_page_header) {
            (Some(page), _, _) => Some((page.num_values, page.encoding)),
            (_, Some(page), _) => Some((page.num_values, page.encoding)),
            (_, _, Some(page)) if size(page.num_values)? > most_rows(file) => return Err(claims()),
            _ => None,
        };
        if let Some((of_page, encoding)) = data {
            values += size(of_page)?;
            deltas |= DELTAS.iter().any(|delta| FormatEncoding::from(*delta) == encoding);
        }
        room = room.checked_sub(size(header.uncompressed_page_size)?).ok_or_else(claims)?;
        rest = rest.get(size(header.compressed_page_size)?..).ok_or("a page of it ends too early")?;
    }
    // What is unpacked, and each value once more, as a cell.
    let unpacked = most_bytes(file) - room;
    memory::check(unpacked.saturating_add(rows.saturating_mul(CELL))).map_err(line)?;
    match values == rows {
        true => Ok(deltas),
        false => Err(format!("a group of {rows} rows has {values} values")),
    }
}

/// Encodings whose pages say once more, inside, how many values they have.
const DELTAS: [Encoding; 3] = [Encoding::DeltaBinaryPacked, Encoding::DeltaLengthByteArray, Encoding::DeltaByteArray];

/// Checks that pages of differences have no more of them than values.
fn check_deltas(pages: PageReader) -> Result<(), String> {
    let mut pages = BasicDecompressor::new(pages, Vec::new());
    pages.read_dict_page().map_err(line)?;
    while let Some(page) = pages.next() {
        let page = page.map_err(line)?.decompress(&mut pages).map_err(line)?;
        if DELTAS.contains(&page.encoding()) {
            // The size of a block, of its parts, and the number of values come first.
            let mut rest = split_buffer(&page).map_err(line)?.values;
            let mut count = 0;
            for _ in 0..3 {
                let (number, length) = uleb128::decode(rest);
                rest = rest.get(length..).ok_or("a page of it ends too early")?;
                count = number;
            }
            if count > page.num_values() as u64 {
                return Err("a page of it has more differences than values".into());
            }
        }
        pages.reuse_page_buffer(page);
    }
    Ok(())
}
