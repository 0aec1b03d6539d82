//! Text plugins: `runner new`, names that are taken, and texts that mean harm.

use super::{Ran, SMALL, Sandbox};

#[test]
fn new_writes_templates_that_train_as_they_are() {
    let sandbox = Sandbox::empty();
    for (kind, name) in [("neuron", "tired"), ("surrogate", "gentle"), ("dataset", "waves")] {
        let said = sandbox.fine(["new", kind, name]).stdout;
        assert!(said.starts_with(&format!("plugins/{name}.toml\n")), "{said}");
        assert!(sandbox.fine(["show", name]).stdout.contains(&format!("{kind} `{name}`")));
        let text = std::fs::read_to_string(sandbox.path(&format!("plugins/{name}.toml"))).unwrap();
        assert!(!text.contains("my_"), "{text}");
    }
    let layer = "kind = \"tired\"\nsurrogate = { kind = \"gentle\", width = 0.3 }";
    let text = SMALL.replacen("kind = \"leaky\"", layer, 1).replace("\"sqrt\"", "\"waves\"");
    sandbox.write("small.toml", text);
    sandbox.fine(["small.toml"]);
}

#[test]
fn new_refuses_what_is_there_and_bad_names() {
    let sandbox = Sandbox::empty();
    sandbox.fine(["new", "neuron", "tired"]);
    sandbox.write("plugins/tired.toml", "mine now");
    let said = |arguments: [&str; 3]| {
        let ran = sandbox.runner(arguments);
        assert_eq!(ran.status, 2);
        ran.stderr
    };
    let again = said(["new", "neuron", "tired"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("plugins/tired.toml")).unwrap(), "mine now");
    std::fs::remove_file(sandbox.path("plugins/tired.toml")).unwrap();
    let others = ["leaky", "linear", "My Neuron", "../up", ""].map(|name| said(["new", "neuron", name]));
    insta::assert_snapshot!(format!("{again}{}", others.concat()));
    assert_eq!(std::fs::read_dir(sandbox.path("plugins")).unwrap().count(), 0);
}

/// The template neuron under another name, with a change.
fn neuron(name: &str, from: &str, to: &str) -> String {
    let text = include_str!("../../plugins/template/my_neuron.toml");
    assert!(text.contains(from), "{from}");
    text.replace(from, to).replace("my_neuron", name)
}

#[test]
fn two_plugins_of_one_name_are_an_error_that_names_both_files() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("plugins/one.toml", neuron("tired", "", ""));
    sandbox.write("plugins/two.toml", neuron("tired", "", ""));
    let ran = sandbox.runner(["show", "tired"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn a_built_in_name_is_taken_only_where_that_is_said() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("plugins/leaky.toml", neuron("leaky", "", ""));
    assert_eq!(sandbox.runner(["small.toml"]).status, 2);
    let ran = sandbox.runner(["show", "leaky"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
    sandbox.write("plugins/leaky.toml", neuron("leaky", "[params]", "[params]\nbias_current = { default = 0 }"));
    let overriding = neuron("leaky", "kind    = \"neuron\"", "kind = \"neuron\"\noverrides = \"leaky\"");
    let overriding = overriding.replace("[params]", "[options.reset]\nnone = { kept = \"1\" }\n[params]");
    sandbox.write("plugins/leaky.toml", overriding);
    sandbox.fine(["small.toml"]);
    assert!(sandbox.fine(["show", "leaky"]).stdout.contains("fatigue"));
}

#[test]
fn a_state_or_an_output_without_an_equation_is_underlined_where_it_is_named() {
    let text = step("mem = current").replace("{ membrane = \"mem\" }", "{ membrane = \"men\" }");
    let sandbox = Sandbox::with("plugins/bad.toml", &text.replace("{ mem = 0.0 }", "{ mem = 0.0, syn = 0.0 }"));
    insta::assert_snapshot!(sandbox.runner(["show", "bad"]).stderr);
}

/// What is said of a hostile plugin, by a process that may use a GiB and two seconds of processor time.
fn hostile(text: &str) -> String {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("plugins/bad.toml", text);
    let mut command = std::process::Command::new("sh");
    let limited = "ulimit -v 1048576; ulimit -t 2; exec \"$0\" show bad";
    command.args(["-c", limited, env!("CARGO_BIN_EXE_runner")]).current_dir(sandbox.folder.path()).env_clear();
    let ran: Ran = command.env("PATH", std::env::var("PATH").unwrap()).output().unwrap().into();
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    let mistake = ran.stderr.lines().next().unwrap().to_string();
    assert!(mistake.len() < 200, "{mistake}");
    let place = ran.stderr.lines().nth(1).unwrap_or("");
    assert!(mistake.contains("plugins/bad.toml") || place.contains("plugins/bad.toml:"), "{}", ran.stderr);
    mistake
}

/// A neuron whose step is this.
fn step(step: &str) -> String {
    format!(
        "kind = \"neuron\"\nname = \"bad\"\nstates = {{ mem = 0.0 }}\noutputs = {{ membrane = \"mem\" }}\nstep = \"\"\"\n{step}\n\"\"\"\n"
    )
}

#[test]
fn hostile_texts_are_refused_in_bounded_time_and_memory() {
    let many = |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<String>();
    let table = |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<Vec<_>>().join(", ");
    let cases: [(&str, String); 22] = [
        ("brackets", step(&format!("mem = {}1{}", "(".repeat(5000), ")".repeat(5000)))),
        ("powers", step(&format!("mem = {}1", "current ^ ".repeat(1500)))),
        ("signs", step(&format!("mem = {}1", "-".repeat(9000)))),
        ("calls", step(&format!("mem = {}1{}", "exp(".repeat(2000), ")".repeat(2000)))),
        ("a long sum", step(&format!("mem = {}1", "current + ".repeat(1400)))),
        ("a long product", step(&format!("mem = {}1", "current * ".repeat(900)))),
        ("a megabyte", step(&format!("mem = {}1", "current + ".repeat(100_000)))),
        ("many equations", step(&format!("mem = current\n{}", many(1000, &|i| format!("a{i} = {i}\n"))))),
        ("a chain", step(&format!("mem = a0\n{}a900 = current\n", many(900, &|i| format!("a{i} = a{}\n", i + 1))))),
        (
            "doubling",
            step(&format!("mem = a0\n{}a300 = current\n", many(300, &|i| format!("a{i} = a{}^a{}\n", i + 1, i + 1)))),
        ),
        ("spikes", step(&format!("mem = {}1", "spike(current) + ".repeat(100)))),
        (
            "states",
            step("mem = current")
                .replace("mem = 0.0", &format!("mem = 0.0, {}", table(3000, &|i| format!("s{i} = 0")))),
        ),
        (
            "parameters",
            format!("{}[params]\n{}", step("mem = current"), many(2000, &|i| format!("p{i} = {{ default = 1 }}\n"))),
        ),
        (
            "combinations",
            format!(
                "{}{}",
                step("mem = current"),
                many(12, &|i| format!("[options.o{i}]\na = {{ x{i} = \"1\" }}\nb = {{ x{i} = \"2\" }}\n"))
            ),
        ),
        (
            "values",
            format!("{}[options.o]\n{}", step("mem = current"), many(2000, &|i| format!("v{i} = {{ x = \"1\" }}\n"))),
        ),
        ("options of options", format!("{}[options.o.a.b.c]\nd = \"1\"\n", step("mem = current"))),
        ("nested lists", format!("kind = \"neuron\"\nname = {}{}\n", "[".repeat(20_000), "]".repeat(20_000))),
        ("nested keys", format!("kind = \"neuron\"\n{}x = 1\n", "a.".repeat(20_000))),
        ("unknown keys", format!("{}\n", many(5000, &|i| format!("k{i} = 1\n"))) + &step("mem = current")),
        (
            "long names",
            step(&format!("mem = {}", "b".repeat(8000)))
                + "[params]\n"
                + &many(6, &|i| format!("{}{i} = {{ default = 1 }}\n", "a".repeat(7900))),
        ),
        ("a surrogate", format!("kind = \"surrogate\"\nname = \"bad\"\nderivative = \"{}x\"\n", "x * ".repeat(400))),
        (
            "channels",
            format!(
                "kind = \"dataset\"\nname = \"bad\"\n[inputs]\nx = \"t\"\n[targets]\n{}",
                many(2000, &|i| format!("y{i} = \"x\"\n"))
            ),
        ),
    ];
    let said: String = cases.iter().map(|(what, text)| format!("{what}: {}\n", hostile(text))).collect();
    insta::assert_snapshot!(said);
}

#[test]
fn the_largest_neuron_that_is_allowed_trains_in_both_executors() {
    // Chains that double in meaning, spikes and long products, as much of them as the limits let through.
    let doubling: String = (0..60).map(|i| format!("a{i} = a{} * a{} + sin(a{})\n", i + 1, i + 1, i + 1)).collect();
    let spikes: String = (0..16).map(|i| format!("s{i} = spike(a{i} - 0.1)\n")).collect();
    let sum: String = (0..16).map(|i| format!(" + s{i}")).collect();
    let text = step(&format!(
        "{doubling}a60 = 0.01 * current\n{spikes}mem = 0.5 * prev.mem + a0{sum} + 0{}",
        " * current".repeat(150)
    ));
    let sandbox = Sandbox::with(
        "small.toml",
        &SMALL
            .replacen("kind = \"leaky\"", "kind = \"bad\"", 1)
            .replace("beta = { uniform = [0, 1], learn = true }", ""),
    );
    sandbox.write("plugins/bad.toml", text);
    let surrogate =
        format!("kind = \"surrogate\"\nname = \"long\"\nderivative = \"{}x\"\n", "exp(-abs(x)) + ".repeat(24));
    sandbox.write("plugins/long.toml", surrogate);
    for executor in ["fused", "reference"] {
        sandbox.fine([
            "small.toml",
            "--set",
            "layer.hidden_1.surrogate=long",
            "--executor",
            executor,
            "--out",
            executor,
        ]);
    }
}

#[test]
fn names_of_a_neuron_may_not_collide_with_keys_of_its_layer() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let text = neuron(
        "tired",
        "[params]",
        "[params]\nsize = { default = 1 }\nexp = { default = 1 }\n\"two words\" = { default = 1 }",
    );
    sandbox.write("plugins/tired.toml", text);
    let ran = sandbox.runner(["show", "tired"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn options_are_checked_in_every_combination() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let options = "[options.gate]\nopen = { gain = \"1\" }\nshut = { gain = \"half\" }\n[options.kind_of]\nplain = { half = \"0.5\" }\nnone = { other = \"1\" }\n";
    sandbox.write("plugins/bad.toml", step("mem = gain * current") + options);
    let ran = sandbox.runner(["show", "bad"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_plugins_is_refused() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.write("plugins/x", "");
    let made = std::process::Command::new("mkfifo").arg(sandbox.path("plugins/pipe.toml")).status().unwrap();
    assert!(made.success());
    let ran = sandbox.runner(["show", "pipe"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

/// The texts of a document between fences of a language.
pub fn fenced<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    // Every second piece stands between fences, its language before the first end of line.
    let blocks = document.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.filter(|(of, _)| *of == language).map(|(_, text)| text.trim_end()).collect()
}

const README: &str = include_str!("../../README.md");

/// The README's neuron, which the repository does not ship, in a folder with the experiment of the README's command.
fn izhikevich() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::with("experiments/sqrt.toml", include_str!("../../experiments/sqrt.toml"));
    let text = fenced(README, "toml").into_iter().find(|text| text.contains("\"izhikevich\"")).unwrap();
    sandbox.write("plugins/izhikevich.toml", format!("{text}\n"));
    let command = fenced(README, "").into_iter().find(|text| text.starts_with("runner show izhikevich")).unwrap();
    let run = command.split_once("runner experiments").unwrap().1.replace("\\\n", " ");
    let words = format!("experiments{run}").split_whitespace().map(String::from).collect();
    (sandbox, words)
}

#[test]
fn the_readmes_neuron_trains_and_shows_everywhere() {
    let (sandbox, words) = izhikevich();
    let ran: Ran = sandbox.command().args(&words).args(["--set", "train.watch=true"]).output().unwrap().into();
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let loss = |iterations: &str| -> f64 {
        let more = ["--json", "--set", &format!("train.iterations={iterations}"), "--out", iterations];
        let ran: Ran = sandbox.command().args(&words[..1]).args(&words[3..]).args(more).output().unwrap().into();
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()["loss"].as_f64().unwrap()
    };
    let (before, after) = (loss("0"), loss("100"));
    assert!(after < 0.5 * before, "{before} {after}");
    assert!(sandbox.fine(["list"]).stdout.contains("(plugins/izhikevich.toml)"));
    assert!(sandbox.fine(["show", "izhikevich"]).stdout.contains("d v / d v_1"));
    assert!(sandbox.fine(["schema"]).stdout.contains("layer.izhikevich"));
    let page = std::fs::read_to_string(sandbox.path("results/izhikevich/report.html")).unwrap();
    assert!(page.contains("izhikevich"));
    let id = || {
        let ran: Ran = (sandbox.command().args(["check", "--print", "trials"]).args(&words[..1]).args(&words[3..]))
            .output()
            .unwrap()
            .into();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.stdout.lines().next().unwrap().to_string()
    };
    let first = id();
    let text = std::fs::read_to_string(sandbox.path("plugins/izhikevich.toml")).unwrap();
    sandbox.write("plugins/izhikevich.toml", text.replace("140", "141"));
    assert_ne!(first, id());
}

#[test]
fn the_readmes_mistake_is_underlined_as_it_says() {
    let (sandbox, words) = izhikevich();
    let text = std::fs::read_to_string(sandbox.path("plugins/izhikevich.toml")).unwrap();
    sandbox.write("plugins/izhikevich.toml", text.replace("gain * current", "gain * curent"));
    let ran: Ran = sandbox.command().args(words).output().unwrap().into();
    assert_eq!(ran.status, 2);
    let shown = fenced(README, "").into_iter().find(|text| text.contains("`curent`")).unwrap();
    assert!(ran.stderr.starts_with(&format!("{shown}\n")), "{}\n{shown}", ran.stderr);
}
