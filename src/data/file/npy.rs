//! NumPy's arrays of one or two dimensions: columns are called `0`, `1`, ...
//! Source: NumPy Enhancement Proposal 1, "A Simple File Format for NumPy Arrays".

use super::{Cell, TableError, half, whole};

/// What such a file begins with.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// An array as it lies in its file.
#[derive(Debug)]
pub struct NpyArray {
    bytes: Vec<u8>,
    /// Where its numbers begin.
    begins: usize,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub width: usize,
    /// Whether numbers of a column, and not of a row, lie together.
    by_columns: bool,
    number: Number,
}

/// Reads a table.
pub fn read(file: String, bytes: Vec<u8>) -> Result<NpyArray, TableError> {
    let array = NpyArray::of(bytes).map_err(|fault| match fault {
        Fault::Damaged(error) => TableError::NotOfFormat { file: file.clone(), format: "NPY", error },
        Fault::Holds(holds) => TableError::NoTable { file: file.clone(), holds },
    })?;
    match (array.rows, array.width) {
        (0, _) => Err(TableError::Rowless(file)),
        (_, 0) => Err(TableError::NoColumns(file)),
        _ => Ok(array),
    }
}

/// Why there is no table.
#[derive(Debug)]
enum Fault {
    /// It is no array, or not all of one.
    Damaged(String),
    /// It is an array of something else; this, in the plural.
    Holds(String),
}

impl From<&str> for Fault {
    fn from(text: &str) -> Fault {
        Fault::Damaged(text.into())
    }
}

impl NpyArray {
    fn of(bytes: Vec<u8>) -> Result<NpyArray, Fault> {
        let short = || Fault::from("the file ends too early");
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin with NumPy's mark")?;
        let (length, begins) = match rest.first().ok_or_else(short)? {
            1 => (usize::from(u16::from_le_bytes(array(rest, 2).ok_or_else(short)?)), 4),
            0 | 4.. => return Err(Fault::Damaged(format!("its version is {}; 1, 2, and 3 are read", rest[0]))),
            _ => (u32::from_le_bytes(array(rest, 2).ok_or_else(short)?) as usize, 6),
        };
        let header = rest.get(begins..begins + length).ok_or_else(short)?;
        let header = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
        let (shape, kind) = (shape(header)?, value(header, "descr").ok_or("its header has no `descr`")?);
        let by_columns = value(header, "fortran_order").is_some_and(|text| text.starts_with("True"));
        let (rows, width) = match shape[..] {
            [rows] => (rows, 1),
            [rows, width] => (rows, width),
            [] => return Err(Fault::Holds("a single value".into())),
            _ => return Err(Fault::Holds(format!("an array of {} dimensions", shape.len()))),
        };
        let number = Number::of(kind.trim_start().trim_matches(['\'', '"']))?;
        let begins = MAGIC.len() + begins + length;
        let count = if rows == 0 { 0 } else { rows.checked_mul(width).ok_or_else(short)? };
        if (bytes.len() - begins) / number.size < count {
            return Err(short());
        }
        Ok(NpyArray { bytes, begins, rows, width, by_columns, number })
    }

    /// The cells of a column.
    pub fn column(&self, column: usize) -> impl Iterator<Item = Cell<'_>> {
        let at = move |row: usize| if self.by_columns { column * self.rows + row } else { row * self.width + column };
        let size = self.number.size;
        (0..self.rows)
            .map(move |row| -> Cell<'_> { self.number.read(&self.bytes[self.begins + at(row) * size..][..size]) })
    }
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

fn shape(header: &str) -> Result<Vec<usize>, Fault> {
    let text = value(header, "shape").ok_or("its header has no `shape`")?;
    let parts = text.trim_matches(['(', ')']).split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.parse().map_err(|_| Fault::Damaged(format!("its shape {text} cannot be read")))).collect()
}

/// How a number is kept.
#[derive(Debug)]
struct Number {
    kind: char,
    size: usize,
    big_endian: bool,
}

impl Number {
    fn of(descr: &str) -> Result<Number, Fault> {
        let mut rest = descr.chars();
        let (order, kind) = (rest.next().unwrap_or(' '), rest.next().unwrap_or(' '));
        let size = rest.as_str().parse().unwrap_or(0);
        let known = match kind {
            'f' => [2, 4, 8].contains(&size),
            'i' | 'u' => [1, 2, 4, 8].contains(&size),
            'b' => size == 1,
            _ => false,
        };
        if !known || !['<', '>', '|', '='].contains(&order) {
            let shown: String = descr.chars().take(40).flat_map(char::escape_debug).collect();
            return Err(Fault::Holds(match kind {
                // A list of fields takes the place of a type.
                _ if order == '[' => "records".into(),
                'c' => format!("complex numbers (`{shown}`)"),
                'O' => format!("Python objects (`{shown}`)"),
                'U' | 'S' | 'a' => format!("texts (`{shown}`)"),
                'M' => format!("moments (`{shown}`)"),
                'm' => format!("durations (`{shown}`)"),
                'V' => format!("bytes (`{shown}`)"),
                _ => format!("values of type `{shown}`"),
            }));
        }
        Ok(Number { kind, size, big_endian: order == '>' })
    }

    fn read(&self, bytes: &[u8]) -> Cell<'static> {
        let byte = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        let bits = match self.big_endian {
            true => bytes.iter().fold(0, byte),
            false => bytes.iter().rev().fold(0, byte),
        };
        let unused = 64 - 8 * self.size as u32;
        match (self.kind, self.size) {
            ('f', 2) => Cell::Number(half(bits as u16)),
            ('f', 4) => Cell::Number(f64::from(f32::from_bits(bits as u32))),
            ('f', _) => Cell::Number(f64::from_bits(bits)),
            ('i', _) => whole(i128::from((bits << unused) as i64 >> unused)),
            _ => whole(i128::from(bits)),
        }
    }
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

    fn columns(bytes: &[u8]) -> Result<Vec<Vec<f64>>, Fault> {
        let number = |cell: Cell<'_>| match cell {
            Cell::Number(x) => x,
            other => panic!("{other:?}"),
        };
        let array = NpyArray::of(bytes.to_vec())?;
        Ok((0..array.width).map(|column| array.column(column).map(number).collect()).collect())
    }

    #[test]
    fn rows_and_columns_are_read_in_both_orders_and_several_types() {
        let numbers: Vec<u8> = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let straight = columns(&npy("<f8", "False", "(3, 2)", &numbers)).unwrap();
        assert_eq!(straight, [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]);
        let turned = columns(&npy("<f8", "True", "(3, 2)", &numbers)).unwrap();
        assert_eq!(turned, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let small: Vec<u8> = [-2i16, 7].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(columns(&npy("<i2", "False", "(2,)", &small)).unwrap(), [[-2.0, 7.0]]);
    }

    #[test]
    fn every_kind_of_number_is_read_in_both_orders_of_bytes() {
        let one = |descr: &str, body: &[u8]| columns(&npy(descr, "False", "(1,)", body)).unwrap()[0][0];
        assert_eq!(one("<u2", &[0xff, 0xff]), 65535.0);
        assert_eq!(one(">u4", &[0x80, 0, 0, 1]), 2147483649.0);
        assert_eq!(one(">i2", &[0xff, 0xfe]), -2.0);
        assert_eq!(one("<u8", &[1, 0, 0, 0, 1, 0, 0, 0]), 4294967297.0);
        assert_eq!(one("|i1", &[0x80]), -128.0);
        assert_eq!(one(">f4", &1.5f32.to_be_bytes()), 1.5);
        assert_eq!(one(">f8", &(-2.5f64).to_be_bytes()), -2.5);
        for (bits, value) in [(0x3c00u16, 1.0), (0xc000, -2.0), (0x0001, 2f64.powi(-24)), (0x7bff, 65504.0)] {
            assert_eq!(one("<f2", &bits.to_le_bytes()), value);
            assert_eq!(one(">f2", &bits.to_be_bytes()), value);
        }
        let large = NpyArray::of(npy("<u8", "False", "(1,)", &[0xff; 8])).unwrap();
        assert!(large.column(0).eq([Cell::Text("18446744073709551615".into())]));
    }

    #[test]
    fn what_is_no_table_of_numbers_is_refused_with_a_reason() {
        let fault = |bytes: &[u8]| match columns(bytes).unwrap_err() {
            Fault::Damaged(text) | Fault::Holds(text) => text,
        };
        for (descr, words) in [
            ("<U3", "texts (`<U3`)"),
            ("|S3", "texts"),
            ("<c8", "complex numbers"),
            ("|O", "Python objects"),
            ("<M8[D]", "moments"),
            ("<m8[s]", "durations"),
            ("|V4", "bytes"),
            ("<f16", "values of type `<f16`"),
        ] {
            assert!(fault(&npy(descr, "False", "(2,)", &[0; 24])).starts_with(words), "{descr}");
        }
        let records = npy("", "False", "(2,)", &[0; 24]);
        let records = String::from_utf8_lossy(&records[10..]).replace("''", "[('x', '<f8')]");
        let length = (records.len() as u16).to_le_bytes();
        assert_eq!(fault(&[MAGIC, &[1, 0], &length, records.as_bytes()].concat()), "records");
        for shape in ["(9, 9)", "(1000000000000, 2)", "(18446744073709551615, 2)", "(1, 1000000000000)"] {
            assert!(fault(&npy("<f8", "False", shape, &[0; 24])).contains("too early"), "{shape}");
        }
        assert!(fault(&npy("<f8", "False", "(-1, 2)", &[0; 24])).contains("(-1, 2)"));
        assert_eq!(fault(&npy("<f8", "False", "(1, 1, 3)", &[0; 24])), "an array of 3 dimensions");
        assert_eq!(fault(&npy("<f8", "False", "()", &[0; 24])), "a single value");
        assert!(fault(b"a,b\n1,2\n").contains("mark"));
        assert!(fault(b"\x93NUMPY\x09\x00\x00\x00\x00\x00").contains("version is 9"));
    }
}
