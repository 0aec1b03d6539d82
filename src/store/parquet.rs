//! Parquet files that a stranger may have made: read within bounds, and where the reader panics that is an error, too.
//!
//! The panics of polars are not printed: they say that a file is damaged, which the error says as well.

use polars::io::parquet::metadata::FileMetadata;
use polars::prelude::*;
use polars_parquet_format::PageHeader;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;
use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cells that a file of any size may have.
const FREE_CELLS: u64 = 1 << 24;

/// Rows that a file with more cells may have for each of its bytes. A column of one value takes next to none.
const ROWS_A_BYTE: u64 = 256;

/// Bytes that a page may have once it is unpacked, however few it has in the file.
const FREE_BYTES: u64 = 1 << 27;

/// How many times as many bytes a larger page may have.
const BYTES_A_BYTE: u64 = 1 << 10;

/// What a file is, where it is no table that can be read.
pub const DAMAGED: &str = "this is no Parquet file, or it is damaged";

/// Reads a table; of `only` those columns that it has.
///
/// # Errors
/// Where it is damaged, or claims more rows than its bytes can hold.
pub fn read(file: File, only: Option<&[&str]>) -> Result<DataFrame, String> {
    quietly(|| bounded(file, only)).unwrap_or_else(|| Err(DAMAGED.into()))
}

/// Rows of a table by its end, which cannot be read of a file that was cut.
pub fn rows(file: File) -> Option<usize> {
    quietly(|| ParquetReader::new(file).get_metadata().ok().map(|metadata| metadata.num_rows)).flatten()
}

fn bounded(file: File, only: Option<&[&str]>) -> Result<DataFrame, String> {
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let failed = |error: PolarsError| format!("{DAMAGED}: {}", error.to_string().lines().next().unwrap_or(""));
    let pages = BufReader::with_capacity(1 << 10, file.try_clone().map_err(|error| error.to_string())?);
    let mut reader = ParquetReader::new(file);
    let metadata = reader.get_metadata().map_err(failed)?.clone();
    let groups = metadata.row_groups.iter().map(|group| group.num_rows() as u64);
    let rows = groups.fold(0, u64::saturating_add);
    let columns = metadata.schema().fields().len().max(1) as u64;
    if rows != metadata.num_rows as u64 {
        return Err(format!("{DAMAGED}: it says that it has {} rows, and then {rows}", metadata.num_rows));
    }
    if rows.saturating_mul(columns) > FREE_CELLS && rows / ROWS_A_BYTE > bytes {
        return Err(format!("{DAMAGED}: it has {bytes} bytes and says that it has {rows} rows"));
    }
    check_pages(pages, bytes, &metadata)?;
    let schema = reader.schema().map_err(failed)?;
    let there = |names: &[&str]| -> Vec<String> {
        names.iter().filter(|name| schema.contains(name)).map(|name| name.to_string()).collect()
    };
    reader.with_columns(only.map(there)).finish().map_err(failed)
}

/// Refuses pages that claim to be much more than their bytes can be. Where one is not understood the reader stops, too.
fn check_pages(mut file: BufReader<File>, bytes: u64, metadata: &FileMetadata) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    for chunk in metadata.row_groups.iter().flat_map(|group| group.parquet_columns()) {
        let Range { start: mut at, end } = chunk.byte_range();
        if at > end || end > bytes {
            return Err(format!("{DAMAGED}: a column ends behind the end of the file"));
        }
        while at < end {
            file.seek(SeekFrom::Start(at)).map_err(failed)?;
            let most = usize::try_from(end - at).unwrap_or(usize::MAX);
            let mut protocol = TCompactInputProtocol::new(&mut file, most);
            let Ok(page) = PageHeader::read_from_in_protocol(&mut protocol) else { break };
            let values = [
                page.data_page_header.map(|header| header.num_values),
                page.data_page_header_v2.map(|header| header.num_values),
                page.dictionary_page_header.map(|header| header.num_values),
            ];
            let values = values.into_iter().flatten().max().unwrap_or(0);
            let number = |n: i32| u64::try_from(n).map_err(|_| format!("{DAMAGED}: a page has {n} bytes or values"));
            let (size, unpacked, values) =
                (number(page.compressed_page_size)?, number(page.uncompressed_page_size)?, number(values)?);
            if unpacked > FREE_BYTES && unpacked / BYTES_A_BYTE > size
                || values > FREE_CELLS && values / ROWS_A_BYTE > size
            {
                let text = format!("a page of {size} bytes says that it is {values} values in {unpacked} bytes");
                return Err(format!("{DAMAGED}: {text}"));
            }
            at = file.stream_position().map_err(failed)?.saturating_add(size);
        }
    }
    Ok(())
}

thread_local! {
    /// Whether this thread reads.
    static READS: Cell<bool> = const { Cell::new(false) };
}

/// Readers at work.
static READERS: AtomicUsize = AtomicUsize::new(0);

/// Runs what may panic, in this thread or in those of polars, without a word; none where it does.
fn quietly<T>(read: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_polars = || std::thread::current().name().is_some_and(|name| name.starts_with("polars-"));
            let expected = READS.get() || READERS.load(Ordering::Relaxed) > 0 && of_polars();
            if !expected {
                others(panic);
            }
        }));
    });
    READERS.fetch_add(1, Ordering::Relaxed);
    let before = READS.replace(true);
    let read = catch_unwind(AssertUnwindSafe(read));
    READS.set(before);
    READERS.fetch_sub(1, Ordering::Relaxed);
    read.ok()
}
