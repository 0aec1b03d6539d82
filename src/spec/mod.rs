//! From TOML text to a checked, resolved spec in which every value knows where it stood.
//!
//! `merge` lays files over each other and `options` what is asked for over them, `values` computes formulas, `check` holds
//! the result against the `keys` and the registry, and the types of this file are read from it. Nothing here computes or
//! draws anything of an experiment.

pub mod check;
pub mod component;
pub mod diagnostic;
pub mod fields;
pub mod held;
pub mod key;
pub mod keys;
mod kind;
pub mod merge;
mod options;
pub mod print;
pub mod schema;
pub mod shown;
pub mod source;
pub mod sweep;
pub mod tree;
pub mod values;

use crate::statistics::precision::Precision;
use check::Checker;
use component::{Components, Kind};
use diagnostic::{Diagnostic, Diagnostics, Problem};
use fields::Field;
use key::{Keys, Placed};
use keys::{DatasetKeys, Document, InitKeys, RandomKeys, RunKeys, ScheduleKeys, SeedList, TermKeys};
pub use keys::{EarlyStop, GeneratorName, Save, Select, SourceKeys, TrainSpec};
pub use options::Overrides;
use source::{Sources, Span};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use sweep::{LAYING, Sweep};
use tree::{Node, Table, Value};

/// The keys of an experiment file, made once: a study checks each of its configurations against them.
static OF_DOCUMENTS: LazyLock<Vec<Field>> = LazyLock::new(Document::fields);

/// The latest format of experiment files that is read.
pub const FORMAT: i64 = 1;

/// A checked experiment.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What the reader should know, such as keys that fell away with a changed `kind`.
    pub notes: Vec<String>,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// The dataset.
    pub data: DataSpec,
    /// The layers, from the input on.
    pub layers: Vec<LayerSpec>,
    /// A seed of its own for the initial parameters; else the trial's.
    pub init_seed: Option<u64>,
    /// A file with the initial parameters, as it was written.
    pub init_weights: Option<Placed<String>>,
    /// The optimizer.
    pub optimizer: OptimizerSpec,
    /// Training.
    pub train: TrainSpec,
    /// Where random numbers come from.
    pub random: RandomKeys,
    /// The seeds, one trial each; with `until` all that there may be.
    pub seeds: Vec<u64>,
    /// How many of them are enough, if that is left to the results.
    pub until: Option<Until>,
    /// Threads of a trial.
    pub threads: usize,
    /// Which weights are stored.
    pub save: Save,
    /// Samples of each trial that are stored with their traces.
    pub report_samples: usize,
    /// What the study varies, if it is one of several configurations.
    pub sweep: Option<Sweep>,
    /// The whole document, checked, with defaults written out and formulas beside their results.
    pub resolved: Table,
}

impl Spec {
    /// Of a document that passed the check.
    ///
    /// # Panics
    /// Where it passed another one, which is a mistake in the program.
    fn new(resolved: Table, notes: Vec<String>) -> Spec {
        let Some(read) = Document::read(&resolved) else { panic!("the document passed a check against other keys") };
        let Document { name, about, data, layer: layers, init, optimizer, train, random, run, report, .. } = read;
        let InitKeys { seed: init_seed, weights: init_weights } =
            init.unwrap_or(InitKeys { seed: None, weights: None });
        let RunKeys { seeds: SeedList { all: seeds, until }, threads, save } = run;
        let (report_samples, sweep) = (report.samples, None);
        Spec {
            notes,
            name,
            about,
            data,
            layers,
            init_seed,
            init_weights,
            optimizer,
            train,
            random,
            seeds,
            until,
            threads,
            save,
            report_samples,
            sweep,
            resolved,
        }
    }
}

/// A component by name, with its checked keys, which the registry reads. Two of them are equal wherever they stand.
#[derive(Debug, Clone)]
pub struct Component {
    /// Name in the registry.
    pub kind: String,
    /// Its keys, all of them there unless optional.
    pub args: Table,
    /// Where it stands.
    pub span: Span,
}

impl PartialEq for Component {
    fn eq(&self, other: &Self) -> bool {
        (&self.kind, &self.args) == (&other.kind, &other.args)
    }
}

impl Component {
    /// From a checked table.
    pub fn of_node(node: &Node) -> Option<Component> {
        let args = node.as_table()?.clone();
        Some(Component { kind: args.text("kind")?.into(), args, span: node.span })
    }

    /// Where one of its keys stands, or else it itself.
    pub fn at(&self, key: &str) -> Span {
        self.args.get(key).map_or(self.span, |node| node.span)
    }
}

/// The dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSpec {
    /// What is made by its own keys.
    pub component: Component,
    /// The keys of every dataset.
    pub common: DatasetKeys,
    /// Whether targets are not known, as rows that are to be predicted.
    pub unlabelled: bool,
}

impl DataSpec {
    /// Takes rows whose targets are not known from another file, in place of those of the experiment.
    pub fn predict(&mut self, path: &str, at: Span) {
        self.component.args.remove("split");
        self.component.args.put("path", Node::new(Value::Text(path.into()), at));
        self.common.split = None;
        self.unlabelled = true;
    }

    /// What it is made of, as a text that is the same for the same data.
    pub fn key(&self) -> String {
        // A path is relative to the file that it stands in.
        let stands: Vec<usize> = self.component.args.entries.iter().map(|entry| entry.node.span.source).collect();
        format!("{} {stands:?}", print::canonical(&self.component.args))
    }
}

/// The optimizer.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerSpec {
    /// What is made by its own keys.
    pub component: Component,
    /// How its learning rates change, if they do.
    pub schedule: Option<ScheduleSpec>,
}

/// A schedule of learning rates.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleSpec {
    /// What is made by its own keys.
    pub component: Component,
    /// The keys of every schedule.
    pub common: ScheduleKeys,
}

/// A layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// Its name, unique in the network.
    pub name: String,
    /// What it reads, where it says so.
    pub from: Option<Vec<SourceKeys>>,
    /// The layer or neuron, with its keys.
    pub component: Component,
}

/// Into how many segments time is cut. Of all but the last only the states at their beginning are kept, and the rest is
/// computed again on the way back. Source: Chen et al. 2016, arXiv 1604.06174.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segments {
    /// So many.
    Count(usize),
    /// The root of the number of steps.
    Sqrt,
}

impl Default for Segments {
    fn default() -> Self {
        Segments::Count(1)
    }
}

impl Segments {
    /// Steps of a segment; the last one may have fewer.
    pub fn length(self, steps: usize) -> usize {
        let count = match self {
            Segments::Count(count) => count,
            Segments::Sqrt => steps.isqrt(),
        };
        steps.div_ceil(count.max(1)).max(1)
    }
}

/// When training ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After so many updates.
    Iterations(usize),
    /// After so many passes over the data.
    Epochs(usize),
}

/// How often something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// After so many updates.
    Iterations(usize),
    /// After so much time.
    Time(Duration),
}

/// When seeds are enough.
#[derive(Debug, Clone, PartialEq)]
pub struct Until {
    /// The loss or metric whose mean is to be known.
    pub metric: Placed<String>,
    /// How well.
    pub precision: Precision,
    /// The first seed.
    pub from: u64,
}

/// A loss in the sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// The loss.
    pub loss: Component,
    /// Its factor, and the signal that it reads.
    pub common: TermKeys,
}

/// Reads an experiment file. `Err` where anything is wrong; all of it is in the diagnostics.
pub fn read(
    file: &Path,
    overrides: &Overrides,
    components: &dyn Components,
    sources: &mut Sources,
) -> Result<Spec, Diagnostics> {
    let mut found = Diagnostics::default();
    // The file itself is read before those that it extends.
    let whole = Span { source: sources.next(), start: 0, end: 0 };
    let Some(mut document) = merge::load(file, sources, &mut found) else { return Err(found) };
    let mut read = values::names_read(&document, sources);
    document = options::lay(document, overrides, sources, &mut found);
    read.extend(values::names_read(&document, sources));
    // Beside other mistakes, such as a misspelt name in a formula, this would only be their echo.
    let mut unread = Diagnostics::default();
    values::refuse_unread(&document, &read, whole.source, &mut unread);
    let spec = finish(document, whole, LAYING, components, sources, found)?;
    if unread.is_empty() { Ok(spec) } else { Err(unread) }
}

/// Reads the text of a whole experiment, such as a manifest keeps; `name` says which file it stands for, `laying` how the
/// values of its sweep are laid over it ([`LAYING`]).
pub fn read_text(
    name: &str,
    text: &str,
    laying: u32,
    components: &dyn Components,
    sources: &mut Sources,
) -> Result<Spec, Diagnostics> {
    let mut found = Diagnostics::default();
    let source = sources.add(name, text);
    let document = tree::parse(sources, source, &mut found);
    let whole = Span { source, start: 0, end: 0 };
    if found.is_empty() { finish(document, whole, laying, components, sources, found) } else { Err(found) }
}

/// Checks a merged document with its sweep; what it lacks as a whole is missed at `whole`.
fn finish(
    mut document: Table,
    whole: Span,
    laying: u32,
    components: &dyn Components,
    sources: &Sources,
    mut found: Diagnostics,
) -> Result<Spec, Diagnostics> {
    let varied = document.remove("sweep");
    let sweep = varied.as_ref().and_then(|entry| sweep::read(entry, &document, components, &mut found));
    let mut spec = resolve(document, whole, components, sources, found)?;
    let sweep = sweep.map(|sweep| sweep.settled(laying, &spec.resolved));
    if let Some(entry) = varied {
        spec.resolved.set(entry);
    }
    spec.sweep = sweep;
    Ok(spec)
}

/// Checks a merged document and reads it into types.
fn resolve(
    mut document: Table,
    whole: Span,
    components: &dyn Components,
    sources: &Sources,
    mut found: Diagnostics,
) -> Result<Spec, Diagnostics> {
    if let Some(entry) = document.remove("format") {
        match entry.node.as_int() {
            Some(1..=FORMAT) => {}
            Some(later) if later > FORMAT => {
                found.list.clear();
                found.push(Diagnostic::new(Problem::LaterFormat(later), entry.node.span));
                return Err(found);
            }
            _ => found.push(merge::wrong_type("format", "the number 1", &entry.node)),
        }
    }
    values::compute(&mut document, sources, &mut found);
    let mut checker = Checker::new(components, &mut found);
    let mut resolved = checker.table(&document, &OF_DOCUMENTS, whole);
    if let Some(layers) = resolved.get_mut("layer") {
        checked_layers(layers, &mut checker);
    }
    let notes = std::mem::take(&mut checker.notes);
    check_train(&resolved, &mut found);
    if found.is_empty() { Ok(Spec::new(resolved, notes)) } else { Err(found) }
}

/// Puts layers into their full form.
fn checked_layers(layers: &mut Node, checker: &mut Checker<'_>) {
    let Value::Array(items) = &mut layers.value else { return };
    if items.is_empty() {
        let problem = Problem::MissingKey("layer".into());
        checker.found.push(Diagnostic::new(problem, layers.span).label("at least one layer is needed"));
    }
    let mut names: HashMap<String, Span> = HashMap::new();
    let mut checked = Vec::new();
    drop_patches(items, checker.found);
    for item in items.iter() {
        if let Some(node) = item.as_table().and_then(|table| table.get("name"))
            && let Some(name) = node.as_text()
        {
            if let Some(first) = names.get(name) {
                let problem = Problem::Duplicate { what: "layer".into(), name: name.into() };
                checker
                    .found
                    .push(Diagnostic::new(problem, node.span).label("this name is taken").also(*first, "first here"));
            } else {
                names.insert(name.into(), node.span);
            }
        }
        let node = checker.component(item, "layer", Kind::Layer, &[]);
        let before = checked.last().and_then(Node::as_table).map(said_sources);
        checked.extend(node.map(|node| Node { value: of_layer(node.value, before), ..node }));
    }
    *layers = Node::new(Value::Array(checked), layers.span);
}

/// In TOML, `[layer.NAME]` below `[[layer]]` is a table inside the last layer, which nobody means.
fn drop_patches(layers: &mut [Node], found: &mut Diagnostics) {
    let name = |layer: &Node| layer.as_table()?.text("name").map(String::from);
    let names: HashSet<String> = layers.iter().filter_map(name).collect();
    let is_patch = |entry: &tree::Entry| entry.node.as_table().is_some() && names.contains(&entry.key);
    for table in layers.iter_mut().filter_map(|node| match &mut node.value {
        Value::Table(table) => Some(table),
        _ => None,
    }) {
        for patch in table.entries.iter().filter(|entry| is_patch(entry)) {
            let problem = Problem::Conflict("`[[layer]]` and `[layer.NAME]` stand in one file".into());
            let help = "`[layer.NAME]` patches a layer of the file that `extends` names".to_string();
            found.push(Diagnostic::new(problem, patch.key_span).help(help));
        }
        table.entries.retain(|entry| !is_patch(entry));
    }
}

/// How a layer may be named as the source of the next, which is its source anyway.
fn said_sources(layer: &Table) -> Vec<String> {
    let [name, output] = ["name", "output"].map(|key| layer.text(key).unwrap_or_default());
    vec![name.into(), format!("{name}.{output}")]
}

/// A layer with its name first; that it reads the layer before goes without saying.
fn of_layer(value: Value, before: Option<Vec<String>>) -> Value {
    let Value::Table(mut table) = value else { return value };
    if let Some(name) = table.remove("name") {
        table.entries.insert(0, name);
    }
    let usual = before.unwrap_or(vec!["input".into()]);
    if let [only] = table.nodes("from")
        && let Some(source) = only.as_table().filter(|source| source.entries.len() == 1)
        && source.text("of").is_some_and(|of| usual.iter().any(|name| name == of))
    {
        table.remove("from");
    }
    Value::Table(table)
}

/// One of `iterations` and `epochs`, and not more metrics of one name than one.
fn check_train(resolved: &Table, found: &mut Diagnostics) {
    let Some(node) = resolved.get("train") else { return };
    let Some(train) = node.as_table() else { return };
    match (train.entry("iterations"), train.entry("epochs")) {
        (Some(first), Some(second)) => found.push(
            Diagnostic::new(Problem::Conflict("`iterations` and `epochs` exclude each other".into()), second.key_span)
                .label("take one out")
                .also(first.key_span, "the other one"),
        ),
        (None, None) if found.is_empty() => found.push(
            Diagnostic::new(Problem::MissingKey("iterations".into()), node.span)
                .label("`iterations` or `epochs` is needed here"),
        ),
        _ => {}
    }
    let Some(Value::Array(metrics)) = train.get("metrics").map(|node| &node.value) else { return };
    let names: Vec<&str> = metrics.iter().filter_map(|m| m.as_table()?.text("kind")).collect();
    let mut known = HashSet::new();
    for (name, metric) in names.iter().zip(metrics) {
        if !known.insert(name) {
            let problem = Problem::Duplicate { what: "metric".into(), name: name.to_string() };
            found.push(Diagnostic::new(problem, metric.span));
        }
    }
}
