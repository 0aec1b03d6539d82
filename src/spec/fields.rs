//! The keys that a table takes: their types, ranges, defaults and documentation.
//!
//! One description serves the check (`check`), the defaults, `runner show` and the JSON Schema.

use super::kind::Kind;
use super::tree::Value;

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
    /// The path of a file, relative to the file it is written in. What lies there counts for identity, not where.
    Path,
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
    /// A signal, a table with `of`, or a list of such.
    Sources,
    /// A list.
    List(Box<Type>),
    /// Two numbers with a meaning each, such as `[low, high]`.
    Pair(Pair),
    /// A table with these keys.
    Table(Vec<Field>),
    /// `[1, 2]`, `{ count = n }` or `{ from = a, count = n }`.
    Seeds,
    /// A whole number of at least 1, or a word that stands for one.
    CountOr(&'static str),
    /// How often something happens: a whole number of iterations, or a time such as `30s`.
    Every,
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

    /// Every number that a double holds, where others end with those of single precision.
    pub const DOUBLE: Range = Range { min: f64::MIN, max: f64::MAX, above: false };

    /// Whether a number is one of them.
    pub fn contains(&self, x: f64) -> bool {
        x <= self.max && if self.above { x > self.min } else { x >= self.min }
    }

    /// The range in words.
    pub fn describe(&self) -> String {
        match (self.min > f64::MIN, self.max < f64::MAX, self.above) {
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
    /// The pair in words.
    pub fn describe(&self) -> String {
        let [first, second] = self.names;
        let parts: Vec<String> = (self.names.iter().zip(&self.ranges))
            .filter(|(_, range)| **range != Range::ANY)
            .map(|(name, range)| format!(", {name} {}", range.describe()))
            .collect();
        let order = if self.ordered { format!(", {first} not above {second}") } else { String::new() };
        format!("[{first}, {second}]{}{order}", parts.concat())
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
            Type::Path => "the path of a file".into(),
            Type::Name => "a name of small letters, digits and `_`".into(),
            Type::Choice(options) => {
                let quoted: Vec<String> = options.iter().map(|o| format!("\"{o}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Type::Parameter => "a number, a distribution such as { uniform = [0, 1] }, or { value = .. }".into(),
            Type::Component(kind) => format!("the name of {} {kind}, or a table with its `kind`", kind.article()),
            Type::Terms(kind) => format!("{} {kind}, or a list of them", kind.article()),
            Type::Sources => "a signal such as \"hidden_1.spikes\", a table with `of`, or a list of these".into(),
            Type::List(inner) => format!("a list, each of it {}", inner.describe()),
            Type::Pair(pair) => pair.describe(),
            Type::Table(_) | Type::Free => "a table".into(),
            Type::CountOr(word) => format!("\"{word}\", or a whole number of at least 1"),
            Type::Every => "a time such as \"30s\", or a whole number of iterations".into(),
            Type::Seeds => "a list of whole numbers, { count = .. }, or { until = { .. }, max = .. }".into(),
        }
    }
}

/// What a seed may be.
pub const SEED: Type = Type::Int { min: 0, max: i64::MAX };
