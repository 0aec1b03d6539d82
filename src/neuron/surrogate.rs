//! Surrogates: a formula in `x` (membrane potential minus threshold) in place of the derivative of a spike.

use crate::formula::{self, Expr};
use crate::spec::component::{Info, OWN_FUNCTIONS};
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use crate::spec::fields::{Field, Presence};
use crate::spec::key::{Range, number};
use crate::spec::source::Sources;
use crate::spec::tree::{Node, Table, Value};
use crate::spec::values::formula_error;

/// A surrogate as its text describes it.
#[derive(Debug, Clone)]
pub struct Surrogate {
    /// What the registry shows.
    pub info: Info,
    /// The derivative, over `x` and the parameters.
    pub derivative: Expr,
}

/// Numbers, names, operations and functions of a derivative: it stands in the way back once for each `spike`.
const MAX_SIZE: usize = 128;

/// Whether an equation calls functions of single precision that the binary brings; exponentials are the executors'.
pub fn calls_own(equation: &Expr) -> bool {
    use formula::Function::{Cos, Log, Sin};
    // Whole powers up to the fourth are products.
    equation.has_power(4.0) || [Log, Sin, Cos].iter().any(|function| equation.calls(*function))
}

impl Surrogate {
    /// Reads a text plugin whose `kind` is `surrogate`.
    pub fn read(table: &Table, sources: &Sources, found: &mut Diagnostics) -> Option<Surrogate> {
        let before = found.list.len();
        let params = read_params(table, found);
        let node = table.get("derivative");
        let Some((node, text)) = node.and_then(|node| Some((node, node.as_text()?))) else {
            let at = table.entries.first().map(|entry| entry.key_span)?;
            let problem = Problem::MissingKey("derivative".into());
            found.push(Diagnostic::new(problem, at).help("a formula over `x` in quotes".to_string()));
            return None;
        };
        let at = sources.place(node.span, text);
        let derivative = match formula::parse(text) {
            Ok(expr) => expr,
            Err(error) => {
                found.push(formula_error(error, at));
                return None;
            }
        };
        if derivative.size() > MAX_SIZE {
            let text =
                format!("a surrogate of {} operations and names; at most {MAX_SIZE} are allowed", derivative.size());
            found.push(Diagnostic::new(Problem::Conflict(text), at.span));
        }
        let known = || params.iter().map(|p| p.name.as_str()).chain(["x"]);
        for name in derivative.names() {
            if !known().any(|k| k == name.text) && formula::constant(&name.text).is_none() {
                let help = suggest(&name.text, known().collect::<Vec<_>>(), "");
                let problem = Problem::UnknownName { what: "name".into(), name: name.text.clone() };
                found.push(Diagnostic::new(problem, at.part(name.span.clone())).help(help));
            }
        }
        if found.list.len() > before {
            return None;
        }
        let detail = format!("derivative = {derivative}\n\nx is the membrane potential minus the threshold\n");
        let meaning = if calls_own(&derivative) { OWN_FUNCTIONS } else { 1 };
        Some(Surrogate { info: Info { meaning, ..info(table, params, detail) }, derivative })
    }

    /// Its peak with the parameters' defaults.
    pub fn peak(&self) -> Option<Peak> {
        let default = |name: &str| match &self.info.fields.iter().find(|field| field.name == name)?.presence {
            Presence::Default(Value::Float(value)) => Some(Expr::number(*value)),
            _ => None,
        };
        Peak::of(&self.derivative.substitute(&default))
    }

    /// The derivative over `x` alone, for given parameters.
    pub fn bound(&self, args: &Table) -> Expr {
        self.derivative.substitute(&|name| args.get(name).and_then(Node::as_number).map(Expr::number))
    }
}

/// Where a surrogate is largest, and over which potentials at least half as large.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Its largest value, by size.
    pub value: f64,
    /// Membrane potential minus threshold there; of several the nearest to the threshold.
    pub at: f64,
    /// The potentials from which and up to which it is at least half as large, around the peak; infinite where that
    /// lies more than [`Peak::REACH`] away.
    pub half: (f64, f64),
}

impl Peak {
    /// How far from the threshold a surrogate is looked at.
    pub const REACH: f64 = 10.0;

    /// The peak of a derivative over `x` alone, to a thousandth of a unit; none where it has no value.
    pub fn of(derivative: &Expr) -> Option<Peak> {
        const PER_UNIT: i32 = 1000;
        let value = |i: i32| {
            let x = f64::from(i) / f64::from(PER_UNIT);
            derivative.eval(&|name| (name == "x").then_some(x)).ok().filter(|v| v.is_finite())
        };
        let end = Self::REACH as i32 * PER_UNIT;
        // From the threshold outwards, so that a plateau counts where it is nearest.
        let places = std::iter::once(0).chain((1..=end).flat_map(|i| [i, -i]));
        let (at, peak) = places
            .filter_map(|i| Some((i, value(i)?)))
            .reduce(|best, other| if other.1.abs() > best.1.abs() * (1.0 + 1e-9) { other } else { best })?;
        let above = |i: &i32| value(*i).is_some_and(|v| v.abs() >= peak.abs() / 2.0);
        let low = (-end..=at).rev().take_while(above).last().unwrap_or(at);
        let high = (at..=end).take_while(above).last().unwrap_or(at);
        let place = |i: i32| {
            if i.abs() == end { f64::from(i.signum()) * f64::INFINITY } else { f64::from(i) / f64::from(PER_UNIT) }
        };
        Some(Peak { value: peak, at: place(at), half: (place(low), place(high)) })
    }

    /// The peak in words.
    pub fn describe(&self) -> String {
        let half = match self.half {
            (f64::NEG_INFINITY, f64::INFINITY) => "at least half of it everywhere".to_string(),
            (f64::NEG_INFINITY, high) => format!("at least half of it up to x = {high}"),
            (low, f64::INFINITY) => format!("at least half of it from x = {low} on"),
            (low, high) => format!("at least half of it from x = {low} to {high}"),
        };
        format!("peak: {} at x = {}, {half}", (self.value * 1e6).round() / 1e6, self.at)
    }
}

/// The part of a plugin's text that every kind has.
pub fn info(table: &Table, fields: Vec<Field>, detail: String) -> Info {
    Info {
        about: table.text("about").unwrap_or("").into(),
        source: table.text("source").map(String::from),
        fields,
        detail,
        ..Info::named(table.text("name").unwrap_or(""))
    }
}

/// `[params]` whose values are plain numbers: `NAME = { default = 25.0, about = "..." }`.
fn read_params(table: &Table, found: &mut Diagnostics) -> Vec<Field> {
    let Some(params) = table.get("params").and_then(Node::as_table) else { return Vec::new() };
    let mut fields = Vec::new();
    for entry in &params.entries {
        let taken = ["x", "kind"].contains(&entry.key.as_str()).then_some("every surrogate has this name");
        super::limits::identifier(&entry.key, entry.key_span, taken, found);
        let default = match &entry.node.value {
            Value::Table(inner) => inner.get("default").and_then(Node::as_number),
            _ => entry.node.as_number(),
        };
        let Some(default) = default else {
            let problem = Problem::MissingKey("default".into());
            found.push(Diagnostic::new(problem, entry.key_span).label("a parameter needs a default"));
            continue;
        };
        let about = entry.node.as_table().and_then(|inner| inner.text("about")).unwrap_or("");
        fields.push(number(Range::ANY).or(default).field(&entry.key, about));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak(text: &str) -> Peak {
        Peak::of(&formula::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn a_peak_is_found_where_the_formula_has_it() {
        // 1 / (1 + 25 x)^2 is a half at (sqrt(2) - 1) / 25 = 0.01657.
        assert_eq!(peak("1 / (1 + 25 * abs(x))^2"), Peak { value: 1.0, at: 0.0, half: (-0.016, 0.016) });
        assert_eq!(peak("25 * exp(-abs(x - 1))").at, 1.0);
        assert_eq!(peak("where(abs(x) < 0.5, -2, 0)"), Peak { value: -2.0, at: 0.0, half: (-0.499, 0.499) });
        assert_eq!(peak("1"), Peak { value: 1.0, at: 0.0, half: (f64::NEG_INFINITY, f64::INFINITY) });
    }
}
