//! Parameters of layers: where they begin, and how they are held.

use super::Component;
use super::component::{Components, Kind};
use super::fields::{Field, Presence, Type};
use super::key::{Choice, Key, KeyType, Keys, Range, ToValue, number};
use super::tree::Node;
use crate::keys;
use std::sync::LazyLock;

/// A parameter of a layer.
pub const fn parameter() -> Key<ParameterKeys> {
    Key::new(Type::Parameter)
}

/// A parameter as an experiment has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterKeys {
    /// How it begins.
    pub begins: Begins,
    /// How it is held.
    pub holding: Holding,
}

/// How a parameter begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Begins {
    /// With a number.
    At(f64),
    /// Drawn from a distribution: an initialiser.
    Drawn(Component),
}

impl KeyType for ParameterKeys {
    fn from_node(node: &Node) -> Option<ParameterKeys> {
        let table = node.as_table()?;
        let given = table.get("value").and_then(Node::as_number);
        let drawn = || {
            let entry = table.entries.iter().find(|entry| is_source(&entry.key))?;
            Some(Begins::Drawn(Component { kind: entry.key.clone(), args: table.clone(), span: node.span }))
        };
        Some(ParameterKeys { begins: given.map(Begins::At).or_else(drawn)?, holding: Holding::read(table)? })
    }
}

keys! {
    /// How a parameter of a layer is held, beside where it begins.
    pub struct Holding {
        /// whether training changes it
        pub learn: bool = flag().or(false),
        /// one value a neuron, or one for the layer
        pub per: Per = one_of().or(Per::Layer),
        /// its own learning rate
        pub lr: Option<f64> = number(Range::POSITIVE).optional(),
    }
}

/// The keys of [`Holding`], made once: each parameter of each configuration is held against them.
static HOLDING: LazyLock<Vec<Field>> = LazyLock::new(Holding::fields);

/// Whether a key of a parameter says where it begins, and not how it is held.
pub fn is_source(key: &str) -> bool {
    HOLDING.iter().all(|field| field.name != key)
}

/// How many values a parameter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// One a neuron.
    Neuron,
    /// One for the layer.
    Layer,
}

impl Choice for Per {
    const WORDS: &'static [(&'static str, Per)] = &[("neuron", Per::Neuron), ("layer", Per::Layer)];
}

/// The keys of a parameter's table. Given values are one a layer unless `per` says otherwise, drawn ones one a neuron.
pub fn parameter_fields(registry: &dyn Components, given: bool) -> Vec<Field> {
    let mut fields = vec![number(Range::ANY).optional().field("value", "the value")];
    for name in registry.names(Kind::Initialiser) {
        let info = registry.info(Kind::Initialiser, name);
        if let Some([argument]) = info.map(|info| info.fields.as_slice()) {
            fields.push(Field { name: name.into(), presence: Presence::Optional, ..argument.clone() });
        }
    }
    let per = if given { Per::Layer } else { Per::Neuron };
    fields.extend(HOLDING.iter().cloned().map(|field| match field.name.as_str() {
        "per" => Field { presence: Presence::Default(per.written()), ..field },
        _ => field,
    }));
    fields
}
