//! Finite or failed: nothing of a trial is infinite or not a number without being noticed.

use super::executors::losses;
use super::run::table;
use super::{SMALL, Sandbox};

/// `SMALL` with a neuron of one line in its hidden layer.
fn with_neuron(step: &str) -> Sandbox {
    let text = SMALL.replace(
        "kind = \"leaky\"\nsize = \"=hidden\"\nbeta = { uniform = [0, 1], learn = true }",
        "kind = \"odd\"\nsize = \"=hidden\"",
    );
    let sandbox = Sandbox::with("small.toml", &text);
    sandbox.write(
        "plugins/odd.toml",
        format!(
            "kind = \"neuron\"\nname = \"odd\"\ninputs = [\"current\"]\nstates = {{ mem = 0.0 }}\n\
             outputs = {{ spikes = \"spk\", membrane = \"mem\" }}\nstep = \"\"\"\n{step}\n\
             spk = spike(mem - threshold)\n\"\"\"\n[params]\nbeta = {{ default = 0.9 }}\nthreshold = {{ default = 0.5 }}\n"
        ),
    );
    sandbox
}

#[test]
fn a_branch_that_is_not_taken_teaches_nothing_in_either_executor() {
    for branch in [
        "where(current > 0, sqrt(current), 0)",
        "where(current > 0, log(current + 1e-3), 0)",
        "where(current > 0, current ^ 0.5, 0)",
        "where(current > 0, 1 / (current + 0.1), current)",
        "where(current < 0.1, 0.1 * current, exp(100 * current - 1000))",
        "where(current > 0, beta * (current / (max(current, 0)^0.5)), 0)",
        "sqrt(max(current, 0))",
        "0.1 * sqrt(abs(min(current, -0.01)))",
        "max(0, current) + min(current, 0)",
        "where(current > 0, sqrt(current) * sqrt(current), -sqrt(-current))",
    ] {
        let sandbox = with_neuron(&format!("mem = beta * prev.mem + {branch}"));
        let (fused, reference) = (losses(&sandbox, "fused", 20), losses(&sandbox, "reference", 20));
        assert_eq!((fused.len(), reference.len()), (20, 20), "{branch}");
        for (a, b) in fused.iter().zip(&reference).take(3) {
            assert!((a - b).abs() <= 1e-4 * a.abs(), "{branch}: {fused:?} {reference:?}");
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_fails_the_trial_and_names_parameter_and_iteration() {
    for executor in ["fused", "reference"] {
        // The derivative of the root is infinite at 0, and the loss does not show it.
        let sandbox = with_neuron("mem = beta * prev.mem + current + 1e-9 * sqrt(current - current)");
        let out = sandbox.runner(["small.toml", "--executor", executor, "--out", executor]);
        assert_eq!(out.status, 1, "{executor}: {}", out.stderr);
        assert!(
            out.stderr.contains("`hidden_1.weight` is no longer finite after the update of iteration 0"),
            "{}",
            out.stderr
        );
        let trials = table(&sandbox.path(executor), "trials.parquet");
        assert_eq!(trials.column("status").unwrap().str().unwrap().get(0), Some("failed"));
    }
}

#[test]
fn a_state_that_is_not_finite_fails_the_trial_though_no_spike_and_no_loss_shows_it() {
    for part in [
        "detach(0 / (current - current))",
        "0 * log(current - current)",
        "sqrt(abs(current * 0) - 1) ^ 2",
        "sin(1 / (current - current))",
        "detach(1 / 0) * 0",
        "floor(1 / (0 * current))",
        "1e39 * current",
        "spike(0 / (current - current)) / (current - current)",
    ] {
        for executor in ["fused", "reference"] {
            let sandbox = with_neuron(&format!("mem = beta * prev.mem + {part}"));
            let out = sandbox.runner(["small.toml", "--executor", executor, "--out", executor]);
            assert_eq!(out.status, 1, "{executor} {part}: {}", out.stderr);
            let says = ["iteration 0", "an equation has no value there"];
            assert!(says.iter().all(|says| out.stderr.contains(says)), "{executor} {part}: {}", out.stderr);
            assert!(out.stderr.contains("`hidden_1.membrane` is not finite"), "{executor} {part}: {}", out.stderr);
        }
    }
}

#[test]
fn what_is_read_as_a_yes_or_no_teaches_nothing_in_either_executor() {
    for part in [
        "heaviside(0 / (current - current))",
        "sign(log(current - current))",
        "((0 / (current - current)) != (0 / (current - current)))",
        "floor(sqrt(current - current))",
        "detach(sqrt(current - current))",
        "where(sqrt(current - current) > 0, 1, 0)",
    ] {
        let sandbox = with_neuron(&format!("mem = beta * prev.mem + current + 0.01 * {part}"));
        let (fused, reference) = (losses(&sandbox, "fused", 20), losses(&sandbox, "reference", 20));
        for (a, b) in fused.iter().zip(&reference).take(3) {
            assert!((a - b).abs() <= 1e-4 * a.abs(), "{part}: {fused:?} {reference:?}");
        }
    }
}

#[test]
fn numbers_beyond_single_precision_are_refused_before_anything_runs() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for set in ["layer.hidden_1.threshold=1e39", "optimizer.lr=4e38", "layer.hidden_1.beta={ uniform = [0, 1e300] }"] {
        let out = sandbox.runner(["check", "small.toml", "--set", set]);
        assert_eq!(out.status, 2, "{set}: {}", out.stderr);
        assert!(out.stderr.contains("single precision"), "{set}: {}", out.stderr);
    }
}

#[test]
fn stored_weights_that_are_not_finite_are_refused_with_file_and_tensor() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "a"]);
    let file = std::fs::read_dir(sandbox.path("a/weights")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(file).unwrap();
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&broken.to_le_bytes());
        std::fs::write(sandbox.path("broken.safetensors"), &bytes).unwrap();
        let out = sandbox.runner(["small.toml", "--out", "b", "--set", "init.weights=broken.safetensors"]);
        assert_eq!(out.status, 2, "{}", out.stderr);
        assert!(out.stderr.contains("has values that are not finite"), "{}", out.stderr);
        assert!(!sandbox.path("b").exists());
    }
}

#[test]
fn a_neuron_at_every_limit_of_arrays_trains_in_both_executors() {
    // Ten states and outputs, and parameters of which one has no gradient: more arrays than machine code addresses.
    let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let states: String = names("u", 9).iter().map(|name| format!(", {name} = 0.0")).collect();
    let outputs: String = names("u", 9).iter().map(|name| format!(", {name} = \"{name}\"")).collect();
    for (params, detached) in [(20, 1), (21, 1), (22, 1), (22, 8), (64, 0), (64, 64)] {
        let term = |i: usize| if i < detached { format!(" + detach(p{i})") } else { format!(" + p{i}") };
        let sum: String = (0..params).map(term).collect();
        let rest: String =
            names("u", 9).iter().map(|name| format!("{name} = 0.5 * prev.{name} + 0.1 * mem\n")).collect();
        let keys: String = (0..params).map(|i| format!("p{i} = {{ default = 0.01 }}\n")).collect();
        let sandbox = Sandbox::with(
            "small.toml",
            &SMALL.replace("kind = \"leaky\"\nsize = \"=hidden\"\nbeta = { uniform = [0, 1], learn = true }", &{
                let learned: String =
                    (0..params).map(|i| format!("p{i} = {{ value = 0.01, learn = true }}\n")).collect();
                format!("kind = \"odd\"\nsize = \"=hidden\"\n{learned}")
            }),
        );
        sandbox.write(
            "plugins/odd.toml",
            format!(
                "kind = \"neuron\"\nname = \"odd\"\ninputs = [\"current\"]\nstates = {{ mem = 0.0{states} }}\n\
                 outputs = {{ spikes = \"spk\", membrane = \"mem\"{outputs} }}\nstep = \"\"\"\n\
                 mem = 0.5 * prev.mem + current{sum}\n{rest}spk = spike(mem - 1)\n\"\"\"\n[params]\n{keys}"
            ),
        );
        let (fused, reference) = (losses(&sandbox, "fused", 20), losses(&sandbox, "reference", 20));
        for (a, b) in fused.iter().zip(&reference).take(3) {
            assert!((a - b).abs() <= 1e-4 * a.abs(), "{params} {detached}: {fused:?} {reference:?}");
        }
    }
}
