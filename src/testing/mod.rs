//! A contract that every component keeps: shapes, determinism, gradients against differences, and errors.
//!
//! A crate's tests run it on what the crate registers, and this crate's on what is built in:
//! ```no_run
//! # let my_crate = runner::registry::Crate { name: "", version: "", register: |_| {} };
//! assert_eq!(runner::testing::Suite::new(&[my_crate]).breaches(), []);
//! ```
//! Keys without a default get a value that fits their type; where that is not enough, such as for the path of a file,
//! [`Suite::given`] says which. Neurons that spike are held to everything but differences: a surrogate is no derivative.

mod checks;

use crate::registry::{Crate, Registry};
use crate::spec::Component;
use crate::spec::check::Checker;
use crate::spec::component::{Components, Info, Kind, Origin};
use crate::spec::diagnostic::Diagnostics;
use crate::spec::fields::{Field, Presence, Type};
use crate::spec::keys::common_fields;
use crate::spec::source::{Sources, Span};
use crate::spec::tree::{self, Node, Table, Value};
use std::fmt;

/// A promise that a component does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The component's kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it does.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` {}", self.kind, self.name, self.what)
    }
}

/// The contract for some components.
pub struct Suite {
    registry: Registry,
    sources: Sources,
    /// Whether components of crates are checked, and not those that are built in.
    of_crates: bool,
    given: Vec<(Kind, String, Table)>,
}

impl Suite {
    /// The components that some crates register; without a crate those that are built in.
    ///
    /// # Panics
    /// Where two components have one name, or a built-in text is wrong.
    pub fn new(crates: &[Crate]) -> Suite {
        let mut sources = Sources::default();
        let registry = Registry::with(crates, &mut sources).unwrap_or_else(|found| panic!("{:?}", found.list));
        Suite { registry, sources, of_crates: !crates.is_empty(), given: Vec::new() }
    }

    /// Keys of a component as TOML, in place of those that would be made up.
    ///
    /// # Panics
    /// Where the text is not TOML.
    pub fn given(mut self, kind: Kind, name: &str, keys: &str) -> Suite {
        let source = self.sources.add(format!("{kind} {name}"), keys);
        let mut found = Diagnostics::default();
        let table = tree::parse(&self.sources, source, &mut found);
        assert!(found.is_empty(), "{:?}", found.list);
        self.given.push((kind, name.into(), table));
        self
    }

    /// What is broken, in the order of kinds and names.
    pub fn breaches(&self) -> Vec<Breach> {
        let mut list = Vec::new();
        for kind in Kind::ALL {
            for name in self.registry.names(kind) {
                let Some(info) = self.registry.info(kind, name).filter(|info| self.covers(info)) else { continue };
                let mut report = |what: String| {
                    let breach = Breach { kind, name: name.into(), what };
                    if !list.contains(&breach) {
                        list.push(breach);
                    }
                };
                if info.about.is_empty() {
                    report("says nothing about itself".into());
                }
                match self.component(kind, info) {
                    Err(why) => report(why),
                    Ok(component) => self.check(kind, info, &component, &mut report),
                }
            }
        }
        list
    }

    fn covers(&self, info: &Info) -> bool {
        matches!(info.origin, Origin::Crate(_)) == self.of_crates
    }

    fn check(&self, kind: Kind, info: &Info, component: &Component, report: &mut dyn FnMut(String)) {
        let registry = &self.registry;
        match kind {
            Kind::Dataset => checks::dataset(registry, &self.sources, component.clone(), report),
            Kind::Layer => checks::layer(registry, info, component, report),
            Kind::Loss => checks::loss(registry, component, report),
            Kind::Metric => {
                let lower_is_better = registry.metrics[&info.name].build.lower_is_better;
                checks::metric(registry.metric(component).as_ref(), lower_is_better, report);
            }
            Kind::Optimizer => checks::optimizer(&registry.rule(component), report),
            Kind::Schedule => checks::schedule(registry.schedule(component), report),
            Kind::Sampler => checks::sampler(registry, component, report),
            Kind::Pruner => checks::pruner(registry.pruner(component).as_ref(), report),
            // Neurons are layers; what these two do shows in layers.
            Kind::Neuron | Kind::Surrogate | Kind::Initialiser => {}
        }
    }

    /// A component with its defaults, which must pass their own check, and values for what has none.
    fn component(&self, kind: Kind, info: &Info) -> Result<Component, String> {
        let given = self.given.iter().find(|(k, name, _)| *k == kind && *name == info.name);
        let mut table = given.map_or_else(Table::default, |(.., table)| table.clone());
        table.put("kind", Node::new(Value::Text(info.name.clone()), Span::NONE));
        for field in info.fields.iter().chain(&common_fields(kind)) {
            if matches!(field.presence, Presence::Required) && table.get(&field.name).is_none() {
                table.put(&field.name, Node::new(self.example(field), Span::NONE));
            }
        }
        let mut found = Diagnostics::default();
        let node = Node::new(Value::Table(table), Span::NONE);
        let checked = Checker::new(&self.registry, &mut found).component(&node, "test", kind, &[]);
        match (found.list.first(), checked.as_ref().and_then(Component::of_node)) {
            (None, Some(component)) => Ok(component),
            (Some(wrong), _) => Err(format!("has keys that do not pass their own check: {}", wrong.problem)),
            (None, None) => Err("has keys that do not pass their own check".into()),
        }
    }

    /// A value that fits a key.
    fn example(&self, field: &Field) -> Value {
        let text = |text: &str| Value::Text(text.into());
        let list = |values: Vec<Value>| Value::Array(values.into_iter().map(|v| Node::new(v, Span::NONE)).collect());
        match &field.ty {
            Type::Bool => Value::Bool(true),
            Type::Int { min, max } => Value::Int(4.clamp(*min, *max)),
            Type::Number(range) => {
                let fits = [1.0, 0.5, range.min, range.max].into_iter().find(|x| x.is_finite() && range.contains(*x));
                Value::Float(fits.unwrap_or(0.0))
            }
            Type::Text | Type::Path | Type::Name => text("test"),
            Type::Sources => text("input"),
            Type::Choice(options) => text(options.first().map_or("", String::as_str)),
            Type::Parameter => Value::Float(0.5),
            Type::Component(kind) | Type::Terms(kind) => text(self.registry.names(*kind).first().unwrap_or(&"")),
            Type::List(inner) => list(vec![self.example(&Field { ty: (**inner).clone(), ..field.clone() })]),
            Type::Pair(pair) => list(pair.ranges.iter().map(|range| Value::Float(range.min.max(0.0))).collect()),
            Type::Table(fields) => {
                let mut table = Table::default();
                for field in fields.iter().filter(|field| matches!(field.presence, Presence::Required)) {
                    table.put(&field.name, Node::new(self.example(field), Span::NONE));
                }
                Value::Table(table)
            }
            Type::Seeds => list(vec![Value::Int(0)]),
            Type::CountOr(word) => text(word),
            Type::Every => Value::Int(1),
            Type::Free => Value::Table(Table::default()),
        }
    }
}
