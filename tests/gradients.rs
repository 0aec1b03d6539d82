//! Gradients of both executors against central differences of an independent interpreter in f64: the program's
//! formulas evaluated neuron by neuron. Smooth functions stand in for spikes, which have no derivative; with spikes
//! the executors are held against each other.

use dfdx::prelude::{Axes2, Cpu, SumTo, TryMul};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use runner::formula::{Expr, parse};
use runner::neuron::fused::{Kernel, Shape};
use runner::neuron::reference::{self, Pass};
use runner::neuron::{Model, StepProgram};
use runner::spec::source::{Sources, Span};
use runner::spec::tree;
use runner::tensor::{Matrix, Recorder, Steps};
use std::cell::RefCell;
use std::collections::HashMap;

/// All signals are gathered, and gradients come to all.
const ALL: Pass = Pass { tbptt: None, wanted: &|_| true, graded: &|_| true };

/// A neuron from its equations, with states `u` and `v`, parameters `p` and `q`, and the signal `out` = `y`.
fn program(step: &str, surrogate: &str) -> StepProgram {
    let text = format!(
        "kind = \"neuron\"\nname = \"test\"\nstates = {{ u = 0.1, v = -0.2 }}\noutputs = {{ out = \"y\" }}\n\
         step = \"\"\"\n{step}\n\"\"\"\n[params]\np = {{ default = 0.5, clamp = [0.0, 1.0] }}\nq = {{ default = 0.5 }}\n"
    );
    let mut sources = Sources::default();
    let source = sources.add("test", text);
    let mut found = Default::default();
    let table = tree::parse(&sources, source, &mut found);
    let model = Model::read(&table, Span { source, start: 0, end: 0 }, &sources, &mut found);
    let model = model.unwrap_or_else(|| panic!("{:?}", found.list));
    runner::neuron::program::check(&model, &mut found);
    assert!(found.is_empty(), "{:?}\n{step}", found.list);
    StepProgram::new(&model, &[], parse(surrogate).unwrap())
}

/// Shapes and numbers of a case.
#[derive(Debug, Clone)]
struct Case {
    steps: usize,
    batch: usize,
    neurons: usize,
    p: Vec<f64>,
    q: Vec<f64>,
    current: Vec<f64>,
    weights: Vec<f64>,
}

/// The weighted sum of the signal, in f64, one neuron after the other.
fn independent(program: &StepProgram, case: &Case) -> f64 {
    let mut sum = 0.0;
    for lane in 0..case.batch * case.neurons {
        let neuron = lane % case.neurons;
        let mut states: HashMap<String, f64> = program.states.iter().cloned().collect();
        for t in 0..case.steps {
            let at = t * case.batch * case.neurons + lane;
            let mut values = HashMap::from([
                ("p".to_string(), case.p[neuron].clamp(0.0, 1.0)),
                ("q".to_string(), case.q[neuron]),
                ("current".to_string(), case.current[at]),
            ]);
            values.extend(states.iter().map(|(name, value)| (format!("prev.{name}"), *value)));
            for (name, expr) in &program.body {
                let value = expr.eval(&|name| values.get(name).copied()).unwrap();
                values.insert(name.clone(), value);
            }
            states.iter_mut().for_each(|(name, value)| *value = values[name]);
            sum += case.weights[at] * values["y"];
        }
    }
    sum
}

/// Value and gradients of the same sum by the reference executor: of `current`, `p` and `q`.
fn executed(program: &StepProgram, case: &Case) -> (f64, [Vec<f64>; 3]) {
    let mut recorder = Recorder::recording(Cpu::default());
    let rows = case.steps * case.batch;
    let matrix = |recorder: &Recorder<Cpu>, values: &[f64], shape| -> Matrix<Cpu> {
        recorder.matrix(values.iter().map(|v| *v as f32).collect(), shape).unwrap()
    };
    let data = matrix(&recorder, &case.current, (rows, case.neurons));
    let p = matrix(&recorder, &case.p, (1, case.p.len()));
    let q = matrix(&recorder, &case.q, (1, case.q.len()));
    let weights = matrix(&recorder, &case.weights, (rows, case.neurons));
    let input = Steps { data: data.clone(), steps: case.steps, batch: case.batch };
    let params = HashMap::from([("p".to_string(), p.clone()), ("q".to_string(), q.clone())]);
    let inputs = HashMap::from([("current".to_string(), input)]);
    let segment = reference::forward(program, &params, &inputs, None, &ALL, &mut recorder).unwrap();
    let out = &segment.signals["out"].data;
    let loss = recorder.binary(out, &weights, |out, w| out.try_mul(w)?.try_sum::<(), Axes2<0, 1>>()).unwrap();
    let value = f64::from(loss.as_vec()[0]);
    let mut gradients = recorder.backward(&loss).unwrap();
    let read = |tensor: &Matrix<Cpu>, gradients: &mut dfdx::tensor::Gradients<f32, Cpu>| {
        gradients.get_or_alloc_mut(tensor).unwrap();
        gradients.get(tensor).as_vec().into_iter().map(f64::from).collect()
    };
    (value, [read(&data, &mut gradients), read(&p, &mut gradients), read(&q, &mut gradients)])
}

/// The same by the fused executor.
fn fused(program: &StepProgram, case: &Case) -> (f64, [Vec<f64>; 3]) {
    let narrow = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    let (p, q, current, weights) = (narrow(&case.p), narrow(&case.q), narrow(&case.current), narrow(&case.weights));
    let shape = Shape { steps: case.steps, batch: case.batch, neurons: case.neurons };
    let kernel = Kernel::new(program, &[true, true], &[true]);
    let mut memory = kernel.memory(shape);
    let (params, inputs): ([&[f32]; 2], [&[f32]; 1]) = ([&p, &q], [&current]);
    kernel.begin(&params, None, &mut memory);
    kernel.forward(&inputs, 0..case.steps, &mut memory);
    let value = kernel.signal(&memory, 0).iter().zip(&weights).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum();
    kernel.begin_backward(&params, None, &mut memory);
    kernel.backward(&inputs, &[Some(&weights)], 0..case.steps, &mut memory);
    let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let param = |i: usize| {
        let mut gradient = vec![0.0; case.neurons];
        kernel.add_param_gradient(&memory, i, &mut gradient);
        wide(&gradient)
    };
    (value, [wide(&memory.input_gradients[0]), param(0), param(1)])
}

fn check(program: &StepProgram, case: &Case) -> Result<(), TestCaseError> {
    check_executor(program, case, executed(program, case))?;
    check_executor(program, case, fused(program, case))
}

/// The executors agree, neuron by neuron.
fn agree(program: &StepProgram, case: &Case) -> Result<(), TestCaseError> {
    let ((value, reference), (other, fused)) = (executed(program, case), fused(program, case));
    prop_assert!((value - other).abs() <= 1e-4 * (1.0 + value.abs()), "value {} and {}", value, other);
    for (reference, fused) in reference.iter().zip(&fused) {
        let scale = reference.iter().fold(1.0, |scale: f64, g| scale.max(g.abs()));
        for (i, (a, b)) in reference.iter().zip(fused).enumerate() {
            prop_assert!((a - b).abs() <= 1e-4 * scale, "gradient {}: {} and {}", i, a, b);
        }
    }
    Ok(())
}

fn check_executor(
    program: &StepProgram,
    case: &Case,
    (value, gradients): (f64, [Vec<f64>; 3]),
) -> Result<(), TestCaseError> {
    let expected = independent(program, case);
    prop_assert!((value - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "value {} and {}", value, expected);
    let pick: [fn(&mut Case) -> &mut Vec<f64>; 3] = [|c| &mut c.current, |c| &mut c.p, |c| &mut c.q];
    for (gradient, pick) in gradients.iter().zip(pick) {
        let h = 1e-5;
        for (i, got) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut case = case.clone();
                pick(&mut case)[i] += by;
                independent(program, &case)
            };
            let difference = (moved(h) - moved(-h)) / (2.0 * h);
            let close = (got - difference).abs() <= 2e-3 * (1.0 + difference.abs());
            prop_assert!(close, "gradient {} is {}, the difference {}", i, got, difference);
        }
    }
    Ok(())
}

fn cases() -> impl Strategy<Value = Case> {
    cases_up_to(4)
}

fn cases_up_to(most: usize) -> impl Strategy<Value = Case> {
    (1usize..6, 1usize..4, 1usize..most).prop_flat_map(|(steps, batch, neurons)| {
        let cells = steps * batch * neurons;
        let inside = || prop::collection::vec(0.05..0.95f64, neurons);
        let many = || prop::collection::vec(-1.0..1.0f64, cells);
        (inside(), inside(), many(), many()).prop_map(move |(p, q, current, weights)| Case {
            steps,
            batch,
            neurons,
            p,
            q,
            current,
            weights,
        })
    })
}

/// Random smooth formulas over what a step knows.
fn formula() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec!["prev.u", "prev.v", "current", "p", "q", "0.5", "pi"]);
    names.prop_map(String::from).prop_recursive(3, 12, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone().prop_map(|(a, b)| format!("({a} + {b})")),
            pair.clone().prop_map(|(a, b)| format!("({a} - {b})")),
            pair.clone().prop_map(|(a, b)| format!("tanh({a}) * sin({b})")),
            pair.clone().prop_map(|(a, b)| format!("{a} / (2 + cos({b}))")),
            pair.prop_map(|(a, b)| format!("where(pi > 3, sigmoid({a}), {b})")),
            inner.clone().prop_map(|a| format!("exp(-tanh({a})^2)")),
            inner.clone().prop_map(|a| format!("sqrt(1.5 + sin({a}))")),
            inner.prop_map(|a| format!("-log(1.5 + cos({a}))")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_leaky_neuron_with_a_smooth_spike_has_the_gradients_of_differences(case in cases()) {
        let step = "v = sigmoid(4 * (prev.u - 0.3))\nu = p * prev.u + current - v * q\ny = u + sigmoid(5 * (u - q))";
        check(&program(step, "0"), &case)?;
    }

    #[test]
    fn random_neurons_have_the_gradients_of_differences(u in formula(), v in formula(), y in formula(), case in cases()) {
        let step = format!("u = tanh({u})\nv = tanh({v} + u)\ny = {y} + u * v");
        check(&program(&step, "0"), &case)?;
    }
}

/// The distance of the potentials of `spike(u - q)` to their threshold, over all steps and neurons.
fn nearest_to_threshold(program: &StepProgram, case: &Case) -> f64 {
    let at = program.body.iter().position(|(name, _)| name == "y").unwrap();
    let mut distance = program.clone();
    distance.body[at].1 = parse("u - q").unwrap();
    let mut nearest = f64::INFINITY;
    for i in 0..case.weights.len() {
        let mut weights = vec![0.0; case.weights.len()];
        weights[i] = 1.0;
        nearest = nearest.min(independent(&distance, &Case { weights, ..case.clone() }).abs());
    }
    nearest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn executors_agree_on_random_spiking_neurons(u in formula(), v in formula(), case in cases_up_to(9)) {
        let step = format!("fired = detach(heaviside(prev.u - q))\nu = tanh({u}) - fired * q\nv = tanh({v})\ny = spike(u - q) + 0.5 * v");
        let program = program(&step, "1 / (1 + 5 * abs(x))^2");
        prop_assume!(nearest_to_threshold(&program, &case) > 1e-4);
        agree(&program, &case)?;
    }

    #[test]
    fn executors_agree_for_every_number_of_lanes(case in cases_up_to(300)) {
        let step = "v = sigmoid(4 * (prev.u - 0.3))\nu = p * prev.u + current - v * q\ny = u + min(v, max(current, q)) - abs(u) / 2";
        agree(&program(step, "0"), &case)?;
    }
}

/// Formulas that divide by zero, take roots and logarithms of it, and powers of and to it.
fn wild() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec!["prev.u", "current", "p", "q", "0", "1", "2", "(-1)"]);
    names.prop_map(String::from).prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        let functions = prop::sample::select(vec![
            "sqrt(#)",
            "log(#)",
            "exp(#)",
            "tanh(#)",
            "sin(#)",
            "sigmoid(#)",
            "spike(#)",
            "(-#)",
            "(# > q)",
            "(0 != #)",
            "heaviside(#)",
            "sign(#)",
            "floor(#)",
            "detach(#)",
        ]);
        prop_oneof![
            pair.clone().prop_map(|(a, b)| format!("({a} + {b})")),
            pair.clone().prop_map(|(a, b)| format!("({a} - {b})")),
            pair.clone().prop_map(|(a, b)| format!("({a} * {b})")),
            pair.clone().prop_map(|(a, b)| format!("({a} / {b})")),
            pair.clone().prop_map(|(a, b)| format!("abs({a}) ^ {b}")),
            pair.clone().prop_map(|(a, b)| format!("max({a}, {b})")),
            pair.prop_map(|(a, b)| format!("where({a} > 0, {b}, prev.u)")),
            (functions, inner).prop_map(|(function, a)| function.replace('#', &a)),
        ]
    })
}

/// Whether a part of a formula stands in it twice. The gradients of two such may cancel, which one executor sees before
/// it multiplies with a derivative, and the other after.
fn repeats(formula: &str) -> bool {
    let parts = RefCell::new(Vec::new());
    parse(formula).unwrap().count(&|part| {
        parts.borrow_mut().extend((part.size() > 2).then(|| part.to_string()));
        false
    });
    let parts = parts.into_inner();
    parts.iter().enumerate().any(|(i, part)| parts[..i].contains(part))
}

/// Ways to read a name without its derivative.
fn flat() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["heaviside(w)", "sign(w)", "tanh(floor(w))", "(w != 1)", "where(w > 0, 1, -1)", "0"])
}

/// Values at which such formulas have none, or no derivative.
fn at_the_edges() -> impl Strategy<Value = Case> {
    let edges = || prop::collection::vec(prop::sample::select(vec![0.0, 1.0, -1.0, 0.5, 2.0]), 4);
    (edges(), edges()).prop_map(|(current, q)| Case {
        steps: 2,
        batch: 1,
        neurons: 2,
        p: vec![0.0, 1.0],
        q: q[..2].to_vec(),
        current,
        weights: vec![1.0; 4],
    })
}

proptest! {
    // The same cases each time: rounding decides whether a few in very many have a value.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(0), ..ProptestConfig::with_cases(4000) })]

    /// Whether a trial fails does not depend on the executor.
    #[test]
    fn what_is_not_finite_in_one_executor_is_not_in_the_other(y in wild().prop_filter("repeats a part", |y| !repeats(y)), w in wild(), flat in flat(), case in at_the_edges()) {
        let step = format!("u = tanh(current)\nw = {w}\nv = {y}\ny = v + 0.5 * {flat}");
        let program = program(&step, "1 / (1 + abs(x))^2");
        let ((value, reference), (other, fused)) = (executed(&program, &case), fused(&program, &case));
        prop_assert_eq!(value.is_finite(), other.is_finite(), "{} and {}", value, other);
        if value.is_finite() {
            for (reference, fused) in reference.iter().zip(&fused) {
                let finite = |list: &[f64]| list.iter().map(|g| g.is_finite()).collect::<Vec<_>>();
                prop_assert_eq!(finite(reference), finite(fused), "{:?} and {:?}", reference, fused);
            }
        }
    }
}

#[test]
fn one_value_used_twice_gets_both_gradients() {
    let case = Case {
        steps: 3,
        batch: 1,
        neurons: 1,
        p: vec![0.4],
        q: vec![0.7],
        current: vec![0.3, -0.2, 0.5],
        weights: vec![1.0, 1.0, 1.0],
    };
    check(&program("u = current\nv = u\ny = u * v * prev.u * prev.v + p * p", "0"), &case).unwrap();
}

#[test]
fn a_spike_has_the_surrogate_as_its_derivative_and_detach_stops_gradients() {
    let case = Case {
        steps: 1,
        batch: 1,
        neurons: 2,
        p: vec![0.4; 2],
        q: vec![0.7; 2],
        current: vec![0.9, 0.2],
        weights: vec![2.0, 3.0],
    };
    let (value, [current, _, q]) = executed(
        &program("u = current\nv = 0 * u\ny = spike(u - q) + detach(u * q)", "1 / (1 + 10 * abs(x))^2"),
        &case,
    );
    assert!((value - 2.0 - 2.0 * 0.63 - 3.0 * 0.14).abs() < 1e-5, "{value}");
    agree(&program("u = current\nv = 0 * u\ny = spike(u - q) + detach(u * q)", "1 / (1 + 10 * abs(x))^2"), &case)
        .unwrap();
    let slope = |z: f64| 1.0 / (1.0 + 10.0 * z.abs()).powi(2);
    for (got, expected) in current.iter().zip([2.0 * slope(0.2), 3.0 * slope(-0.5)]) {
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
    for (got, expected) in q.iter().zip([-2.0 * slope(0.2), -3.0 * slope(-0.5)]) {
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
}

#[test]
fn beyond_a_clamp_a_parameter_has_no_gradient() {
    let case = Case {
        steps: 2,
        batch: 1,
        neurons: 2,
        p: vec![1.2, 0.9],
        q: vec![0.5; 2],
        current: vec![0.3; 4],
        weights: vec![1.0; 4],
    };
    let (_, [_, p, _]) = executed(&program("u = p * prev.u + current\nv = u\ny = u", "0"), &case);
    assert_eq!(p[0], 0.0);
    assert!(p[1] > 0.1);
}

#[test]
fn a_sequence_in_two_segments_equals_one() {
    let program = program("v = sigmoid(4 * (prev.u - 0.3))\nu = p * prev.u + current - v * q\ny = u", "0");
    let recorder = &mut Recorder::<Cpu>::forgetting(Cpu::default());
    let row = |recorder: &Recorder<Cpu>, value: f32| recorder.matrix(vec![value; 2], (1, 2)).unwrap();
    let params = HashMap::from([("p".to_string(), row(recorder, 0.8)), ("q".to_string(), row(recorder, 0.3))]);
    let steps = |recorder: &Recorder<Cpu>, range: std::ops::Range<usize>| {
        let values: Vec<f32> = range.clone().flat_map(|t| [t as f32 * 0.1, 0.4 - t as f32 * 0.05]).collect();
        let data = recorder.matrix(values, (range.len(), 2)).unwrap();
        HashMap::from([("current".to_string(), Steps { data, steps: range.len(), batch: 1 })])
    };
    let mut run = |range: std::ops::Range<usize>, carry| {
        let inputs = steps(recorder, range);
        reference::forward(&program, &params, &inputs, carry, &ALL, recorder).unwrap()
    };
    let whole = run(0..7, None).signals["out"].to_vec();
    let first = run(0..3, None);
    let second = run(3..7, Some(first.carry));
    let parts = [first.signals["out"].to_vec(), second.signals["out"].to_vec()].concat();
    assert_eq!(parts, whole);
}

#[test]
fn the_derivative_of_a_formula_is_what_the_tape_gives() {
    let step = "u = sigmoid(current * q)^3 / (1 + q)\nv = u\ny = u";
    let case =
        Case { steps: 1, batch: 1, neurons: 1, p: vec![0.5], q: vec![0.6], current: vec![0.8], weights: vec![1.0] };
    let (_, [_, _, q]) = executed(&program(step, "0"), &case);
    let expr: Expr = parse("sigmoid(current * q)^3 / (1 + q)").unwrap();
    let symbolic = expr.derivative("q").eval(&|name| Some(if name == "q" { 0.6 } else { 0.8 })).unwrap();
    assert!((q[0] - symbolic).abs() < 1e-5, "{} {symbolic}", q[0]);
}

#[test]
fn a_neuron_from_a_users_file_compiles_to_the_instructions_of_a_built_in_one() {
    let built_in = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/builtin/neurons/leaky.toml"));
    let built_in = built_in.unwrap();
    let users = built_in.replace("\"leaky\"", "\"mine\"").replace("pull", "taken").replace("fired", "had_fired");
    let kernel = |text: &str| {
        let mut sources = Sources::default();
        let source = sources.add("test", text);
        let mut found = Default::default();
        let table = tree::parse(&sources, source, &mut found);
        let model = Model::read(&table, Span { source, start: 0, end: 0 }, &sources, &mut found).unwrap();
        let program = StepProgram::new(&model, &[], parse("1 / (1 + 25 * abs(x))^2").unwrap());
        format!("{:?}", Kernel::new(&program, &[true, false], &[true, false]))
    };
    assert_eq!(kernel(&built_in), kernel(&users));
}
