//! What needs several values of an experiment at once: sizes, shapes, signals, parts, and the order of PyTorch's draws.

use super::measured::Measured;
use crate::data::DataShape;
use crate::data::prepared::Prepared;
use crate::data::split::Part;
use crate::nn::fused::size::product;
use crate::nn::{LayerPlan, NetworkPlan};
use crate::registry::Registry;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use crate::spec::key::Placed;
use crate::spec::source::Span;
use crate::spec::tree::{Node, Table};
use crate::spec::{Component, GeneratorName, Length, Spec};
use crate::train::draws::{Generator, default_order};

/// All trials of a folder have the same columns, and what ranks them is one of these. `differs` is where a
/// configuration leads to other columns.
pub fn check_parts(quantities: &[Measured], differs: Option<Span>, spec: &Spec) -> Result<(), Diagnostics> {
    let refuse = |problem: Problem, at: Span, help: Option<String>| {
        Err(Diagnostics { list: vec![Diagnostic::new(problem, at).help(help)] })
    };
    if let Some(at) = differs {
        let text = "configurations of one study have the same parts, but these differ in them".to_string();
        return refuse(Problem::Conflict(text), at, None);
    }
    let Some(objective) = spec.sweep.as_ref().and_then(|sweep| sweep.objective.as_ref()) else { return Ok(()) };
    let known: Vec<String> = std::iter::once("loss".to_string()).chain(quantities.iter().map(Measured::name)).collect();
    if known.contains(&objective.name) {
        return Ok(());
    }
    let allowed = known.iter().map(String::as_str).filter(|name| !name.starts_with("test."));
    let help = suggest(&objective.name, allowed.collect::<Vec<_>>(), "");
    refuse(Problem::UnknownName { what: "objective".into(), name: objective.name.clone() }, objective.span, help)
}

/// A warm-up ends before the training does, and a schedule looks at what is there.
pub fn check_schedule(
    spec: &Spec,
    dataset: &Prepared,
    registry: &Registry,
    iterations: usize,
    found: &mut Diagnostics,
) {
    let Some(schedule) = &spec.optimizer.schedule else { return };
    let Placed { value: warmup, at: warmup_at, .. } = schedule.common.warmup;
    if warmup > 0 && warmup >= iterations && iterations > 0 {
        let text = format!("a warm-up of {warmup} iterations does not end within {iterations}");
        found.push(Diagnostic::new(Problem::Conflict(text), warmup_at).label("expected fewer iterations"));
    }
    let validated = dataset.parts().iter().any(|(part, _)| *part == Part::Validation);
    if registry.schedule(&schedule.component).looks_at() == Some(Part::Validation) && !validated {
        let text = format!("schedule `{}` needs a validation part", schedule.component.kind);
        let help = "`[data.split] validation = 0.2` splits one off; `of = \"loss\"` looks at the training loss";
        found.push(
            Diagnostic::new(Problem::Conflict(text), schedule.component.at("of"))
                .label("there is none to look at")
                .help(help.to_string()),
        );
    }
}

/// What ends training has to be there, and may not be what is tested on.
pub fn check_early_stop(spec: &Spec, dataset: &Prepared, found: &mut Diagnostics) {
    let Some(early) = &spec.train.early_stop else { return };
    let Placed { value: name, at, .. } = &early.of;
    let validated = dataset.parts().iter().any(|(part, _)| *part == Part::Validation);
    let mut refuse = |text: &str, label: &str, help: Option<&str>| {
        let problem = Problem::Conflict(text.into());
        found.push(Diagnostic::new(problem, *at).label(label).help(help.map(String::from)));
    };
    match name.as_str() {
        "loss" => {}
        "validation.loss" if validated => {}
        "validation.loss" => refuse(
            "`early_stop` needs a validation part",
            "there is none to look at",
            Some("`[data.split] validation = 0.2` splits one off; `of = \"loss\"` looks at the training loss"),
        ),
        name if name.starts_with("test.") => refuse(
            "the test part cannot end training",
            "what is tested on may not be chosen by",
            Some("`validation.loss` ends training by samples that are not tested on"),
        ),
        _ => refuse("training ends by a loss", "expected \"validation.loss\" or \"loss\"", None),
    }
}

/// Numbers of a network, or of its largest signal for all samples, that are taken for a slip of the pen.
const TOO_MANY: usize = 1 << 31;

/// Refuses data that no machine could hold, before memory is asked for.
///
/// # Errors
/// The number of steps and samples.
pub fn check_data(component: &Component, data: &DataShape) -> Result<(), Diagnostics> {
    let cells = [data.steps, data.samples, data.inputs.len().max(data.targets.len())];
    if product(&cells) <= TOO_MANY {
        return Ok(());
    }
    let text = format!("the data would have {} steps times {} samples", data.steps, data.samples);
    let at = component.at(if data.steps > data.samples { "steps" } else { "samples" });
    Err(Diagnostics { list: vec![Diagnostic::new(Problem::Shape(text), at).label(held())] })
}

fn held() -> String {
    format!("at most {TOO_MANY} numbers are held")
}

/// Refuses a network that no machine could hold, before memory is asked for.
pub fn check_sizes(spec: &Spec, network: &NetworkPlan, data: &DataShape, found: &mut Diagnostics) {
    for (layer, planned) in spec.layers.iter().zip(&network.layers) {
        let parameters = numbers_of(planned);
        let at = layer.component.at("size");
        if parameters > TOO_MANY {
            let text = format!("layer `{}` would have {parameters} parameters", layer.name);
            found.push(Diagnostic::new(Problem::Shape(text), at).label(held()));
        } else if product(&[data.steps, planned.size]) > TOO_MANY {
            let (steps, size) = (data.steps, planned.size);
            let text = format!("layer `{}` would give {steps} steps times {size} numbers a sample", layer.name);
            let data_at = spec.data.component.at("steps");
            let (at, also) = if steps > size { (data_at, at) } else { (at, data_at) };
            found.push(Diagnostic::new(Problem::Shape(text), at).label(held()).also(also, "the other factor"));
        }
    }
}

/// Numbers of all parameters of a layer.
fn numbers_of(layer: &LayerPlan) -> usize {
    layer.parameters.iter().map(|parameter| product(&parameter.shape)).fold(0usize, usize::saturating_add)
}

/// Updates of a trial that can be counted, in files and on axes.
const MOST_UPDATES: usize = 1 << 53;

/// Updates of a trial.
pub fn updates(spec: &Spec, trained_on: usize, found: &mut Diagnostics) -> usize {
    let epochs = match spec.train.length {
        Length::Iterations(n) => return n,
        Length::Epochs(n) => n,
    };
    let batches = trained_on.div_ceil(spec.train.batch);
    let updates = epochs.saturating_mul(batches);
    if updates > MOST_UPDATES {
        let train = spec.resolved.get("train").and_then(Node::as_table);
        let at = train.and_then(|train| train.get("epochs")).map_or(spec.data.component.span, |node| node.span);
        let text = format!("{epochs} epochs of {batches} batches are more updates than can be counted");
        found.push(Diagnostic::new(Problem::Shape(text), at).label(format!("at most {MOST_UPDATES} updates")));
    }
    updates
}

pub fn check_shapes(spec: &Spec, network: &NetworkPlan, data: &DataShape, found: &mut Diagnostics) {
    let targets = data.targets.len();
    let shape = |width: usize| format!("[{}, {}, {width}]", data.steps, data.samples);
    let reads_output = spec.train.loss.iter().any(|term| term.common.of.is_none()) || !spec.train.metrics.is_empty();
    if let Some(last) = spec.layers.last().filter(|_| network.outputs() != targets && reads_output) {
        let text = format!(
            "shapes do not fit: layer `{}` gives {}, but the target of dataset `{}` is {}",
            last.name,
            shape(network.outputs()),
            spec.data.component.kind,
            shape(targets)
        );
        let at = last.component.at("size");
        let label = format!("the last layer needs size {targets}, one a target channel");
        let help = "shapes are [time, samples, channels]".to_string();
        let data_at = spec.data.component.at("kind");
        found.push(Diagnostic::new(Problem::Shape(text), at).label(label).help(help).also(data_at, "the dataset"));
    }
    for (layer, planned) in spec.layers.iter().zip(&network.layers) {
        if !planned.inputs.is_multiple_of(planned.blocks) {
            let text = format!(
                "shapes do not fit: layer `{}` cuts its input into {} blocks, but the input is {}",
                layer.name,
                planned.blocks,
                shape(planned.inputs)
            );
            let help =
                format!("with `size` the layer has dense weights to all {} inputs of its neurons", planned.blocks);
            found.push(Diagnostic::new(Problem::Shape(text), layer.component.span).help(help));
        }
    }
    for layer in &spec.layers {
        let late = layer.from.iter().flatten().filter(|source| source.delay.is_some_and(|delay| delay >= data.steps));
        for source in late {
            let (of, delay, steps) = (&source.of.value, source.delay.unwrap_or(0), data.steps);
            let text = format!("layer `{}`: `{of}` comes {delay} steps later, but there are {steps} steps", layer.name);
            found.push(Diagnostic::new(Problem::Shape(text), source.of.at).label("it would never arrive"));
        }
    }
    for term in &spec.train.loss {
        let Some(Placed { value: signal, at, .. }) = &term.common.of else { continue };
        match network.width(signal) {
            None => {
                let signals = network.signals();
                let help = suggest(signal, signals.iter().map(String::as_str), "");
                let problem = Problem::UnknownName { what: "signal".into(), name: signal.clone() };
                found.push(Diagnostic::new(problem, *at).help(help));
            }
            Some(width) if width != targets => {
                let text = format!(
                    "shapes do not fit: signal `{signal}` is {}, but the target of dataset `{}` is {}",
                    shape(width),
                    spec.data.component.kind,
                    shape(targets)
                );
                found.push(Diagnostic::new(Problem::Shape(text), *at));
            }
            Some(_) => {}
        }
    }
}

/// Where random numbers come from; an order of PyTorch's draws has all of them once.
pub fn generator(spec: &Spec, network: &NetworkPlan, found: &mut Diagnostics) -> Generator {
    if spec.random.generator == GeneratorName::Runner {
        return Generator::Runner;
    }
    let at = spec.resolved.get("random").map_or(Span::NONE, |node| node.span);
    check_torch_seeds(spec, found);
    let drawn = default_order(network);
    let Some(order) = &spec.random.order else { return Generator::Torch(drawn) };
    for (i, Placed { value: name, at, .. }) in order.iter().enumerate() {
        if let Some(first) = order[..i].iter().find(|other| other.value == *name) {
            let problem = Problem::Duplicate { what: "draw".into(), name: name.clone() };
            found.push(Diagnostic::new(problem, *at).also(first.at, "first here"));
        }
        if !drawn.contains(name) {
            let help = suggest(name, drawn.iter().map(String::as_str), "");
            let problem = Problem::UnknownName { what: "draw".into(), name: name.clone() };
            found.push(Diagnostic::new(problem, *at).label("nothing of this name is drawn").help(help));
        }
    }
    let missing: Vec<String> = drawn
        .iter()
        .filter(|name| !order.iter().any(|placed| placed.value == **name))
        .map(|name| format!("\"{name}\""))
        .collect();
    if !missing.is_empty() && found.is_empty() {
        let text = format!("`order` leaves out {}", missing.join(", "));
        let at = order.first().map_or(at, |first| first.at);
        found.push(
            Diagnostic::new(Problem::Conflict(text), at).help("everything that is drawn needs a place".to_string()),
        );
    }
    Generator::Torch(order.iter().map(|name| name.value.clone()).collect())
}

/// PyTorch's generator takes 32 bits of a seed.
fn check_torch_seeds(spec: &Spec, found: &mut Diagnostics) {
    let seeds = spec.seeds.iter().copied().chain(spec.data.common.seed).chain(spec.init_seed);
    if let Some(seed) = seeds.into_iter().find(|seed| *seed > u64::from(u32::MAX)) {
        let run: Option<&Table> = spec.resolved.get("run").and_then(Node::as_table);
        let at = run.and_then(|run| run.get("seeds")).map_or(Span::NONE, |node| node.span);
        let label = format!("{seed} is not below 2^32, which `generator = \"torch\"` needs");
        found.push(Diagnostic::new(Problem::OutOfRange { key: "seeds".into() }, at).label(label));
    }
}
