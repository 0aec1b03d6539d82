//! What a network on a table is held against: predictions that need no network, fitted to the part that is trained on
//! and scored on the one that the network is judged by, in the targets' own units.

use super::Metric;
use super::metric::{Compared, MetricError};
use crate::data::Data;
use crate::data::prepared::Parts;
use std::sync::Arc;

/// A prediction without a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rival {
    /// Its name in `baselines.parquet`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
}

/// The mean of the target.
pub const MEAN: Rival = Rival { name: "mean", about: "the mean of the training rows' targets" };
/// The last value that is known.
pub const PERSISTENCE: Rival = Rival { name: "persistence", about: "the target's last known value" };
/// Least squares on the inputs of the same row.
pub const LINEAR: Rival = Rival { name: "linear", about: "linear regression on the inputs, fitted to training rows" };
/// Least squares on the whole window.
pub const AUTOREGRESSION: Rival =
    Rival { name: "autoregression", about: "linear regression on every value of the window, fitted to training rows" };

/// All of them, in the order in which they are shown.
pub const ALL: [Rival; 4] = [MEAN, PERSISTENCE, LINEAR, AUTOREGRESSION];

/// Products that a regression may take; larger ones are left out.
const MOST_PRODUCTS: usize = 4_000_000_000;

/// Metrics of each rival, by its name.
///
/// # Errors
/// Where a metric cannot be had.
pub fn rivals(parts: &Parts, metrics: &[Arc<dyn Metric>]) -> Result<Vec<(String, Vec<f64>)>, MetricError> {
    let Some(judged) = parts.get(parts.shown()) else { return Ok(Vec::new()) };
    let (train, judged) = (Rows::new(&parts.train), Rows::new(judged));
    let mut list = vec![(MEAN, judged.repeated(&train.means()))];
    if !judged.data.latest.is_empty() {
        list.push((PERSISTENCE, judged.latest()));
    }
    let spikes = judged.data.units.as_ref().is_some_and(|units| units.inputs.is_empty());
    if !spikes {
        let rival = if train.reads_windows() { AUTOREGRESSION } else { LINEAR };
        list.extend(regression(&train, &judged).map(|predictions| (rival, predictions)));
    }
    let score = |output: Vec<f32>| -> Result<Vec<f64>, MetricError> {
        let compared =
            Compared { output: &output, target: &judged.targets, batch: judged.first, channels: judged.channels };
        metrics.iter().map(|metric| metric.score(compared)).collect()
    };
    list.into_iter().map(|(rival, output)| Ok((rival.name.to_string(), score(output)?))).collect()
}

/// Rows that count, with their targets in their own units.
struct Rows<'a> {
    data: &'a Data,
    /// `time * samples + sample` of each.
    rows: Vec<usize>,
    /// How many belong to the first step, where others come after it.
    first: usize,
    channels: usize,
    targets: Vec<f32>,
}

impl<'a> Rows<'a> {
    fn new(data: &'a Data) -> Rows<'a> {
        let rows: Vec<usize> = (0..data.steps * data.samples).filter(|row| data.counts(*row)).collect();
        let first = rows.iter().filter(|row| **row < data.samples).count();
        let channels = data.channels();
        let mut own = data.targets.clone();
        data.in_own_units(&mut own);
        let targets = rows.iter().flat_map(|row| own[row * channels..(row + 1) * channels].iter().copied()).collect();
        Rows { data, first: if first == rows.len() { 0 } else { first }, rows, channels, targets }
    }

    fn means(&self) -> Vec<f32> {
        let n = self.rows.len().max(1) as f64;
        let mean =
            |channel| self.targets.iter().skip(channel).step_by(self.channels).map(|t| f64::from(*t)).sum::<f64>() / n;
        (0..self.channels).map(|channel| mean(channel) as f32).collect()
    }

    fn repeated(&self, values: &[f32]) -> Vec<f32> {
        values.repeat(self.rows.len())
    }

    fn latest(&self) -> Vec<f32> {
        let latest = self.data.latest_in_own_units();
        let of = |row: &usize| latest[row * self.channels..(row + 1) * self.channels].to_vec();
        self.rows.iter().flat_map(of).collect()
    }

    /// Whether the last step alone counts, and the ones before it say something else.
    fn reads_windows(&self) -> bool {
        let (steps, samples) = (self.data.steps, self.data.samples);
        let step = self.data.inputs.len() / steps.max(1);
        self.rows.first().is_some_and(|row| *row >= (steps - 1) * samples)
            && self.data.inputs.chunks_exact(step.max(1)).any(|values| values != &self.data.inputs[..step])
    }

    /// The inputs of a row, of all steps up to it where windows are read, and a constant.
    fn features(&self, row: usize, windows: bool) -> impl Iterator<Item = f64> + '_ {
        let (step, sample) = (row / self.data.samples, row % self.data.samples);
        let width = self.data.inputs.len() / (self.data.steps * self.data.samples).max(1);
        let steps = if windows { 0..step + 1 } else { step..step + 1 };
        let cells = steps.flat_map(move |step| {
            let begin = (step * self.data.samples + sample) * width;
            self.data.inputs[begin..begin + width].iter()
        });
        cells.map(|value| f64::from(*value)).chain([1.0])
    }
}

/// Least squares of the targets on the inputs, and its predictions; none where it would take too long.
fn regression(train: &Rows<'_>, judged: &Rows<'_>) -> Option<Vec<f32>> {
    let windows = train.reads_windows();
    let n = train.features(*train.rows.first()?, windows).count();
    if n.saturating_mul(n).saturating_mul(train.rows.len()) > MOST_PRODUCTS {
        return None;
    }
    let mut systems = vec![vec![vec![0.0; n + 1]; n]; train.channels];
    for (place, row) in train.rows.iter().enumerate() {
        let features: Vec<f64> = train.features(*row, windows).collect();
        for (channel, system) in systems.iter_mut().enumerate() {
            let target = f64::from(train.targets[place * train.channels + channel]);
            for (equation, a) in system.iter_mut().zip(&features) {
                equation.iter_mut().zip(features.iter().chain([&target])).for_each(|(sum, b)| *sum += a * b);
            }
        }
    }
    let weights: Vec<Vec<f64>> = systems.into_iter().map(solve).collect();
    let predict = |row: &usize| {
        let features: Vec<f64> = judged.features(*row, windows).collect();
        let value = |weights: &Vec<f64>| weights.iter().zip(&features).map(|(w, f)| w * f).sum::<f64>() as f32;
        weights.iter().map(value).collect::<Vec<f32>>()
    };
    Some(judged.rows.iter().flat_map(predict).collect())
}

/// The solution of normal equations, each with its right side at the end, by elimination with pivots; directions
/// without variance get 0.
pub fn solve(mut system: Vec<Vec<f64>>) -> Vec<f64> {
    let n = system.len();
    let scale = (0..n).map(|i| system[i][i]).fold(0.0, f64::max);
    let mut pivots = Vec::new();
    for column in 0..n {
        let rows = (0..n).filter(|row| !pivots.iter().any(|(r, _)| r == row));
        let Some(pivot) = rows.max_by(|&a, &b| system[a][column].abs().total_cmp(&system[b][column].abs())) else {
            break;
        };
        if system[pivot][column].abs() <= 1e-12 * scale {
            continue;
        }
        pivots.push((pivot, column));
        let source = system[pivot].clone();
        for row in (0..n).filter(|&row| row != pivot) {
            let factor = system[row][column] / source[column];
            system[row].iter_mut().zip(&source).for_each(|(a, b)| *a -= factor * b);
        }
    }
    let mut weights = vec![0.0; n];
    pivots.into_iter().for_each(|(row, column)| weights[column] = system[row][n] / system[row][column]);
    weights
}
