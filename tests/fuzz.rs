//! What reads the world outside, against bytes that nobody meant: experiment files, formulas, journals, tables.
//!
//! A few hundred changed inputs each, or with `RUNNER_FUZZ_SECONDS=600` as many as that time takes; the number of
//! executions is printed (`--nocapture`). What is asked: no panic, and what is refused is refused with a reason.

mod changes;

use changes::repeat;
use runner::data::file::TableFile;
use runner::formula::{self, Expr};
use runner::registry::Registry;
use runner::spec::read_text;
use runner::spec::source::Sources;
use runner::spec::sweep::LAYING;
use runner::store::journal::{HEADER, framed, split};
use std::path::Path;

fn fuzz(name: &str, short: usize, corpus: &[Vec<u8>], pieces: &[&str], mut check: impl FnMut(&[u8])) {
    repeat(name, short, |changes| check(&changes.of(corpus, pieces)));
}

fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let named = paths.iter().filter(|path| path.extension().is_some_and(|e| e == ending));
    named.map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn an_experiment_file_is_understood_or_refused_with_a_reason() {
    let mut sources = Sources::default();
    let registry = Registry::builtin(&mut sources).unwrap();
    let pieces =
        ["[", "]]", "=", "\"", "{", "}", ",", ".", "-1", "1e400", "nan", "[[layer]]", "[sweep.over]", "\"=", "\u{e9}"];
    fuzz("experiment files", 400, &files("experiments", "toml"), &pieces, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut sources = sources.clone();
        if let Err(found) = read_text("fuzz.toml", &text, LAYING, &registry, &mut sources) {
            assert!(!found.list.is_empty(), "refused without a reason: {text}");
            for diagnostic in &found.list {
                assert!(!diagnostic.problem.to_string().is_empty());
                let span = diagnostic.span.filter(|span| span.end <= sources.get(*span).text.len());
                assert!(diagnostic.span.is_none() || span.is_some(), "a place outside of the text: {text}");
            }
        }
    });
}

#[test]
fn a_formula_is_refused_or_means_the_same_when_it_is_printed() {
    let texts = ["beta * prev.mem + current - pull", "1 / (1 + slope * abs(x))^2", "where(a > 0.5, log(-1), -x^2^3)"];
    let mut corpus: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    corpus.push(b"detach(heaviside(prev.mem - threshold)) * max(1e-3, min(x, .5)) - --exp(y)".to_vec());
    let pieces = ["(", ")", "^", "-", "*", ",", "1e", ".", "prev.", "where(", "exp(", "\n", "((((((((", "\u{3b2}"];
    fuzz("formulas", 20_000, &corpus, &pieces, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match formula::parse(&text) {
            Ok(expr) => {
                let printed = expr.to_string();
                let again: Expr = formula::parse(&printed).unwrap_or_else(|error| panic!("{text}\n{printed}\n{error}"));
                assert_eq!(again, expr, "{text} was printed as {printed}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

#[test]
fn a_journal_is_read_as_far_as_it_is_whole_and_the_rest_is_accounted_for() {
    let journal = |payloads: &[&str]| {
        let records = payloads.iter().flat_map(|payload| framed(payload.as_bytes()));
        HEADER.iter().copied().chain(records).collect::<Vec<u8>>()
    };
    let payloads = ["{\"trial\":\"a\"}", "", "{\"trial\":\"b\",\"seed\":1}", "\u{d1}rec"];
    let corpus = [journal(&payloads), journal(&payloads[..1]), journal(&[])];
    fuzz("journals", 20_000, &corpus, &["\u{d1}rec", "runnerj1", "\0\0\0\0"], |bytes| {
        let Ok(parts) = split(bytes) else { return };
        let mut places: Vec<_> = parts.payloads.iter().map(|range| range.start - 16..range.end).collect();
        places.extend(parts.gaps.iter().cloned());
        places.sort_by_key(|range| range.start);
        let begin = if bytes.len() < HEADER.len() { 0 } else { HEADER.len() };
        let end = places.iter().fold(begin, |at, range| if range.start == at { range.end } else { usize::MAX });
        assert_eq!(end, bytes.len(), "{places:?}");
    });
}

#[test]
fn a_parquet_file_is_a_table_or_refused_with_a_reason() {
    let names = [
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
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let check = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let table = match TableFile::read(&path, false) {
            Ok(table) => table,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        for name in names {
            for rows in [table.numbers(name).map(|column| column.len()), table.texts(name).map(|column| column.len())] {
                assert_eq!(rows.unwrap_or(table.rows()), table.rows(), "{name}");
            }
        }
    };
    let corpus = files("tests/assets/parquet", "parquet");
    fuzz("Parquet files", 300, &corpus, &["\0\0\0", "PAR1", "\u{7f}\u{7f}"], check);
    fuzz("Parquet files of the same length", 300, &corpus, &[], check);
}
