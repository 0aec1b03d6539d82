//! What a request needs and its folder lacks, weights or tables, is made again by the trials that made it.

use super::folder::wait_for;
use super::run::{assert_same_content, assert_same_tables, table};
use super::{Ran, SMALL, Sandbox};
use polars::prelude::*;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

/// Two configurations, of which one is better by every measure.
fn swept() -> Sandbox {
    Sandbox::with(
        "small.toml",
        &format!("{SMALL}\n[sweep]\nminimize = \"loss\"\n\n[sweep.over]\n\"optimizer.lr\" = [1e-2, 1e-5]\n"),
    )
}

/// Names of the weights of a folder.
fn weights(out: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(out.join("weights")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The file of the weights of the trial that is first by a column.
fn first_by(out: &Path, column: &str, descending: bool) -> String {
    let options = SortMultipleOptions::default().with_order_descending(descending);
    let sorted = table(out, "trials.parquet").sort([column], options).unwrap();
    format!("{}.safetensors", sorted.column("trial").unwrap().str().unwrap().get(0).unwrap())
}

fn assert_nothing_to_do(ran: &Ran) {
    assert!(ran.stdout.contains("nothing to do"), "{}\n{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.contains("trained again"), "{}", ran.stderr);
}

#[test]
fn the_best_weights_are_those_of_the_objective_that_is_asked_for_now() {
    let sandbox = swept();
    let out = sandbox.path("out");
    let run = |seeds, objective| {
        sandbox.fine(["small.toml", "--out", "out", "--seeds", seeds, "--set", "run.save=best", "--set", objective])
    };
    run("0..2", "sweep.minimize=loss");
    let cases = [
        ("0..2", "sweep.minimize=l1", "l1", false),
        ("0..2", "sweep.minimize=nmse", "nmse", false),
        ("0..4", "sweep.minimize=l1", "l1", false),
        ("0..4", "sweep.minimize=loss", "loss", false),
    ];
    for (seeds, objective, column, descending) in cases {
        run(seeds, objective);
        assert_eq!(weights(&out), BTreeSet::from([first_by(&out, column, descending)]), "{seeds} {objective}");
        assert_nothing_to_do(&run(seeds, objective));
    }
    assert!(sandbox.fine(["verify", "out", "--all"]).stdout.contains("8 identical"));
}

#[test]
fn an_objective_that_is_turned_round_brings_the_weights_of_its_best_before_others_go() {
    let sandbox = swept();
    let out = sandbox.path("out");
    sandbox.fine(["small.toml", "--out", "all"]);
    sandbox.fine(["small.toml", "--out", "out", "--set", "run.save=best"]);
    let text = fs::read_to_string(sandbox.path("small.toml")).unwrap();
    sandbox.write("small.toml", text.replace("minimize", "maximize"));
    let turned = sandbox.fine(["small.toml", "--out", "out", "--set", "run.save=best"]);
    assert!(
        turned.stderr.contains("out: 1 trial is trained again because its weights were not kept"),
        "{}",
        turned.stderr
    );
    let worst = first_by(&out, "loss", true);
    assert_eq!(weights(&out), BTreeSet::from([worst.clone()]));
    let read = |folder: &str| fs::read(sandbox.path(folder).join("weights").join(&worst)).unwrap();
    assert!(read("out") == read("all"), "a trial has the same weights whenever it is run");
    assert_same_tables(&out, &sandbox.path("all"));
}

#[test]
fn weights_that_were_not_kept_are_made_when_all_are_asked_for() {
    let sandbox = swept();
    let run = |out, save: &str| {
        let save = format!("run.save={save}");
        sandbox.fine(["small.toml", "--out", out, "--seeds", "0..3", "--set", &save])
    };
    run("whole", "all");
    for (save, n) in [("none", 6), ("best", 5)] {
        run(save, save);
        let times = table(&sandbox.path(save), "trials.parquet");
        let said = run(save, "all").stderr;
        let expected = format!("{save}: {n} trials are trained again because their weights were not kept");
        assert!(said.contains(&expected), "{said}");
        assert_same_content(&sandbox.path(save), &sandbox.path("whole"));
        assert!(table(&sandbox.path(save), "trials.parquet").equals_missing(&times), "rows stay as they are");
        assert_nothing_to_do(&run(save, "all"));
    }
    run("whole", "none");
    assert_eq!(weights(&sandbox.path("whole")).len(), 6, "what was kept stays");
    run("whole", "best");
    assert_eq!(weights(&sandbox.path("whole")), BTreeSet::from([first_by(&sandbox.path("whole"), "loss", false)]));
}

#[test]
fn weights_of_fewer_trials_are_made_for_these_alone() {
    let sandbox = swept();
    sandbox.fine(["small.toml", "--out", "out", "--seeds", "0..4", "--set", "run.save=none"]);
    for _ in 0..2 {
        sandbox.fine(["small.toml", "--out", "out", "--seeds", "0..2"]);
        assert_eq!(weights(&sandbox.path("out")).len(), 4);
    }
}

#[test]
fn only_weights_that_the_manifest_lists_are_deleted_where_the_best_stay() {
    let sandbox = swept();
    sandbox.write("out/weights/0123456789abcdef.safetensors", "mine");
    sandbox.fine(["small.toml", "--out", "out", "--set", "run.save=best"]);
    let kept = fs::read_to_string(sandbox.path("out/weights/0123456789abcdef.safetensors")).unwrap();
    assert_eq!((kept.as_str(), weights(&sandbox.path("out")).len()), ("mine", 2));
}

/// A way in which a file is lost.
type Harm = fn(&Path);

const REMOVED: Harm = |path| fs::remove_file(path).unwrap();
const EMPTIED: Harm = |path| fs::write(path, "").unwrap();
const CUT: Harm = |path| {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 5]).unwrap();
};

#[test]
fn weights_that_are_gone_or_cut_are_made_again() {
    for save in ["all", "best"] {
        let sandbox = swept();
        let save = format!("run.save={save}");
        let run = |out| sandbox.fine(["small.toml", "--out", out, "--set", &save]);
        run("out");
        run("whole");
        let file = sandbox.path("out/weights").join(first_by(&sandbox.path("out"), "loss", false));
        for harm in [REMOVED, EMPTIED, CUT] {
            harm(&file);
            let said = run("out").stderr;
            assert!(said.contains("1 trial is trained again because its weights were not kept"), "{said}");
            assert_same_content(&sandbox.path("out"), &sandbox.path("whole"));
            assert_nothing_to_do(&run("out"));
        }
    }
}

/// An experiment whose trials are held against what needs no network.
fn with_baselines() -> Sandbox {
    let sandbox = Sandbox::empty();
    let rows: String = (0..30).map(|i| format!("{},{}\n", i, (i * 7) % 11)).collect();
    sandbox.write("rows.csv", format!("x,y\n{rows}"));
    let data = "kind = \"table\"\npath = \"rows.csv\"\ninputs = [\"x\"]\ntargets = [\"y\"]\nsteps = 3\n";
    sandbox.write("small.toml", SMALL.replace("kind = \"sqrt\"\nsteps = 12\n", data));
    sandbox
}

/// Every file that the manifest of a folder lists, and the weights that are there.
fn listed(out: &Path) -> Vec<String> {
    let manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(out.join("manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().to_string());
    let weights = weights(out).into_iter().map(|name| format!("weights/{name}"));
    files.chain(weights).collect()
}

#[test]
fn every_file_that_is_removed_is_made_again_by_the_same_command() {
    let sandbox = with_baselines();
    let run =
        |out| sandbox.runner(["small.toml", "--out", out, "--sweep", "optimizer.lr=0.01,0.001", "--seeds", "0..2"]);
    assert_eq!([run("whole").status, run("out").status], [0, 0]);
    let (out, whole) = (sandbox.path("out"), sandbox.path("whole"));
    let files = listed(&out);
    assert!(files.len() > 12 && files.contains(&"baselines.parquet".to_string()), "{files:?}");
    for name in files.iter().filter(|name| *name != "manifest.json") {
        REMOVED(&out.join(name));
        // Whoever reads the folder works without the file, or names the command that makes it again.
        let readers: [&[&str]; 5] = [
            &["verify", "out"],
            &["predict", "out", "--data", "rows.csv"],
            &["compare", "out", "--baseline", "optimizer.lr=0.01"],
            &["export", "out", "--format", "csv"],
            &["diff", "out", "whole"],
        ];
        for reader in readers {
            let ran: Ran = sandbox.command().args(reader).output().unwrap().into();
            let says = format!("{name} is not there; `runner small.toml --out out ");
            let weights = reader[0] == "verify" && name.starts_with("weights/");
            assert!(ran.status == 0 || ran.stderr.contains(&says) || weights, "{name} {reader:?}: {}", ran.stderr);
        }
        let again = run("out");
        assert_eq!(again.status, 0, "{name}: {}", again.stderr);
        assert_same_content(&out, &whole);
        assert!(table(&out, "baselines.parquet").equals_missing(&table(&whole, "baselines.parquet")), "{name}");
        assert!(out.join(name).exists(), "{name}");
        assert_nothing_to_do(&run("out"));
    }
    REMOVED(&out.join("manifest.json"));
    let refused = run("out");
    assert_eq!(refused.status, 2);
    insta::assert_snapshot!(refused.stderr);
}

#[test]
fn a_table_that_cannot_be_read_is_named_with_what_is_to_be_done() {
    let sandbox = with_baselines();
    sandbox.fine(["small.toml", "--out", "whole"]);
    let whole = sandbox.path("whole");
    for name in listed(&whole).iter().filter(|name| name.ends_with(".parquet")) {
        for harm in [EMPTIED, CUT] {
            let bytes = fs::read(whole.join(name)).unwrap();
            harm(&whole.join(name));
            let refused = sandbox.runner(["small.toml", "--out", "whole"]);
            assert_eq!(refused.status, 2, "{name}: {}", refused.stderr);
            assert!(refused.stderr.contains(&format!("whole/{name}")), "{}", refused.stderr);
            assert!(
                refused.stderr.contains("remove the file, and the same command makes it again"),
                "{}",
                refused.stderr
            );
            let report = sandbox.runner(["report", "whole"]);
            assert_eq!(report.status, 2, "{name}");
            assert!(
                report.stderr.contains("remove the file, and the command that made the folder"),
                "{}",
                report.stderr
            );
            fs::write(whole.join(name), bytes).unwrap();
        }
    }
    assert_nothing_to_do(&sandbox.fine(["small.toml", "--out", "whole"]));
}

#[test]
fn a_folder_in_the_place_of_a_file_is_named_before_anything_is_trained() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out"]);
    let out = sandbox.path("out");
    let weights = format!("weights/{}", first_by(&out, "loss", false));
    for name in ["report.html", "traces.parquet", weights.as_str()] {
        REMOVED(&out.join(name));
        fs::create_dir(out.join(name)).unwrap();
        let refused = sandbox.runner(["small.toml", "--out", "out"]);
        assert_eq!(refused.status, 2, "{name}: {}", refused.stderr);
        let said = format!("out: `{name}` is not what the program keeps under that name");
        assert!(refused.stderr.contains(&said), "{}", refused.stderr);
        fs::remove_dir(out.join(name)).unwrap();
        sandbox.fine(["small.toml", "--out", "out"]);
    }
}

#[test]
fn rows_that_an_older_table_lacks_are_made_again_when_the_folder_grows() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out", "--seeds", "0..2"]);
    let older = fs::read(sandbox.path("out/history.parquet")).unwrap();
    sandbox.fine(["small.toml", "--out", "out", "--seeds", "0..3"]);
    sandbox.write("out/history.parquet", older);
    let grown = sandbox.fine(["small.toml", "--out", "out", "--seeds", "0..4"]);
    assert!(grown.stderr.contains("1 trial is trained again because rows are missing in history"), "{}", grown.stderr);
    sandbox.fine(["small.toml", "--out", "whole", "--seeds", "0..4"]);
    assert_same_content(&sandbox.path("out"), &sandbox.path("whole"));
}

/// A folder whose stored losses of the trials are other ones, as if another binary had made them.
fn altered(sandbox: &Sandbox, out: &str, factor: f64) {
    let folder = sandbox.path(out);
    let mut trials = table(&folder, "trials.parquet");
    let loss = trials.column("loss").unwrap().f64().unwrap().apply_values(|loss| loss * factor).into_column();
    trials.with_column(loss).unwrap();
    ParquetWriter::new(File::create(folder.join("trials.parquet")).unwrap()).finish(&mut trials).unwrap();
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let binary = manifest.split("\"binary\": \"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(folder.join("manifest.json"), manifest.replace(binary, "0000000000000000")).unwrap();
}

#[test]
fn a_trial_that_comes_out_otherwise_is_refused_and_what_is_stored_stays() {
    let sandbox = swept();
    let run = |out, save: &str| sandbox.runner(["small.toml", "--out", out, "--jobs", "1", "--set", save]);
    for (out, save, then, lost) in [
        ("none", "run.save=none", "run.save=all", None),
        ("best", "run.save=best", "run.save=all", None),
        ("table", "run.save=best", "run.save=best", Some("history.parquet")),
    ] {
        run(out, save);
        altered(&sandbox, out, 1.01);
        lost.iter().for_each(|name| REMOVED(&sandbox.path(out).join(name)));
        let before = (weights(&sandbox.path(out)), table(&sandbox.path(out), "trials.parquet"));
        for _ in 0..2 {
            let refused = run(out, then);
            assert_eq!(refused.status, 1, "{out}: {}", refused.stderr);
            let words = [
                "was trained again, and trials.parquet has",
                "where there is",
                "the results are of binary 0000000000000000",
                "`--fresh`",
            ];
            words.iter().for_each(|word| assert!(refused.stderr.contains(word), "{out}: {}", refused.stderr));
            assert_eq!(weights(&sandbox.path(out)), before.0, "{out}");
            assert!(table(&sandbox.path(out), "trials.parquet").equals_missing(&before.1), "{out}");
        }
    }
}

#[test]
fn a_trial_that_differs_by_rounding_is_stored_and_that_is_said() {
    let sandbox = swept();
    sandbox.fine(["small.toml", "--out", "out", "--set", "run.save=none"]);
    altered(&sandbox, "out", 1.0 + 1e-9);
    let ran = sandbox.fine(["small.toml", "--out", "out"]);
    assert!(
        ran.stderr.contains("of the trials that were trained again 2 differ by rounding, relatively 1.0e-9 at most"),
        "{}",
        ran.stderr
    );
    assert_eq!(weights(&sandbox.path("out")).len(), 2);
    assert_nothing_to_do(&sandbox.fine(["small.toml", "--out", "out"]));
}

/// Killed while trials are run again, a study goes on: what was made again by then is not made once more.
#[test]
fn what_is_made_again_goes_on_where_it_was_killed() {
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("iterations = 20", "iterations = 400"));
    fn options<'a>(out: &'a str, save: &'a str) -> [&'a str; 9] {
        ["small.toml", "--seeds", "0..40", "--jobs", "2", "--out", out, "--set", save]
    }
    sandbox.fine(options("whole", "run.save=all"));
    for (out, first, lost) in [("weights", "run.save=none", None), ("table", "run.save=all", Some("traces.parquet"))] {
        sandbox.fine(options(out, first));
        let folder = sandbox.path(out);
        lost.iter().for_each(|name| REMOVED(&folder.join(name)));
        let mut command = sandbox.command();
        let mut child =
            command.args(options(out, "run.save=all")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = || match lost {
            None => weights(&folder).len() > 1,
            Some(_) => fs::read_dir(folder.join("journal")).unwrap().next().is_some(),
        };
        wait_for(begun);
        child.kill().unwrap();
        child.wait().unwrap();
        sandbox.fine(options(out, "run.save=all"));
        assert_same_content(&folder, &sandbox.path("whole"));
        assert_nothing_to_do(&sandbox.fine(options(out, "run.save=all")));
    }
}

#[cfg(unix)]
#[test]
fn a_table_that_was_lost_appears_with_all_of_its_rows_or_not_at_all() {
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("iterations = 20", "iterations = 3000"));
    let options = ["small.toml", "--seeds", "0..12", "--jobs", "1", "--out", "out"];
    sandbox.fine(options);
    let out = sandbox.path("out");
    REMOVED(&out.join("layers.parquet"));
    REMOVED(&out.join("traces.parquet"));
    let child = sandbox.command().args(options).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| fs::read_dir(out.join("journal")).unwrap().next().is_some());
    assert!(
        std::process::Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success()
    );
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.status, 130, "{}", ran.stderr);
    assert!(ran.stderr.contains("the same command goes on") && !out.join("traces.parquet").exists(), "{}", ran.stderr);
    let again = sandbox.fine(options);
    assert!(
        again.stderr.contains("trained again because traces.parquet, layers.parquet are not there"),
        "{}",
        again.stderr
    );
    sandbox.fine(["small.toml", "--seeds", "0..12", "--out", "whole"]);
    assert_same_content(&out, &sandbox.path("whole"));
}
