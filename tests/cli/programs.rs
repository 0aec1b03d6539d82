//! Programs as datasets and metrics. Each way to misbehave ends with a message that names the program, and no process
//! is left. The programs are shell scripts, since a POSIX shell is everywhere.

use super::{Ran, SMALL, Sandbox};
use std::path::Path;

/// A manifest for a shell script beside it.
pub fn manifest(name: &str, provides: &str, more: &str) -> String {
    format!(
        "kind = \"program\"\nprovides = \"{provides}\"\nname = \"{name}\"\nabout = \"A test\"\n\
         command = [\"sh\", \"{name}.sh\"]\n{more}\n"
    )
}

/// The answers of a well-behaved dataset of 2 steps, up to the data.
const HELLO: &str = r#"read line; echo '{"type":"hello","protocol":1}'"#;
const DESCRIBED: &str = r#"read line; echo '{"type":"description","keys":["gain"],"inputs":["x"],"targets":["y"]}'"#;
const DATA: &str = r#"echo '{"type":"data","id":1,"inputs":[[[0.5]],[[1]]],"targets":[[[0.25]],[[0.5]]]}'"#;

/// A small experiment on `walk`, a program that does this after it said which process it is.
pub fn dataset(script: &str) -> Sandbox {
    let data = "kind = \"walk\"\nsteps = 2\ngain = 2.5";
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("kind = \"sqrt\"\nsteps = 12", data));
    let more =
        "timeout_s = 0.5\ninputs = [\"x\"]\ntargets = [\"y\"]\n[params]\ngain = { default = 1.0, about = \"size\" }";
    sandbox.write("plugins/walk.toml", manifest("walk", "dataset", more));
    sandbox.write("plugins/walk.sh", format!("echo $$ >> pids\n{script}\n"));
    sandbox
}

/// A well-behaved dataset that answers every request, with this as its first target.
pub fn echoing(target: &str) -> String {
    let data = DATA.replace("0.25", &format!("'\"{target}\"'"));
    let data = data.replace("\"id\":1", "\"id\":'$(echo \"$line\" | sed 's/.*\"id\":\\([0-9]*\\).*/\\1/')'");
    format!("{HELLO}; {DESCRIBED}; while read line; do case $line in *produce*) {data};; *) exit 0;; esac; done")
}

fn run(sandbox: &Sandbox) -> Ran {
    let mut command = sandbox.command_with_path();
    command.args(["small.toml", "--allow-programs", "--quiet"]);
    command.output().unwrap().into()
}

/// Whether a process is there and not just dead without having been waited for.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']))
}

/// No process that wrote its number is left; the kernel may take a moment for it.
pub fn assert_none_left(sandbox: &Sandbox, expected: usize) {
    let text = std::fs::read_to_string(sandbox.path("plugins/pids")).unwrap_or_default();
    let pids: Vec<&str> = text.lines().collect();
    assert_eq!(pids.len(), expected, "{pids:?}");
    for _ in 0..200 {
        if !pids.iter().any(|pid| lives(pid)) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("left behind: {pids:?}");
}

/// Runs a dataset that misbehaves, and gives what was said of it.
fn misbehaves(script: &str) -> String {
    misbehaves_with(script, 1)
}

fn misbehaves_with(script: &str, processes: usize) -> String {
    let sandbox = dataset(script);
    let ran = run(&sandbox);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert_none_left(&sandbox, processes);
    // The trial's id hangs on the digest of the script.
    ran.stderr.split_once(" failed: ").unwrap().1.trim_end().to_string()
}

#[test]
fn a_program_that_does_not_answer_is_named() {
    assert_eq!(misbehaves("exec sleep 100"), "program `walk` (plugins/walk.toml) did not answer `hello` within 0.5 s");
}

#[test]
fn a_late_answer_is_none() {
    let script = format!("{HELLO}; {DESCRIBED}; read line; sleep 3; {DATA}");
    assert_eq!(misbehaves(&script), "program `walk` (plugins/walk.toml) did not answer `produce` within 0.5 s");
}

#[test]
fn half_a_line_is_shown() {
    let ends = misbehaves(&format!("{HELLO}; {DESCRIBED}; read line; printf '{{\"type\":\"da'"));
    assert_eq!(ends, r#"program `walk` (plugins/walk.toml) stopped in the middle of a line, after `{\"type\":\"da`"#);
    let waits = misbehaves(&format!("{HELLO}; {DESCRIBED}; read line; printf '{{\"type\":\"da'; exec sleep 100"));
    assert_eq!(
        waits,
        "program `walk` (plugins/walk.toml) did not answer `produce` within 0.5 s; 11 bytes of a line without an end came"
    );
}

#[test]
fn another_version_of_the_protocol_is_refused() {
    let said = misbehaves(r#"read line; echo '{"type":"hello","protocol":2}'; read line"#);
    assert_eq!(said, "program `walk` (plugins/walk.toml) speaks version 2 of the protocol, and this runner speaks 1");
}

#[test]
fn other_keys_than_the_manifest_has_are_refused() {
    let keys = r#"read line; echo '{"type":"description","keys":["size"],"inputs":["x"],"targets":["y"]}'; read line"#;
    assert_eq!(
        misbehaves(&format!("{HELLO}; {keys}")),
        "program `walk` (plugins/walk.toml) answered `describe` wrongly: its keys are [size], and [gain] in its manifest"
    );
}

#[test]
fn wrong_shapes_are_shown_beside_the_right_ones() {
    let answer =
        r#"read line; echo '{"type":"data","id":1,"inputs":[[[1],[2]],[[3],[4]]],"targets":[[[1]],[[2]]]}'; read line"#;
    assert_eq!(
        misbehaves(&format!("{HELLO}; {DESCRIBED}; {answer}")),
        "program `walk` (plugins/walk.toml) answered `produce` wrongly: `inputs` have the shape [2, 2, 1], and [2, 1, 1] was asked for"
    );
}

#[test]
fn values_that_are_no_numbers_are_refused() {
    let answer = |value: &str| {
        let answer = format!(
            r#"echo '{{"type":"data","id":1,"inputs":[[[1]],[[{value}]]],"targets":[[[1]],[[2]]]}}'; read line"#
        );
        misbehaves(&format!("{HELLO}; {DESCRIBED}; read line; {answer}"))
    };
    assert_eq!(
        answer("NaN"),
        "program `walk` (plugins/walk.toml) answered `produce` with what is not JSON: it has no NaN and no Infinity"
    );
    assert_eq!(
        answer("1e99"),
        "program `walk` (plugins/walk.toml) answered `produce` wrongly: `inputs` at step 1, sample 0, channel `x` is 1e99, too large for single precision"
    );
    assert_eq!(
        answer("null"),
        "program `walk` (plugins/walk.toml) answered `produce` wrongly: invalid type: null, expected a number"
    );
}

#[test]
fn rubbish_is_shown() {
    assert_eq!(
        misbehaves("read line; echo 'Traceback (most recent call last):'; read line"),
        "program `walk` (plugins/walk.toml) answered `hello` with what is not JSON: `Traceback (most recent call last):`"
    );
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let script = format!("{HELLO}; {HELLO}; read line");
    assert_eq!(
        misbehaves(&script),
        "program `walk` (plugins/walk.toml) answered `describe` wrongly: it is of type `hello`"
    );
    let old = format!("{HELLO}; {DESCRIBED}; read line; {}; read line", DATA.replace("\"id\":1", "\"id\":7"));
    assert_eq!(
        misbehaves(&old),
        "program `walk` (plugins/walk.toml) answered `produce` wrongly: its `id` is 7, and 1 was asked"
    );
}

#[test]
fn a_gigabyte_of_output_is_not_read() {
    let line = misbehaves("read line; exec head -c 1000000000 /dev/zero");
    assert_eq!(line, "program `walk` (plugins/walk.toml) answered `hello` with a line of more than 65536 bytes");
    let errors = misbehaves("read line; head -c 1000000000 /dev/zero >&2; sleep 100");
    assert_eq!(errors, "program `walk` (plugins/walk.toml) wrote more than 16 MiB to its standard error");
}

#[test]
fn lines_that_nobody_asked_for_are_refused() {
    let script = format!("{HELLO}; echo 1; echo 2; echo 3; exec yes");
    assert_eq!(
        misbehaves(&script),
        "program `walk` (plugins/walk.toml) answered `describe` wrongly: it is no object with a `type`"
    );
}

#[test]
fn the_end_of_a_program_is_reported_with_its_last_words() {
    let script = format!("{HELLO}; {DESCRIBED}; read line; echo 'no such file: walks.csv' >&2; exit 3");
    assert_eq!(
        misbehaves(&script),
        "program `walk` (plugins/walk.toml) ended before it answered `produce` (exit status: 3); its standard error ends with: no such file: walks.csv"
    );
    assert_eq!(
        misbehaves(&format!("{HELLO}; kill -9 $$")),
        "program `walk` (plugins/walk.toml) ended before it answered `describe` (signal: 9 (SIGKILL))"
    );
}

#[test]
fn a_program_that_says_why_it_cannot_is_quoted() {
    let script = format!(
        r#"{HELLO}; {DESCRIBED}; read line; echo '{{"type":"error","message":"steps must be even"}}'; read line"#
    );
    assert_eq!(misbehaves(&script), "program `walk` (plugins/walk.toml) reports: steps must be even");
}

#[test]
fn a_program_that_ignores_shutdown_is_killed_and_its_data_count() {
    let sandbox = dataset(&format!("{HELLO}; {DESCRIBED}; read line; {DATA}; while :; do sleep 1; done"));
    let ran = run(&sandbox);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(
        ran.stderr.trim_end(),
        "warning: program `walk` (plugins/walk.toml) did not end within 1 s after `shutdown`, and was killed"
    );
    assert_none_left(&sandbox, 1);
}

#[test]
fn children_of_a_program_end_with_it() {
    // One that fails while its child holds its output open, and one that ends well and leaves a child behind.
    let child = "sleep 100 & echo $! >> pids";
    assert_eq!(
        misbehaves_with(&format!("{child}; {HELLO}; exit 1"), 2),
        "program `walk` (plugins/walk.toml) ended before it answered `describe` (exit status: 1)"
    );
    let sandbox = dataset(&format!("{child}; {HELLO}; {DESCRIBED}; read line; {DATA}; read line"));
    let ran = run(&sandbox);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_none_left(&sandbox, 2);
}

#[test]
fn an_executable_that_is_not_there_is_a_failure_of_the_trial() {
    let sandbox = dataset(
        "program `walk` (plugins/walk.toml) cannot be started: `no-such-shell walk.sh`: No such file or directory (os error 2)",
    );
    let manifest = std::fs::read_to_string(sandbox.path("plugins/walk.toml")).unwrap();
    sandbox.write("plugins/walk.toml", manifest.replace("\"sh\"", "\"no-such-shell\""));
    let ran = run(&sandbox);
    assert_eq!(ran.status, 1);
    assert_eq!(
        ran.stderr.split_once(" failed: ").unwrap().1.trim_end(),
        "program `walk` (plugins/walk.toml) cannot be started: `no-such-shell walk.sh`: No such file or directory (os error 2)"
    );
}

#[cfg(unix)]
#[test]
fn a_run_that_is_told_to_stop_waits_for_no_program_and_takes_it_along() {
    let sandbox = dataset("sleep 100 & echo $! >> pids; wait");
    let manifest = std::fs::read_to_string(sandbox.path("plugins/walk.toml")).unwrap();
    sandbox.write("plugins/walk.toml", manifest.replace("timeout_s = 0.5", "timeout_s = 100"));
    let mut command = sandbox.command_with_path();
    command.args(["small.toml", "--allow-programs", "--quiet"]);
    let mut child = command.spawn().unwrap();
    let started = || std::fs::read_to_string(sandbox.path("plugins/pids")).is_ok_and(|pids| pids.lines().count() == 2);
    while !started() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_none_left(&sandbox, 2);
}

#[test]
fn a_program_that_failed_is_not_asked_again() {
    let sandbox = dataset("exec sleep 100");
    let mut command = sandbox.command_with_path();
    command.args(["small.toml", "--allow-programs", "--quiet", "--seeds", "0..40"]);
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.ends_with("error: 40 trials failed in all\n"), "{}", ran.stderr);
    assert_none_left(&sandbox, 1);
}

#[test]
fn programs_run_only_where_that_is_allowed() {
    let sandbox = dataset(&format!("{HELLO}; {DESCRIBED}; read line; {DATA}; read line"));
    let ran = sandbox.runner(["small.toml"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
    assert!(!sandbox.path("results").exists());
    for arguments in
        [["check", "small.toml"], ["show", "walk"], ["list", "--plugins=plugins"], ["schema", "--plugins=plugins"]]
    {
        assert!(sandbox.fine(arguments).stdout.contains("walk"), "{arguments:?}");
    }
    assert_none_left(&sandbox, 0);
}

#[test]
fn verify_starts_a_program_only_where_that_is_allowed() {
    let sandbox = dataset(&format!("{HELLO}; {DESCRIBED}; read line; {DATA}; read line"));
    assert_eq!(run(&sandbox).status, 0);
    std::fs::remove_dir_all(sandbox.path("cache/runner")).unwrap();
    let ran = sandbox.runner(["verify", "results/small"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    let refused = "program `walk` (plugins/walk.toml) would be started, and programs run only with `--allow-programs`";
    assert!(ran.stderr.contains(refused), "{}", ran.stderr);
    assert_none_left(&sandbox, 1);
    sandbox.fine_with_path(["verify", "results/small", "--allow-programs"]);
    assert_none_left(&sandbox, 2);
}

#[test]
fn a_dataset_is_fetched_once_for_its_digest_keys_and_seed() {
    let script = format!(
        "{HELLO}; {DESCRIBED}; while read line; do case $line in *produce*) echo \"$line\" >> asked; {DATA};; *) exit 0;; esac; done"
    );
    let script = script.replace("\"id\":1", "\"id\":'$(echo \"$line\" | sed 's/.*\"id\":\\([0-9]*\\).*/\\1/')'");
    let sandbox = dataset(&script);
    let asked = || std::fs::read_to_string(sandbox.path("plugins/asked")).unwrap_or_default().lines().count();
    let again = |arguments: &[&str]| {
        let mut command = sandbox.command_with_path();
        command.args(["small.toml", "--allow-programs", "--quiet"]).args(arguments);
        let ran: Ran = command.output().unwrap().into();
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    };
    // Three seeds, each on four learning rates, on as many workers as there are.
    again(&["--seeds", "0..3", "--sweep", "optimizer.lr=1e-4,1e-3,1e-2,1e-1", "--out", "a"]);
    assert_eq!(asked(), 3);
    assert_none_left(&sandbox, 1);
    again(&["--seeds", "0..3", "--out", "b"]);
    again(&["--seeds", "0..3", "--out", "b", "--fresh"]);
    assert_none_left(&sandbox, 1);
    again(&["--seeds", "0..4", "--out", "b"]);
    assert_eq!(asked(), 4);
    again(&["--out", "c", "--set", "data.gain=3"]);
    assert_eq!(asked(), 5);
    again(&["--out", "d", "--set", "data.seed=77"]);
    assert_eq!(asked(), 6);
    sandbox.write("plugins/walk.sh", format!("{script}\n"));
    again(&["--out", "e"]);
    assert_eq!(asked(), 7);
    let first = std::fs::read_to_string(sandbox.path("plugins/asked")).unwrap().lines().next().unwrap().to_string();
    assert!(first.contains(r#""steps":2,"samples":1,"keys":{"gain":2.5}"#), "{first}");
}

#[test]
fn a_damaged_cache_is_fetched_again() {
    let sandbox = dataset(&format!("{HELLO}; {DESCRIBED}; read line; {DATA}; read line"));
    assert_eq!(run(&sandbox).status, 0);
    let file = std::fs::read_dir(sandbox.path("cache/runner")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    sandbox.fine_with_path(["small.toml", "--allow-programs", "--out", "again"]);
    assert_none_left(&sandbox, 2);
}

#[test]
fn the_text_of_a_program_is_a_part_of_a_trials_identity() {
    let script = format!("{HELLO}; {DESCRIBED}; read line; {DATA}; read line");
    let id = |sandbox: &Sandbox| sandbox.fine(["check", "small.toml", "--print", "trials"]).stdout;
    let sandbox = dataset(&script);
    let before = id(&sandbox);
    sandbox.write("plugins/walk.sh", format!("echo $$ >> pids\n{script}\n# changed\n"));
    let after = id(&sandbox);
    assert_ne!(before.lines().next(), after.lines().next());
    let text = std::fs::read_to_string(sandbox.path("plugins/walk.toml")).unwrap();
    sandbox.write("plugins/walk.toml", text.replace("A test", "Another test"));
    assert_ne!(after.lines().next(), id(&sandbox).lines().next());
}

/// A small experiment with the metric `worst`, whose score is what a command prints.
pub fn metric(score: &str) -> Sandbox {
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("\"l1\", \"nmse\"", "\"l1\", \"worst\""));
    sandbox.write("plugins/worst.toml", manifest("worst", "metric", "unit = \"target\"\ntimeout_s = 5"));
    let described = r#"read line; echo '{"type":"description","keys":[]}'"#;
    let answer = format!(
        "while read line; do case $line in *score*) echo \"$line\" >> asked; n=$((n + 1)); {score};; *) exit 0;; esac; done"
    );
    sandbox.write("plugins/worst.sh", format!("echo $$ >> pids\nn=0\n{HELLO}; {described}; {answer}\n"));
    sandbox
}

#[test]
fn a_metric_is_scored_after_training_over_one_process() {
    let sandbox = metric(r#"echo "{\"type\":\"score\",\"id\":$n,\"value\":0.125}""#);
    let set = ["--seeds", "0..5", "--set", "train.metrics=[\"worst\"]"];
    let mut command = sandbox.command_with_path();
    command.args(["small.toml", "--allow-programs"]).args(set);
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("worst (target)") && ran.stdout.contains("0.12500"), "{}", ran.stdout);
    assert_none_left(&sandbox, 1);
    let asked = std::fs::read_to_string(sandbox.path("plugins/asked")).unwrap();
    // Before and after the training of five trials, whose output is shown as it was before.
    assert_eq!(asked.lines().count(), 10);
}

#[test]
fn a_metric_is_in_the_history_where_that_is_said() {
    let sandbox = metric(r#"echo "{\"type\":\"score\",\"id\":$n,\"value\":0.125}""#);
    sandbox.fine_with_path([
        "small.toml",
        "--allow-programs",
        "--set",
        "train.metrics=[{ kind = \"worst\", history = true }]",
    ]);
    let asked = std::fs::read_to_string(sandbox.path("plugins/asked")).unwrap();
    assert_eq!(asked.lines().count(), 22, "20 iterations, before and after");
}

#[test]
fn a_score_that_is_no_number_is_an_error() {
    let sandbox = metric(r#"echo "{\"type\":\"score\",\"id\":$n,\"value\":NaN}""#);
    let ran = run(&sandbox);
    assert_eq!(ran.status, 1);
    assert_eq!(
        ran.stderr.split_once(" failed: ").unwrap().1.trim_end(),
        "program `worst` (plugins/worst.toml) answered `score` with what is not JSON: it has no NaN and no Infinity"
    );
    assert_none_left(&sandbox, 1);
}

#[test]
fn mistakes_in_a_manifest_are_underlined() {
    let sandbox = dataset("");
    sandbox.write(
        "plugins/walk.toml",
        "kind = \"program\"\nprovides = \"datasets\"\nname = \"walk\"\ncommand = [\"./walk\"]\ntimeout = 3\n",
    );
    sandbox.write(
        "plugins/zig.toml",
        "kind = \"program\"\nprovides = \"dataset\"\nname = \"zig\"\ncommand = [\"./zag\"]\nfiles = [\"none.py\"]\n\
         inputs = []\ntargets = [\"y\"]\n[params]\nsteps = { default = 1 }\nexp = { default = 1 }\nmiss = { about = \"\" }\n",
    );
    let said = ["walk", "zig"].map(|name| sandbox.runner(["show", name])).map(|ran| {
        assert_eq!(ran.status, 2);
        ran.stderr
    });
    insta::assert_snapshot!(said.concat());
}
