//! Training from the outside: what a run leaves, and that nothing but the plan determines it.

use super::{SMALL, Sandbox};
use polars::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Times depend on when a trial ran; nothing else may.
pub const TIMES: [&str; 3] = ["started", "finished", "duration_s"];

pub fn table(folder: &Path, name: &str) -> DataFrame {
    ParquetReader::new(File::open(folder.join(name)).unwrap()).finish().unwrap()
}

/// Everything in a result folder that must not vary: tables without times, and weights.
pub fn content(folder: &Path) -> (Vec<DataFrame>, BTreeMap<String, Vec<u8>>) {
    let names = ["trials.parquet", "history.parquet", "traces.parquet", "layers.parquet"];
    let tables = names.iter().map(|name| table(folder, name).drop_many(TIMES)).collect();
    let weights = std::fs::read_dir(folder.join("weights")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap())
    });
    (tables, weights.collect())
}

pub fn assert_same_tables(a: &Path, b: &Path) {
    for (x, y) in content(a).0.iter().zip(&content(b).0) {
        assert!(x.equals_missing(y), "{x:?}\n{y:?}");
    }
}

pub fn assert_same_content(a: &Path, b: &Path) {
    assert_same_tables(a, b);
    let (a, b) = (content(a).1, content(b).1);
    assert!(a.keys().eq(b.keys()), "{:?}\n{:?}", a.keys(), b.keys());
    a.iter().for_each(|(name, bytes)| assert!(*bytes == b[name], "{name} differs"));
}

#[test]
fn a_run_leaves_every_file_and_a_summary() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let ran = sandbox.fine(["small.toml", "--seeds", "0..3"]);
    let out = sandbox.path("results/small");
    assert!(
        ran.stdout.contains("loss (target^2)") && ran.stdout.contains("report: results/small/report.html"),
        "{}",
        ran.stdout
    );
    let trials = table(&out, "trials.parquet");
    let names: Vec<&str> = trials.get_column_names().iter().map(|name| name.as_str()).collect();
    let expected = [
        "trial",
        "config",
        "seed",
        "parameters",
        "executor",
        "status",
        "error",
        "loss",
        "l1",
        "nmse",
        "iterations",
        "started",
        "finished",
        "duration_s",
    ];
    assert_eq!(names, expected);
    assert_eq!(trials.height(), 3);
    assert_eq!(table(&out, "history.parquet").height(), 3 * 20);
    assert_eq!(table(&out, "traces.parquet").height(), 3 * 12);
    assert_eq!(table(&out, "layers.parquet").height(), (8 + 1) * 12);
    for plot in ["output", "loss", "by_seed", "layer_hidden_1", "layer_readout"] {
        let svg = std::fs::read_to_string(out.join(format!("plots/{plot}.svg"))).unwrap();
        assert!(svg.starts_with("<svg"), "{plot}");
    }
    let manifest: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["status"], "finished");
    assert!(manifest["files"].as_array().unwrap().iter().any(|file| file == "report.html"));
}

#[test]
fn the_page_stands_alone_and_has_its_parts_in_order() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml"]);
    let page = std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap();
    let parts = [
        "A network of 2 layers (leaky 8, leaky 1",
        "Result beside baselines",
        "leaky integrator",
        "Output against target, before and after training",
        "Loss while training",
        "Layer hidden_1 (leaky)",
        "Layer readout (leaky)",
        "Resolved experiment",
        "Environment",
        "Repeat it",
        "runner small.toml",
    ];
    let places: Vec<usize> = parts.iter().map(|part| page.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    for outside in ["src=", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"));
}

#[test]
fn weights_are_safetensors_in_pytorchs_orientation() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml"]);
    let path = std::fs::read_dir(sandbox.path("results/small/weights")).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("hidden_1.weight"), [8, 1]);
    assert_eq!(shape("readout.weight"), [1, 8]);
    assert_eq!(shape("hidden_1.bias"), [8]);
    assert_eq!(shape("hidden_1.beta"), [8]);
    assert_eq!(shape("readout.beta"), [1]);
}

#[test]
fn neither_jobs_nor_order_nor_repetition_change_a_bit() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..5", "--jobs", "1", "--out", "one"]);
    sandbox.fine(["small.toml", "--seeds", "0..5", "--jobs", "4", "--out", "four"]);
    sandbox.fine(["small.toml", "--seeds", "4,2,0,3,1", "--jobs", "2", "--out", "shuffled"]);
    assert_same_content(&sandbox.path("one"), &sandbox.path("four"));
    assert_same_content(&sandbox.path("one"), &sandbox.path("shuffled"));
}

#[test]
fn a_failing_trial_says_why_and_the_others_go_on() {
    let dataset = "kind = \"dataset\"\nname = \"half\"\n[draws]\nend = { uniform = [0, 1] }\n[inputs]\nx = \"end * t\"\n\
        [targets]\ny = \"where(end > 0.5, log(-1), x)\"\n";
    let text = SMALL.replace("kind = \"sqrt\"", "kind = \"half\"");
    let sandbox = Sandbox::with("small.toml", &text);
    sandbox.write("plugins/half.toml", dataset);
    let ran = sandbox.runner(["small.toml", "--seeds", "0..8"]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let trials = table(&sandbox.path("results/small"), "trials.parquet");
    let status: Vec<&str> = trials.column("status").unwrap().str().unwrap().iter().flatten().collect();
    assert!(status.contains(&"failed") && status.contains(&"completed"), "{status:?}");
    let error = trials.column("error").unwrap().str().unwrap().iter().flatten().next().unwrap();
    assert_eq!(error, "the loss is NaN at iteration 0: the data have values that are not finite");
    assert!(ran.stderr.contains(error) && ran.stdout.contains("failed"), "{}", ran.stderr);
}

#[test]
fn a_learning_rate_without_measure_is_named_as_the_likely_reason() {
    let sandbox =
        Sandbox::with("small.toml", &SMALL.replace("kind = \"adam\"\nlr = 1e-2", "kind = \"sgd\"\nlr = 1e30"));
    let ran = sandbox.runner(["small.toml"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("a smaller `lr` or `clip_norm` helps"), "{}", ran.stderr);
    let page = std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap();
    assert!(page.contains("0 of 1 trial completed") && page.contains("a smaller `lr`"));
}

#[test]
fn minibatches_epochs_clipping_and_best_weights_train() {
    let text = SMALL
        .replace("steps = 12", "steps = 12\nsamples = 7")
        .replace("iterations = 20", "epochs = 6\nbatch = 3\nclip_norm = 0.5\nselect = \"best\"\nrecord_every = 2");
    let sandbox = Sandbox::with("small.toml", &text);
    for (kind, out) in [("adam", "a"), ("adamw", "b"), ("sgd", "c"), ("rmsprop", "d")] {
        sandbox.fine([
            "small.toml",
            "--set",
            &format!("optimizer.kind={kind}"),
            "--out",
            out,
            "--set",
            "optimizer.lr=1e-2",
        ]);
        let trials = table(&sandbox.path(out), "trials.parquet");
        assert_eq!(trials.column("iterations").unwrap().u64().unwrap().get(0), Some(18));
        let history = table(&sandbox.path(out), "history.parquet");
        assert_eq!(history.height(), 9);
        let loss = trials.column("loss").unwrap().f64().unwrap().get(0).unwrap();
        let first = history.column("loss").unwrap().f64().unwrap().get(0).unwrap();
        assert!(loss < first, "{kind}: {first} to {loss}");
    }
    assert_eq!(table(&sandbox.path("a"), "traces.parquet").height(), 4 * 12, "the first four samples");
}

#[test]
fn fixed_data_and_initial_seeds_fix_just_these() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..2", "--set", "data.seed=42", "--set", "train.iterations=0"]);
    let targets = |folder: &Path| -> Vec<Vec<f64>> {
        let traces = table(folder, "traces.parquet");
        let values: Vec<f64> = traces.column("target").unwrap().f64().unwrap().iter().flatten().collect();
        values.chunks(12).map(<[f64]>::to_vec).collect()
    };
    let fixed = targets(&sandbox.path("results/small"));
    assert_eq!(fixed[0], fixed[1]);
    let (_, weights) = content(&sandbox.path("results/small"));
    let values: Vec<&Vec<u8>> = weights.values().collect();
    assert_ne!(values[0], values[1]);
    sandbox.fine([
        "small.toml",
        "--seeds",
        "0..2",
        "--set",
        "init.seed=1",
        "--set",
        "train.iterations=0",
        "--out",
        "init",
    ]);
    let drawn = targets(&sandbox.path("init"));
    assert_ne!(drawn[0], drawn[1]);
    let (_, weights) = content(&sandbox.path("init"));
    let values: Vec<&Vec<u8>> = weights.values().collect();
    assert_eq!(values[0], values[1]);
}

#[test]
fn a_penalty_on_a_hidden_signal_and_a_linear_read_out_train() {
    let text = SMALL
        .replace("kind = \"leaky\"\nsize = 1\nreset = \"none\"\noutput = \"membrane\"", "kind = \"linear\"\nsize = 1")
        .replace("[let]\nhidden = 8\n", "")
        .replace("\"=hidden\"", "1")
        .replace("loss = \"mse\"", "loss = [\"mse\", { kind = \"l1\", weight = 0.1, of = \"hidden_1.membrane\" }]");
    let sandbox = Sandbox::with("small.toml", &text);
    sandbox.fine(["small.toml"]);
    let manifest = std::fs::read_to_string(sandbox.path("results/small/manifest.json")).unwrap();
    assert!(manifest.contains("1 mse + 0.1 l1"), "{manifest}");
}

#[test]
fn json_and_quiet_are_for_programs() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let ran = sandbox.fine(["small.toml", "--seeds", "0..2", "--json"]);
    let rows: Vec<serde_json::Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows[1]["loss"].as_f64().unwrap() > 0.0 && rows[1]["metrics"]["nmse"].is_number());
    let quiet = sandbox.fine(["small.toml", "--seeds", "0..2", "--quiet"]);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn several_files_go_into_folders_of_their_own() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("other.toml", "extends = \"small.toml\"\nname = \"other\"\n[data]\nkind = \"linear\"\nsteps = 9\n");
    sandbox.fine(["small.toml", "other.toml", "--out", "both"]);
    assert_eq!(table(&sandbox.path("both/other"), "traces.parquet").height(), 9);
    assert_eq!(table(&sandbox.path("both/small"), "traces.parquet").height(), 12);
}

#[test]
fn an_inserted_layer_leaves_the_draws_of_the_others_as_they_were() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write(
        "more.toml",
        "extends = \"small.toml\"\n[layer.middle]\nafter = \"hidden_1\"\nkind = \"leaky\"\nsize = \"=hidden\"\n",
    );
    let drawn = |file: &str, out: &str| {
        sandbox.fine([file, "--set", "train.iterations=0", "--out", out]);
        let (_, weights) = content(&sandbox.path(out));
        let bytes = weights.into_values().next().unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect::<BTreeMap<_, _>>()
    };
    let (few, more) = (drawn("small.toml", "few"), drawn("more.toml", "more"));
    assert!(more.contains_key("middle.weight") && few.len() == 8);
    few.iter().for_each(|(name, values)| assert_eq!(&more[name], values, "{name}"));
}
