//! A layer of leaky neurons alone, forward and backward: fused against reference with T = 50, B = 128, N = 128, and the
//! same neuron read from a user's file against the built-in one, with B = 1, where all of it stays in cache.

use criterion::{Criterion, criterion_group, criterion_main};
use dfdx::prelude::{Axes2, Cpu, SumTo, TryMul};
use runner::formula::parse;
use runner::neuron::fused::{Kernel, Shape};
use runner::neuron::reference::{self, Pass};
use runner::neuron::{Model, StepProgram};
use runner::spec::source::{Sources, Span};
use runner::spec::tree;
use runner::tensor::{Recorder, Steps};
use std::collections::HashMap;

const SHAPE: Shape = Shape { steps: 50, batch: 128, neurons: 128 };
const SMALL: Shape = Shape { batch: 1, ..SHAPE };
const BUILT_IN: &str = include_str!("../plugins/builtin/neurons/leaky.toml");

fn program(text: &str) -> StepProgram {
    let mut sources = Sources::default();
    let source = sources.add("leaky.toml", text);
    let mut found = Default::default();
    let table = tree::parse(&sources, source, &mut found);
    let model = Model::read(&table, Span { source, start: 0, end: 0 }, &sources, &mut found).expect("checked by tests");
    StepProgram::new(&model, &[], parse("1 / (1 + 25 * abs(x))^2").expect("a formula"))
}

/// Currents that make about a fifth of the neurons fire, and weights of the signal in the loss.
fn numbers() -> [Vec<f32>; 2] {
    let cells = SHAPE.steps * SHAPE.lanes();
    let wave = |i: usize, by: f32| (i as f32 * by).sin();
    [(0..cells).map(|i| 0.15 + 0.3 * wave(i, 0.7)).collect(), (0..cells).map(|i| wave(i, 0.3)).collect()]
}

fn fused(kernel: &Kernel, memory: &mut runner::neuron::fused::Memory, current: &[f32], weights: &[f32]) {
    let params: [&[f32]; 2] = [&[0.9; SHAPE.neurons], &[1.0; SHAPE.neurons]];
    kernel.begin(&params, None, memory);
    kernel.forward(&[current], 0..SHAPE.steps, memory);
    kernel.begin_backward(&params, None, memory);
    kernel.backward(&[current], &[Some(weights), None], 0..SHAPE.steps, memory);
}

fn by_reference(program: &StepProgram, current: &[f32], weights: &[f32]) {
    let mut recorder = Recorder::recording(Cpu::default());
    let shape = (SHAPE.steps * SHAPE.batch, SHAPE.neurons);
    let matrix = |values: Vec<f32>, shape| recorder.matrix(values, shape).expect("memory");
    let (data, weights) = (matrix(current.to_vec(), shape), matrix(weights.to_vec(), shape));
    let row = |value: f32| matrix(vec![value; SHAPE.neurons], (1, SHAPE.neurons));
    let params = HashMap::from([("beta".to_string(), row(0.9)), ("threshold".to_string(), row(1.0))]);
    let input = Steps { data, steps: SHAPE.steps, batch: SHAPE.batch };
    let inputs = HashMap::from([("current".to_string(), input)]);
    let spikes = |signal: &str| signal == "spikes";
    let pass = Pass { tbptt: None, wanted: &spikes, graded: &spikes };
    let segment = reference::forward(program, &params, &inputs, None, &pass, &mut recorder).expect("memory");
    let spikes = &segment.signals["spikes"].data;
    let loss = recorder.binary(spikes, &weights, |s, w| s.try_mul(w)?.try_sum::<(), Axes2<0, 1>>()).expect("memory");
    recorder.backward(&loss).expect("memory");
}

fn neuron(criterion: &mut Criterion) {
    // dfdx's operations ask rayon for threads; a layer has one.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("no pool before this one");
    let [current, weights] = numbers();
    let users = BUILT_IN.replace("\"leaky\"", "\"mine\"");
    let kernel = |text: &str| Kernel::new(&program(text), &[true, false], &[true, false]);
    let mut group = criterion.benchmark_group("leaky layer, forward and backward");
    let mut memory = kernel(BUILT_IN).memory(SMALL);
    let cells = SMALL.steps * SMALL.lanes();
    for (name, text) in [("built in, B = 1", BUILT_IN), ("from a user's file, B = 1", users.as_str())] {
        let kernel = kernel(text);
        group.bench_function(name, |bench| {
            bench.iter(|| fused(&kernel, &mut memory, &current[..cells], &weights[..cells]))
        });
    }
    group.sample_size(20);
    let (kernel, mut memory) = (kernel(BUILT_IN), kernel(BUILT_IN).memory(SHAPE));
    group.bench_function("fused, B = 128", |bench| bench.iter(|| fused(&kernel, &mut memory, &current, &weights)));
    let built_in = program(BUILT_IN);
    group.bench_function("reference, B = 128", |bench| bench.iter(|| by_reference(&built_in, &current, &weights)));
    group.finish();
}

criterion_group!(benches, neuron);
criterion_main!(benches);
