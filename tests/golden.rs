//! Parity with snnTorch 1.0.0 and PyTorch: every file of the folder that `RUNNER_GOLDEN` names (default: the files
//! beside this test) is read and compared; how its numbers were made stands in its metadata.

use dfdx::prelude::Cpu;
use runner::data::Data;
use runner::data::split::Part;
use runner::formula::Expr;
use runner::neuron::reference::{self, Pass};
use runner::neuron::{Model, StepProgram};
use runner::nn::fused::{Form, FusedNetwork, Workspace};
use runner::nn::init::{Constant, TorchLinear};
use runner::nn::layer::Lookup;
use runner::nn::{Initialiser, LayerPlan, NetworkPlan, ParameterPlan};
use runner::random::{Draws, TorchGenerator};
use runner::registry::Registry;
use runner::spec::source::{Sources, Span};
use runner::spec::tree::parse;
use runner::spec::{self, Overrides};
use runner::study::compiled::Compiled;
use runner::study::{Executor, Plan};
use runner::tensor::{DeviceName, Recorder, Steps};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

struct Golden {
    name: String,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    meta: HashMap<String, serde_json::Value>,
}

impl Golden {
    fn values(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.meta.get(key)?.as_str()
    }
}

fn folder() -> PathBuf {
    match std::env::var_os("RUNNER_GOLDEN") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
    }
}

/// Every file of the folder; one that is empty or cannot be read is a failure.
fn files() -> Vec<Golden> {
    let folder = folder();
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    assert!(!paths.is_empty(), "{}: no golden files", folder.display());
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Golden {
    let bytes = std::fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let meta = metadata.metadata().clone().unwrap_or_default();
    let numbers = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    Golden {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        tensors: tensors.tensors().into_iter().map(|(k, v)| (k, (v.shape().to_vec(), numbers(v.data())))).collect(),
        meta: meta.into_iter().map(|(k, v)| (k, serde_json::from_str(&v).unwrap())).collect(),
    }
}

/// Says something whether or not the test's output is captured.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn registry() -> Registry {
    Registry::builtin(&mut Sources::default()).unwrap_or_else(|found| panic!("{:?}", found.list))
}

fn close(got: &[f32], expected: &[f32], absolute: f32, relative: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= absolute + relative * e.abs(), "{what}[{i}]: {g}, but the trace has {e}");
    }
}

/// The norm of the difference is within a share of the norm.
fn close_in_norm(got: &[f32], expected: &[f32], share: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(expected).map(|(g, e)| f64::from(*g) - f64::from(*e)));
    let size = norm(&mut expected.iter().map(|e| f64::from(*e)));
    assert!(difference <= share * size + 1e-12, "{what}: {difference} of {size}");
}

/// The model of a neuron's text, if it is built in.
fn model(golden: &Golden, registry: &Registry) -> Option<Model> {
    let name = golden.text("neuron")?;
    let known = registry.neurons.contains_key(name) && registry.surrogates.contains_key(golden.text("surrogate")?);
    if !known {
        return None;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/builtin/neurons/{name}.toml"));
    let mut sources = Sources::default();
    let source = sources.add(name, std::fs::read_to_string(path).unwrap());
    let mut found = Default::default();
    let table = parse(&sources, source, &mut found);
    Model::read(&table, Span { source, start: 0, end: 0 }, &sources, &mut found)
}

/// The surrogate of a name with its default keys, which are those of the traces.
fn surrogate(name: &str, registry: &Registry) -> Expr {
    let text = format!("kind = \"{name}\"");
    let mut sources = Sources::default();
    let source = sources.add("test", text);
    let mut table = parse(&sources, source, &mut Default::default());
    for field in &registry.surrogates[name].info.fields {
        if let runner::spec::fields::Presence::Default(value) = &field.presence {
            let at = Span { source, start: 0, end: 0 };
            table.put(&field.name, runner::spec::tree::Node::new(value.clone(), at));
        }
    }
    registry.surrogate(&runner::spec::Component { kind: name.into(), args: table, span: Span::NONE })
}

#[test]
fn golden_neurons_have_the_spikes_potentials_and_gradients_of_the_traces() {
    let registry = registry();
    let (mut compared, mut tensors, mut skipped) = (0, 0, Vec::new());
    for golden in files().iter().filter(|golden| golden.text("neuron").is_some()) {
        match model(golden, &registry) {
            Some(model) => {
                let (program, names) = program(golden, &model, &registry);
                tensors += compare_neuron(golden, &by_reference(golden, &program, &names), "reference");
                tensors += compare_neuron(golden, &by_fused(golden, &program, &names), "fused");
                compared += 1;
            }
            None => skipped.push(golden.name.clone()),
        }
    }
    say(&format!("golden neurons: compared {compared} files, {tensors} tensors"));
    say(&format!("golden neurons: skipped {} files of neurons not built yet: {}", skipped.len(), skipped.join(", ")));
}

/// The trace's name of a parameter: those of an LSTM cell have names of their own there.
fn name_in_trace(golden: &Golden, name: &str) -> String {
    let lstm = [
        ("weight", "weight_ih"),
        ("bias", "bias_ih"),
        ("recurrent.weight", "weight_hh"),
        ("recurrent.bias", "bias_hh"),
    ];
    let other = lstm.iter().find(|(ours, theirs)| *ours == name && golden.tensors.contains_key(*theirs));
    other.map_or(name, |(_, theirs)| theirs).to_string()
}

/// The values of a parameter and its shape as a matrix; those that a trace does not hold stand in its metadata.
fn parameter(golden: &Golden, name: &str) -> (Vec<f32>, (usize, usize)) {
    // snnTorch 1.0.0 takes one-to-one weights at construction, where they are 1; those that a trace sets later and
    // holds have no effect, and therefore no gradient.
    let unused =
        name == "recurrent.weight" && !golden.tensors.contains_key(&format!("grad.{}", name_in_trace(golden, name)));
    if golden.text("recurrence") == Some("one_to_one") && unused {
        return (vec![1.0], (1, 1));
    }
    match golden.tensors.get(&name_in_trace(golden, name)) {
        Some((shape, values)) => match shape[..] {
            [rows, columns] => (values.clone(), (rows, columns)),
            _ => (values.clone(), (1, values.len())),
        },
        None => (vec![golden.meta[name].as_f64().unwrap() as f32], (1, 1)),
    }
}

/// The program of a trace with its parameters by name: the layer's weights, if any, then the neurons' own.
fn program(golden: &Golden, model: &Model, registry: &Registry) -> (StepProgram, Vec<String>) {
    let choice = |option: &str, key: &str| Some((option.to_string(), golden.text(key)?.to_string()));
    let choices: Vec<_> = [choice("reset", "reset"), choice("recurrent", "recurrence")].into_iter().flatten().collect();
    let program = StepProgram::new(model, &choices, surrogate(golden.text("surrogate").unwrap(), registry));
    let weights = ["weight", "bias"].iter().filter(|_| program.inputs.len() > 1).map(|name| name.to_string());
    let projected = program.projections.iter().flat_map(|p| {
        let bias = p.bias.then(|| format!("{}.bias", p.name));
        std::iter::once(format!("{}.weight", p.name)).chain(bias)
    });
    let names = program.params.iter().map(|p| p.name.clone()).chain(weights).chain(projected).collect();
    (program, names)
}

/// Spikes, membrane potentials, and gradients by name, of which `input` is one.
struct Traced {
    spikes: Vec<f32>,
    membrane: Vec<f32>,
    gradients: HashMap<String, Vec<f32>>,
}

fn compare_neuron(golden: &Golden, traced: &Traced, executor: &str) -> usize {
    let what = |name: &str| format!("{} ({executor}): {name}", golden.name);
    assert_eq!(traced.spikes, golden.values("spk"), "{}", what("spikes"));
    close(&traced.membrane, golden.values("mem"), 1e-6, 1e-6, &what("mem"));
    let mut tensors = 2;
    for (name, (_, expected)) in golden.tensors.iter().filter(|(name, _)| name.starts_with("grad.")) {
        let of = name.strip_prefix("grad.").unwrap();
        let ours = traced.gradients.iter().find(|(name, _)| name_in_trace(golden, name) == of);
        let (_, gradient) = ours.unwrap_or_else(|| panic!("{}", what(name)));
        close_in_norm(gradient, expected, 1e-4, &what(name));
        tensors += 1;
    }
    tensors
}

/// The trace by the reference executor.
fn by_reference(golden: &Golden, program: &StepProgram, names: &[String]) -> Traced {
    let [steps, batch, neurons] = golden.tensors["input"].0[..] else { panic!("{}", golden.name) };
    let mut recorder = Recorder::recording(Cpu::default());
    let rows = steps * batch;
    let input = recorder.matrix(golden.values("input").to_vec(), (rows, neurons)).unwrap();
    let params: HashMap<String, _> = (names.iter())
        .map(|name| {
            let (values, shape) = parameter(golden, name);
            (name.clone(), recorder.matrix(values, shape).unwrap())
        })
        .collect();
    let current = match params.get("weight") {
        Some(weight) => recorder.dense(&input, weight, params.get("bias")).unwrap(),
        None => input.clone(),
    };
    let mut inputs = HashMap::new();
    for (i, name) in program.inputs.iter().enumerate() {
        let data = match params.get("weight") {
            Some(_) => recorder.columns(&current, i * neurons, (i + 1) * neurons).unwrap(),
            None => current.clone(),
        };
        inputs.insert(name.clone(), Steps { data, steps, batch });
    }
    let all = Pass { tbptt: None, wanted: &|_| true, graded: &|_| true };
    let segment = reference::forward(program, &params, &inputs, None, &all, &mut recorder).unwrap();
    let (spikes, membrane) = (&segment.signals["spikes"], &segment.signals["membrane"]);
    let mut tape = backward(golden, spikes, membrane, recorder, rows, neurons);
    let mut gradients = HashMap::new();
    for (name, tensor) in params.iter().map(|(name, tensor)| (name.as_str(), tensor)).chain([("input", &input)]) {
        tape.get_or_alloc_mut(tensor).unwrap();
        gradients.insert(name.to_string(), tape.get(tensor).as_vec());
    }
    Traced { spikes: spikes.to_vec(), membrane: membrane.to_vec(), gradients }
}

/// The trace by the fused executor: a layer that hands the input on, and the layer of neurons behind it.
fn by_fused(golden: &Golden, program: &StepProgram, names: &[String]) -> Traced {
    let [steps, samples, neurons] = golden.tensors["input"].0[..] else { panic!("{}", golden.name) };
    let parameters = names.iter().map(|name| {
        let (values, (rows, columns)) = parameter(golden, name);
        let matrix = ["weight", "recurrent.weight"].contains(&name.as_str()) && rows > 1;
        ParameterPlan {
            name: name.clone(),
            shape: if matrix { vec![rows, columns] } else { vec![values.len()] },
            fan_in: 1,
            init: Constant::of(0.0),
            learn: true,
            lr: None,
            decays: false,
            project: None,
            bounds: None,
        }
    });
    let layer = |name: &str, signals: Vec<String>, parameters: Vec<ParameterPlan>| LayerPlan {
        name: name.into(),
        kind: name.into(),
        output: signals[0].clone(),
        weighted: parameters.iter().any(|parameter| parameter.name == "weight"),
        parameters,
        signals: signals.clone(),
        ..LayerPlan::new(neurons, neurons, &signals[0])
    };
    let signals = program.outputs.iter().map(|(signal, _)| signal.clone()).collect();
    let layers = vec![layer("in", vec!["current".into()], vec![]), layer("n", signals, parameters.collect())];
    let values = names.iter().map(|name| (format!("n.{name}"), parameter(golden, name).0)).collect();
    let forms = vec![Form::Dense, Form::Neurons(program.clone())];
    let read = ["n.spikes".to_string(), "n.membrane".to_string()];
    let mut network = FusedNetwork::new(&NetworkPlan::chain(layers), forms, &read, None).with_values(&values);
    let data = Data { steps, samples, inputs: golden.values("input").to_vec(), ..Data::default() };
    let mut space = Workspace::default();
    network.turn();
    network.begin_backward(&mut space);
    network.forward(data.view(), 0, None, &mut space);
    for (path, weights) in [("n.spikes", "w_spk"), ("n.membrane", "w_mem")] {
        network.signal_and_gradient(path, &mut space).unwrap().1.copy_from_slice(golden.values(weights));
    }
    network.backward(data.view(), &mut space);
    let part = |part: &runner::nn::fused::FlatPart| {
        (part.path.strip_prefix("n.").unwrap().to_string(), part.to_pytorch(&space.gradients))
    };
    let mut gradients: HashMap<String, Vec<f32>> = network.parts().iter().map(part).collect();
    let signal = |path: &str| network.signal(path, &space).unwrap().1.to_vec();
    let (spikes, membrane) = (signal("n.spikes"), signal("n.membrane"));
    gradients.insert("input".into(), network.signal_and_gradient("in.current", &mut space).unwrap().1.to_vec());
    Traced { spikes, membrane, gradients }
}

/// Gradients of L = sum(w_spk * spk) + sum(w_mem * mem).
fn backward(
    golden: &Golden,
    spikes: &Steps<Cpu>,
    membrane: &Steps<Cpu>,
    mut recorder: Recorder<Cpu>,
    rows: usize,
    neurons: usize,
) -> dfdx::tensor::Gradients<f32, Cpu> {
    use dfdx::prelude::{Axes2, SumTo, TryAdd, TryMul};
    let mut weighted = |signal: &Steps<Cpu>, weights: &str| {
        let weights = recorder.matrix(golden.values(weights).to_vec(), (rows, neurons)).unwrap();
        recorder.binary(&signal.data, &weights, |s, w| s.try_mul(w)?.try_sum::<(), Axes2<0, 1>>()).unwrap()
    };
    let (a, b) = (weighted(spikes, "w_spk"), weighted(membrane, "w_mem"));
    let loss = recorder.binary(&a, &b, |a, b| a.try_add(b)).unwrap();
    recorder.backward(&loss).unwrap()
}

#[test]
fn golden_random_numbers_are_those_of_pytorch() {
    let (mut compared, mut tensors) = (0, 0);
    for golden in files().iter().filter(|golden| golden.meta.contains_key("draws")) {
        let mut torch = TorchGenerator::new(golden.meta["seed"].as_u64().unwrap() as u32);
        let equal = |name: &str, got: Vec<f32>| {
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&got), bits(golden.values(name)), "{}: {name}", golden.name);
        };
        for (name, n) in [("rand_1", 1), ("rand_7", 7), ("rand_40", 40)] {
            equal(name, torch.uniform(0.0, 1.0, n));
        }
        equal("linear_3_5.weight", TorchLinear { bias: false }.values(&mut torch, 15, 3));
        equal("linear_3_5.bias", TorchLinear { bias: true }.values(&mut torch, 5, 3));
        equal("rand_3_last", torch.uniform(0.0, 1.0, 3));
        for (name, n) in [("randn_5", 5), ("randn_40", 40)] {
            close(&torch.normal(0.0, 1.0, n), golden.values(name), 1e-6, 0.0, name);
        }
        equal("randperm_10", torch.permutation(10).into_iter().map(|i| i as f32).collect());
        compared += 1;
        tensors += golden.tensors.len();
    }
    say(&format!("golden random numbers: compared {compared} files, {tensors} tensors"));
}

/// The plan of an experiment of the gallery.
fn plan(name: &str, seeds: &str, registry: &Registry, executor: Executor) -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("experiments/{name}.toml"));
    let overrides = Overrides { seeds: Some(seeds.into()), ..Overrides::default() };
    let mut sources = Sources::default();
    let spec = spec::read(&file, &overrides, registry, &mut sources).unwrap_or_else(|f| panic!("{:?}", f.list));
    Plan::new(spec, registry, &sources, executor, DeviceName::Cpu).unwrap_or_else(|f| panic!("{:?}", f.list))
}

/// The trace's name of a parameter: layers 0, 2, 4 are linear and 1, 3, 5 leaky.
fn traced_name(path: &str) -> String {
    let (layer, parameter) = path.split_once('.').unwrap();
    let place = ["hidden_1", "hidden_2", "readout"].iter().position(|name| *name == layer).unwrap();
    let neuron = usize::from(!["weight", "bias"].contains(&parameter));
    format!("layers.{}.{parameter}", 2 * place + neuron)
}

#[test]
fn golden_trainings_begin_like_the_notebook() {
    let registry = registry();
    let (mut compared, mut tensors) = (0, 0);
    let files = files();
    let trainings = files.iter().filter(|golden| golden.text("mode").is_some());
    for (golden, executor) in trainings.flat_map(|golden| [(golden, Executor::Reference), (golden, Executor::Fused)]) {
        let seed = golden.meta["seed"].as_u64().unwrap();
        let name = format!("{}_torch", golden.text("mode").unwrap());
        let plan = plan(&name, &seed.to_string(), &registry, executor);
        let mut trial = Compiled::new(&plan.configurations.first, None)
            .prepare::<Cpu>(&plan.configurations.first, &registry, seed)
            .unwrap();
        let what = |name: &str| format!("{} ({}): {name}", golden.name, executor.as_str());
        for (path, _, values) in trial.parameters() {
            let name = traced_name(&path);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&values), bits(golden.values(&name)), "{}", what(&name));
            tensors += 1;
        }
        close(&trial.parts().train.inputs, golden.values("x"), 1e-6, 0.0, &what("x"));
        close(&trial.parts().train.targets, golden.values("y"), 1e-6, 0.0, &what("y"));
        let untrained = trial.evaluate(Part::Train, &|_| false).unwrap();
        close(&untrained.signals["readout.membrane"].1, golden.values("output.0"), 1e-5, 0.0, &what("output.0"));
        let (loss, gradients) = trial.gradients().unwrap();
        let losses = golden.values("loss");
        close(&[loss as f32], &losses[..1], 0.0, 1e-6, &what("loss"));
        for (path, values) in gradients {
            if let Some((_, expected)) = golden.tensors.get(&format!("grad.{}", traced_name(&path))) {
                close_in_norm(&values, expected, 1e-4, &what(&path));
                tensors += 1;
            }
        }
        trial.advance(3, &AtomicBool::new(false)).unwrap();
        let first: Vec<f32> = trial.history.iter().map(|row| row.loss as f32).collect();
        close(&first, &losses[..3], 0.0, 1e-4, &what("the first losses"));
        compared += 1;
        tensors += 4;
    }
    say(&format!("golden trainings: compared {compared} runs, {tensors} tensors"));
}

#[test]
fn golden_losses_over_seeds_come_from_the_same_distribution() {
    let path = folder().join("tutorial1_distribution.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        say("golden distribution: skipped, the folder has no distribution file");
        return;
    };
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let theirs: BTreeMap<u64, f64> = (rows.iter().filter(|row| row["mode"] == "sqrt"))
        .map(|row| (row["seed"].as_u64().unwrap(), row["last"].as_f64().unwrap()))
        .collect();
    let registry = registry();
    let seeds: Vec<String> = theirs.keys().map(u64::to_string).collect();
    let plan = plan("sqrt_torch", &seeds.join(","), &registry, Executor::Fused);
    let last = |seed: u64| {
        let mut trial = Compiled::new(&plan.configurations.first, None)
            .prepare::<Cpu>(&plan.configurations.first, &registry, seed)
            .unwrap();
        trial.advance(plan.configurations.first.iterations, &AtomicBool::new(false)).unwrap();
        trial.latest_loss().unwrap()
    };
    let ours: Vec<f64> = theirs.keys().map(|&seed| last(seed)).collect();
    let theirs: Vec<f64> = theirs.into_values().collect();
    let p = kolmogorov_smirnov(&ours, &theirs);
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| (a / b).ln()).collect();
    let n = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / n;
    let sd = (ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let half = 2.02 * sd / n.sqrt();
    say(&format!(
        "golden distribution: compared {n} seeds, KS p = {p:.3}, mean log ratio {mean:.3} [{:.3}, {:.3}]",
        mean - half,
        mean + half
    ));
    assert!(p > 0.01, "p = {p}");
    assert!(mean.abs() < 0.35, "mean log ratio {mean}");
}

/// p of the two-sample Kolmogorov-Smirnov test (asymptotic distribution).
/// Source: Press et al., Numerical Recipes, 3rd edition, section 14.3.3.
fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> f64 {
    let below = |sample: &[f64], x: f64| sample.iter().filter(|v| **v <= x).count() as f64 / sample.len() as f64;
    let distance = a.iter().chain(b).map(|&x| (below(a, x) - below(b, x)).abs()).fold(0.0, f64::max);
    let n = (a.len() * b.len()) as f64 / (a.len() + b.len()) as f64;
    let lambda = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let term = |k: i32| f64::from(k % 2 * 2 - 1) * 2.0 * (-2.0 * f64::from(k * k) * lambda * lambda).exp();
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}
