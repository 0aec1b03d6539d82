//! What was resolved prints back as TOML that means the same.

use super::{SMALL, Sandbox, gallery};
use std::path::Path;

fn check(sandbox: &Sandbox, file: &Path, what: &str) -> String {
    let file = file.to_str().unwrap();
    // As many as a race needs.
    sandbox.fine(["check", file, "--print", what, "--seeds", "3,1,0,2,4,5,6,7,8,9,10"]).stdout
}

/// The ids in the comments of what was printed.
fn ids(printed: &str) -> Vec<&str> {
    printed.lines().filter(|line| line.starts_with("# ")).collect()
}

/// Paths are relative to the file that is printed, too.
fn copy_data(sandbox: &Sandbox) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/data");
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        sandbox.write(&format!("data/{}", entry.file_name().display()), std::fs::read(entry.path()).unwrap());
    }
}

#[test]
fn a_resolved_study_has_the_same_digest_and_trials() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    copy_data(&sandbox);
    let mut files = gallery();
    files.push(sandbox.path("small.toml"));
    for file in files {
        let study = check(&sandbox, &file, "study");
        sandbox.write("back.toml", &study);
        let back = sandbox.path("back.toml");
        assert_eq!(check(&sandbox, &back, "study"), study, "{}", file.display());
        assert_eq!(check(&sandbox, &back, "trials"), check(&sandbox, &file, "trials"), "{}", file.display());
    }
}

#[test]
fn a_printed_trial_has_the_same_id_and_needs_no_other_file_but_its_data() {
    let sandbox = Sandbox::empty();
    copy_data(&sandbox);
    for file in gallery() {
        let printed = check(&sandbox, &file, "trials");
        let expected = ids(&printed);
        assert!(expected.len() >= 11, "every seed of each configuration");
        // Neighbours differ in their seed, those further apart in what is swept.
        for (i, trial) in printed.split("# trial ").skip(1).enumerate().filter(|(i, _)| i % 7 < 2) {
            let text = trial.split_once('\n').unwrap().1;
            assert!(!text.contains("[let]") && !text.contains("\"="), "{text}");
            sandbox.write("trial.toml", text);
            let back = sandbox.fine(["check", "trial.toml", "--print", "trials"]).stdout;
            assert_eq!(ids(&back), [expected[i]]);
        }
    }
}

#[test]
fn formulas_are_kept_in_the_study_and_computed_in_the_trial() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let study = sandbox.fine(["check", "small.toml", "--print", "study"]).stdout;
    assert!(study.contains("hidden = 8") && study.contains("size = \"=hidden\""), "{study}");
    let trial = sandbox.fine(["check", "small.toml", "--print", "trials"]).stdout;
    assert!(trial.contains("size = 8") && trial.contains("reset = \"subtract\""), "{trial}");
}

#[test]
fn ids_change_with_what_matters_and_with_nothing_else() {
    let id = |text: &str, options: &[&str]| {
        let sandbox = Sandbox::with("small.toml", text);
        let ran: super::Ran =
            sandbox.command().args(["check", "small.toml", "--print", "trials"]).args(options).output().unwrap().into();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ids(&ran.stdout)[0].to_string()
    };
    let own = id(SMALL, &[]);
    for same in [
        SMALL.replace("name = \"small\"", "name = \"renamed\"\nabout = \"words\""),
        SMALL.replace("hidden = 8", "width = 8").replace("=hidden\"", "=width\""),
        SMALL.replace("[let]\nhidden = 8\n", "").replace("\"=hidden\"", "8"),
        SMALL.replace("seeds = [0]", "seeds = { count = 3 }\nsave = \"none\""),
        SMALL.replace("lr = 1e-2", "lr = 0.01\nbetas = [0.9, 0.999]"),
    ] {
        assert_eq!(id(&same, &[]), own, "{same}");
    }
    for other in [
        SMALL.replace("hidden = 8", "hidden = 9"),
        SMALL.replace("\"hidden_1\"", "\"hidden_one\""),
        SMALL.replace("steps = 12", "steps = 13"),
        SMALL.replace("[\"l1\", \"nmse\"]", "[\"l1\"]"),
        SMALL.replace("seeds = [0]", "seeds = [1]"),
    ] {
        assert_ne!(id(&other, &[]), own, "{other}");
    }
    assert_eq!(id(SMALL, &["--set", "optimizer.lr=0.01"]), own);
    assert_ne!(id(SMALL, &["--set", "optimizer.lr=0.02"]), own);
}

#[test]
fn a_patch_file_means_what_its_rules_say() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let patch = r#"extends = "small.toml"
name = "patched"

[layer.hidden_1]
size = 5

[layer.middle]
after = "hidden_1"
kind = "leaky"
size = 4

[optimizer]
kind = "sgd"

[train]
epochs = 7
"#;
    sandbox.write("patched.toml", patch);
    let trial = sandbox.fine(["check", "patched.toml", "--print", "trials"]).stdout;
    let place = |text: &str| trial.find(text).unwrap_or_else(|| panic!("{text} in {trial}"));
    assert!(place("\"hidden_1\"") < place("\"middle\"") && place("\"middle\"") < place("\"readout\""));
    assert!(place("size = 5") < place("size = 4"));
    place("learn = true");
    place("kind = \"sgd\"\nlr = 0.01\n");
    place("epochs = 7");
    assert!(!trial.contains("iterations ="));
    sandbox.write("removed.toml", "extends = \"patched.toml\"\n\n[layer.middle]\nremove = true\n");
    assert!(!sandbox.fine(["check", "removed.toml", "--print", "trials"]).stdout.contains("middle"));
}
