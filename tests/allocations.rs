//! Inside the loop the fused executor asks for no memory of 4 KiB or more, and for small pieces as often every time.

use dfdx::prelude::Cpu;
use runner::registry::Registry;
use runner::spec::source::Sources;
use runner::spec::{self, Overrides};
use runner::study::compiled::Compiled;
use runner::study::{Executor, Plan};
use runner::tensor::DeviceName;
use runner::train::Trial;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Counts what this thread asks for, and hands it on.
struct Counting;

thread_local! {
    static LARGE: Cell<usize> = const { Cell::new(0) };
    static ALL: Cell<usize> = const { Cell::new(0) };
}

fn count(size: usize) {
    // While a thread ends its counters may be gone.
    let _ = ALL.try_with(|all| all.set(all.get() + 1));
    if size >= 4096 {
        let _ = LARGE.try_with(|large| large.set(large.get() + 1));
    }
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn trial(keys: &[&str]) -> Trial {
    let registry = Registry::builtin(&mut Sources::default()).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/sqrt.toml");
    let overrides = Overrides { set: keys.iter().map(|key| key.to_string()).collect(), ..Overrides::default() };
    let mut sources = Sources::default();
    let spec = spec::read(&file, &overrides, &registry, &mut sources).unwrap();
    let plan = Plan::new(spec, &registry, &sources, Executor::Fused, DeviceName::Cpu).unwrap();
    Compiled::new(&plan.configurations.first, None).prepare::<Cpu>(&plan.configurations.first, &registry, 0).unwrap()
}

/// Pieces of 4 KiB and more, and all pieces, that some iterations ask for.
fn asked_for(trial: &mut Trial, iterations: usize) -> (usize, usize) {
    let before = (LARGE.get(), ALL.get());
    trial.advance(trial.iteration() + iterations, &AtomicBool::new(false)).unwrap();
    (LARGE.get() - before.0, ALL.get() - before.1)
}

#[test]
fn training_asks_for_nothing_large_and_for_small_pieces_as_often_every_time() {
    let recurrent = ["layer.hidden_1.kind=rleaky", "layer.hidden_1.size=64"];
    let segments = ["train.recompute=5", "data.samples=3", "train.batch=3"];
    let chunks = ["data.samples=40", "train.batch=40"];
    let batches = ["data.samples=40", "train.batch=8", "optimizer.kind=adamw", "train.clip_norm=1"];
    let keys: [&[&str]; 5] = [&[], &recurrent, &segments, &chunks, &batches];
    for keys in keys {
        let mut trial = trial(keys);
        asked_for(&mut trial, 10);
        let (first, second) = (asked_for(&mut trial, 20), asked_for(&mut trial, 20));
        assert_eq!(first.0, 0, "{keys:?}: {first:?}");
        assert_eq!(first, second, "{keys:?}");
    }
}
