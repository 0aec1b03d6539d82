//! NumPy's arrays of one or two dimensions: columns are called `0`, `1`, ...
//! Source: NumPy Enhancement Proposal 1, "A Simple File Format for NumPy Arrays".

use super::{Cell, TableError, TableFile};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads a table.
pub fn read(file: String, bytes: &[u8]) -> Result<TableFile, TableError> {
    let columns =
        columns(bytes).map_err(|error| TableError::NotOfFormat { file: file.clone(), format: "NPY", error })?;
    let names = (0..columns.len()).map(|i| i.to_string()).collect();
    let cells = columns.into_iter().map(|column| column.into_iter().map(Cell::Number).collect()).collect();
    Ok(TableFile { file, names, cells, lines: Vec::new(), digest: String::new() })
}

/// `[column][row]`.
fn columns(bytes: &[u8]) -> Result<Vec<Vec<f64>>, String> {
    let short = || "the file ends too early".to_string();
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin with NumPy's mark")?;
    let (length, begins) = match rest.first().ok_or_else(short)? {
        1 => (usize::from(u16::from_le_bytes(array(rest, 2).ok_or_else(short)?)), 4),
        _ => (u32::from_le_bytes(array(rest, 2).ok_or_else(short)?) as usize, 6),
    };
    let header = rest.get(begins..begins + length).ok_or_else(short)?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
    let (shape, kind) = (shape(header)?, value(header, "descr").ok_or("its header has no `descr`")?);
    let by_columns = value(header, "fortran_order").is_some_and(|text| text.starts_with("True"));
    let (rows, width) = match shape[..] {
        [rows] => (rows, 1),
        [rows, width] => (rows, width),
        _ => return Err(format!("an array of {} dimensions is no table; 1 or 2 are read", shape.len())),
    };
    let (size, number) = number(kind.trim_start().trim_matches(['\'', '"']))?;
    let count = rows.checked_mul(width).ok_or_else(short)?;
    let body = &rest[begins + length..];
    if body.len() / size < count {
        return Err(short());
    }
    let at = |row: usize, column: usize| if by_columns { column * rows + row } else { row * width + column };
    let cell = |row: usize, column: usize| number(&body[at(row, column) * size..][..size]);
    Ok((0..width).map(|column| (0..rows).map(|row| cell(row, column)).collect()).collect())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// What follows a key of the header, which is a dictionary as Python prints it.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let after = header.split_once(&format!("'{key}':"))?.1.trim_start();
    let end = if after.starts_with('(') { after.find(')')? + 1 } else { after.find([',', '}'])? };
    Some(&after[..end])
}

fn shape(header: &str) -> Result<Vec<usize>, String> {
    let text = value(header, "shape").ok_or("its header has no `shape`")?;
    let parts = text.trim_matches(['(', ')']).split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.parse().map_err(|_| format!("its shape {text} cannot be read"))).collect()
}

/// Reads a number.
type Number = fn(&[u8]) -> f64;

/// Bytes of a number, and how it is read.
fn number(kind: &str) -> Result<(usize, Number), String> {
    Ok(match kind {
        "<f8" => (8, |bytes| bytes.try_into().map_or(f64::NAN, f64::from_le_bytes)),
        "<f4" => (4, |bytes| f64::from(bytes.try_into().map_or(f32::NAN, f32::from_le_bytes))),
        "<i8" => integer::<8>(),
        "<i4" => integer::<4>(),
        "<i2" => integer::<2>(),
        "|i1" => integer::<1>(),
        "|u1" | "|b1" => (1, |bytes| f64::from(bytes[0])),
        other => return Err(format!("numbers of type `{other}` are not read; <f4, <f8, and integers are")),
    })
}

/// Little-endian integers with a sign.
fn integer<const N: usize>() -> (usize, Number) {
    (N, |bytes| {
        let negative = bytes[N - 1] >= 0x80;
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..N].copy_from_slice(&bytes[..N]);
        i64::from_le_bytes(all) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, order: &str, shape: &str, body: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
        bytes.extend(body);
        bytes
    }

    #[test]
    fn rows_and_columns_are_read_in_both_orders_and_several_types() {
        let numbers: Vec<u8> = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let columns = columns(&npy("<f8", "False", "(3, 2)", &numbers)).unwrap();
        assert_eq!(columns, [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]);
        let turned = super::columns(&npy("<f8", "True", "(3, 2)", &numbers)).unwrap();
        assert_eq!(turned, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let small: Vec<u8> = [-2i16, 7].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(super::columns(&npy("<i2", "False", "(2,)", &small)).unwrap(), [[-2.0, 7.0]]);
    }

    #[test]
    fn what_is_no_table_of_numbers_is_refused_with_a_reason() {
        assert!(columns(&npy("<U3", "False", "(2,)", &[0; 24])).unwrap_err().contains("`<U3`"));
        assert!(columns(&npy("<f8", "False", "(9, 9)", &[0; 24])).unwrap_err().contains("too early"));
        assert!(columns(&npy("<f8", "False", "(1, 1, 3)", &[0; 24])).unwrap_err().contains("3 dimensions"));
        assert!(columns(b"a,b\n1,2\n").unwrap_err().contains("mark"));
    }
}
