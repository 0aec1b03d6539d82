//! Parts of the samples: which there are, what windows on a border may read, and why a part is empty.

use super::Sandbox;
use super::tables::frame;
use polars::prelude::*;
use std::fmt::Write;

const EXPERIMENT: &str = r#"name = "parts"

[data]
DATA

[data.split]
SPLIT

[[layer]]
name = "readout"
kind = "linear"
size = 1

[optimizer]
kind = "sgd"
lr = 1e-2

[train]
epochs = 2
batch = 4
loss = "mse"
metrics = ["rmse"]
"#;

/// Five rows.
const TABLE: &str = "kind = \"table\"\npath = \"table.csv\"\ninputs = [\"x\"]\ntargets = [\"y\"]\nsteps = 1";
/// Three sequences of 6, 4 and 5 rows.
const SERIES: &str =
    "kind = \"series\"\npath = \"series.csv\"\ninputs = [\"x\"]\ntargets = [\"y\"]\nseries = \"id\"\nhorizon = 0";
/// Windows over 100 rows, of which the first target is row 5.
const WINDOWS: &str = "kind = \"series\"\npath = \"record.csv\"\ninputs = [\"x\"]\ntargets = [\"x\"]\nwindow = 5";
/// Five samples of a formula.
const FUNCTION: &str = "kind = \"sqrt\"\nsteps = 4\nsamples = 5";

/// The part of a row.
type PartOf = fn(usize) -> &'static str;

/// Columns of the record that say the part of each of its rows.
const COLUMNS: [(&str, PartOf); 6] = [
    ("middle", |row| if (60..80).contains(&row) { "test" } else { "train" }),
    ("backwards", |row| ["test", "validation", "train"][row / 34]),
    ("forwards", |row| ["train", "validation", "test"][row / 34]),
    ("woven", |row| if row % 3 == 0 { "test" } else { "train" }),
    ("alone", |_| "train"),
    ("early", |row| if row < 4 { "validation" } else { "train" }),
];

/// The experiment on some data in some parts, beside all files.
fn sandbox(data: &str, split: &str) -> Sandbox {
    let text = EXPERIMENT.replace("DATA", data).replace("SPLIT", split);
    let sandbox = Sandbox::with("parts.toml", &text);
    sandbox.write("table.csv", "x,y,part\n0,1,train\n1,3,train\n2,5,train\n3,7,train\n4,9,train\n");
    let mut series = String::from("id,x,y,cut\n");
    for (id, length) in [("a", 6), ("b", 4), ("c", 5)] {
        let part = |row| if row < 3 { "train" } else { "test" };
        (0..length).for_each(|row| writeln!(series, "{id},{row},{},{}", 2 * row + 1, part(row)).unwrap());
    }
    sandbox.write("series.csv", series);
    sandbox.write("record.csv", record(x));
    sandbox
}

fn x(row: usize) -> f64 {
    (row as f64 / 4.0).sin()
}

fn record(value: impl Fn(usize) -> f64) -> String {
    let mut text = format!("x,{}\n", COLUMNS.map(|(name, _)| name).join(","));
    for row in 0..100 {
        let parts = COLUMNS.map(|(_, part)| part(row)).join(",");
        writeln!(text, "{},{parts}", value(row)).unwrap();
    }
    text
}

/// Asserts that both `check` and `run` refuse an experiment with these words below some key, and leave nothing.
fn refused(data: &str, split: &str, words: &str, under: &str) {
    let sandbox = sandbox(data, split);
    for arguments in [&["check", "parts.toml"][..], &["parts.toml"]] {
        let ran: super::Ran = sandbox.command().args(arguments).output().unwrap().into();
        assert_eq!(ran.status, 2, "{split}: {}", ran.stderr);
        let said: Vec<&str> = ran.stderr.lines().collect();
        let place = said.iter().position(|line| *line == format!("error: {words}"));
        let place = place.unwrap_or_else(|| panic!("{split}: {words}\n{}", ran.stderr));
        assert!(said[place + 3].contains(under), "{split}: {under}\n{}", ran.stderr);
    }
    assert!(!sandbox.path("results").exists());
}

#[test]
fn more_folds_than_samples_are_refused_whichever_is_tested_on() {
    for fold in
        ["fold = 0", "fold = 3", "fold = 9", "fold = 3\nvalidation = 0.2", "by = \"order\"\nfold = 3", "fold = 12", ""]
    {
        for (data, samples) in [(TABLE, 5), (SERIES, 3), (FUNCTION, 5)] {
            let words = format!("10 folds of {samples} samples: at most {samples}");
            refused(data, &format!("folds = 10\n{fold}"), &words, "folds = 10");
        }
    }
    refused(WINDOWS, "folds = 96\nfold = 50", "96 folds of 95 samples: at most 95", "folds = 96");
    let one = FUNCTION.replace("samples = 5", "samples = 1");
    refused(&one, "folds = 2\nfold = 0", "2 folds of 1 sample", "folds = 2");
    let full = sandbox(TABLE, "folds = 5\nfold = 4\nvalidation = 0.25").fine(["check", "parts.toml"]).stdout;
    assert!(full.contains("at random, fold 4 of 5: train 3, validation 1, test 1\n"), "{full}");
}

#[test]
fn folds_are_counted_where_options_and_sweeps_name_them() {
    let sandbox = sandbox(TABLE, "folds = 10\nfold = 0");
    for options in
        [["--set", "data.split.fold=3"], ["--sweep", "data.split.fold=0,3,5"], ["--sweep", "data.split.folds=3,10"]]
    {
        for command in [&["check", "parts.toml"][..], &["parts.toml"]] {
            let ran: super::Ran = sandbox.command().args(command).args(options).output().unwrap().into();
            assert_eq!(ran.status, 2, "{options:?}");
            assert!(ran.stderr.starts_with("error: 10 folds of 5 samples: at most 5\n"), "{}", ran.stderr);
            assert!(ran.stderr.ends_with("\nerror: 1 problem; nothing was run\n"), "{}", ran.stderr);
        }
    }
}

#[test]
fn why_a_part_is_empty_is_said_with_its_numbers() {
    for (data, split, words, under) in [
        (TABLE, "validation = 0.01", "the validation part is empty: 0.01 of 5 samples is none", "0.01"),
        (SERIES, "test = 0.01", "the test part is empty: 0.01 of 3 samples is none", "0.01"),
        (
            FUNCTION,
            "folds = 5\nfold = 1\nvalidation = 0.1",
            "the validation part is empty: 0.1 of 4 samples is none",
            "0.1",
        ),
        (WINDOWS, "validation = 0.001", "the validation part is empty: 0.001 of 100 rows is none", "0.001"),
        (
            TABLE,
            "by = \"order\"\ntrain = 0.01\ntest = 0.4",
            "the train part is empty: 0.01 of 5 samples is none",
            "0.01",
        ),
        (TABLE, "test = 0.999", "the train part is empty: the test part takes 5 of 5 samples", "[data.split]"),
        (
            TABLE,
            "validation = 0.5\ntest = 0.5",
            "the train part is empty: the validation part takes 2, the test part takes 3 of 5 samples",
            "[data.split]",
        ),
        (
            FUNCTION,
            "folds = 5\nfold = 1\nvalidation = 1.0",
            "the train part is empty: the validation part takes 4 of 4 samples",
            "[data.split]",
        ),
        (
            WINDOWS,
            "folds = 30\nfold = 0",
            "the test part is empty: none of its 3 rows is the target of a window",
            "fold = 0",
        ),
        (
            WINDOWS,
            "column = \"early\"",
            "the validation part is empty: none of its 4 rows is the target of a window",
            "early",
        ),
        (
            WINDOWS,
            "column = \"woven\"",
            "the train part is empty: all 63 windows with a target in it read rows of a later part",
            "woven",
        ),
        (
            WINDOWS,
            "column = \"alone\"",
            "column `alone` says `train` for all 100 rows, so nothing is split off",
            "alone",
        ),
        (TABLE, "column = \"part\"", "column `part` says `train` for all 5 samples, so nothing is split off", "part"),
        (
            SERIES,
            "column = \"cut\"",
            "series.csv: series `a` lies in several parts: row 1 (line 2) is `train`, and row 4 (line 5) is `test`; a sequence \
             belongs to one",
            "cut",
        ),
        (FUNCTION, "column = \"part\"", "`sqrt` has no column that could say the parts", "part"),
    ] {
        // A sequence is underlined where it is named.
        refused(data, split, words, if under == "cut" { "series = \"id\"" } else { under });
    }
}

#[test]
fn windows_that_would_read_rows_of_a_later_part_are_left_out_and_counted() {
    for (split, expected) in [
        // Rows 80 to 84 are trained on and cannot be predicted without rows that are tested on.
        ("column = \"middle\"", "by a column, without 5 windows that read rows of a later part: train 70, test 20\n"),
        (
            "column = \"backwards\"",
            "by a column, without 10 windows that read rows of a later part: train 27, validation 29, test 29\n",
        ),
        // Forwards, as shares in order, a window reads what was before.
        ("column = \"forwards\"", "by a column: train 29, validation 34, test 32\n"),
        ("by = \"order\"\nvalidation = 0.34\ntest = 0.32", "in order: train 29, validation 34, test 32\n"),
        (
            "folds = 2\nfold = 0",
            "in order, fold 0 of 2, without 5 windows that read rows of a later part: train 45, test 45\n",
        ),
    ] {
        let printed = sandbox(WINDOWS, split).fine(["check", "parts.toml"]).stdout;
        assert!(printed.contains(expected), "{split}: {printed}");
    }
    let sandbox = sandbox(WINDOWS, "column = \"middle\"");
    sandbox.fine(["parts.toml"]);
    let page = std::fs::read_to_string(sandbox.path("results/parts/report.html")).unwrap();
    assert!(page.contains("split by a column, without 5 windows that read rows of a later part (train 70, test 20)"));
}

#[test]
fn rows_that_are_tested_on_change_nothing_that_is_trained() {
    let loss = |value: &dyn Fn(usize) -> f64| {
        let sandbox = sandbox(WINDOWS, "column = \"middle\"");
        sandbox.write("record.csv", record(value));
        sandbox.fine(["parts.toml"]);
        let trials = frame(&sandbox, "trials.parquet");
        ["loss", "train.rmse"].map(|name| trials.column(name).unwrap().f64().unwrap().get(0).unwrap().to_bits())
    };
    let as_it_is = loss(&x);
    assert_eq!(as_it_is, loss(&|row| if (60..80).contains(&row) { 1e6 * x(row) } else { x(row) }));
    assert_ne!(as_it_is, loss(&|row| if row == 80 { 2.0 * x(row) } else { x(row) }));
}

#[test]
fn a_column_in_order_gives_the_numbers_of_shares_in_order() {
    let table = |split: &str| {
        let sandbox = sandbox(WINDOWS, split);
        sandbox.fine(["parts.toml"]);
        let trials = frame(&sandbox, "trials.parquet");
        ["loss", "validation.rmse", "test.rmse"].map(|name| trials.column(name).unwrap().f64().unwrap().get(0).unwrap())
    };
    assert_eq!(table("column = \"forwards\""), table("by = \"order\"\nvalidation = 0.34\ntest = 0.32"));
}

#[test]
fn names_of_sequences_are_told_apart_as_they_are_written() {
    let sandbox = sandbox(SERIES, "test = 0.5");
    let samples = |ids: &[&str]| {
        let mut text = String::from("id,x,y\n");
        (0..).zip(ids).for_each(|(row, id)| writeln!(text, "{id},{row},{row}").unwrap());
        sandbox.write("series.csv", text);
        sandbox.fine(["check", "parts.toml"]).stdout
    };
    assert!(
        samples(&["007", "007", "7", "7", "07"])
            .starts_with("parts.toml: fine\n\ndata     series: 3 samples of 2 steps")
    );
    let large = ["9007199254740992", "9007199254740993", "9007199254740993", "9007199254740994"];
    assert!(samples(&large).contains("series: 3 samples of 2 steps"));
    let text = EXPERIMENT.replace("DATA", &SERIES.replace(".csv", ".parquet")).replace("SPLIT", "test = 0.5");
    sandbox.write("parts.toml", text);
    let whole = large.map(|id| id.parse::<i64>().unwrap());
    for ids in [Series::new("id".into(), whole), Series::new("id".into(), whole.map(|id| id as u64 * 2))] {
        let x = Column::new("x".into(), [1.0, 2.0, 3.0, 4.0]);
        let y = Column::new("y".into(), [1i64 << 53, (1 << 53) + 2, 4, 5]);
        let mut table = DataFrame::new_infer_height(vec![ids.into(), x, y]).unwrap();
        ParquetWriter::new(std::fs::File::create(sandbox.path("series.parquet")).unwrap()).finish(&mut table).unwrap();
        let printed = sandbox.fine(["check", "parts.toml"]).stdout;
        assert!(printed.contains("series: 3 samples of 2 steps"), "{printed}");
    }
}

#[test]
fn one_row_to_train_on_has_no_scale() {
    let sandbox = sandbox(TABLE, "column = \"part\"");
    sandbox.write("table.csv", "x,y,part\n0,1,train\n1,3,validation\n2,5,test\n");
    let said = sandbox.runner(["check", "parts.toml"]).stderr;
    assert!(
        said.starts_with("error: table.csv: column `x` is 0 in the only training row, so it has no scale\n"),
        "{said}"
    );
    sandbox.fine(["parts.toml", "--set", "data.scale=none"]);
}

#[test]
fn what_a_column_means_for_windows_is_part_of_their_identity_alone() {
    let content = |data: &str, split: &str| {
        let sandbox = sandbox(data, split);
        sandbox.fine(["parts.toml"]);
        let manifest = std::fs::read_to_string(sandbox.path("results/parts/manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        manifest["parts"]["content"].as_str().unwrap().to_string()
    };
    let shares = content(WINDOWS, "test = 0.2");
    assert_eq!(shares.len(), 64);
    assert_eq!(content(WINDOWS, "column = \"middle\""), format!("{shares}, windows that read no later part"));
    assert_eq!(content(&WINDOWS.replace("window = 5", "series = \"middle\""), "column = \"middle\"").len(), 64);
}
