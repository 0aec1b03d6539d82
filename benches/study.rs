//! What a study costs beside its training: plan, scheduler, journal and tables of a thousand trials of next to nothing,
//! once a thousand seeds of one configuration, once a thousand configurations. The second over the first is what it costs
//! to check a configuration, and to build it again when a worker comes to it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dfdx::prelude::Cpu;
use runner::registry::Registry;
use runner::spec::read_text;
use runner::spec::source::Sources;
use runner::spec::sweep::LAYING;
use runner::store::record::Record;
use runner::store::tables::Columns;
use runner::store::{Opening, Store};
use runner::study::{Executor, Plan, Schedule, Watch, train};
use runner::tensor::DeviceName;
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

struct Silent;

impl Watch for Silent {
    fn asked(&self, _: usize, _: u64) {}

    fn advanced(&self, _: usize, _: Option<f64>) {}

    fn ended(&self, _: &Record) {}
}

/// Plans, runs and stores a study as `runner FILE --jobs 2` does, without its report.
fn run(text: &str, registry: &Registry) {
    let mut sources = Sources::default();
    let spec = read_text("empty.toml", text, LAYING, registry, &mut sources).expect("it is checked");
    let plan = Plan::new(spec, registry, &sources, Executor::Fused, DeviceName::Cpu).expect("it is checked");
    let dir = tempfile::tempdir().expect("a folder for results");
    let mut store = Store::open(dir.path(), &plan.identity, Opening::default()).expect("an empty folder");
    let mut schedule = Schedule::new(&plan, &[]);
    let (due, stop) = (schedule.begin(), AtomicBool::new(false));
    assert_eq!(due.len() as u64, TRIALS);
    assert!(train::<Cpu>(registry, &mut store, &mut schedule, due, 2, &stop, &Silent).expect("a disk"));
    let columns = Columns { metrics: Vec::new(), recorded: plan.recorded(), swept: plan.swept.clone() };
    store.compact(&columns, &|configuration, seed| plan.rank(configuration, seed)).expect("a disk");
}

fn study(criterion: &mut Criterion) {
    let registry = Registry::builtin(&mut Sources::default()).expect("built-in plugins are checked by tests");
    let mut group = criterion.benchmark_group("a thousand empty trials");
    group.throughput(Throughput::Elements(TRIALS)).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (name, text) in [("seeds", SEEDS), ("configurations", CONFIGURATIONS)] {
        let text = format!("{EMPTY}\n{text}");
        group.bench_function(name, |bench| bench.iter(|| run(&text, &registry)));
    }
    group.finish();
}

criterion_group!(benches, study);
criterion_main!(benches);
