//! What the check needs to know of the registry: which components there are, and which keys each takes.

use super::diagnostic::Diagnostic;
use super::fields::Field;
pub use super::kind::Kind;

/// What `runner list` and `show`, the schema and the check know of a component.
#[derive(Debug, Clone)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub about: String,
    /// The paper or tutorial it comes from.
    pub source: Option<String>,
    /// The keys it takes.
    pub fields: Vec<Field>,
    /// More for `runner show`: equations, formulas.
    pub detail: String,
    /// Raised by hand when the component computes something else under the same keys.
    pub meaning: u32,
    /// Where it comes from.
    pub origin: Origin,
}

/// The meaning of what calls functions, or draws normal numbers, where the binary brings these itself. Under the meaning
/// 1 they are those of the machine's C library.
pub const OWN_FUNCTIONS: u32 = 2;

impl Info {
    /// A built-in component of which only the name is known so far.
    pub fn named(name: &str) -> Info {
        Info {
            name: name.into(),
            about: String::new(),
            source: None,
            fields: Vec::new(),
            detail: String::new(),
            meaning: 1,
            origin: Origin::BuiltIn,
        }
    }

    /// What stands for the component in the identity of trials.
    pub fn digest(&self) -> String {
        match &self.origin {
            Origin::BuiltIn => self.meaning.to_string(),
            Origin::Crate(name) => format!("{name} {}", self.meaning),
            Origin::Text { text, .. } => {
                let meaning = if self.meaning == 1 { String::new() } else { format!(" {}", self.meaning) };
                format!("{}{meaning}", blake3::hash(text.as_bytes()).to_hex())
            }
            Origin::Program { digest, .. } => digest.clone(),
        }
    }
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This crate.
    BuiltIn,
    /// Another crate: its name and version.
    Crate(String),
    /// A text plugin.
    Text {
        /// Its file.
        file: String,
        /// Its text.
        text: String,
    },
    /// A program that a manifest describes.
    Program {
        /// The manifest's file.
        file: String,
        /// The manifest.
        text: String,
        /// Digest of the manifest and of the program's files.
        digest: String,
    },
}

impl Origin {
    /// Its name, where it is not built in.
    pub fn name(&self) -> Option<&str> {
        match self {
            Origin::BuiltIn => None,
            Origin::Crate(name) => Some(name),
            Origin::Text { file, .. } | Origin::Program { file, .. } => Some(file),
        }
    }

    /// File and text, where there are such.
    pub fn text(&self) -> Option<(&str, &str)> {
        match self {
            Origin::BuiltIn | Origin::Crate(_) => None,
            Origin::Text { file, text } | Origin::Program { file, text, .. } => Some((file, text)),
        }
    }
}

/// A file that should hold a component and does not: nobody knows what it will be, so that only its name is refused.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The file.
    pub file: String,
    /// The name that it gives, or else that of the file.
    pub name: String,
    /// The name of the file without its ending.
    pub stem: String,
    /// The kind that it gives, as it stands there.
    pub kind: Option<String>,
    /// What is wrong with it.
    pub list: Vec<Diagnostic>,
}

impl Broken {
    /// Whether a name of a kind means this, whatever else has the name.
    pub fn takes(&self, kind: Kind, name: &str) -> bool {
        self.name == name && self.may_be_of(kind)
    }

    /// Whether a name of a kind that nothing else has may mean this.
    pub fn may_be(&self, kind: Kind, name: &str) -> bool {
        (self.name == name || self.stem == name) && self.may_be_of(kind)
    }

    fn may_be_of(&self, kind: Kind) -> bool {
        let kinds: &[Kind] = match self.kind.as_deref() {
            Some("neuron") => &[Kind::Layer, Kind::Neuron],
            Some("surrogate") => &[Kind::Surrogate],
            Some("dataset") => &[Kind::Dataset],
            Some("program") => &[Kind::Dataset, Kind::Metric],
            _ => &[Kind::Layer, Kind::Neuron, Kind::Surrogate, Kind::Dataset, Kind::Metric],
        };
        kinds.contains(&kind)
    }
}

/// A set of components, looked up by name.
pub trait Components {
    /// What is known of a component. A layer may be a layer or a neuron. Nothing is known where a broken file may mean it.
    fn info(&self, kind: Kind, name: &str) -> Option<&Info>;
    /// All names of a kind, sorted.
    fn names(&self, kind: Kind) -> Vec<&str>;
    /// The files that may mean a component, and are broken.
    fn broken(&self, kind: Kind, name: &str) -> Vec<&Broken>;
}
