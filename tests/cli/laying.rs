//! What values laid over an experiment keep, what falls away, and what is refused.

use super::run::table;
use super::{Ran, SMALL, Sandbox};

/// The numbers of a layer in what `check` prints.
fn numbers(sandbox: &Sandbox, options: &[&str]) -> String {
    let output = sandbox.command().args(["check", "small.toml"]).args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find(|line| line.starts_with("hidden_1")).unwrap().to_string()
}

/// The id of the first trial.
fn first(sandbox: &Sandbox, options: &[&str]) -> String {
    let output = sandbox.command().args(["check", "small.toml"]).args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.rsplit("the first is ").next().unwrap().trim().to_string()
}

#[test]
fn a_changed_kind_keeps_the_written_keys_that_the_new_one_has() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for kind in ["synaptic", "rleaky", "alpha", "if", "lstm"] {
        let line = numbers(&sandbox, &["--set", &format!("layer.hidden_1.kind={kind}")]);
        assert!(line.contains("[12, 1, 8]"), "{line}");
    }
    sandbox.write(
        "other.toml",
        "extends = \"small.toml\"\n[layer.hidden_1]\nkind = \"synaptic\"\n[optimizer]\nkind = \"sgd\"\n",
    );
    let printed = sandbox.fine(["check", "other.toml", "--print", "study"]).stdout;
    assert!(printed.contains("kind = \"sgd\"\nlr = 0.01"), "{printed}");
    assert!(printed.contains("kind = \"synaptic\"\nsize = \"=hidden\""), "{printed}");
}

#[test]
fn the_order_of_options_and_dimensions_does_not_count() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let (lr, kind) = (["--set", "optimizer.lr=0.5"], ["--set", "optimizer.kind=sgd"]);
    let one = first(&sandbox, &[lr, kind].concat());
    assert_eq!(one, first(&sandbox, &[kind, lr].concat()));
    assert_ne!(one, first(&sandbox, &kind));
    assert_eq!(one, first(&sandbox, &["--set", "optimizer.lr=0.5", "--set", "optimizer=sgd"]));
    let swept = ["--sweep", "optimizer.lr=0.5,0.1", "--sweep", "optimizer.kind=sgd,adam"];
    assert_eq!(one, first(&sandbox, &swept));
    sandbox.write(
        "small.toml",
        format!("{SMALL}\n[sweep.over]\n\"optimizer.lr\" = [0.5, 0.1]\n[sweep.variants]\na = {{ optimizer = {{ kind = \"sgd\" }} }}\nb = {{}}\n"),
    );
    assert_eq!(one, first(&sandbox, &[]));
}

#[test]
fn what_falls_away_is_said_and_what_is_asked_for_never_falls_away() {
    let text = SMALL.replace("lr = 1e-2", "lr = 1e-2\nbetas = [0.8, 0.9]");
    let sandbox = Sandbox::with("small.toml", &text);
    for command in ["check", "run"] {
        let said = sandbox.runner([command, "small.toml", "--set", "optimizer.kind=sgd"]);
        assert_eq!(said.status, 0, "{}", said.stderr);
        assert_eq!(
            said.stderr.matches("note: `betas` falls away: `sgd` has no such key").count(),
            1,
            "{}",
            said.stderr
        );
    }
    for options in [
        ["--set", "optimizer.betas=[0.5, 0.6]", "--set", "optimizer.kind=sgd"],
        ["--sweep", "optimizer.betas=[0.5, 0.6]", "--set", "optimizer.kind=sgd"],
        ["--set", "optimizer.betas=[0.5, 0.6]", "--sweep", "optimizer.kind=adam,sgd"],
        ["--set", "layer.hidden_1.surrogate.slope=3", "--set", "layer.hidden_1.kind=linear"],
    ] {
        let [a, b, c, d] = options;
        let refused = sandbox.runner(["small.toml", "--out", "refused", a, b, c, d]);
        assert_eq!(refused.status, 2, "{options:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("unknown key `"), "{}", refused.stderr);
        assert!(refused.stderr.contains("has no such key"), "{}", refused.stderr);
        assert!(!sandbox.path("refused").exists());
    }
}

#[test]
fn studies_over_kinds_are_read_back_as_they_were() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let sweeps = [
        ("optimizer.kind", "adam,sgd,rmsprop"),
        ("layer.hidden_1.kind", "leaky,lstm,synaptic"),
        ("layer.hidden_1.surrogate", "atan,sigmoid,fast_sigmoid"),
        ("layer.hidden_1.beta", "{uniform=[0,1]},{normal=[0.5,0.1]},0.5"),
        ("layer.hidden_1.threshold", "0.3,{value=0.5,learn=true},{uniform=[0.2,0.4],per=\"layer\"}"),
    ];
    for (i, (path, values)) in sweeps.into_iter().enumerate() {
        let out = format!("out_{i}");
        sandbox.fine(["small.toml", "--out", &out, "--sweep", &format!("{path}={values}")]);
        let verified = sandbox.fine(["verify", &out, "--all"]).stdout;
        assert!(verified.contains("3 identical, 0 within tolerance, 0 different"), "{path}: {verified}");
        let study = sandbox.fine(["check", "small.toml", "--sweep", &format!("{path}={values}"), "--print", "study"]);
        sandbox.write("again.toml", study.stdout);
        let again = sandbox.fine(["again.toml", "--out", &out]);
        assert!(format!("{}{}", again.stdout, again.stderr).contains("nothing to do"), "{path}: {}", again.stderr);
    }
}

#[test]
fn a_name_that_nothing_reads_is_refused_with_what_was_meant() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("patch.toml", "extends = \"small.toml\"\n[let]\nhiden = 64\n");
    sandbox.write("variant.toml", format!("{SMALL}\n[sweep.variants]\na = {{ let = {{ hiden = 3 }} }}\nb = {{}}\n"));
    sandbox.write("file.toml", SMALL.replace("hidden = 8", "hidden = 8\nhiden = 9"));
    for arguments in [
        vec!["check", "small.toml", "--set", "let.hiden=64"],
        vec!["check", "patch.toml"],
        vec!["check", "variant.toml"],
        vec!["check", "file.toml"],
    ] {
        let output = sandbox.command().args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("nothing reads `let.hiden`") && said.contains("did you mean `hidden`?"), "{said}");
    }
    assert_eq!(sandbox.runner(["check", "small.toml", "--sweep", "hiden=1,2"]).status, 2);
    sandbox.fine(["check", "small.toml", "--set", "let.hidden=64"]);
}

#[test]
fn a_study_that_was_laid_when_kinds_dropped_all_keys_is_read_that_way() {
    // The second variant says the default rate of its kind, which it also had when that of the first fell away.
    let text = format!(
        "{}\n[sweep.variants]\na = {{}}\nb = {{ optimizer = {{ kind = \"sgd\", lr = 0.01 }} }}\n",
        SMALL.replace("lr = 1e-2", "lr = 0.5")
    );
    let sandbox = Sandbox::with("small.toml", &text);
    sandbox.fine(["small.toml", "--out", "out"]);
    let path = sandbox.path("out/manifest.json");
    let written = std::fs::read_to_string(&path).unwrap();
    let earlier = written.replace(", lr = 0.01", "");
    assert_ne!(written, earlier);
    std::fs::write(&path, &earlier).unwrap();
    // By the rule of today the rate stays, which makes another trial of it.
    assert_eq!(sandbox.runner(["verify", "out", "--all"]).status, 2);
    std::fs::write(&path, earlier.replace("\"laying\": 2,", "")).unwrap();
    let verified = sandbox.fine(["verify", "out", "--all"]).stdout;
    assert!(verified.contains("2 identical, 0 within tolerance, 0 different"), "{verified}");
}

/// The numbers that a file of weights holds.
fn stored(path: &std::path::Path) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(_, tensor)| tensor.shape().iter().product::<usize>() as u64).sum()
}

#[test]
fn the_number_of_parameters_of_each_configuration_is_that_of_its_weights() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let (kinds, sizes) = ("layer.hidden_1.kind=leaky,rleaky,lstm", "let.hidden=2,5");
    let checked = sandbox.fine(["check", "small.toml", "--sweep", kinds, "--sweep", sizes]).stdout;
    let ran = sandbox.fine(["small.toml", "--out", "out", "--set", "run.save=all", "--sweep", kinds, "--sweep", sizes]);
    let trials = table(&sandbox.path("out"), "trials.parquet");
    let text = |row: usize, name: &str| trials.column(name).unwrap().str().unwrap().get(row).unwrap().to_string();
    for row in 0..trials.height() {
        let numbers = stored(&sandbox.path(&format!("out/weights/{}.safetensors", text(row, "trial"))));
        assert_eq!(trials.column("parameters").unwrap().u64().unwrap().get(row), Some(numbers));
        assert_eq!(text(row, "executor"), "fused");
        let (kind, size) = (text(row, "param.layer.hidden_1.kind"), trials.column("param.let.hidden").unwrap());
        let size = size.i64().unwrap().get(row).unwrap();
        for printed in [&checked, &ran.stdout] {
            let listed = |line: &str| {
                let line = line.replace('"', "");
                line.split_whitespace().take(3).eq([kind.as_str(), &size.to_string(), &numbers.to_string()])
            };
            assert!(printed.lines().any(listed), "{kind} {size} has {numbers} numbers: {printed}");
        }
    }
    let page = std::fs::read_to_string(sandbox.path("out/report.html")).unwrap();
    assert!(page.contains(">parameters</th>"));
    // Where all have as many, one number says it.
    let same = sandbox.fine(["check", "small.toml", "--sweep", "optimizer.lr=0.1,0.2"]).stdout;
    assert_eq!(same.matches("parameters").count(), 1, "{same}");
}

/// What would do nothing is refused, with the place of what takes its place.
#[test]
fn nothing_that_is_asked_for_is_dropped() {
    let swept = SMALL.to_string() + "\n[sweep.over]\nhidden = [2, 3]\n";
    let cases: [(&str, &[&str], &[&str]); 10] = [
        (SMALL, &["--set", "optimizer.lr=1", "--set", "optimizer.lr=2"], &["`optimizer.lr` is set twice"]),
        (SMALL, &["--set", "run.seeds=[1]", "--seeds", "2"], &["`run.seeds` is set twice"]),
        (SMALL, &["--set", "train.epochs=1", "--set", "train.iterations=2"], &["exclude each other"]),
        (
            SMALL,
            &["--set", "layer.hidden_1.beta.value=0.5", "--set", "layer.hidden_1.beta.uniform=[0, 1]"],
            &["`layer.hidden_1.beta.value` and `layer.hidden_1.beta.uniform` exclude each other"],
        ),
        (SMALL, &["--sweep", "hidden=1,2", "--sweep", "hidden=3"], &["`hidden` is swept twice"]),
        (
            SMALL,
            &["--set", "optimizer.lr=1", "--sweep", "optimizer.lr=2,3"],
            &["`optimizer.lr` is set and swept", "swept here"],
        ),
        (
            SMALL,
            &["--set", "layer.hidden_1.beta.learn=false", "--sweep", "layer.hidden_1.beta=0.5,0.9"],
            &["`layer.hidden_1.beta` is swept"],
        ),
        (&swept, &["--set", "let.hidden=4"], &["`let.hidden` is set and swept", "small.toml"]),
        (SMALL, &["--sweep", "let.hiden=2,3"], &["unknown name `hiden`", "did you mean `hidden`?"]),
        (SMALL, &["--plugins", "nothere"], &["there is no folder `nothere` of plugins"]),
    ];
    for (text, options, says) in cases {
        let sandbox = Sandbox::with("small.toml", text);
        let out: Ran = sandbox.command().arg("small.toml").args(options).output().unwrap().into();
        assert_eq!(out.status, 2, "{options:?}: {}", out.stderr);
        says.iter().for_each(|says| assert!(out.stderr.contains(says), "{options:?}: {}", out.stderr));
        assert!(!sandbox.path("results").exists());
    }
}

#[test]
fn a_range_of_whole_numbers_that_cannot_be_told_apart_is_refused() {
    let over = "\n[sweep]\nsampler = \"random\"\ntrials = 2\n[sweep.over]\n\"data.seed\" = ";
    let text = SMALL.to_string() + over + "{ low = 9007199254740993, high = 9007199254740999, int = true }\n";
    let out = Sandbox::with("small.toml", &text).runner(["small.toml"]);
    assert_eq!(out.status, 2, "{}", out.stderr);
    assert!(out.stderr.contains("beyond 9007199254740992"), "{}", out.stderr);
}
