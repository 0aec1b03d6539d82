//! The keys that a table takes: their types, ranges, defaults and documentation.
//!
//! One description serves the check, the defaults, `runner show` and the JSON Schema. `check` reads a table against
//! it, reports everything that is wrong, and gives the table back with every default written out.

use super::component::{Components, Kind};
use super::diagnostic::{Diagnostic, Diagnostics, Problem, nearest, suggest};
use super::merge::wrong_type;
use super::source::Span;
use super::tree::{Entry, Node, Table, Value};

/// A key of a table.
#[derive(Debug, Clone)]
pub struct Field {
    /// The key.
    pub name: String,
    /// What it is, in one line, with its unit.
    pub about: String,
    /// What it takes.
    pub ty: Type,
    /// What happens when it is not there.
    pub presence: Presence,
}

/// What happens when a key is not there.
#[derive(Debug, Clone)]
pub enum Presence {
    /// An error.
    Required,
    /// Nothing: the key stays away.
    Optional,
    /// This value stands in.
    Default(Value),
}

/// What a key takes.
#[derive(Debug, Clone)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number from `min` to `max`, both included.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number.
    Number(Range),
    /// Any string.
    Text,
    /// A name of our own making: `[a-z][a-z0-9_]*`.
    Name,
    /// One of some strings.
    Choice(Vec<String>),
    /// A number, `{ value = .. }` or a distribution; with `learn`, `per` and `lr`.
    Parameter,
    /// A component of the registry: its name, or a table with `kind` and its own keys.
    Component(Kind),
    /// A component with `weight` and `of`, or a list of such.
    Terms(Kind),
    /// A list.
    List(Box<Type>),
    /// Two numbers with a meaning each, such as `[low, high]`.
    Pair(Pair),
    /// A table with these keys.
    Table(Vec<Field>),
    /// `[1, 2]`, `{ count = n }` or `{ from = a, count = n }`.
    Seeds,
    /// A table of names that are checked elsewhere (`[let]`).
    Free,
}

/// The numbers that a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Whether `min` itself is too small.
    pub above: bool,
}

impl Range {
    /// Every finite number.
    pub const ANY: Range = Range { min: f64::NEG_INFINITY, max: f64::INFINITY, above: false };
    /// Above zero.
    pub const POSITIVE: Range = Range { min: 0.0, max: f64::INFINITY, above: true };
    /// Zero and above.
    pub const NOT_NEGATIVE: Range = Range { min: 0.0, max: f64::INFINITY, above: false };
    /// From zero to one.
    pub const UNIT: Range = Range { min: 0.0, max: 1.0, above: false };

    fn contains(&self, x: f64) -> bool {
        x <= self.max && if self.above { x > self.min } else { x >= self.min }
    }

    /// The range in words.
    pub fn describe(&self) -> String {
        match (self.min.is_finite(), self.max.is_finite(), self.above) {
            (false, false, _) => "a number".into(),
            (true, false, true) => format!("a number above {}", self.min),
            (true, false, false) => format!("a number of at least {}", self.min),
            (false, true, _) => format!("a number of at most {}", self.max),
            (true, true, true) => format!("a number above {} and at most {}", self.min, self.max),
            (true, true, false) => format!("a number from {} to {}", self.min, self.max),
        }
    }
}

/// Two numbers that belong together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// What each is.
    pub names: [&'static str; 2],
    /// What each may be.
    pub ranges: [Range; 2],
    /// Whether the first may not be above the second.
    pub ordered: bool,
}

impl Pair {
    fn describe(&self) -> String {
        let [first, second] = self.names;
        let parts: Vec<String> = (self.names.iter().zip(&self.ranges))
            .filter(|(_, range)| **range != Range::ANY)
            .map(|(name, range)| format!(", {name} {}", range.describe()))
            .collect();
        let order = if self.ordered { format!(", {first} not above {second}") } else { String::new() };
        format!("[{first}, {second}]{}{order}", parts.concat())
    }
}

impl Field {
    /// A key that must be there.
    pub fn required(name: &str, ty: Type, about: &str) -> Field {
        Field { name: name.into(), about: about.into(), ty, presence: Presence::Required }
    }

    /// A key that may stay away.
    pub fn optional(name: &str, ty: Type, about: &str) -> Field {
        Field { name: name.into(), about: about.into(), ty, presence: Presence::Optional }
    }

    /// A key with a default.
    pub fn default(name: &str, ty: Type, value: Value, about: &str) -> Field {
        Field { name: name.into(), about: about.into(), ty, presence: Presence::Default(value) }
    }

    /// A number with a default.
    pub fn number(name: &str, range: Range, value: f64, about: &str) -> Field {
        Field::default(name, Type::Number(range), Value::Float(value), about)
    }
}

impl Type {
    /// A whole number of at least `min`.
    pub const fn at_least(min: i64) -> Type {
        Type::Int { min, max: 1 << 40 }
    }

    /// What it takes, in words.
    pub fn describe(&self) -> String {
        match self {
            Type::Bool => "`true` or `false`".into(),
            Type::Int { min, max } if *max >= 1 << 40 => format!("a whole number of at least {min}"),
            Type::Int { min, max } => format!("a whole number from {min} to {max}"),
            Type::Number(range) => range.describe(),
            Type::Text => "a string".into(),
            Type::Name => "a name of small letters, digits and `_`".into(),
            Type::Choice(options) => {
                let quoted: Vec<String> = options.iter().map(|o| format!("\"{o}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Type::Parameter => "a number, a distribution such as { uniform = [0, 1] }, or { value = .. }".into(),
            Type::Component(kind) => format!("the name of {} {kind}, or a table with its `kind`", kind.article()),
            Type::Terms(kind) => format!("{} {kind}, or a list of them", kind.article()),
            Type::List(inner) => format!("a list, each of it {}", inner.describe()),
            Type::Pair(pair) => pair.describe(),
            Type::Table(_) | Type::Free => "a table".into(),
            Type::Seeds => "a list of whole numbers, or { from = .., count = .. }".into(),
        }
    }
}

/// Reads tables and values against their description.
pub struct Checker<'a> {
    /// Where components are looked up.
    pub registry: &'a dyn Components,
    /// Where mistakes go.
    pub found: &'a mut Diagnostics,
}

impl Checker<'_> {
    /// Checks a table that stands at `at`: keys in the order of `fields`, defaults written out. What is wrong is
    /// left away, after it was reported.
    pub fn table(&mut self, table: &Table, fields: &[Field], at: Span) -> Table {
        self.deny_unknown(table, fields);
        let mut checked = Table::default();
        for field in fields {
            let entry = match (table.entry(&field.name), &field.presence) {
                (Some(entry), _) => {
                    let Some(node) = self.value(&entry.node, &field.name, &field.ty) else { continue };
                    Entry { node, ..entry.clone() }
                }
                (None, Presence::Default(value)) => {
                    let written = Node::new(value.clone(), at);
                    let Some(node) = self.value(&written, &field.name, &field.ty) else { continue };
                    Entry { key: field.name.clone(), key_span: at, node }
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

    fn deny_unknown(&mut self, table: &Table, fields: &[Field]) {
        for entry in &table.entries {
            if fields.iter().any(|field| field.name == entry.key) {
                continue;
            }
            let names = fields.iter().map(|field| field.name.as_str());
            let help = suggest(&entry.key, names, "");
            self.found.push(
                Diagnostic::new(Problem::UnknownKey(entry.key.clone()), entry.key_span)
                    .label("no such key here")
                    .help(help),
            );
        }
    }

    /// Checks one value; gives it in its full form, or nothing after a report.
    pub fn value(&mut self, node: &Node, key: &str, ty: &Type) -> Option<Node> {
        if node.is_broken() {
            return None;
        }
        let same = |value: Value| Some(Node { value, ..node.clone() });
        let fits = match ty {
            Type::Bool => matches!(node.value, Value::Bool(_)).then(|| node.clone()),
            Type::Int { min, max } => {
                let int = node.as_int();
                if int.is_some_and(|i| i < *min || i > *max) {
                    return self.out_of_range(node, key, &ty.describe());
                }
                int.and_then(|i| same(Value::Int(i)))
            }
            Type::Number(range) => {
                let number = node.as_number();
                if number.is_some_and(|x| !range.contains(x)) {
                    return self.out_of_range(node, key, &range.describe());
                }
                number.and_then(|x| same(Value::Float(x)))
            }
            Type::Text => node.as_text().map(|_| node.clone()),
            Type::Name => return self.name(node, key),
            Type::Choice(options) => return self.choice(node, key, options),
            Type::Parameter => return self.parameter(node, key),
            Type::Component(kind) => return self.component(node, key, *kind, &[]),
            Type::Terms(kind) => return self.terms(node, key, *kind),
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
        if is_name(text) {
            return Some(node.clone());
        }
        self.found.push(
            Diagnostic::new(Problem::Conflict(format!("`{text}` is not a name")), node.span)
                .label("a small letter, then small letters, digits and `_`"),
        );
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
        let help = suggest(text, options.iter().map(String::as_str), "");
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
        Some(Node { value: Value::Array(items), ..node.clone() })
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
            Value::Int(_) | Value::Float(_) => {
                let mut table = Table::default();
                table.put("value", node.clone());
                table
            }
            Value::Table(table) => table.clone(),
            Value::Bool(_) | Value::Text(_) | Value::Array(_) => {
                self.found.push(wrong_type(key, &Type::Parameter.describe(), node));
                return None;
            }
        };
        let given = table.entry("value").is_some();
        let before = self.found.list.len();
        let checked = self.table(&table, &parameter_fields(self.registry, given), node.span);
        let sources: Vec<&Entry> =
            checked.entries.iter().filter(|e| !PARAMETER_OPTIONS.contains(&e.key.as_str())).collect();
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
            Value::Text(_) => {
                let mut table = Table::default();
                table.put("kind", node.clone());
                table
            }
            Value::Table(table) => table.clone(),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Array(_) => {
                self.found.push(wrong_type(key, &Type::Component(kind).describe(), node));
                return None;
            }
        };
        let mut fields = self.fields_of(&table, kind, node.span)?;
        fields.extend(super::common_fields(kind));
        fields.extend(extra.iter().cloned());
        let checked = self.table(&table, &fields, node.span);
        Some(Node { value: Value::Table(checked), span: node.span, formula: None })
    }

    /// The keys of the component that a table's `kind` names, `kind` first.
    pub fn fields_of(&mut self, table: &Table, kind: Kind, at: Span) -> Option<Vec<Field>> {
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
            self.found.push(unknown_component(self.registry, kind, name, entry.node.span));
            return None;
        };
        let mut fields = vec![Field::required("kind", Type::Text, "which component")];
        fields.extend(info.fields.iter().cloned());
        Some(fields)
    }

    fn terms(&mut self, node: &Node, key: &str, kind: Kind) -> Option<Node> {
        let extra = term_fields();
        let items: Vec<Node> = match &node.value {
            Value::Array(items) => items.clone(),
            _ => vec![node.clone()],
        };
        if items.is_empty() {
            return self.out_of_range(node, key, &format!("at least one {kind}"));
        }
        let checked: Vec<Option<Node>> = items.iter().map(|item| self.component(item, key, kind, &extra)).collect();
        let items = checked.into_iter().collect::<Option<Vec<Node>>>()?;
        Some(Node { value: Value::Array(items), span: node.span, formula: None })
    }

    fn seeds(&mut self, node: &Node, key: &str) -> Option<Node> {
        let node = match &node.value {
            Value::Array(_) => self.list(node, key, &SEED)?,
            Value::Table(table) => {
                let fields = seeds_fields();
                let checked = self.table(table, &fields, node.span);
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
        for (i, item) in items.iter().enumerate() {
            if let Some(first) = items[..i].iter().find(|other| other.value == item.value) {
                let name = item.as_int().unwrap_or_default().to_string();
                let problem = Problem::Duplicate { what: "seed".into(), name };
                self.found.push(Diagnostic::new(problem, item.span).label("again").also(first.span, "first here"));
                fine = false;
            }
        }
        fine.then_some(node)
    }
}

const SEED: Type = Type::Int { min: 0, max: i64::MAX };

/// The keys of `seeds = { .. }`.
pub fn seeds_fields() -> Vec<Field> {
    vec![
        Field::default("from", SEED, Value::Int(0), "the first seed"),
        Field::required("count", Type::Int { min: 1, max: 10_000_000 }, "how many seeds"),
    ]
}

/// Keys of a parameter that say how it is held, not what its value is.
pub const PARAMETER_OPTIONS: [&str; 3] = ["learn", "per", "lr"];

/// The keys of a parameter's table. Given values are one a layer unless `per` says otherwise, drawn ones one a neuron.
pub fn parameter_fields(registry: &dyn Components, given: bool) -> Vec<Field> {
    let mut fields = vec![Field::optional("value", Type::Number(Range::ANY), "the value")];
    for name in registry.names(Kind::Initialiser) {
        let info = registry.info(Kind::Initialiser, name);
        if let Some([argument]) = info.map(|info| info.fields.as_slice()) {
            fields.push(Field::optional(name, argument.ty.clone(), &argument.about));
        }
    }
    let per = if given { "layer" } else { "neuron" };
    fields.push(Field::default("learn", Type::Bool, Value::Bool(false), "whether training changes it"));
    let choices = Type::Choice(vec!["neuron".into(), "layer".into()]);
    fields.push(Field::default("per", choices, Value::Text(per.into()), "one value a neuron, or one for the layer"));
    fields.push(Field::optional("lr", Type::Number(Range::POSITIVE), "its own learning rate"));
    fields
}

/// The keys that a loss takes beside its own.
pub fn term_fields() -> Vec<Field> {
    vec![
        Field::number("weight", Range::NOT_NEGATIVE, 1.0, "factor in the sum of all losses"),
        Field::optional("of", Type::Text, "the signal it reads, such as `hidden_1.spikes`; else the network's output"),
    ]
}

/// Whether a text is a name of a layer, a sweep or an experiment.
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A name that the registry does not have, with the nearest ones.
pub fn unknown_component(registry: &dyn Components, kind: Kind, name: &str, span: Span) -> Diagnostic {
    let names = registry.names(kind);
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? `runner list` shows them all"),
        None => format!("known here: {}", names.join(", ")),
    };
    let registered = match kind {
        Kind::Layer => "no layer or neuron of this name is registered".to_string(),
        _ => format!("no {kind} of this name is registered"),
    };
    Diagnostic::new(Problem::UnknownName { what: kind.to_string(), name: name.into() }, span)
        .label(registered)
        .help(help)
}
