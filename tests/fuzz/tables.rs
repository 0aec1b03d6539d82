//! Tables of files: CSV, NPY and Parquet.

use super::changes::{Changes, repeat};
use super::{bounded, files, fuzz};
use runner::data::file::TableFile;
use std::path::Path;

/// Columns that the files of `tests/assets/parquet` have.
const NAMES: [&str; 32] = [
    "x",
    "y",
    "int8",
    "uint16",
    "int64",
    "uint64",
    "largest",
    "half",
    "single",
    "decimal32",
    "decimal64",
    "decimal128",
    "decimal256",
    "date",
    "timestamp_s",
    "timestamp_ns",
    "zoned",
    "duration_us",
    "time_ms",
    "number_text",
    "coded",
    "text",
    "long",
    "split",
    "day",
    "gap",
    "nothing",
    "int128",
    "category",
    "int96",
    "boolean",
    "map",
];

/// Reads a file with some columns; a refusal names the file.
fn read<'a>(path: &Path, names: impl IntoIterator<Item = &'a str>) {
    let file = path.display().to_string();
    let table = match TableFile::read(path, false) {
        Ok(table) => table,
        Err(error) => return assert!(error.to_string().contains(&file), "{error}"),
    };
    for name in names {
        for rows in [table.numbers(name).map(|column| column.len()), table.texts(name).map(|column| column.len())] {
            match rows {
                Ok(rows) => assert_eq!(rows, table.rows(), "{name}"),
                Err(error) => assert!(error.to_string().contains(&file), "{error}"),
            }
        }
    }
}

#[test]
fn a_parquet_file_is_a_table_or_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let check = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read(&path, NAMES);
    };
    let corpus = files("tests/assets/parquet", "parquet");
    fuzz("Parquet files", 300, &corpus, &["\0\0\0", "PAR1", "\u{7f}\u{7f}"], check);
    fuzz("Parquet files of the same length", 300, &corpus, &[], check);
}

/// Texts that are tables, or nearly.
fn csv_corpus() -> Vec<Vec<u8>> {
    let texts = [
        "x,y\n0,1\n1,3\n2,5\n",
        "x;y;name\r\n0,5;1;\"a;b\"\r\n1;3;\"c\"\"d\"\r\n",
        "x\ty\n-0\t1e308\n1e-320\t3.4e38\n",
        "\u{feff}a,\"b\nb\",c\nnan,inf,-inf\n1e999,0x10,1_000\n\n,,\n",
        "x\n\n1\n\n\n2",
        "# a comment\nx,y\n1,2,\n",
        " x , y \n 1 , 2 \n",
        "",
        "\n",
        "\r",
        "x,x\n1,2\n",
        "split,x\ntrain,1\ntest,2\nvalidation,3\n",
    ];
    let mut corpus: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    corpus.push("\u{feff}x,y\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect());
    corpus.push(texts[0].replace('\n', "\r").into_bytes());
    corpus.push(b"x,y\n\xff,\xc3\n".to_vec());
    corpus
}

#[test]
fn a_csv_file_is_a_table_or_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let pieces = [",", ";", "\t", "\"", "\"\"", "\n", "\r\n", "\r", "\u{feff}", "nan", "1e308", "-0", "\0", "\u{e9}"];
    fuzz("CSV files", 3000, &csv_corpus(), &pieces, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        let text = String::from_utf8_lossy(bytes);
        let header = text.lines().next().unwrap_or("");
        read(&path, header.split([',', ';', '\t']).map(|name| name.trim_matches(['"', ' ', '\u{feff}'])).chain(["x"]));
    });
}

/// A file of NumPy's whose header says strange things and fits its marks.
fn array(changes: &mut Changes) -> Vec<u8> {
    let kinds =
        ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "f16", "c8", "U3", "O", "V7", ""];
    let sides =
        ["0", "1", "2", "3", "7", "1000", "4294967296", "9223372036854775807", "18446744073709551615", "-1", "x"];
    let descr = match changes.below(12) {
        0 => "[('a', '<f8'), ('b', '<i4')]".to_string(),
        1 => "'".to_string(),
        _ => format!("'{}{}'", changes.pick(&["<", ">", "|", "=", "", "!"]), changes.pick(&kinds)),
    };
    let shape: Vec<&str> = (0..changes.below(4)).map(|_| *changes.pick(&sides)).collect();
    let order = changes.pick(&["True", "False", "None", ""]);
    let mut header = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': ({},), }}", shape.join(", "));
    if changes.below(4) == 0 {
        let pieces = ["'", "(", ")", "{", "}", ",", ":", "'shape':", "'descr':", "\n", "\0", "\u{e9}"];
        header = String::from_utf8_lossy(&changes.of(&[header.into_bytes()], &pieces)).into_owned();
    }
    let version = *changes.pick(&[1_u8, 2, 3, 0, 4, 255]);
    let length = match changes.below(8) {
        0 => *changes.pick(&[0, 1, 0xffff, 0xffff_ffff]),
        _ => header.len(),
    };
    let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
    match version {
        1 => bytes.extend((length as u16).to_le_bytes()),
        _ => bytes.extend((length as u32).to_le_bytes()),
    }
    bytes.extend(header.bytes());
    let byte = *changes.pick(&[0_u8, 1, 0x7c, 0x7f, 0xff]);
    bytes.extend((0..changes.below(130)).map(|i| if byte == 1 { i as u8 } else { byte }));
    bytes
}

#[test]
fn an_npy_file_is_a_table_or_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.npy");
    repeat("NPY files", 3000, |changes| {
        let mut bytes = array(changes);
        if changes.below(3) == 0 {
            bytes = changes.of(&[bytes], &["\0\0", "'", "(", "9"]);
        }
        bounded(bytes.len(), || {
            std::fs::write(&path, &bytes).unwrap();
            read(&path, ["0", "1", "2", "x"]);
        });
    });
}
