//! Experiment files, what is laid over them, and formulas.

use super::changes::{Changes, repeat};
use super::{bounded, files, fuzz, reasoned, with_other_lines};
use runner::formula::{self, Expr};
use runner::registry::Registry;
use runner::spec::diagnostic::Diagnostics;
use runner::spec::source::Sources;
use runner::spec::sweep::LAYING;
use runner::spec::{self, Overrides, Spec, read_text};
use runner::study::{Executor, Plan};
use runner::tensor::DeviceName;
use std::path::Path;

const PIECES: [&str; 18] = [
    "[",
    "]]",
    "=",
    "\"",
    "{",
    "}",
    ",",
    ".",
    "-1",
    "1e400",
    "nan",
    "[[layer]]",
    "[sweep.over]",
    "\"=",
    "\u{e9}",
    "\\u00e9",
    "\\t",
    "\r\n",
];

/// Values that a key may have, or rather not.
const VALUES: [&str; 30] = [
    "-1",
    "0",
    "1",
    "2",
    "3",
    "-0.0",
    "0.5",
    "1e-320",
    "1e308",
    "-1e308",
    "9223372036854775807",
    "4294967296",
    "100000000",
    "true",
    "[]",
    "{}",
    "[1, 2]",
    "\"\"",
    "\"x\"",
    "\"=1 / 0\"",
    "\"=hidden^99\"",
    "\"=hidden\"",
    "{ value = 1e30, learn = true }",
    "{ uniform = [0, 1], per = \"layer\" }",
    "{ normal = [0, 1e300] }",
    "{ kind = \"sgd\", lr = 1e300 }",
    "{ low = 1, high = 3, int = true }",
    "{ low = 1e-300, high = 1, scale = \"log\", step = 10 }",
    "[{ kind = \"mse\", weight = 1e300, of = \"hidden_1.spikes\" }]",
    "{ count = 100000 }",
];

#[test]
fn an_experiment_file_is_understood_or_refused_with_a_reason() {
    let mut sources = Sources::default();
    let registry = Registry::builtin(&mut sources).unwrap();
    let corpus = files("experiments", "toml");
    // Paths in it are relative to it.
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/fuzz.toml");
    let check = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let mut sources = sources.clone();
        let read = read_text(file, &text, LAYING, &registry, &mut sources);
        if let Err(found) = read.and_then(|spec| planned(spec, &registry, &sources)) {
            reasoned(&found, &sources);
        }
    };
    fuzz("experiment files", 400, &corpus, &PIECES, check);
    repeat("experiments with other values", 200, |changes| {
        let bytes = with_other_lines(changes, &corpus, &VALUES);
        bounded(bytes.len(), || check(&bytes));
    });
}

#[test]
fn a_formula_is_refused_or_means_the_same_when_it_is_printed() {
    let texts = ["beta * prev.mem + current - pull", "1 / (1 + slope * abs(x))^2", "where(a > 0.5, log(-1), -x^2^3)"];
    let mut corpus: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    corpus.push(b"detach(heaviside(prev.mem - threshold)) * max(1e-3, min(x, .5)) - --exp(y)".to_vec());
    let pieces = ["(", ")", "^", "-", "*", ",", "1e", ".", "prev.", "where(", "exp(", "\n", "((((((((", "\u{3b2}"];
    fuzz("formulas", 20_000, &corpus, &pieces, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match formula::parse(&text) {
            Ok(expr) => {
                let printed = expr.to_string();
                let again: Expr = formula::parse(&printed).unwrap_or_else(|error| panic!("{text}\n{printed}\n{error}"));
                assert_eq!(again, expr, "{text} was printed as {printed}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

/// What `--set` takes.
const SET: [&str; 10] = [
    "optimizer.lr=1e-4",
    "layer.hidden_1.beta={ uniform = [0, 1], learn = true }",
    "layer.hidden_2.kind=li",
    "layer.extra={ after = \"hidden_1\", kind = \"linear\", size = 2 }",
    "layer.hidden_2.remove=true",
    "let.hidden=3",
    "data.steps=\"=hidden * 2\"",
    "train.loss=[{ kind = \"mse\", weight = 0.5 }, \"l1\"]",
    "run.seeds={ from = 3, count = 4 }",
    "train.epochs=2",
];

/// What `--sweep` takes.
const SWEEP: [&str; 6] = [
    "optimizer.lr=1e-4,1e-3",
    "hidden=[1, 2],{ a = 3 },\"x,y\"",
    "layer.hidden_1.kind=leaky,li,synaptic",
    "hidden=2,3,5",
    "layer.hidden_1.beta={ value = 0.5 },{ uniform = [0, 1] }",
    "data.steps=2,=hidden",
];

/// What `--seeds` takes.
const SEEDS: [&str; 4] = ["0..40", "7", "1,5,9", "9223372036854775806..9223372036854775807"];

/// Files that are laid over another.
const PATCHES: [&str; 3] = [
    "extends = \"base.toml\"\nname = \"patched\"\n[layer.hidden_1]\nbeta = 0.5\n[layer.hidden_2]\nremove = true\n",
    "extends = \"base.toml\"\n[optimizer]\nkind = \"sgd\"\n[train]\nepochs = 1\n[sweep]\nsampler = \"random\"\ntrials = 3\n\
     [sweep.over]\n\"optimizer.lr\" = { low = 1e-4, high = 1e-2, scale = \"log\" }\nhidden = { low = 1, high = 9, int = true }\n",
    "extends = \"base.toml\"\n[layer.new]\nafter = \"hidden_1\"\nkind = \"li\"\nsize = 2\nbeta = 0.1\n\
     [sweep.variants.a]\n[sweep.variants.b.optimizer]\nlr = 1\n[sweep.over]\nhidden = { low = 1, high = 9, step = 2 }\n",
];

/// A few of some texts, now and then changed.
fn some(of: &[&str], changes: &mut Changes) -> Vec<String> {
    let pieces = [
        "=",
        ".",
        ",",
        "..",
        "{",
        "]",
        "\"",
        "'",
        "-1",
        "1e999",
        "9223372036854775807",
        " ",
        "\u{e9}",
        "\n",
        "\\u0031",
    ];
    let corpus: Vec<Vec<u8>> = of.iter().map(|text| text.as_bytes().to_vec()).collect();
    let one = |changes: &mut Changes| match changes.below(3) {
        0 => changes.pick(of).to_string(),
        _ => String::from_utf8_lossy(&changes.of(&corpus, &pieces)).into_owned(),
    };
    (0..changes.below(3)).map(|_| one(changes)).collect()
}

/// Seeds with which an experiment is planned: a plan lists its trials, so that it takes as long as it has many.
const SEEDS_PLANNED: usize = 10_000;

/// Plans an experiment, or the first and last configuration of its sweep where there are many.
fn planned(spec: Spec, registry: &Registry, sources: &Sources) -> Result<(), Diagnostics> {
    let Some(sweep) = &spec.sweep else {
        if spec.seeds.len() > SEEDS_PLANNED {
            return Ok(());
        }
        return Plan::new(spec, registry, sources, Executor::Fused, DeviceName::Cpu).map(drop);
    };
    let points = registry.sampler(&sweep.sampler).points(sweep).map_err(|one| Diagnostics { list: vec![one] })?;
    points.iter().take(1).chain(points.last()).try_for_each(|p| sweep.configuration(p, registry, sources).map(drop))
}

#[test]
fn what_is_laid_over_an_experiment_fits_or_is_refused_with_a_reason() {
    let mut sources = Sources::default();
    let registry = Registry::builtin(&mut sources).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let base = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/sqrt.toml")).unwrap();
    std::fs::write(folder.path().join("base.toml"), base.replace("hidden = 128", "hidden = 4")).unwrap();
    let file = folder.path().join("patch.toml");
    let patches: Vec<Vec<u8>> = PATCHES.iter().map(|text| text.as_bytes().to_vec()).collect();
    repeat("files and options over an experiment", 300, |changes| {
        let patch = match changes.below(2) {
            0 => changes.pick(&patches).clone(),
            _ => changes.of(&patches, &PIECES),
        };
        let (set, sweep) = (some(&SET, changes), some(&SWEEP, changes));
        let overrides = Overrides { set, sweep, seeds: some(&SEEDS, changes).pop() };
        std::fs::write(&file, &patch).unwrap();
        bounded(patch.len(), || {
            let mut sources = sources.clone();
            let read = spec::read(&file, &overrides, &registry, &mut sources);
            if let Err(found) = read.and_then(|spec| planned(spec, &registry, &sources)) {
                reasoned(&found, &sources);
            }
        });
    });
}
