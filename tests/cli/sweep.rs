//! Sweeps: which trials they mean, that these are the trials of the same values set by hand, and that folders grow.

use super::run::{assert_same_content, table};
use super::{SMALL, Sandbox};

const SWEPT: &str = r#"
[sweep]
minimize = "nmse"

[sweep.over]
hidden = [4, 8]
"optimizer.lr" = [1e-3, 1e-2]
"#;

fn swept() -> Sandbox {
    Sandbox::with("small.toml", &format!("{SMALL}{SWEPT}"))
}

fn column(sandbox: &Sandbox, out: &str, name: &str) -> Vec<String> {
    let trials = table(&sandbox.path(out), "trials.parquet");
    let column = trials.column(name).unwrap().cast(&polars::prelude::DataType::String).unwrap();
    column.str().unwrap().iter().map(|text| text.unwrap_or("").to_string()).collect()
}

fn ids(printed: &str) -> Vec<String> {
    printed.lines().filter_map(|line| line.strip_prefix("# trial ")).map(String::from).collect()
}

#[test]
fn a_trial_of_a_sweep_is_the_trial_of_the_same_values_set_by_hand() {
    let sandbox = swept();
    sandbox.write("plain.toml", SMALL);
    let all = ids(&sandbox.fine(["check", "small.toml", "--print", "trials", "--seeds", "0,7"]).stdout);
    let mut by_hand = Vec::new();
    for (hidden, lr) in [("4", "1e-3"), ("4", "1e-2"), ("8", "1e-3"), ("8", "1e-2")] {
        let (hidden, lr) = (format!("let.hidden={hidden}"), format!("optimizer.lr={lr}"));
        let set = ["check", "plain.toml", "--print", "trials", "--seeds", "0,7", "--set", &hidden, "--set", &lr];
        by_hand.extend(ids(&sandbox.fine(set).stdout));
    }
    assert_eq!(all, by_hand);
    let option = ["check", "plain.toml", "--print", "trials", "--seeds", "0,7", "--sweep", "let.hidden=4,8", "--sweep"];
    let mut option: Vec<&str> = option.to_vec();
    option.push("optimizer.lr=1e-3, 1e-2");
    let printed: super::Ran = sandbox.command().args(option).output().unwrap().into();
    assert_eq!(ids(&printed.stdout), all, "{}", printed.stderr);
}

#[test]
fn what_a_worker_keeps_from_one_configuration_to_the_next_changes_no_weights() {
    // Neighbours share their network, or change its sizes, the length of its sequences, or the loss on it.
    let swept = "[sweep.over]\nhidden = [4, 8]\n\"data.steps\" = [12, 9]\n\"train.loss\" = [\"mse\", \"l1\"]\n\"optimizer.lr\" = [1e-3, 1e-2]\n";
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}\n{swept}"));
    sandbox.write("plain.toml", SMALL);
    sandbox.fine(["small.toml", "--jobs", "1", "--out", "swept"]);
    let mut compared = 0;
    for (hidden, steps, loss, lr) in [("4", "12", "mse", "1e-2"), ("4", "9", "l1", "1e-3"), ("8", "9", "l1", "1e-2")] {
        let values = [("let.hidden", hidden), ("data.steps", steps), ("train.loss", loss), ("optimizer.lr", lr)];
        let set = values.iter().flat_map(|(key, value)| ["--set".to_string(), format!("{key}={value}")]);
        let ran: super::Ran =
            sandbox.command().args(["plain.toml", "--fresh", "--out", "alone"]).args(set).output().unwrap().into();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        for weights in std::fs::read_dir(sandbox.path("alone/weights")).unwrap() {
            let weights = weights.unwrap();
            let same = sandbox.path("swept/weights").join(weights.file_name());
            assert!(std::fs::read(weights.path()).unwrap() == std::fs::read(same).unwrap(), "{values:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 3);
}

/// Each quantity, what may be asked of it, and what is said where that ranks the worst first.
#[test]
fn a_direction_that_ranks_the_worst_first_is_told() {
    let cases = [
        ("minimize", "nmse", None),
        ("maximize", "nmse", Some("the lower it is, the better")),
        ("maximize", "r2", None),
        ("minimize", "r2", Some("the higher it is, the better")),
        ("maximize", "loss", Some("the lower it is, the better")),
        ("minimize", "loss", None),
    ];
    for (direction, quantity, told) in cases {
        let swept = SWEPT.replace("minimize = \"nmse\"", &format!("{direction} = \"{quantity}\""));
        let measured = SMALL.replace("\"nmse\"]", "\"nmse\", \"r2\"]");
        let sandbox = Sandbox::with("small.toml", &format!("{measured}{swept}"));
        for command in [["check", "small.toml"], ["run", "small.toml"]] {
            let ran = sandbox.fine(command);
            let note = told.map(|told| format!("note: `{direction} = \"{quantity}\"` ranks the worst first: {told}"));
            match note {
                Some(note) => assert!(ran.stderr.contains(&note), "{command:?} {}", ran.stderr),
                None => assert!(!ran.stderr.contains("ranks the worst"), "{command:?} {}", ran.stderr),
            }
        }
    }
}

/// The mean that stands beside an interval is the interval's own, by its name and by its digits, wherever it stands.
#[test]
fn console_and_page_name_one_mean_and_show_its_digits() {
    for (objective, mean) in [("minimize = \"nmse\"", "geometric mean nmse"), ("maximize = \"r2\"", "mean r2")] {
        let swept = SWEPT.replace("minimize = \"nmse\"", objective);
        let measured = SMALL.replace("\"nmse\"]", "\"nmse\", \"r2\"]");
        let sandbox = Sandbox::with("small.toml", &format!("{measured}{swept}"));
        let ran = sandbox.fine(["small.toml", "--seeds", "0..5"]);
        let page = std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap();
        let cells =
            |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(String::from).collect();
        let lines: Vec<Vec<String>> = ran.stdout.lines().skip(1).take(5).map(cells).collect();
        let at = lines[0].iter().position(|heading| heading == mean).expect(mean);
        assert!(page.contains(&format!("{mean}</th>")), "{mean}");
        let (metric, trials) =
            (mean.rsplit(' ').next().unwrap(), table(&sandbox.path("results/small"), "trials.parquet"));
        let values: Vec<f64> = trials.column(metric).unwrap().f64().unwrap().into_no_null_iter().collect();
        let means: Vec<f64> = values
            .chunks(5)
            .map(|seeds| match mean.starts_with("geometric") {
                true => (seeds.iter().map(|value| value.ln()).sum::<f64>() / 5.0).exp(),
                false => seeds.iter().sum::<f64>() / 5.0,
            })
            .collect();
        for line in &lines[1..] {
            let shown: f64 = line[at].parse().unwrap();
            assert!(means.iter().any(|mean| (shown / mean - 1.0).abs() < 1e-3), "{shown} {means:?}");
            // The page shows three digits.
            let cells = page.split("<td").filter_map(|cell| cell.split(['>', '<']).nth(1)?.parse::<f64>().ok());
            assert!(cells.into_iter().any(|cell| (cell / shown - 1.0).abs() < 5e-3), "{shown} is not on the page");
        }
    }
}

#[test]
fn rows_say_their_values_and_a_table_ranks_the_configurations() {
    let sandbox = swept();
    let ran = sandbox.fine(["small.toml", "--seeds", "0..3"]);
    assert_eq!(column(&sandbox, "results/small", "param.hidden").concat(), "444444888888");
    let rates = column(&sandbox, "results/small", "param.optimizer.lr");
    assert_eq!(rates[2..4], ["0.001", "0.01"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "over seeds, ordered by the median nmse");
    assert!(lines[1].contains("hidden  optimizer.lr  parameters  seeds"), "{}", lines[1]);
    let nmse = |line: &str| line.split_whitespace().last().unwrap().parse::<f64>().unwrap();
    let ranked: Vec<f64> = lines[2..6].iter().map(|line| nmse(line)).collect();
    assert!(ranked.is_sorted(), "{ranked:?}");
    let page = std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap();
    assert!(page.contains("12 trials in 4 configurations of `hidden`, `optimizer.lr`, seeds 0, 1, 2"), "{page}");
    assert!(page.contains("It was chosen by these very seeds"));
    let best = lines[2].split_whitespace().take(2).collect::<Vec<_>>();
    assert!(
        page.contains(&format!("the first one (hidden = {}, optimizer.lr = {})", best[0], best[1])),
        "{}",
        lines[2]
    );
}

#[test]
fn an_enlarged_grid_runs_only_what_is_new_and_equals_one_made_at_once() {
    let sandbox = swept();
    sandbox.fine(["small.toml", "--out", "grown", "--seeds", "0..2"]);
    let wider = SWEPT.replace("[4, 8]", "[2, 4, 8]");
    sandbox.write("small.toml", format!("{SMALL}{wider}"));
    let again = sandbox.fine(["small.toml", "--out", "grown", "--seeds", "0..2"]);
    assert!(again.stderr.contains("8 of 12 trials are there already"), "{}", again.stderr);
    sandbox.fine(["small.toml", "--out", "whole", "--seeds", "0..2", "--jobs", "1"]);
    let rows = |out: &str| table(&sandbox.path(out), "trials.parquet").drop_many(["started", "finished", "duration_s"]);
    assert!(rows("grown").equals_missing(&rows("whole")));
    sandbox.write("small.toml", format!("{SMALL}{}", SWEPT.replace("hidden =", "\"layer.hidden_1.size\" =")));
    assert_eq!(sandbox.runner(["small.toml", "--out", "grown"]).status, 2, "other dimensions are another study");
}

#[test]
fn a_sweep_does_not_depend_on_the_number_of_workers() {
    let sandbox = swept();
    sandbox.fine(["small.toml", "--seeds", "0..3", "--jobs", "1", "--out", "one"]);
    sandbox.fine(["small.toml", "--seeds", "0..3", "--jobs", "4", "--out", "four"]);
    assert_same_content(&sandbox.path("one"), &sandbox.path("four"));
}

#[test]
fn more_random_trials_begin_with_the_same_ones() {
    let random = "[sweep]\nsampler = \"random\"\ntrials = 3\n\n[sweep.over]\n\"optimizer.lr\" = { low = 1e-4, high = 1e-1, scale = \"log\" }\n";
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}\n{random}"));
    let trials = |options: [&str; 2]| {
        let [key, value] = options;
        ids(&sandbox.fine(["check", "small.toml", "--print", "trials", key, value]).stdout)
    };
    let three = trials(["--set", "sweep.trials=3"]);
    let five = trials(["--set", "sweep.trials=5"]);
    assert_eq!((three.len(), five.len()), (3, 5));
    assert_eq!(five[..3], three);
    assert_ne!(trials(["--set", "sweep.sampler={ kind = \"random\", seed = 1 }"]), three);
}

#[test]
fn variants_patch_layers_and_the_study_prints_back_whole() {
    let variants = "[sweep.variants.plain]\n\n[sweep.variants.wide.layer.hidden_1]\nsize = \"=2 * hidden\"\n";
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}\n{variants}"));
    let trials = sandbox.fine(["check", "small.toml", "--print", "trials"]).stdout;
    assert!(trials.contains("size = 8") && trials.contains("size = 16") && !trials.contains("sweep"), "{trials}");
    let study = sandbox.fine(["check", "small.toml", "--print", "study"]).stdout;
    assert!(study.contains("=2 * hidden"), "{study}");
    sandbox.write("back.toml", &study);
    assert_eq!(sandbox.fine(["check", "back.toml", "--print", "study"]).stdout, study);
    assert_eq!(sandbox.fine(["check", "back.toml", "--print", "trials"]).stdout, trials);
}

#[test]
fn a_swept_number_that_becomes_a_text_stays_readable() {
    let sandbox = swept();
    sandbox.write("plain.toml", SMALL);
    let sweep = |values: &str| {
        let option = format!("layer.hidden_1.beta={values}");
        sandbox.fine(["plain.toml", "--sweep", &option]);
    };
    sweep("0,1");
    sweep("0,1,0.5");
    assert_eq!(column(&sandbox, "results/small", "param.layer.hidden_1.beta"), ["0.0", "1.0", "0.5"]);
    sweep("{ uniform = [0.0, 1.0] },0.5");
    let mut values = column(&sandbox, "results/small", "param.layer.hidden_1.beta");
    assert_eq!(values[..2], ["{ uniform = [0.0, 1.0] }", "0.5"], "what the file asks for comes first");
    values.sort();
    assert_eq!(values, ["0.0", "0.5", "1.0", "{ uniform = [0.0, 1.0] }"]);
}

#[test]
fn every_mistake_of_a_sweep_is_reported_at_once() {
    let sweep = r#"
[sweep]
sampler = "grit"
maximize = "accuracy"
prune = "none"

[sweep.over]
hiden = [4, 8]
"optimizer.lr" = []
"train.batch" = { low = 4, high = 2 }
"run.seeds" = [1, 2]
"data.steps" = [12, 12]
"#;
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}{sweep}"));
    let ran = sandbox.runner(["small.toml"]);
    assert_eq!(ran.status, 2);
    assert!(!sandbox.path("results").exists());
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn a_value_that_does_not_fit_is_underlined_in_the_sweep() {
    let sandbox =
        Sandbox::with("small.toml", &format!("{SMALL}{}", SWEPT.replace("[1e-3, 1e-2]", "[1e-3, -1, \"fast\"]")));
    let ran = sandbox.runner(["small.toml"]);
    assert_eq!(ran.status, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn what_a_sampler_lacks_is_said() {
    let range = "\n[sweep]\ntrials = 3\n\n[sweep.over]\nhidden = { low = 1, high = 8 }\n";
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}{range}"));
    let mut said = sandbox.runner(["check", "small.toml"]).stderr;
    sandbox.write("small.toml", format!("{SMALL}{}", range.replace("trials = 3\n", "")));
    said += &sandbox.runner(["check", "small.toml"]).stderr;
    sandbox.write("small.toml", format!("{SMALL}{}", range.replace("trials = 3", "sampler = \"random\"")));
    said += &sandbox.runner(["check", "small.toml"]).stderr;
    insta::assert_snapshot!(said);
}
