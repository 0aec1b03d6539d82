//! From TOML text to a checked, resolved spec in which every value knows where it stood.
//!
//! `merge` lays files and options over each other, `values` computes formulas, `fields` checks against the registry,
//! and this file reads the result into types. Nothing here computes or draws anything of an experiment.

pub mod component;
pub mod diagnostic;
pub mod fields;
pub mod merge;
pub mod print;
pub mod schema;
pub mod source;
pub mod tree;
pub mod values;

use component::{Components, Kind};
use diagnostic::{Diagnostic, Diagnostics, Problem};
use fields::{Checker, Field, Range, Type};
use source::{Sources, Span};
use std::path::Path;
use tree::{Node, Table, Value};

/// The latest format of experiment files that is read.
pub const FORMAT: i64 = 1;

/// A checked experiment.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// The dataset.
    pub data: Component,
    /// A seed of its own for the data; else the trial's.
    pub data_seed: Option<u64>,
    /// The layers, from the input on.
    pub layers: Vec<LayerSpec>,
    /// A seed of its own for the initial parameters; else the trial's.
    pub init_seed: Option<u64>,
    /// The optimizer.
    pub optimizer: Component,
    /// Training.
    pub train: TrainSpec,
    /// Where random numbers come from.
    pub random: RandomSpec,
    /// The seeds, one trial each.
    pub seeds: Vec<u64>,
    /// Which weights are stored.
    pub save: Save,
    /// Samples of each trial that are stored with their traces.
    pub report_samples: usize,
    /// The whole document, checked, with defaults written out and formulas beside their results.
    pub resolved: Table,
}

/// A component by name, with its checked keys.
#[derive(Debug, Clone)]
pub struct Component {
    /// Name in the registry.
    pub kind: String,
    /// Its keys, all of them there unless optional.
    pub args: Table,
    /// Where it stands.
    pub span: Span,
}

/// A layer.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// Its name, unique in the network.
    pub name: String,
    /// The layer or neuron, with its keys.
    pub component: Component,
}

/// Training.
#[derive(Debug, Clone)]
pub struct TrainSpec {
    /// When it ends.
    pub length: Length,
    /// Samples an iteration.
    pub batch: usize,
    /// Whether samples are drawn in a new order each epoch.
    pub shuffle: bool,
    /// The losses, summed with their weights.
    pub loss: Vec<Term>,
    /// What is recorded.
    pub metrics: Vec<Component>,
    /// Largest norm of the gradient of all parameters together; larger ones are scaled down to it.
    pub clip_norm: Option<f64>,
    /// Every how many iterations a row of the history is written.
    pub record_every: usize,
    /// Which weights are kept.
    pub select: Select,
}

/// When training ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After so many updates.
    Iterations(usize),
    /// After so many passes over the data.
    Epochs(usize),
}

/// A loss in the sum.
#[derive(Debug, Clone)]
pub struct Term {
    /// The loss.
    pub loss: Component,
    /// Its factor.
    pub weight: f64,
    /// The signal it reads and where that was said; else the network's output.
    pub of: Option<(String, Span)>,
}

/// Which weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// Those after the last update.
    Last,
    /// Those of the lowest training loss.
    Best,
}

/// Which weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// Those of every trial.
    All,
    /// Those of the trial of the lowest loss.
    Best,
    /// None.
    None,
}

/// Where random numbers come from.
#[derive(Debug, Clone)]
pub enum RandomSpec {
    /// A stream for each seed and purpose.
    Runner,
    /// PyTorch's generator, from which named things are drawn one after the other.
    Torch {
        /// Their order; none for data first, then each layer's parameters and weights.
        order: Option<Vec<(String, Span)>>,
    },
}

/// What is asked for beside the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--set` options, in order.
    pub set: Vec<String>,
    /// The `--seeds` option.
    pub seeds: Option<String>,
}

/// Reads an experiment file. `Err` where anything is wrong; all of it is in the diagnostics.
pub fn read(
    file: &Path,
    overrides: &Overrides,
    components: &dyn Components,
    sources: &mut Sources,
) -> Result<Spec, Diagnostics> {
    let mut found = Diagnostics::default();
    let Some(mut document) = merge::load(file, sources, &mut found) else { return Err(found) };
    for option in &overrides.set {
        document = merge::set(document, option, sources, &mut found);
    }
    if let Some(text) = &overrides.seeds {
        match seeds_option(text, sources) {
            Ok(node) => document = merge::set_run(document, "seeds", node, &mut found),
            Err(diagnostic) => found.push(diagnostic),
        }
    }
    resolve(document, components, sources, found)
}

/// Checks a merged document and reads it into types.
fn resolve(
    mut document: Table,
    components: &dyn Components,
    sources: &Sources,
    mut found: Diagnostics,
) -> Result<Spec, Diagnostics> {
    let whole = Span { source: 0, start: 0, end: 0 };
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
    let mut checker = Checker { registry: components, found: &mut found };
    let mut resolved = checker.table(&document, &document_fields(), whole);
    if let Some(layers) = resolved.get("layer").cloned() {
        resolved.put("layer", checked_layers(&layers, &mut checker));
    }
    check_train(&resolved, &mut found);
    if found.is_empty() { Ok(typed(resolved)) } else { Err(found) }
}

/// The keys of an experiment file. Layers are checked one by one, after their `kind`.
pub fn document_fields() -> Vec<Field> {
    let text = |s: &str| Value::Text(s.into());
    let seed = Type::Int { min: 0, max: i64::MAX };
    vec![
        Field::required("name", Type::Name, "name of the experiment and of its result folder"),
        Field::default("about", Type::Text, text(""), "what the experiment is about, in a sentence"),
        Field::optional("let", Type::Free, "named values for formulas"),
        Field::required("data", Type::Component(Kind::Dataset), "the dataset"),
        Field::required("layer", Type::List(Box::new(Type::Free)), "the layers, from the input on"),
        Field::optional(
            "init",
            Type::Table(vec![Field::optional("seed", seed, "a seed for the initial parameters of all trials")]),
            "initial parameters",
        ),
        Field::required("optimizer", Type::Component(Kind::Optimizer), "the optimizer"),
        Field::required("train", Type::Table(train_fields()), "training"),
        Field::default("random", Type::Table(random_fields()), Value::Table(Table::default()), "random numbers"),
        Field::default("run", Type::Table(run_fields()), Value::Table(Table::default()), "what is run and stored"),
        Field::default(
            "report",
            Type::Table(vec![Field::default(
                "samples",
                Type::at_least(1),
                Value::Int(4),
                "samples with traces, a trial",
            )]),
            Value::Table(Table::default()),
            "what the report shows",
        ),
    ]
}

/// The keys of `[train]`.
fn train_fields() -> Vec<Field> {
    let text = |s: &str| Value::Text(s.into());
    vec![
        Field::optional("iterations", Type::at_least(0), "updates; or give `epochs`"),
        Field::optional("epochs", Type::at_least(0), "passes over the data; or give `iterations`"),
        Field::default("batch", Type::at_least(1), Value::Int(1), "samples an iteration"),
        Field::default("shuffle", Type::Bool, Value::Bool(true), "a new order of samples each epoch"),
        Field::required("loss", Type::Terms(Kind::Loss), "what training lowers"),
        Field::default(
            "metrics",
            Type::List(Box::new(Type::Component(Kind::Metric))),
            Value::Array(Vec::new()),
            "what is recorded",
        ),
        Field::optional("clip_norm", Type::Number(Range::POSITIVE), "largest norm of the whole gradient"),
        Field::default("record_every", Type::at_least(1), Value::Int(1), "iterations between rows of the history"),
        Field::default(
            "select",
            Type::Choice(vec!["last".into(), "best".into()]),
            text("last"),
            "weights that are kept: the last, or those of the lowest training loss",
        ),
    ]
}

fn random_fields() -> Vec<Field> {
    let generators = Type::Choice(vec!["runner".into(), "torch".into()]);
    let about = "`runner`: a stream a seed and purpose; `torch`: PyTorch's CPU generator";
    vec![
        Field::default("generator", generators, Value::Text("runner".into()), about),
        Field::optional("order", Type::List(Box::new(Type::Text)), "for `torch`: in which order things are drawn"),
    ]
}

fn run_fields() -> Vec<Field> {
    let at = Span { source: 0, start: 0, end: 0 };
    let saves = Type::Choice(vec!["all".into(), "best".into(), "none".into()]);
    vec![
        Field::default("seeds", Type::Seeds, Value::Array(vec![Node::new(Value::Int(0), at)]), "one trial a seed"),
        Field::default("save", saves, Value::Text("all".into()), "trials whose weights are stored"),
    ]
}

/// The keys that every component of a kind takes beside its own.
pub fn common_fields(kind: Kind) -> Vec<Field> {
    match kind {
        Kind::Dataset => {
            let seed = Type::Int { min: 0, max: i64::MAX };
            vec![Field::optional("seed", seed, "a seed for the data of all trials")]
        }
        Kind::Layer => vec![Field::required("name", Type::Name, "its name")],
        Kind::Neuron | Kind::Surrogate | Kind::Loss | Kind::Metric | Kind::Optimizer | Kind::Initialiser => Vec::new(),
    }
}

fn checked_layers(layers: &Node, checker: &mut Checker<'_>) -> Node {
    let Value::Array(items) = &layers.value else { return layers.clone() };
    if items.is_empty() {
        let problem = Problem::MissingKey("layer".into());
        checker.found.push(Diagnostic::new(problem, layers.span).label("at least one layer is needed"));
    }
    let mut names: Vec<(String, Span)> = Vec::new();
    let mut checked = Vec::new();
    for item in &without_patches(items, checker.found) {
        if let Some(node) = item.as_table().and_then(|table| table.get("name"))
            && let Some(name) = node.as_text()
        {
            if let Some((_, first)) = names.iter().find(|(other, _)| other == name) {
                let problem = Problem::Duplicate { what: "layer".into(), name: name.into() };
                checker
                    .found
                    .push(Diagnostic::new(problem, node.span).label("this name is taken").also(*first, "first here"));
            }
            names.push((name.into(), node.span));
        }
        let node = checker.component(item, "layer", Kind::Layer, &[]);
        checked.extend(node.map(|node| Node { value: name_first(node.value), ..node }));
    }
    Node::new(Value::Array(checked), layers.span)
}

/// In TOML, `[layer.NAME]` below `[[layer]]` is a table inside the last layer, which nobody means.
fn without_patches(layers: &[Node], found: &mut Diagnostics) -> Vec<Node> {
    let names: Vec<&str> = layers.iter().filter_map(|layer| layer.as_table()?.text("name")).collect();
    let is_patch = |entry: &tree::Entry| entry.node.as_table().is_some() && names.contains(&entry.key.as_str());
    let mut cleaned = layers.to_vec();
    for table in cleaned.iter_mut().filter_map(|node| match &mut node.value {
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
    cleaned
}

fn name_first(value: Value) -> Value {
    let Value::Table(mut table) = value else { return value };
    if let Some(name) = table.remove("name") {
        table.entries.insert(0, name);
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
    for (i, (name, metric)) in names.iter().zip(metrics).enumerate() {
        if names[..i].contains(name) {
            let problem = Problem::Duplicate { what: "metric".into(), name: name.to_string() };
            found.push(Diagnostic::new(problem, metric.span));
        }
    }
}

/// `7`, `1,5,9` or the half-open `0..40`.
fn seeds_option(text: &str, sources: &mut Sources) -> Result<Node, Diagnostic> {
    let source = sources.add("--seeds", text);
    let whole = Span { source, start: 0, end: text.len() };
    let wrong = |at: Span| {
        let problem = Problem::WrongType {
            key: "--seeds".into(),
            expected: "`7`, `1,5,9` or `0..40`".into(),
            found: format!("`{}`", text.escape_debug()),
        };
        Diagnostic::new(problem, at)
    };
    let number = |part: &str| part.trim().parse::<i64>().ok().filter(|n| *n >= 0);
    if let Some((from, to)) = text.split_once("..") {
        let (Some(from), Some(to)) = (number(from), number(to)) else { return Err(wrong(whole)) };
        if to <= from {
            return Err(wrong(whole).label("no seed lies between these"));
        }
        let mut table = Table::default();
        table.put("from", Node::new(Value::Int(from), whole));
        table.put("count", Node::new(Value::Int(to - from), whole));
        return Ok(Node::new(Value::Table(table), whole));
    }
    let mut items = Vec::new();
    let mut start = 0;
    for part in text.split(',') {
        let at = whole.part(start..start + part.len());
        items.push(Node::new(Value::Int(number(part).ok_or_else(|| wrong(at))?), at));
        start += part.len() + 1;
    }
    Ok(Node::new(Value::Array(items), whole))
}

/// Reads a checked document into types. Keys that the check guarantees are read without a second look.
fn typed(resolved: Table) -> Spec {
    let section = |key: &str| resolved.get(key).and_then(Node::as_table).cloned().unwrap_or_default();
    let train = section("train");
    let terms = train.nodes("loss").iter().map(|node| {
        let loss = component(node);
        let of = loss.args.get("of").map(|of| (of.as_text().unwrap_or("").to_string(), of.span));
        Term { weight: loss.args.number("weight"), of, loss }
    });
    let layers = resolved.nodes("layer").iter().map(|node| {
        let component = component(node);
        LayerSpec { name: component.args.string("name"), component }
    });
    let data = section_component(&resolved, "data");
    let random = section("random");
    let order = random.get("order").map(|_| {
        random.nodes("order").iter().map(|node| (node.as_text().unwrap_or("").to_string(), node.span)).collect()
    });
    Spec {
        name: resolved.string("name"),
        about: resolved.string("about"),
        data_seed: data.args.seed(),
        data,
        layers: layers.collect(),
        init_seed: section("init").seed(),
        optimizer: section_component(&resolved, "optimizer"),
        train: TrainSpec {
            length: match train.get("epochs") {
                Some(_) => Length::Epochs(train.whole("epochs")),
                None => Length::Iterations(train.whole("iterations")),
            },
            batch: train.whole("batch"),
            shuffle: train.flag("shuffle"),
            loss: terms.collect(),
            metrics: train.nodes("metrics").iter().map(component).collect(),
            clip_norm: train.get("clip_norm").and_then(Node::as_number),
            record_every: train.whole("record_every"),
            select: if train.text("select") == Some("best") { Select::Best } else { Select::Last },
        },
        random: if random.text("generator") == Some("torch") {
            RandomSpec::Torch { order }
        } else {
            RandomSpec::Runner
        },
        seeds: seeds(&section("run")),
        save: match section("run").text("save") {
            Some("best") => Save::Best,
            Some("none") => Save::None,
            _ => Save::All,
        },
        report_samples: section("report").whole("samples"),
        resolved,
    }
}

fn component(node: &Node) -> Component {
    let args = node.as_table().cloned().unwrap_or_default();
    Component { kind: args.string("kind"), args, span: node.span }
}

fn section_component(resolved: &Table, key: &str) -> Component {
    let entry = resolved.entry(key);
    let args = entry.and_then(|e| e.node.as_table()).cloned().unwrap_or_default();
    let span = entry.map_or(Span { source: 0, start: 0, end: 0 }, |e| e.node.span);
    Component { kind: args.string("kind"), args, span }
}

fn seeds(run: &Table) -> Vec<u64> {
    match run.get("seeds").map(|node| &node.value) {
        Some(Value::Table(table)) => {
            let from = table.whole("from") as u64;
            (from..from.saturating_add(table.whole("count") as u64)).collect()
        }
        _ => run.nodes("seeds").iter().filter_map(Node::as_int).map(|seed| seed as u64).collect(),
    }
}

impl Table {
    /// A string that the check guarantees.
    ///
    /// # Panics
    /// Where the key is not in the component's list of fields, which is a mistake in the program.
    pub fn string(&self, key: &str) -> String {
        self.text(key).unwrap_or_else(|| undeclared(key)).to_string()
    }

    /// A number that the check guarantees.
    ///
    /// # Panics
    /// As [`Table::string`].
    pub fn number(&self, key: &str) -> f64 {
        self.get(key).and_then(Node::as_number).unwrap_or_else(|| undeclared(key))
    }

    /// A whole number, not below zero, that the check guarantees.
    ///
    /// # Panics
    /// As [`Table::string`].
    pub fn whole(&self, key: &str) -> usize {
        self.get(key).and_then(Node::as_int).and_then(|i| usize::try_from(i).ok()).unwrap_or_else(|| undeclared(key))
    }

    /// A truth value that the check guarantees.
    ///
    /// # Panics
    /// As [`Table::string`].
    pub fn flag(&self, key: &str) -> bool {
        match self.get(key).map(|node| &node.value) {
            Some(Value::Bool(b)) => *b,
            _ => undeclared(key),
        }
    }

    /// A pair of numbers that the check guarantees.
    ///
    /// # Panics
    /// As [`Table::string`].
    pub fn pair(&self, key: &str) -> (f64, f64) {
        match self.nodes(key) {
            [a, b] => {
                (a.as_number().unwrap_or_else(|| undeclared(key)), b.as_number().unwrap_or_else(|| undeclared(key)))
            }
            _ => undeclared(key),
        }
    }

    /// The items of a list; none where the key is not there.
    pub fn nodes(&self, key: &str) -> &[Node] {
        match self.get(key).map(|node| &node.value) {
            Some(Value::Array(items)) => items,
            _ => &[],
        }
    }

    /// The optional key `seed`.
    pub fn seed(&self) -> Option<u64> {
        self.get("seed").and_then(Node::as_int).map(|seed| seed as u64)
    }
}

fn undeclared<T>(key: &str) -> T {
    panic!("a component reads the key `{key}`, which its list of fields does not declare")
}
