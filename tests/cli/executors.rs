//! Both executors on whole experiments: every shipped neuron, in networks, gives the same losses within rounding.

use super::run::table;
use super::{SMALL, Sandbox};

/// The first losses of `small.toml`, trained by an executor.
pub fn losses(sandbox: &Sandbox, executor: &str, rows: usize) -> Vec<f64> {
    sandbox.fine(["small.toml", "--executor", executor, "--out", executor, "--fresh"]);
    let history = table(&sandbox.path(executor), "history.parquet");
    history.column("loss").unwrap().f64().unwrap().iter().flatten().take(rows).collect()
}

fn assert_agree(text: &str, rows: usize, what: &str) {
    let sandbox = Sandbox::with("small.toml", text);
    let (reference, fused) = (losses(&sandbox, "reference", rows), losses(&sandbox, "fused", rows));
    assert_eq!(reference.len(), rows);
    for (a, b) in reference.iter().zip(&fused) {
        assert!((a - b).abs() <= 1e-4 * a.abs(), "{what}: {reference:?} {fused:?}");
    }
}

#[test]
fn every_shipped_neuron_trains_the_same_in_both() {
    let list = Sandbox::empty().fine(["list"]).stdout;
    let layers = list.split("layers\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let kinds: Vec<&str> = layers.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(kinds.len() >= 13, "{kinds:?}");
    for kind in kinds {
        let hidden = "kind = \"leaky\"\nsize = \"=hidden\"\nbeta = { uniform = [0, 1], learn = true }";
        let other = format!("kind = \"{kind}\"\nsize = \"=hidden\"");
        let text = SMALL.replace(hidden, &other).replace("steps = 12", "steps = 12\nsamples = 3");
        assert_agree(&text.replace("iterations = 20", "iterations = 3\nbatch = 3"), 3, kind);
    }
}

#[test]
fn one_to_one_recurrence_penalties_clipping_and_layers_without_weights_agree() {
    let text = SMALL
        .replace(
            "kind = \"leaky\"\nsize = \"=hidden\"",
            "kind = \"rleaky\"\nrecurrent = \"one_to_one\"\nsize = \"=hidden\"",
        )
        .replace(
            "[optimizer]",
            "[[layer]]\nname = \"last\"\nkind = \"li\"\nbeta = { value = 0.5, learn = true }\n\n[optimizer]",
        )
        .replace("loss = \"mse\"", "loss = [\"mse\", { kind = \"l1\", weight = 0.1, of = \"readout.membrane\" }]")
        // Adam makes whole steps of gradients that are zero but for rounding.
        .replace("kind = \"adam\"", "kind = \"sgd\"")
        .replace("iterations = 20", "iterations = 3\nclip_norm = 0.05");
    assert_agree(&text, 3, "penalties");
}

#[test]
fn optimizers_do_the_same_in_both() {
    for optimizer in [
        "kind = \"adam\"\nweight_decay = 0.1",
        "kind = \"adamw\"\nweight_decay = 0.1",
        "kind = \"sgd\"\nmomentum = 0.9\nnesterov = true",
        "kind = \"sgd\"\nmomentum = 0.5\nweight_decay = 0.1",
        "kind = \"rmsprop\"\nmomentum = 0.5\ncentered = true",
        "kind = \"rmsprop\"",
    ] {
        let text = SMALL.replace("kind = \"adam\"\nlr = 1e-2", &format!("{optimizer}\nlr = 1e-4")).replace(
            "kind = \"leaky\"\nsize = \"=hidden\"\nbeta = { uniform = [0, 1], learn = true }",
            "kind = \"li\"\nsize = \"=hidden\"",
        );
        assert_agree(&text, 20, optimizer);
    }
}

#[test]
fn a_batch_that_goes_through_in_chunks_gives_the_same() {
    let text = SMALL
        .replace("hidden = 8", "hidden = 64")
        .replace("steps = 12", "steps = 40\nsamples = 37")
        .replace("iterations = 20", "iterations = 2\nbatch = 37");
    assert_agree(&text, 2, "chunks");
}

#[test]
fn a_frozen_layer_stays_as_it_was() {
    let text = SMALL.replacen("name = \"hidden_1\"", "name = \"hidden_1\"\nlearn = false", 1);
    for executor in ["reference", "fused"] {
        let sandbox = Sandbox::with("small.toml", &text);
        let weights = |iterations: &str, out: &str| {
            sandbox.fine(["small.toml", "--set", iterations, "--out", out, "--executor", executor]);
            let path = std::fs::read_dir(sandbox.path(out).join("weights")).unwrap().next().unwrap().unwrap().path();
            let bytes = std::fs::read(path).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let data = |name: &str| tensors.tensor(name).unwrap().data().to_vec();
            (data("hidden_1.weight"), data("hidden_1.beta"), data("readout.weight"))
        };
        let (before, after) = (weights("train.iterations=0", "before"), weights("train.iterations=5", "after"));
        assert_eq!((&before.0, &before.1), (&after.0, &after.1), "{executor}");
        assert_ne!(before.2, after.2, "{executor}");
    }
}

/// The losses of a run with some keys set.
fn losses_with(sandbox: &Sandbox, out: &str, keys: &[&str]) -> Vec<f64> {
    let mut arguments = vec!["small.toml", "--out", out];
    keys.iter().for_each(|key| arguments.extend(["--set", key]));
    let ran: super::Ran = sandbox.command().args(arguments).output().unwrap().into();
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let history = table(&sandbox.path(out), "history.parquet");
    history.column("loss").unwrap().f64().unwrap().iter().flatten().collect()
}

fn assert_close(a: &[f64], b: &[f64], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * a.abs()), "{what}: {a:?} {b:?}");
}

/// A network with every kind of state that is carried over time: of neurons, recurrent weights, and behind a layer
/// without neurons. It has no spikes in its loss that rounding could flip.
fn recurrent() -> String {
    SMALL
        .replace("kind = \"leaky\"\nsize = \"=hidden\"", "kind = \"rleaky\"\nsize = \"=hidden\"")
        .replace(
            "[optimizer]",
            "[[layer]]\nname = \"last\"\nkind = \"li\"\nbeta = { value = 0.5, learn = true }\n\n[optimizer]",
        )
        .replace("kind = \"adam\"", "kind = \"sgd\"")
        .replace("steps = 12", "steps = 23\nsamples = 5")
        .replace("iterations = 20", "iterations = 4\nbatch = 5")
}

#[test]
fn time_in_segments_gives_the_same_gradients_metrics_and_states() {
    let sandbox = Sandbox::with("small.toml", &recurrent());
    let whole = losses_with(&sandbox, "whole", &[]);
    for (out, segments) in
        [("sqrt", "train.recompute=sqrt"), ("four", "train.recompute=4"), ("all", "train.recompute=99")]
    {
        assert_close(&whole, &losses_with(&sandbox, out, &[segments]), 1e-5, segments);
        let output = |out: &str| {
            let traces = table(&sandbox.path(out), "traces.parquet");
            traces.column("output").unwrap().f64().unwrap().iter().flatten().collect::<Vec<f64>>()
        };
        let metric =
            |out: &str| table(&sandbox.path(out), "history.parquet").column("nmse").unwrap().f64().unwrap().get(3);
        assert_close(&output("whole"), &output(out), 1e-3, segments);
        assert_close(&[metric("whole").unwrap()], &[metric(out).unwrap()], 1e-4, segments);
    }
}

#[test]
fn truncated_gradients_are_the_same_in_both_executors_and_whatever_the_segments() {
    let sandbox = Sandbox::with("small.toml", &recurrent());
    let whole = losses_with(&sandbox, "whole", &[]);
    for every in ["1", "5", "7"] {
        let key = format!("train.tbptt={every}");
        let fused = losses_with(&sandbox, &format!("fused_{every}"), &[&key]);
        let ran =
            sandbox.fine(["small.toml", "--out", "reference", "--executor", "reference", "--fresh", "--set", &key]);
        let history = table(&sandbox.path("reference"), "history.parquet");
        let reference: Vec<f64> = history.column("loss").unwrap().f64().unwrap().iter().flatten().collect();
        assert_close(&reference, &fused, 1e-4, &format!("{key} {}", ran.stderr));
        assert!((whole[3] - fused[3]).abs() > 1e-7 * whole[3], "tbptt = {every} changes nothing");
        let cut = losses_with(&sandbox, &format!("cut_{every}"), &[&key, "train.recompute=4"]);
        assert_close(&fused, &cut, 1e-5, &format!("{key} in segments"));
    }
    let long = losses_with(&sandbox, "long", &["train.tbptt=23"]);
    assert_close(&whole, &long, 0.0, "as long as the sequence");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let text = SMALL
        .replace("hidden = 8", "hidden = 64")
        .replace("steps = 12", "steps = 40\nsamples = 150")
        .replace("iterations = 20", "iterations = 3\nbatch = 140");
    let sandbox = Sandbox::with("small.toml", &text);
    let one = losses_with(&sandbox, "one", &[]);
    for threads in ["run.threads=2", "run.threads=5"] {
        assert_eq!(losses_with(&sandbox, threads, &[threads]), one);
        super::run::assert_same_content(&sandbox.path("one"), &sandbox.path(threads));
    }
}

#[test]
fn what_is_watched_stands_in_the_history() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--set", "train.watch=true", "--seeds", "0..2"]);
    let history = table(&sandbox.path("results/small"), "history.parquet");
    let column = |name: &str| -> Vec<f64> { history.column(name).unwrap().f64().unwrap().iter().flatten().collect() };
    for name in ["hidden_1.firing_rate", "hidden_1.silent", "hidden_1.saturated", "hidden_1.at_bound", "readout.silent"]
    {
        let values = column(name);
        assert_eq!(values.len(), 40, "{name}");
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)), "{name}: {values:?}");
    }
    assert!(column("hidden_1.firing_rate")[0] > 0.0 && column("hidden_1.gradient_norm")[0] > 0.0);
    // beta lies at a bound in every neuron, and a constant input above the threshold fires at every step.
    let stuck = SMALL
        .replace("beta = { uniform = [0, 1], learn = true }", "beta = { value = 1.5, learn = true }\nthreshold = -100");
    let sandbox = Sandbox::with("small.toml", &stuck);
    for executor in ["fused", "reference"] {
        let out = ["small.toml", "--set", "train.watch=true", "--executor", executor, "--out", executor];
        sandbox.fine(out);
        let history = table(&sandbox.path(executor), "history.parquet");
        for name in ["hidden_1.saturated", "hidden_1.at_bound", "hidden_1.firing_rate"] {
            assert_eq!(history.column(name).unwrap().f64().unwrap().get(0), Some(1.0), "{executor} {name}");
        }
    }
}

/// `c (e - c / 2)` is half of `e^2` where nothing is clamped, and about `delta |e|` where nearly everything is.
#[test]
fn a_huber_loss_lies_between_half_the_squared_and_the_absolute_error() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let first = |loss: &str, executor: &str| {
        let once = "train.iterations=1";
        sandbox.fine(["small.toml", "--fresh", "--out", "out", "--set", loss, "--set", once, "--executor", executor]);
        table(&sandbox.path("out"), "history.parquet").column("loss").unwrap().f64().unwrap().get(0).unwrap()
    };
    for executor in ["fused", "reference"] {
        let near = |a: f64, b: f64| assert!((a - b).abs() <= 1e-4 * b, "{executor}: {a} {b}");
        near(first("train.loss={kind=\"huber\", delta=1e6}", executor), first("train.loss=mse", executor) / 2.0);
        near(first("train.loss={kind=\"huber\", delta=1e-6}", executor) * 1e6, first("train.loss=l1", executor));
    }
}
