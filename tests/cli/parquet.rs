//! Parquet as it comes: types of other programs, columns nobody names, and files that claim what they do not have.

use super::Sandbox;
use super::strange_files::TABLE;
use polars_parquet_format::thrift::protocol::{TCompactInputProtocol, TCompactOutputProtocol};
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
    let cases: [(&str, fn(f64) -> f64); 17] = [
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
