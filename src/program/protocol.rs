//! The protocol, version 1: a JSON object a line, one answer to every request but `shutdown`. docs/plugins.md shows each
//! message, and a test replays what stands there.

use super::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;

/// Numbers `[time][sample][channel]`.
pub type Cube<T> = Vec<Vec<Vec<T>>>;

/// What a program is asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// The first request: who asks, and for what.
    Hello {
        /// Version of the protocol.
        protocol: u32,
        /// The program's name in its manifest.
        name: String,
        /// `dataset` or `metric`.
        provides: &'static str,
    },
    /// The second: what are your keys and channels?
    Describe,
    /// Data, please.
    Produce {
        /// The number of the request.
        id: u64,
        /// What random numbers are to be drawn from, below 2^48.
        seed: u64,
        /// Time steps.
        steps: usize,
        /// Samples.
        samples: usize,
        /// Values of the program's own keys.
        keys: Map<String, Value>,
    },
    /// A score of an output, please.
    Score {
        /// The number of the request.
        id: u64,
        /// Values of the program's own keys.
        keys: Map<String, Value>,
        /// The network's output.
        output: Cube<f64>,
        /// The target, of the same shape.
        target: Cube<f64>,
        /// The samples of each step, from 0, where sequences have unlike lengths; none where each step has all.
        #[serde(skip_serializing_if = "Option::is_none")]
        present: Option<Vec<Vec<usize>>>,
    },
    /// The last request, which has no answer: end, please.
    Shutdown,
}

/// What a program answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer {
    /// To `hello`.
    Hello {
        /// The version that the program speaks.
        protocol: u32,
    },
    /// To `describe`.
    Description(Description),
    /// To `produce`.
    Data {
        /// The number of the request.
        id: u64,
        /// Input values.
        inputs: Cube<f64>,
        /// Target values.
        targets: Cube<f64>,
    },
    /// To `score`.
    Score {
        /// The number of the request.
        id: u64,
        /// The score.
        value: f64,
    },
    /// To anything: it cannot be done.
    Error {
        /// Why.
        message: String,
    },
}

/// What a program says of itself; its manifest must say the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Names of its keys, in any order.
    pub keys: Vec<String>,
    /// Names of input channels, of a dataset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// Names of target channels, of a dataset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

impl Request {
    /// Its type.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Hello { .. } => "hello",
            Request::Describe => "describe",
            Request::Produce { .. } => "produce",
            Request::Score { .. } => "score",
            Request::Shutdown => "shutdown",
        }
    }
}

impl Answer {
    /// A mistake: this is an answer to something else than `asked`, under the number `id` if it has one.
    pub fn unexpected(&self, asked: &'static str, number: u64) -> Failure {
        let (kind, answers, id) = match self {
            Answer::Hello { .. } => ("hello", "hello", 0),
            Answer::Description(_) => ("description", "describe", 0),
            Answer::Data { id, .. } => ("data", "produce", *id),
            Answer::Score { id, .. } => ("score", "score", *id),
            Answer::Error { .. } => ("error", "", 0),
        };
        let why = match answers == asked {
            true => format!("its `id` is {id}, and {number} was asked"),
            false => format!("it is of type `{kind}`"),
        };
        Failure::Wrong { asked, why }
    }
}

/// A request as a line.
pub fn line(request: &Request) -> Vec<u8> {
    // Numbers, strings and lists always have a form in JSON.
    let mut line = serde_json::to_vec(request).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The answer that a line holds.
///
/// # Errors
/// Where it is not JSON, or nothing that the protocol knows.
pub fn answer(asked: &'static str, line: &[u8]) -> Result<Answer, Failure> {
    serde_json::from_slice(line).map_err(|error| {
        let start = String::from_utf8_lossy(&line[..line.len().min(60)]).trim_end().escape_debug().to_string();
        let has = |word: &[u8]| line.windows(word.len()).any(|part| part == word);
        match error.is_data() {
            true => Failure::Wrong { asked, why: what_is_wrong(&error, line) },
            // A number that JSON can say and double precision cannot, such as 1e999.
            false if error.to_string().starts_with("number out of range") => {
                Failure::Wrong { asked, why: "a number is too large for double precision".into() }
            }
            false if has(b"NaN") || has(b"Infinity") => {
                Failure::NotJson { asked, why: "it has no NaN and no Infinity".into() }
            }
            false => Failure::NotJson { asked, why: format!("`{start}`") },
        }
    })
}

/// What is wrong with JSON that is no answer, in the protocol's words.
fn what_is_wrong(error: &serde_json::Error, line: &[u8]) -> String {
    let kind =
        serde_json::from_slice::<Value>(line).ok().and_then(|value| value.get("type")?.as_str().map(String::from));
    if kind.is_none() {
        return "it is no object with a `type`".into();
    }
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    [("u64", "a whole number from 0 on"), ("u32", "a whole number from 0 on"), ("f64", "a number")]
        .iter()
        .fold(said.to_string(), |said, (ty, word)| said.replace(&format!("expected {ty}"), &format!("expected {word}")))
}
