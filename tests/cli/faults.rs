//! A file layer that fails: a command is killed before, or refused, each single system call that changes files, one
//! after the other. The same command then goes on, to the final bits of every file: tables, weights, plots and page.
//!
//! A scenario is a folder and a command. A few calls of each, evenly spread, are tried; all of them with
//! `RUNNER_FAULTS=all`, whose counts are printed (`--nocapture`). Where processes may not be traced that is said, and
//! nothing is tried.

use super::run::{TIMES, table};
use super::tables::{TABLE, own};
use super::traced::{Fault, Traced, traced};
use super::{Ran, SMALL, Sandbox};
use polars::prelude::ParquetWriter;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A command on a folder that is made for it.
struct Scenario {
    /// Commands that were given before.
    before: &'static [&'static [&'static str]],
    /// Files that were removed then.
    lost: &'static [&'static str],
    /// The command whose calls fail, and that is then given again.
    command: &'static [&'static str],
    /// Whether the command was killed once before, with some trials in its journal.
    cut: bool,
}

const NOTHING: Scenario = Scenario { before: &[], lost: &[], command: &[], cut: false };

/// Two trials of `small.toml`.
const TWO: &[&str] = &["small.toml", "--seeds", "0..2", "--out", "out"];

/// Each scenario is a test.
macro_rules! scenarios {
    ($($name:ident: $scenario:expr;)*) => {$(
        #[test]
        fn $name() {
            if let Some((calls, tried)) = tried(&$scenario) {
                let ([killed, refused], name) = (tried, stringify!($name));
                println!("{name}: {calls} calls that change files; {killed} times killed, {refused} times refused");
            }
        }
    )*};
}

scenarios! {
    whatever_call_of_a_first_run_fails_it_ends_alike: Scenario {
        command: &["small.toml", "--jobs", "1", "--seeds", "0..3", "--out", "out"],
        ..NOTHING
    };
    whatever_call_of_two_workers_fails_they_end_alike: Scenario {
        command: &["small.toml", "--jobs", "2", "--seeds", "0..4", "--out", "out"],
        ..NOTHING
    };
    whatever_call_of_a_growth_fails_it_ends_alike: Scenario {
        before: &[TWO],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..4", "--out", "out"],
        ..NOTHING
    };
    whatever_call_of_a_growth_fails_of_which_every_record_is_synced_it_ends_alike: Scenario {
        before: &[TWO],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..3", "--out", "out", "--sync", "every"],
        ..NOTHING
    };
    whatever_call_of_a_fresh_run_over_another_experiment_fails_it_ends_alike: Scenario {
        before: &[&["small.toml", "--seeds", "0..2", "--out", "out", "--set", "optimizer.lr=0.5"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..3", "--out", "out", "--fresh"],
        ..NOTHING
    };
    whatever_call_fails_as_only_the_best_weights_are_kept_they_are_in_the_end: Scenario {
        before: &[&["small.toml", "--seeds", "0..3", "--out", "out"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..4", "--out", "out", "--set", "run.save=best"],
        ..NOTHING
    };
    whatever_call_fails_as_weights_are_let_go_only_the_best_are_there_in_the_end: Scenario {
        before: &[&["small.toml", "--seeds", "0..4", "--out", "out"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..4", "--out", "out", "--set", "run.save=best"],
        ..NOTHING
    };
    whatever_call_of_a_first_run_fails_that_keeps_the_best_weights_alone_it_ends_alike: Scenario {
        command: &["small.toml", "--jobs", "1", "--seeds", "2..5", "--out", "out", "--set", "run.save=best"],
        ..NOTHING
    };
    whatever_call_fails_as_what_a_killed_run_left_is_made_tables_it_ends_alike: Scenario {
        before: &[TWO],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..5", "--out", "out"],
        cut: true,
        ..NOTHING
    };
    whatever_call_fails_as_weights_that_were_not_kept_are_made_they_are_in_the_end: Scenario {
        before: &[&["small.toml", "--seeds", "0..2", "--out", "out", "--set", "run.save=none"]],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..2", "--out", "out"],
        ..NOTHING
    };
    whatever_call_fails_as_a_lost_table_is_made_again_it_is_in_the_end: Scenario {
        before: &[TWO],
        lost: &["out/history.parquet", "out/report.html"],
        command: &["small.toml", "--jobs", "1", "--seeds", "0..2", "--out", "out"],
        ..NOTHING
    };
    whatever_call_of_a_report_fails_the_next_report_is_whole: Scenario {
        before: &[TWO],
        lost: &["out/plots/loss.svg"],
        command: &["report", "out"],
        ..NOTHING
    };
    whatever_call_of_an_export_fails_the_same_one_goes_on: Scenario {
        before: &[TWO],
        command: &["export", "out", "--format", "csv", "--out", "tables"],
        ..NOTHING
    };
    whatever_call_of_an_export_of_losses_fails_the_same_one_goes_on: Scenario {
        before: &[TWO],
        command: &["export", "out", "--format", "tensorboard", "--out", "board"],
        ..NOTHING
    };
    whatever_call_of_an_export_into_its_folder_fails_the_same_one_goes_on: Scenario {
        before: &[TWO, &["export", "out", "--format", "csv"]],
        lost: &["out/csv/trials.csv"],
        command: &["export", "out", "--format", "csv"],
        ..NOTHING
    };
    whatever_call_of_predictions_fails_they_are_whole_in_the_end: Scenario {
        before: &[&["own.toml", "--out", "out"]],
        command: &["predict", "out", "--data", "own.csv", "--out", "predicted"],
        ..NOTHING
    };
    whatever_call_of_a_probe_fails_the_next_one_is_whole: Scenario {
        command: &["probe", "leaky", "--out", "pictures"],
        ..NOTHING
    };
    whatever_call_of_init_fails_the_same_one_goes_on: Scenario { command: &["init", "mine"], ..NOTHING };
    whatever_call_of_new_fails_the_same_one_goes_on: Scenario { command: &["new", "neuron", "own"], ..NOTHING };
}

/// Checkpoints, the best weights, a validation part is not needed: every kind of file of a folder.
fn experiment() -> String {
    SMALL
        .replace("steps = 12", "steps = 12\nsamples = 7")
        .replace("iterations = 20", "iterations = 40\nbatch = 3\nselect = \"best\"\nwatch = true\nsave_every = 15")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// All files below a folder, by their paths, without the times at which trials ran.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            files.extend(self::files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
            continue;
        }
        let bytes = match name.as_str() {
            "trials.parquet" => {
                let mut bytes = Vec::new();
                ParquetWriter::new(&mut bytes).finish(&mut table(folder, &name).drop_many(TIMES)).unwrap();
                bytes
            }
            // Nothing depends on what it says.
            ".lock" => Vec::new(),
            "report.html" | "manifest.json" => timeless(&fs::read_to_string(path).unwrap()).into_bytes(),
            _ => fs::read(path).unwrap(),
        };
        files.insert(name, bytes);
    }
    files
}

/// A page or manifest without the lines of start, end and place, and without the last cell of a trial's row, its seconds.
fn timeless(text: &str) -> String {
    let varies = |line: &&str| {
        line.contains("\"experiment\": ")
            || [">started<", ">finished<", "\"started\"", "\"finished\""].iter().any(|name| line.contains(name))
    };
    let is_trial = |line: &str| line.strip_prefix("<tr><td>").is_some_and(|rest| rest.find('<') == Some(16));
    let row = |line| if is_trial(line) { line.rsplit_once("<td").map_or(line, |(row, _)| row) } else { line };
    text.lines().filter(|line| !varies(line)).map(row).collect::<Vec<&str>>().join("\n")
}

fn assert_same_files(a: &Path, b: &Path, at: &str) {
    let (a, b) = (files(a), files(b));
    assert!(a.keys().eq(b.keys()), "{:?}\n{:?}\n{at}", a.keys(), b.keys());
    a.iter().for_each(|(name, bytes)| assert!(*bytes == b[name], "{name} differs, {at}"));
}

/// Trials that the tables or journals of a folder have.
fn finished(sandbox: &Sandbox) -> usize {
    let ran = sandbox.runner(["results", "out"]);
    let line = ran.stdout.lines().nth(1).unwrap_or_default().to_string();
    line.split_whitespace().nth(2).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    sandbox.command().args(arguments).output().unwrap().into()
}

/// Tries the calls of a scenario; says how many there are, and how often the command was killed and refused one.
fn tried(scenario: &Scenario) -> Option<(usize, [usize; 2])> {
    let all = std::env::var("RUNNER_FAULTS").is_ok_and(|which| which == "all");
    let begin = Sandbox::with("small.toml", &experiment());
    begin.write("own.toml", TABLE);
    begin.write("own.csv", own(40));
    scenario.before.iter().for_each(|command| assert_eq!(run(&begin, command).status, 0));
    scenario.lost.iter().for_each(|name| fs::remove_file(begin.path(name)).unwrap());
    let sandbox = || {
        let sandbox = Sandbox::empty();
        copy(begin.folder.path(), sandbox.folder.path());
        sandbox
    };
    if scenario.cut {
        let calls = traced(&sandbox(), scenario.command, None)?.calls;
        let before = finished(&begin);
        traced(&begin, scenario.command, Some((calls / 2, Fault::Killed)))?;
        assert!(finished(&begin) > before, "it was killed too early to leave a record");
    }
    // Whoever begins anew keeps nothing.
    let there = if scenario.command.contains(&"--fresh") { 0 } else { finished(&begin) };
    let whole = sandbox();
    let calls = traced(&whole, scenario.command, None)?.calls;
    assert!(calls > 3, "{calls} calls that change files");
    let few: Vec<usize> = (0..4).map(|i| 1 + i * (calls - 1) / 3).collect();
    let mut count = [0; 2];
    for n in if all { (1..=calls).collect() } else { few } {
        for fault in [Fault::Killed, Fault::Refused] {
            let sandbox = sandbox();
            let Traced { status, hit, stderr, .. } = traced(&sandbox, scenario.command, Some((n, fault))).unwrap();
            let at = format!("{fault:?} at call {n} of {calls}, {hit:?}\n{stderr}");
            match (fault, status) {
                (Fault::Killed, None) | (Fault::Refused, Some(0 | 3)) => {}
                // With several workers there may be fewer calls this time.
                (_, Some(0)) if hit.is_none() => {}
                (_, status) => panic!("ended with {status:?}, {at}"),
            }
            if fault == Fault::Refused && status != Some(0) {
                assert!(stderr.contains("error: ") && !stderr.contains("panicked"), "{at}");
            }
            assert!(finished(&sandbox) >= there, "{at}");
            let again = run(&sandbox, scenario.command);
            assert_eq!(again.status, 0, "{at}\nand then: {}", again.stderr);
            assert_same_files(sandbox.folder.path(), whole.folder.path(), &at);
            count[fault as usize] += 1;
        }
    }
    Some((calls, count))
}
