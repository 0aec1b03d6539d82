//! Parquet as it comes: types of other programs, columns nobody names, and files that claim what they do not have.

use super::Sandbox;
use super::strange_files::TABLE;
use polars::prelude::*;
use polars_parquet_format::thrift::protocol::{TCompactInputProtocol, TCompactOutputProtocol};
use polars_parquet_format::{CompressionCodec, DataPageHeader, DictionaryPageHeader, Encoding, PageHeader, PageType};
use polars_parquet_format::{FileMetaData, SchemaElement};
use runner::data::file::TableFile;
use std::path::{Path, PathBuf};

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets/parquet").join(name)
}

/// The table experiment on a file of the assets.
fn on(name: &str) -> Sandbox {
    let sandbox = Sandbox::with("t.toml", &TABLE.replace("d.csv", "d.parquet"));
    sandbox.write("d.parquet", std::fs::read(asset(name)).unwrap());
    sandbox
}

/// What a check of an experiment with other inputs says, and its status.
fn check(sandbox: &Sandbox, input: &str) -> (i32, String) {
    let ran = sandbox.runner(["check", "t.toml", "--set", &format!("data.inputs=[\"{input}\"]")]);
    (ran.status, ran.stderr)
}

fn numbers(file: &str, column: &str) -> Vec<f64> {
    TableFile::read(&asset(file), false).and_then(|table| table.numbers(column)).unwrap_or_else(|e| panic!("{e}"))
}

fn names(file: &str, column: &str) -> Vec<String> {
    TableFile::read(&asset(file), false).and_then(|table| table.texts(column)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn what_can_be_a_number_is_one() {
    const DAY: f64 = 86_400.0;
    let rows = || (0..8u32).map(f64::from);
    let same = [
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "number_text",
        "coded",
        "duration_ms",
        "timestamp_ms",
        "time_s",
        "time_ms",
        "time_us",
        "time_ns",
    ];
    for column in same {
        assert_eq!(numbers("kinds.parquet", column), rows().collect::<Vec<_>>(), "{column}");
    }
    type Value = fn(f64) -> f64;
    let cases: [(&str, Value); 17] = [
        ("boolean", |i| i % 2.0),
        ("half", |i| i / 4.0),
        ("single", |i| i / 4.0),
        ("decimal32", |i| i / 10.0),
        ("decimal64", |i| i / 10.0),
        ("decimal128", |i| i / 10.0),
        ("decimal256", |i| -1e30 - i / 10.0),
        ("largest", |i| 2f64.powi(64) - i * 2f64.powi(61)),
        ("date", |i| (19_723.0 + i) * DAY),
        ("date64", |i| (19_723.0 + i) * DAY),
        ("timestamp_s", |i| 1e3 * i),
        ("timestamp_us", |i| i / 1e3),
        ("timestamp_ns", |i| i / 1e6),
        ("zoned", |i| 1.5 * i),
        ("duration_s", |i| 1e3 * i),
        ("duration_us", |i| i / 1e3),
        ("duration_ns", |i| i / 1e6),
    ];
    for (column, value) in cases {
        assert_eq!(numbers("kinds.parquet", column), rows().map(value).collect::<Vec<_>>(), "{column}");
    }
    for column in ["int128", "uint128", "decimal", "duration", "time"] {
        assert_eq!(numbers("of_polars.parquet", column), rows().collect::<Vec<_>>(), "{column}");
    }
    assert_eq!(numbers("int96.parquet", "int96"), rows().collect::<Vec<_>>());
}

#[test]
fn every_codec_and_encoding_gives_the_same_numbers() {
    let rows: Vec<f64> = (0..8u32).map(f64::from).collect();
    for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"] {
        for version in [1, 2] {
            let file = format!("{codec}_{version}.parquet");
            assert_eq!(numbers(&file, "int64"), rows, "{file}");
            assert_eq!(names(&file, "text"), ["a", "b", "a", "b", "a", "b", "a", "b"], "{file}");
        }
    }
    for column in ["x", "text", "long", "y"] {
        assert_eq!(numbers("encodings.parquet", column), rows, "{column}");
    }
    assert_eq!(numbers("encodings.parquet", "split"), rows.iter().map(|i| i / 4.0).collect::<Vec<_>>());
}

#[test]
fn texts_and_days_are_names() {
    let letters = ["a", "b", "a", "b", "a", "b", "a", "b"];
    for column in ["text", "large_text", "coded_text"] {
        assert_eq!(names("kinds.parquet", column), letters, "{column}");
    }
    assert_eq!(names("of_polars.parquet", "category"), letters);
    assert_eq!(names("kinds.parquet", "day")[..2], ["2024-01-01", "2024-01-02"]);
    assert_eq!(names("kinds.parquet", "uint8")[..2], ["0", "1"]);
    assert_eq!(names("kinds.parquet", "largest")[0], "18446744073709551615");
}

#[test]
fn what_is_neither_number_nor_name_is_refused_by_column_and_type() {
    let sandbox = on("kinds.parquet");
    let cases = [
        ("map", "maps"),
        ("struct", "structs"),
        ("list", "lists"),
        ("fixed_list", "lists"),
        ("nested", "lists"),
        ("bytes", "bytes"),
        ("fixed_bytes", "bytes"),
        ("uuid", "bytes"),
    ];
    for (column, holds) in cases {
        let (status, said) = check(&sandbox, column);
        assert_eq!(status, 2, "{said}");
        assert!(said.contains(&format!("d.parquet: column `{column}` holds {holds}, not numbers")), "{said}");
        let split = format!("data.split={{ column = \"{column}\" }}");
        let ran = sandbox.runner(["check", "t.toml", "--set", "data.inputs=[\"int8\"]", "--set", &split]);
        assert!(ran.status == 2 && ran.stderr.contains(&format!("holds {holds}, not names")), "{}", ran.stderr);
    }
    for (column, words) in [
        ("text", "row 1, column `text`: `a` is not a number"),
        ("nothing", "row 1, column `nothing`: no value"),
        ("gap", "row 4, column `gap`: no value"),
    ] {
        let (status, said) = check(&sandbox, column);
        assert!(status == 2 && said.contains(words), "{said}");
    }
}

#[test]
fn columns_that_nobody_names_do_not_matter_and_predictions_are_read_alike() {
    let sandbox = on("kinds.parquet");
    sandbox.fine(["run", "t.toml", "--out", "out", "--set", "data.inputs=[\"decimal128\"]"]);
    sandbox.fine(["predict", "out", "--data", "d.parquet", "--out", "p.csv"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("p.csv")).unwrap().lines().count(), 9);
}

/// A file with another footer.
fn with_footer(bytes: &[u8], change: impl FnOnce(&mut FileMetaData)) -> Vec<u8> {
    let (rest, end) = bytes.split_at(bytes.len() - 8);
    let begins = rest.len() - u32::from_le_bytes(end[..4].try_into().unwrap()) as usize;
    let mut input = TCompactInputProtocol::new(&rest[begins..], usize::MAX);
    let mut file = FileMetaData::read_from_in_protocol(&mut input).unwrap();
    change(&mut file);
    let mut footer = Vec::new();
    file.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut footer)).unwrap();
    [&rest[..begins], &footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

fn group(members: i32) -> SchemaElement {
    SchemaElement {
        type_: None,
        num_children: Some(members),
        repetition_type: Some(polars_parquet_format::FieldRepetitionType::OPTIONAL),
        name: "g".into(),
        type_length: None,
        converted_type: None,
        scale: None,
        precision: None,
        field_id: None,
        logical_type: None,
    }
}

#[test]
fn what_a_file_claims_and_cannot_have_is_refused_before_memory_is_taken() {
    const HUGE: i64 = 1_000_000_000_000;
    let bytes = std::fs::read(asset("int96.parquet")).unwrap();
    type Change = fn(&mut FileMetaData);
    let cases: [(Change, &str); 8] = [
        (|file| file.num_rows = HUGE, "other numbers of rows than the whole"),
        (
            |file| {
                file.num_rows = HUGE;
                file.row_groups[0].num_rows = HUGE;
            },
            "claims 1000000000000 rows",
        ),
        (
            |file| {
                let column = file.row_groups[0].columns[1].meta_data.as_mut().unwrap();
                column.num_values = HUGE;
            },
            "a group of 8 rows claims 1000000000000 values",
        ),
        (
            |file| {
                file.num_rows = 100_000;
                file.row_groups[0].num_rows = 100_000;
                file.row_groups[0].columns[1].meta_data.as_mut().unwrap().num_values = 100_000;
            },
            "100000 rows has 8 values",
        ),
        (|file| file.row_groups[0].columns[1].meta_data.as_mut().unwrap().dictionary_page_offset = Some(-1), "damaged"),
        (|file| file.row_groups[0].columns[1].meta_data.as_mut().unwrap().total_compressed_size = HUGE, "too early"),
        (
            |file| {
                file.schema[0].num_children = Some(3);
                file.schema.extend((0..100_000).map(|_| group(1)));
                let mut leaf = file.schema[1].clone();
                leaf.name = "leaf".into();
                file.schema.push(leaf);
            },
            "levels deep",
        ),
        (
            |file| {
                file.schema[2].type_ = Some(polars_parquet_format::Type::FIXED_LEN_BYTE_ARRAY);
                file.schema[2].type_length = Some(i32::MAX);
                file.schema[2].converted_type = Some(polars_parquet_format::ConvertedType::DECIMAL);
                (file.schema[2].precision, file.schema[2].scale) = (Some(9), Some(2));
            },
            "",
        ),
    ];
    for (change, words) in cases {
        let sandbox = on("int96.parquet");
        sandbox.write("d.parquet", with_footer(&bytes, change));
        let (status, said) = check(&sandbox, "int96");
        assert_eq!(status, 2, "{words}: {said}");
        assert!(said.contains("d.parquet") && said.contains(words) && !said.contains("panicked"), "{words}: {said}");
    }
}

/// A file whose first column is made of other pages, none of them packed.
fn with_pages(bytes: &[u8], pages: &[(PageHeader, &[u8])]) -> Vec<u8> {
    let mut chunk = Vec::new();
    for (header, body) in pages {
        header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut chunk)).unwrap();
        chunk.extend_from_slice(body);
    }
    // It lies before everything else, so that all other places move.
    let (mark, rest) = bytes.split_at(4);
    let moved = [mark, &chunk, rest].concat();
    with_footer(&moved, |file| {
        for (place, column) in file.row_groups[0].columns.iter_mut().enumerate() {
            let column = column.meta_data.as_mut().unwrap();
            column.data_page_offset += chunk.len() as i64;
            column.dictionary_page_offset = column.dictionary_page_offset.map(|offset| offset + chunk.len() as i64);
            if place == 0 {
                (column.data_page_offset, column.dictionary_page_offset) = (4, None);
                column.codec = CompressionCodec::UNCOMPRESSED;
                column.total_compressed_size = chunk.len() as i64;
            }
        }
    })
}

fn data_page(values: i32, size: i32, unpacked: i32, encoding: Encoding) -> PageHeader {
    PageHeader {
        type_: PageType::DATA_PAGE,
        uncompressed_page_size: unpacked,
        compressed_page_size: size,
        crc: None,
        data_page_header: Some(DataPageHeader {
            num_values: values,
            encoding,
            definition_level_encoding: Encoding::RLE,
            repetition_level_encoding: Encoding::RLE,
            statistics: None,
        }),
        index_page_header: None,
        dictionary_page_header: None,
        data_page_header_v2: None,
    }
}

#[test]
fn what_pages_claim_and_cannot_have_is_refused_before_memory_is_taken() {
    let bytes = std::fs::read(asset("encodings.parquet")).unwrap();
    // Eight values that are there, then a block of as many as nobody can hold, all of them equal.
    let deltas = [2, 0, 0, 0, 16, 1, 128, 128, 128, 128, 128, 128, 2, 1, 128, 128, 128, 128, 128, 128, 2, 0, 0, 0];
    let plain = [[2, 0, 0, 0, 16, 1].as_slice(), &[7; 64]].concat();
    let size = |body: &[u8]| body.len() as i32;
    let fine = data_page(8, size(&plain), size(&plain), Encoding::PLAIN);
    let dictionary = PageHeader {
        type_: PageType::DICTIONARY_PAGE,
        data_page_header: None,
        dictionary_page_header: Some(DictionaryPageHeader {
            num_values: i32::MAX,
            encoding: Encoding::PLAIN,
            is_sorted: None,
        }),
        ..data_page(0, 0, 0, Encoding::PLAIN)
    };
    let claims = "claim more than";
    type Pages<'a> = &'a [(PageHeader, &'a [u8])];
    let cases: [(Pages, &str); 7] = [
        (&[(fine.clone(), &plain)], "in every row"),
        (&[(data_page(i32::MAX, 70, 70, Encoding::PLAIN), &plain)], "a group of 8 rows has 2147483647 values"),
        (&[(data_page(-1, 70, 70, Encoding::PLAIN), &plain)], "below 0"),
        (&[(data_page(8, 70, i32::MAX, Encoding::PLAIN), &plain)], claims),
        (&[(data_page(8, i32::MAX, 70, Encoding::PLAIN), &plain)], "ends too early"),
        (&[(dictionary, &[]), (fine, &plain)], claims),
        (&[(data_page(8, 24, 24, Encoding::DELTA_BINARY_PACKED), &deltas)], "more differences than values"),
    ];
    for (pages, words) in cases {
        let sandbox = on("encodings.parquet");
        sandbox.write("d.parquet", with_pages(&bytes, pages));
        let (status, said) = check(&sandbox, "x");
        assert_eq!(status, 2, "{words}: {said}");
        assert!(said.contains("column `x`") && said.contains(words), "{words}: {said}");
        let ran = sandbox.runner(["check", "t.toml", "--set", "data.inputs=[\"long\"]"]);
        assert_eq!(ran.status, 0, "{words}, in a column that nobody names: {}", ran.stderr);
    }
}

#[test]
fn a_long_text_that_every_row_repeats_is_no_name() {
    let long = "x".repeat(1_000_000);
    let text = Column::new("g".into(), vec![long.as_str(); 5_000]);
    let numbers: Vec<f64> = (0..5_000u32).map(f64::from).collect();
    let columns = vec![text, Column::new("x".into(), &numbers), Column::new("y".into(), &numbers)];
    let sandbox = Sandbox::with("t.toml", &TABLE.replace("d.csv", "d.parquet"));
    let mut table = DataFrame::new_infer_height(columns).unwrap();
    ParquetWriter::new(std::fs::File::create(sandbox.path("d.parquet")).unwrap()).finish(&mut table).unwrap();
    assert_eq!(check(&sandbox, "x").0, 0);
    let (status, said) = check(&sandbox, "g");
    assert!(status == 2 && said.contains("column `g` cannot be read: its texts repeat"), "{said}");
}
