//! What a run, a report or a look into a folder never does: start programs of strangers, write or delete elsewhere.

use super::{SMALL, Sandbox};
use std::fs;

use std::path::Path;

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
