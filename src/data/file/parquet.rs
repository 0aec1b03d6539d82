//! Parquet: columns of numbers as they are, of text as text; everything else is read as text, too.

use super::{Cell, TableError, TableFile, whole};
use polars::prelude::*;

/// Reads a table.
pub fn read(file: String, bytes: Vec<u8>) -> Result<TableFile, TableError> {
    let failed = |error: PolarsError| TableError::NotOfFormat {
        file: file.clone(),
        format: "Parquet",
        error: error.to_string().lines().next().unwrap_or("").to_string(),
    };
    let table = ParquetReader::new(std::io::Cursor::new(bytes)).finish().map_err(failed)?;
    let names = table.get_column_names().iter().map(|name| name.to_string()).collect();
    let cells = table.columns().iter().map(|column| cells(column).map_err(failed)).collect::<Result<Vec<_>, _>>()?;
    Ok(TableFile { names, cells, lines: Vec::new(), digest: String::new(), file })
}

fn cells(column: &Column) -> PolarsResult<Vec<Cell>> {
    if column.dtype().is_primitive_numeric() || column.dtype() == &DataType::Boolean {
        let numbers = column.cast(&DataType::Float64)?;
        let numbers = numbers.f64()?;
        let large = |x: f64| x.abs() >= (1u64 << f64::MANTISSA_DIGITS) as f64;
        if !(column.dtype().is_integer() && numbers.iter().flatten().any(large)) {
            return Ok(numbers.iter().map(|x| x.map_or(Cell::Missing, Cell::Number)).collect());
        }
        // Whole numbers that may be names are exact as text.
        let texts = column.cast(&DataType::String)?;
        let cell = |text: Option<&str>| text.and_then(|text| text.parse().ok()).map_or(Cell::Missing, whole);
        return Ok(texts.str()?.iter().map(cell).collect());
    }
    let texts = column.cast(&DataType::String)?;
    Ok(texts.str()?.iter().map(|text| text.map_or(Cell::Missing, |text| Cell::Text(text.into()))).collect())
}
