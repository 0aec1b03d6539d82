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
