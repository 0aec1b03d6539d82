//! `[sweep]`: what a study varies. Each configuration is the document with one value of every dimension laid over it.

use super::check::{Checker, name_fault};
use super::component::{Components, Kind};
use super::diagnostic::{Diagnostic, Diagnostics, Problem};
use super::key::{Choice, KeyType, Keys, Placed};
use super::print::value_toml;
use super::source::{Sources, Span};
use super::tree::{Entry, Node, Stands, Table, Value, parse_value};
use super::{Component, Spec, merge, resolve};
use crate::keys;
use std::collections::HashMap;

/// How values are laid over an experiment now: keys that a changed `kind` also has stay. By the first way, 1, they fell
/// away; studies that were stored with it are read with it.
pub const LAYING: u32 = 2;

/// The dimension that `[sweep.variants]` makes.
pub const VARIANT: &str = "variant";

/// Keys that a sweep may vary; each configuration has a value of each.
const MOST_DIMENSIONS: usize = 1000;

/// The whole number up to which all are numbers of double precision.
const MOST_EXACT: u64 = 1 << 53;

/// Seeds on which the winner of a race is run again, unless `fresh` says otherwise.
const FRESH: usize = 10;

/// Parts of an experiment that every trial of a folder shares, or that change no number.
const SHARED: [&str; 8] = ["name", "about", "run", "report", "sweep", "extends", "format", "train.metrics"];

/// What a study varies.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// What chooses the configurations.
    pub sampler: Component,
    /// How many it chooses; none where the sampler knows.
    pub trials: Option<(usize, Span)>,
    /// What makes one configuration better than another; none for the loss.
    pub objective: Option<Objective>,
    /// What drops configurations on the way.
    pub pruner: Option<Component>,
    /// Further seeds on which the best configuration is run again.
    pub fresh: usize,
    /// Where that was said.
    pub fresh_at: Span,
    /// The dimensions, in the order of the file.
    pub dimensions: Vec<Dimension>,
    /// Where it stands.
    pub span: Span,
    /// How values are laid: [`LAYING`], or as a stored study says.
    laying: u32,
    /// The experiment without `[sweep]`, formulas not yet computed.
    document: Table,
}

impl Sweep {
    /// Some dimensions of no experiment, for the tests of a sampler.
    pub fn of(sampler: Component, trials: Option<(usize, Span)>, dimensions: Vec<Dimension>) -> Sweep {
        let span = sampler.span;
        Sweep {
            sampler,
            trials,
            objective: None,
            pruner: None,
            fresh: 0,
            fresh_at: span,
            dimensions,
            span,
            laying: LAYING,
            document: Table::default(),
        }
    }
}

/// What makes one configuration better than another: the median over its seeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objective {
    /// `loss`, or a metric of the experiment.
    pub name: String,
    /// Whether more is better.
    pub maximize: bool,
    /// Where that was said.
    pub span: Span,
}

/// What is varied, and through which values.
#[derive(Debug, Clone)]
pub struct Dimension {
    /// A name of `[let]`, a path such as `optimizer.lr`, or [`VARIANT`].
    pub name: String,
    /// Where it stands.
    pub span: Span,
    /// Its values.
    pub values: Values,
}

/// The values of a dimension.
#[derive(Debug, Clone)]
pub enum Values {
    /// These.
    List(Vec<Node>),
    /// Numbers between two.
    Range(NumberRange),
    /// Patches by name.
    Variants(Vec<Entry>),
}

/// The numbers from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberRange {
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
    /// Whether ratios count, not differences.
    pub log: bool,
    /// Whether only whole numbers are meant.
    pub int: bool,
    /// Distance between neighbours; their ratio on a log scale.
    pub step: Option<f64>,
    /// Where it stands.
    pub span: Span,
}

impl NumberRange {
    /// A number of this range as a value of the file.
    pub fn node(&self, x: f64) -> Node {
        let value = if self.int { Value::Int(x.round() as i64) } else { Value::Float(x) };
        Node::new(value, self.span)
    }
}

keys! {
    /// The keys of `[sweep]`.
    pub struct SweepKeys {
        /// what chooses the configurations
        sampler: Component = component(Kind::Sampler).or_named("grid"),
        /// configurations that are tried, each on every seed
        trials: Option<Placed<usize>> = at_least(1).placed().optional(),
        /// `loss` or a metric: the lower its median over seeds, the better
        minimize: Option<Placed<String>> = text().placed().optional(),
        /// a metric: the higher its median over seeds, the better
        maximize: Option<Placed<String>> = text().placed().optional(),
        /// what drops configurations before they had all seeds
        pruner: Option<Component> = component(Kind::Pruner).optional(),
        /// seeds after all others, on which the best configuration is run again; 10 with a pruner, else none
        fresh: Option<Placed<usize>> = between(0, 100_000).placed().optional(),
        /// a name of `[let]` or a quoted path, and its values
        over: Option<Table> = free().optional(),
        /// named patches, one dimension together
        variants: Option<Table> = free().optional(),
    }
}

keys! {
    /// The keys of a range of numbers.
    pub struct RangeKeys {
        /// the smallest value
        low: f64 = number(Range::DOUBLE),
        /// the largest value
        high: f64 = number(Range::DOUBLE),
        /// whether differences or ratios are even
        scale: Evenly = one_of().or(Evenly::Linear),
        /// whole numbers alone
        int: bool = flag().or(false),
        /// from one value to the next; a ratio on a log scale
        step: Option<f64> = number(Range { min: 0.0, above: true, ..Range::DOUBLE }).optional(),
    }
}

/// What is even along a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evenly {
    /// Differences.
    Linear,
    /// Ratios.
    Log,
}

impl Choice for Evenly {
    const WORDS: &'static [(&'static str, Evenly)] = &[("linear", Evenly::Linear), ("log", Evenly::Log)];
}

/// Lays the option `--sweep PATH=A,B,C` over a document, as a dimension.
pub fn option(document: Table, text: &str, sources: &mut Sources, found: &mut Diagnostics) -> Table {
    let source = sources.add("--sweep", text);
    let whole = Span { source, start: 0, end: text.len() };
    let Some((path, values)) = text.split_once('=') else {
        let problem = Problem::Conflict("`--sweep` takes PATH=VALUE,VALUE,...".into());
        found.push(Diagnostic::new(problem, whole).help("for example --sweep optimizer.lr=1e-4,1e-3".to_string()));
        return document;
    };
    let mut items = Vec::new();
    let mut start = path.len() + 1;
    for part in split(values) {
        let at = whole.part(start..start + part.len());
        let text = || Node::new(Value::Text(sources.slice(at).trim().to_string()), at);
        items.push(parse_value(sources, at).unwrap_or_else(text));
        start += part.len() + 1;
    }
    let nested = |key: &str, span: Span, node: Node| {
        let entry = Entry { key: key.into(), key_span: span, node, stands: Stands::Written };
        Node::new(Value::Table(Table { entries: vec![entry] }), whole)
    };
    let (name, before) = (path.trim(), path.len() - path.trim_start().len());
    let at = whole.part(before..before + name.len());
    let over = nested(name, at, Node::new(Value::Array(items), whole.part(path.len() + 1..text.len())));
    let patch = nested("sweep", whole, nested("over", whole, over));
    match patch.value {
        Value::Table(patch) => merge::lay_over(document, patch, found),
        _ => document,
    }
}

/// The parts between commas that stand outside of brackets and quotes.
pub fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut quote, mut start) = (Vec::new(), 0usize, None, 0);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            (None, _) => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Reads `[sweep]`, which was taken out of a document.
pub fn read(entry: &Entry, document: &Table, components: &dyn Components, found: &mut Diagnostics) -> Option<Sweep> {
    let before = found.list.len();
    let span = entry.key_span;
    let Some(table) = entry.node.as_table() else {
        found.push(merge::wrong_type("sweep", "a table", &entry.node));
        return None;
    };
    let mut checker = Checker::new(components, found);
    let checked = checker.table(table, &SweepKeys::fields(), span);
    let mut dimensions = Vec::new();
    let over = checked.get("over").and_then(Node::as_table).map_or(&[][..], |over| &over.entries);
    if over.len() > MOST_DIMENSIONS {
        let text = format!("a sweep over {} keys; at most {MOST_DIMENSIONS} are possible", over.len());
        found.push(Diagnostic::new(Problem::Conflict(text), span));
        return None;
    }
    for entry in over {
        check_name(entry, document, checker.found);
        let values = values(entry, &mut checker);
        dimensions.extend(values.map(|values| Dimension { name: entry.key.clone(), span: entry.key_span, values }));
    }
    if let Some(entry) = checked.entry("variants") {
        let values = variants(entry, checker.found);
        dimensions.extend(values.map(|values| Dimension { name: VARIANT.into(), span: entry.key_span, values }));
    }
    if dimensions.is_empty() && found.list.len() == before {
        let help = "`[sweep.over]` has a key a dimension, for example \"optimizer.lr\" = [1e-4, 1e-3]".to_string();
        found.push(Diagnostic::new(Problem::Conflict("`[sweep]` varies nothing".into()), span).help(help));
    }
    let objective = objective(&checked, document, found);
    if found.list.len() > before {
        return None;
    }
    let keys = SweepKeys::read(&checked)?;
    let (fresh, fresh_at) = match &keys.fresh {
        Some(fresh) => (fresh.value, fresh.key),
        None => (if keys.pruner.is_some() { FRESH } else { 0 }, span),
    };
    Some(Sweep {
        sampler: keys.sampler,
        fresh,
        fresh_at,
        pruner: keys.pruner,
        trials: keys.trials.map(|trials| (trials.value, trials.at)),
        objective,
        dimensions,
        span,
        laying: LAYING,
        document: document.clone(),
    })
}

/// Refuses what is set and swept: the sweep's values would take the place of the other.
pub fn refuse_set(set: &[Placed<&str>], document: &Table, found: &mut Diagnostics) {
    let over = document.get("sweep").and_then(|sweep| sweep.as_table()?.get("over")?.as_table());
    let path = |key: &str| if key.contains('.') { key.to_string() } else { format!("let.{key}") };
    let swept: HashMap<String, Span> =
        over.into_iter().flat_map(|over| &over.entries).map(|entry| (path(&entry.key), entry.key_span)).collect();
    for Placed { value, at, .. } in set {
        // The path itself, and those that it lies below.
        let ends = value.match_indices('.').map(|(end, _)| end).chain([value.len()]);
        let above = ends.into_iter().find_map(|end| Some((&value[..end], swept.get(&value[..end])?)));
        if let Some((path, also)) = above {
            let problem = Problem::Conflict(match *value == path {
                true => format!("`{value}` is set and swept"),
                false => format!("`{value}` is set, and `{path}` is swept"),
            });
            let help = "each configuration has a value of the sweep; take one of the two out".to_string();
            found.push(
                Diagnostic::new(problem, *at).label("this would do nothing").also(*also, "swept here").help(help),
            );
        }
    }
}

fn check_name(entry: &Entry, document: &Table, found: &mut Diagnostics) {
    let name = entry.key.as_str();
    let below = |part: &str| name.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'));
    if let Some(part) = SHARED.iter().find(|part| name == **part || below(part)) {
        let text = format!("`{part}` is the same for all trials and cannot be swept");
        let help = if *part == "run" { "`[run] seeds` says on which seeds each configuration runs" } else { "" };
        let help = (!help.is_empty()).then(|| help.to_string());
        found.push(Diagnostic::new(Problem::Conflict(text), entry.key_span).help(help));
        return;
    }
    let name = name.strip_prefix("let.").unwrap_or(name);
    if name.contains('.') {
        return;
    }
    let values = document.get("let").and_then(Node::as_table);
    let known: Vec<&str> =
        values.map_or(Vec::new(), |table| table.entries.iter().map(|entry| entry.key.as_str()).collect());
    if !known.contains(&name) {
        let help = found.suggest(name, known, "anything else is swept by its path, such as \"optimizer.lr\"");
        let help =
            help.unwrap_or("anything but names of `[let]` is swept by its path, such as \"optimizer.lr\"".into());
        let problem = Problem::UnknownName { what: "name".into(), name: name.into() };
        found.push(Diagnostic::new(problem, entry.key_span).label("`[let]` has no such name").help(help));
    }
}

fn values(entry: &Entry, checker: &mut Checker<'_>) -> Option<Values> {
    let at = entry.node.span;
    match &entry.node.value {
        Value::Array(items) if items.is_empty() => {
            let problem = Problem::OutOfRange { key: entry.key.clone() };
            checker.found.push(Diagnostic::new(problem, at).label("expected at least one value"));
            None
        }
        Value::Array(items) => {
            let mut places = HashMap::new();
            for item in items {
                let text = match item.value {
                    // Zeros of either sign are one number.
                    Value::Float(0.0) => "0.0".into(),
                    _ => value_toml(item),
                };
                if let Some(first) = places.get(&text) {
                    let problem = Problem::Conflict(format!("`{}` has {} twice", entry.key, item.value.describe()));
                    checker.found.push(Diagnostic::new(problem, item.span).also(*first, "first here"));
                } else {
                    places.insert(text, item.span);
                }
            }
            Some(Values::List(items.clone()))
        }
        Value::Table(table) => range(&entry.key, table, at, checker).map(Values::Range),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            checker.found.push(merge::wrong_type(
                &entry.key,
                "a list of values, or { low = .., high = .. }",
                &entry.node,
            ));
            None
        }
    }
}

fn range(key: &str, table: &Table, span: Span, checker: &mut Checker<'_>) -> Option<NumberRange> {
    let before = checker.found.list.len();
    let checked = checker.table(table, &RangeKeys::fields(), span);
    if checker.found.list.len() > before {
        return None;
    }
    let whole = |key: &&str| table.get(key).and_then(Node::as_int);
    let exact = |key: &&str| whole(key).is_none_or(|i| i.unsigned_abs() <= MOST_EXACT);
    let ends = ["low", "high"];
    if let Some(end) = ends.iter().find(|key| !exact(key)).filter(|_| ends.iter().all(|key| whole(key).is_some())) {
        let at = table.get(end).map_or(span, |node| node.span);
        let label =
            format!("beyond {MOST_EXACT} not every whole number can be told from the next; a list keeps them all");
        checker.found.push(Diagnostic::new(Problem::OutOfRange { key: (*end).into() }, at).label(label));
        return None;
    }
    let RangeKeys { low, high, scale, int, step } = RangeKeys::read(&checked)?;
    let log = scale == Evenly::Log;
    let wrong = match (log, step) {
        _ if low >= high => Some("`low` must be below `high`"),
        (true, _) if low <= 0.0 => Some("on a log scale `low` must be above 0"),
        (true, Some(step)) if step <= 1.0 => Some("on a log scale `step` is a ratio above 1"),
        _ if int && (low.fract() != 0.0 || high.fract() != 0.0) => Some("with `int` both ends are whole numbers"),
        _ => None,
    };
    if let Some(label) = wrong {
        checker.found.push(Diagnostic::new(Problem::OutOfRange { key: key.into() }, span).label(label));
        return None;
    }
    Some(NumberRange { low, high, log, int, step, span })
}

fn variants(entry: &Entry, found: &mut Diagnostics) -> Option<Values> {
    let table = entry.node.as_table()?;
    for variant in &table.entries {
        found.list.extend(name_fault(&variant.key).map(|fault| fault.at(variant.key_span)));
        let Some(patch) = variant.node.as_table() else {
            found.push(merge::wrong_type(&variant.key, "a table of changes", &variant.node));
            continue;
        };
        for change in patch.entries.iter().filter(|change| SHARED.contains(&change.key.as_str())) {
            let text = format!("`{}` is the same for all trials and cannot be swept", change.key);
            found.push(Diagnostic::new(Problem::Conflict(text), change.key_span));
        }
    }
    (!table.entries.is_empty()).then(|| Values::Variants(table.entries.clone()))
}

fn objective(sweep: &Table, document: &Table, found: &mut Diagnostics) -> Option<Objective> {
    // Also of a sweep that lacks other keys, so that all mistakes are told at once.
    let said = |key: &str| Option::<Placed<String>>::from_table(sweep, key).flatten();
    let (said, maximize) = match (said("minimize"), said("maximize")) {
        (Some(first), Some(second)) => {
            let problem = Problem::Conflict("`minimize` and `maximize` exclude each other".into());
            found.push(Diagnostic::new(problem, second.key).also(first.key, "the other one"));
            return None;
        }
        (Some(said), None) => (said, false),
        (None, Some(said)) => (said, true),
        (None, None) => return None,
    };
    let name = said.value.clone();
    let metrics = document.get("train").and_then(Node::as_table).map_or(&[][..], |train| train.nodes("metrics"));
    let of = |node: &Node| match &node.value {
        Value::Table(table) => table.text("kind").map(String::from),
        _ => node.as_text().map(String::from),
    };
    let names: Vec<String> = metrics.iter().filter_map(of).collect();
    let split = document.get("data").and_then(Node::as_table).is_some_and(|data| data.get("split").is_some());
    let known: Vec<String> = match split {
        // Which parts there are the plan knows; it looks again.
        true => ["loss".into(), "validation.loss".into()]
            .into_iter()
            .chain(
                ["train", "validation"].iter().flat_map(|part| names.iter().map(move |name| format!("{part}.{name}"))),
            )
            .collect(),
        false => std::iter::once("loss".to_string()).chain(names).collect(),
    };
    if name.starts_with("test.") {
        let problem = Problem::Conflict("the test part cannot choose configurations".into());
        let help = found.suggest(&name.replacen("test", "validation", 1), known.iter().map(String::as_str), "");
        found.push(Diagnostic::new(problem, said.at).label("what is tested on may not be chosen by").help(help));
        return None;
    }
    if !known.contains(&name) {
        let help = found.suggest(&name, known.iter().map(String::as_str), "`[train] metrics` names what is recorded");
        let problem = Problem::UnknownName { what: "objective".into(), name };
        found.push(Diagnostic::new(problem, said.at).label("not the loss, nor a metric here").help(help));
        return None;
    }
    Some(Objective { name, maximize, span: said.at })
}

impl Sweep {
    /// Whether configurations may differ in a section of the experiment: by its name, through a variant, or through a
    /// name of `[let]` that a formula of the section may read.
    pub fn varies(&self, section: &str) -> bool {
        let formulas = self.document.get(section).is_some_and(|node| value_toml(node).contains("\"="));
        self.dimensions.iter().any(|dimension| match &dimension.values {
            Values::Variants(variants) => {
                let patches = variants.iter().filter_map(|variant| variant.node.as_table());
                formulas || patches.flat_map(|patch| &patch.entries).any(|change| change.key == section)
            }
            Values::List(_) | Values::Range(_) => {
                let (first, path) = dimension.name.split_once('.').unwrap_or((&dimension.name, ""));
                first == section || path.is_empty() && formulas
            }
        })
    }

    /// Whether configurations may have components of other kinds, so that the defaults of one are not those of all.
    pub fn changes_kinds(&self) -> bool {
        fn names_kind(node: &Node) -> bool {
            let inner = node.as_table().map_or(&[][..], |table| &table.entries);
            node.as_text().is_some() || inner.iter().any(|entry| names_kind(&entry.node))
        }
        self.dimensions.iter().any(|dimension| match &dimension.values {
            Values::List(values) => dimension.name.contains('.') && values.iter().any(names_kind),
            Values::Variants(variants) => variants.iter().any(|variant| names_kind(&variant.node)),
            Values::Range(_) => false,
        })
    }

    /// Whether configurations may have tables laid over those of the experiment, whose defaults are not theirs.
    pub fn lays_tables(&self) -> bool {
        let is_table = |node: &Node| node.as_table().is_some();
        self.dimensions.iter().any(|dimension| match &dimension.values {
            Values::List(values) => values.iter().any(is_table),
            Values::Variants(_) => true,
            Values::Range(_) => false,
        })
    }

    /// The same, laid as a stored study says, over the experiment as it is stored: what fell away when it was checked is
    /// forgotten.
    pub fn settled(mut self, laying: u32, checked: &Table) -> Sweep {
        self.laying = laying;
        merge::forget_inherited(&mut self.document, Some(checked));
        self
    }

    /// The checked experiment with one value a dimension, in their order.
    pub fn configuration(
        &self,
        point: &[Node],
        components: &dyn Components,
        sources: &Sources,
    ) -> Result<Spec, Diagnostics> {
        let mut found = Diagnostics::default();
        let mut document = self.document.clone();
        for (dimension, value) in self.dimensions.iter().zip(point) {
            let mut patch = match &dimension.values {
                Values::Variants(variants) => {
                    let variant = variants.iter().find(|variant| Some(variant.key.as_str()) == value.as_text());
                    variant.and_then(|variant| variant.node.as_table()).cloned().unwrap_or_default()
                }
                Values::List(_) | Values::Range(_) => {
                    let let_path = format!("let.{}", dimension.name);
                    let path = if dimension.name.contains('.') { &dimension.name } else { &let_path };
                    merge::nest(path, dimension.span, value.clone())
                }
            };
            if self.laying == LAYING {
                patch.ask();
            }
            document = merge::lay_over(document, patch, &mut found);
            if self.laying < LAYING {
                merge::forget_inherited(&mut document, None);
            }
        }
        resolve(document, self.span, components, sources, found)
    }
}
