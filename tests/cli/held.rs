//! What a run, a report or a look into a folder never does: start programs of strangers, write or delete elsewhere.

use super::{Ran, SMALL, Sandbox};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use std::path::{Path, PathBuf};

/// The manifest of a folder.
fn manifest(folder: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn no_program_of_the_repository_is_started_and_its_commit_is_still_known() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write(".git/HEAD", "ref: refs/heads/main\n");
    sandbox.write(".git/refs/heads/main", format!("{COMMIT}\n"));
    sandbox.write(".git/objects/info/none", "");
    let pwned = sandbox.path("PWNED");
    let config = format!("[core]\n\trepositoryformatversion = 0\n\tfsmonitor = touch {}; false\n", pwned.display());
    sandbox.write(".git/config", config);
    sandbox.fine_with_path(["small.toml", "--out", "out"]);
    sandbox.fine_with_path(["verify", "out"]);
    assert!(!pwned.exists());
    assert!(!sandbox.path(".git/index").exists());
    let environment = &manifest(&sandbox.path("out"))["environment"];
    assert_eq!(environment["git_commit"], COMMIT);
    assert!(environment["git_dirty"].is_null());
}

#[test]
fn the_commit_is_known_in_worktrees_packed_and_detached() {
    let sandbox = Sandbox::empty();
    sandbox.write("main/.git/HEAD", "ref: refs/heads/other\n");
    let packed = format!("# pack-refs with: peeled\n{}\trefs/x\n{COMMIT} refs/heads/work\n^{COMMIT}\n", "1".repeat(40));
    sandbox.write("main/.git/packed-refs", packed);
    sandbox.write("main/.git/worktrees/w/HEAD", "ref: refs/heads/work\n");
    sandbox.write("main/.git/worktrees/w/commondir", "../..\n");
    sandbox.write("w/.git", "gitdir: ../main/.git/worktrees/w\n");
    sandbox.write("w/deep/small.toml", SMALL);
    sandbox.fine(["w/deep/small.toml", "--out", "a"]);
    assert_eq!(manifest(&sandbox.path("a"))["environment"]["git_commit"], COMMIT);
    sandbox.write("main/.git/HEAD", format!("{COMMIT}\n"));
    sandbox.write("main/small.toml", SMALL);
    sandbox.fine(["main/small.toml", "--out", "b"]);
    assert_eq!(manifest(&sandbox.path("b"))["environment"]["git_commit"], COMMIT);
    sandbox.write("main/.git/HEAD", "ref: refs/../../../secret\n");
    sandbox.fine(["main/small.toml", "--out", "c"]);
    assert!(manifest(&sandbox.path("c"))["environment"]["git_commit"].is_null());
}

/// Every file below a folder with its bytes, what is named by links aside.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(everything(&entry.path())),
            kind if kind.is_file() => {
                found.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
            _ => {}
        }
    }
    found
}

#[test]
fn nothing_is_written_through_links_that_have_a_temporary_files_name() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "theirs"]);
    sandbox.write("victim", "precious");
    for name in ["report", "manifest", "trials", "predictions", "plots/loss"] {
        symlink(sandbox.path("victim"), sandbox.path("theirs").join(format!("{name}.part"))).unwrap();
    }
    symlink(sandbox.path("victim"), sandbox.path("theirs/plots/by_seed.svg")).unwrap();
    sandbox.fine(["report", "theirs"]);
    sandbox.fine(["small.toml", "--seeds", "0..2", "--out", "theirs"]);
    sandbox.runner(["predict", "theirs"]);
    sandbox.fine(["export", "theirs", "--format", "csv"]);
    assert_eq!(fs::read_to_string(sandbox.path("victim")).unwrap(), "precious");
}

#[test]
fn a_folder_of_the_folder_that_is_a_link_is_refused_before_anything_changes() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for name in ["plots", "weights", "checkpoints", "journal"] {
        sandbox.fine(["small.toml", "--out", name]);
        let (out, outside) = (sandbox.path(name), format!("outside_{name}"));
        for file in ["loss.svg", "mine.state", "0123456789abcdef.state", "0.log", "0123456789abcdef.safetensors"] {
            sandbox.write(&format!("{outside}/{file}"), "keep");
        }
        fs::remove_dir_all(out.join(name)).unwrap();
        symlink(sandbox.path(&outside), out.join(name)).unwrap();
        let before = (everything(&out), everything(&sandbox.path(&outside)));
        let said = format!("`{name}` leads out of the folder");
        for more in ["--fresh", "--seeds=0..3"] {
            let refused = sandbox.runner(["small.toml", "--out", name, more]);
            assert_eq!(refused.status, 2, "{}", refused.stderr);
            assert!(refused.stderr.contains(&said), "{}", refused.stderr);
        }
        if name == "plots" {
            let refused = sandbox.runner(["report", name]);
            assert!(refused.status == 2 && refused.stderr.contains(&said), "{}", refused.stderr);
        }
        assert!((everything(&out), everything(&sandbox.path(&outside))) == before);
    }
}

#[test]
fn an_export_goes_through_no_link_of_the_folder() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out"]);
    for name in ["csv", "tensorboard"] {
        let outside = format!("outside_{name}");
        sandbox.write(&format!("{outside}/trials.csv"), "keep");
        symlink(sandbox.path(&outside), sandbox.path("out").join(name)).unwrap();
        let refused = sandbox.runner(["export", "out", "--format", name]);
        assert_eq!(refused.status, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(&format!("`{name}` leads out of the folder")), "{}", refused.stderr);
        assert_eq!(everything(&sandbox.path(&outside)).len(), 1);
        assert_eq!(fs::read_to_string(sandbox.path(&outside).join("trials.csv")).unwrap(), "keep");
    }
}

#[test]
fn a_lock_that_is_a_link_is_refused() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out"]);
    sandbox.write("victim", "precious");
    fs::remove_file(sandbox.path("out/.lock")).unwrap();
    symlink(sandbox.path("victim"), sandbox.path("out/.lock")).unwrap();
    let refused = sandbox.runner(["small.toml", "--seeds", "0..2", "--out", "out"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert_eq!(fs::read_to_string(sandbox.path("victim")).unwrap(), "precious");
}

#[test]
fn fresh_deletes_only_files_named_as_ours() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out"]);
    let kept = ["outside/thesis.tex", "out/notes.txt", "out/weights/mine.safetensors", "out/checkpoints/mine.state"];
    kept.iter().for_each(|name| sandbox.write(name, "keep"));
    symlink(sandbox.path("outside"), sandbox.path("out/x")).unwrap();
    let path = sandbox.path("out/manifest.json");
    let listed =
        r#""files": [ "x/thesis.tex", "notes.txt", "weights/mine.safetensors", "weights", "plots/../notes.txt","#;
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"files\": [", listed)).unwrap();
    sandbox.fine(["small.toml", "--fresh", "--out", "out"]);
    kept.iter().for_each(|name| assert_eq!(fs::read_to_string(sandbox.path(name)).unwrap(), "keep", "{name}"));
}

/// Whatever lies in the folder, the manifest stays until the new one takes its place, so that a run that is killed in
/// between can be given again, with the word and without.
#[test]
fn fresh_never_leaves_a_folder_that_nobody_knows() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for again in [&["--fresh"][..], &[]] {
        sandbox.fine(["small.toml", "--out", "out", "--set", "optimizer.lr=0.5", "--fresh"]);
        sandbox.write("out/csv/trials.csv", "exported");
        let mut killed = 0;
        for milliseconds in 0..30 {
            let mut command = sandbox.command();
            command.args(["small.toml", "--out", "out", "--fresh", "--set", "optimizer.lr=0.5"]).stdout(Stdio::null());
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            killed += u32::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(sandbox.path("out/manifest.json").exists(), "after {milliseconds} ms");
        }
        assert!(killed > 3, "{killed}");
        let mut command = sandbox.command();
        let ran: Ran = command
            .args(["small.toml", "--out", "out", "--set", "optimizer.lr=0.5"])
            .args(again)
            .output()
            .unwrap()
            .into();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(sandbox.path("out/csv/trials.csv").exists());
    }
    sandbox.write("left/.lock", "");
    for name in ["journal", "weights", "checkpoints", "plots"] {
        std::fs::create_dir(sandbox.path("left").join(name)).unwrap();
    }
    sandbox.fine(["small.toml", "--out", "left"]);
}

#[test]
fn fresh_looks_at_everything_before_it_deletes_anything() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    type Change<'a> = (&'a str, &'a dyn Fn(&Path));
    let odd: [Change; 4] = [
        ("journal", &|out| fs::write(out.join("journal/7.log"), "this is mine").unwrap()),
        ("folder", &|out| fs::create_dir(out.join("journal/7.log")).unwrap()),
        ("page", &|out| {
            fs::remove_file(out.join("report.html")).unwrap();
            fs::create_dir(out.join("report.html")).unwrap();
        }),
        ("link", &|out| {
            fs::remove_file(out.join("trials.parquet")).unwrap();
            symlink(out.join("history.parquet"), out.join("trials.parquet")).unwrap();
        }),
    ];
    for (name, change) in odd {
        sandbox.fine(["small.toml", "--out", name]);
        change(&sandbox.path(name));
        let before = everything(&sandbox.path(name));
        let refused = sandbox.runner(["small.toml", "--fresh", "--out", name]);
        assert_eq!(refused.status, 2, "{name}: {}", refused.stderr);
        assert!(everything(&sandbox.path(name)) == before, "{name}");
    }
}

#[test]
fn what_a_killed_start_leaves_is_gone_on_with() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for (out, more) in [("plain", "--quiet"), ("fresh", "--fresh")] {
        let left = [".lock", "manifest.part", ".manifest.json.4194999.0.part", "weights/.x.safetensors.4194999.3.part"];
        left.iter().for_each(|name| sandbox.write(&format!("{out}/{name}"), ""));
        ["journal", "checkpoints"].iter().for_each(|name| fs::create_dir(sandbox.path(out).join(name)).unwrap());
        sandbox.fine(["small.toml", more, "--out", out]);
        left[1..].iter().for_each(|name| assert!(!sandbox.path(out).join(name).exists(), "{name}"));
    }
    sandbox.write("mine/thesis.part", "");
    assert_eq!(sandbox.runner(["small.toml", "--out", "mine"]).status, 2);
}

#[test]
fn weights_that_are_not_finite_are_never_within_tolerance() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out"]);
    let file = fs::read_dir(sandbox.path("out/weights")).unwrap().next().unwrap().unwrap().path();
    let manifest = sandbox.path("out/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let binary = text.split("\"binary\": \"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(&manifest, text.replace(binary, "0000000000000000")).unwrap();
    let bytes = fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for count in [1, (bytes.len() - header) / 4] {
            let mut bytes = bytes.clone();
            let end = bytes.len();
            bytes[end - 4 * count..]
                .chunks_exact_mut(4)
                .for_each(|number| number.copy_from_slice(&broken.to_le_bytes()));
            fs::write(&file, bytes).unwrap();
            let verified = sandbox.runner(["verify", "out"]);
            assert_eq!(verified.status, 1, "{broken} {count}: {}", verified.stdout);
            assert!(verified.stdout.contains("1 different"), "{}", verified.stdout);
        }
    }
}

#[test]
fn a_growth_that_was_killed_leaves_what_verify_needs() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--executor", "reference", "--out", "out"]);
    let path = sandbox.path("out/manifest.json");
    let before = manifest(&sandbox.path("out"));
    // The manifest as a run writes it when it begins, which is what a kill leaves.
    let mut child = sandbox
        .command()
        .args(["small.toml", "--executor", "reference", "--seeds", "0..200000", "--out", "out"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !fs::read_to_string(&path).unwrap().contains("\"running\"") {
        assert!(std::time::Instant::now() < deadline, "the run never began");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(manifest(&sandbox.path("out"))["environment"]["binary"], before["environment"]["binary"]);
    assert!(sandbox.fine(["verify", "out"]).stdout.contains("1 identical"));
}

#[test]
fn columns_of_the_history_stand_in_the_order_of_the_plan_whatever_ends_first() {
    let text = format!(
        "{}\n[sweep.variants]\na = {{ layer.hidden_1.kind = \"leaky\", train.iterations = 400 }}\n\
         b = {{ layer.hidden_1 = {{ remove = true }} }}\n",
        SMALL.replace("[run]", "watch = true\n\n[run]")
    );
    let sandbox = Sandbox::with("small.toml", &text);
    for jobs in ["1", "4"] {
        sandbox.fine(["small.toml", "--jobs", jobs, "--out", jobs]);
    }
    let [one, four] = ["1", "4"].map(|out| fs::read(sandbox.path(out).join("history.parquet")).unwrap());
    assert!(one == four);
}
