//! The result folder over its life: growing, refusing, signals, kills, and a disk that fills up.

use super::run::{assert_same_content, table};
use super::{Ran, SMALL, Sandbox};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_grown_folder_equals_one_made_at_once() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "3..5", "--out", "grown"]);
    sandbox.fine(["small.toml", "--seeds", "0..2", "--out", "grown"]);
    sandbox.fine(["small.toml", "--seeds", "0..5", "--out", "grown"]);
    sandbox.fine(["small.toml", "--seeds", "0..5", "--out", "whole"]);
    assert_same_content(&sandbox.path("grown"), &sandbox.path("whole"));
}

#[test]
fn finished_trials_are_not_run_again_and_fewer_seeds_remove_nothing() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..3"]);
    let out = sandbox.path("results/small");
    let before = table(&out, "trials.parquet");
    let again = sandbox.fine(["small.toml", "--seeds", "1"]);
    assert!(again.stderr.contains("1 of 1 trials are there already"), "{}", again.stderr);
    assert!(table(&out, "trials.parquet").equals_missing(&before), "times and rows stay");
}

#[test]
fn another_experiment_is_refused_and_fresh_begins_anew() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..3"]);
    sandbox.write("results/small/notes.txt", "keep me");
    let refused = sandbox.runner(["small.toml", "--set", "optimizer.lr=0.5"]);
    assert_eq!(refused.status, 2);
    insta::assert_snapshot!(refused.stderr);
    assert_eq!(table(&sandbox.path("results/small"), "trials.parquet").height(), 3);
    sandbox.fine(["small.toml", "--set", "optimizer.lr=0.5", "--fresh"]);
    let out = sandbox.path("results/small");
    assert_eq!(table(&out, "trials.parquet").height(), 1);
    assert_eq!(std::fs::read_dir(out.join("weights")).unwrap().count(), 1, "old weights are gone");
    assert_eq!(std::fs::read_to_string(out.join("notes.txt")).unwrap(), "keep me");
}

/// Each change with the line that names it.
#[test]
fn a_refused_folder_says_which_keys_files_and_plugins_differ() {
    let sandbox = Sandbox::empty();
    let rows: String = (0..30).map(|i| format!("{},{}\n", i, (i * 7) % 11)).collect();
    sandbox.write("rows.csv", format!("x,y\n{rows}"));
    sandbox.write("more.csv", format!("x,y\n{rows}30,1\n"));
    sandbox.fine(["new", "neuron", "mine"]);
    let data = "kind = \"table\"\npath = \"rows.csv\"\ninputs = [\"x\"]\ntargets = [\"y\"]\nsteps = 3\n";
    let text = SMALL.replace("kind = \"sqrt\"\nsteps = 12\n", data);
    let text = text.replace("kind = \"leaky\"\nsize = \"=hidden\"", "kind = \"mine\"\nsize = \"=hidden\"");
    sandbox.write("small.toml", text);
    sandbox.fine(["small.toml", "--out", "out", "--sweep", "optimizer.lr=0.01,0.02"]);
    let refused = |options: &[&str]| -> String {
        let mut command = sandbox.command();
        let command = command.args(["small.toml", "--out", "out", "--sweep", "optimizer.lr=0.01"]).args(options);
        let ran: Ran = command.output().unwrap().into();
        assert_eq!(ran.status, 2, "{options:?}: {}", ran.stderr);
        ran.stderr
    };
    let lines = |stderr: &str| -> Vec<String> {
        let lines = stderr.lines().filter(|line| line.starts_with("  ") && !line.starts_with("  = "));
        lines.map(|line| line.trim().to_string()).collect()
    };
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--set", "train.iterations=30"], &["train.iterations: 20 -> 30"]),
        (&["--set", "let.hidden=9"], &["layer.hidden_1.size: 8 -> 9"]),
        (&["--set", "train.batch=3", "--set", "run.seeds=[4]"], &["train.batch: 1 -> 3"]),
        (&["--sweep", "train.batch=1,2"], &["what is swept: optimizer.lr -> optimizer.lr, train.batch"]),
        (&["--executor", "reference"], &["executor: fused -> reference"]),
        (&["--set", "data.path=more.csv"], &["data.path: rows.csv -> more.csv"]),
        (&["--set", "layer.readout.output=spikes"], &["layer.readout.output: \"membrane\" -> \"spikes\""]),
    ];
    for (options, expected) in cases {
        assert_eq!(lines(&refused(options)), expected, "{options:?}");
    }
    let kinds = lines(&refused(&["--set", "optimizer.kind=sgd", "--set", "layer.hidden_1.kind=leaky"]));
    assert_eq!(kinds[..2], ["layer.hidden_1.kind: \"mine\" -> \"leaky\"", "optimizer.kind: \"adam\" -> \"sgd\""]);
    assert!(kinds.len() == 7 && kinds[6].starts_with("and ") && kinds[6].ends_with(" more"), "{kinds:?}");
    sandbox.write("rows.csv", format!("x,y\n{rows}30,1\n"));
    let plugin = std::fs::read_to_string(sandbox.path("plugins/mine.toml")).unwrap();
    sandbox.write("plugins/mine.toml", format!("{plugin}\n# another text\n"));
    assert_eq!(lines(&refused(&[])), ["the file rows.csv changed", "the text of plugin `mine` changed"]);
}

#[test]
fn fresh_never_deletes_outside_of_the_folder() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml"]);
    sandbox.write("results/precious.txt", "keep me");
    let path = sandbox.path("results/small/manifest.json");
    let manifest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, manifest.replace("\"report.html\"", "\"../precious.txt\"")).unwrap();
    sandbox.fine(["small.toml", "--fresh"]);
    assert!(sandbox.path("results/precious.txt").exists());
}

#[test]
fn report_makes_the_same_page_again_from_the_folder_alone() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..6"]);
    let page = sandbox.path("results/small/report.html");
    let before = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(sandbox.path("small.toml")).unwrap();
    std::fs::remove_file(&page).unwrap();
    std::fs::remove_dir_all(sandbox.path("results/small/plots")).unwrap();
    sandbox.fine(["report", "results/small"]);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), before);
    let nothing = sandbox.runner(["report", "nowhere"]);
    assert_eq!(nothing.status, 2);
    insta::assert_snapshot!(nothing.stderr);
}

#[test]
fn only_the_best_weights_stay_if_asked() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..4", "--set", "run.save=best"]);
    assert_eq!(std::fs::read_dir(sandbox.path("results/small/weights")).unwrap().count(), 1);
    sandbox.fine(["small.toml", "--seeds", "0..4", "--set", "run.save=none", "--out", "none"]);
    assert_eq!(std::fs::read_dir(sandbox.path("none/weights")).unwrap().count(), 0);
}

/// An experiment that takes long enough to be interrupted.
fn long(iterations: usize) -> Sandbox {
    Sandbox::with("small.toml", &SMALL.replace("iterations = 20", &format!("iterations = {iterations}")))
}

pub fn wait_for(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing happened for a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn journal_records(sandbox: &Sandbox) -> usize {
    let files = std::fs::read_dir(sandbox.path("results/small/journal"));
    let bytes = files.into_iter().flatten().flat_map(|file| std::fs::read(file.unwrap().path()).unwrap());
    bytes.collect::<Vec<u8>>().windows(4).filter(|bytes| *bytes == b"\xd1rec").count()
}

/// Whether these tests were started where a signal is ignored, as in the background of a script; so is it then by all that
/// they start.
fn is_ignored(signal: &str) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    let number = ["HUP", "INT"].iter().position(|name| *name == signal).unwrap_or(14);
    u64::from_str_radix(mask.trim(), 16).unwrap() >> number & 1 == 1
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_within_a_second_and_keeps_what_is_finished() {
    for signal in ["INT", "TERM", "HUP"].into_iter().filter(|signal| !is_ignored(signal)) {
        let sandbox = long(3000);
        let child = sandbox
            .command()
            .args(["small.toml", "--seeds", "0..1000", "--jobs", "2"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for(|| journal_records(&sandbox) >= 2);
        let begin = Instant::now();
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(ran.status, 130);
        let trials = table(&sandbox.path("results/small"), "trials.parquet").height();
        assert!(trials >= 2);
        let said = format!("interrupted: {trials} of 1000 trials are finished and kept");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
        let manifest = std::fs::read_to_string(sandbox.path("results/small/manifest.json")).unwrap();
        assert!(manifest.contains("\"interrupted\""));
    }
}

#[test]
fn a_killed_run_goes_on_and_ends_like_one_that_was_not() {
    let sandbox = long(10_000);
    let mut child = sandbox
        .command()
        .args(["small.toml", "--seeds", "0..12", "--jobs", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| journal_records(&sandbox) >= 2 || sandbox.path("results/small/trials.parquet").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let finished = journal_records(&sandbox);
    let ran = sandbox.fine(["small.toml", "--seeds", "0..12"]);
    if finished > 0 {
        assert!(ran.stderr.contains("trials are there already"), "{}", ran.stderr);
    }
    sandbox.fine(["small.toml", "--seeds", "0..12", "--out", "whole"]);
    assert_same_content(&sandbox.path("results/small"), &sandbox.path("whole"));
}

#[test]
fn rows_left_by_a_kill_between_two_tables_are_dropped() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..2"]);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--out", "more"]);
    // The history has three trials, trials.parquet still two.
    std::fs::copy(sandbox.path("more/history.parquet"), sandbox.path("results/small/history.parquet")).unwrap();
    sandbox.fine(["small.toml", "--seeds", "0..3"]);
    assert_same_content(&sandbox.path("results/small"), &sandbox.path("more"));
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_is_reported_and_what_was_finished_is_kept() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    // Files may have a few blocks at most, and the signal for it is ignored, so that writing fails as on a full disk.
    let full = |blocks: u32| -> Ran {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" small.toml --seeds 0..4 --jobs 1");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_runner")]).current_dir(sandbox.folder.path());
        command.output().unwrap().into()
    };
    let ran = full(20);
    assert_eq!(ran.status, 3, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("File too large") && ran.stderr.contains("finished trials are kept"), "{}", ran.stderr);
    let leftovers: Vec<_> = walk(&sandbox.path("results")).into_iter().filter(|name| name.ends_with(".part")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    sandbox.fine(["small.toml", "--seeds", "0..4"]);
    sandbox.fine(["small.toml", "--seeds", "0..4", "--out", "whole"]);
    assert_same_content(&sandbox.path("results/small"), &sandbox.path("whole"));
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(walk(&path));
        } else {
            names.push(path.to_string_lossy().into_owned());
        }
    }
    names
}

#[test]
fn a_second_run_in_the_same_folder_is_refused_while_the_first_goes_on() {
    let sandbox = long(1_000_000);
    let mut child = sandbox.command().arg("small.toml").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(|| sandbox.path("results/small/manifest.json").exists());
    let second = sandbox.runner(["small.toml"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(second.status, 2);
    let said = format!("error: results/small is in use by process {} on ", child.id());
    assert!(second.stderr.starts_with(&said), "{}", second.stderr);
    assert!(second.stderr.contains("wait for it to end, or use `--out DIR`"), "{}", second.stderr);
}

#[test]
fn failed_trials_are_run_again_only_when_asked() {
    let sandbox =
        Sandbox::with("small.toml", &SMALL.replace("kind = \"adam\"\nlr = 1e-2", "kind = \"sgd\"\nlr = 1e30"));
    assert_eq!(sandbox.runner(["small.toml"]).status, 1);
    let again = sandbox.runner(["small.toml"]);
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("there already"), "{}", again.stderr);
    let retried = sandbox.runner(["small.toml", "--retry", "failed"]);
    assert!(!retried.stderr.contains("there already"), "{}", retried.stderr);
    assert_eq!(table(&sandbox.path("results/small"), "trials.parquet").height(), 1);
}

/// Readers ask who writes to a folder, and a run that starts at that moment waits for them.
#[test]
fn looking_at_a_folder_never_makes_a_run_fail_that_starts_then() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out"]);
    let lock = std::fs::File::open(sandbox.path("out/.lock")).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // As a crowd of readers does: held for an instant, again and again.
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                if lock.try_lock_shared().is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    lock.unlock().unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        });
        let runs: Vec<_> =
            (1..20).map(|n| sandbox.runner(["small.toml", "--out", "out", "--seeds", &format!("0..{n}")])).collect();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        runs.iter().for_each(|ran| assert_eq!(ran.status, 0, "{}", ran.stderr));
    });
}

/// Of several experiments that begin at once in one folder one begins, whoever is first; the others change nothing of it.
#[test]
fn of_two_experiments_that_begin_at_once_in_one_folder_one_begins() {
    for round in 0..12 {
        let sandbox = Sandbox::with("small.toml", SMALL);
        let begin = |lr: &str| {
            let mut command = sandbox.command();
            command.args(["small.toml", "--out", "out", "--seeds", "0..20", "--set", &format!("optimizer.lr={lr}")]);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        let children = ["0.01", "0.02", "0.03"].map(begin);
        let ended = children.map(|child| super::Ran::from(child.wait_with_output().unwrap()));
        assert_eq!(ended.iter().filter(|ran| ran.status == 0).count(), 1, "round {round}");
        for ran in ended.iter().filter(|ran| ran.status != 0) {
            assert_eq!(ran.status, 2, "{}", ran.stderr);
            let said =
                ["is in use by", "holds results of another experiment"].iter().any(|text| ran.stderr.contains(text));
            assert!(said, "{}", ran.stderr);
        }
        let won = ["0.01", "0.02", "0.03"].into_iter().zip(&ended).find(|(_, ran)| ran.status == 0).unwrap().0;
        sandbox.fine(["small.toml", "--out", "alone", "--seeds", "0..20", "--set", &format!("optimizer.lr={won}")]);
        super::run::assert_same_content(&sandbox.path("out"), &sandbox.path("alone"));
    }
}
