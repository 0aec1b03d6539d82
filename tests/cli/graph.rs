//! Networks as graphs: layers that read other layers than the one before, several at once, and late.

use super::executors::losses;
use super::run::table;
use super::{SMALL, Sandbox};

/// A network of three hidden layers and a read-out; `what` is laid over it. Nothing in its loss spikes, so that rounding
/// flips nothing.
fn network(what: &str) -> Sandbox {
    let data = SMALL.split("[[layer]]").next().unwrap().replace("steps = 12", "steps = 12\nsamples = 5");
    let rest = &SMALL[SMALL.find("[optimizer]").unwrap()..];
    let layer = |name: &str, size: &str, more: &str| {
        format!(
            "[[layer]]\nname = \"{name}\"\nkind = \"li\"\n{size}beta = {{ uniform = [0, 1], learn = true }}\n{more}\n"
        )
    };
    let (a, b) = (layer("a", "size = 4\n", ""), layer("b", "size = \"=hidden - 2\"\n", ""));
    let text = format!("{data}{a}{b}{what}{rest}")
        .replace("iterations = 20", "iterations = 4\nbatch = 5")
        .replace("1e-2", "1e-4");
    Sandbox::with("small.toml", &text.replace("kind = \"adam\"", "kind = \"sgd\""))
}

fn readout(from: &str) -> String {
    format!("[[layer]]\nname = \"readout\"\nkind = \"li\"\nsize = 1\nfrom = {from}\n")
}

fn assert_close(a: &[f64], b: &[f64], tolerance: f64, what: &str) {
    assert_eq!((a.len(), a.len()), (b.len(), 4), "{what}");
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * a.abs()), "{what}: {a:?} {b:?}");
}

/// Ways to connect, each with the weights that the last layer has, or the one that the case is about.
fn connections() -> Vec<(&'static str, String, &'static str)> {
    let summed = "[[layer]]\nname = \"both\"\nkind = \"li\"\nfrom = [\"b\", \"late\"]\n\n".to_string();
    let late = "[[layer]]\nname = \"late\"\nkind = \"linear\"\nsize = 6\nfrom = { of = \"a\", delay = 2 }\n\n";
    vec![
        ("a skip connection", readout("[\"a\", \"b.membrane\"]"), "weight.a [1, 4], weight.b [1, 6]"),
        ("every layer and the data", readout("[\"input\", \"a\", \"b\"]"), "weight.input [1, 1], weight.a [1, 4]"),
        ("another layer than the one before", readout("\"a\""), "weight [1, 4]"),
        ("a late signal", readout("{ of = \"b\", delay = 3 }"), "weight [1, 6]"),
        (
            "one signal now and before",
            readout("[\"b\", { of = \"b\", delay = 5, as = \"late\" }]"),
            "weight.b_membrane [1, 6], weight.late [1, 6]",
        ),
        ("two branches, summed", format!("{late}{summed}{}", readout("\"both\"")), "late           linear"),
        (
            "a layer that stands further down",
            format!(
                "[[layer]]\nname = \"first\"\nkind = \"li\"\nsize = 3\nfrom = \"late\"\n\n{late}{}",
                readout("\"first\"")
            ),
            "weight [3, 6]",
        ),
        (
            "spikes, now and before",
            format!(
                "[[layer]]\nname = \"s\"\nkind = \"leaky\"\nsize = 5\nthreshold = 0.1\n\n{}",
                readout("[\"s\", { of = \"s.spikes\", delay = 2, as = \"late\" }, \"s.membrane\"]")
            ),
            "weight.s_membrane [1, 5]",
        ),
    ]
}

#[test]
fn layers_read_any_signals_and_both_executors_agree() {
    for (what, layers, weights) in connections() {
        let sandbox = network(&layers);
        let shown = sandbox.fine(["check", "small.toml"]).stdout;
        assert!(shown.contains(weights), "{what}: {shown}");
        let (fused, reference) = (losses(&sandbox, "fused", 4), losses(&sandbox, "reference", 4));
        assert_close(&fused, &reference, 1e-4, what);
        assert!(fused[3] != fused[0], "{what} learns nothing: {fused:?}");
    }
}

/// Losses with some keys set.
fn with(sandbox: &Sandbox, executor: &str, out: &str, keys: &[&str]) -> Vec<f64> {
    let mut arguments = vec!["small.toml", "--executor", executor, "--out", out];
    keys.iter().for_each(|key| arguments.extend(["--set", key]));
    let ran: super::Ran = sandbox.command().args(arguments).output().unwrap().into();
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let history = table(&sandbox.path(out), "history.parquet");
    history.column("loss").unwrap().f64().unwrap().iter().flatten().collect()
}

#[test]
fn late_signals_go_over_segments_of_time_and_stop_where_gradients_do() {
    for (what, layers, _) in connections() {
        let sandbox = network(&layers);
        let whole = with(&sandbox, "fused", "whole", &[]);
        // The longest delay is longer than a segment of these.
        for segments in ["2", "4", "7"] {
            let cut = with(&sandbox, "fused", &format!("cut{segments}"), &[&format!("train.recompute={segments}")]);
            assert_close(&whole, &cut, 1e-5, &format!("{what} in {segments}"));
        }
        for every in ["1", "2", "3", "5"] {
            let tbptt = format!("train.tbptt={every}");
            let fused = with(&sandbox, "fused", &format!("f{every}"), &[&tbptt]);
            let reference = with(&sandbox, "reference", &format!("r{every}"), &[&tbptt]);
            assert_close(&fused, &reference, 1e-4, &format!("{what}, {tbptt}"));
            let cut = with(&sandbox, "fused", &format!("c{every}"), &[&tbptt, "train.recompute=4"]);
            assert_close(&fused, &cut, 1e-5, &format!("{what}, {tbptt} in segments"));
        }
    }
}

#[test]
fn the_layer_before_goes_without_saying() {
    let id = |from: &str| {
        let sandbox = network(&readout(from));
        sandbox.fine(["small.toml", "--out", "out", "--set", "train.iterations=1"]);
        let trials = table(&sandbox.path("out"), "trials.parquet");
        trials.column("trial").unwrap().str().unwrap().get(0).unwrap().to_string()
    };
    let usual = id("\"b\"");
    assert_eq!(usual, id("[\"b.membrane\"]"));
    assert_eq!(usual, id("{ of = \"b\", delay = 0 }"));
    assert_ne!(usual, id("{ of = \"b\", delay = 1 }"));
    assert_ne!(usual, id("\"a\""));
}

#[test]
fn sources_that_cannot_be_are_refused_with_what_was_meant() {
    let own = |name: &str, from: &str| format!("[[layer]]\nname = \"{name}\"\nkind = \"li\"\nfrom = {from}\n\n");
    let end = readout("\"b\"");
    for (layers, words) in [
        (readout("\"c\""), "unknown layer `c`"),
        (readout("\"a.spikes\""), "unknown signal `a.spikes`"),
        (readout("\"a.membrne\""), "did you mean `membrane`?"),
        (readout("[]"), "at least one signal"),
        (readout("3"), "expected a signal such as"),
        (readout("{ of = \"a\", dely = 2 }"), "did you mean `delay`?"),
        (readout("{ of = \"a\", delay = -1 }"), "a whole number of at least 0"),
        (readout("{ of = \"a\", delay = 12 }"), "`a` comes 12 steps later, but there are 12 steps"),
        (readout("[\"a\", \"a.membrane\"]"), "layer `readout` reads `a.membrane` twice"),
        (readout("[\"a\", { of = \"b\", as = \"a\" }]"), "two sources of layer `readout` are called `a`"),
        (
            own("sum", "[\"a\", \"b\"]") + &end,
            "layer `sum` sums its sources, but the first has 4 channels, and `b` has 6",
        ),
        (own("x", "\"x\"") + &end, "layers read each other in a circle: x -> x"),
        (own("x", "\"y\"") + &own("y", "\"z\"") + &own("z", "\"x\"") + &end, "in a circle: x -> z -> y -> x"),
        (own("x", "{ of = \"x\", delay = 1 }") + &end, "reserved and not built yet"),
    ] {
        let out = network(&layers).runner(["check", "small.toml"]);
        assert_eq!(out.status, 2, "{layers}: {}", out.stderr);
        assert!(out.stderr.contains(words) && out.stderr.contains("from = "), "{layers}: {}", out.stderr);
    }
}

#[test]
fn a_run_with_several_sources_is_verified_predicted_with_and_goes_on() {
    let sandbox = network(&readout("[\"a\", { of = \"b\", delay = 2 }]"));
    sandbox.fine(["small.toml", "--out", "out"]);
    sandbox.fine(["verify", "out"]);
    sandbox.fine(["small.toml", "--out", "out", "--set", "run.seeds=[0, 1]"]);
    let out = sandbox.fine(["verify", "out"]).stdout;
    assert!(out.contains("2 trials"), "{out}");
}
