//! What is stored of a finished trial, as one line of the journal.
//!
//! Numbers go as bits, because JSON knows neither NaN nor infinity and rows must come back exactly.

use super::SummaryRow;
use super::files::is_id;
use crate::spec::check::is_name;
use serde::{Deserialize, Serialize};

/// What tells a trial from others, and whether it completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialKey {
    /// Its id.
    pub trial: String,
    /// Its configuration.
    pub config: String,
    /// Its seed.
    pub seed: u64,
    /// Whether it ran to its end.
    pub completed: bool,
}

/// The column of the history with the learning rate, where it changes.
pub const RATE: &str = "lr";

/// A finished trial, completed or failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub trial: String,
    /// The id of its configuration, without the seed.
    pub config: String,
    /// Each dimension of the sweep with its value as TOML.
    #[serde(default)]
    pub params: Vec<(String, String)>,
    /// Its seed.
    pub seed: u64,
    /// Numbers in the parameters of its network; none in records of earlier versions.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// The executor that ran it; none likewise.
    #[serde(default)]
    pub executor: Option<String>,
    /// Digest of its data, where a program gave them.
    #[serde(default)]
    pub data_digest: Option<String>,
    /// Why it failed; none if it completed.
    pub error: Option<String>,
    /// The loss after training, of the kept weights.
    #[serde(with = "bits")]
    pub loss: Vec<f64>,
    /// The metrics after training; empty if it failed.
    #[serde(with = "bits")]
    pub metrics: Vec<f64>,
    /// Updates done.
    pub iterations: usize,
    /// Start, microseconds since 1970, UTC.
    pub started: i64,
    /// End, likewise.
    pub finished: i64,
    /// Time spent in training, in seconds.
    #[serde(with = "bits")]
    pub duration_s: Vec<f64>,
    /// Iterations of the rows of the history.
    pub history: Vec<usize>,
    /// Loss and metrics of each row, one after the other.
    #[serde(with = "bits")]
    pub history_values: Vec<f64>,
    /// What was watched: a column name and a value for each row, not a number where nobody looked.
    #[serde(default, with = "columns")]
    pub watched: Vec<(String, Vec<f64>)>,
    /// What needs no network: its name, and its metrics on the part that the network is judged by.
    #[serde(default, with = "columns")]
    pub baselines: Vec<(String, Vec<f64>)>,
    /// Inputs, targets and outputs of the first samples.
    pub traces: Option<Traces>,
    /// States of every neuron for the first sample.
    pub layers: Vec<LayerTrace>,
    /// Length of the file of its weights, if they are stored.
    #[serde(default)]
    pub weights_bytes: Option<u64>,
}

/// Inputs, targets and outputs of some samples, `[sample, time, channels]` each, in their own units, not a number beyond
/// a sample's end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "TraceBits", into = "TraceBits")]
pub struct Traces {
    /// Time steps.
    pub steps: usize,
    /// Samples.
    pub samples: usize,
    /// Inputs.
    pub input: Vec<f64>,
    /// Targets.
    pub target: Vec<f64>,
    /// Output before training.
    pub untrained: Vec<f64>,
    /// Output after training.
    pub output: Vec<f64>,
}

/// [`Traces`] as they stand in a journal: bits of f64 where it says so, and else of f32, as earlier versions wrote them.
#[derive(Clone, Serialize, Deserialize)]
struct TraceBits {
    steps: usize,
    samples: usize,
    #[serde(default)]
    double: bool,
    input: Vec<u64>,
    target: Vec<u64>,
    untrained: Vec<u64>,
    output: Vec<u64>,
}

impl From<Traces> for TraceBits {
    fn from(Traces { steps, samples, input, target, untrained, output }: Traces) -> TraceBits {
        let [input, target, untrained, output] =
            [input, target, untrained, output].map(|values| values.into_iter().map(f64::to_bits).collect());
        TraceBits { steps, samples, double: true, input, target, untrained, output }
    }
}

impl From<TraceBits> for Traces {
    fn from(TraceBits { steps, samples, double, input, target, untrained, output }: TraceBits) -> Traces {
        let value = |bits: u64| if double { f64::from_bits(bits) } else { f64::from(f32::from_bits(bits as u32)) };
        let [input, target, untrained, output] =
            [input, target, untrained, output].map(|bits| bits.into_iter().map(value).collect());
        Traces { steps, samples, input, target, untrained, output }
    }
}

/// Membrane potentials and spikes of a layer, `[time, neurons]`; empty where it has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerTrace {
    /// The layer.
    pub layer: String,
    /// Neurons.
    pub neurons: usize,
    /// Membrane potentials.
    #[serde(with = "bits32")]
    pub mem: Vec<f32>,
    /// Spikes.
    #[serde(with = "bits32")]
    pub spk: Vec<f32>,
    /// Mean threshold of its neurons, if it has one.
    #[serde(with = "bits32")]
    pub threshold: Vec<f32>,
}

impl Record {
    /// Makes sure that what is counted in it is there, so that its rows can be made, wherever it comes from.
    ///
    /// # Errors
    /// What is wrong with it, where something is.
    pub fn check(&self) -> Result<(), String> {
        if !is_id(&self.trial) {
            return Err(format!("{:?} is no trial's id", self.trial));
        }
        let (rows, values) = (self.history.len(), self.history_values.len());
        // A loss at least stands in each row.
        if rows.checked_mul(values.checked_div(rows).unwrap_or(0)) != Some(values) || values < rows {
            return Err(format!("a history of {rows} rows has {values} values"));
        }
        if let Some((name, values)) = self.watched.iter().find(|(_, values)| values.len() != rows) {
            return Err(format!("a history of {rows} rows has {} values of {name:?}", values.len()));
        }
        if let Some(Traces { steps, samples, input, target, untrained, output }) = &self.traces {
            let cells = steps.checked_mul(*samples);
            let lengths = [input, target, untrained, output].map(Vec::len);
            let whole = |cells: usize| {
                cells <= lengths.into_iter().max().unwrap_or(0)
                    && lengths.iter().all(|n| n.checked_rem(cells).unwrap_or(*n) == 0)
            };
            if !cells.is_some_and(whole) {
                return Err(format!("traces of {samples} samples of {steps} steps have {lengths:?} values"));
            }
        }
        let whole = |trace: &&LayerTrace| {
            [&trace.mem, &trace.spk]
                .iter()
                .all(|values| values.len().checked_rem(trace.neurons).unwrap_or(values.len()) == 0)
        };
        match self.layers.iter().find(|trace| !whole(trace) || !is_name(&trace.layer)) {
            Some(LayerTrace { layer, neurons, .. }) => {
                Err(format!("states of {neurons} neurons of {layer:?} are not whole"))
            }
            None => Ok(()),
        }
    }

    /// Whether the trial ran to its end.
    pub fn completed(&self) -> bool {
        self.error.is_none()
    }

    /// Its row in a summary.
    pub fn row(&self) -> SummaryRow {
        SummaryRow {
            trial: self.trial.clone(),
            config: self.config.clone(),
            params: self.params.clone(),
            seed: self.seed,
            parameters: self.parameters,
            error: self.error.clone(),
            loss: self.loss.first().copied(),
            metrics: self.metrics.iter().copied().map(Some).collect(),
            iterations: self.iterations as u64,
            seconds: self.duration_s.first().copied().unwrap_or(0.0),
        }
    }

    /// What tells it from others.
    pub fn key(&self) -> TrialKey {
        let (trial, config) = (self.trial.clone(), self.config.clone());
        TrialKey { trial, config, seed: self.seed, completed: self.completed() }
    }
}

mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        values.iter().map(|v| v.to_bits()).collect::<Vec<u64>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<u64>::deserialize(from)?.into_iter().map(f64::from_bits).collect())
    }
}

mod columns {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(columns: &[(String, Vec<f64>)], to: S) -> Result<S::Ok, S::Error> {
        let bits = columns.iter().map(|(name, values)| (name, values.iter().map(|v| v.to_bits()).collect()));
        bits.collect::<Vec<(&String, Vec<u64>)>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Vec<f64>)>, D::Error> {
        let columns = Vec::<(String, Vec<u64>)>::deserialize(from)?;
        let numbers = |bits: Vec<u64>| bits.into_iter().map(f64::from_bits).collect();
        Ok(columns.into_iter().map(|(name, bits)| (name, numbers(bits))).collect())
    }
}

mod bits32 {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(values: &[f32], to: S) -> Result<S::Ok, S::Error> {
        values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
        Ok(Vec::<u32>::deserialize(from)?.into_iter().map(f32::from_bits).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_with_every_bit_also_of_nan() {
        let record = Record {
            trial: "a".into(),
            config: "b".into(),
            params: vec![("optimizer.lr".into(), "0.001".into())],
            seed: u64::MAX,
            parameters: Some(5),
            executor: Some("fused".into()),
            data_digest: Some("c".into()),
            error: Some("the loss is NaN".into()),
            loss: vec![f64::NAN],
            metrics: vec![f64::INFINITY, -0.0, 0.1 + 0.2],
            iterations: 3,
            started: 1,
            finished: 2,
            duration_s: vec![0.5],
            history: vec![0],
            history_values: vec![1e-300],
            watched: vec![("hidden_1.silent".into(), vec![f64::NAN])],
            baselines: vec![("mean".into(), vec![0.5])],
            traces: Some(Traces { steps: 1, samples: 1, target: vec![1e8 + 0.1, f64::NAN], ..Traces::default() }),
            layers: vec![],
            weights_bytes: Some(7),
        };
        let line = serde_json::to_string(&record).unwrap();
        let back: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), line);
        assert_eq!(back.loss[0].to_bits(), f64::NAN.to_bits());
    }
}
