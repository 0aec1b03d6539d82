//! What a study lives through: kills at any moment, half-written journals, and checkpoints of long trials.

use super::folder::{journal_records, wait_for};
use super::run::{assert_same_content, assert_same_tables, table};
use super::{SMALL, Sandbox};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Batches in a new order each epoch, the best weights kept: all that a checkpoint must bring back.
fn batches(iterations: usize) -> String {
    let train = format!("iterations = {iterations}\nbatch = 3\nselect = \"best\"\nwatch = true\nsave_every = 100");
    SMALL.replace("steps = 12", "steps = 12\nsamples = 7").replace("iterations = 20", &train)
}

fn start(sandbox: &Sandbox, options: &[&str]) -> Child {
    let mut command = sandbox.command();
    command.arg("small.toml").args(options).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn checkpoint_is_there(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder.join("checkpoints")).into_iter().flatten();
    entries.filter_map(Result::ok).any(|entry| entry.path().extension().is_some_and(|e| e == "state"))
}

#[test]
fn a_trial_that_is_killed_goes_on_from_its_checkpoint_with_the_same_bits() {
    let cases: [(&str, &[&str]); 3] = [
        ("fused", &[]),
        ("reference", &["--executor", "reference"]),
        ("torch", &["--set", "random.generator=torch", "--set", "optimizer.kind=rmsprop"]),
    ];
    for (out, options) in cases {
        let iterations = if out == "reference" { 1500 } else { 20_000 };
        let sandbox = Sandbox::with("small.toml", &batches(iterations));
        let folder = sandbox.path(out);
        let run = |out| [&["--out", out, "--jobs", "1"][..], options].concat();
        let child = start(&sandbox, &run(out));
        wait_for(|| checkpoint_is_there(&folder));
        kill(child);
        assert!(checkpoint_is_there(&folder), "it ended before it could be killed");
        for out in [out, "whole"] {
            assert!(start(&sandbox, &run(out)).wait().unwrap().success());
        }
        assert_same_content(&folder, &sandbox.path("whole"));
        assert!(!checkpoint_is_there(&folder), "what is finished needs no checkpoint");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_trial_goes_on_where_it_was_also_without_save_every() {
    let text = batches(40_000).replace("save_every = 100", "");
    let sandbox = Sandbox::with("small.toml", &text);
    let mut child = start(&sandbox, &["--out", "cut"]);
    wait_for(|| sandbox.path("cut/manifest.json").exists());
    std::thread::sleep(Duration::from_millis(100));
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(checkpoint_is_there(&sandbox.path("cut")));
    sandbox.fine(["small.toml", "--out", "cut"]);
    sandbox.fine(["small.toml", "--out", "whole"]);
    assert_same_content(&sandbox.path("cut"), &sandbox.path("whole"));
}

#[test]
fn a_checkpoint_changes_no_id_and_a_damaged_one_no_result() {
    let sandbox = Sandbox::with("small.toml", &batches(300));
    sandbox.fine(["small.toml", "--out", "whole"]);
    sandbox.fine(["small.toml", "--set", "train.save_every=1h", "--out", "rarely"]);
    assert_same_content(&sandbox.path("whole"), &sandbox.path("rarely"));
    let trials = table(&sandbox.path("whole"), "trials.parquet");
    let id = trials.column("trial").unwrap().str().unwrap().get(0).unwrap().to_string();
    sandbox.write(&format!("damaged/checkpoints/{id}.state"), "runnerc1 but nothing that was ever written");
    sandbox.fine(["small.toml", "--out", "damaged"]);
    assert_same_content(&sandbox.path("whole"), &sandbox.path("damaged"));
}

#[test]
fn how_often_a_trial_is_saved_takes_a_time_or_a_number() {
    let sandbox =
        Sandbox::with("small.toml", &SMALL.replace("iterations = 20", "iterations = 20\nsave_every = \"often\""));
    let ran = sandbox.runner(["check", "small.toml"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

/// Numbers that look random and are the same each time.
struct Moments(u64);

impl Moments {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// `RUNNER_KILLS=200` is the long form.
#[test]
fn killed_at_any_moment_a_study_ends_like_one_that_was_not() {
    let kills = std::env::var("RUNNER_KILLS").map_or(8, |count| count.parse::<u32>().unwrap());
    let sandbox = Sandbox::with("small.toml", &batches(400));
    fn options(out: &str) -> [&str; 6] {
        ["--seeds", "0..40", "--jobs", "2", "--out", out]
    }
    assert!(start(&sandbox, &options("whole")).wait().unwrap().success());
    let mut moments = Moments(7);
    let (mut killed, mut rounds) = (0, 0);
    while killed < kills {
        let out = format!("killed_{rounds}");
        rounds += 1;
        loop {
            let mut child = start(&sandbox, &options(&out));
            if killed < kills {
                std::thread::sleep(Duration::from_millis(moments.below(80)));
            }
            if killed == kills || child.try_wait().unwrap().is_some() {
                assert!(child.wait().unwrap().success());
                break;
            }
            kill(child);
            killed += 1;
        }
        assert_same_content(&sandbox.path(&out), &sandbox.path("whole"));
        std::fs::remove_dir_all(sandbox.path(&out)).unwrap();
    }
}

/// A folder whose journal has some records, and its bytes.
fn killed_study() -> (Sandbox, Vec<u8>) {
    let sandbox = Sandbox::with("small.toml", &batches(400));
    let child = start(&sandbox, &["--seeds", "0..2000", "--jobs", "1"]);
    wait_for(|| journal_records(&sandbox) >= 3);
    kill(child);
    let journal = std::fs::read(sandbox.path("results/small/journal/0.log")).unwrap();
    (sandbox, journal)
}

#[test]
fn a_journal_cut_anywhere_in_its_last_record_costs_one_trial_and_says_so() {
    let (sandbox, journal) = killed_study();
    let mark = b"\xd1rec";
    let starts: Vec<usize> = (0..journal.len() - 4).filter(|&at| &journal[at..at + 4] == mark).collect();
    let (second, third) = (starts[1], starts[2]);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--out", "whole"]);
    let length = third - second;
    for cut in [1, 3, 4, 7, 8, 15, 16, 17, length / 2, length - 1] {
        sandbox.write("results/small/journal/0.log", &journal[..second + cut]);
        let _ = std::fs::remove_file(sandbox.path("results/small/trials.parquet"));
        let ran = sandbox.fine(["small.toml", "--seeds", "0..3"]);
        let said = format!("the last {cut} bytes are half a record");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
        assert!(ran.stderr.contains("1 of 3 trials are there already"), "{}", ran.stderr);
        // Trials that were in flight when the study was killed may have left weights, so only tables are compared.
        assert_same_tables(&sandbox.path("results/small"), &sandbox.path("whole"));
    }
}

#[test]
fn a_record_that_is_damaged_in_the_middle_is_reported_and_its_trial_run_again() {
    let (sandbox, mut journal) = killed_study();
    journal[300] ^= 0x40;
    sandbox.write("results/small/journal/0.log", &journal);
    let ran = sandbox.fine(["small.toml", "--seeds", "0..3"]);
    assert!(ran.stderr.contains("are damaged; the trials whose records they held are run again"), "{}", ran.stderr);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--out", "whole"]);
    let rows = |out: &str| {
        let trials = table(&sandbox.path(out), "trials.parquet").head(Some(3));
        trials.drop_many(["started", "finished", "duration_s"])
    };
    assert!(rows("results/small").equals_missing(&rows("whole")));
}

#[test]
fn a_journal_of_a_later_version_is_refused_and_left_alone() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml"]);
    sandbox.write("results/small/journal/0.log", "runnerj2 and what a later version writes");
    let ran = sandbox.runner(["small.toml", "--seeds", "0..2"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
    assert!(sandbox.path("results/small/journal/0.log").exists());
}

#[test]
fn weights_that_are_not_whole_are_made_again() {
    let (sandbox, _) = killed_study();
    let weights = std::fs::read_dir(sandbox.path("results/small/weights")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&weights, "torn").unwrap();
    let ran = sandbox.fine(["small.toml", "--seeds", "0..3"]);
    assert!(ran.stderr.contains("is not whole; its trial is run again"), "{}", ran.stderr);
}

#[test]
fn a_finished_study_has_nothing_to_do_and_no_file_is_touched() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..3"]);
    let out = sandbox.path("results/small");
    let files = ["trials.parquet", "history.parquet", "manifest.json", "report.html"];
    let times = || files.map(|name| std::fs::metadata(out.join(name)).unwrap().modified().unwrap());
    let before = times();
    let again = sandbox.fine(["small.toml", "--seeds", "0..3"]);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    assert_eq!(times(), before);
    // Fewer seeds remove nothing, and the folder goes on saying what all are.
    let fewer = sandbox.fine(["small.toml", "--seeds", "0..2"]);
    assert!(fewer.stdout.contains("nothing to do"), "{}", fewer.stdout);
    assert_eq!(times(), before);
    // Without its page a study is not what it was.
    std::fs::remove_file(out.join("report.html")).unwrap();
    sandbox.fine(["small.toml", "--seeds", "0..3"]);
    assert!(out.join("report.html").exists());
}

#[test]
fn the_hold_of_a_dead_process_is_taken_over() {
    let (sandbox, _) = killed_study();
    let ran = sandbox.fine(["small.toml", "--seeds", "0..3"]);
    assert!(ran.stderr.contains("ended without closing the folder; what it had finished is kept"), "{}", ran.stderr);
    let again = sandbox.fine(["small.toml", "--seeds", "0..3"]);
    assert!(!again.stderr.contains("without closing"), "{}", again.stderr);
}

#[test]
fn every_record_can_be_synced_before_the_next() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--sync", "every", "--out", "every"]);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--out", "group"]);
    assert_same_content(&sandbox.path("every"), &sandbox.path("group"));
}

/// A clock that was ahead when a study was killed, and is right when it goes on: everything it left is from the future.
#[test]
fn a_clock_that_was_set_back_costs_nothing() {
    let (sandbox, _) = killed_study();
    let folder = sandbox.path("results/small");
    let ahead = std::time::SystemTime::now() + Duration::from_secs(100 * 365 * 86_400);
    for file in ["manifest.json", "journal/0.log", ".lock"] {
        let file = std::fs::OpenOptions::new().append(true).open(folder.join(file)).unwrap();
        file.set_modified(ahead).unwrap();
    }
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let started = manifest.lines().find(|line| line.contains("\"started\"")).unwrap();
    let later = manifest.replace(started, "  \"started\": \"2126-01-01T00:00:00Z\",");
    std::fs::write(folder.join("manifest.json"), later).unwrap();
    sandbox.fine(["small.toml", "--seeds", "0..5"]);
    sandbox.fine(["small.toml", "--seeds", "0..5", "--out", "whole"]);
    assert_same_tables(&folder, &sandbox.path("whole"));
    let trials = table(&folder, "trials.parquet");
    let micros = |name: &str| trials.column(name).unwrap().cast(&polars::prelude::DataType::Int64).unwrap();
    let (started, finished) = (micros("started"), micros("finished"));
    let pairs = started.i64().unwrap().iter().zip(finished.i64().unwrap().iter());
    assert!(pairs.into_iter().all(|(from, to)| from <= to), "no trial ends before it began");
    assert!(sandbox.fine(["small.toml", "--seeds", "0..5"]).stdout.contains("nothing to do"));
    sandbox.fine(["results"]);
}

/// Where nothing can be written: a folder without the right to, or, for those whom no right is denied, one of the kernel's.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_refused_before_anything_is_computed() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::with("small.toml", &batches(10_000_000));
    let mut closed = sandbox.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::create_dir(closed.join("probe")).is_ok() {
        closed = "/sys/kernel".into();
    }
    let out = closed.join("out");
    let ran = sandbox.runner(["small.toml", "--out", out.to_str().unwrap()]);
    assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(&format!("error: {}: ", out.display())), "{}", ran.stderr);
    assert!(ran.stderr.contains("`--out DIR` names a folder that can be written"), "{}", ran.stderr);
    assert!(!out.exists());
}

/// Results that may only be read are read by everything that only reads.
#[cfg(unix)]
#[test]
fn a_finished_folder_that_may_only_be_read_has_nothing_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..3"]);
    let folder = sandbox.path("results/small");
    let set = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o555);
    assert!(sandbox.fine(["small.toml", "--seeds", "0..3"]).stdout.contains("nothing to do"));
    sandbox.fine(["verify", "results/small"]);
    sandbox.fine(["results"]);
    let more = sandbox.runner(["small.toml", "--seeds", "0..4"]);
    set(0o755);
    // Those whom no right is denied go on.
    if more.status != 0 {
        assert_eq!(more.status, 2, "{}", more.stderr);
        assert!(more.stderr.contains("names a folder that can be written"), "{}", more.stderr);
    }
}
