//! The tutorial network (1-128-128-1, 50 steps, batch 1), one thread: `cargo bench`.
//!
//! One iteration is forward, backward and update; `registry` and `read, check and plan` are the start of a process.

use criterion::{Criterion, criterion_group, criterion_main};
use dfdx::prelude::Cpu;
use runner::registry::Registry;
use runner::spec::source::Sources;
use runner::spec::{self, Overrides};
use runner::study::compiled::Compiled;
use runner::study::{Executor, Plan};
use runner::tensor::DeviceName;
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn plan(registry: &Registry, executor: Executor) -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/sqrt.toml");
    let overrides = Overrides {
        set: vec!["train.iterations=1000000000".into(), "train.record_every=1000000000".into()],
        ..Overrides::default()
    };
    let mut sources = Sources::default();
    let spec = spec::read(&file, &overrides, registry, &mut sources).expect("the gallery is checked by tests");
    Plan::new(spec, registry, &sources, executor, DeviceName::Cpu).expect("the gallery is checked by tests")
}

fn tutorial(criterion: &mut Criterion) {
    let registry = Registry::builtin(&mut Sources::default()).expect("built-in plugins are checked by tests");
    // dfdx's products ask rayon for threads; a trial has one.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("no pool before this one");
    let stop = AtomicBool::new(false);
    let mut group = criterion.benchmark_group("tutorial");
    for executor in [Executor::Reference, Executor::Fused] {
        let plan = plan(&registry, executor);
        let mut trial = Compiled::new(&plan.configurations.first, None)
            .prepare::<Cpu>(&plan.configurations.first, &registry, 0)
            .expect("memory");
        group.bench_function(format!("iteration, {}", executor.as_str()), |bench| {
            bench.iter(|| trial.advance(trial.iteration() + 1, &stop).expect("memory"));
        });
    }
    group.bench_function("registry", |bench| {
        bench.iter(|| Registry::builtin(&mut Sources::default()).expect("built in"));
    });
    group.bench_function("read, check and plan", |bench| bench.iter(|| plan(&registry, Executor::Fused)));
    group.finish();
}

criterion_group!(benches, tutorial);
criterion_main!(benches);
