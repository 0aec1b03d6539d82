//! A plugin that cannot be used stops whoever names it, and nobody else.

use super::{Ran, SMALL, Sandbox};

/// Files of `plugins/` that cannot be used, with the names that they may mean: as a layer, a surrogate or a dataset.
const BROKEN: [(&str, &[u8], &str, &str); 7] = [
    ("walk.toml", b"kind = \"dataset\"\n[inputs", "walk", "data.kind=walk"),
    ("walk.toml", b"kind = \"dataset\"\nname = \"wal", "walk", "data.kind=walk"),
    ("draft.toml", b"name = 'walk'\nkind = ", "walk", "data.kind=walk"),
    ("walk.toml", b"\xff\xfe", "walk", "data.kind=walk"),
    ("walk.toml", b"", "walk", "data.kind=walk"),
    (
        "tired.toml",
        b"kind = \"neuron\"\nname = \"tired\"\nstep = \"mem = curent\"\n",
        "tired",
        "layer.hidden_1.kind=tired",
    ),
    (
        "soft.toml",
        b"name = \"gentle\"\nkind = \"surrogate\"\nderivative = \"1 +\"\n",
        "gentle",
        "layer.hidden_1.surrogate=gentle",
    ),
];

#[test]
fn a_broken_plugin_is_a_note_for_those_who_do_not_name_it_and_an_error_for_those_who_do() {
    for (file, bytes, name, set) in BROKEN {
        let sandbox = Sandbox::with("small.toml", SMALL);
        sandbox.write(&format!("plugins/{file}"), bytes);
        let place = format!("plugins/{file}");
        let calm: [&[&str]; 6] = [
            &["check", "small.toml", "small.toml"],
            &["run", "small.toml", "--quiet"],
            &["list"],
            &["show", "leaky"],
            &["schema"],
            &["new", "neuron", "another"],
        ];
        for arguments in calm {
            let ran: Ran = sandbox.command().args(arguments).output().unwrap().into();
            assert_eq!(ran.status, 0, "{arguments:?}: {}", ran.stderr);
            assert_eq!(ran.stderr.matches("note: ").count(), 1, "{arguments:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(&place), "{arguments:?}: {}", ran.stderr);
        }
        for arguments in [&["check", "small.toml", "--set", set][..], &["small.toml", "--set", set], &["show", name]] {
            let ran: Ran = sandbox.command().args(arguments).output().unwrap().into();
            assert_eq!(ran.status, 2, "{arguments:?}");
            assert!(ran.stderr.contains(&place) && !ran.stderr.contains("note: "), "{arguments:?}: {}", ran.stderr);
        }
        let ran = sandbox.runner(["check", "small.toml", "--set", set]);
        let label = format!("{place} may mean it, and cannot be used");
        assert!(ran.stderr.contains(&label), "{}", ran.stderr);
        let other = sandbox.runner(["check", "small.toml", "--set", "data.kind=wolk"]);
        assert!(!other.stderr.contains(&place), "{}", other.stderr);
    }
}

#[test]
fn what_is_built_in_does_not_stand_in_for_a_broken_plugin_of_its_name() {
    for name in ["sqrt", "leaky", "fast_sigmoid"] {
        let sandbox = Sandbox::with("small.toml", SMALL);
        sandbox.write("plugins/mine.toml", format!("name = \"{name}\"\noverrides = \"{name}\"\nkind = "));
        let ran = sandbox.runner(["small.toml"]);
        assert_eq!(ran.status, 2, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("plugins/mine.toml:3:8"), "{}", ran.stderr);
    }
}
