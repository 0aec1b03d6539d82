//! What programs answer: a script that says, line after line, what nobody meant.

use super::changes::{Changes, repeat};
use super::{LONGEST, fuzz};
use dfdx::prelude::Cpu;
use runner::data::split::Part;
use runner::program::protocol::answer;
use runner::registry::Registry;
use runner::spec::diagnostic::Diagnostics;
use runner::spec::read_text;
use runner::spec::source::{Sources, text_of};
use runner::spec::sweep::LAYING;
use runner::study::compiled::Compiled;
use runner::study::{Executor, Plan};
use runner::tensor::DeviceName;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const HELLO: &str = "{\"type\":\"hello\",\"protocol\":1}\n";
const DATASET: &str = "{\"type\":\"description\",\"keys\":[\"noise\"],\"inputs\":[\"step\"],\"targets\":[\"place\"]}\n";
const METRIC: &str = "{\"type\":\"description\",\"keys\":[]}\n";
const DATA: &str = "{\"type\":\"data\",\"id\":1,\"inputs\":[[[0.5]],[[-0.25]]],\"targets\":[[[0.5]],[[0.25]]]}\n";
const SCORE: &str = "{\"type\":\"score\",\"id\":1,\"value\":0.125}\n";
const ERROR: &str = "{\"type\":\"error\",\"message\":\"walks.csv is not there\"}\n";

const PIECES: [&str; 18] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    ",",
    ":",
    "null",
    "-1",
    "1e308",
    "1e999",
    "NaN",
    "\n",
    "\\u0000",
    "\\ud800",
    "\u{1b}[2J",
    "18446744073709551616",
    "[[[[[[[[",
];

fn corpus() -> Vec<Vec<u8>> {
    [HELLO, DATASET, METRIC, DATA, SCORE, ERROR].map(|text| text.as_bytes().to_vec()).to_vec()
}

#[test]
fn an_answer_is_understood_or_refused_with_a_reason() {
    fuzz("answers", 5000, &corpus(), &PIECES, |bytes| {
        if let Err(failure) = answer("produce", bytes) {
            let said = failure.to_string();
            assert!(said.contains("produce") && said.len() < 1000, "{said}");
        }
    });
}

/// Trains with a program that answers from the files `1`, `2`, ... of a folder.
fn trained(folder: &Path, manifest: &str, experiment: &str) -> Result<Option<String>, Diagnostics> {
    let mut sources = Sources::default();
    let mut registry = Registry::builtin(&mut sources).unwrap();
    let mut found = Diagnostics::default();
    registry.add_text(&text_of(&folder.join("p.toml")), manifest, &mut sources, &mut found);
    assert!(found.is_empty(), "{:?}", found.list);
    registry.allow_programs(None);
    let spec = read_text("fuzz.toml", experiment, LAYING, &registry, &mut sources)?;
    let plan = Plan::new(spec, &registry, &sources, Executor::Fused, DeviceName::Cpu)?;
    let first = &plan.configurations.first;
    let ended = Compiled::new(first, None).prepare::<Cpu>(first, &registry, 0).and_then(|mut trial| {
        trial.advance(1, &AtomicBool::new(false))?;
        // A program is asked for a metric after training.
        trial.evaluate(Part::Train, &|_| false).map(drop)
    });
    let at_its_end = registry.stop_programs();
    Ok(ended.err().map(|error| error.to_string()).or_else(|| at_its_end.first().map(ToString::to_string)))
}

/// The lines that a program says: right ones, of which one is changed or too much.
fn said(right: &[&str], changes: &mut Changes) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = right.iter().map(|line| line.as_bytes().to_vec()).collect();
    let at = changes.below(lines.len());
    lines[at] = match changes.below(16) {
        0 => Vec::new(),
        1 => vec![b'['; 70_000],
        2 => [&lines[at][..], &lines[at]].concat(),
        3 => changes.pick(&corpus()).clone(),
        4 => vec![b'\n'; 100],
        5 => lines[at].strip_suffix(b"\n").unwrap().to_vec(),
        _ => {
            let mut line = changes.of(&[lines[at].clone()], &PIECES);
            // Without an end there is nothing but waiting.
            line.push(b'\n');
            line
        }
    };
    lines
}

#[test]
fn a_program_that_answers_strangely_fails_a_trial_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("say.sh"), "for i in 1 2 3 4; do read -r asked || exit; cat $i; done\n").unwrap();
    let manifest = |provides: &str, keys: &str| {
        format!(
            "kind = \"program\"\nprovides = \"{provides}\"\nname = \"strange\"\ncommand = [\"sh\", \"say.sh\"]\n\
             timeout_s = 0.3\n{keys}"
        )
    };
    let dataset = manifest(
        "dataset",
        "inputs = [\"step\"]\ntargets = [\"place\"]\n[params]\nnoise = { default = 0.1, about = \"noise\" }\n",
    );
    let metric = manifest("metric", "");
    let experiment = |data: &str, metrics: &str| {
        format!(
            "name = \"fuzz\"\n[data]\nkind = \"{data}\"\nsteps = 2\n[[layer]]\nname = \"out\"\nkind = \"linear\"\n\
             size = 1\n[optimizer]\nkind = \"sgd\"\nlr = 0.1\n[train]\niterations = 1\nloss = \"mse\"\n\
             metrics = [{metrics}]\n"
        )
    };
    let cases = [
        (dataset, experiment("strange", ""), [HELLO, DATASET, DATA]),
        (metric, experiment("sqrt", "\"strange\""), [HELLO, METRIC, SCORE]),
    ];
    repeat("programs", 60, |changes| {
        let (manifest, experiment, right) = changes.pick(&cases);
        for (i, line) in said(right, changes).iter().enumerate() {
            std::fs::write(folder.path().join((i + 1).to_string()), line).unwrap();
        }
        std::fs::write(folder.path().join("4"), "").unwrap();
        let begun = Instant::now();
        match trained(folder.path(), manifest, experiment) {
            Ok(error) => assert!(error.is_none_or(|error| error.contains("strange")), "an error without a name"),
            Err(found) => panic!("{:?}", found.list),
        }
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
    });
}
