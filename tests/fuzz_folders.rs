//! Result folders that nobody meant: bytes, columns, manifests and records changed, and every command that reads them.
//!
//! A few changed folders, or with `RUNNER_FUZZ_SECONDS=600` as many as that time takes; `RUNNER_FUZZ_BEGIN` begins
//! elsewhere. What is asked: no panic, an end within seconds, no more memory than a reader needs, and a status that
//! says what happened. A folder that breaks this is kept, and its path printed.

mod changes;

use changes::{Changes, repeat};
use polars::prelude::*;
use runner::store::journal::{HEADER, framed};
use runner::store::record::{LayerTrace, Record, Traces};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NETWORK: &str = r#"
[[layer]]
name = "hidden_1"
kind = "leaky"
size = 3
beta = 0.9
[[layer]]
name = "readout"
kind = "li"
size = 1
beta = 0.5
[optimizer]
kind = "adam"
lr = 1e-2
"#;

const SWEEP: &str = r#"name = "sweep"
[data]
kind = "sqrt"
steps = 6
[train]
iterations = 8
loss = "mse"
metrics = ["l1", "nmse"]
watch = true
save_every = 3
[run]
seeds = [0, 1]
[sweep.over]
"optimizer.lr" = [1e-2, 2e-2]
"#;

const TABLE: &str = r#"name = "table"
[data]
kind = "table"
path = "d.csv"
inputs = ["x"]
targets = ["y"]
steps = 2
[data.split]
by = "order"
validation = 0.2
test = 0.2
[train]
epochs = 2
batch = 4
loss = "mse"
metrics = ["r2", "rmse"]
[run]
seeds = [0, 1]
"#;

const RACE: &str = r#"name = "race"
[data]
kind = "sqrt"
steps = 6
[train]
iterations = 8
loss = "mse"
metrics = ["l1"]
[run]
seeds = { count = 8 }
[sweep]
pruner = "race"
minimize = "l1"
fresh = 2
[sweep.over]
"optimizer.lr" = [1e-5, 1e-1]
"#;

const UNTIL: &str = r#"name = "until"
[data]
kind = "sqrt"
steps = 6
[train]
iterations = 8
loss = "mse"
metrics = ["l1"]
[run]
seeds = { until = { relative_half_width = 0.9, metric = "l1", min = 5 }, max = 8 }
"#;

const TABLES: [&str; 5] =
    ["trials.parquet", "history.parquet", "traces.parquet", "layers.parquet", "baselines.parquet"];

/// What is asked of each folder; FILE stands for its experiment, TRIAL for one of its trials.
const COMMANDS: [&[&str]; 13] = [
    &["results", "."],
    &["report", "out"],
    &["compare", "out", "--baseline", "optimizer.lr=0.01"],
    &["compare", "out", "--baseline", "optimizer.lr=0.1"],
    &["diff", "out", "whole"],
    &["diff", "whole", "out"],
    &["explain", "out", "TRIAL"],
    &["explain", "out", "TRIAL", "FILE"],
    &["export", "out", "--format", "csv"],
    &["export", "out", "--format", "tensorboard"],
    &["predict", "out", "--data", "d.csv"],
    &["verify", "out", "--sample", "1"],
    &["run", "FILE", "--out", "out", "--seeds", "0..9", "--quiet"],
];

/// Longest that a command may take; of a machine that does much else.
const LONGEST: Duration = Duration::from_secs(20);

/// Bytes that a command may say of what is wrong.
const MOST_SAID: usize = 100_000;

/// Address space that a command may ask for, in KiB: threads and libraries take most of it.
const MEMORY: &str = "4000000";

fn made(folder: &Path, name: &str, text: &str) -> PathBuf {
    let place = folder.join(name);
    fs::create_dir_all(&place).unwrap();
    let rows: String = (0..30).map(|i| format!("{},{}\n", i % 7, i * 3 % 11)).collect();
    fs::write(place.join("d.csv"), format!("x,y\n{rows}")).unwrap();
    fs::write(place.join("e.toml"), text.replacen("[train]", &format!("{NETWORK}[train]"), 1)).unwrap();
    for arguments in [&["run", "e.toml", "--out", "whole", "--quiet"][..], &["predict", "whole", "--data", "d.csv"]] {
        let ran = Command::new(env!("CARGO_BIN_EXE_runner")).args(arguments).current_dir(&place).output().unwrap();
        assert!(ran.status.success() || arguments[0] == "predict", "{}", String::from_utf8_lossy(&ran.stderr));
    }
    place
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            assert!(fs::copy(entry.path(), target).is_ok())
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Changes the bytes of any file.
fn change_bytes(folder: &Path, changes: &mut Changes) -> String {
    let read: Vec<PathBuf> =
        files(folder).into_iter().filter(|path| path.extension().is_none_or(|e| e != "svg")).collect();
    let file = changes.pick(&read).clone();
    let bytes = fs::read(&file).unwrap();
    let (at, end) = (changes.below(bytes.len() + 1), changes.below(bytes.len() + 1));
    let pieces = ["\u{0}\u{0}\u{0}\u{0}", "\u{7f}", "PAR1", "9999999999", "-1", "\"", "{", "]"];
    let changed = match changes.below(4) {
        0 => bytes[..at].to_vec(),
        1 => bytes[at.min(end)..at.max(end)].to_vec(),
        _ => changes.of(&[bytes], &pieces),
    };
    fs::write(&file, changed).unwrap();
    format!("bytes of {}", file.display())
}

fn table(path: &Path) -> DataFrame {
    ParquetReader::new(fs::File::open(path).unwrap()).finish().unwrap()
}

/// Changes a table so that it is still one.
fn change_table(folder: &Path, changes: &mut Changes) -> String {
    let name = *changes.pick(&TABLES);
    let path = folder.join(name);
    let mut frame = table(&path);
    let mut said = name.to_string();
    for _ in 0..=changes.below(2) {
        if frame.width() == 0 {
            break;
        }
        let what = change_frame(&mut frame, changes);
        said += &format!(", {what}");
    }
    ParquetWriter::new(fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
    said
}

fn change_frame(frame: &mut DataFrame, changes: &mut Changes) -> String {
    let names: Vec<String> = frame.get_column_names().iter().map(|name| name.to_string()).collect();
    let name = changes.pick(&names).clone();
    let height = frame.height();
    let row = changes.below(height);
    let column = frame.column(&name).unwrap().clone();
    let mut put = |series: Series| {
        frame.with_column(series.into()).unwrap();
    };
    match changes.below(14) {
        0 => {
            *frame = frame.drop(&name).unwrap();
            format!("without {name}")
        }
        1 => {
            let other = *changes.pick(&["seed", "loss", "param.x", "validation.loss", "../../x", ""]);
            if !names.iter().any(|name| name == other) {
                frame.rename(&name, other.into()).unwrap();
            }
            format!("{name} called {other}")
        }
        2 => {
            let kinds = [DataType::String, DataType::Int64, DataType::Float32, DataType::Float64, DataType::UInt32];
            let kind = changes.pick(&kinds).clone();
            if let Ok(cast) = column.cast(&kind) {
                put(cast.as_materialized_series().clone());
            }
            format!("{name} as {kind}")
        }
        3 => {
            let order: Vec<String> = names.iter().rev().cloned().collect();
            *frame = frame.select(order).unwrap();
            "columns in reverse".into()
        }
        4 => {
            let rows: Vec<u32> = (0..height as u32).map(|_| changes.below(height) as u32).collect();
            *frame = frame.take(&IdxCa::new("rows".into(), rows)).unwrap();
            "rows drawn".into()
        }
        5 => {
            let cell = |i: usize| if i == row { AnyValue::Null } else { column.get(i).unwrap() };
            let cells: Vec<AnyValue<'_>> = (0..height).map(cell).collect();
            put(Series::from_any_values_and_dtype(column.name().clone(), &cells, column.dtype(), false).unwrap());
            format!("{name} null in row {row}")
        }
        6 | 7 => {
            let odd = [
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                -1.0,
                0.0,
                1e308,
                -1e308,
                1e38,
                1e19,
                4294967295.0,
                1e9,
                1e-320,
                0.5,
            ];
            let (first, second) = (*changes.pick(&odd), *changes.pick(&odd));
            let all = changes.below(2) == 0;
            let Ok(numbers) = column.cast(&DataType::Float64) else { return "nothing".into() };
            let numbers = numbers.f64().unwrap();
            let value = |i: usize| match i {
                i if i == row => Some(first),
                i if all => Some(if i % 2 == 0 { first } else { second }),
                i => numbers.get(i),
            };
            let changed = Series::new(column.name().clone(), (0..height).map(value).collect::<Vec<Option<f64>>>());
            put(changed.cast(column.dtype()).unwrap_or(changed));
            format!("{name} is {first} in row {row}, all: {all} {second}")
        }
        8 => {
            let texts = ["", "../../../x", "0123456789abcdef", "completed", "failed", "\u{1b}[31m", "hidden_1", "-1"];
            let text = *changes.pick(&texts);
            let all = changes.below(2) == 0;
            let Ok(old) = column.cast(&DataType::String) else { return "nothing".into() };
            let old = old.str().unwrap();
            let value = |i: usize| if all || i == row { Some(text) } else { old.get(i) };
            put(Series::new(column.name().clone(), (0..height).map(value).collect::<Vec<Option<&str>>>()));
            format!("{name} is {text:?} in row {row}, all: {all}")
        }
        9 => {
            *frame = frame.vstack(&frame.slice(row as i64, changes.below(height))).unwrap();
            "rows twice".into()
        }
        10 => {
            *frame = frame.slice(changes.below(height) as i64, changes.below(height));
            format!("only {} rows", frame.height())
        }
        11 => {
            let rows: Vec<u32> = (0..3000.min(height * 3000)).map(|_| changes.below(height) as u32).collect();
            *frame = frame.take(&IdxCa::new("rows".into(), rows)).unwrap();
            "very many rows".into()
        }
        12 => {
            let prefix = *changes.pick(&["", "param.", "validation.", "hidden_1."]);
            for i in 0..300 {
                put(column.as_materialized_series().clone().with_name(format!("{prefix}{i}").as_str().into()));
            }
            format!("very many columns {prefix}0")
        }
        _ => {
            let piece = |i: usize| column.as_materialized_series().slice(i as i64, i % 3);
            let lists: Vec<Series> = (0..height).map(piece).collect();
            put(Series::new(column.name().clone(), lists));
            format!("{name} as lists")
        }
    }
}

fn change_manifest(folder: &Path, changes: &mut Changes) -> String {
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let what: Vec<String> = (0..=changes.below(2)).map(|_| changes.json(&mut manifest)).collect();
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    format!("manifest: {}", what.join(", "))
}

/// A journal with a record of a trial of the folder, or of another, changed and signed.
fn change_journal(folder: &Path, changes: &mut Changes) -> String {
    let trials = table(&folder.join("trials.parquet"));
    let text = |name: &str, row: usize| trials.column(name).unwrap().str().unwrap().get(row).unwrap().to_string();
    let row = changes.below(trials.height());
    let sequence = vec![0.5_f64; 12];
    let trace = |layer: &str| LayerTrace {
        layer: layer.into(),
        neurons: 3,
        mem: vec![0.5; 12],
        spk: vec![0.5; 12],
        threshold: vec![1.0],
    };
    let mut record = Record {
        data_digest: None,
        trial: if changes.below(2) == 0 { text("trial", row) } else { "0123456789abcdef".into() },
        config: text("config", row),
        params: vec![("optimizer.lr".into(), "0.01".into())],
        seed: 0,
        parameters: Some(5),
        executor: Some(text("executor", row)),
        error: None,
        loss: vec![0.5],
        metrics: vec![0.25, 0.25],
        iterations: 8,
        started: 1,
        finished: 2,
        duration_s: vec![0.5],
        history: vec![0, 1],
        history_values: vec![0.5; 6],
        watched: vec![("hidden_1.silent".into(), vec![0.5, f64::NAN])],
        baselines: vec![("mean".into(), vec![0.5, 0.5])],
        traces: Some(Traces {
            steps: 6,
            samples: 2,
            input: sequence.clone(),
            target: sequence.clone(),
            untrained: sequence.clone(),
            output: sequence.clone(),
        }),
        layers: vec![trace("hidden_1"), trace("readout")],
        weights_bytes: None,
    };
    let many = 0..3000;
    let long = changes.below(8);
    match long {
        0 => record.params.extend(many.map(|i| (format!("a{i}"), "1".to_string()))),
        1 => record.watched.extend(many.map(|i| (format!("l{i}.silent"), vec![0.5, 0.5]))),
        2 => record.layers.extend(many.map(|i| trace(&format!("l{i}")))),
        3 => record.baselines.extend(many.map(|i| (format!("b{i}"), vec![0.5, 0.5]))),
        _ => {}
    }
    let mut record = serde_json::to_value(&record).unwrap();
    let what = if long < 4 { format!("very long {long}") } else { changes.json(&mut record) };
    let folder = folder.join("journal");
    fs::create_dir_all(&folder).unwrap();
    let framed = framed(&serde_json::to_vec(&record).unwrap());
    fs::write(folder.join("0.log"), [&HEADER[..], &framed].concat()).unwrap();
    format!("journal: {what}")
}

/// Runs a command with limits; what is wrong with how it ended, if something is.
fn wrong(place: &Path, arguments: &[&'static str]) -> Option<String> {
    let trials = table(&place.join("whole/trials.parquet"));
    let trial = trials.column("trial").unwrap().str().unwrap().get(0).unwrap();
    let meant = |word: &&'static str| match *word {
        "FILE" => "e.toml".to_string(),
        "TRIAL" => trial.to_string(),
        word => word.to_string(),
    };
    let text = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &text, env!("CARGO_BIN_EXE_runner")])
        .args(arguments.iter().map(meant))
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let said = std::thread::spawn(move || {
        let mut said = Vec::new();
        pipe.read_to_end(&mut said).map(|_| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default()
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begun.elapsed() > LONGEST => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Some(format!("{arguments:?} takes longer than {LONGEST:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let said = said.join().unwrap();
    let fine = status.code().is_some_and(|code| (0..=3).contains(&code))
        && !said.contains("panicked")
        && said.len() < MOST_SAID
        && (status.success() || said.contains("error:") || arguments[0] == "verify");
    (!fine).then(|| format!("{arguments:?} ends with {status}: {said}"))
}

#[test]
fn a_folder_of_a_stranger_is_read_or_refused_by_every_command() {
    let begun = tempfile::tempdir().unwrap();
    let studies = [("sweep", SWEEP), ("table", TABLE), ("race", RACE), ("until", UNTIL)];
    let made = studies.map(|(name, text)| made(begun.path(), name, text));
    let mut broken = Vec::new();
    repeat("folders", 12, |changes| {
        let place = TempDir::new().unwrap();
        copy(&made[changes.below(made.len())], place.path());
        let folder = place.path().join("out");
        copy(&place.path().join("whole"), &folder);
        let what = match changes.below(8) {
            0..2 => change_bytes(&folder, changes),
            2..5 => change_table(&folder, changes),
            5..7 => change_manifest(&folder, changes),
            _ => change_journal(&folder, changes),
        };
        let wrong: Vec<String> = COMMANDS.iter().filter_map(|arguments| wrong(place.path(), arguments)).collect();
        if !wrong.is_empty() {
            broken.push(format!("{what}\n{}\nkept in {}", wrong.join("\n"), place.keep().display()));
            println!("{}\n", broken[broken.len() - 1]);
        }
    });
    assert!(broken.is_empty(), "{} folders: {}", broken.len(), broken.join("\n\n"));
}
