//! Studies that a program runs through the library, beside those of the command line.

use super::run::{assert_same_content, table};
use super::{SMALL, Sandbox};
use runner::spec::Overrides;
use runner::store::record::Record;
use runner::study::{End, Event, Options, Study, StudyError, Unwatched, Watch};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

fn options(sandbox: &Sandbox, out: &str, seeds: &str) -> Options {
    let overrides = Overrides { seeds: Some(seeds.into()), ..Overrides::default() };
    Options { overrides, out: Some(sandbox.path(out)), jobs: 2, ..Options::default() }
}

#[test]
fn a_program_and_the_command_line_make_one_folder_and_go_on_with_each_others() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let (file, go) = (sandbox.path("small.toml"), AtomicBool::new(false));
    let run = |out: &str, seeds: &str| {
        Study::new(&file, options(&sandbox, out, seeds), &[]).unwrap().run(&Unwatched, &go).unwrap()
    };
    let ran = run("library", "0..3");
    assert_eq!((ran.end, ran.rows.len(), ran.manifest.planned), (End::Finished, 3, 3));
    assert_eq!(ran.page, Some(sandbox.path("library/report.html")));
    assert_eq!(ran.tables().unwrap().trials.frame(), &table(&sandbox.path("library"), "trials.parquet"));
    sandbox.fine(["small.toml", "--seeds", "0..3", "--out", "line"]);
    assert_same_content(&sandbox.path("library"), &sandbox.path("line"));

    let again = sandbox.fine(["small.toml", "--seeds", "0..3", "--out", "library"]);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    assert_eq!(run("line", "0..3").end, End::There);
    assert_eq!(run("line", "0..5").end, End::Finished);
    sandbox.fine(["small.toml", "--seeds", "0..5", "--out", "library"]);
    assert_same_content(&sandbox.path("library"), &sandbox.path("line"));
}

/// Counts what it sees, and stops the study when some trials have ended.
struct Counting<'a> {
    seen: Mutex<Vec<String>>,
    after: usize,
    stop: &'a AtomicBool,
}

impl Counting<'_> {
    fn saw(&self, what: String) -> usize {
        let mut seen = self.seen.lock().unwrap();
        seen.push(what);
        seen.iter().filter(|what| what.starts_with("ended")).count()
    }
}

impl Watch for Counting<'_> {
    fn asked(&self, trials: usize, iterations: u64) {
        self.saw(format!("asked {trials} {iterations}"));
    }

    fn ended(&self, record: &Record) {
        if self.saw(format!("ended {}", record.seed)) == self.after {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn told(&self, event: &Event<'_>) {
        match event {
            Event::Known { there, planned, .. } => drop(self.saw(format!("known {there} {planned}"))),
            Event::Training => drop(self.saw("training".into())),
            Event::Trained => drop(self.saw("trained".into())),
            _ => {}
        }
    }
}

#[test]
fn a_watcher_sees_a_study_go_on_and_may_stop_it_and_it_goes_on_from_there() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    let run = |after: usize| {
        let stop = AtomicBool::new(false);
        let watch = Counting { seen: Mutex::default(), after, stop: &stop };
        let options = Options { jobs: 1, ..options(&sandbox, "cut", "0..40") };
        let ran = Study::new(&sandbox.path("small.toml"), options, &[]).unwrap().run(&watch, &stop).unwrap();
        (ran, watch.seen.into_inner().unwrap())
    };
    let (ran, seen) = run(2);
    assert_eq!(ran.end, End::Interrupted);
    assert!((2..40).contains(&ran.rows.len()), "{}", ran.rows.len());
    assert_eq!(seen[..3], ["asked 40 800", "training", "ended 0"]);
    assert_eq!(seen.last().unwrap(), "trained");
    let (there, (ran, seen)) = (ran.rows.len(), run(usize::MAX));
    assert_eq!((ran.end, ran.rows.len()), (End::Finished, 40));
    assert_eq!(seen[0], format!("known {there} 40"));
    assert_eq!(seen.iter().filter(|what| what.starts_with("ended")).count(), 40 - there);
    sandbox.fine(["small.toml", "--seeds", "0..40", "--out", "whole"]);
    assert_same_content(&sandbox.path("cut"), &sandbox.path("whole"));
}

#[test]
fn the_documentation_shows_the_example_that_is_compiled() {
    let example = include_str!("../../examples/embed.rs").split_once("\n\n").unwrap().1;
    assert!(include_str!("../../docs/library.md").contains(example));
}

#[test]
fn what_is_wrong_comes_back_with_its_places_and_changes_nothing() {
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("steps = 12", "stps = 12"));
    let refused = Study::new(&sandbox.path("small.toml"), options(&sandbox, "out", "0..3"), &[]).err().unwrap();
    assert!(matches!(refused, StudyError::Refused(_)));
    let line = 1 + SMALL.lines().position(|line| line.contains("steps = 12")).unwrap();
    let said = refused.to_string();
    assert!(said.contains(&format!("small.toml:{line}: unknown key `stps`")), "{said}");
    assert!(!sandbox.path("out").exists());

    sandbox.write("small.toml", SMALL);
    sandbox.fine(["small.toml", "--out", "out"]);
    let mut other = options(&sandbox, "out", "0..3");
    other.overrides.set = vec!["optimizer.lr=0.5".into()];
    let study = Study::new(&sandbox.path("small.toml"), other, &[]).unwrap();
    let refused = study.run(&Unwatched, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(refused, StudyError::Folder(_)), "{refused}");
    assert_eq!(study.differences(), ["optimizer.lr: 0.01 -> 0.5"]);
}
