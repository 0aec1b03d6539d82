//! What training keeps of a long sequence: T = 5000, B = 32, H = 128, the tutorial network. The largest number of bytes
//! alive at once beyond those before the first iteration, with and without recomputation, and time beside it.

use dfdx::prelude::Cpu;
use runner::registry::Registry;
use runner::spec::source::Sources;
use runner::spec::{self, Overrides};
use runner::study::compiled::Compiled;
use runner::study::{Executor, Plan};
use runner::tensor::DeviceName;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Counts the bytes that are alive, and the most there were.
struct Counting;

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let alive = ALIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(alive, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ALIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes and seconds of four iterations.
fn train(recompute: &str) -> (usize, f64) {
    let mut sources = Sources::default();
    let registry = Registry::builtin(&mut sources).expect("built-in plugins are checked by tests");
    let keys = ["data.steps=5000", "data.samples=32", "train.batch=32", "train.iterations=4", "train.metrics=[]"];
    let set = keys.iter().map(|key| key.to_string()).chain([format!("train.recompute={recompute}")]).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/sqrt.toml");
    let spec = spec::read(&file, &Overrides { set, ..Default::default() }, &registry, &mut sources);
    let spec = spec.expect("the gallery is checked by tests");
    let plan = Plan::new(spec, &registry, &sources, Executor::Fused, DeviceName::Cpu);
    let plan = plan.expect("the gallery is checked by tests");
    let compiled = Compiled::new(&plan.configurations.first, None);
    let mut trial = compiled.prepare::<Cpu>(&plan.configurations.first, &registry, 0).expect("memory");
    let before = ALIVE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let clock = Instant::now();
    trial.advance(4, &AtomicBool::new(false)).expect("memory");
    (MOST.load(Ordering::Relaxed) - before, clock.elapsed().as_secs_f64())
}

fn main() {
    let rows = ["1", "sqrt"].map(|recompute| (recompute, train(recompute)));
    for (recompute, (bytes, seconds)) in rows {
        println!("recompute = {recompute:<6} {:8.2} MiB  {seconds:6.2} s", bytes as f64 / f64::from(1 << 20));
    }
    let [(_, (plain, slow)), (_, (cut, fast))] = rows;
    println!("{:.1} times less in {:.2} of the time", plain as f64 / cut as f64, fast / slow);
}
