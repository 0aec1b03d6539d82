//! Tables of one's own: what is read, how it is split and scaled, and every way in which a file can be wrong.

use super::Sandbox;
use super::bad_input::refusal;
use polars::prelude::*;
use std::fmt::Write;

/// A linear task in a file: `y = 3 a - 2 b + 10`, two columns of numbers and one of names.
pub const TABLE: &str = r#"name = "own"

[data]
kind = "table"
path = "own.csv"
inputs = ["a", "b"]
targets = ["y"]
steps = 3

[[layer]]
name = "readout"
kind = "li"
size = 1
beta = 0.5

[optimizer]
kind = "adam"
lr = 5e-2

[train]
epochs = 60
batch = 8
loss = "mse"
metrics = ["r2", "rmse"]
"#;

pub fn own(rows: usize) -> String {
    let mut text = String::from("a,b,y,name\n");
    for i in 0..rows {
        let (a, b) = ((i * 7 % 13) as f64 / 3.0, (i * 5 % 11) as f64);
        writeln!(text, "{a},{b},{},row {i}", 3.0 * a - 2.0 * b + 10.0).unwrap();
    }
    text
}

/// The experiment with one part replaced, beside a table of 40 rows.
fn sandbox(from: &str, to: &str) -> Sandbox {
    assert!(TABLE.contains(from), "{from}");
    let sandbox = Sandbox::with("own.toml", &TABLE.replace(from, to));
    sandbox.write("own.csv", own(40));
    sandbox
}

/// The refusal of the experiment whose file holds something else.
fn refused_file(text: impl AsRef<[u8]>) -> String {
    let sandbox = Sandbox::with("own.toml", TABLE);
    sandbox.write("own.csv", text);
    refusal(&sandbox, &["own.toml"])
}

/// A text as UTF-16, the lower byte first.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

macro_rules! refused_files {
    ($($name:ident: $text:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(refused_file($text));
        }
    )*};
}

refused_files! {
    a_missing_value_names_file_row_and_column: "a,b,y\n1,2,3\n2,,4\n3,4,5\n,5,6\n";
    text_in_a_column_of_numbers_names_file_row_and_column: "a,b,y\n1,2,3\n2,three,4\n3,NA,5\n";
    a_row_with_a_cell_too_many_is_named: "a,b,y\n1,2,3\n2,3,4,5\n";
    a_column_that_never_changes_is_refused: "a,b,y\n1,2,3\n2,2,4\n3,2,5\n";
    a_number_too_large_for_single_precision_is_named: "a,b,y\n1,2,3\n2,1e300,4\n3,2,5\n";
    an_empty_file_is_refused: "";
    a_header_without_rows_is_refused: "a,b,y\n";
    bytes_that_are_no_text_are_refused: b"a,b,y\n1,\xff\xfe,3\n";
    quotes_that_never_close_are_refused: "a,b,y\n1,\"2,3\n2,3,4\n";
    two_columns_of_one_name_are_refused: "a,b,y,a\n1,2,3,4\n";
    text_of_two_bytes_a_character_is_refused_with_what_converts_it: utf16("\u{feff}a,b,y\n1,2,3\n");
    text_of_two_bytes_a_character_without_a_mark_is_refused_too: utf16("a,b,y\n1,2,3\n");
    an_archive_of_arrays_is_refused_with_what_is_read: b"PK\x03\x04\x14\0\0\0\0\0\0\0!\0arr_0.npy\x93NUMPY";
    a_decimal_comma_in_a_table_of_one_column_is_named: "a\n1,5\n2,5\n";
    a_carriage_return_alone_behind_the_header_is_named: "a,b,y\r1,2,3\n2,3,4\n";
    carriage_returns_alone_below_the_header_are_named: "a,b,y\n1,2,3\r2,3,4\r3,4,5\r";
}

#[test]
fn columns_of_one_name_that_nobody_names_are_no_obstacle() {
    let sandbox = sandbox("path", "path");
    let with = |(i, line): (usize, &str)| format!("{line},{}\n", if i == 0 { "note,note" } else { ",x" });
    sandbox.write("own.csv", own(40).lines().enumerate().map(with).collect::<String>());
    sandbox.fine(["check", "own.toml"]);
    let named = refusal(&sandbox, &["own.toml", "--set", "data.inputs=[\"a\", \"note\"]"]);
    assert!(named.contains("two columns are called `note`"), "{named}");
}

macro_rules! refused {
    ($($name:ident: $from:expr => $to:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(refusal(&sandbox($from, $to), &["own.toml"]));
        }
    )*};
}

const SPLIT: &str = "[[layer]]\nname = \"readout\"";

refused! {
    an_unknown_column_is_underlined_with_a_suggestion: "\"a\", \"b\"" => "\"a\", \"B\"";
    a_target_that_is_an_input_is_underlined: "targets = [\"y\"]" => "targets = [\"y\", \"b\"]";
    no_column_at_all_is_underlined: "inputs = [\"a\", \"b\"]" => "inputs = []";
    a_number_without_a_root_is_named: "targets = [\"y\"]" => "targets = [\"y\"]\ntransform = \"sqrt\"";
    a_file_that_is_not_there_is_underlined: "own.csv" => "owm.csv";
    an_empty_part_is_refused: SPLIT => "[data.split]\nvalidation = 0.01\ntest = 0.2\n\n[[layer]]\nname = \"readout\"";
    shares_above_one_are_refused: SPLIT => "[data.split]\ntrain = 0.9\ntest = 0.2\n\n[[layer]]\nname = \"readout\"";
    shares_below_one_are_refused_at_random: SPLIT => "[data.split]\ntrain = 0.5\ntest = 0.2\n\n[[layer]]\nname = \"readout\"";
    a_fold_beyond_the_last_is_refused: SPLIT => "[data.split]\nfolds = 5\nfold = 5\n\n[[layer]]\nname = \"readout\"";
    a_part_that_nobody_knows_is_named: SPLIT => "[data.split]\ncolumn = \"name\"\n\n[[layer]]\nname = \"readout\"";
    early_stopping_without_validation_is_refused: "epochs = 60" => "epochs = 60\nearly_stop = { patience = 3 }";
}

#[test]
fn a_file_that_is_not_what_its_ending_says_is_refused() {
    let sandbox = sandbox("own.csv", "own.parquet");
    sandbox.write("own.parquet", own(3));
    insta::assert_snapshot!(refusal(&sandbox, &["own.toml"]));
}

#[test]
fn what_is_tested_on_chooses_nothing() {
    let split = "[data.split]\nvalidation = 0.2\ntest = 0.2\n\n[[layer]]\nname = \"readout\"";
    let sandbox = sandbox(SPLIT, split);
    let sweep = format!(
        "{}\n[sweep]\nminimize = \"test.rmse\"\n\n[sweep.over]\n\"optimizer.lr\" = [1e-3, 1e-2]\n",
        TABLE.replace(SPLIT, split)
    );
    sandbox.write("sweep.toml", &sweep);
    let mut printed = refusal(&sandbox, &["sweep.toml"]);
    let stop = "train.early_stop={ patience = 3, of = \"test.loss\" }";
    printed += &refusal(&sandbox, &["own.toml", "--set", stop]);
    // Names without a part do not exist where there are parts.
    sandbox.write("sweep.toml", sweep.replace("test.rmse", "rmse"));
    printed += &refusal(&sandbox, &["sweep.toml"]);
    insta::assert_snapshot!(printed);
}

#[test]
fn a_linear_task_is_learned_and_metrics_are_in_the_unit_of_the_target() {
    let split = "[data.split]\ntest = 0.25\n\n[[layer]]\nname = \"readout\"";
    let sandbox = sandbox(SPLIT, split);
    let ran = sandbox.fine(["own.toml", "--json"]);
    let row: serde_json::Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert!(row["metrics"]["test.r2"].as_f64().unwrap() > 0.999, "{row}");
    // The target's deviation is 7.5, so an error in scaled units would be another number.
    let rmse = row["metrics"]["train.rmse"].as_f64().unwrap();
    let r2 = row["metrics"]["train.r2"].as_f64().unwrap();
    assert!(row["metrics"].get("rmse").is_none() && row["metrics"].get("r2").is_none(), "{row}");
    assert!((rmse.powi(2) / (1.0 - r2)).sqrt() > 4.0, "{row}");
    let page = std::fs::read_to_string(sandbox.path("results/own/report.html")).unwrap();
    assert!(page.contains("4 of 10 samples of the test part are shown."), "{page}");
    assert!(page.contains("first sample of the test part"), "{page}");
    // Traces come back in the columns' own units, and are of the part that is tested on.
    let traces = frame(&sandbox, "traces.parquet");
    let numbers = |name: &str| -> Vec<f64> {
        let column = traces.column(name).unwrap().cast(&DataType::Float64).unwrap();
        column.f64().unwrap().iter().flatten().collect()
    };
    let (a, target) = (numbers("input"), numbers("target"));
    let rows: Vec<(f64, f64)> = a.chunks(2).map(|cells| (cells[0], cells[1])).collect();
    let expected: Vec<f64> = rows.iter().map(|(a, b)| 3.0 * a - 2.0 * b + 10.0).collect();
    assert!(expected.iter().zip(&target).all(|(e, t)| (e - t).abs() < 1e-3), "{expected:?} {target:?}");
}

pub fn frame(sandbox: &Sandbox, name: &str) -> DataFrame {
    let folder = std::fs::read_dir(sandbox.path("results")).unwrap().next().unwrap().unwrap().path();
    ParquetReader::new(std::fs::File::open(folder.join(name)).unwrap()).finish().unwrap()
}

#[test]
fn the_same_data_elsewhere_gives_the_same_trial_and_other_data_another() {
    let sandbox = sandbox("own.csv", "own.csv");
    sandbox.write("elsewhere/copy.csv", own(40));
    sandbox.write("other.csv", own(41));
    let id = |set: &str| {
        let printed = sandbox.fine(["check", "own.toml", "--print", "trials", "--set", set]).stdout;
        printed.lines().next().unwrap().to_string()
    };
    assert_eq!(id("data.path=own.csv"), id("data.path=elsewhere/copy.csv"));
    assert_ne!(id("data.path=own.csv"), id("data.path=other.csv"));
}

#[test]
fn a_path_is_relative_to_the_file_that_says_it_and_an_option_to_the_working_directory() {
    let sandbox = Sandbox::with("deep/own.toml", TABLE);
    sandbox.write("deep/own.csv", own(40));
    sandbox.write("here.csv", own(40));
    sandbox.write("patch.toml", "extends = \"deep/own.toml\"\n");
    sandbox.fine(["check", "deep/own.toml"]);
    sandbox.fine(["check", "patch.toml"]);
    sandbox.fine(["check", "deep/own.toml", "--set", "data.path=here.csv"]);
}

#[test]
fn csv_parquet_and_npy_of_the_same_numbers_train_alike() {
    let sandbox = sandbox("own.csv", "own.csv");
    let text = own(40);
    let rows: Vec<Vec<f64>> =
        text.lines().skip(1).map(|line| line.split(',').take(3).map(|cell| cell.parse().unwrap()).collect()).collect();
    let column = |i: usize, name: &str| Column::new(name.into(), rows.iter().map(|row| row[i]).collect::<Vec<f64>>());
    let columns = vec![column(0, "a"), column(1, "b"), column(2, "y")];
    let mut table = DataFrame::new_infer_height(columns).unwrap();
    ParquetWriter::new(std::fs::File::create(sandbox.path("own.parquet")).unwrap()).finish(&mut table).unwrap();
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (40, 3), }\n";
    let mut npy = [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    npy.extend(rows.iter().flatten().flat_map(|x| x.to_le_bytes()));
    sandbox.write("own.npy", npy);
    let loss = |options: &[&str]| {
        let mut command = sandbox.command();
        command.args(["own.toml", "--json", "--fresh"]).args(options);
        let ran: super::Ran = command.output().unwrap().into();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()["loss"].clone()
    };
    let csv = loss(&[]);
    assert_eq!(loss(&["--set", "data.path=own.parquet"]), csv);
    let npy = ["--set", "data.path=own.npy", "--set", "data.inputs=[\"0\", \"1\"]", "--set", "data.targets=[\"2\"]"];
    assert_eq!(loss(&npy), csv);
}

#[test]
fn a_function_dataset_can_be_split_too() {
    let split = "steps = 12\nsamples = 10\nsplit = { validation = 0.2, test = 0.3 }";
    let sandbox = Sandbox::with("small.toml", &super::SMALL.replace("steps = 12", split));
    let ran = sandbox.fine(["small.toml", "--json"]);
    let row: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(row["metrics"]["test.nmse"].is_number() && row["metrics"]["validation.loss"].is_number(), "{row}");
}

#[test]
fn stored_weights_begin_where_they_ended_and_others_are_refused() {
    let sandbox = sandbox("own.csv", "own.csv");
    sandbox.fine(["own.toml", "--out", "first"]);
    let weights = std::fs::read_dir(sandbox.path("first/weights")).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(weights, sandbox.path("w.safetensors")).unwrap();
    let options = ["--set", "init.weights=w.safetensors", "--set", "train.epochs=0", "--json"];
    let run = |options: &[&str]| -> super::Ran {
        sandbox.command().args(["own.toml", "--out", "second"]).args(options).output().unwrap().into()
    };
    let again = run(&options);
    assert_eq!(again.status, 0, "{}", again.stderr);
    let loss =
        |text: &str| serde_json::from_str::<serde_json::Value>(text.lines().next().unwrap()).unwrap()["loss"].clone();
    assert_eq!(loss(&again.stdout), loss(&sandbox.fine(["own.toml", "--out", "first", "--json"]).stdout));
    let two = sandbox.runner(["own.toml", "--set", "init.weights=w.safetensors", "--set", "layer.readout.name=other"]);
    let shape = sandbox.runner(["own.toml", "--set", "init.weights=w.safetensors", "--set", "data.inputs=[\"a\"]"]);
    assert_eq!((two.status, shape.status), (2, 2));
    insta::assert_snapshot!(two.stderr + &shape.stderr);
}

#[test]
fn new_rows_are_predicted_in_the_unit_of_the_target() {
    let split = "[data.split]\ntest = 0.25\n\n[[layer]]\nname = \"readout\"";
    let sandbox = sandbox(SPLIT, split);
    sandbox.fine(["own.toml"]);
    // Other columns, another order, no target.
    sandbox.write("new.csv", "b,note,a\n4,x,1\n0,y,2.5\n");
    std::fs::remove_file(sandbox.path("own.csv")).unwrap();
    let ran = sandbox.fine(["predict", "results/own", "--data", "new.csv", "--out", "predicted"]);
    assert!(ran.stdout.starts_with("2 predictions of trial "), "{}", ran.stdout);
    let text = std::fs::read_to_string(sandbox.path("predicted.csv")).unwrap();
    assert!(text.starts_with("row,y\n"), "{text}");
    let table = ParquetReader::new(std::fs::File::open(sandbox.path("predicted.parquet")).unwrap()).finish().unwrap();
    let values: Vec<f64> = table.column("y").unwrap().f64().unwrap().iter().flatten().collect();
    for (value, expected) in values.iter().zip([5.0, 17.5]) {
        assert!((value - expected).abs() < 0.5, "{values:?}");
    }
}

#[test]
fn what_cannot_be_predicted_from_is_said() {
    let sandbox = sandbox("own.csv", "own.csv");
    sandbox.fine(["own.toml"]);
    sandbox.write("new.csv", "a,bb\n1,2\n");
    let mut printed = sandbox.runner(["predict", "results/own", "--data", "new.csv"]).stderr;
    printed += &sandbox.runner(["predict", "results/own", "--data", "own.csv", "--trial", "nobody"]).stderr;
    let before = std::fs::read(sandbox.path("own.csv")).unwrap();
    printed += &sandbox.runner(["predict", "results/own", "--data", "own.csv", "--out", "own.csv"]).stderr;
    assert_eq!(std::fs::read(sandbox.path("own.csv")).unwrap(), before);
    sandbox.fine(["predict", "results/own", "--data", "own.csv", "--out", "again.csv"]);
    sandbox.fine(["predict", "results/own", "--data", "own.csv", "--out", "again.csv"]);
    sandbox.write("small.toml", super::SMALL);
    sandbox.fine(["small.toml"]);
    printed += &sandbox.runner(["predict", "results/small", "--data", "own.csv"]).stderr;
    insta::assert_snapshot!(printed);
}

#[test]
fn folds_belong_together_and_their_means_stand_beside_baselines_on_the_same_folds() {
    let split = "[data.split]\nfolds = 4\nfold = 0\n\n[[layer]]\nname = \"readout\"";
    let sandbox = sandbox(SPLIT, split);
    let ran = sandbox.fine(["own.toml", "--seeds", "0..3", "--sweep", "data.split.fold=0,1,2,3"]);
    assert!(
        ran.stdout.contains("mean over 4 folds, then over 3 seeds (geometric for errors): test.r2 "),
        "{}",
        ran.stdout
    );
    let table = frame(&sandbox, "baselines.parquet");
    let names: Vec<&str> = table.column("baseline").unwrap().str().unwrap().iter().flatten().collect();
    let r2: Vec<f64> = table.column("r2").unwrap().f64().unwrap().iter().flatten().collect();
    assert_eq!(names.len(), 2 * 12);
    // The task is linear, so a regression on the other folds explains the tested one, and their mean does not.
    for (name, r2) in names.iter().zip(r2) {
        assert!(if *name == "linear" { r2 > 0.99999 } else { r2 <= 0.0 }, "{name}: {r2}");
    }
    let page = std::fs::read_to_string(sandbox.path("results/own/report.html")).unwrap();
    assert!(
        page.contains("Values are means over the folds of a seed") && page.contains("linear regression on the inputs")
    );
    assert!(!page.contains("chosen by these very seeds"));
    // One number a quantity: the mean over the seeds of the means over folds, also in the table below the comparison.
    let trials = frame(&sandbox, "trials.parquet");
    let seeds: Vec<u64> = trials.column("seed").unwrap().u64().unwrap().iter().flatten().collect();
    let r2: Vec<f64> = trials.column("train.r2").unwrap().f64().unwrap().iter().flatten().collect();
    let loss: Vec<f64> = trials.column("loss").unwrap().f64().unwrap().iter().flatten().collect();
    let of_seed = |values: &[f64], seed: u64| {
        seeds.iter().zip(values).filter(|(of, _)| **of == seed).map(|(_, value)| value / 4.0).sum::<f64>()
    };
    let plain = (0..3).map(|seed| of_seed(&r2, seed)).sum::<f64>() / 3.0;
    let geometric = ((0..3).map(|seed| of_seed(&loss, seed).ln()).sum::<f64>() / 3.0).exp();
    for (name, expected) in [("train.r2", plain), ("loss (mse)", geometric)] {
        let row = page.split(&format!("<td>{name}<small>")).nth(1).expect(name);
        let shown: f64 = row.split("class=\"number\">").nth(1).unwrap().split('<').next().unwrap().parse().unwrap();
        assert!((shown / expected - 1.0).abs() < 5e-3, "{name}: {shown} {expected}");
    }
}

#[test]
fn a_column_that_one_split_leaves_constant_is_refused_where_it_is_known_and_else_named_with_its_seed() {
    let split = "[data.split]\ntest = 0.5\n\n[[layer]]\nname = \"readout\"";
    let sandbox = sandbox(SPLIT, split);
    // Only the last row differs, and every other seed or so tests on it.
    sandbox.write("own.csv", "a,b,y\n1,0,3\n2,0,4\n3,0,5\n4,0,6\n5,0,7\n6,1,8\n");
    let ran = sandbox.runner(["own.toml", "--seeds", "0..8"]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let failed: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("error: trial ")).collect();
    let said = |line: &&str, seed: u64| {
        line.ends_with(&format!(
            "(seed {seed}) failed: own.csv: column `b` is 0 in every training row, so it has no scale, as seed {seed} \
             splits; `[data.split] seed` fixes one split"
        ))
    };
    let seeds: Vec<u64> = (0..8).filter(|seed| failed.iter().any(|line| said(line, *seed))).collect();
    assert!(!seeds.is_empty() && seeds.len() < 8 && seeds.len() == failed.len(), "{}", ran.stderr);
    let fixed = |key: &str, seed: u64| -> super::Ran {
        let set = format!("{key}={seed}");
        sandbox.command().args(["own.toml", "--out", "fixed", "--fresh", "--set", &set]).output().unwrap().into()
    };
    let fine = (0..8).find(|seed| !seeds.contains(seed)).unwrap();
    for key in ["data.seed", "data.split.seed"] {
        let (refused, fine) = (fixed(key, seeds[0]), fixed(key, fine));
        assert_eq!((refused.status, fine.status), (2, 0), "{key}: {} {}", refused.stderr, fine.stderr);
        assert!(
            refused.stderr.starts_with("error: own.csv: column `b` is 0 in every training row"),
            "{}",
            refused.stderr
        );
    }
    sandbox.write("order.toml", TABLE.replace(SPLIT, &split.replace("test", "by = \"order\"\ntest")));
    insta::assert_snapshot!(refusal(&sandbox, &["order.toml"]));
}

#[test]
fn r2_is_compared_by_differences_and_errors_by_ratios() {
    let sandbox = sandbox("own.csv", "own.csv");
    sandbox.fine(["own.toml", "--seeds", "0..3", "--out", "a"]);
    sandbox.fine(["own.toml", "--seeds", "0..3", "--out", "b", "--set", "train.epochs=20"]);
    let ran = sandbox.fine(["diff", "a", "b"]);
    let line = |name: &str| ran.stdout.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    assert!(line("rmse").contains(" x "), "{}", ran.stdout);
    assert!(line("r2").contains(" -0.") && !line("r2").contains(" x "), "{}", ran.stdout);
}

#[test]
fn a_share_that_folds_would_not_heed_is_refused() {
    let split = "[data.split]\nfolds = 5\nfold = 0\ntrain = 0.5\n\n[[layer]]\nname = \"readout\"";
    insta::assert_snapshot!(refusal(&sandbox(SPLIT, split), &["own.toml"]));
}

#[test]
fn verify_says_which_file_it_misses_and_where_it_looked() {
    let sandbox = sandbox("own.csv", "own.csv");
    sandbox.fine(["own.toml"]);
    std::fs::remove_file(sandbox.path("own.csv")).unwrap();
    let ran = sandbox.runner(["verify", "results/own"]);
    assert_eq!(ran.status, 2);
    let folder = sandbox.path("").canonicalize().unwrap().display().to_string();
    insta::assert_snapshot!(ran.stderr.replace(&folder, "FOLDER"));
}

#[test]
fn rows_encoded_as_spikes_train_and_verify() {
    for encode in ["rate", "latency"] {
        let steps = format!("steps = 20\nencode = \"{encode}\"");
        let sandbox = sandbox("steps = 3", &steps);
        let r2 = |epochs: &str| {
            let set = format!("train.epochs={epochs}");
            let ran = sandbox.fine(["own.toml", "--json", "--fresh", "--set", &set]);
            let row: serde_json::Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
            row["metrics"]["r2"].as_f64().unwrap()
        };
        let (untrained, trained) = (r2("0"), r2("60"));
        assert!(trained > 0.5 && trained > untrained + 0.3, "{encode}: {untrained} {trained}");
        let ran = sandbox.fine(["verify", "results/own"]);
        assert!(ran.stdout.contains("1 identical, 0 within tolerance, 0 different"), "{}", ran.stdout);
    }
}
