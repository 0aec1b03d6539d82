//! Schedules of learning rates: what the history shows of them, and that nothing but the rates depends on them.

use super::folder::wait_for;
use super::run::{assert_same_content, table};
use super::{SMALL, Sandbox};
use std::process::Stdio;

fn column(sandbox: &Sandbox, out: &str, name: &str) -> Vec<f64> {
    let history = table(&sandbox.path(out), "history.parquet");
    history.column(name).unwrap().f64().unwrap().into_no_null_iter().collect()
}

/// Each schedule, and its factors over 20 iterations by its published equation.
#[test]
fn the_history_has_the_rate_of_each_iteration_in_both_executors() {
    let cosine = |t: f64, of: f64| 0.5 * (1.0 + (std::f64::consts::PI * t / of).cos());
    type Factor<'a> = &'a dyn Fn(f64) -> f64;
    let cases: [(&str, Factor<'_>); 5] = [
        ("\"cosine\"", &|t| cosine(t, 20.0)),
        ("{ kind = \"step\", every = 8, gamma = 0.5 }", &|t| 0.5_f64.powf((t / 8.0).floor())),
        ("{ kind = \"exponential\", end = 0.01 }", &|t| 0.01_f64.powf(t / 20.0)),
        ("{ kind = \"constant\", warmup = 4 }", &|t| ((t + 1.0) / 4.0).min(1.0)),
        ("{ kind = \"cosine\", warmup = 10 }", &|t| if t < 10.0 { (t + 1.0) / 10.0 } else { cosine(t - 10.0, 10.0) }),
    ];
    for (i, (schedule, factor)) in cases.into_iter().enumerate() {
        let sandbox =
            Sandbox::with("small.toml", &SMALL.replace("lr = 1e-2", &format!("lr = 1e-2\nschedule = {schedule}")));
        sandbox.fine(["small.toml", "--out", "fused"]);
        sandbox.fine(["small.toml", "--out", "reference", "--executor", "reference"]);
        let rates = column(&sandbox, "fused", "lr");
        assert_eq!(rates, column(&sandbox, "reference", "lr"), "{i}");
        let expected = (0..20).map(|t| 1e-2 * factor(f64::from(t)));
        assert!(
            rates.iter().zip(expected).all(|(rate, expected)| (rate - expected).abs() < 1e-12),
            "{schedule} {rates:?}"
        );
        let losses = ["fused", "reference"].map(|out| column(&sandbox, out, "loss"));
        let near = losses[0].iter().zip(&losses[1]).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs());
        assert!(near && losses[0].len() == 20, "{schedule} {losses:?}");
        assert!(sandbox.path("fused/plots/rate.svg").exists());
        assert!(sandbox.fine(["verify", "fused"]).stdout.contains("1 identical"));
    }
}

#[test]
fn a_constant_schedule_changes_ids_but_no_bit_of_what_is_learned() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "plain"]);
    sandbox.fine(["small.toml", "--out", "constant", "--set", "optimizer.schedule=constant"]);
    assert_eq!(column(&sandbox, "plain", "loss"), column(&sandbox, "constant", "loss"));
    let trials =
        ["plain", "constant"].map(|out| table(&sandbox.path(out), "trials.parquet").column("trial").unwrap().clone());
    assert_ne!(trials[0], trials[1]);
    assert!(table(&sandbox.path("plain"), "history.parquet").column("lr").is_err());
    assert!(!sandbox.path("plain/plots/rate.svg").exists());
}

/// A factor of 0 from the second iteration on holds everything still, with any optimizer, in either executor.
#[test]
fn the_factor_acts_on_every_rate_also_on_a_layers_own() {
    let still = "lr = 1e-2\nschedule = { kind = \"step\", every = 1, gamma = 0.0 }";
    let own = SMALL.replace("lr = 1e-2", still).replacen("[[layer]]", "[[layer]]\nlr = 0.5", 1);
    for optimizer in ["adam", "adamw", "sgd", "rmsprop"] {
        for executor in ["fused", "reference"] {
            let sandbox = Sandbox::with("small.toml", &own);
            let kind = format!("optimizer.kind={optimizer}");
            sandbox.fine(["small.toml", "--set", &kind, "--executor", executor]);
            let losses = column(&sandbox, "results/small", "loss");
            assert_ne!(losses[0], losses[1], "{optimizer} {executor}");
            assert!(losses[1..].iter().all(|loss| *loss == losses[1]), "{optimizer} {executor} {losses:?}");
        }
    }
}

/// With a rate that is far too large the loss does not fall, so that rates do.
#[test]
fn a_plateau_lowers_rates_and_a_killed_trial_goes_on_with_what_it_remembers() {
    let schedule =
        "lr = 0.3\nschedule = { kind = \"plateau\", of = \"loss\", patience = 40, gamma = 0.5, least = 0.001 }";
    let train = "iterations = 20000\nrecord_every = 50\nsave_every = 100";
    let text = SMALL.replace("lr = 1e-2", schedule).replace("iterations = 20", train);
    let sandbox = Sandbox::with("small.toml", &text);
    let mut command = sandbox.command();
    let mut child =
        command.args(["small.toml", "--out", "cut"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let saved =
        |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path().extension().is_some_and(|e| e == "state");
    wait_for(|| std::fs::read_dir(sandbox.path("cut/checkpoints")).is_ok_and(|mut entries| entries.any(saved)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!sandbox.path("cut/trials.parquet").exists(), "it ended before it could be killed");
    sandbox.fine(["small.toml", "--out", "cut"]);
    sandbox.fine(["small.toml", "--out", "whole"]);
    assert_same_content(&sandbox.path("cut"), &sandbox.path("whole"));
    let rates = column(&sandbox, "whole", "lr");
    assert!(rates.is_sorted_by(|a, b| a >= b) && rates[0] == 0.3, "{rates:?}");
    assert!(rates.last().unwrap() < &0.1 && rates.iter().all(|rate| *rate >= 0.3 * 0.001), "{rates:?}");
}

#[test]
fn a_schedule_that_cannot_be_followed_is_refused_with_what_would_help() {
    let cases = [
        ("{ kind = \"plateau\" }", "schedule `plateau` needs a validation part", "of = \"loss\""),
        ("{ kind = \"cosine\", warmup = 20 }", "a warm-up of 20 iterations does not end within 20", "fewer iterations"),
        ("\"cosin\"", "unknown schedule `cosin`", "did you mean `cosine`?"),
        ("{ kind = \"cosine\", end = 2 }", "2", "from 0 to 1"),
        ("{ kind = \"step\" }", "`every`", "iterations from one step to the next"),
    ];
    for (schedule, problem, help) in cases {
        let text = SMALL.replace("lr = 1e-2", &format!("lr = 1e-2\nschedule = {schedule}"));
        let ran = Sandbox::with("small.toml", &text).runner(["check", "small.toml"]);
        assert_eq!(ran.status, 2, "{schedule}");
        assert!(ran.stderr.contains(problem) && ran.stderr.contains(help), "{schedule}: {}", ran.stderr);
    }
}
