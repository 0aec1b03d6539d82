//! Seeds whose number follows from results: until a mean is known, and in a race.

use super::bad_input::refusal;
use super::run::{assert_same_content, assert_same_tables, table};
use super::{SMALL, Sandbox};
use std::process::{Child, Stdio};
use std::time::Duration;

const UNTIL: &str = r#"seeds = { until = { relative_half_width = 0.4, metric = "l1", min = 8 }, max = 60 }"#;

const RACE: &str = r#"
[sweep]
pruner = "race"
minimize = "l1"
fresh = 5

[sweep.over]
"optimizer.lr" = [1e-5, 1e-2, 2e-2, 1e-4]
"#;

fn until() -> Sandbox {
    Sandbox::with("small.toml", &SMALL.replace("seeds = [0]", UNTIL))
}

fn race() -> Sandbox {
    Sandbox::with("small.toml", &format!("{}{RACE}", SMALL.replace("seeds = [0]", "seeds = { count = 24 }")))
}

/// Seeds of a folder's rows, by learning rate where there is one.
fn seeds(sandbox: &Sandbox, out: &str, lr: Option<f64>) -> Vec<u64> {
    let trials = table(&sandbox.path(out), "trials.parquet");
    let rates = lr.map(|_| trials.column("param.optimizer.lr").unwrap().f64().unwrap().clone());
    let seeds = trials.column("seed").unwrap().u64().unwrap().clone();
    let is_of = |row: usize| rates.as_ref().is_none_or(|rates| rates.get(row) == lr);
    seeds.iter().enumerate().filter(|(row, _)| is_of(*row)).map(|(_, seed)| seed.unwrap()).collect()
}

#[test]
fn seeds_are_run_until_the_mean_is_known_and_no_further() {
    let sandbox = until();
    let ran = sandbox.fine(["small.toml", "--jobs", "2"]);
    let n = seeds(&sandbox, "results/small", None).len();
    assert!([12, 18, 27, 41].contains(&n), "it stopped at a look between the first and the last, not at {n}");
    assert!(ran.stdout.contains(&format!("from {n} seeds, +- ")), "{}", ran.stdout);
    assert!(ran.stdout.contains("Looks were planned after 8, 12, 18, 27, 41 and 60 seeds"), "{}", ran.stdout);
    assert!(ran.stdout.contains("has the level 99.17 %"), "{}", ran.stdout);
    let page = std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap();
    assert!(page.contains("Seeds were run until the geometric mean of l1 was known to +- 40 %"), "{page}");
    assert!(page.contains(&format!("from {n} seeds")));
    // What was run are the trials that a fixed number of seeds has.
    sandbox.fine(["small.toml", "--out", "fixed", "--seeds", &format!("0..{n}")]);
    assert_same_tables(&sandbox.path("results/small"), &sandbox.path("fixed"));
    let again = sandbox.fine(["small.toml"]);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
}

#[test]
fn seeds_that_are_there_already_count_and_a_sharper_question_runs_more() {
    let sandbox = until();
    sandbox.fine(["small.toml", "--out", "grown", "--seeds", "0..5"]);
    let went_on = sandbox.fine(["small.toml", "--out", "grown"]);
    assert!(went_on.stderr.contains("5 of 8 trials are there already"), "{}", went_on.stderr);
    sandbox.fine(["small.toml", "--out", "whole", "--jobs", "1"]);
    assert_same_content(&sandbox.path("grown"), &sandbox.path("whole"));
    let before = seeds(&sandbox, "whole", None).len();
    let sharper = ["small.toml", "--out", "whole", "--set", "run.seeds.until.relative_half_width=0.1"];
    let ran = sandbox.fine(sharper);
    assert_eq!(seeds(&sandbox, "whole", None).len(), 60);
    assert!(
        ran.stdout.contains("from 60 seeds") && ran.stdout.contains("less precise than asked for"),
        "{}",
        ran.stdout
    );
    assert!(before < 60);
}

#[test]
fn each_configuration_stops_by_itself() {
    let sandbox = until();
    sandbox.fine(["small.toml", "--sweep", "optimizer.lr=1e-5,1e-2", "--out", "both"]);
    for lr in ["1e-5", "1e-2"] {
        let set = format!("optimizer.lr={lr}");
        sandbox.fine(["small.toml", "--set", &set, "--out", lr]);
        let alone = seeds(&sandbox, lr, None);
        assert_eq!(seeds(&sandbox, "both", Some(lr.parse().unwrap())), alone, "{lr}");
    }
}

#[test]
fn a_race_drops_what_is_worse_and_runs_the_winner_on_fresh_seeds() {
    let sandbox = race();
    let ran = sandbox.fine(["small.toml", "--jobs", "2"]);
    let of = |lr: f64| seeds(&sandbox, "results/small", Some(lr));
    let lost: Vec<Vec<u64>> = [1e-5, 1e-4].map(of).to_vec();
    assert!(lost.iter().all(|seeds| seeds.len() < 24), "learning hardly anything is worse: {lost:?}");
    let stayed = [1e-2, 2e-2].map(of);
    let (winner, other) = if stayed[0].len() > stayed[1].len() { (0, 1) } else { (1, 0) };
    assert_eq!(stayed[winner], (0..29).collect::<Vec<u64>>(), "all seeds, then five fresh ones");
    assert_eq!(stayed[other], (0..24).collect::<Vec<u64>>());
    let first = ran.stdout.lines().nth(2).unwrap();
    assert!(
        first.ends_with("won") && first.split_whitespace().nth(1) == Some("24"),
        "fresh seeds count apart: {first}"
    );
    assert!(ran.stdout.contains("dropped after "), "{}", ran.stdout);
    assert!(ran.stdout.contains("on the 24 seeds that chose it and of "), "{}", ran.stdout);
    let page = std::fs::read_to_string(sandbox.path("results/small/report.html")).unwrap();
    assert!(page.contains("2 were dropped in a race") && page.contains("on 5 fresh ones"), "{page}");
    assert!(page.contains("l1 against the first"), "configurations are compared in the page");
    sandbox.fine(["small.toml", "--out", "one", "--jobs", "1"]);
    assert_same_content(&sandbox.path("results/small"), &sandbox.path("one"));
    let dir = ["verify", "results/small", "--all"];
    sandbox.fine(dir);
}

#[test]
fn the_best_of_a_grid_is_run_again_where_fresh_seeds_are_asked_for() {
    let grid = RACE.replace("pruner = \"race\"\n", "");
    let sandbox = Sandbox::with("small.toml", &format!("{SMALL}{grid}"));
    let ran = sandbox.fine(["small.toml", "--seeds", "3,1"]);
    let mut counts: Vec<usize> =
        [1e-5, 1e-4, 1e-2, 2e-2].map(|lr| seeds(&sandbox, "results/small", Some(lr)).len()).into();
    counts.sort_unstable();
    assert_eq!(counts, [2, 2, 2, 7]);
    assert!(ran.stdout.contains("on the 2 seeds that chose it and of ") && ran.stdout.contains("on 5 fresh ones"));
    let again = sandbox.fine(["small.toml", "--seeds", "3,1"]);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
}

fn start(sandbox: &Sandbox, out: &str) -> Child {
    let options = ["small.toml", "--out", out, "--jobs", "2"];
    sandbox.command().args(options).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// What is asked for next follows from what is there, also after a kill at any moment.
#[test]
fn a_killed_race_ends_like_one_that_was_not() {
    let sandbox = race();
    sandbox.fine(["small.toml", "--out", "whole"]);
    for delay in [20, 40, 60, 90, 120] {
        let mut child = start(&sandbox, "killed");
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    sandbox.fine(["small.toml", "--out", "killed"]);
    assert_same_content(&sandbox.path("killed"), &sandbox.path("whole"));
}

/// What is printed without the place of the page and the seconds that a trial took.
fn tables(sandbox: &Sandbox, out: &str) -> String {
    let printed = sandbox.fine(["small.toml", "--out", out]).stdout;
    let is_trial = |line: &&str| line.len() > 16 && line[..16].chars().all(|c| c.is_ascii_hexdigit());
    let timeless = |line: &str| match Some(line).filter(is_trial) {
        Some(trial) => trial.rsplit_once("  ").unwrap().0.to_string() + "\n",
        None => format!("{line}\n"),
    };
    printed.lines().filter(|line| !line.contains(out)).map(timeless).collect()
}

/// Both what is printed and the page say the same of a request, whatever the folder had before.
fn assert_nothing_is_left_of(sandbox: &Sandbox, earlier: &[&str]) {
    let mut before = vec!["small.toml", "--out", "used"];
    before.extend(earlier);
    assert!(sandbox.command().args(&before).status().unwrap().success());
    assert_eq!(tables(sandbox, "used"), tables(sandbox, "clean"), "{earlier:?}");
    let said = |out: &str| {
        let page = std::fs::read_to_string(sandbox.path(out).join("report.html")).unwrap();
        // Which trials the folder has, and of which it kept sequences, may differ.
        let sections = page.split("<section id=").find(|section| section.starts_with("\"configurations\""));
        let status = page.lines().find(|line| line.contains("Finished: ")).unwrap();
        format!("{status}{}", sections.unwrap_or_default())
    };
    assert_eq!(said("used"), said("clean"), "{earlier:?}");
    for out in ["used", "clean"] {
        std::fs::remove_dir_all(sandbox.path(out)).unwrap();
    }
}

#[test]
fn tables_and_page_say_what_was_asked_for_last() {
    let race = race();
    assert_nothing_is_left_of(&race, &["--seeds", "0..40"]);
    assert_nothing_is_left_of(&race, &["--set", "sweep.pruner.kind=race", "--set", "sweep.pruner.min=16"]);
    assert_nothing_is_left_of(&race, &["--sweep", "optimizer.lr=3e-2,1e-5,1e-2,2e-2,1e-4"]);
    let rates = Sandbox::with(
        "small.toml",
        &format!("{}\n[sweep.over]\n\"optimizer.lr\" = [1e-5, 1e-2]\n", SMALL.replace("seeds = [0]", UNTIL)),
    );
    assert_nothing_is_left_of(&rates, &["--sweep", "optimizer.lr=1e-5,1e-2,1e-3"]);
    let until = until();
    assert_nothing_is_left_of(&until, &["--seeds", "0..50"]);
    assert_nothing_is_left_of(&until, &["--set", "run.seeds.until.relative_half_width=0.2"]);
    let fixed = Sandbox::with("small.toml", &SMALL.replace("seeds = [0]", "seeds = { count = 60 }"));
    let until = UNTIL.split_once('=').unwrap().1.trim();
    let set = format!("run.seeds={until}");
    assert_nothing_is_left_of(&fixed, &["--set", &set]);
}

#[test]
fn comparisons_leave_fresh_seeds_out_and_take_medians_over_common_ones() {
    let sandbox = race();
    sandbox.fine(["small.toml", "--out", "one"]);
    sandbox.fine(["small.toml", "--out", "other"]);
    let diff = sandbox.fine(["diff", "one", "other"]).stdout;
    let loss = diff.lines().find(|line| line.trim_start().starts_with("loss ")).unwrap();
    assert_eq!(loss.split_whitespace().nth(1), Some("24"), "{loss}");
    let compared = sandbox.fine(["compare", "one", "--baseline", "optimizer.lr=1e-5"]).stdout;
    let rows: Vec<Vec<&str>> = compared.lines().skip(2).take(3).map(|line| line.split_whitespace().collect()).collect();
    let lost = seeds(&sandbox, "one", Some(1e-5)).len().to_string();
    assert!(rows.iter().any(|row| row[3] == lost), "over the seeds that both have: {compared}");
    let wrong = sandbox.runner(["compare", "one", "--baseline", "lr=1e-5"]);
    assert!(wrong.stderr.contains("`lr` is not swept in one"), "{}", wrong.stderr);
}

fn refused(run: &str, sweep: &str) -> String {
    let text = format!("{}{sweep}", SMALL.replace("seeds = [0]", run));
    refusal(&Sandbox::with("small.toml", &text), &["small.toml"])
}

#[test]
fn rules_for_seeds_that_cannot_be_followed_are_refused() {
    let until = |rest: &str| format!("seeds = {{ until = {{ relative_half_width = 0.1, metric = \"l1\" }}{rest} }}");
    insta::assert_snapshot!("seeds_count_and_until", refused(&until(", count = 3"), ""));
    insta::assert_snapshot!("seeds_without_max", refused(&until(""), ""));
    insta::assert_snapshot!("seeds_min_above_max", refused(&until(", max = 9"), ""));
    insta::assert_snapshot!("seeds_neither", refused("seeds = { from = 3 }", ""));
    insta::assert_snapshot!("seeds_max_alone", refused("seeds = { max = 30 }", ""));
    insta::assert_snapshot!("seeds_unknown_metric", refused(&until(", max = 30").replace("l1", "nmes"), ""));
    insta::assert_snapshot!("race_and_until", refused(&until(", max = 30"), RACE));
    insta::assert_snapshot!("race_with_too_few_seeds", refused("seeds = { count = 6 }", RACE));
    insta::assert_snapshot!(
        "race_of_one",
        refused("seeds = { count = 30 }", &RACE.replace("1e-5, 1e-2, 2e-2, 1e-4", "1e-5"))
    );
    let torch = "seeds = [4294967290]\n\n[random]\ngenerator = \"torch\"";
    let grid = RACE.replace("pruner = \"race\"\n", "fresh = 6\n").replace("fresh = 5\n", "");
    insta::assert_snapshot!("fresh_seeds_that_torch_has_not", refused(torch, &grid));
    insta::assert_snapshot!("seeds_beyond_all", refused("seeds = { from = 9223372036854775806, count = 4 }", ""));
    insta::assert_snapshot!("race_misspelt", refused("seeds = { count = 30 }", &RACE.replace("\"race\"", "\"rase\"")));
}

/// A metric that is not defined is no reason to be the best, nor a trial that only fits what it was trained on.
#[test]
fn an_undefined_metric_never_wins_and_the_best_weights_are_those_of_the_objective() {
    let text = SMALL.replace("metrics = [\"l1\", \"nmse\"]", "metrics = [\"l1\", \"r2\"]");
    let sweep = "\n[sweep]\nmaximize = \"r2\"\nfresh = 2\n\n[sweep.over]\n\"data.steps\" = [1, 12]\n";
    let sandbox = Sandbox::with("small.toml", &format!("{text}{sweep}"));
    let ran = sandbox.fine(["small.toml", "--seeds", "0..3", "--set", "run.save=best"]);
    let first = ran.stdout.lines().nth(2).unwrap();
    assert!(first.split_whitespace().next() == Some("12"), "{}", ran.stdout);
    assert!(ran.stdout.contains("The best, data.steps = 12,"), "{}", ran.stdout);
    let trials = table(&sandbox.path("results/small"), "trials.parquet");
    let (ids, r2) = (trials.column("trial").unwrap().str().unwrap(), trials.column("r2").unwrap().f64().unwrap());
    let defined = ids.iter().zip(r2.iter()).filter(|(_, r2)| r2.is_some_and(f64::is_finite));
    let best = defined.max_by(|a, b| a.1.unwrap().total_cmp(&b.1.unwrap())).unwrap().0.unwrap();
    let kept: Vec<_> = std::fs::read_dir(sandbox.path("results/small/weights")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].as_ref().unwrap().path().file_stem().unwrap().to_str(), Some(best));
}
