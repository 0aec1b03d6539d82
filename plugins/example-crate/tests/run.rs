//! The example's program from the outside: its components are like built-in ones everywhere.

use std::path::Path;
use std::process::{Command, Output};

fn runner(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_example-crate")).current_dir(folder).args(arguments).output().unwrap()
}

fn experiment() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("sine.toml")).unwrap()
}

#[test]
fn the_example_trains_and_its_components_show_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sine.toml"), experiment()).unwrap();
    let ran = runner(folder.path(), &["sine.toml"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("max_error (target)"));
    let manifest = std::fs::read_to_string(folder.path().join("results/sine/manifest.json")).unwrap();
    assert!(manifest.contains("\"max_error\""));
    let list = String::from_utf8(runner(folder.path(), &["list"]).stdout).unwrap();
    for name in ["sine", "gain", "max_error", "sign"] {
        let line = list.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap();
        assert!(line.ends_with("(example-crate 0.1.0)"), "{line}");
        assert!(runner(folder.path(), &["show", name]).status.success());
    }
    assert!(String::from_utf8(runner(folder.path(), &["schema"]).stdout).unwrap().contains("layer.gain"));
}

#[test]
fn training_lowers_the_loss_through_every_component() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sine.toml"), experiment()).unwrap();
    let losses = |iterations: &str| -> Vec<f64> {
        let set = format!("train.iterations={iterations}");
        let ran = runner(folder.path(), &["sine.toml", "--json", "--set", &set, "--out", iterations]);
        let lines = String::from_utf8(ran.stdout).unwrap();
        let loss = |line: &str| line.split("\"loss\":").nth(1)?.split(',').next()?.parse().ok();
        lines.lines().filter_map(loss).collect()
    };
    let (before, after) = (losses("0"), losses("100"));
    assert_eq!(before.len(), 3);
    assert!(before.iter().zip(&after).all(|(before, after)| after < before), "{before:?} {after:?}");
}

#[test]
fn a_mistake_in_its_keys_is_underlined() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sine.toml"), experiment().replace("steps   = 40", "steps   = 40\nahead = -1"))
        .unwrap();
    let ran = runner(folder.path(), &["sine.toml"]);
    assert_eq!(ran.status.code(), Some(2));
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("sine.toml:7:9"), "{said}");
    assert!(said.contains("^^ expected a whole number of at least 0"), "{said}");
}

#[test]
fn a_layer_without_a_fused_form_runs_on_the_reference_executor_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sine.toml"), experiment()).unwrap();
    let note = "layer kind `gain` has no fused form, so its whole network runs on the reference executor";
    let run = |command: &[&str]| {
        let ran = runner(folder.path(), command);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{said}");
        (String::from_utf8(ran.stdout).unwrap(), said)
    };
    let ids = |executor: &str| {
        let (printed, said) = run(&["check", "sine.toml", "--print", "trials", "--executor", executor]);
        let ids: Vec<String> = printed.lines().filter(|line| line.starts_with("# trial")).map(String::from).collect();
        (ids, said)
    };
    // What ran is what is identified: both requests mean the same trials.
    let (fused, said) = ids("fused");
    assert!(said.contains(note), "{said}");
    assert_eq!(fused, ids("reference").0);
    assert!(run(&["sine.toml"]).1.contains(note));
    let manifest = std::fs::read_to_string(folder.path().join("results/sine/manifest.json")).unwrap();
    let environment = &manifest[manifest.find("\"environment\"").unwrap()..];
    assert!(environment.contains("\"executor\": \"reference\""), "{environment}");
    assert!(run(&["verify", "results/sine"]).0.contains("identical"));
}
