//! Whatever is asked for ends, in time and in memory that follow from its size.

use super::run::table;
use super::{SMALL, Sandbox};
use polars::prelude::*;
use std::fs::File;

/// Puts numbers, one after the other and from the first on again, in place of those of some columns of a table.
fn put(sandbox: &Sandbox, name: &str, columns: &[&str], numbers: &[Option<f64>]) {
    let folder = sandbox.path("results/small");
    let mut changed = table(&folder, name);
    for column in columns {
        let values: Vec<Option<f64>> = numbers.iter().copied().cycle().take(changed.height()).collect();
        changed.with_column(Series::new((*column).into(), values).into()).unwrap();
    }
    ParquetWriter::new(File::create(folder.join(name)).unwrap()).finish(&mut changed).unwrap();
}

/// The texts of a picture that are numbers.
fn ticks(sandbox: &Sandbox, plot: &str) -> Vec<String> {
    let svg = std::fs::read_to_string(sandbox.path(&format!("results/small/plots/{plot}.svg"))).unwrap();
    let texts = svg.split("<text ").skip(1).filter_map(|text| text.split_once('>'));
    let texts = texts.map(|(_, text)| text.split("</text>").next().unwrap().trim().to_string());
    texts.filter(|text| text.parse::<f64>().is_ok()).collect()
}

#[test]
fn a_report_is_drawn_of_any_numbers_with_a_dozen_ticks_at_most() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--seeds", "0..12", "--quiet"]);
    let (some, nan, inf) = (Some, Some(f64::NAN), Some(f64::INFINITY));
    for numbers in [
        vec![some(1e-308), some(1.0), some(1e308)],
        vec![some(5e-324), some(1e-320), some(1e-310)],
        vec![some(5e-324)],
        vec![some(f64::MAX), some(f64::MIN)],
        vec![some(f64::MAX), some(f64::MIN_POSITIVE)],
        vec![some(1e16), some(1e16 + 2.0)],
        vec![some(1.0), some(1.0 + f64::EPSILON)],
        vec![some(0.0)],
        vec![some(-1e300), some(1e-300), None],
        vec![nan, inf, some(1.0), some(f64::NEG_INFINITY), some(1e9)],
        vec![nan],
        vec![inf],
        vec![None],
    ] {
        put(&sandbox, "trials.parquet", &["loss", "l1", "nmse", "duration_s"], &numbers);
        put(&sandbox, "history.parquet", &["loss"], &numbers);
        put(&sandbox, "traces.parquet", &["input", "target", "untrained", "output"], &numbers);
        put(&sandbox, "layers.parquet", &["mem"], &numbers);
        sandbox.fine(["report", "results/small"]);
        for entry in std::fs::read_dir(sandbox.path("results/small/plots")).unwrap() {
            let path = entry.unwrap().path();
            let plot = path.file_stem().unwrap().to_str().unwrap();
            // Those of two axes; `output` has several panels, `layer_*` a raster above.
            assert!(ticks(&sandbox, plot).len() <= 6 * 24, "{plot} of {numbers:?}: {:?}", ticks(&sandbox, plot));
        }
    }
}

#[test]
fn seeds_that_are_close_to_each_other_and_far_from_zero_have_a_picture() {
    let seeds = "seeds = [9007199254740993, 9007199254740995, 9223372036854775807]";
    let sandbox = Sandbox::with("small.toml", &SMALL.replace("seeds = [0]", seeds));
    sandbox.fine(["small.toml", "--quiet"]);
    assert!(ticks(&sandbox, "by_seed").contains(&"8e18".to_string()), "{:?}", ticks(&sandbox, "by_seed"));
    sandbox.fine(["small.toml", "--quiet", "--fresh", "--seeds", "9007199254740993,9007199254740995"]);
    assert!(sandbox.path("results/small/plots/by_seed.svg").exists());
}

/// What is asked for beyond [`SMALL`], and words of the refusal; none where it is fine.
const SIZES: [(&[&str], Option<&str>); 17] = [
    (&["data.steps=1000000000000"], Some("1000000000000 steps times 1 samples")),
    (&["data.samples=1000000000000"], Some("12 steps times 1000000000000 samples")),
    (&["data.steps=40000", "data.samples=40000", "train.batch=40000"], Some("training takes about")),
    (&["data.steps=1000000000", "data.samples=1000000000"], Some("1000000000 steps times 1000000000 samples")),
    (&["let.hidden=1000000000"], Some("would have 3000000001 parameters")),
    (
        &["layer.hidden_1.kind=\"rleaky\"", "layer.hidden_1.recurrent=\"dense\"", "let.hidden=1000000"],
        Some("1000004000001 parameters"),
    ),
    (&["data.steps=1000000000", "let.hidden=2"], Some("the states of every neuron for a sample")),
    (&["train.iterations=1000000000000"], Some("`record_every` leaves rows of the history out")),
    (&["train.iterations=1000000000000", "train.record_every=1000000000"], None),
    (&["train.iterations=1000000000000000"], Some("expected a whole number from 0 to 1099511627776")),
    (&["train.batch=1000000000000"], None),
    (&["train.recompute=1000000000000", "train.tbptt=1000000000000"], None),
    (&["report.samples=1000000000000"], None),
    (&["run.seeds={ count = 1000000000000 }"], Some("from 1 to 10000000")),
    (&["run.seeds={ count = 10000000 }", "train.iterations=1000000"], Some("the results of 10000000 trials")),
    (
        &["data.steps=1000", "let.hidden=50000", "run.threads=4096", "data.samples=4096", "train.batch=4096"],
        Some("states and signals"),
    ),
    (&["data.samples=1000", "train.batch=1000"], None),
];

#[test]
fn sizes_that_no_machine_has_are_refused_with_the_numbers_and_all_others_are_fine() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    for (keys, refused) in SIZES {
        let set = keys.iter().flat_map(|key| ["--set", key]);
        for command in ["check", "run"] {
            if command == "run" && refused.is_none() {
                continue;
            }
            let ran = sandbox.command().args([command, "small.toml"]).args(set.clone()).output().unwrap();
            let (status, said) = (ran.status.code(), String::from_utf8(ran.stderr).unwrap());
            assert_eq!(status, Some(if refused.is_some() { 2 } else { 0 }), "{command} {keys:?}\n{said}");
            assert!(refused.is_none_or(|words| said.contains(words)), "{command} {keys:?}\n{said}");
        }
    }
    assert!(!sandbox.path("results").exists());
}

#[test]
fn epochs_of_many_batches_are_counted_without_overflow() {
    let text = SMALL.replace("iterations = 20", "epochs = 1000000000000");
    let sandbox = Sandbox::with("small.toml", &text);
    let refused = sandbox.runner(["check", "small.toml", "--set", "data.samples=100000000"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("1000000000000 epochs of 100000000 batches"), "{}", refused.stderr);
}

#[test]
fn workers_that_do_not_fit_together_are_refused_with_what_would_fit() {
    let keys = ["data.steps=1000", "let.hidden=1000", "data.samples=100", "train.batch=100", "run.threads=8"];
    let sandbox = Sandbox::with("small.toml", SMALL);
    let ran = |arguments: &[&str]| {
        let set = keys.iter().flat_map(|key| ["--set", key]);
        let ran = sandbox.command().args(arguments).args(set).args(["--seeds", "0..4096"]).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    assert_eq!(ran(&["check", "small.toml", "--jobs", "1"]), (Some(0), String::new()));
    for command in ["check", "run"] {
        let (status, said) = ran(&[command, "small.toml", "--jobs", "4096"]);
        assert_eq!(status, Some(2), "{said}");
        for words in ["4096 trials side by side, each with", "`recompute = \"sqrt\"`", "`threads = 1`", "`--jobs "] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn a_range_of_more_steps_than_there_are_numbers_is_refused_by_every_sampler() {
    let sandbox = Sandbox::empty();
    for (range, fits) in [
        ("{ low = 0.1, high = 1, step = 1e-300 }", false),
        ("{ low = 1, high = 1e308, step = 1e-308 }", false),
        ("{ low = 1, high = 1e308, scale = \"log\", step = 1.0000000000000002 }", false),
        ("{ low = 1e-308, high = 1e38, scale = \"log\", step = 10 }", true),
        ("{ low = 1, high = 2, step = 1e308 }", true),
        ("{ low = 1e16, high = 10000000000000010, step = 0.5 }", true),
    ] {
        for sampler in ["", "sampler = \"random\"\ntrials = 3\n"] {
            let sweep = format!("{SMALL}\n[sweep]\n{sampler}[sweep.over]\n\"optimizer.lr\" = {range}\n");
            sandbox.write("sweep.toml", &sweep);
            let ran = sandbox.runner(["check", "sweep.toml"]);
            // What can be counted can be drawn, and be too much for a grid.
            let counted = sampler.is_empty() || !range.contains("1.0000000000000002");
            assert!(ran.status == 2 && !fits || ran.status == 0 && (fits || !counted), "{range}\n{}", ran.stderr);
        }
    }
}

#[test]
fn a_journal_of_false_starts_is_opened_and_what_is_whole_in_it_is_kept() {
    let sandbox = Sandbox::with("small.toml", SMALL);
    sandbox.fine(["small.toml", "--quiet"]);
    // A mark, a length of a third of the file, and half a digest, again and again.
    let size = 4 << 20;
    let start: Vec<u8> = [&[0xd1][..], b"rec", &(size as u32 / 3).to_le_bytes(), &[0; 8]].concat();
    let journal = [b"runnerj1".to_vec(), start.repeat(size / start.len())].concat();
    sandbox.write("results/small/journal/0.log", journal);
    let ran = sandbox.fine(["small.toml", "--seeds", "0..2"]);
    assert!(
        ran.stderr.contains("are half a record") && ran.stderr.contains("1 of 2 trials are there already"),
        "{}",
        ran.stderr
    );
}
