//! From an experiment's layers to a network: which signals each reads, and an order in which each stands behind those.

use super::layer::{AnyLayer, Inputs, LayerPlan, SourcePlan};
use super::network::NetworkPlan;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::source::Span;
use crate::spec::{LayerSpec, SourceKeys};
use std::collections::HashMap;
use std::sync::Arc;

/// The source that is the data.
const DATA: &str = "input";

/// A source before the layers are planned.
struct Edge<'a> {
    /// The layer that is read, by its place; none for the data.
    layer: Option<usize>,
    /// The signal, where one is named.
    signal: Option<&'a str>,
    keys: Option<&'a SourceKeys>,
}

impl Edge<'_> {
    fn delay(&self) -> usize {
        self.keys.and_then(|keys| keys.delay).unwrap_or(0)
    }
}

/// Plans the layers of an experiment for a number of input channels; `recipes` has one a layer.
///
/// # Errors
/// Sources that are not there, that do not fit together, and layers that read each other in a circle.
pub fn plan(specs: &[LayerSpec], recipes: &[Arc<dyn AnyLayer>], inputs: usize) -> Result<NetworkPlan, Diagnostics> {
    let mut found = Diagnostics::default();
    let names: HashMap<&str, usize> = specs.iter().enumerate().map(|(i, spec)| (spec.name.as_str(), i)).collect();
    let edges = (0..specs.len()).map(|i| edges(i, specs, &names, &mut found)).collect::<Vec<_>>();
    let order = if found.is_empty() { order(specs, &edges, &mut found) } else { Vec::new() };
    let mut planned: Vec<Option<LayerPlan>> = vec![None; specs.len()];
    for &i in &order {
        let sources: Option<Vec<_>> =
            edges[i].iter().map(|edge| source(edge, specs, &planned, inputs, &mut found)).collect();
        let Some(mut sources) = sources else { break };
        name_weights(&specs[i], &mut sources, &edges[i], &planned, &mut found);
        let given = Inputs::of(sources.iter().map(|source| (source.weight.clone(), source.width)).collect());
        let (name, kind) = (specs[i].name.clone(), specs[i].component.kind.clone());
        let plan = LayerPlan { name, kind, sources, ..recipes[i].plan(&given) };
        check_sum(&specs[i], &plan, &edges[i], &mut found);
        planned[i] = Some(plan);
    }
    match planned.into_iter().collect::<Option<Vec<_>>>() {
        Some(layers) if found.is_empty() => Ok(NetworkPlan { layers, order }),
        _ => Err(found),
    }
}

/// What a layer reads: what it says, or else what the layer before it hands on.
fn edges<'a>(
    at: usize,
    specs: &'a [LayerSpec],
    names: &HashMap<&str, usize>,
    found: &mut Diagnostics,
) -> Vec<Edge<'a>> {
    let Some(from) = &specs[at].from else {
        return vec![Edge { layer: at.checked_sub(1), signal: None, keys: None }];
    };
    let mut edges: Vec<Edge> = Vec::new();
    for keys in from {
        let (layer, signal) = match keys.of.value.split_once('.') {
            Some((layer, signal)) => (layer, Some(signal)),
            None => (keys.of.value.as_str(), None),
        };
        let layer = match (layer, names.get(layer)) {
            (DATA, _) if signal.is_none() => None,
            (_, Some(place)) => Some(*place),
            (layer, None) => {
                let known = std::iter::once(DATA).chain(specs.iter().map(|spec| spec.name.as_str()));
                let help = found.suggest(layer, known, "");
                let problem = Problem::UnknownName { what: "layer".into(), name: layer.into() };
                found.push(Diagnostic::new(problem, keys.of.at).help(help));
                continue;
            }
        };
        edges.push(Edge { layer, signal, keys: Some(keys) });
    }
    edges
}

/// Places of the layers, each behind those that it reads; otherwise as they are listed.
fn order(specs: &[LayerSpec], edges: &[Vec<Edge>], found: &mut Diagnostics) -> Vec<usize> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); specs.len()];
    let mut open: Vec<usize> = vec![0; specs.len()];
    for (reader, edges) in edges.iter().enumerate() {
        for layer in edges.iter().filter_map(|edge| edge.layer) {
            readers[layer].push(reader);
            open[reader] += 1;
        }
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..specs.len()).filter(|layer| open[*layer] == 0).collect();
    let mut order = Vec::new();
    while let Some(layer) = ready.pop_first() {
        order.push(layer);
        for &reader in &readers[layer] {
            open[reader] -= 1;
            if open[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    if let Some(stuck) = (0..specs.len()).find(|layer| open[*layer] > 0) {
        found.push(circle(stuck, specs, edges, &open));
    }
    order
}

/// A circle among the layers that are left, reached from one of them.
fn circle(from: usize, specs: &[LayerSpec], edges: &[Vec<Edge>], open: &[usize]) -> Diagnostic {
    let (mut path, mut at) = (Vec::new(), from);
    while !path.contains(&at) {
        path.push(at);
        // Each that is left reads one that is left.
        at = edges[at].iter().filter_map(|edge| edge.layer).find(|layer| open[*layer] > 0).unwrap_or(at);
    }
    let start = path.iter().position(|layer| *layer == at).unwrap_or(0);
    // A layer stands behind the one that it reads.
    path[start + 1..].reverse();
    let names: Vec<&str> = path[start..].iter().chain([&at]).map(|layer| specs[*layer].name.as_str()).collect();
    let on_it = |layer: &usize| path[start..].contains(layer);
    let mut on_circle = path[start..].iter().flat_map(|layer| &edges[*layer]);
    let is_late = on_circle.clone().any(|edge| edge.layer.as_ref().is_some_and(on_it) && edge.delay() > 0);
    let at = on_circle.find_map(|edge| edge.layer.as_ref().filter(|layer| on_it(layer)).and(edge.keys));
    let text = format!("layers read each other in a circle: {}", names.join(" -> "));
    let help = match is_late {
        true => "a circle through a `delay` is reserved and not built yet",
        false => "a layer whose neurons read each other's past is a recurrent one, such as `rleaky`",
    };
    let at = at.map_or(Span::NONE, |keys| keys.of.at);
    Diagnostic::new(Problem::Conflict(text), at).help(help.to_string())
}

/// A source of a layer, once what it reads is planned.
fn source(
    edge: &Edge,
    specs: &[LayerSpec],
    planned: &[Option<LayerPlan>],
    inputs: usize,
    found: &mut Diagnostics,
) -> Option<SourcePlan> {
    let (delay, weight) = (edge.delay(), String::from("weight"));
    let Some(layer) = edge.layer else { return Some(SourcePlan { from: None, delay, width: inputs, weight }) };
    let plan = planned[layer].as_ref()?;
    let signal = match edge.signal {
        None => plan.handed_on(),
        Some(signal) => match plan.signals.iter().position(|name| name == signal) {
            Some(place) => place,
            None => {
                let help = found.suggest(signal, plan.signals.iter().map(String::as_str), "");
                let name = format!("{}.{signal}", specs[layer].name);
                let problem = Problem::UnknownName { what: "signal".into(), name };
                let at = edge.keys.map_or(Span::NONE, |keys| keys.of.at);
                found.push(Diagnostic::new(problem, at).help(help));
                return None;
            }
        },
    };
    Some(SourcePlan { from: Some((layer, signal)), delay, width: plan.size, weight })
}

/// Names the weights of several sources after what they read, or as `as` says. One source has `weight`.
fn name_weights(
    spec: &LayerSpec,
    sources: &mut [SourcePlan],
    edges: &[Edge],
    planned: &[Option<LayerPlan>],
    found: &mut Diagnostics,
) {
    if sources.len() < 2 {
        return;
    }
    let layers: Vec<Option<usize>> = edges.iter().map(|edge| edge.layer).collect();
    let mut taken: HashMap<String, Span> = HashMap::new();
    let mut read: HashMap<(Option<(usize, usize)>, usize), Span> = HashMap::new();
    for (source, edge) in sources.iter_mut().zip(edges) {
        let Some(keys) = edge.keys else { continue };
        if let Some(first) = read.insert((source.from, source.delay), keys.of.at) {
            let text = format!("layer `{}` reads `{}` twice", spec.name, keys.of.value);
            found.push(Diagnostic::new(Problem::Conflict(text), keys.of.at).label("again").also(first, "first here"));
        }
        let layer = source.from.and_then(|(layer, signal)| Some((planned[layer].as_ref()?, signal)));
        let name = match (&keys.r#as, layer) {
            (Some(name), _) => name.value.clone(),
            (None, None) => DATA.into(),
            (None, Some((layer, signal))) if layers.iter().filter(|other| **other == edge.layer).count() > 1 => {
                format!("{}_{}", layer.name, layer.signals[signal])
            }
            (None, Some((layer, _))) => layer.name.clone(),
        };
        let at = keys.r#as.as_ref().map_or(keys.of.at, |name| name.at);
        if let Some(first) = taken.insert(name.clone(), at) {
            let text = format!("two sources of layer `{}` are called `{name}`", spec.name);
            let help = "`{ of = .., as = \"NAME\" }` gives one another name".to_string();
            found.push(Diagnostic::new(Problem::Conflict(text), at).also(first, "the other").help(help));
        }
        source.weight = format!("weight.{name}");
    }
}

/// Sources that are summed as they are have as many channels each.
fn check_sum(spec: &LayerSpec, plan: &LayerPlan, edges: &[Edge], found: &mut Diagnostics) {
    if plan.weighted {
        return;
    }
    let odd = plan.sources.iter().zip(edges).find(|(source, _)| source.width != plan.sources[0].width);
    if let Some((source, Edge { keys: Some(keys), .. })) = odd {
        let text = format!(
            "shapes do not fit: layer `{}` sums its sources, but the first has {} channels, and `{}` has {}",
            spec.name, plan.sources[0].width, keys.of.value, source.width
        );
        let help = "a layer with a `size` has weights for each source".to_string();
        found.push(Diagnostic::new(Problem::Shape(text), keys.of.at).help(help));
    }
}
