//! What a result folder holds beside tables and weights: journals, checkpoints and the manifest.

use super::changes::{Changes, repeat};
use super::{bounded, fuzz};
use dfdx::prelude::Cpu;
use runner::registry::Registry;
use runner::spec::read_text;
use runner::spec::source::Sources;
use runner::spec::sweep::LAYING;
use runner::store::checkpoint::{self, Checkpoint};
use runner::store::journal::{HEADER, framed, split};
use runner::store::read_manifest;
use runner::study::compiled::Compiled;
use runner::study::{Executor, Plan, replay};
use runner::tensor::DeviceName;
use runner::train::trial::TrialState;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::AtomicBool;

#[test]
fn a_journal_is_read_as_far_as_it_is_whole_and_the_rest_is_accounted_for() {
    let journal = |payloads: &[&str]| {
        let records = payloads.iter().flat_map(|payload| framed(payload.as_bytes()));
        HEADER.iter().copied().chain(records).collect::<Vec<u8>>()
    };
    let payloads = ["{\"trial\":\"a\"}", "", "{\"trial\":\"b\",\"seed\":1}", "\u{d1}rec"];
    let corpus = [journal(&payloads), journal(&payloads[..1]), journal(&[])];
    fuzz("journals", 20_000, &corpus, &["\u{d1}rec", "runnerj1", "\0\0\0\0"], |bytes| {
        let Ok(parts) = split(bytes) else { return };
        let mut places: Vec<_> = parts.payloads.iter().map(|range| range.start - 16..range.end).collect();
        places.extend(parts.gaps.iter().cloned());
        places.sort_by_key(|range| range.start);
        let begin = if bytes.len() < HEADER.len() { 0 } else { HEADER.len() };
        let end = places.iter().fold(begin, |at, range| if range.start == at { range.end } else { usize::MAX });
        assert_eq!(end, bytes.len(), "{places:?}");
    });
}

/// A small experiment, of which a trial stops on its way.
const EXPERIMENT: &str = r#"name = "small"
[data]
kind = "sqrt"
steps = 4
samples = 6
[[layer]]
name = "hidden"
kind = "leaky"
size = 3
beta = { value = 0.9, learn = true }
[[layer]]
name = "readout"
kind = "li"
size = 1
beta = 0.5
[optimizer]
kind = "adam"
lr = 1e-2
[train]
iterations = 12
batch = 4
loss = "mse"
metrics = ["l1"]
watch = true
"#;

/// A signed checkpoint whose arrays, or the line that lists them, say something else.
fn changed_checkpoint(bytes: &[u8], changes: &mut Changes) -> Vec<u8> {
    let begin = checkpoint_begin(bytes);
    let (line, mut body) = (&bytes[40..begin], bytes[begin..].to_vec());
    let mut index: Value = serde_json::from_slice(line).unwrap();
    match changes.below(8) {
        0 => index["iteration"] = json!(*changes.pick(&[0_u64, 1, 11, 12, 13, u64::MAX])),
        1 => index["seconds"] = json!(*changes.pick(&[-1.0, 1e308, 0.0])),
        2 => (0..4).for_each(|_| {
            let at = changes.below(body.len());
            let odd = *changes.pick(&[f64::NAN, f64::INFINITY, 1e308, -1.0, 1e19]);
            body.iter_mut().skip(at & !7).zip(odd.to_le_bytes()).for_each(|(b, odd)| *b = odd);
        }),
        3 => body.truncate(changes.below(body.len())),
        4 => body.extend([0; 9]),
        5 => {
            // An array becomes longer or shorter, and the body with it.
            let lists = ["floats", "doubles"];
            let list = index[*changes.pick(&lists)].as_array_mut().unwrap();
            if !list.is_empty() {
                let place = changes.below(list.len());
                let length = list[place][1].as_u64().unwrap_or(0);
                list[place][1] = json!(*changes.pick(&[0, 1, length + 1, length * 2, u64::MAX / 4, u64::MAX]));
                body.extend(vec![0; 64 * usize::from(changes.below(2) == 0)]);
            }
        }
        _ => drop(changes.json(&mut index)),
    }
    let mut line = serde_json::to_vec(&index).unwrap();
    if changes.below(6) == 0 {
        line = changes.of(&[line], &["[", "]", "{", "\"", ",", "18446744073709551615", "-1", "\n"]);
    }
    let rest = [&line[..], b"\n", &body].concat();
    [&bytes[..8], blake3::hash(&rest).as_bytes(), &rest].concat()
}

/// Where the arrays of a checkpoint begin: behind the line that lists them.
fn checkpoint_begin(bytes: &[u8]) -> usize {
    40 + 1 + bytes[40..].iter().position(|byte| *byte == b'\n').unwrap()
}

#[test]
fn a_trial_goes_on_from_a_checkpoint_or_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join(checkpoint::FOLDER)).unwrap();
    let mut sources = Sources::default();
    let registry = Registry::builtin(&mut sources).unwrap();
    let experiments = [EXPERIMENT.to_string(), EXPERIMENT.replace("\"adam\"", "\"sgd\"\nmomentum = 0.9")];
    let plans = experiments.map(|text| {
        let spec = read_text("fuzz.toml", &text, LAYING, &registry, &mut sources).unwrap();
        Plan::new(spec, &registry, &sources, Executor::Fused, DeviceName::Cpu).unwrap()
    });
    let anew = |i: usize| {
        let first = &plans[i].configurations.first;
        Compiled::new(first, None).prepare::<Cpu>(first, &registry, 0).unwrap()
    };
    let signed = [0, 1].map(|i| {
        let mut trial = anew(i);
        trial.advance(7, &AtomicBool::new(false)).unwrap();
        let TrialState { iteration, floats, doubles } = trial.state().unwrap();
        let (floats, doubles) = (floats.into_iter().collect(), doubles.into_iter().collect());
        checkpoint::write(dir, "t", &Checkpoint { iteration, seconds: 0.5, floats, doubles }).unwrap();
        std::fs::read(checkpoint::path(dir, "t")).unwrap()
    });
    repeat("checkpoints", 300, |changes| {
        let i = changes.below(2);
        let bytes = match changes.below(8) {
            0 => changes.of(&signed, &["\0\0\0\0", "runnerc1", "\n", "9"]),
            1 => changed_checkpoint(&signed[1 - i], changes),
            _ => changed_checkpoint(&signed[i], changes),
        };
        bounded(bytes.len(), || {
            std::fs::write(checkpoint::path(dir, "t"), &bytes).unwrap();
            let Some(Checkpoint { iteration, floats, doubles, .. }) = checkpoint::read(dir, "t") else { return };
            let state =
                TrialState { iteration, floats: floats.into_iter().collect(), doubles: doubles.into_iter().collect() };
            let mut trial = anew(i);
            let fits = trial.restore(state).unwrap();
            assert_eq!(trial.iteration(), if fits { iteration } else { 0 });
            // That its numbers are not finite the trial says for itself.
            let _ = trial.advance(12, &AtomicBool::new(false));
            let _ = trial.state();
        });
    });
}

#[test]
fn a_manifest_is_understood_or_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets/format_1");
    let mut corpus = Vec::new();
    collect(&formats, &mut corpus);
    assert!(!corpus.is_empty());
    let pieces = ["[", "]", "{", "}", "\"", ",", "null", "-1", "1e999", "18446744073709551615", "\\u0000", "\\n"];
    repeat("manifests of folders", 300, |changes| {
        let bytes = match changes.below(3) {
            0 => changes.of(&corpus, &pieces),
            _ => {
                let mut manifest: Value = serde_json::from_slice(changes.pick::<Vec<u8>>(&corpus)).unwrap();
                (0..=changes.below(2)).for_each(|_| drop(changes.json(&mut manifest)));
                serde_json::to_vec(&manifest).unwrap()
            }
        };
        std::fs::write(dir.join("manifest.json"), &bytes).unwrap();
        bounded(bytes.len(), || {
            let manifest = match read_manifest(dir) {
                Ok(manifest) => manifest.unwrap(),
                Err(error) => return assert!(error.to_string().contains("manifest.json"), "{error}"),
            };
            let _ = (manifest.objective_mean(), manifest.executor(), manifest.device());
            let mut sources = Sources::default();
            if let Ok(registry) = replay::registry(&manifest, &[], &mut sources) {
                let read = read_text("manifest.json", &manifest.spec, manifest.laying, &registry, &mut sources);
                read.err().iter().for_each(|found| super::reasoned(found, &sources));
            }
        });
    });
}

/// The manifests of a folder and of those in it.
fn collect(folder: &Path, manifests: &mut Vec<Vec<u8>>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.file_name().is_some_and(|name| name == "manifest.json") {
            _ if path.is_dir() => collect(&path, manifests),
            true => manifests.push(std::fs::read(&path).unwrap()),
            false => {}
        }
    }
}
