//! What a study costs beside its training: plan, scheduler, journal, tables and page of a thousand trials of next to
//! nothing, once a thousand seeds of one configuration, once a thousand configurations. The second over the first is what it costs
//! to check a configuration, and to build it again when a worker comes to it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runner::study::{Options, Study, Unwatched};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Trials of a study.
const TRIALS: u64 = 1000;

const EMPTY: &str = r#"
name = "empty"
optimizer = { kind = "adam", lr = 1e-3 }
data = { kind = "sqrt", steps = 2 }
train = { iterations = 1, loss = "mse" }

[[layer]]
name = "readout"
kind = "leaky"
size = 1
beta = 0.5
output = "membrane"
"#;

const SEEDS: &str = "[run]\nsave = \"none\"\nseeds = { count = 1000 }\n";

const CONFIGURATIONS: &str =
    "[run]\nsave = \"none\"\n\n[sweep.over]\n\"optimizer.lr\" = { low = 1, high = 1000, int = true }\n";

/// Plans, runs and stores a study as `runner FILE --jobs 2` does.
fn run(file: &Path) {
    let dir = tempfile::tempdir().expect("a folder for results");
    let options = Options { jobs: 2, out: Some(dir.path().join("out")), ..Options::default() };
    let study = Study::new(file, options, &[]).expect("it is checked");
    let ran = study.run(&Unwatched, &AtomicBool::new(false)).expect("a disk");
    assert_eq!(ran.rows.len() as u64, TRIALS);
}

fn study(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder for experiments");
    let mut group = criterion.benchmark_group("a thousand empty trials");
    group.throughput(Throughput::Elements(TRIALS)).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (name, text) in [("seeds", SEEDS), ("configurations", CONFIGURATIONS)] {
        let file = dir.path().join("empty.toml");
        std::fs::write(&file, format!("{EMPTY}\n{text}")).expect("a disk");
        group.bench_function(name, |bench| bench.iter(|| run(&file)));
    }
    group.finish();
}

criterion_group!(benches, study);
criterion_main!(benches);
