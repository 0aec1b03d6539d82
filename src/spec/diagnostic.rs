//! What is wrong with a file, where, and what was probably meant. Collected here, rendered at the edge.

use super::source::{ReadError, Span};
use crate::formula::FormulaError;
use std::path::PathBuf;
use std::sync::Arc;

/// One thing that is wrong with a file or an option.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The text is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A file could not be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ReadError,
    },
    /// A file extends itself, over any number of others.
    #[error("`extends` goes in a circle: {0}")]
    ExtendsCycle(String),
    /// A table has a key that means nothing there.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// A required key is not there.
    #[error("missing key `{0}`")]
    MissingKey(String),
    /// A value of the wrong type.
    #[error("`{key}` must be {expected}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A number outside of its range, or a list of the wrong length.
    #[error("`{key}` is out of range")]
    OutOfRange {
        /// The key.
        key: String,
    },
    /// A name that no component, layer or choice has.
    #[error("unknown {what} `{name}`")]
    UnknownName {
        /// What was looked for: `layer`, `surrogate`, ...
        what: String,
        /// The name that was given.
        name: String,
    },
    /// Two things have one name.
    #[error("duplicate {what} `{name}`")]
    Duplicate {
        /// What they are.
        what: String,
        /// Their name.
        name: String,
    },
    /// A formula that cannot be read or computed.
    #[error("{0}")]
    Formula(FormulaError),
    /// Named values that need each other.
    #[error("the names of `[let]` need each other in a circle: {0}")]
    LetCycle(String),
    /// Shapes of two things that meet do not fit.
    #[error("{0}")]
    Shape(String),
    /// Keys that exclude each other, or a combination that means nothing.
    #[error("{0}")]
    Conflict(String),
    /// A file of data or weights that cannot be used.
    #[error("{0}")]
    Data(String),
    /// The file is written for a later version of the format.
    #[error("this file is of format {0}, but this program reads formats up to 1")]
    LaterFormat(i64),
}

/// A problem with its place, a word beside the underline, and a next step.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// What is wrong.
    pub problem: Arc<Problem>,
    /// Where; none for a file that could not be read.
    pub span: Option<Span>,
    /// Text beside the underline; may be empty.
    pub label: String,
    /// One next step.
    pub help: Option<String>,
    /// Another place that matters, with a word about it.
    pub also: Option<Box<(Span, String)>>,
}

impl Diagnostic {
    /// A problem at a place.
    pub fn new(problem: Problem, span: Span) -> Self {
        Diagnostic { span: Some(span), ..Diagnostic::without_place(problem) }
    }

    /// A problem of a file as a whole.
    pub fn without_place(problem: Problem) -> Self {
        Diagnostic { problem: Arc::new(problem), span: None, label: String::new(), help: None, also: None }
    }

    /// Says something beside the underline.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = text.into();
        self
    }

    /// Proposes a next step.
    pub fn help(mut self, text: impl Into<Option<String>>) -> Self {
        self.help = text.into();
        self
    }

    /// Points to another place.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.also = Some(Box::new((span, text.into())));
        self
    }
}

/// All that is wrong, in the order in which it was found.
#[derive(Debug, Default)]
pub struct Diagnostics {
    /// The list.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Whether so much is wrong that nobody reads a next step for more of it. To look for one takes as long as a text has
    /// names, which may be as many as it has mistakes.
    pub fn is_long(&self) -> bool {
        self.list.len() >= MOST_HELPED
    }

    /// As [`suggest`], and nothing where so much is wrong that nobody reads it.
    pub fn suggest<'a>(
        &self,
        name: &str,
        among: impl IntoIterator<Item = &'a str> + Clone,
        more: &str,
    ) -> Option<String> {
        if self.is_long() { None } else { suggest(name, among, more) }
    }

    /// What is wrong in one line, of very much the first.
    pub fn in_a_line(&self) -> String {
        let mut texts: Vec<String> = self.list.iter().take(MOST_IN_A_LINE).map(|one| one.problem.to_string()).collect();
        match self.list.len() - texts.len() {
            0 => {}
            more => texts.push(format!("and {more} more problems")),
        }
        texts.join("; ")
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Mistakes for which a next step is looked for among the names of a text.
const MOST_HELPED: usize = 100;

/// Mistakes that are said in one line.
const MOST_IN_A_LINE: usize = 10;

/// Names among which near ones are looked for.
const MOST_NAMES: usize = 10_000;

/// Names that are listed.
const MOST_LISTED: usize = 50;

/// Bytes of a name for which near ones are looked for; the search takes the product of two lengths.
const MOST_BYTES: usize = 100;

/// The nearest of some names, if one is near enough to be a slip of the pen.
pub fn nearest<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    if name.len() > MOST_BYTES {
        return None;
    }
    let among = among.into_iter().take(MOST_NAMES).filter(|other| other.len() <= MOST_BYTES);
    let (best, other) = among.map(|other| (distance(other), other)).min_by_key(|(d, _)| *d)?;
    (best <= name.chars().count().div_ceil(3)).then_some(other)
}

/// "did you mean", or else the names that there are, the first of them where there are very many; `more` is added to
/// either.
pub fn suggest<'a>(name: &str, among: impl IntoIterator<Item = &'a str> + Clone, more: &str) -> Option<String> {
    match nearest(name, among.clone()) {
        Some(near) => Some(format!("did you mean `{near}`? {more}").trim_end().to_string()),
        None => {
            let mut among = among.into_iter();
            let names: Vec<String> = among.by_ref().take(MOST_LISTED).map(|n| format!("`{n}`")).collect();
            let others = match among.count() {
                0 => String::new(),
                others => format!("; and {others} more"),
            };
            let more = if more.is_empty() { String::new() } else { format!("; {more}") };
            (!names.is_empty()).then(|| format!("known here: {}{others}{more}", names.join(", ")))
        }
    }
}
