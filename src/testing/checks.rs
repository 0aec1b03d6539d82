//! What each kind of component promises.

use crate::nn::network::{Network, NetworkPlan};
use crate::nn::{Inputs, LayerPlan, Parameter, ParameterPlan, init};
use crate::random::{Draws, Stream};
use crate::registry::{OnDevice, Registry};
use crate::search::pruner::{Contest, Pruner};
use crate::spec::component::Info;
use crate::spec::keys::DatasetKeys;
use crate::spec::source::{Sources, Span};
use crate::spec::sweep::{Dimension, NumberRange, Sweep, Values};
use crate::spec::tree::{Node, Value};
use crate::spec::{Component, DataSpec};
use crate::statistics::Mean;
use crate::tensor::{Backend, Matrix, Recorder, Steps, TensorError};
use crate::train::loss::Scored;
use crate::train::metric::Compared;
use crate::train::optimizer::{FlatMoments, Rule, RuleOptimizer, Update};
use crate::train::rate::{RateSchedule, Rates};
use crate::train::{Metric, Optimizer};
use dfdx::prelude::*;
use dfdx::tensor::Gradients;
use std::collections::HashMap;
use std::sync::Arc;

/// Time steps, samples, and channels of what is computed here.
const STEPS: usize = 5;
const BATCH: usize = 2;
const CHANNELS: usize = 3;
/// How far differences go, and how far they may be off, relative to the largest gradient.
const APART: f32 = 1e-2;
const TOLERANCE: f32 = 2e-2;

type Reporter<'a> = &'a mut dyn FnMut(String);

fn normal(purpose: &str, n: usize) -> Vec<f32> {
    Stream::new(0, purpose).normal(0.0, 1.0, n)
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Its data have its shape, are finite, and hang on the seed alone.
pub fn dataset(registry: &Registry, sources: &Sources, component: Component, report: Reporter<'_>) {
    let data = DataSpec { component, common: DatasetKeys { seed: None, split: None }, unlabelled: false };
    let dataset = match registry.dataset(&data, sources) {
        Ok(dataset) => dataset,
        Err(found) => {
            let why = found.list.first().map_or(String::new(), |one| one.problem.to_string());
            return report(format!("cannot be had with keys that pass the check: {why}"));
        }
    };
    let shape = dataset.shape();
    if shape.steps == 0 || shape.samples == 0 || shape.inputs.is_empty() || shape.targets.is_empty() {
        report("has no steps, samples, inputs or targets".into());
    }
    let draw = || dataset.draw(&mut Stream::new(0, "data"));
    let (first, second) = match (draw(), draw()) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) | (_, Err(error)) => return report(format!("cannot be drawn: {error}")),
    };
    let rows = shape.steps * shape.samples;
    let expected = (shape.steps, shape.samples, rows * shape.inputs.len(), rows * shape.targets.len());
    if (first.steps, first.samples, first.inputs.len(), first.targets.len()) != expected {
        report("gives other data than its shape says".into());
    }
    if !first.inputs.iter().chain(&first.targets).all(|value| value.is_finite()) {
        report("gives values that are not finite".into());
    }
    if !same(&first.inputs, &second.inputs) || !same(&first.targets, &second.targets) {
        report("gives other data for the same seed".into());
    }
    let again = registry.dataset(&data, sources).ok();
    if again.is_some_and(|again| again.content() != dataset.content()) {
        report("has another content each time".into());
    }
}

/// Its parameters and signals have the planned shapes, the past does not hang on the future nor a sample on another,
/// and its gradients are those of differences.
pub fn layer(registry: &Registry, info: &Info, component: &Component, report: Reporter<'_>) {
    let recipe = registry.layer(component);
    let blocks = recipe.plan(&Inputs::one(CHANNELS)).blocks.max(1);
    let plan = LayerPlan { name: "layer".into(), ..recipe.plan(&Inputs::one(CHANNELS * blocks)) };
    if let Some(why) = wrong_plan(&plan) {
        return report(why);
    }
    let values = plan.parameters.iter().map(|parameter| {
        let mut stream = Stream::new(0, &parameter.name);
        (
            format!("{}.{}", plan.name, parameter.name),
            parameter.init.values(&mut stream, parameter.len(), parameter.fan_in),
        )
    });
    let values: HashMap<String, Vec<f32>> = values.collect();
    if plan.parameters.iter().any(|p| values[&format!("{}.{}", plan.name, p.name)].len() != p.len()) {
        return report("has a parameter with another number of initial values than its shape".into());
    }
    let run = |values: &HashMap<String, Vec<f32>>, input: &[f32]| {
        let layers = vec![Cpu::layer(recipe.as_ref())];
        let network = NetworkPlan::chain(vec![plan.clone()]);
        LayerRun::new(Network::build(&network, layers, values, &Cpu::default(), None)?, &plan, input)
    };
    let input = normal("input", STEPS * BATCH * plan.inputs);
    let outputs = (|| -> Result<_, TensorError> {
        let last: Vec<f32> = changed(&input, |i| i >= (STEPS - 1) * BATCH * plan.inputs);
        let sample: Vec<f32> = changed(&input, |i| i / plan.inputs % BATCH == 1);
        Ok([run(&values, &input)?, run(&values, &input)?, run(&values, &last)?, run(&values, &sample)?])
    })();
    let [first, second, last, sample] = match outputs {
        Ok(outputs) => outputs,
        Err(error) => return report(format!("fails: {error}")),
    };
    if let Some(signal) = first.wrong_signal(&plan) {
        return report(format!("gives a signal `{signal}` of another shape than planned, or none"));
    }
    if !same(&first.output, &second.output) {
        report("gives another output for the same input".into());
    }
    let before = (STEPS - 1) * BATCH * plan.size;
    if !same(&first.output[..before], &last.output[..before]) {
        report("lets a step hang on a later one".into());
    }
    let of_first = |run: &LayerRun| -> Vec<f32> {
        run.output.chunks(plan.size).step_by(BATCH).flat_map(<[f32]>::to_vec).collect()
    };
    if !same(&of_first(&first), &of_first(&sample)) {
        report("lets a sample hang on another one".into());
    }
    if info.fields.iter().any(|field| field.name == "surrogate") {
        return;
    }
    for (path, gradient) in &first.gradients {
        let shifted = |i: usize, by: f32| -> Option<f64> {
            let (mut values, mut input) = (values.clone(), input.clone());
            match values.get_mut(path) {
                Some(values) => values[i] += by,
                None => input[i] += by,
            }
            run(&values, &input).ok().map(|run| run.loss)
        };
        if !agrees(gradient, shifted) {
            report(format!("has another gradient of its {path} than differences"));
        }
    }
}

fn wrong_plan(plan: &LayerPlan) -> Option<String> {
    let names: Vec<&String> = plan.parameters.iter().map(|parameter| &parameter.name).collect();
    if plan.size == 0 {
        return Some("is planned without outputs".into());
    }
    if !plan.signals.contains(&plan.output) {
        return Some(format!("hands on `{}`, which is none of its signals", plan.output));
    }
    let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
    twice.map(|(_, name)| format!("has two parameters of the name `{name}`"))
}

fn changed(values: &[f32], which: impl Fn(usize) -> bool) -> Vec<f32> {
    values.iter().enumerate().map(|(i, value)| if which(i) { value + 1.0 } else { *value }).collect()
}

/// What a layer gave, and the gradients of a weighted sum of it.
struct LayerRun {
    output: Vec<f32>,
    shapes: HashMap<String, (usize, usize)>,
    loss: f64,
    /// By the path of a parameter; and of the input.
    gradients: Vec<(String, Vec<f32>)>,
}

impl LayerRun {
    fn new(network: Network<Cpu>, plan: &LayerPlan, input: &[f32]) -> Result<LayerRun, TensorError> {
        let mut recorder = Recorder::recording(Cpu::default());
        let data = recorder.matrix(input.to_vec(), (STEPS * BATCH, plan.inputs))?;
        let input = Steps { data, steps: STEPS, batch: BATCH };
        let path = format!("{}.{}", plan.name, plan.output);
        let signals = network.forward(&input, &|_| true, &|read| read == path, &mut |_, _| {}, &mut recorder)?;
        let shapes = signals.iter().map(|(path, steps)| (path.clone(), *steps.data.shape())).collect();
        let Some(output) = signals.get(&path) else {
            return Ok(LayerRun { output: Vec::new(), shapes, loss: 0.0, gradients: Vec::new() });
        };
        let values = output.to_vec();
        let weights = normal("weights", values.len());
        let loss = values.iter().zip(&weights).map(|(v, w)| f64::from(*v) * f64::from(*w)).sum();
        let weights = recorder.matrix(weights, *output.data.shape())?;
        let sum = recorder.binary(&output.data, &weights, |y, w| y.try_mul(w)?.try_sum::<(), Axes2<0, 1>>())?;
        let mut found = recorder.backward(&sum)?;
        let mut gradients = vec![("input".to_string(), read(&mut found, &input.data)?)];
        for parameter in &network.parameters {
            gradients.push((parameter.path.clone(), read(&mut found, &parameter.values)?));
        }
        Ok(LayerRun { output: values, shapes, loss, gradients })
    }

    fn wrong_signal(&self, plan: &LayerPlan) -> Option<String> {
        let fits =
            |signal: &&String| self.shapes.get(&format!("{}.{signal}", plan.name)) == Some(&(STEPS * BATCH, plan.size));
        plan.signals.iter().find(|signal| !fits(signal)).cloned()
    }
}

fn read(gradients: &mut Gradients<f32, Cpu>, of: &Matrix<Cpu>) -> Result<Vec<f32>, TensorError> {
    let buffer = gradients.get_or_alloc_mut(of).map_err(TensorError::from_device)?;
    Cpu::read(buffer).map_err(TensorError::from_device)
}

/// Whether a gradient is that of central differences, `shifted` being the loss where one value is moved.
fn agrees(gradient: &[f32], shifted: impl Fn(usize, f32) -> Option<f64>) -> bool {
    let difference = |i: usize| Some((shifted(i, APART)? - shifted(i, -APART)?) / f64::from(2.0 * APART));
    let differences: Option<Vec<f64>> = (0..gradient.len()).map(difference).collect();
    let Some(differences) = differences else { return false };
    let scale = differences.iter().fold(1e-3f64, |scale, d| scale.max(d.abs()));
    gradient.iter().zip(&differences).all(|(g, d)| (f64::from(*g) - d).abs() <= f64::from(TOLERANCE) * scale)
}

/// Its gradient is that of differences, and its direct form gives the same, times the weight, on top of what is there.
pub fn loss(registry: &Registry, component: &Component, report: Reporter<'_>) {
    let n = STEPS * BATCH * CHANNELS;
    let (signal, target) = (normal("signal", n), normal("target", n));
    let value = |signal: &[f32]| -> Result<(f32, Vec<f32>), TensorError> {
        let mut recorder = Recorder::recording(Cpu::default());
        let shape = (STEPS * BATCH, CHANNELS);
        let data = recorder.matrix(signal.to_vec(), shape)?;
        let goal = recorder.matrix(target.clone(), shape)?;
        let steps = Steps { data, steps: STEPS, batch: BATCH };
        let loss = Cpu::loss(registry, component).value(&steps, &goal, None, &mut recorder)?;
        Ok((loss.as_vec()[0], read(&mut recorder.backward(&loss)?, &steps.data)?))
    };
    let (first, second) = match (value(&signal), value(&signal)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) | (_, Err(error)) => return report(format!("fails: {error}")),
    };
    if first.0.to_bits() != second.0.to_bits() {
        report("gives another value for the same signal".into());
    }
    let shifted = |i: usize, by: f32| {
        let mut signal = signal.clone();
        signal[i] += by;
        value(&signal).ok().map(|(value, _)| f64::from(value))
    };
    if !agrees(&first.1, shifted) {
        report("has another gradient than differences".into());
    }
    let Some(direct) = registry.direct_loss(component) else { return };
    let mut gradient = vec![1.0; n];
    let value = direct.add(Scored { signal: &signal, target: &target, weights: &[] }, 2.0, Some(&mut gradient));
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
    if !near(value, first.0) {
        report("has a direct form of another value".into());
    }
    if !gradient.iter().zip(&first.1).all(|(direct, taped)| near(*direct, 1.0 + 2.0 * taped)) {
        report("has a direct form that does not add the weighted gradient to what is there".into());
    }
}

/// It is a number, hangs on nothing else, and a perfect output is not worse than another.
pub fn metric(metric: &dyn Metric, lower_is_better: bool, report: Reporter<'_>) {
    let n = STEPS * BATCH * CHANNELS;
    let wide = |name| normal(name, n).into_iter().map(f64::from).collect::<Vec<f64>>();
    let (output, target) = (wide("output"), wide("target"));
    let score = |output: &[f64]| {
        metric.score(Compared { output, target: &target, batch: BATCH, channels: CHANNELS, places: None })
    };
    match (score(&output), score(&output), score(&target)) {
        (Ok(first), Ok(second), Ok(perfect)) => {
            if !first.is_finite() {
                report(format!("is {first} where it should be a number"));
            }
            if first.to_bits() != second.to_bits() {
                report("gives another value for the same output".into());
            }
            if if lower_is_better { perfect > first } else { perfect < first } {
                report("is worse for a perfect output than for a random one".into());
            }
        }
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => report(format!("fails: {error}")),
    }
}

/// It goes downhill, stands still without a gradient, heeds a learning rate of the parameter's own, and does the same on
/// the tape.
pub fn optimizer(rule: &Rule, report: Reporter<'_>) {
    let begin = normal("parameter", 8);
    let run = |rule: &Rule, updates: usize, factor: f32| -> Vec<f32> {
        let (mut values, mut moments) = (begin.clone(), FlatMoments::new(begin.len()));
        for number in 1..=updates {
            let gradient: Vec<f32> = values.iter().map(|value| factor * value).collect();
            rule.clone().update_flat(number, &mut values, &gradient, &mut moments, 0..begin.len());
        }
        values
    };
    let height = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>();
    let rule = rule.for_parameter(None, false);
    let after = run(&rule, 50, 1.0);
    if height(&after).is_nan() || height(&after) >= height(&begin) {
        report("does not go downhill".into());
    }
    if !same(&after, &run(&rule, 50, 1.0)) {
        report("gives another result for the same gradients".into());
    }
    if !same(&begin, &run(&rule, 3, 0.0)) {
        report("moves a parameter whose gradient is 0 and that does not decay".into());
    }
    let faster = rule.for_parameter(Some(0.25), false);
    let slower = rule.for_parameter(Some(0.125), false);
    if same(&run(&faster, 1, 1.0), &run(&slower, 1, 1.0)) {
        report("does not heed a parameter's own learning rate".into());
    }
    if !same(&run(&faster.scaled(0.5), 1, 1.0), &run(&slower, 1, 1.0)) {
        report("does not heed a schedule: `Step::lr` says the rate of an update".into());
    }
    match on_tape(&rule, &begin, 50) {
        Ok(taped) if after.iter().zip(&taped).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs())) => {}
        Ok(_) => report("does something else on the tape".into()),
        Err(error) => report(format!("fails on the tape: {error}")),
    }
}

/// Its factors are finite and not below 0, and the same for the same place and memory, so that a trial that is put down
/// goes on with the same rates.
pub fn schedule(schedule: Arc<dyn RateSchedule>, report: Reporter<'_>) {
    for (warmup, of) in [(0, 1), (0, 100), (10, 100)] {
        let rates = Rates { schedule: schedule.clone(), warmup, base: 1.0 };
        // Losses that fall and then stay.
        let losses = (0..of).map(|i| 1.0 / (1.0 + i.min(of / 2) as f64));
        let mut memory = Vec::new();
        let steps = losses.enumerate().map(|(iteration, loss)| {
            schedule.see(loss, &mut memory);
            (iteration, memory.clone(), rates.factor(iteration, of, &memory))
        });
        let steps: Vec<(usize, Vec<f64>, f64)> = steps.collect();
        if steps.iter().any(|(.., factor)| !factor.is_finite() || *factor < 0.0) {
            report("has a factor that is below 0, or not finite".into());
        }
        let again = steps.iter().rev().map(|(iteration, memory, _)| rates.factor(*iteration, of, memory).to_bits());
        if !again.eq(steps.iter().rev().map(|(.., factor)| factor.to_bits())) {
            report("has another factor for the same iteration and memory".into());
        }
    }
}

fn on_tape(rule: &Rule, begin: &[f32], updates: usize) -> Result<Vec<f32>, TensorError> {
    let device = Cpu::default();
    let plan = ParameterPlan {
        name: "p".into(),
        shape: vec![begin.len()],
        fan_in: 1,
        init: init::Constant::of(0.0),
        learn: true,
        lr: None,
        decays: false,
        project: None,
        bounds: None,
    };
    let values = device.try_tensor_from_vec(begin.to_vec(), (1, begin.len())).map_err(TensorError::from_device)?;
    let mut parameters = [Parameter { path: "p".into(), values, plan }];
    let mut optimizer = RuleOptimizer::new(rule.clone());
    for number in 1..=updates {
        let mut gradients = Gradients::leaky();
        let values = &parameters[0].values;
        let buffer = gradients.get_or_alloc_mut(values).map_err(TensorError::from_device)?;
        Cpu::accumulate(buffer, &values.as_vec()).map_err(TensorError::from_device)?;
        optimizer.update(Update { number, scale: 1.0, rate: 1.0 }, &mut parameters, &mut gradients)?;
    }
    Ok(parameters[0].values.as_vec())
}

/// Its points lie in the space, each once; they are the same each time, and more begin with the same ones.
pub fn sampler(registry: &Registry, component: &Component, report: Reporter<'_>) {
    let sampler = registry.sampler(component);
    let range = NumberRange { low: 0.0, high: 1.0, log: false, int: false, step: Some(0.25), span: Span::NONE };
    let listed = [1, 2, 3].map(|i| Node::new(Value::Int(i), Span::NONE));
    let space = |trials: Option<usize>| {
        let dimension = |name: &str, values| Dimension { name: name.into(), span: Span::NONE, values };
        let dimensions = vec![dimension("a", Values::List(listed.to_vec())), dimension("b", Values::Range(range))];
        Sweep::of(component.clone(), trials.map(|trials| (trials, Span::NONE)), dimensions)
    };
    let points = |trials| sampler.points(&space(trials)).ok();
    let (all, few, more) = (points(None), points(Some(4)), points(Some(8)));
    if all.is_none() && few.is_none() {
        report("chooses no points of a space of a list and a range, with or without `trials`".into());
    }
    if few.as_ref().is_some_and(|few| few.len() > 4) {
        report("chooses more points than `trials`".into());
    }
    if let (Some(few), Some(more)) = (&few, &more)
        && !more.starts_with(few)
    {
        report("chooses other points first where it is asked for more".into());
    }
    for (trials, chosen) in [(None, &all), (Some(4), &few), (Some(8), &more)] {
        let Some(chosen) = chosen else { continue };
        let inside = |point: &Vec<Node>| match point.as_slice() {
            [a, b] => listed.contains(a) && b.as_number().is_some_and(|b| (0.0..=1.0).contains(&b)),
            _ => false,
        };
        if chosen.is_empty() || !chosen.iter().all(inside) {
            report("chooses no points, or some outside of the space".into());
        }
        if chosen.iter().enumerate().any(|(i, point)| chosen[..i].contains(point)) {
            report("chooses a point twice".into());
        }
        if points(trials).as_ref() != Some(chosen) {
            report("chooses other points each time".into());
        }
    }
}

/// Its looks ascend to the last seed; it says the same each time, drops no equals, and of unequals never the best.
pub fn pruner(pruner: &dyn Pruner, report: Reporter<'_>) {
    const SEEDS: usize = 64;
    let looks = match pruner.looks(SEEDS, 3) {
        Ok(looks) => looks,
        Err(why) => return report(format!("drops none of 3 configurations on {SEEDS} seeds: {why}")),
    };
    if looks.last() != Some(&SEEDS) || !looks.is_sorted_by(|a, b| a < b) || looks[0] == 0 {
        report("has looks that do not ascend to the last seed".into());
    }
    for maximize in [false, true] {
        let contest = Contest { looks: looks.clone(), configurations: 3, of: Mean::of(!maximize), maximize };
        let base: Vec<f64> = (0..SEEDS).map(|i| 1.0 + i as f64).collect();
        let scaled = |by: f64| base.iter().map(|value| value * by).collect::<Vec<f64>>();
        let (low, high) = (scaled(0.1), scaled(10.0));
        if !pruner.dropped(&[&base, &base, &base], &contest).is_empty() {
            report("drops one of equal configurations".into());
        }
        let unequal = [low.as_slice(), &base, &high];
        let dropped = pruner.dropped(&unequal, &contest);
        let best = if maximize { 2 } else { 0 };
        let mut places: Vec<usize> = dropped.iter().map(|(place, _)| *place).collect();
        places.sort_unstable();
        if places.contains(&best) {
            report("drops the best configuration".into());
        }
        if places.windows(2).any(|pair| pair[0] == pair[1]) || places.iter().any(|place| *place >= unequal.len()) {
            report("drops a configuration twice, or one that is not there".into());
        }
        if pruner.dropped(&unequal, &contest) != dropped {
            report("drops others each time".into());
        }
    }
}
