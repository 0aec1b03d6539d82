//! Keys that are said once: the name, type, default, range, unit and documentation of a key stand in one place, a line of
//! [`keys!`](crate::keys). The check, the defaults, `runner show`, the schema and suggestions come from it by way of a
//! [`Field`], and so does the typed value that a component gets.
//!
//! ```
//! runner::keys! {
//!     /// A wave.
//!     pub struct Wave {
//!         /// steps of a whole wave
//!         pub period: f64 = number(Range::POSITIVE).or(20.0),
//!         /// its sign, if it has one
//!         pub sign: Option<bool> = flag().optional(),
//!     }
//! }
//! ```

use super::Component;
use super::component::Kind;
use super::fields::{Field, Presence, Type};
pub use super::fields::{Pair, Range};
use super::source::Span;
use super::tree::{Node, Table, Value};
use std::marker::PhantomData;
use std::ops::Deref;

/// A set of keys with a typed value, as [`keys!`](crate::keys) declares it.
pub trait Keys: Sized {
    /// What the check knows of each.
    fn fields() -> Vec<Field>;

    /// The values of a table that was checked against [`Keys::fields`]; other keys in it do not matter. None where it
    /// was not checked.
    fn read(checked: &Table) -> Option<Self>;
}

/// No keys.
impl Keys for () {
    fn fields() -> Vec<Field> {
        Vec::new()
    }

    fn read(_: &Table) -> Option<Self> {
        Some(())
    }
}

/// What a key takes, as a type; a default or [`Key::optional`] says what happens where it is not written.
pub struct Key<T> {
    ty: Type,
    presence: Presence,
    gives: PhantomData<fn() -> T>,
}

/// A type that a key can have.
pub trait KeyType: Sized {
    /// From a value that passed the check.
    fn from_node(node: &Node) -> Option<Self>;

    /// From a table that passed the check.
    fn from_table(table: &Table, name: &str) -> Option<Self> {
        Self::from_node(table.get(name)?)
    }

    /// What the check has to know of a key of this type.
    fn declared(key: Key<Self>, name: &str, about: &str) -> Vec<Field> {
        vec![key.field(name, about)]
    }
}

/// A default as it would be written.
pub trait ToValue {
    /// The value.
    fn written(self) -> Value;
}

/// A closed set of words, each of which stands for one of ours.
pub trait Choice: Copy + PartialEq + 'static {
    /// The words, the first of which is no better than the others.
    const WORDS: &'static [(&'static str, Self)];

    /// Its word.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, of)| *of == self).map_or("", |(word, _)| word)
    }
}

/// Keys that stand in the table itself, shared by several components.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flat<K>(pub K);

impl<K> Deref for Flat<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.0
    }
}

impl<T> Key<T> {
    /// A key that must be there.
    pub const fn new(ty: Type) -> Key<T> {
        Key { ty, presence: Presence::Required, gives: PhantomData }
    }

    /// This value stands in where nothing is written.
    pub fn or(self, default: T) -> Key<T>
    where
        T: ToValue,
    {
        self.or_written(default.written())
    }

    /// What stands in where nothing is written, as somebody would write it.
    pub fn or_written(self, default: Value) -> Key<T> {
        Key { presence: Presence::Default(default), ..self }
    }

    /// The key may stay away.
    pub fn optional(self) -> Key<Option<T>> {
        Key { ty: self.ty, presence: Presence::Optional, gives: PhantomData }
    }

    /// With the place where it stands.
    pub fn placed(self) -> Key<Placed<T>> {
        Key { ty: self.ty, presence: self.presence, gives: PhantomData }
    }

    /// The description of a key of this name.
    pub fn field(self, name: &str, about: &str) -> Field {
        Field { name: name.into(), about: about.into(), ty: self.ty, presence: self.presence }
    }
}

/// A value and where it stands. Two of them are equal if their values are.
#[derive(Debug, Clone)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub at: Span,
    /// The place of its key; that of the value where it is an item of a list.
    pub key: Span,
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// `true` or `false`.
pub const fn flag() -> Key<bool> {
    Key::new(Type::Bool)
}

/// A whole number of at least `min`.
pub const fn at_least(min: i64) -> Key<usize> {
    Key::new(Type::at_least(min))
}

/// A whole number from `min` to `max`, both included.
pub const fn between(min: i64, max: i64) -> Key<usize> {
    Key::new(Type::Int { min, max })
}

/// A seed.
pub const fn seed() -> Key<u64> {
    Key::new(super::fields::SEED)
}

/// A number.
pub const fn number(range: Range) -> Key<f64> {
    Key::new(Type::Number(range))
}

/// Two numbers that belong together.
pub const fn pair(pair: Pair) -> Key<(f64, f64)> {
    Key::new(Type::Pair(pair))
}

/// Any string.
pub const fn text() -> Key<String> {
    Key::new(Type::Text)
}

/// A name of our own making.
pub const fn name() -> Key<String> {
    Key::new(Type::Name)
}

/// The path of a file, relative to the file that it stands in.
pub const fn path() -> Key<Placed<String>> {
    Key::new(Type::Path)
}

/// One of some words.
pub fn one_of<T: Choice>() -> Key<T> {
    Key::new(Type::Choice(T::WORDS.iter().map(|(word, _)| word.to_string()).collect()))
}

/// A list.
pub fn list<T>(of: Key<T>) -> Key<Vec<T>> {
    Key::new(Type::List(Box::new(of.ty)))
}

/// A table with keys of its own.
pub fn table<K: Keys>() -> Key<K> {
    Key::new(Type::Table(K::fields()))
}

/// Keys that stand in the same table.
pub fn flat<K: Keys>() -> Key<Flat<K>> {
    Key::new(Type::Table(K::fields()))
}

/// A table of names that are checked elsewhere.
pub const fn free() -> Key<Table> {
    Key::new(Type::Free)
}

/// A component of the registry.
pub const fn component(kind: Kind) -> Key<Component> {
    Key::new(Type::Component(kind))
}

impl<K: Keys> Key<K> {
    /// The defaults of its keys stand in where none is written.
    pub fn or_empty(self) -> Key<K> {
        self.or_written(Value::Table(Table::default()))
    }
}

impl Key<Component> {
    /// The component that stands in where none is written.
    pub fn or_named(self, name: &str) -> Key<Component> {
        self.or_written(Value::Text(name.into()))
    }
}

impl<T: KeyType> KeyType for Option<T> {
    fn from_node(node: &Node) -> Option<Self> {
        T::from_node(node).map(Some)
    }

    fn from_table(table: &Table, name: &str) -> Option<Self> {
        if table.entry(name).is_none() { Some(None) } else { T::from_table(table, name).map(Some) }
    }
}

impl<T: KeyType> KeyType for Vec<T> {
    fn from_node(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Array(items) => items.iter().map(T::from_node).collect(),
            _ => None,
        }
    }
}

impl<T: KeyType> KeyType for Placed<T> {
    fn from_node(node: &Node) -> Option<Self> {
        Some(Placed { value: T::from_node(node)?, at: node.span, key: node.span })
    }

    fn from_table(table: &Table, name: &str) -> Option<Self> {
        let entry = table.entry(name)?;
        Some(Placed { key: entry.key_span, ..Self::from_node(&entry.node)? })
    }
}

impl<K: Keys> KeyType for Flat<K> {
    fn from_node(node: &Node) -> Option<Self> {
        K::read(node.as_table()?).map(Flat)
    }

    fn from_table(table: &Table, _: &str) -> Option<Self> {
        K::read(table).map(Flat)
    }

    fn declared(_: Key<Self>, _: &str, _: &str) -> Vec<Field> {
        K::fields()
    }
}

impl<T: Choice> KeyType for T {
    fn from_node(node: &Node) -> Option<Self> {
        let text = node.as_text()?;
        T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, of)| *of)
    }
}

impl<T: Choice> ToValue for T {
    fn written(self) -> Value {
        Value::Text(self.word().into())
    }
}

/// Types that are one of TOML's.
macro_rules! plain {
    ($($ty:ty: $read:expr, $write:expr;)*) => {
        $(
            impl KeyType for $ty {
                fn from_node(node: &Node) -> Option<Self> {
                    ($read)(node)
                }
            }

            impl ToValue for $ty {
                fn written(self) -> Value {
                    ($write)(self)
                }
            }
        )*
    };
}

plain! {
    bool: |node: &Node| match node.value { Value::Bool(b) => Some(b), _ => None }, Value::Bool;
    f64: Node::as_number, Value::Float;
    usize: |node: &Node| node.as_int().and_then(|i| usize::try_from(i).ok()), |i| Value::Int(i as i64);
    u64: |node: &Node| node.as_int().and_then(|i| u64::try_from(i).ok()), |i| Value::Int(i as i64);
    String: |node: &Node| node.as_text().map(String::from), Value::Text;
    Table: |node: &Node| node.as_table().cloned(), Value::Table;
    Component: Component::of_node, |component: Component| Value::Table(component.args);
    (f64, f64): two_of, |(a, b)| Value::Array([a, b].map(|x| Node::new(Value::Float(x), Span::NONE)).to_vec());
}

fn two_of(node: &Node) -> Option<(f64, f64)> {
    match Vec::from_node(node)?[..] {
        [a, b] => Some((a, b)),
        _ => None,
    }
}

impl<T: ToValue> ToValue for Vec<T> {
    fn written(self) -> Value {
        Value::Array(self.into_iter().map(|item| Node::new(item.written(), Span::NONE)).collect())
    }
}

/// The key of a field, which may be a word of Rust.
pub fn name_of(field: &str) -> &str {
    field.trim_start_matches("r#")
}

/// Declares a struct and the keys that it is read from, a line each: documentation, name, type, and what the key takes.
/// See [`key`](crate::spec::key).
#[macro_export]
macro_rules! keys {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident {
            $($(#[doc = $about:literal])+ $seen:vis $field:ident: $ty:ty = $key:expr),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $($(#[doc = $about])+ $seen $field: $ty),*
        }

        impl $crate::spec::key::Keys for $name {
            fn fields() -> Vec<$crate::spec::fields::Field> {
                #[allow(unused_imports)]
                use $crate::spec::key::*;
                let fields = [
                    $(<$ty as KeyType>::declared($key, name_of(stringify!($field)), concat!($($about),+).trim())),*
                ];
                fields.into_iter().flatten().collect()
            }

            fn read(checked: &$crate::spec::tree::Table) -> Option<Self> {
                use $crate::spec::key::{KeyType, name_of};
                Some($name { $($field: <$ty as KeyType>::from_table(checked, name_of(stringify!($field)))?),* })
            }
        }

        impl $crate::spec::key::KeyType for $name {
            fn from_node(node: &$crate::spec::tree::Node) -> Option<Self> {
                <$name as $crate::spec::key::Keys>::read(node.as_table()?)
            }
        }
    };
}
