//! Files that are no plain files, and tables that are strange.

use super::*;
use std::time::{Duration, Instant};

/// A small experiment on a table.
const TABLE: &str = r#"name = "t"
[data]
kind = "table"
path = "d.csv"
inputs = ["x"]
targets = ["y"]
steps = 1
[data.split]
by = "order"
test = 0.25
[[layer]]
name = "out"
kind = "linear"
size = 1
[optimizer]
kind = "sgd"
lr = 0.1
[train]
epochs = 2
batch = 4
loss = "mse"
[run]
seeds = [0]
"#;

const ROWS: &str = "x,y\n0,1\n1,3\n2,5\n3,7\n4,9\n5,11\n6,13\n7,15\n";

fn table() -> Sandbox {
    let sandbox = Sandbox::with("t.toml", TABLE);
    sandbox.write("d.csv", ROWS);
    sandbox
}

fn pipe(sandbox: &Sandbox, name: &str) {
    let _ = std::fs::remove_file(sandbox.path(name));
    assert!(Command::new("mkfifo").arg(sandbox.path(name)).status().unwrap().success());
}

/// What a command says and gives, which is killed where it hangs.
fn soon<const N: usize>(sandbox: &Sandbox, arguments: [&str; N]) -> Ran {
    let mut child = sandbox.command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{arguments:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap().into()
}

fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
    words.iter().for_each(|word| assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr));
}

#[cfg(unix)]
#[test]
fn pipes_devices_sockets_and_folders_are_no_data() {
    let sandbox = table();
    pipe(&sandbox, "p.csv");
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("s.csv")).unwrap();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    for (name, what) in [("p.csv", "a pipe"), ("s.csv", "a socket"), ("/dev/zero", "a device"), ("folder", "a folder")]
    {
        let set = format!("data.path=\"{name}\"");
        refused(&soon(&sandbox, ["check", "t.toml", "--set", &set]), &[name, what]);
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_no_weights_experiments_and_parents() {
    let sandbox = table();
    pipe(&sandbox, "pipe.toml");
    pipe(&sandbox, "w.safetensors");
    refused(&soon(&sandbox, ["check", "pipe.toml"]), &["a pipe"]);
    refused(&soon(&sandbox, ["check", "/dev/zero"]), &["a device"]);
    for name in ["pipe.toml", "/dev/zero"] {
        sandbox.write("child.toml", format!("extends = \"{name}\"\n{TABLE}"));
        refused(&soon(&sandbox, ["check", "child.toml"]), &[name, "not a file"]);
    }
    for name in ["w.safetensors", "/dev/zero"] {
        sandbox.write("w.toml", format!("{TABLE}\n[init]\nweights = \"{name}\"\n"));
        refused(&soon(&sandbox, ["check", "w.toml"]), &[name, "not a file"]);
    }
}

#[cfg(unix)]
#[test]
fn pipes_in_a_folder_of_results_hang_nobody() {
    let sandbox = table();
    sandbox.fine(["run", "t.toml", "--out", "out"]);
    pipe(&sandbox, "out/.lock");
    for command in ["verify", "results", "report", "explain"] {
        let ran = match command {
            "explain" => soon(&sandbox, ["explain", "t.toml", "--out", "out"]),
            _ => soon(&sandbox, [command, "out"]),
        };
        assert!((0..=3).contains(&ran.status), "{command}: {} {}", ran.status, ran.stderr);
    }
    let ran = soon(&sandbox, ["run", "t.toml", "--out", "out", "--seeds", "1"]);
    assert!(ran.status > 0 && ran.stderr.contains("a pipe"), "{}", ran.stderr);
    for name in ["/dev/zero", "pipe"] {
        std::fs::remove_file(sandbox.path("out/manifest.json")).unwrap();
        match name {
            "pipe" => pipe(&sandbox, "out/manifest.json"),
            _ => std::os::unix::fs::symlink(name, sandbox.path("out/manifest.json")).unwrap(),
        }
        for command in ["verify", "results", "report"] {
            let ran = soon(&sandbox, [command, "out"]);
            let said = command == "results" || ran.stderr.contains("not a file");
            assert!(ran.status > 0 && said, "{command} {name}: {} {}", ran.status, ran.stderr);
        }
    }
}

/// A command with a pipe for its standard input.
fn piped<const N: usize>(sandbox: &Sandbox, arguments: [&str; N], text: &str) -> Ran {
    let mut command = sandbox.command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read all of that.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes());
    child.wait_with_output().unwrap().into()
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_refused_by_a_run_and_read_by_predict() {
    let sandbox = table();
    let ran = piped(&sandbox, ["run", "t.toml", "--out", "out", "--set", "data.path=/dev/stdin"], ROWS);
    refused(&ran, &["/dev/stdin", "a pipe", "write them to a file"]);
    sandbox.fine(["run", "t.toml", "--out", "out"]);
    let ran = piped(&sandbox, ["predict", "out", "--data", "/dev/stdin"], "x\n1\n2\n");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}
