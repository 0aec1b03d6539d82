//! docs/plugins.md is the protocol: its manifest and every message in it are replayed, and the shipped programs speak it.

use super::plugins::fenced;
use super::{Ran, SMALL, Sandbox};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const PAGE: &str = include_str!("../../docs/plugins.md");

/// Requests and answers of the page, a list for each conversation.
fn conversations() -> Vec<(Vec<String>, Vec<String>)> {
    let mut list: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for line in fenced(PAGE, "json").into_iter().flat_map(str::lines) {
        if line.contains("> {\"type\":\"hello\"") {
            list.push((Vec::new(), Vec::new()));
        }
        let (requests, answers) = list.last_mut().expect("a conversation begins with `hello`");
        match line.split_at(2) {
            ("> ", request) => requests.push(request.into()),
            ("< ", answer) => answers.push(answer.into()),
            _ => panic!("{line}"),
        }
    }
    list
}

/// A message with `null` for what the page leaves open.
fn known(message: &str) -> Value {
    let open = ["SEED", "OUTPUT", "TARGET"].iter().fold(message.to_string(), |text, open| text.replace(open, "null"));
    serde_json::from_str(&open).unwrap_or_else(|error| panic!("{message}: {error}"))
}

/// Replays the answers of a conversation to what the runner asks, and holds its requests against the page.
fn replay(sandbox: &Sandbox, (requests, answers): &(Vec<String>, Vec<String>)) -> Ran {
    let script =
        "n=0; while read -r line; do printf '%s\\n' \"$line\" >> heard; n=$((n + 1)); sed -n ${n}p answers; done";
    sandbox.write("plugins/replay.sh", script);
    sandbox.write("plugins/answers", answers.join("\n") + "\n");
    let mut command = sandbox.command_with_path();
    command.args(["small.toml", "--allow-programs", "--quiet"]);
    let ran: Ran = command.output().unwrap().into();
    let heard = std::fs::read_to_string(sandbox.path("plugins/heard")).unwrap();
    let mut heard: Vec<Value> = heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(heard.len(), requests.len(), "{heard:?}\n{}", ran.stderr);
    for (heard, request) in heard.iter_mut().zip(requests) {
        let said = known(request);
        for key in ["seed", "output", "target"].into_iter().filter(|key| said.get(*key) == Some(&Value::Null)) {
            heard[key] = Value::Null;
        }
        assert_eq!(*heard, said);
    }
    ran
}

/// A small experiment on the page's dataset.
fn walk() -> Sandbox {
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("\"sqrt\"\nsteps = 12", "\"walk\"\nsteps = 2"));
    let manifest = fenced(PAGE, "toml").into_iter().find(|text| text.contains("\"program\"")).unwrap();
    assert!(manifest.contains("[\"python3\", \"walk.py\"]"));
    let manifest = manifest.replace("[\"python3\", \"walk.py\"]", "[\"sh\", \"replay.sh\"]");
    sandbox.write("plugins/walk.toml", format!("{manifest}\n"));
    sandbox
}

#[test]
fn every_message_of_the_page_is_what_the_runner_says_and_understands() {
    let [dataset, metric, error] = <[_; 3]>::try_from(conversations()).unwrap();
    let types = |messages: &[String]| -> Vec<String> {
        messages.iter().map(|m| known(m)["type"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(types(&dataset.0), ["hello", "describe", "produce", "shutdown"]);
    let ran = replay(&walk(), &dataset);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));

    // Scored before training, too, where traces are kept; so the page's conversation is one without traces.
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("\"l1\", \"nmse\"", "\"largest\""));
    let manifest = "kind = \"program\"\nprovides = \"metric\"\nname = \"largest\"\ncommand = [\"sh\", \"replay.sh\"]\n";
    sandbox.write("plugins/largest.toml", manifest);
    let twice = |messages: &[String]| -> Vec<String> {
        let again = |message: &String| match message.contains("\"score\"") {
            true => vec![message.clone(), message.replace("\"id\":1", "\"id\":2")],
            false => vec![message.clone()],
        };
        messages.iter().flat_map(again).collect()
    };
    let ran = replay(&sandbox, &(twice(&metric.0), twice(&metric.1)));
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));

    let ran = replay(&walk(), &error);
    assert_eq!(ran.status, 1);
    assert!(
        ran.stderr.ends_with("program `walk` (plugins/walk.toml) reports: walks.csv is not there\n"),
        "{}",
        ran.stderr
    );
}

fn programs() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/programs").display().to_string()
}

#[test]
fn the_program_in_shell_finds_the_largest_error_of_the_last_step() {
    let mut child = Command::new("sh");
    child.arg("worst_sample.sh").current_dir(programs()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let score = |output: &str, target: &str| {
        format!("{{\"type\":\"score\",\"id\":7,\"keys\":{{}},\"output\":{output},\"target\":{target}}}\n")
    };
    let asked = score("[[[9,9],[9,9]],[[1,2.5],[3,-4e0]]]", "[[[0,0],[0,0]],[[1,2],[3,-2]]]")
        + &score("[[[0.5]]]", "[[[0.5]]]")
        + "{\"type\":\"shutdown\"}\n";
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(said, "{\"type\":\"score\",\"id\":7,\"value\":2}\n{\"type\":\"score\",\"id\":7,\"value\":0}\n");
}

#[test]
fn the_program_in_shell_is_a_metric() {
    let text = SMALL.replace("\"l1\", \"nmse\"", "\"l1\", \"worst_sample\"").replace("steps = 12", "steps = 1");
    let sandbox = Sandbox::with("small.toml", &text);
    let ran = sandbox.fine_with_path(["small.toml", "--allow-programs", "--json", "--plugins", &programs()]);
    let row: Value = serde_json::from_str(&ran.stdout).unwrap();
    let value = |name: &str| row["metrics"][name].as_f64().unwrap();
    // Of one step, sample and channel the largest error is the mean one.
    assert!((value("worst_sample") - value("l1")).abs() < 1e-6, "{row}");
}

#[test]
fn the_program_in_python_is_a_dataset() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("python3 is not here, so its example was not run");
        return;
    }
    let data = "\"walk\"\nsteps = 12\nsamples = 3";
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("\"sqrt\"\nsteps = 12", data));
    let fine = |more: [&str; 2]| {
        let folder = programs();
        let all = ["small.toml", "--allow-programs", "--json", "--plugins", &folder, more[0], more[1]];
        sandbox.fine_with_path(all).stdout
    };
    let loss = |line: String| serde_json::from_str::<Value>(&line).unwrap()["loss"].as_f64().unwrap();
    let (first, again) = (loss(fine(["--out", "a"])), loss(fine(["--out", "b"])));
    assert_eq!(first, again);
    assert_ne!(first, loss(fine(["--set", "data.seed=5"])));
}

/// What a metric is asked of sequences of some lengths: of the step `t` of sequence `i` the target is `100 i + t`.
fn asked(lengths: &[usize], keys: &str) -> Vec<Value> {
    let sandbox = super::programs::metric(r#"echo "{\"type\":\"score\",\"id\":$n,\"value\":0.125}""#);
    let data = format!("\"series\"\npath = \"series.csv\"\ninputs = [\"x\"]\ntargets = [\"y\"]\n{keys}");
    let text = SMALL.replace("\"sqrt\"\nsteps = 12", &data).replace("\"l1\", \"nmse\"", "\"worst\"");
    sandbox.write("small.toml", text.replace("iterations = 20", "iterations = 2"));
    let mut csv = String::from("id,x,y,part\n");
    for (i, length) in lengths.iter().enumerate() {
        let part = if i % 2 == 0 { "train" } else { "test" };
        (0..*length).for_each(|t| csv += &format!("{i},{t},{},{part}\n", 100 * i + t));
    }
    sandbox.write("series.csv", csv);
    sandbox.fine_with_path(["small.toml", "--allow-programs", "--quiet"]);
    let asked = std::fs::read_to_string(sandbox.path("plugins/asked")).unwrap();
    asked.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_metric_gets_of_each_sequence_its_own_steps() {
    let sequences = "series = \"id\"\nhorizon = 0";
    let parts = format!("{sequences}\nsplit = {{ column = \"part\" }}");
    for (lengths, keys, is_ragged) in [
        (&[2, 1, 2][..], sequences, true),
        // As many steps in all as two or three of all sequences would have.
        (&[1, 3], sequences, true),
        (&[3, 1, 2], sequences, true),
        (&[1, 5, 1, 5], sequences, true),
        (&[5, 4, 3, 2, 1], sequences, true),
        (&[2, 2, 2], sequences, false),
        (&[2, 1, 1, 3, 3, 5], &parts, true),
        (&[2, 3, 2, 3], &parts, false),
    ] {
        let asked = asked(lengths, keys);
        assert!(asked.len() >= 2, "{lengths:?}");
        for request in asked {
            let list = |value: &Value| value.as_array().unwrap().clone();
            let (output, target) = (list(&request["output"]), list(&request["target"]));
            assert_eq!(request.get("present").is_some(), is_ragged, "{request}");
            let mut seen = std::collections::BTreeMap::<u64, Vec<u64>>::new();
            for (t, step) in target.iter().enumerate() {
                assert_eq!(list(&output[t]).len(), list(step).len(), "{request}");
                for (place, row) in list(step).iter().enumerate() {
                    let sample = request.get("present").map_or(place as u64, |p| p[t][place].as_u64().unwrap());
                    seen.entry(sample).or_default().push(row[0].as_f64().unwrap() as u64);
                }
            }
            for steps in seen.values() {
                let sequence = steps[0] / 100;
                let whole: Vec<u64> = (0..lengths[sequence as usize] as u64).map(|t| 100 * sequence + t).collect();
                assert_eq!(*steps, whole, "{request}");
            }
        }
    }
}

#[test]
fn the_page_shows_what_a_metric_gets_of_sequences_of_unlike_lengths() {
    let shown = fenced(PAGE, "text").into_iter().find(|text| text.contains("present")).unwrap();
    let shown: Value = serde_json::from_str(&format!("{{{shown}}}")).unwrap();
    let request = &asked(&[2, 1, 2], "series = \"id\"\nhorizon = 0")[0];
    assert_eq!((&request["target"], &request["present"]), (&shown["target"], &shown["present"]));
}
