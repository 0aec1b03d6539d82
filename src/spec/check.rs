//! Reads tables and values against the description of their keys: reports everything that is wrong, and gives them
//! back in their full form, with every default written out.

use super::component::{Components, Kind};
use super::diagnostic::{Diagnostic, Diagnostics, Problem, nearest};
use super::fields::{Field, Pair, Presence, Range, SEED, Type};
use super::held::{is_source, parameter_fields};
use super::key::{Keys, text};
use super::keys::{SeedsKeys, SourceKeys, TermKeys, common_fields};
use super::merge::wrong_type;
use super::source::Span;
use super::tree::{Entry, Node, Stands, Table, Value};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

/// Reads tables and values against their description.
pub struct Checker<'a> {
    /// Where components are looked up.
    pub registry: &'a dyn Components,
    /// Where mistakes go.
    pub found: &'a mut Diagnostics,
    /// What the reader should know: keys that fell away with a changed `kind`.
    pub notes: Vec<String>,
    /// The keys of a parameter that is drawn, and of one that is given.
    parameters: [OnceCell<Rc<[Field]>>; 2],
}

// A study with very many configurations checks each of them, so that descriptions which are always the same are made
// once, and those of components are borrowed.
static OF_TERMS: LazyLock<Vec<Field>> = LazyLock::new(TermKeys::fields);
static OF_SOURCES: LazyLock<Vec<Field>> = LazyLock::new(SourceKeys::fields);
static OF_SEEDS: LazyLock<Vec<Field>> = LazyLock::new(SeedsKeys::fields);
static OF_KINDS: LazyLock<Vec<(Kind, Vec<Field>)>> =
    LazyLock::new(|| Kind::ALL.iter().map(|kind| (*kind, common_fields(*kind))).collect());
static KIND: LazyLock<Field> = LazyLock::new(|| text().field("kind", "which component"));

impl<'a> Checker<'a> {
    /// Looks components up in a registry and tells what is wrong.
    pub fn new(registry: &'a dyn Components, found: &'a mut Diagnostics) -> Self {
        Checker { registry, found, notes: Vec::new(), parameters: Default::default() }
    }

    /// Checks a table that stands at `at`: keys in the order of `fields`, defaults written out. What is wrong is
    /// left away, after it was reported.
    pub fn table(&mut self, table: &Table, fields: &[Field], at: Span) -> Table {
        self.keys(table, fields.iter(), at)
    }

    fn keys<'f>(&mut self, table: &Table, fields: impl Iterator<Item = &'f Field> + Clone, at: Span) -> Table {
        // Which keys a computed kind has is not known where files are laid over each other, so none is kept for it.
        let computed = table.get("kind").is_some_and(|kind| kind.formula.is_some());
        let falls = |entry: &&Entry| computed && entry.stands == Stands::Inherited;
        let mut table = Cow::Borrowed(table);
        if table.entries.iter().any(|entry| falls(&entry)) {
            self.notes.extend(table.entries.iter().filter(falls).map(|entry| {
                format!("`{}`{} falls away: its `kind` is computed, and was another one", entry.key, of_layer(&table))
            }));
            table.to_mut().entries.retain(|entry| !falls(&entry));
        }
        let table = table.as_ref();
        self.deny_unknown(table, fields.clone());
        let mut checked = Table::default();
        for field in fields {
            let entry = match (table.entry(&field.name), &field.presence) {
                (Some(entry), _) => {
                    let Some(node) = self.value(&entry.node, &field.name, &field.ty) else { continue };
                    Entry { key: entry.key.clone(), key_span: entry.key_span, node, stands: entry.stands }
                }
                (None, Presence::Default(value)) => {
                    let written = Node::new(value.clone(), at);
                    let Some(node) = self.value(&written, &field.name, &field.ty) else { continue };
                    Entry { key: field.name.clone(), key_span: at, node, stands: Stands::Default }
                }
                (None, Presence::Optional) => continue,
                (None, Presence::Required) => {
                    self.found.push(
                        Diagnostic::new(Problem::MissingKey(field.name.clone()), at)
                            .label(format!("`{}` is needed here", field.name))
                            .help(format!("`{}`: {}", field.name, field.about)),
                    );
                    continue;
                }
            };
            checked.entries.push(entry);
        }
        checked
    }

    fn deny_unknown<'f>(&mut self, table: &Table, fields: impl Iterator<Item = &'f Field> + Clone) {
        let kind = table.text("kind");
        for entry in &table.entries {
            if fields.clone().any(|field| field.name == entry.key) {
                continue;
            }
            if entry.stands == Stands::Inherited {
                let layer = of_layer(table);
                let kind = kind.unwrap_or("the new kind");
                self.notes.push(format!("`{}`{layer} falls away: `{kind}` has no such key", entry.key));
                continue;
            }
            let names = fields.clone().map(|field| field.name.as_str());
            let help = self.found.suggest(&entry.key, names, "");
            let label = match (entry.stands, kind) {
                (Stands::Asked, Some(kind)) => format!("this is asked for, but `{kind}` has no such key"),
                _ => "no such key here".into(),
            };
            self.found
                .push(Diagnostic::new(Problem::UnknownKey(entry.key.clone()), entry.key_span).label(label).help(help));
        }
    }

    /// Checks one value; gives it in its full form, or nothing after a report.
    pub fn value(&mut self, node: &Node, key: &str, ty: &Type) -> Option<Node> {
        if node.is_broken() {
            return None;
        }
        let same = |value: Value| Some(node.holding(value));
        let fits = match ty {
            Type::Bool => matches!(node.value, Value::Bool(_)).then(|| node.clone()),
            Type::Int { min, max } => {
                let int = node.as_int();
                if int.is_some_and(|i| i < *min) {
                    return self.out_of_range(node, key, &ty.describe());
                }
                // The upper end is said only where it was passed: mostly it is larger than anybody would ask for.
                if int.is_some_and(|i| i > *max) {
                    return self.out_of_range(node, key, &format!("a whole number from {min} to {max}"));
                }
                int.and_then(|i| same(Value::Int(i)))
            }
            Type::Number(range) => {
                let number = node.as_number();
                if number.is_some_and(|x| !range.contains(x)) {
                    return self.out_of_range(node, key, &range.describe());
                }
                if range.max != f64::MAX && number.is_some_and(|x| x.abs() > f64::from(f32::MAX)) {
                    return self.out_of_range(node, key, "a number of single precision, up to 3.4e38");
                }
                number.and_then(|x| same(Value::Float(x)))
            }
            Type::CountOr(word) => match node.as_text() {
                Some(_) => return self.choice(node, key, &[word.to_string()]),
                None => return self.value(node, key, &Type::at_least(1)),
            },
            Type::Every => match &node.value {
                Value::Text(text) => humantime::parse_duration(text).is_ok().then(|| node.clone()),
                _ => return self.value(node, key, &Type::at_least(1)),
            },
            Type::Text | Type::Path => node.as_text().map(|_| node.clone()),
            Type::Name => return self.name(node, key),
            Type::Choice(options) => return self.choice(node, key, options),
            Type::Parameter => return self.parameter(node, key),
            Type::Component(kind) => return self.component(node, key, *kind, &[]),
            Type::Terms(kind) => return self.terms(node, key, *kind),
            Type::Sources => return self.sources(node, key),
            Type::List(inner) => return self.list(node, key, inner),
            Type::Pair(pair) => return self.pair(node, key, pair),
            Type::Table(fields) => match &node.value {
                Value::Table(table) => same(Value::Table(self.table(table, fields, node.span))),
                _ => None,
            },
            Type::Seeds => return self.seeds(node, key),
            Type::Free => node.as_table().map(|_| node.clone()),
        };
        if fits.is_none() {
            self.found.push(wrong_type(key, &ty.describe(), node));
        }
        fits
    }

    fn out_of_range(&mut self, node: &Node, key: &str, expected: &str) -> Option<Node> {
        let computed = match (&node.formula, node.as_number()) {
            (Some(_), Some(x)) => format!(", and this formula gives {x}"),
            _ => String::new(),
        };
        self.found.push(
            Diagnostic::new(Problem::OutOfRange { key: key.into() }, node.span)
                .label(format!("expected {expected}{computed}")),
        );
        None
    }

    fn name(&mut self, node: &Node, key: &str) -> Option<Node> {
        let Some(text) = node.as_text() else {
            self.found.push(wrong_type(key, "a name in quotes", node));
            return None;
        };
        let Some(fault) = name_fault(text) else { return Some(node.clone()) };
        self.found.push(fault.at(node.span));
        None
    }

    fn choice(&mut self, node: &Node, key: &str, options: &[String]) -> Option<Node> {
        let Some(text) = node.as_text() else {
            self.found.push(wrong_type(key, &Type::Choice(options.to_vec()).describe(), node));
            return None;
        };
        if options.iter().any(|option| option == text) {
            return Some(node.clone());
        }
        let help = self.found.suggest(text, options.iter().map(String::as_str), "");
        let problem = Problem::UnknownName { what: key.into(), name: text.into() };
        self.found.push(Diagnostic::new(problem, node.span).help(help));
        None
    }

    fn list(&mut self, node: &Node, key: &str, inner: &Type) -> Option<Node> {
        let Value::Array(items) = &node.value else {
            self.found.push(wrong_type(key, &Type::List(Box::new(inner.clone())).describe(), node));
            return None;
        };
        let checked: Vec<Option<Node>> = items.iter().map(|item| self.value(item, key, inner)).collect();
        let items = checked.into_iter().collect::<Option<Vec<Node>>>()?;
        Some(node.holding(Value::Array(items)))
    }

    fn pair(&mut self, node: &Node, key: &str, pair: &Pair) -> Option<Node> {
        let list = self.list(node, key, &Type::Number(Range::ANY))?;
        let numbers: Vec<f64> = match &list.value {
            Value::Array(items) => items.iter().filter_map(Node::as_number).collect(),
            _ => Vec::new(),
        };
        let fits = match numbers.as_slice() {
            [a, b] => pair.ranges[0].contains(*a) && pair.ranges[1].contains(*b) && (a <= b || !pair.ordered),
            _ => false,
        };
        if fits { Some(list) } else { self.out_of_range(node, key, &pair.describe()) }
    }

    /// A parameter in its full form: one of `value` and a distribution, and `learn`, `per`, `lr`.
    fn parameter(&mut self, node: &Node, key: &str) -> Option<Node> {
        let table = match &node.value {
            Value::Int(_) | Value::Float(_) => Cow::Owned(only("value", node)),
            Value::Table(table) => Cow::Borrowed(table),
            Value::Bool(_) | Value::Text(_) | Value::Array(_) => {
                self.found.push(wrong_type(key, &Type::Parameter.describe(), node));
                return None;
            }
        };
        let given = table.entry("value").is_some();
        let before = self.found.list.len();
        let registry = self.registry;
        let fields = self.parameters[usize::from(given)].get_or_init(|| parameter_fields(registry, given).into());
        let checked = self.table(&table, &fields.clone(), node.span);
        let sources: Vec<&Entry> = checked.entries.iter().filter(|entry| is_source(&entry.key)).collect();
        if self.found.list.len() > before {
            return None;
        }
        if sources.len() != 1 {
            let text = format!("`{key}` needs one of `value` and a distribution, not {}", sources.len());
            self.found.push(Diagnostic::new(Problem::Conflict(text), node.span));
            return None;
        }
        Some(Node { value: Value::Table(checked), span: node.span, formula: None })
    }

    /// A component in its full form: a table that begins with `kind`; `extra` keys belong to its place.
    pub fn component(&mut self, node: &Node, key: &str, kind: Kind, extra: &[Field]) -> Option<Node> {
        let table = match &node.value {
            Value::Text(_) => Cow::Owned(only("kind", node)),
            Value::Table(table) => Cow::Borrowed(table),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Array(_) => {
                self.found.push(wrong_type(key, &Type::Component(kind).describe(), node));
                return None;
            }
        };
        let common = OF_KINDS.iter().filter(|(of, _)| *of == kind).flat_map(|(_, fields)| fields);
        let own = self.fields_of(&table, kind, node.span)?;
        let fields = std::iter::once(&*KIND).chain(own).chain(common).chain(extra);
        let checked = self.keys(&table, fields, node.span);
        Some(Node { value: Value::Table(checked), span: node.span, formula: None })
    }

    /// The keys of the component that a table's `kind` names, beside `kind`.
    fn fields_of(&mut self, table: &Table, kind: Kind, at: Span) -> Option<&'a [Field]> {
        let Some(entry) = table.entry("kind") else {
            let names = self.registry.names(kind).join(", ");
            self.found.push(
                Diagnostic::new(Problem::MissingKey("kind".into()), at)
                    .label(format!("which {kind}?"))
                    .help(format!("known here: {names}")),
            );
            return None;
        };
        if entry.node.is_broken() {
            return None;
        }
        let Some(name) = entry.node.as_text() else {
            self.found.push(wrong_type("kind", &format!("the name of {} {kind}", kind.article()), &entry.node));
            return None;
        };
        let Some(info) = self.registry.info(kind, name) else {
            unknown_component(self.registry, kind, name, entry.node.span, self.found);
            return None;
        };
        Some(&info.fields)
    }

    fn terms(&mut self, node: &Node, key: &str, kind: Kind) -> Option<Node> {
        let items = match &node.value {
            Value::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            return self.out_of_range(node, key, &format!("at least one {kind}"));
        }
        let checked: Vec<Option<Node>> = items.iter().map(|item| self.component(item, key, kind, &OF_TERMS)).collect();
        let items = checked.into_iter().collect::<Option<Vec<Node>>>()?;
        Some(Node { value: Value::Array(items), span: node.span, formula: None })
    }

    /// Sources in their full form: a list of tables.
    fn sources(&mut self, node: &Node, key: &str) -> Option<Node> {
        let items = match &node.value {
            Value::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            return self.out_of_range(node, key, "at least one signal");
        }
        let checked: Vec<Option<Node>> = items.iter().map(|item| self.source(item, key)).collect();
        let items = checked.into_iter().collect::<Option<Vec<Node>>>()?;
        Some(Node { value: Value::Array(items), span: node.span, formula: None })
    }

    fn source(&mut self, item: &Node, key: &str) -> Option<Node> {
        let table = match &item.value {
            Value::Text(_) => Cow::Owned(only("of", item)),
            Value::Table(table) => Cow::Borrowed(table),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Array(_) => {
                self.found.push(wrong_type(key, &Type::Sources.describe(), item));
                return None;
            }
        };
        let before = self.found.list.len();
        let mut checked = self.table(&table, &OF_SOURCES, item.span);
        if self.found.list.len() > before {
            return None;
        }
        // A source that is not late is the same whether it says so or not.
        checked.entries.retain(|entry| entry.key != "delay" || entry.node.as_int() != Some(0));
        Some(Node { value: Value::Table(checked), span: item.span, formula: None })
    }

    fn seeds(&mut self, node: &Node, key: &str) -> Option<Node> {
        let node = match &node.value {
            Value::Array(_) => self.list(node, key, &SEED)?,
            Value::Table(table) => {
                let before = self.found.list.len();
                let checked = self.table(table, &OF_SEEDS, node.span);
                if self.found.list.len() > before || !self.is_seeds_rule(&checked, node.span) {
                    return None;
                }
                Node { value: Value::Table(checked), ..node.clone() }
            }
            _ => {
                self.found.push(wrong_type(key, &Type::Seeds.describe(), node));
                return None;
            }
        };
        let Value::Array(items) = &node.value else { return Some(node) };
        if items.is_empty() {
            return self.out_of_range(&node, key, "at least one seed");
        }
        let mut fine = true;
        let mut places = HashMap::new();
        for item in items {
            let seed = item.as_int().unwrap_or_default();
            if let Some(first) = places.get(&seed) {
                let problem = Problem::Duplicate { what: "seed".into(), name: seed.to_string() };
                self.found.push(Diagnostic::new(problem, item.span).label("again").also(*first, "first here"));
                fine = false;
            } else {
                places.insert(seed, item.span);
            }
        }
        fine.then_some(node)
    }
}

impl Checker<'_> {
    /// Whether a table of seeds has either `count`, or `until` and `max`.
    fn is_seeds_rule(&mut self, seeds: &Table, at: Span) -> bool {
        let (until, max) = (seeds.entry("until"), seeds.entry("max"));
        let whole = |key: &str| seeds.get(key).and_then(Node::as_int).unwrap_or(0);
        if whole("from").checked_add(whole("count").max(whole("max"))).is_none() {
            let problem = Problem::OutOfRange { key: "from".into() };
            let at = seeds.get("from").map_or(at, |node| node.span);
            self.found.push(Diagnostic::new(problem, at).label(format!("there is no seed above {}", i64::MAX)));
            return false;
        }
        let wrong = match (seeds.entry("count"), until, max) {
            (Some(_), None, None) => return true,
            (None, None, None) => Diagnostic::new(Problem::MissingKey("count".into()), at)
                .label("how many seeds? `count`, or `until` and `max`"),
            (Some(count), Some(other), _) | (Some(count), None, Some(other)) => {
                let text = format!("`count` and `{}` exclude each other", other.key);
                Diagnostic::new(Problem::Conflict(text), other.key_span).also(count.key_span, "the other one")
            }
            (None, Some(until), None) => Diagnostic::new(Problem::MissingKey("max".into()), until.key_span)
                .label("with `until`, `max` says how many seeds there are at most"),
            (None, None, Some(max)) => Diagnostic::new(Problem::MissingKey("until".into()), max.key_span)
                .label("`max` goes with `until`; a fixed number of seeds is `count`"),
            (None, Some(until), Some(max)) => {
                let min = until.node.as_table().and_then(|until| until.get("min"));
                let (Some(min), Some(most)) = (min, max.node.as_int()) else { return true };
                if min.as_int().is_some_and(|min| min <= most) {
                    return true;
                }
                let text = "`min` must not be above `max`".to_string();
                let entry = until.node.as_table().and_then(|until| until.entry("min"));
                let by_default = entry.is_some_and(|entry| entry.stands == Stands::Default);
                let at = if by_default { max.node.span } else { min.span };
                Diagnostic::new(Problem::Conflict(text), at)
                    .label(format!("the first look takes {} seeds, and there are {most}", min.as_int().unwrap_or(0)))
            }
        };
        self.found.push(wrong);
        false
    }
}

/// A table of one key.
fn only(key: &str, node: &Node) -> Table {
    let mut table = Table::default();
    table.put(key, node.clone());
    table
}

/// The longest name of a layer, a variant or an experiment, in characters: it becomes part of names of files.
const LONGEST_NAME: usize = 100;

/// Why a text cannot be a name.
pub struct NameFault {
    /// What it is instead.
    pub problem: String,
    /// What a name is.
    pub needed: String,
}

impl NameFault {
    /// As it is said of a place.
    pub fn at(self, span: Span) -> Diagnostic {
        Diagnostic::new(Problem::Conflict(self.problem), span).label(self.needed)
    }
}

/// What keeps a text from being the name of a layer, a variant or an experiment, if anything does.
pub fn name_fault(text: &str) -> Option<NameFault> {
    let (length, shown) =
        (text.chars().count(), text.chars().take(40).flat_map(char::escape_debug).collect::<String>());
    if length > LONGEST_NAME {
        let needed = format!("at most {LONGEST_NAME} characters");
        return Some(NameFault { problem: format!("the name that begins `{shown}` has {length} characters"), needed });
    }
    let needed = "a small letter, then small letters, digits and `_`".into();
    (!is_name(text)).then(|| NameFault { problem: format!("`{}` is not a name", text.escape_debug()), needed })
}

/// Whether a text has the form of a name, however long it is: folders of earlier versions may have long ones.
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A name that the registry does not have, with the nearest ones, or with what is wrong with the file that may have it.
pub fn unknown_component(registry: &dyn Components, kind: Kind, name: &str, span: Span, found: &mut Diagnostics) {
    let problem = Problem::UnknownName { what: kind.to_string(), name: name.into() };
    let broken = registry.broken(kind, name);
    if let Some(one) = broken.first() {
        found.list.extend(broken.iter().flat_map(|broken| &broken.list).cloned());
        let label = format!("{} may mean it, and cannot be used", one.file);
        let help = format!("mend or remove {}", one.file);
        return found.push(Diagnostic::new(problem, span).label(label).help(help));
    }
    let names = registry.names(kind);
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? `runner list` shows them all"),
        None => format!("known here: {}", names.join(", ")),
    };
    let registered = match kind {
        Kind::Layer => "no layer or neuron of this name is registered".to_string(),
        _ => format!("no {kind} of this name is registered"),
    };
    found.push(Diagnostic::new(problem, span).label(registered).help(help));
}

/// Says of which layer a table is, if it is one.
fn of_layer(table: &Table) -> String {
    table.text("name").map_or(String::new(), |name| format!(" of layer `{name}`"))
}
