//! Looking back at results: running trials again, explaining ids, comparing folders, exporting.

use super::run::table;
use super::{SMALL, Sandbox};
use polars::prelude::*;
use std::fs::File;

const SWEPT: &str = "\n[sweep.over]\nhidden = [4, 8]\n\"optimizer.lr\" = [1e-3, 1e-2]\n\
    \n[sweep.variants.plain]\n\n[sweep.variants.wide.layer.hidden_1]\nsize = \"=3 * hidden\"\n";

/// Changes a table of a folder in place.
fn change(sandbox: &Sandbox, name: &str, edit: impl FnOnce(DataFrame) -> DataFrame) {
    let folder = sandbox.path("results/small");
    let mut changed = edit(table(&folder, name));
    ParquetWriter::new(File::create(folder.join(name)).unwrap()).finish(&mut changed).unwrap();
}

fn ids(sandbox: &Sandbox) -> Vec<String> {
    let trials = table(&sandbox.path("results/small"), "trials.parquet");
    trials.column("trial").unwrap().str().unwrap().iter().flatten().map(String::from).collect()
}

#[test]
fn what_was_stored_is_verified_bit_for_bit_without_the_file() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..5"]);
    std::fs::remove_file(sandbox.path("small.toml")).unwrap();
    let ran = sandbox.fine(["verify", "results/small"]);
    assert!(
        ran.stdout.ends_with("3 of 5 trials run again: 3 identical, 0 within tolerance, 0 different\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains(" values of tables, 8 tensors"), "{}", ran.stdout);
    let ran = sandbox.fine(["verify", "results/small", "--all"]);
    assert!(ran.stdout.contains("5 of 5 trials run again: 5 identical"), "{}", ran.stdout);
}

#[test]
fn every_trial_of_a_sweep_is_verified_also_after_the_sweep_was_narrowed() {
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}{SWEPT}"));
    sandbox.fine(["small.toml", "--seeds", "0..2"]);
    let ran = sandbox.fine(["verify", "results/small", "--all"]);
    assert!(ran.stdout.contains("16 of 16 trials run again: 16 identical"), "{}", ran.stdout);
    sandbox.write("small.toml", format!("{SMALL}{}", SWEPT.replace("[4, 8]", "[4]")));
    sandbox.fine(["small.toml", "--seeds", "0"]);
    let ran = sandbox.fine(["verify", "results/small", "--all"]);
    assert!(ran.stdout.contains("16 of 16 trials run again: 16 identical"), "{}", ran.stdout);
}

#[test]
fn a_loss_that_was_changed_on_disk_is_found_with_its_iteration() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml"]);
    change(&sandbox, "history.parquet", |mut history| {
        let loss = history.column("loss").unwrap().f64().unwrap();
        let changed: Vec<f64> =
            loss.iter().flatten().enumerate().map(|(i, l)| if i == 13 { l * 1.000_001 } else { l }).collect();
        history.with_column(Series::new("loss".into(), changed).into()).unwrap().clone()
    });
    let ran = sandbox.runner(["verify", "results/small"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains("different: `loss` of iteration 13 is "), "{}", ran.stdout);
}

#[test]
fn weights_that_were_changed_or_removed_are_found() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml"]);
    let path = sandbox.path(&format!("results/small/weights/{}.safetensors", ids(&sandbox)[0]));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let ran = sandbox.runner(["verify", "results/small"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains(".safetensors: number "), "{}", ran.stdout);
    std::fs::remove_file(&path).unwrap();
    let ran = sandbox.runner(["verify", "results/small"]);
    assert!(ran.status == 1 && ran.stdout.contains("is missing"), "{}", ran.stdout);
}

/// What `verify` says of a folder in which something is missing that it does not run again.
fn missed(sandbox: &Sandbox) -> String {
    let ran = sandbox.runner(["verify", "results/small", "--sample", "1"]);
    assert_eq!(ran.status, 1, "{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// Takes the rows of one trial out of a table.
fn take_out(sandbox: &Sandbox, name: &str, id: &str) {
    change(sandbox, name, |table| {
        let rows: BooleanChunked =
            table.column("trial").unwrap().str().unwrap().iter().map(|trial| trial != Some(id)).collect();
        table.filter(&rows).unwrap()
    });
}

#[test]
fn all_rows_of_a_trial_that_were_removed_are_missed_by_table_and_trial() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for (name, place) in [("history.parquet", 1), ("traces.parquet", 1), ("traces.parquet", 0), ("layers.parquet", 0)] {
        sandbox.fine(["small.toml", "--seeds", "0..3", "--fresh", "--quiet"]);
        sandbox.fine(["verify", "results/small"]);
        let id = &ids(&sandbox)[place];
        take_out(&sandbox, name, id);
        let said = missed(&sandbox);
        assert!(said.contains(&format!("missing: {name} has no row of trial {id}\n")), "{said}");
    }
    assert_eq!(missed(&sandbox).matches("missing").count(), 2);
}

#[test]
fn a_trial_without_its_row_is_missed_by_its_name_and_so_are_all_of_them() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--quiet"]);
    let ids = ids(&sandbox);
    take_out(&sandbox, "trials.parquet", &ids[1]);
    let said = missed(&sandbox);
    assert!(said.contains("missing: trials.parquet has 2 rows, and 3 were written\n"), "{said}");
    let named = |id: &str| format!("missing: trials.parquet has no row of trial {id}, and ");
    assert!(said.contains(&named(&ids[1])), "{said}");
    take_out(&sandbox, "trials.parquet", &ids[0]);
    take_out(&sandbox, "trials.parquet", &ids[2]);
    let said = missed(&sandbox);
    assert!(ids.iter().all(|id| said.contains(&named(id))), "{said}");
}

#[test]
fn weights_that_are_kept_and_not_there_are_missed_whatever_trial_they_are_of() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for save in ["all", "best"] {
        let set = format!("run.save={save}");
        sandbox.fine(["small.toml", "--seeds", "0..4", "--fresh", "--quiet", "--set", &set]);
        sandbox.fine(["verify", "results/small", "--sample", "1"]);
        let weights = std::fs::read_dir(sandbox.path("results/small/weights")).unwrap();
        let path = weights.map(|entry| entry.unwrap().path()).max().unwrap();
        std::fs::remove_file(&path).unwrap();
        let said = missed(&sandbox);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(&format!("missing: weights/{name} is missing\n")), "{save}: {said}");
    }
    // What an earlier request did not keep is not missed.
    sandbox.fine(["small.toml", "--seeds", "0..4", "--fresh", "--quiet", "--set", "run.save=none"]);
    sandbox.fine(["verify", "results/small", "--all"]);
    sandbox.fine(["small.toml", "--seeds", "0..6", "--quiet", "--set", "run.save=best"]);
    sandbox.fine(["verify", "results/small", "--all"]);
}

#[test]
fn a_folder_without_trials_has_nothing_to_verify_yet() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--quiet"]);
    let path = sandbox.path("results/small/manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // What a run that was just begun has.
    let mut begun = manifest;
    begun["status"] = "running".into();
    begun["rows"] = serde_json::json!({});
    std::fs::write(&path, begun.to_string()).unwrap();
    for name in ["trials", "history", "traces", "layers", "baselines"] {
        std::fs::remove_file(sandbox.path(&format!("results/small/{name}.parquet"))).unwrap();
    }
    let ran = sandbox.runner(["verify", "results/small"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("there is nothing to verify yet"), "{}", ran.stderr);
}

#[test]
fn a_failed_trial_fails_again_and_a_folder_without_weights_is_verified_too() {
    let failing = SMALL.replace("kind = \"adam\"\nlr = 1e-2", "kind = \"sgd\"\nlr = 1e30");
    let sandbox = Sandbox::with("small.toml", &failing);
    assert_eq!(sandbox.runner(["small.toml", "--set", "run.save=none"]).status, 1);
    let ran = sandbox.fine(["verify", "results/small"]);
    assert!(ran.stdout.contains("1 identical"), "{}", ran.stdout);
}

#[test]
fn a_study_with_a_plugin_is_verified_from_the_text_that_it_kept() {
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("kind = \"sqrt\"", "kind = \"half\""));
    let dataset = "kind = \"dataset\"\nname = \"half\"\n[draws]\nend = { uniform = [0, 1] }\n[inputs]\nx = \"end * t\"\n\
        [targets]\ny = \"x / 2\"\n";
    sandbox.write("plugins/half.toml", dataset);
    sandbox.fine(["small.toml"]);
    sandbox.write("plugins/half.toml", dataset.replace("/ 2", "/ 3"));
    let ran = sandbox.fine(["verify", "results/small"]);
    assert!(ran.stdout.contains("1 identical"), "{}", ran.stdout);
    let ran = sandbox.fine(["explain", "results/small", &ids(&sandbox)[0], "small.toml"]);
    assert!(ran.stdout.contains("meaning of dataset half: "), "{}", ran.stdout);
}

#[test]
fn explain_says_which_input_changed() {
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}{SWEPT}"));
    sandbox.fine(["small.toml", "--seeds", "0..2"]);
    let id = &ids(&sandbox)[5][..8];
    let same = sandbox.fine(["explain", "results/small", id, "small.toml", "--set", "run.seeds=[0, 1]"]);
    assert!(same.stdout.contains("nothing changed"), "{}", same.stdout);
    let edited = format!("{SMALL}{SWEPT}").replace("steps = 12", "steps = 13").replace("hidden_1", "first");
    sandbox.write("edited.toml", edited);
    let ran = sandbox.fine(["explain", "results/small", id, "edited.toml", "--executor", "reference"]);
    insta::assert_snapshot!(ran.stdout);
    let alone = sandbox.fine(["explain", "results/small", id]);
    assert!(alone.stdout.contains("  data.steps = 12\n") && alone.stdout.contains("  seed = "), "{}", alone.stdout);
    let none = sandbox.runner(["explain", "results/small", "zz"]);
    assert_eq!(none.status, 2);
    insta::assert_snapshot!(none.stderr);
}

#[test]
fn two_folders_are_compared_seed_by_seed() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..8", "--out", "a"]);
    sandbox.fine(["small.toml", "--seeds", "2..10", "--out", "b", "--set", "train.iterations=60"]);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--out", "few"]);
    let ran = sandbox.fine(["diff", "a", "b"]);
    assert!(ran.stdout.contains("  train.iterations: 20 -> 60\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("environment\n  no difference\n"), "{}", ran.stdout);
    let loss = ran.stdout.lines().find(|line| line.trim_start().starts_with("loss")).unwrap();
    assert_eq!(loss.split_whitespace().nth(1), Some("6"), "the seeds that both have: {loss}");
    let few = sandbox.fine(["diff", "few", "b"]);
    assert!(few.stdout.contains("no seed completed") || few.stdout.contains("too few seeds"), "{}", few.stdout);
    let none = sandbox.runner(["diff", "a", "nowhere"]);
    assert_eq!(none.status, 2);
    insta::assert_snapshot!(none.stderr);
}

#[test]
fn results_lists_studies_with_their_state() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..3"]);
    sandbox.fine(["small.toml", "--seeds", "0..2", "--out", "results/deep/er"]);
    let ran = sandbox.fine(["results"]);
    let lines: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..5], ["folder", "state", "completed", "failed", "planned"]);
    assert_eq!(lines[1][..5], ["results/deep/er", "finished", "2", "0", "2"]);
    assert_eq!(lines[2][..5], ["results/small", "finished", "3", "0", "3"]);
    assert_eq!(lines[2][5..8], ["lowest", "median", "loss:"]);
    let none = sandbox.runner(["results", "nowhere"]);
    assert_eq!(
        (none.status, none.stderr.as_str()),
        (2, "error: nowhere holds no results\n  = help: `runner results DIR` lists the studies below DIR\n")
    );
}

#[test]
fn tables_go_out_as_csv_with_every_digit() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..2"]);
    sandbox.fine(["export", "results/small", "--format", "csv", "--out", "csv"]);
    let text = std::fs::read_to_string(sandbox.path("csv/history.csv")).unwrap();
    let history = table(&sandbox.path("results/small"), "history.parquet");
    assert!(text.starts_with("trial,iteration,loss,l1,nmse\n"));
    let losses: Vec<f64> = text.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    let stored: Vec<f64> = history.column("loss").unwrap().f64().unwrap().iter().flatten().collect();
    assert_eq!(losses, stored);
}

#[test]
fn event_files_hold_every_loss_by_its_iteration() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..2"]);
    sandbox.fine(["export", "results/small", "--format", "tensorboard", "--out", "tb"]);
    let folder = sandbox.path(&format!("tb/{}", ids(&sandbox)[1]));
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(file).unwrap();
    let (mut at, mut losses) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let data = &bytes[at + 12..at + 12 + length];
        at += 16 + length;
        // The name, then field 2 of the value, a float.
        if let Some(place) = data.windows(6).position(|part| part == b"\x04loss\x15") {
            losses.push(f32::from_le_bytes(data[place + 6..place + 10].try_into().unwrap()));
        }
    }
    let history = table(&sandbox.path("results/small"), "history.parquet").tail(Some(20));
    let stored: Vec<f32> = history.column("loss").unwrap().f64().unwrap().iter().flatten().map(|l| l as f32).collect();
    assert_eq!(losses, stored);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// The folder has two trials in its tables, a third in a journal that was torn when its process was killed.
/// Whatever becomes of the format, this program reads it.
#[test]
fn a_folder_of_format_1_opens_for_ever() {
    let sandbox = Sandbox::empty();
    copy(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets/format_1"), &sandbox.path("old"));
    let listed = sandbox.fine(["results", "old"]).stdout;
    let line: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(line[..5], ["old", "unfinished", "3", "0", "4"], "{listed}");
    sandbox.fine(["report", "old"]);
    let page = std::fs::read_to_string(sandbox.path("old/report.html")).unwrap();
    assert!(page.contains("Not finished: 2 of 4 planned trials are here."));
    let exported = sandbox.fine(["export", "old", "--format", "csv", "--out", "csv"]).stdout;
    assert_eq!(exported.lines().count(), 4);
    let losses = std::fs::read_to_string(sandbox.path("csv/trials.csv")).unwrap();
    assert_eq!(losses.lines().nth(1).unwrap().split(',').nth(5), Some("0.047089140862226486"));
    assert!(sandbox.fine(["diff", "old", "old"]).stdout.starts_with("configuration\n  no difference\n"));
}

/// Numbers may differ by rounding where another processor made them.
#[test]
fn a_folder_of_format_1_is_verified_and_grows_at_equal_identity_alone() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let asset = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/assets/format_1");
    copy(&asset, &sandbox.path("old"));
    let verified = sandbox.fine(["verify", "old", "--all"]).stdout;
    assert!(verified.contains("2 of 2 trials run again") && verified.contains(" 0 different"), "{verified}");
    let predicted = sandbox.runner(["predict", "old", "--data", "small.toml"]);
    assert!(predicted.stderr.starts_with("error: dataset `sqrt` has no rows"), "{}", predicted.stderr);

    let other = sandbox.runner(["small.toml", "--out", "old", "--set", "optimizer.lr=0.5"]);
    assert_eq!(other.status, 2);
    assert!(other.stderr.contains("optimizer.lr: 0.01 -> 0.5"), "{}", other.stderr);
    assert_eq!(
        std::fs::read(sandbox.path("old/manifest.json")).unwrap(),
        std::fs::read(asset.join("manifest.json")).unwrap()
    );

    let grown = sandbox.fine(["small.toml", "--out", "old", "--seeds", "0..6"]).stderr;
    assert!(grown.contains("old: 3 of 6 trials are there already"), "{grown}");
    assert!(!grown.contains("trained again"), "{grown}");
    let again = sandbox.fine(["small.toml", "--out", "old", "--seeds", "0..6"]);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    sandbox.fine(["small.toml", "--out", "new", "--seeds", "0..6"]);
    let column =
        |folder: &str, name: &str| table(&sandbox.path(folder), "trials.parquet").column(name).unwrap().clone();
    assert_eq!(column("old", "trial"), column("new", "trial"));
    let losses = ["old", "new"].map(|folder| column(folder, "loss").f64().unwrap().to_vec());
    for (old, new) in losses[0].iter().zip(&losses[1]) {
        assert!((old.unwrap() / new.unwrap() - 1.0).abs() < 1e-4, "{losses:?}");
    }

    // Its weights were not all kept, and what the old binary made is held against what this one makes.
    std::fs::remove_file(sandbox.path("old/weights/a8a1721224c79c9b.safetensors")).unwrap();
    let mended = sandbox.fine(["small.toml", "--out", "old", "--seeds", "0..6"]).stderr;
    assert!(mended.contains("1 trial is trained again"), "{mended}");
    assert!(sandbox.fine(["verify", "old", "--all"]).stdout.contains(" 0 different"));
}

#[test]
fn configurations_are_held_against_a_named_one_with_correction() {
    let sandbox =
        Sandbox::with("small.toml", &format!("{SMALL}\n[sweep.over]\n\"optimizer.lr\" = [1e-2, 1e-9, 2e-2]\n"));
    sandbox.fine(["small.toml", "--seeds", "0..7", "--set", "train.iterations=100"]);
    let ran = sandbox.fine(["compare", "results/small", "--baseline", "optimizer.lr=1e-9"]);
    let line = |start: &str| ran.stdout.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
    assert!(line("optimizer.lr = 1e-9").contains("baseline"), "{}", ran.stdout);
    // Training helps on every one of seven seeds: 2 / 2^7, twice because two are compared.
    assert!(line("optimizer.lr = 0.01").contains("0.0312  differs"), "{}", ran.stdout);
    sandbox.fine(["small.toml", "--seeds", "0..5", "--set", "train.iterations=100", "--out", "few"]);
    let few = sandbox.fine(["compare", "few", "--baseline", "optimizer.lr=1e-9"]);
    assert_eq!(few.stdout.matches("  too few seeds").count(), 2, "{}", few.stdout);
    let none = sandbox.runner(["compare", "few", "--baseline", "optimizer.lr=3"]);
    assert_eq!(none.status, 2);
    insta::assert_snapshot!(none.stderr);
}

#[test]
fn a_folder_without_a_sweep_has_nothing_to_compare() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml"]);
    let ran = sandbox.runner(["compare", "results/small", "--baseline", "hidden=8"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn an_export_overwrites_nothing() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml"]);
    sandbox.write("mine/trials.csv", "mine");
    let ran = sandbox.runner(["export", "results/small", "--format", "csv", "--out", "mine"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.starts_with("error: mine is not empty"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(sandbox.path("mine/trials.csv")).unwrap(), "mine");
    // Nor is what another export left that was cut short.
    sandbox.write("mine/.unfinished", "csv of another experiment");
    assert_eq!(sandbox.runner(["export", "results/small", "--format", "csv", "--out", "mine"]).status, 2);
}

/// A path means what it meant where it was written, also when its file extends another folder's, or an option names it.
#[test]
fn a_study_whose_data_another_folder_names_is_verified() {
    let sandbox = Sandbox::empty();
    let rows: String = (0..30).map(|i| format!("{},{}\n", i, (i * 7) % 11)).collect();
    std::fs::create_dir_all(sandbox.path("lib/data")).unwrap();
    sandbox.write("lib/data/rows.csv", format!("x,y\n{rows}"));
    let data = "kind = \"table\"\npath = \"data/rows.csv\"\ninputs = [\"x\"]\ntargets = [\"y\"]\nsteps = 3\n";
    sandbox.write("lib/base.toml", SMALL.replace("kind = \"sqrt\"\nsteps = 12\n", data));
    sandbox.write("mine.toml", "extends = \"lib/base.toml\"\nname = \"mine\"\n");
    sandbox.fine(["mine.toml"]);
    sandbox.fine(["verify", "results/mine"]);
    sandbox.fine(["lib/base.toml", "--set", "data.path=lib/data/rows.csv", "--out", "set"]);
    sandbox.fine(["verify", "set"]);
    assert!(sandbox.fine(["mine.toml"]).stdout.contains("nothing to do"));
}

#[test]
fn weights_that_are_swept_over_count_by_what_lies_there() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--out", "first"]);
    let mut made: Vec<_> =
        std::fs::read_dir(sandbox.path("first/weights")).unwrap().map(|entry| entry.unwrap().path()).collect();
    made.sort();
    let put = |from: usize, name: &str| std::fs::copy(&made[from], sandbox.path(name)).unwrap();
    put(0, "a.safetensors");
    put(1, "b.safetensors");
    let sweep = "\n[sweep.over]\n\"init.weights\" = [\"a.safetensors\", \"b.safetensors\"]\n";
    sandbox.write("warm.toml", format!("{SMALL}{sweep}"));
    let run = ["warm.toml", "--out", "warm", "--json"];
    let before = sandbox.fine(run).stdout;
    assert_eq!(sandbox.fine(run).stdout, before);
    put(2, "b.safetensors");
    assert_ne!(sandbox.fine(run).stdout, before, "the file is another one now");
}

#[test]
fn a_baseline_may_hold_commas_and_a_folder_without_tables_says_why() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let beta = "layer.hidden_1.beta={ uniform = [0, 1] },{ uniform = [0.5, 1] }";
    sandbox.fine(["small.toml", "--seeds", "0..2", "--sweep", beta]);
    let baseline = "layer.hidden_1.beta={ uniform = [0, 1] }";
    let ran = sandbox.fine(["compare", "results/small", "--baseline", baseline]);
    assert!(ran.stdout.contains("baseline") && ran.stdout.contains("too few seeds"), "{}", ran.stdout);
    std::fs::remove_file(sandbox.path("results/small/trials.parquet")).unwrap();
    // As a run leaves it that was killed before its end.
    let manifest = std::fs::read_to_string(sandbox.path("results/small/manifest.json")).unwrap();
    sandbox.write("results/small/manifest.json", manifest.replace("\"finished\",", "\"running\","));
    let report = sandbox.runner(["report", "results/small"]);
    assert_eq!(report.status, 2);
    assert!(report.stderr.contains("results/small has no tables yet"), "{}", report.stderr);
    let compare = sandbox.runner(["compare", "results/small", "--baseline", baseline]);
    assert_eq!(compare.status, 2);
    assert!(compare.stderr.contains("no finished configuration yet"), "{}", compare.stderr);
}
