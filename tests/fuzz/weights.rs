//! Files of weights, and the rows that `runner predict` applies them to.

use super::changes::{Changes, repeat};
use super::{bounded, files, reasoned};
use dfdx::prelude::Cpu;
use runner::registry::Registry;
use runner::spec::read_text;
use runner::spec::source::{Sources, text_of};
use runner::spec::sweep::LAYING;
use runner::store::manifest::Manifest;
use runner::store::tables::summary;
use runner::store::{SummaryRow, manifest_of, weights_file};
use runner::study::predict::{PredictError, predict};
use runner::study::weights::WeightsFile;
use runner::study::{Executor, Plan};
use runner::tensor::DeviceName;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Weights whose header says other things, and is as long as it says, or not.
fn changed_weights(bytes: &[u8], changes: &mut Changes) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, mut body) = (&bytes[8..8 + length], bytes[8 + length..].to_vec());
    let mut header: Value = serde_json::from_slice(header).unwrap();
    match changes.below(6) {
        0 => return changes.of(&[bytes.to_vec()], &["\0\0\0\0", "{", "}", "\"", "9", "F64"]),
        1 => {
            header["__metadata__"]["scale"] =
                changes.pick(&["", "{}", "[", "{\"inputs\":[],\"targets\":[]}"])[..].into()
        }
        2 => {
            header[*changes.pick(&["x", "", "readout.weight", "\u{1b}[2J"])] =
                json!({ "dtype": changes.pick(&["F32", "BF16", "I64", "F4"]), "shape": [0], "data_offsets": [0, 0] })
        }
        3 => (0..4).for_each(|_| {
            let at = changes.below(body.len() / 4) * 4;
            let odd = *changes.pick(&[f32::NAN, f32::INFINITY, f32::MAX, -0.0, 1e-45]);
            body.get_mut(at..at + 4)
                .unwrap_or_default()
                .iter_mut()
                .zip(odd.to_le_bytes())
                .for_each(|(b, odd)| *b = odd);
        }),
        _ => drop(changes.json(&mut header)),
    }
    let mut header = serde_json::to_vec(&header).unwrap();
    if changes.below(4) == 0 {
        header = changes.of(&[header], &["[", "]", "{", "\"", ",", "18446744073709551615", "-1", "1e5", "\"F32\""]);
    }
    let length = match changes.below(12) {
        0 => *changes.pick(&[0, 1, u64::from(u32::MAX), 1 << 40, u64::MAX]),
        _ => header.len() as u64,
    };
    if changes.below(6) == 0 {
        body.truncate(changes.below(body.len()));
    }
    [&length.to_le_bytes()[..], &header, &body].concat()
}

/// Result folders of experiments on a table, each with its manifest and a trial.
fn made(folder: &Path) -> Vec<(PathBuf, Manifest, SummaryRow)> {
    let rows: String = (0..30).map(|i| format!("{},{},{}\n", i % 7, i * 3 % 11, 1 + i % 5)).collect();
    std::fs::write(folder.join("d.csv"), format!("x,y,z\n{rows}")).unwrap();
    let table = "kind = \"table\"\ninputs = [\"x\", \"z\"]\ntargets = [\"y\"]\nsteps = 2\n";
    let series = "kind = \"series\"\ninputs = [\"x\"]\ntargets = [\"y\"]\n";
    let data = [
        table.to_string(),
        format!("{table}encode = \"rate\"\nscale = \"minmax\"\n"),
        format!("{series}window = 4\n"),
        format!("{series}window = 3\ndifference = true\n"),
    ];
    let one = |(i, data): (usize, &String)| {
        let text = format!(
            "name = \"e{i}\"\n[data]\npath = \"d.csv\"\n{data}[data.split]\nby = \"order\"\ntest = 0.2\n\
             [[layer]]\nname = \"hidden\"\nkind = \"leaky\"\nsize = 3\nbeta = 0.9\n\
             [[layer]]\nname = \"readout\"\nkind = \"li\"\nsize = 1\nbeta = 0.5\n\
             [optimizer]\nkind = \"adam\"\nlr = 1e-2\n[train]\nepochs = 1\nbatch = 4\nloss = \"mse\"\n"
        );
        let (file, dir) = (folder.join(format!("e{i}.toml")), folder.join(format!("out{i}")));
        std::fs::write(&file, text).unwrap();
        let ran =
            Command::new(env!("CARGO_BIN_EXE_runner")).args(["run", "--quiet", "--out"]).arg(&dir).arg(&file).output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let manifest = manifest_of(&dir).unwrap();
        let row = summary(&dir, &manifest).unwrap().remove(0);
        (dir, manifest, row)
    };
    data.iter().enumerate().map(one).collect()
}

#[test]
fn weights_of_a_stranger_are_those_of_the_network_or_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, manifest, row) = made(folder.path()).remove(0);
    let mut sources = Sources::default();
    let registry = Registry::builtin(&mut sources).unwrap();
    let spec =
        read_text(&text_of(&folder.path().join("e0.toml")), &manifest.spec, LAYING, &registry, &mut sources).unwrap();
    let plan = Plan::new(spec, &registry, &sources, Executor::Fused, DeviceName::Cpu).unwrap();
    let network = &plan.configurations.first.network;
    let own = std::fs::read(dir.join(weights_file(&row.trial))).unwrap();
    let corpus: Vec<Vec<u8>> =
        files("tests/golden", "safetensors").into_iter().take(4).chain([own.clone(), own]).collect();
    let path = folder.path().join("w.safetensors");
    repeat("weights", 2000, |changes| {
        let bytes = changed_weights(&changes.pick(&corpus).clone(), changes);
        std::fs::write(&path, &bytes).unwrap();
        bounded(bytes.len(), || {
            let read = WeightsFile::read(&path, None).and_then(|file| file.of(network, None));
            if let Err(found) = read {
                reasoned(&found, &sources);
                let named = |problem: String| problem.contains(&path.display().to_string());
                assert!(found.list.iter().all(|one| named(one.problem.to_string())), "{:?}", found.list);
            }
        });
    });
}

#[test]
fn rows_of_a_stranger_are_predicted_or_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let made = made(folder.path());
    let mut sources = Sources::default();
    let registry = Registry::builtin(&mut sources).unwrap();
    let rows: Vec<Vec<u8>> = [
        "x,y,z\n0,1,2\n1,3,4\n2,5,6\n3,4,5\n6,7,8\n9,9,9\n",
        "x,y,z\n1e38,-1e38,0\n-0,1e-320,1\n1e-45,3e38,-3e38\n1,1,1\n2,2,2\n3,3,3\n",
        "z;x;y\n1;2;3\n4;5;6\n7;8;9\n",
        "x,z\n1,2\n3,4\n5,6\n7,8\n9,1\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    let weights: Vec<Vec<u8>> =
        made.iter().map(|(dir, _, row)| std::fs::read(dir.join(weights_file(&row.trial))).unwrap()).collect();
    let data = folder.path().join("rows.csv");
    repeat("rows to predict, and weights for it", 400, |changes| {
        let at = changes.below(made.len());
        let (dir, manifest, row) = &made[at];
        let rows = match changes.below(3) {
            0 => changes.pick(&rows).clone(),
            _ => changes.of(&rows, &[",", "\n", "\"", "nan", "1e38", "-1e38", "1e-45", "0", "-0", "\r"]),
        };
        let weights = match changes.below(2) {
            0 => weights[at].clone(),
            _ => changed_weights(&weights[at], changes),
        };
        std::fs::write(&data, &rows).unwrap();
        std::fs::write(dir.join(weights_file(&row.trial)), &weights).unwrap();
        bounded(rows.len() + weights.len(), || {
            let mut sources = sources.clone();
            match predict::<Cpu>(dir, manifest, row, &text_of(&data), &registry, &mut sources) {
                Ok(predictions) => assert!(predictions.rows.iter().all(|(row, values)| *row > 0 && values.len() == 1)),
                Err(PredictError::Request(found)) => reasoned(&found, &sources),
                Err(PredictError::Trial(error)) => assert!(!error.to_string().is_empty()),
            }
        });
    });
}
