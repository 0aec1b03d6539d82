//! Both executors on whole experiments: every shipped neuron, in networks, gives the same losses within rounding.

use super::run::table;
use super::{SMALL, Sandbox};

fn losses(sandbox: &Sandbox, executor: &str, rows: usize) -> Vec<f64> {
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
