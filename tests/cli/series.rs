//! Series: windows over one long record, and sequences of different lengths.

use super::Sandbox;
use super::bad_input::refusal;
use super::tables::frame;
use polars::prelude::DataType;
use runner::registry::Registry;
use runner::study::{Executor, Plan};
use std::fmt::Write;

/// One long record, and windows over it.
const WINDOWS: &str = r#"name = "wave"

[data]
kind = "series"
path = "wave.csv"
inputs = ["x"]
targets = ["x"]
window = 6

[data.split]
by = "order"
validation = 0.2
test = 0.2

[[layer]]
name = "hidden"
kind = "lstm"
size = 4

[[layer]]
name = "readout"
kind = "linear"
size = 1

[optimizer]
kind = "adam"
lr = 1e-2

[train]
epochs = 3
batch = 16
loss = "mse"
metrics = ["rmse"]
"#;

fn wave() -> String {
    let mut text = String::from("x\n");
    (0..100).for_each(|t| writeln!(text, "{}", 5.0 + (f64::from(t) / 4.0).sin()).unwrap());
    text
}

#[test]
fn a_random_split_of_windows_is_refused_because_it_leaks() {
    let sandbox = Sandbox::with("wave.toml", &WINDOWS.replace("by = \"order\"", "by = \"random\""));
    sandbox.write("wave.csv", wave());
    insta::assert_snapshot!(refusal(&sandbox, &["wave.toml"]));
}

#[test]
fn a_record_shorter_than_a_window_is_refused() {
    let sandbox = Sandbox::with("wave.toml", &WINDOWS.replace("window = 6", "window = 100"));
    sandbox.write("wave.csv", wave());
    insta::assert_snapshot!(refusal(&sandbox, &["wave.toml"]));
}

#[test]
fn validation_losses_stand_in_the_history_and_training_ends_early() {
    let sandbox = Sandbox::with(
        "wave.toml",
        &WINDOWS
            .replace("epochs = 3", "epochs = 500\nselect = \"best\"\nearly_stop = { patience = 3, min_change = 1e-4 }"),
    );
    sandbox.write("wave.csv", wave());
    sandbox.fine(["wave.toml"]);
    let (history, trials) = (frame(&sandbox, "history.parquet"), frame(&sandbox, "trials.parquet"));
    let looks = history.column("validation.loss").unwrap().f64().unwrap().clone();
    let a_pass = 57usize.div_ceil(16);
    let seen: Vec<usize> = looks.iter().enumerate().filter(|(_, loss)| loss.is_some()).map(|(i, _)| i).collect();
    assert!(seen.iter().enumerate().all(|(epoch, row)| *row == epoch * a_pass), "{seen:?}");
    let iterations = trials.column("iterations").unwrap().u64().unwrap().get(0).unwrap() as usize;
    assert!(iterations < 500 * a_pass && iterations.is_multiple_of(a_pass), "{iterations}");
    // The best look is what is kept, unless the very last update was better still.
    let lowest = looks.iter().flatten().fold(f64::INFINITY, f64::min);
    let kept = trials.column("validation.loss").unwrap().f64().unwrap().get(0).unwrap();
    assert!(kept <= lowest + 1e-9, "{kept} {lowest}");
}

#[test]
fn sequences_of_different_lengths_are_padded_and_the_padding_counts_nowhere() {
    let text =
        WINDOWS.replace("window = 6", "series = \"id\"\nhorizon = 0").replace("targets = [\"x\"]", "targets = [\"y\"]");
    let split = text.find("[data.split]").unwrap()..text.find("[[layer]]").unwrap();
    let text = [&text[..split.start], &text[split.end..]].concat();
    let rows = |sequences: &[(&str, usize)]| {
        let mut csv = String::from("id,x,y\n");
        for (id, length) in sequences {
            (0..*length).for_each(|t| writeln!(csv, "{id},{},{}", t % 5, 2 * (t % 5) + 1).unwrap());
        }
        csv
    };
    let sandbox = Sandbox::with("wave.toml", &text);
    sandbox.write("wave.csv", rows(&[("long", 20), ("short", 5), ("middle", 10)]));
    for executor in ["fused", "reference"] {
        sandbox.fine(["wave.toml", "--executor", executor, "--fresh", "--set", "report.samples=3"]);
        let traces = frame(&sandbox, "traces.parquet");
        let target = traces.column("target").unwrap().f64().unwrap().clone();
        let output = traces.column("output").unwrap().f64().unwrap().clone();
        assert_eq!(target.iter().flatten().count(), 35, "padding has no target");
        let errors = target.iter().zip(output.iter()).filter_map(|(t, o)| Some((t? - o?).powi(2)));
        let rmse = (errors.sum::<f64>() / 35.0).sqrt();
        let trials = frame(&sandbox, "trials.parquet");
        let said = trials.column("rmse").unwrap().f64().unwrap().get(0).unwrap();
        assert!((said - rmse).abs() < 1e-4, "{executor}: {said} {rmse}");
        // In scaled units the loss is the same mean over the same 35 steps.
        let loss = trials.column("loss").unwrap().f64().unwrap().get(0).unwrap();
        let mean = target.iter().flatten().sum::<f64>() / 35.0;
        let variance = target.iter().flatten().map(|t| (t - mean).powi(2)).sum::<f64>() / 35.0;
        assert!((loss * variance - rmse.powi(2)).abs() < 1e-3 * rmse.powi(2), "{executor}: {loss}");
    }
}

#[test]
fn windows_predict_the_row_after_the_last() {
    let sandbox = Sandbox::with("wave.toml", &WINDOWS.replace("window = 6", "window = 6\ndifference = true"));
    sandbox.write("wave.csv", wave());
    sandbox.fine(["wave.toml"]);
    sandbox.fine(["predict", "results/wave", "--data", "wave.csv", "--out", "next.csv"]);
    let text = std::fs::read_to_string(sandbox.path("next.csv")).unwrap();
    let rows: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!((rows.len(), rows[0], *rows.last().unwrap()), (95, "7", "101"));
}

#[test]
fn origins_leave_later_rows_out_and_each_seed_has_its_mean_over_them() {
    let split = "train = 0.4\nvalidation = 0.2\ntest = 0";
    let text = WINDOWS.replace("validation = 0.2\ntest = 0.2", split).replace("epochs = 3", "epochs = 1");
    let sandbox = Sandbox::with("wave.toml", &text);
    sandbox.write("wave.csv", wave());
    // Rows 6 to 39 are targets of the first part, 40 to 59 of the second; nobody reads the rest.
    let checked = sandbox.fine(["check", "wave.toml"]).stdout;
    assert!(checked.contains("in order, the first 60 % alone: train 34, validation 20\n"), "{checked}");
    let origins = "data.split.train=0.4,0.6";
    let ran = sandbox.fine(["wave.toml", "--sweep", origins, "--seeds", "0..2", "--out", "alone"]);
    assert!(
        ran.stdout.contains("mean over 2 origins, then over 2 seeds (geometric for errors): validation.rmse "),
        "{}",
        ran.stdout
    );
    sandbox.write("rivals.toml", text + "\n[sweep]\nminimize = \"validation.rmse\"\n");
    let sizes = "layer.hidden.size=2,4";
    let ran = sandbox.fine(["rivals.toml", "--sweep", origins, "--sweep", sizes, "--seeds", "0..2"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "over seeds of means over origins, ordered by the median validation.rmse");
    // Two sizes are ranked, and the value of one is the geometric mean over its seeds of the mean over origins.
    let column = |name: &str| frame(&sandbox, "trials.parquet").column(name).unwrap().clone();
    let rmse: Vec<f64> = column("validation.rmse").f64().unwrap().iter().flatten().collect();
    let sizes = column("param.layer.hidden.size").cast(&DataType::String).unwrap();
    let seeds: Vec<u64> = column("seed").u64().unwrap().iter().flatten().collect();
    for line in &lines[2..4] {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let of = |seed: u64| -> Vec<f64> {
            let rows = sizes.str().unwrap().iter().zip(&seeds).zip(&rmse);
            rows.filter(|((size, other), _)| *size == Some(cells[0]) && **other == seed).map(|(_, v)| *v).collect()
        };
        let own = [of(0), of(1)];
        let mean = own.iter().map(|rows| rows.iter().sum::<f64>() / 2.0).product::<f64>().sqrt();
        assert!(own.iter().all(|rows| rows.len() == 2) && cells[2] == "2", "{line}");
        assert!((cells[3].parse::<f64>().unwrap() - mean).abs() < 1e-4, "{line} {own:?}");
    }
    assert!(lines[4].starts_with("report"), "{}", ran.stdout);
}

#[test]
fn persistence_and_an_autoregression_stand_beside_windows() {
    let sandbox = Sandbox::with("wave.toml", WINDOWS);
    sandbox.write("wave.csv", wave());
    sandbox.fine(["wave.toml"]);
    let table = frame(&sandbox, "baselines.parquet");
    let names: Vec<&str> = table.column("baseline").unwrap().str().unwrap().iter().flatten().collect();
    let rmse: Vec<f64> = table.column("rmse").unwrap().f64().unwrap().iter().flatten().collect();
    assert_eq!(names, ["mean", "persistence", "autoregression"]);
    // x(t) = 5 + sin(t / 4): rows 80 to 99 are tested on, and a sine is a regression on its past.
    let x = |t: usize| 5.0 + (t as f64 / 4.0).sin();
    let expected = ((80..100).map(|t| (x(t) - x(t - 1)).powi(2)).sum::<f64>() / 20.0).sqrt();
    assert!((rmse[1] - expected).abs() < 1e-5, "{rmse:?} {expected}");
    assert!(rmse[2] < 1e-4, "{rmse:?}");
}

/// The plan of `wave.toml`.
fn planned(sandbox: &Sandbox) -> (Registry, Plan) {
    let registry = Registry::builtin(&mut Default::default()).unwrap();
    let mut sources = Default::default();
    let spec = runner::spec::read(&sandbox.path("wave.toml"), &Default::default(), &registry, &mut sources).unwrap();
    let plan = Plan::new(spec, &registry, &sources, Executor::Fused, runner::tensor::DeviceName::Cpu).unwrap();
    (registry, plan)
}

#[test]
fn an_interrupted_trial_that_stops_early_ends_with_the_same_rows() {
    let text =
        WINDOWS.replace("epochs = 3", "epochs = 40\nselect = \"best\"\nearly_stop = { patience = 5 }\nsave_every = 3");
    let sandbox = Sandbox::with("wave.toml", &text);
    sandbox.write("wave.csv", wave());
    let (registry, plan) = planned(&sandbox);
    let configuration = &plan.configurations.first;
    let compiled = runner::study::compiled::Compiled::new(configuration, None);
    let trial = || compiled.prepare::<dfdx::prelude::Cpu>(configuration, &registry, 0).unwrap();
    let (mut whole, mut first, mut second) = (trial(), trial(), trial());
    let stop = Default::default();
    whole.advance(usize::MAX, &stop).unwrap();
    first.advance(whole.iteration() / 2, &stop).unwrap();
    assert!(second.restore(first.state().unwrap()).unwrap());
    second.advance(usize::MAX, &stop).unwrap();
    assert_eq!(second.iteration(), whole.iteration());
    assert_eq!(second.history, whole.history);
    whole.select().unwrap();
    second.select().unwrap();
    assert_eq!(whole.parameters(), second.parameters());
}

#[test]
fn what_a_plan_has_read_is_not_read_again_when_its_configurations_are_built() {
    let text = format!("{WINDOWS}\n[sweep.over]\n\"optimizer.lr\" = [1e-3, 1e-2]\n");
    let sandbox = Sandbox::with("wave.toml", &text);
    sandbox.write("wave.csv", wave());
    let (registry, plan) = planned(&sandbox);
    std::fs::remove_file(sandbox.path("wave.csv")).unwrap();
    assert!(plan.trials.len() > 1);
    for trial in &plan.trials {
        assert_eq!(plan.build(trial, &registry).unwrap().data, plan.configurations.first.data);
    }
}
