//! What a request may ask for: numbers that a person would type, and sizes that a machine has.

use super::{SMALL, Sandbox};

#[test]
fn a_range_that_grows_runs_only_what_is_new_and_has_the_ids_of_values_set_by_hand() {
    let sweep =
        |high: f64| format!("{SMALL}\n[sweep.over]\n\"optimizer.lr\" = {{ low = 0.1, high = {high}, step = 0.1 }}\n");
    let sandbox = Sandbox::with("small.toml", &sweep(0.3));
    sandbox.fine(["small.toml", "--out", "out"]);
    sandbox.write("small.toml", sweep(0.5));
    let grown = sandbox.fine(["small.toml", "--out", "out"]);
    let said = format!("{}{}", grown.stdout, grown.stderr);
    assert!(said.contains("3 of 5 trials are there already"), "{said}");
    let by_hand = sandbox.fine(["check", "small.toml", "--sweep", "optimizer.lr=0.3"]).stdout;
    let id = by_hand.rsplit("the first is ").next().unwrap().trim().trim_end_matches('.').to_string();
    assert!(sandbox.path(&format!("out/weights/{id}.safetensors")).exists(), "{by_hand}");
}

#[test]
fn a_name_of_more_than_a_hundred_characters_is_refused_where_it_stands() {
    let sandbox = Sandbox::empty();
    for (length, status) in [(100, 0), (101, 2), (5000, 2)] {
        let name = "n".repeat(length);
        let variants = format!("[sweep.variants.{name}]\n[sweep.variants.other.optimizer]\nlr = 0.5\n");
        for (text, place) in [
            (SMALL.replace("name = \"hidden_1\"", &format!("name = \"{name}\"")), "11:8"),
            (SMALL.replace("name = \"small\"", &format!("name = \"{name}\"")), "1:8"),
            (format!("{SMALL}\n{variants}"), "35:17"),
        ] {
            sandbox.write("long.toml", text);
            let ran = sandbox.runner(["check", "long.toml"]);
            assert_eq!(ran.status, status, "{length}, {place}: {}", ran.stderr);
            let said = [format!("has {length} characters"), format!("--> long.toml:{place}"), "at most 100".into()];
            assert!(status == 0 || said.iter().all(|said| ran.stderr.contains(said)), "{}", ran.stderr);
        }
    }
}

#[test]
fn predictions_find_the_trial_whatever_the_notation_of_a_swept_value() {
    let table = SMALL.replace(
        "kind = \"sqrt\"\nsteps = 12",
        "kind = \"table\"\npath = \"d.csv\"\ninputs = [\"a\"]\ntargets = [\"b\"]\nsteps = 4",
    );
    let sandbox = Sandbox::with("small.toml", &table);
    let rows: String = (0..20).map(|i| format!("{i},{}\n", 2 * i + i % 3)).collect();
    sandbox.write("d.csv", format!("a,b\n{rows}"));
    for (out, path, values) in [
        ("a", "optimizer.weight_decay", "0,0.1"),
        ("b", "layer.hidden_1.threshold", "1,1.5"),
        ("c", "optimizer.lr", "1e-2,0.001"),
        ("d", "let.hidden", "8,16"),
    ] {
        sandbox.fine(["small.toml", "--out", out, "--sweep", &format!("{path}={values}")]);
        sandbox.fine(["predict", out, "--data", "d.csv"]);
    }
}

#[test]
fn chains_have_a_limit_and_an_error_of_their_own() {
    let chain: String = (0..20_000).map(|i| format!("a{i} = \"=a{}\"\n", i + 1)).collect();
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("hidden = 8", &format!("hidden = 8\n{chain}a20000 = 1")));
    let refused = sandbox.runner(["check", "small.toml"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("names need each other in a row"), "{}", refused.stderr);

    (0..300).for_each(|i| sandbox.write(&format!("f{i}.toml"), format!("extends = \"f{}.toml\"\n", i + 1)));
    sandbox.write("f300.toml", SMALL);
    let refused = sandbox.runner(["check", "f0.toml"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("files extend each other"), "{}", refused.stderr);
    sandbox.fine(["check", "f290.toml"]);

    let path = vec!["a"; 50_000].join(".");
    let refused = sandbox.runner(["check", "f300.toml", "--set", &format!("{path}=1")]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
}

#[test]
fn what_no_machine_has_is_refused_with_the_numbers() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write(
        "many.toml",
        format!(
            "{}\n[sweep.over]\n\"optimizer.lr\" = {{ low = 1, high = 1000, step = 1 }}\n",
            SMALL.replace("seeds = [0]", "seeds = { count = 1000000 }")
        ),
    );
    let refused = sandbox.runner(["check", "many.toml"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("1000 configurations times 1000000 seeds are 1000000000 trials"),
        "{}",
        refused.stderr
    );

    let layer = |name: &str| format!("[[layer]]\nname = \"{name}\"\nkind = \"leaky\"\nsize = 46000\n\n");
    let large: String = (0..99).map(|i| layer(&format!("h{i}"))).collect();
    sandbox.write("large.toml", SMALL.replacen("[[layer]]", &format!("{large}[[layer]]"), 1));
    let refused = sandbox.runner(["check", "large.toml"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("a trial with parameters with gradients and moments"), "{}", refused.stderr);
}

#[test]
fn names_without_end_are_told_of_in_a_few_lines() {
    let numbered = |n: usize, line: &str| (0..n).map(|i| line.replace('#', &i.to_string())).collect::<String>();
    let sandbox = Sandbox::with("small.toml", SMALL);
    for (text, words) in [
        (format!("{}{SMALL}", numbered(30_000, "key# = 1\n")), "30000 problems, of which 50 are shown"),
        (
            SMALL.replace("=hidden", "=z").replace("hidden = 8", &numbered(200, "name_# = #\n")),
            "`name_142`; and 150 more",
        ),
        (
            format!("{SMALL}[sweep.over]\n{}", numbered(1001, "\"data.a#\" = [1]\n")),
            "a sweep over 1001 keys; at most 1000",
        ),
    ] {
        sandbox.write("many.toml", text);
        let refused = sandbox.runner(["check", "many.toml"]);
        assert_eq!(refused.status, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
        assert!(refused.stderr.len() < 100_000, "{} bytes are said", refused.stderr.len());
    }
}

#[test]
fn what_is_said_of_an_endless_name_or_manifest_is_short() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out"]);
    let manifest = std::fs::read_to_string(sandbox.path("out/manifest.json")).unwrap();
    let keys: String = (0..10_000).map(|i| format!("key{i} = 1\\n")).collect();
    sandbox.write("out/manifest.json", manifest.replace("\"spec\": \"", &format!("\"spec\": \"{keys}")));
    let name = "x".repeat(100_000);
    sandbox.write("name.toml", format!("{name} = 1\n{SMALL}"));
    for arguments in [&["verify", "out"][..], &["predict", "out", "--data", "d.csv"], &["check", "name.toml"]] {
        let ran: super::Ran = sandbox.command().args(arguments).output().unwrap().into();
        assert_eq!(ran.status, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("key"), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.len() < 50_000, "{arguments:?}: {} bytes are said", ran.stderr.len());
    }
}
