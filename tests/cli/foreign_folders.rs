//! Result folders of strangers: tables, manifests and records that this program did not write, or not like this.

use super::strange_files::TABLE;
use super::{Ran, SMALL, Sandbox};
use polars::prelude::*;
use runner::store::journal::{HEADER, framed};
use std::fs;
use std::path::Path;

/// Two configurations with two seeds each in `out`, and a copy in `whole`.
fn study() -> Sandbox {
    let sweep = "[sweep.over]\n\"optimizer.lr\" = [1e-2, 2e-2]\n";
    let sandbox = Sandbox::with("small.toml", &format!("{}{sweep}", SMALL.replace("[0]", "[0, 1]")));
    sandbox.fine(["small.toml", "--out", "out", "--quiet"]);
    copy(&sandbox, "whole");
    sandbox
}

fn table() -> Sandbox {
    let sandbox = Sandbox::with("small.toml", &TABLE.replace("loss = \"mse\"", "loss = \"mse\"\nmetrics = [\"r2\"]"));
    sandbox.write("d.csv", "x,y\n0,1\n1,3\n2,5\n3,7\n4,9\n5,11\n6,13\n7,16\n");
    sandbox.fine(["small.toml", "--out", "out", "--quiet"]);
    copy(&sandbox, "whole");
    sandbox
}

/// Copies the files of `out` that are tables, and the manifest.
fn copy(sandbox: &Sandbox, to: &str) {
    fs::create_dir_all(sandbox.path(to)).unwrap();
    for entry in fs::read_dir(sandbox.path("out")).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), sandbox.path(to).join(entry.file_name())).unwrap();
    }
}

/// Puts the tables and the manifest of `whole` back into `out`.
fn restore(sandbox: &Sandbox) {
    for entry in fs::read_dir(sandbox.path("whole")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), sandbox.path("out").join(entry.file_name())).unwrap();
    }
}

fn read(path: &Path) -> DataFrame {
    ParquetReader::new(fs::File::open(path).unwrap()).finish().unwrap()
}

fn write(path: &Path, frame: &mut DataFrame) {
    ParquetWriter::new(fs::File::create(path).unwrap()).finish(frame).unwrap();
}

fn change(sandbox: &Sandbox, table: &str, change: impl FnOnce(DataFrame) -> DataFrame) {
    let path = sandbox.path("out").join(table);
    let mut frame = change(read(&path));
    write(&path, &mut frame);
}

/// A column with other values.
fn with(mut frame: DataFrame, series: Series) -> DataFrame {
    frame.with_column(series.into()).unwrap();
    frame
}

/// The first id of a folder's trials.
fn trial(sandbox: &Sandbox) -> String {
    let trials = read(&sandbox.path("whole/trials.parquet"));
    trials.column("trial").unwrap().str().unwrap().get(0).unwrap().to_string()
}

fn run(sandbox: &Sandbox, command: &str) -> Ran {
    let trial = trial(sandbox);
    let words = command.split(' ').map(|word| if word == "TRIAL" { &trial } else { word });
    sandbox.command().args(words).output().unwrap().into()
}

const READERS: [&str; 8] = [
    "results .",
    "report out",
    "compare out --baseline optimizer.lr=0.01",
    "diff out whole",
    "diff whole out",
    "explain out TRIAL",
    "verify out --sample 1",
    "run small.toml --out out --seeds 0..3 --quiet",
];

const HISTORY: [&str; 4] =
    ["report out", "verify out --sample 1", "export out --format tensorboard", "run small.toml --out out --seeds 0..3"];
const FIGURES: [&str; 2] = ["report out", "run small.toml --out out --seeds 0..3 --quiet"];

#[test]
fn columns_in_another_order_are_read_by_their_names() {
    let sandbox = study();
    let said: Vec<Ran> = READERS[..7].iter().map(|command| run(&sandbox, command)).collect();
    let page = fs::read(sandbox.path("out/report.html")).unwrap();
    for table in ["trials.parquet", "history.parquet", "traces.parquet", "layers.parquet", "baselines.parquet"] {
        change(&sandbox, table, |frame| {
            let names: Vec<String> = frame.get_column_names().iter().rev().map(|name| name.to_string()).collect();
            frame.select(names).unwrap()
        });
    }
    for (command, before) in READERS.iter().zip(said) {
        let now = run(&sandbox, command);
        assert_eq!((now.status, now.stdout), (before.status, before.stdout), "{command}: {}", now.stderr);
        assert_eq!(before.status, 0, "{command}: {}", before.stderr);
    }
    assert_eq!(fs::read(sandbox.path("out/report.html")).unwrap(), page);
    let grown = run(&sandbox, READERS[7]);
    assert_eq!(grown.status, 0, "{}", grown.stderr);
    assert!(sandbox.fine(["verify", "out", "--all"]).stdout.contains("6 identical"));
}

#[test]
fn whole_numbers_of_another_width_are_the_same_numbers() {
    let sandbox = study();
    for (table, column, kind) in [
        ("trials.parquet", "seed", DataType::Int64),
        ("trials.parquet", "iterations", DataType::Int32),
        ("history.parquet", "iteration", DataType::UInt32),
        ("traces.parquet", "step", DataType::Int64),
        ("layers.parquet", "neuron", DataType::UInt64),
    ] {
        change(&sandbox, table, |frame| {
            let cast = frame.column(column).unwrap().cast(&kind).unwrap();
            with(frame, cast.as_materialized_series().clone())
        });
    }
    for command in READERS {
        let ran = run(&sandbox, command);
        assert_eq!(ran.status, 0, "{command}: {}", ran.stderr);
    }
    assert!(sandbox.fine(["verify", "out", "--all"]).stdout.contains("6 identical"));
}

/// A table, a change of one of its columns, commands, and what each of them says.
type Case<'a> = (&'a str, &'a str, Becomes, &'a [&'a str], &'a str);

/// What becomes of a column.
enum Becomes {
    Dropped,
    Texts(&'static str),
    Numbers(f64),
    Whole(i64),
    Missing,
    Lists,
}

fn changed(frame: DataFrame, column: &str, change: &Becomes) -> DataFrame {
    let height = frame.height();
    let name = || PlSmallStr::from(column);
    match change {
        Becomes::Dropped => frame.drop(column).unwrap(),
        Becomes::Texts(text) => with(frame, Series::new(name(), vec![*text; height])),
        Becomes::Numbers(number) => with(frame, Series::new(name(), vec![*number; height])),
        Becomes::Whole(number) => with(frame, Series::new(name(), vec![*number; height])),
        Becomes::Missing => {
            let kind = frame.column(column).unwrap().dtype().clone();
            with(frame, Series::full_null(name(), height, &kind))
        }
        Becomes::Lists => {
            let lists: Vec<Series> = (0..height).map(|i| Series::new("".into(), vec![0.5; i % 3])).collect();
            with(frame, Series::new(name(), lists))
        }
    }
}

#[test]
fn a_column_that_is_no_good_is_refused_with_its_file_and_name() {
    use Becomes::{Dropped, Lists, Missing, Numbers, Texts, Whole};
    let sandbox = study();
    let (trials, history) = ("trials.parquet", "history.parquet");
    let (traces, layers) = ("traces.parquet", "layers.parquet");
    let numbers = "numbers should be";
    let cases: [Case<'_>; 29] = [
        (trials, "trial", Dropped, &READERS, "no column `trial`, where texts should be"),
        (trials, "trial", Whole(7), &READERS, "column `trial` holds i64, where texts should be"),
        (
            trials,
            "trial",
            Texts("../../../../etc/x"),
            &READERS,
            "row 1, column `trial`: \"../../../../etc/x\" is no trial's id",
        ),
        (
            trials,
            "trial",
            Texts("0123456789abcdef"),
            &READERS,
            "row 2, column `trial`: trial 0123456789abcdef is in row 1",
        ),
        (trials, "trial", Missing, &READERS, "row 1, column `trial`: no value"),
        (trials, "seed", Dropped, &READERS, "no column `seed`, where whole numbers from 0 on should be"),
        (trials, "seed", Numbers(0.5), &READERS, "column `seed` holds f64, where whole numbers from 0 on should be"),
        (trials, "seed", Whole(-1), &READERS, "row 1, column `seed`: -1 is not among whole numbers from 0 on"),
        (trials, "seed", Missing, &READERS, "row 1, column `seed`: no value"),
        (trials, "status", Texts("done"), &READERS, "row 1, column `status`: \"done\" is neither completed nor failed"),
        (trials, "loss", Texts("low"), &READERS, "column `loss` holds str, where numbers should be"),
        (trials, "loss", Lists, &READERS, numbers),
        (trials, "l1", Dropped, &READERS, "no column `l1`, where numbers should be"),
        (trials, "param.optimizer.lr", Dropped, &READERS, "no column `param.optimizer.lr`"),
        (trials, "param.optimizer.lr", Lists, &READERS, "column `param.optimizer.lr` holds list"),
        (history, "iteration", Dropped, &HISTORY, "no column `iteration`"),
        (history, "iteration", Numbers(f64::NAN), &HISTORY, "column `iteration` holds f64"),
        (history, "iteration", Missing, &HISTORY, "row 1, column `iteration`: no value"),
        (history, "loss", Lists, &HISTORY, numbers),
        (history, "trial", Missing, &HISTORY, "row 1, column `trial`: no value"),
        (traces, "sample", Whole(1_000_000_000), &FIGURES, "one row for each `sample`, `step`, `channel`"),
        (traces, "channel", Whole(4_000_000_000), &FIGURES, "one row for each `sample`, `step`, `channel`"),
        (traces, "step", Whole(0), &FIGURES, "one row for each `sample`, `step`, `channel`"),
        (traces, "step", Whole(-1), &FIGURES, "row 1, column `step`: -1"),
        (traces, "output", Texts("high"), &FIGURES, "column `output` holds str, where numbers should be"),
        (layers, "sample", Missing, &FIGURES[1..], "row 1, column `sample`: no value"),
        (layers, "neuron", Whole(4_000_000_000), &FIGURES, "one row for each `neuron`, `step`"),
        (layers, "layer", Texts("../../x"), &FIGURES, "column `layer`: \"../../x\" is no name"),
        (layers, "mem", Dropped, &FIGURES, "no column `mem`, where numbers should be"),
    ];
    for (table, column, change_to, commands, says) in cases {
        change(&sandbox, table, |frame| changed(frame, column, &change_to));
        for command in commands {
            let ran = run(&sandbox, command);
            if command.starts_with("verify") && ran.status == 1 {
                // It holds whole tables against each other, and so finds what differs.
                assert!(ran.stdout.contains(table) && ran.stdout.contains(&format!("`{column}`")), "{}", ran.stdout);
                continue;
            }
            assert_eq!(ran.status, 2, "{command}, {table} {column}: {}\n{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains(&format!("out/{table}")), "{command}, {table}: {}", ran.stderr);
            assert!(ran.stderr.contains(says), "{command}, {says}: {}", ran.stderr);
        }
        restore(&sandbox);
    }
    assert!(!sandbox.path("x.svg").exists());
    assert!(sandbox.fine(["verify", "out", "--all"]).stdout.contains("4 identical"));
}

#[test]
fn figures_and_comparisons_bear_any_number() {
    use Becomes::{Missing, Numbers};
    let sandbox = study();
    let columns = [
        ("trials.parquet", &["loss", "l1", "nmse", "duration_s"][..]),
        ("history.parquet", &["loss"]),
        ("traces.parquet", &["input", "target", "untrained", "output"]),
        ("layers.parquet", &["mem", "spk"]),
    ];
    for (table, columns) in columns {
        for column in columns {
            for to in [f64::NAN, f64::INFINITY, -1e308, 1e308, 0.0].map(Numbers).into_iter().chain([Missing]) {
                change(&sandbox, table, |frame| {
                    let old = frame.column(column).unwrap().cast(&DataType::Float64).unwrap();
                    let frame = changed(frame, column, &to);
                    // Every second number stays.
                    let (old, new) =
                        (old.f64().unwrap(), frame.column(column).unwrap().cast(&DataType::Float64).unwrap());
                    let new = new.f64().unwrap();
                    let mixed = (0..old.len()).map(|row| if row % 2 == 0 { old.get(row) } else { new.get(row) });
                    let mixed = Series::new(PlSmallStr::from(*column), mixed.collect::<Vec<Option<f64>>>());
                    with(frame, mixed)
                });
                for command in &READERS[..5] {
                    let ran = run(&sandbox, command);
                    assert_eq!(ran.status, 0, "{command}, {table} {column}: {}", ran.stderr);
                }
                restore(&sandbox);
            }
        }
    }
}

#[test]
fn sequences_may_end_one_before_another_and_be_fewer_than_expected() {
    let sandbox = study();
    for column in ["input", "target", "untrained", "output"] {
        for kept in [0, 1, 5] {
            change(&sandbox, "traces.parquet", |frame| {
                let values = frame.column(column).unwrap().f64().unwrap().clone();
                let cut: Vec<Option<f64>> =
                    (0..values.len()).map(|row| values.get(row).filter(|_| row % 12 < kept)).collect();
                with(frame, Series::new(column.into(), cut))
            });
            let ran = run(&sandbox, "report out");
            assert_eq!(ran.status, 0, "{column} {kept}: {}", ran.stderr);
            restore(&sandbox);
        }
    }
    for table in ["history.parquet", "traces.parquet", "layers.parquet", "baselines.parquet", "trials.parquet"] {
        change(&sandbox, table, |frame| frame.head(Some(0)));
        for command in ["results .", "report out", "diff out whole", "export out --format csv"] {
            let ran = run(&sandbox, command);
            assert_eq!(ran.status, 0, "{command}, {table}: {}", ran.stderr);
        }
        restore(&sandbox);
    }
}

/// Changes the text of a manifest.
fn manifest(sandbox: &Sandbox, key: &str, value: serde_json::Value) {
    let path = sandbox.path("out/manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    *manifest.pointer_mut(key).unwrap() = value;
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

#[test]
fn numbers_and_names_of_a_manifest_are_looked_at_before_anything_is_counted_by_them() {
    let sandbox = study();
    let layer = serde_json::json!({ "name": "../x", "kind": "leaky", "inputs": 1, "size": 1, "output": "spikes",
        "parameters": [], "threshold": null });
    let sampling = |metric: &str, min: u64, max: u64, from: u64| serde_json::json!({ "metric": metric, "precision": { "relative_half_width": 0.1, "min": min, "max": max }, "from": from });
    let cases = [
        ("/planned", 1_000_000_000_000_000_000_u64.into(), "`planned` is 1000000000000000000"),
        ("/planned", (-1).into(), "invalid value"),
        ("/layers", serde_json::json!([layer]), "`layers` has \"../x\", which is no name"),
        ("/objective", serde_json::json!({ "name": "l3", "maximize": false }), "`objective.name` is \"l3\""),
        ("/sampling", sampling("l1", 0, 30, 0), "`sampling` is of 0 to 30 seeds"),
        ("/sampling", sampling("l1", 5, 1 << 60, 0), "`sampling.precision.max` is 1152921504606846976"),
        ("/sampling", sampling("l1", 5, 30, u64::MAX), "`sampling` is of 5 to 30 seeds from 18446744073709551615 on"),
        ("/sampling", sampling("l9", 5, 30, 0), "`sampling.metric` is \"l9\""),
        (
            "/entrants",
            serde_json::json!({ "seeds": [0], "configs": { "a": 2 } }),
            "`entrants` has 1 seeds, and 2 of them",
        ),
        ("/started", "\u{1b}[2J".into(), "is no time such as"),
    ];
    for (key, value, says) in cases {
        manifest(&sandbox, key, value);
        for command in READERS.iter().chain(&["export out --format csv", "predict out --data small.toml"]) {
            let ran = run(&sandbox, command);
            assert_eq!(ran.status, 2, "{command}, {key}: {}\n{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains("out/manifest.json: "), "{command}, {key}: {}", ran.stderr);
            assert!(ran.stderr.contains(says), "{command}, {key}: {}", ran.stderr);
        }
        restore(&sandbox);
    }
}

#[test]
fn a_folder_that_cannot_be_read_keeps_nobody_from_the_others() {
    let sandbox = study();
    sandbox.write("out/trials.parquet", "PAR1 and no more PAR1");
    let ran = sandbox.runner(["results", "."]);
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("out/trials.parquet: this is no Parquet file, or it is damaged"), "{}", ran.stderr);
    assert!(ran.stdout.contains("whole") && ran.stdout.contains("finished"), "{}", ran.stdout);
}

/// A Parquet file whose footer says everywhere that there are 2^40 rows or values, where there are four.
fn boasting(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    let (data, footer) = bytes[..end].split_at(end - footer);
    // Thrift's compact protocol: the next field is a 64-bit number, and it is 4.
    let four = [0x16, 0x08];
    let many = [0x16, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let mut changed = Vec::new();
    let mut at = 0;
    while at < footer.len() {
        let found = footer[at..].starts_with(&four);
        changed.extend_from_slice(if found { &many } else { &footer[at..=at] });
        at += if found { 2 } else { 1 };
    }
    let length = (changed.len() as u32).to_le_bytes();
    [data, &changed, &length, b"PAR1"].concat()
}

#[test]
fn rows_that_a_file_cannot_hold_are_not_asked_memory_for() {
    let sandbox = study();
    let path = sandbox.path("out/trials.parquet");
    fs::write(&path, boasting(&fs::read(&path).unwrap())).unwrap();
    for command in READERS {
        let ran = run(&sandbox, command);
        assert_eq!(ran.status, 2, "{command}: {}\n{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("bytes and says that it has 2199023255552 rows"), "{command}: {}", ran.stderr);
    }
}

#[test]
fn a_damaged_table_is_an_error_without_the_words_of_a_panic() {
    let sandbox = study();
    let path = sandbox.path("out/history.parquet");
    let bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).rev().step_by(37) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        fs::write(&path, changed).unwrap();
        let ran = run(&sandbox, "report out");
        let said = ran.stderr.contains("out/history.parquet");
        assert!(ran.status == 0 || ran.status == 2 && said, "byte {at}: {} {}", ran.status, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "byte {at}: {}", ran.stderr);
    }
}

#[test]
fn a_record_that_does_not_fit_itself_is_refused() {
    let sandbox = study();
    let id = trial(&sandbox);
    let record = serde_json::json!({
        "trial": id, "config": "0123456789abcdef", "params": [["optimizer.lr", "0.01"]], "seed": 0, "error": null,
        "loss": [1], "metrics": [1, 1], "iterations": 1, "started": 1, "finished": 2, "duration_s": [1],
        "history": [0, 1], "history_values": [1, 1, 1, 1, 1, 1], "watched": [["a", [1, 1]]], "baselines": [],
        "traces": { "steps": 2, "samples": 1, "input": [1, 1], "target": [1, 1], "untrained": [1, 1], "output": [1, 1] },
        "layers": [{ "layer": "hidden_1", "neurons": 2, "mem": [1, 1], "spk": [1, 1], "threshold": [1] }],
    });
    let journal = |key: &str, value: serde_json::Value| {
        let mut changed = record.clone();
        *changed.pointer_mut(key).unwrap() = value;
        let framed = framed(&serde_json::to_vec(&changed).unwrap());
        sandbox.write("out/journal/0.log", [&HEADER[..], &framed].concat());
    };
    let cases = [
        ("/trial", "../../x".into(), "is no trial's id"),
        ("/history_values", serde_json::json!([1, 1, 1]), "a history of 2 rows has 3 values"),
        ("/history", serde_json::json!([]), "a history of 0 rows has 6 values"),
        ("/watched", serde_json::json!([["a", [1]]]), "a history of 2 rows has 1 values of \"a\""),
        ("/traces/steps", 0.into(), "traces of 1 samples of 0 steps have"),
        ("/traces/samples", 1_u64.rotate_right(2).into(), "samples of 2 steps have"),
        ("/traces/output", serde_json::json!([1]), "traces of 1 samples of 2 steps have"),
        ("/layers/0/neurons", 0.into(), "states of 0 neurons of \"hidden_1\" are not whole"),
        ("/layers/0/layer", "../x".into(), "states of 2 neurons of \"../x\" are not whole"),
    ];
    for (key, value, says) in cases {
        journal(key, value);
        for command in ["results .", "run small.toml --out out --seeds 0..3 --quiet"] {
            let ran = run(&sandbox, command);
            assert_eq!(ran.status, 2, "{command}, {key}: {}\n{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains("out/journal/0.log: at byte 24: "), "{command}, {key}: {}", ran.stderr);
            assert!(ran.stderr.contains(says), "{command}, {key}: {}", ran.stderr);
        }
    }
}

#[test]
fn weights_in_units_of_other_columns_are_refused() {
    let sandbox = table();
    let weights = fs::read_dir(sandbox.path("out/weights")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&weights).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    for (scale, says) in [
        (r#"{"inputs":[],"targets":[]}"#, "units of 0 inputs and 0 targets, where there are 1 and 1"),
        (r#"{"inputs":[{"shift":0,"factor":0}],"targets":[{"shift":0,"factor":1}]}"#, "units with the factor 0"),
    ] {
        let mut header = header.clone();
        header["__metadata__"]["scale"] = scale.into();
        let mut text = serde_json::to_vec(&header).unwrap();
        text.resize(text.len().next_multiple_of(8), b' ');
        let changed = [&(text.len() as u64).to_le_bytes()[..], &text, &bytes[8 + length..]].concat();
        fs::write(&weights, changed).unwrap();
        let ran = sandbox.runner(["predict", "out", "--data", "d.csv"]);
        assert!(ran.status == 1 && ran.stderr.contains(says), "{}: {}", ran.status, ran.stderr);
    }
}

#[test]
fn a_baseline_is_read_by_its_names_and_a_text_is_no_metric() {
    let sandbox = table();
    change(&sandbox, "baselines.parquet", |frame| changed(frame, "r2", &Becomes::Texts("good")));
    for command in ["report out", "run small.toml --out out --seeds 0..3 --quiet"] {
        let ran = run(&sandbox, command);
        assert_eq!(ran.status, 2, "{command}: {}", ran.stderr);
        assert!(ran.stderr.contains("baselines.parquet: column `r2` holds str"), "{command}: {}", ran.stderr);
    }
}
