//! Texts of plugins and manifests of programs; what is understood is trained with.

use super::changes::repeat;
use super::{bounded, files, fuzz, reasoned, with_other_lines};
use dfdx::prelude::Cpu;
use runner::registry::Registry;
use runner::spec::diagnostic::Diagnostics;
use runner::spec::read_text;
use runner::spec::source::Sources;
use runner::spec::sweep::LAYING;
use runner::study::compiled::Compiled;
use runner::study::{Executor, Plan};
use runner::tensor::DeviceName;
use std::sync::atomic::AtomicBool;

const PIECES: [&str; 23] = [
    "[",
    "]",
    "=",
    "\"",
    "{",
    "}",
    "prev.",
    "(",
    ")",
    "^",
    "1e308",
    "-0.0",
    "nan",
    "\n",
    "\"\"\"",
    "where(",
    "log(",
    "/ 0",
    "[params]\n",
    "default = ",
    "\u{e9}",
    "\\u00e9",
    "\r\n",
];

/// What a line of a plugin may say.
const VALUES: [&str; 24] = [
    "0",
    "-1",
    "1e308",
    "-0.0",
    "1e-320",
    "1 / 0",
    "prev.mem",
    "prev.syn * 1e30 + current",
    "current",
    "spike(mem - threshold)",
    "spike(spike(mem) * mem)",
    "heaviside(x) / x",
    "log(-exp(x))^x",
    "where(x > 0, x, -x)",
    "[\"current\"]",
    "{ mem = 1e308, syn = -1 }",
    "{ spikes = \"spk\", membrane = \"mem\" }",
    "{ default = 1e308 }",
    "{ default = 0.9, clamp = [0.0, 1.0], about = \"a\" }",
    "{ uniform = [-1e308, 1e308] }",
    "{ normal = [0, 0], per = \"dataset\" }",
    "\"t^t / x\"",
    "\"\"",
    "\"log(x - 1) * 1e308\"",
];

/// An experiment with a plugin called `fuzzed`, whatever its kind is.
fn experiment(kind: &str) -> String {
    let given = |what: &str, else_: &str| if kind == what { "fuzzed" } else { else_ }.to_string();
    let (neuron, data) = (given("neuron", "leaky"), given("dataset", "sqrt"));
    let own = if kind == "surrogate" { "surrogate = \"fuzzed\"\nbeta = 0.5\n" } else { "" };
    format!(
        "name = \"fuzz\"\n[data]\nkind = \"{data}\"\nsteps = 4\nsamples = 2\n\
         [[layer]]\nname = \"hidden\"\nkind = \"{neuron}\"\nsize = 3\n{own}\
         [[layer]]\nname = \"readout\"\nkind = \"linear\"\nsize = 1\n\
         [optimizer]\nkind = \"sgd\"\nlr = 0.1\n[train]\niterations = 2\nloss = \"mse\"\n"
    )
}

/// Reads a plugin under a file's name; gives its registry where it was understood.
fn understood(file: &str, text: &str, sources: &mut Sources) -> Result<Registry, Diagnostics> {
    let mut registry = Registry::builtin(sources).unwrap();
    let mut found = Diagnostics::default();
    registry.add_text(file, text, sources, &mut found);
    if found.is_empty() { Ok(registry) } else { Err(found) }
}

/// Trains with a plugin for two iterations on both executors.
fn trained(kind: &str, registry: &Registry, sources: &mut Sources) -> Result<(), Diagnostics> {
    for executor in [Executor::Fused, Executor::Reference] {
        let spec = read_text("fuzz.toml", &experiment(kind), LAYING, registry, sources)?;
        let plan = Plan::new(spec, registry, sources, executor, DeviceName::Cpu)?;
        let first = &plan.configurations.first;
        // That numbers are not finite, or do not fit, a trial says for itself.
        if let Ok(mut trial) = Compiled::new(first, None).prepare::<Cpu>(first, registry, 0) {
            let _ = trial.advance(2, &AtomicBool::new(false));
        }
    }
    Ok(())
}

/// Plugins of a folder under another name, since theirs are taken.
fn renamed(folder: &str) -> Vec<Vec<u8>> {
    let renamed = |line: &str| match line.split_once('=') {
        Some((key, _)) if key.trim() == "name" => "name = \"fuzzed\"\n".to_string(),
        _ => format!("{line}\n"),
    };
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).lines().map(renamed).collect::<String>().into_bytes();
    files(folder, "toml").iter().map(text).collect()
}

#[test]
fn a_plugin_is_trained_with_or_refused_with_a_reason() {
    for (kind, folder) in [("neuron", "neurons"), ("surrogate", "surrogates"), ("dataset", "datasets")] {
        let corpus = renamed(&format!("plugins/builtin/{folder}"));
        let check = |bytes: &[u8]| {
            let (text, mut sources) = (String::from_utf8_lossy(bytes), Sources::default());
            let read = understood("fuzz.toml", &text, &mut sources);
            if let Err(found) = read.and_then(|registry| trained(kind, &registry, &mut sources)) {
                reasoned(&found, &sources);
            }
        };
        repeat(&format!("texts of a {kind}"), 60, |changes| {
            let bytes = match changes.below(2) {
                0 => changes.of(&corpus, &PIECES),
                _ => with_other_lines(changes, &corpus, &VALUES),
            };
            bounded(bytes.len(), || check(&bytes));
        });
    }
}

#[test]
fn a_manifest_of_a_program_is_understood_or_refused_with_a_reason() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/programs/fuzz.toml");
    let mut corpus = renamed("plugins/programs");
    corpus.push(
        b"kind = \"program\"\nprovides = \"dataset\"\nname = \"fuzzed\"\nabout = \"a\"\nsource = \"b\"\n\
          command = [\"./walk.py\", \"-x\"]\nfiles = [\"walk.toml\"]\ntimeout_s = 0.5\ninputs = [\"a\", \"b\"]\n\
          targets = [\"c\"]\nunit = \"m\"\nhigher_is_better = false\n\
          [params]\na = { default = 1, about = \"d\" }\nb = { default = \"x\" }\nc = { default = true }\n"
            .to_vec(),
    );
    let pieces = ["[", "]", "=", "\"", "..", "/", "/dev/zero", "1e308", "-1", "nan", "\n", "[params]\n", "\u{e9}"];
    fuzz("manifests of programs", 300, &corpus, &pieces, |bytes| {
        let (text, mut sources) = (String::from_utf8_lossy(bytes), Sources::default());
        let planned = understood(file, &text, &mut sources).and_then(|registry| {
            let spec = read_text("fuzz.toml", &experiment("dataset"), LAYING, &registry, &mut sources)?;
            Plan::new(spec, &registry, &sources, Executor::Fused, DeviceName::Cpu).map(drop)
        });
        if let Err(found) = planned {
            reasoned(&found, &sources);
        }
    });
}
