//! Parameters from a file, `[init] weights` or those of a result folder, checked against a network.

use crate::nn::NetworkPlan;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use crate::spec::source::{Span, read_large};
use crate::tensor::is_finite;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Parameters of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWeights {
    /// Values by path, in PyTorch's orientation.
    pub values: HashMap<String, Vec<f32>>,
    /// What the file says beside them.
    pub metadata: HashMap<String, String>,
    /// Digest of the file.
    pub digest: String,
}

/// A file of parameters, read but not yet understood.
pub struct WeightsFile {
    path: PathBuf,
    bytes: Vec<u8>,
    digest: String,
}

impl WeightsFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read; `at` is underlined.
    pub fn read(path: &Path, at: Option<Span>) -> Result<WeightsFile, Diagnostics> {
        let shown = path.display();
        let bytes = read_large(path).map_err(|error| one(format!("{shown}: {error}"), at))?;
        Ok(WeightsFile { path: path.into(), digest: blake3::hash(&bytes).to_hex().to_string(), bytes })
    }

    /// All parameters of a network.
    ///
    /// # Errors
    /// Where the tensors of the file are not exactly those of the network; `at` is underlined.
    pub fn of(&self, network: &NetworkPlan, at: Option<Span>) -> Result<StoredWeights, Diagnostics> {
        let (values, metadata) = parameters(&self.path, &self.bytes, network, at)?;
        Ok(StoredWeights { values, metadata, digest: self.digest.clone() })
    }
}

fn refuse(text: String, at: Option<Span>) -> Diagnostic {
    Diagnostic { span: at, ..Diagnostic::without_place(Problem::Data(text)) }
}

fn one(text: String, at: Option<Span>) -> Diagnostics {
    Diagnostics { list: vec![refuse(text, at)] }
}

/// Values by path, and what a file says beside them.
type Contents = (HashMap<String, Vec<f32>>, HashMap<String, String>);

fn parameters(path: &Path, bytes: &[u8], network: &NetworkPlan, at: Option<Span>) -> Result<Contents, Diagnostics> {
    let shown = path.display();
    let refuse = |text: String| refuse(text, at);
    let one = |text: String| one(text, at);
    let not_tensors = |error| one(format!("{shown}: not safetensors: {error}"));
    let tensors = SafeTensors::deserialize(bytes).map_err(not_tensors)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_tensors)?;
    let mut found = Diagnostics::default();
    let mut values = HashMap::new();
    let mut names: Vec<&str> = tensors.names();
    names.sort_unstable();
    for (name, plan) in network.parameters() {
        let Ok(tensor) = tensors.tensor(&name) else {
            found.push(refuse(format!("{shown} has no tensor `{name}`")).help(suggest(
                &name,
                names.iter().copied(),
                "",
            )));
            continue;
        };
        if tensor.shape() != plan.shape || tensor.dtype() != Dtype::F32 {
            let text = format!(
                "{shown}: tensor `{name}` is {:?} of {:?}, but the network's is {:?} of F32",
                tensor.shape(),
                tensor.dtype(),
                plan.shape
            );
            found.push(refuse(text));
            continue;
        }
        let numbers = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let numbers: Vec<f32> = numbers.collect();
        if !is_finite(&numbers) {
            found.push(refuse(format!("{shown}: tensor `{name}` has values that are not finite")));
            continue;
        }
        values.insert(name, numbers);
    }
    let known: Vec<String> = network.parameters().map(|(name, _)| name).collect();
    for name in names.iter().filter(|name| !known.iter().any(|known| known == *name)) {
        let help = suggest(name, known.iter().map(String::as_str), "");
        found.push(refuse(format!("{shown}: the network has no parameter `{name}`")).help(help));
    }
    if !found.is_empty() {
        return Err(found);
    }
    Ok((values, metadata.metadata().clone().unwrap_or_default()))
}
