//! Parquet files that a stranger may have made: read within bounds, and where the reader panics that is an error, too.
//!
//! The panics of polars are not printed: they say that a file is damaged, which the error says as well.

use polars::prelude::*;
use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cells that a file of any size may have.
const FREE_CELLS: u64 = 1 << 24;

/// Rows that a file with more cells may have for each of its bytes. A column of one value takes next to none.
const ROWS_A_BYTE: u64 = 256;

/// What a file is, where it is no table that can be read.
const DAMAGED: &str = "this is no Parquet file, or it is damaged";

/// Reads a table; of `only` those columns that it has.
///
/// # Errors
/// Where it is damaged, or claims more rows than its bytes can hold.
pub fn read(file: File, only: Option<&[&str]>) -> Result<DataFrame, String> {
    quietly(|| bounded(file, only)).unwrap_or_else(|| Err(DAMAGED.into()))
}

fn bounded(file: File, only: Option<&[&str]>) -> Result<DataFrame, String> {
    let bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let failed = |error: PolarsError| format!("{DAMAGED}: {}", error.to_string().lines().next().unwrap_or(""));
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
    let schema = reader.schema().map_err(failed)?;
    let there = |names: &[&str]| -> Vec<String> {
        names.iter().filter(|name| schema.contains(**name)).map(|name| name.to_string()).collect()
    };
    reader.with_columns(only.map(there)).finish().map_err(failed)
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
