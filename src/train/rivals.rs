//! What a network on a table is held against: predictions that need no network, fitted to the part that is trained on
//! and scored on the one that the network is judged by, in the targets' own units.

use super::Metric;
use super::metric::{Compared, MetricError, Places};
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
    let (train, judged) = (RivalRows::new(&parts.train), RivalRows::new(judged));
    let mut list = vec![(MEAN, judged.repeated(&train.means()))];
    if !judged.data.latest.is_empty() {
        list.push((PERSISTENCE, judged.latest()));
    }
    let spikes = judged.data.units.as_ref().is_some_and(|units| units.inputs.is_empty());
    if !spikes {
        let rival = if train.reads_windows() { AUTOREGRESSION } else { LINEAR };
        list.extend(regression(&train, &judged).map(|predictions| (rival, predictions)));
    }
    let score = |output: Vec<f64>| -> Result<Vec<f64>, MetricError> {
        let RivalRows { data, rows, first, channels, targets } = &judged;
        let places = Some(Places { samples: data.samples, rows });
        let compared = Compared { output: &output, target: targets, batch: *first, channels: *channels, places };
        metrics.iter().map(|metric| metric.score(compared)).collect()
    };
    list.into_iter().map(|(rival, output)| Ok((rival.name.to_string(), score(output)?))).collect()
}

/// Rows that count, with their targets in their own units.
struct RivalRows<'a> {
    data: &'a Data,
    /// `time * samples + sample` of each.
    rows: Vec<usize>,
    /// How many belong to the first step, where others come after it.
    first: usize,
    channels: usize,
    targets: Vec<f64>,
}

impl<'a> RivalRows<'a> {
    fn new(data: &'a Data) -> RivalRows<'a> {
        let rows: Vec<usize> = (0..data.steps * data.samples).filter(|row| data.counts(*row)).collect();
        let first = rows.iter().filter(|row| **row < data.samples).count();
        let channels = data.channels();
        let mut own = Vec::new();
        data.targets_in_own_units(&mut own);
        let targets = rows.iter().flat_map(|row| own[row * channels..(row + 1) * channels].iter().copied()).collect();
        RivalRows { data, first: if first == rows.len() { 0 } else { first }, rows, channels, targets }
    }

    fn targets_of(&self, channel: usize) -> Vec<f64> {
        self.targets.iter().skip(channel).step_by(self.channels).copied().collect()
    }

    fn means(&self) -> Vec<f64> {
        (0..self.channels).map(|channel| mean(&self.targets_of(channel))).collect()
    }

    fn repeated(&self, values: &[f64]) -> Vec<f64> {
        values.repeat(self.rows.len())
    }

    fn latest(&self) -> Vec<f64> {
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

    /// The inputs of a row, of all steps up to it where windows are read.
    fn features(&self, row: usize, windows: bool) -> impl Iterator<Item = f64> + '_ {
        let (step, sample) = (row / self.data.samples, row % self.data.samples);
        let width = self.data.inputs.len() / (self.data.steps * self.data.samples).max(1);
        let steps = if windows { 0..step + 1 } else { step..step + 1 };
        let cells = steps.flat_map(move |step| {
            let begin = (step * self.data.samples + sample) * width;
            self.data.inputs[begin..begin + width].iter()
        });
        cells.map(|value| f64::from(*value))
    }
}

fn mean(values: &[f64]) -> f64 {
    // About the first, so that nothing is lost where values are large and vary little.
    let first = values.first().copied().unwrap_or(0.0);
    first + values.iter().map(|value| value - first).sum::<f64>() / values.len().max(1) as f64
}

/// Least squares of the targets on the inputs and a constant, and its predictions; none where it would take too long.
fn regression(train: &RivalRows<'_>, judged: &RivalRows<'_>) -> Option<Vec<f64>> {
    let windows = train.reads_windows();
    let n = train.features(*train.rows.first()?, windows).count();
    if (n + 1).saturating_mul(n + 1).saturating_mul(train.rows.len()) > MOST_PRODUCTS {
        return None;
    }
    let mut columns = vec![Vec::with_capacity(train.rows.len()); n];
    for row in &train.rows {
        columns.iter_mut().zip(train.features(*row, windows)).for_each(|(column, value)| column.push(value));
    }
    let centre = |values: &mut Vec<f64>| -> f64 {
        let mean = mean(values);
        values.iter_mut().for_each(|value| *value -= mean);
        mean
    };
    let means: Vec<f64> = columns.iter_mut().map(centre).collect();
    let mut targets: Vec<Vec<f64>> = (0..train.channels).map(|channel| train.targets_of(channel)).collect();
    let levels: Vec<f64> = targets.iter_mut().map(centre).collect();
    let weights = least_squares(columns, &means, targets);
    let predict = |row: &usize| {
        let features: Vec<f64> = judged.features(*row, windows).zip(&means).map(|(value, mean)| value - mean).collect();
        let value = |(weights, level): (&Vec<f64>, &f64)| {
            level + weights.iter().zip(&features).map(|(w, f)| w * f).sum::<f64>()
        };
        weights.iter().zip(&levels).map(value).collect::<Vec<f64>>()
    };
    Some(judged.rows.iter().flat_map(predict).collect())
}

/// What a column may have left, of its own length, beside those that are taken already before it says nothing new.
const NOTHING_NEW: f64 = 1e-10;

/// Weights of each target on columns, all without their means: columns are brought to one scale, and taken by what they
/// add (modified Gram-Schmidt with pivots; Golub and Van Loan, Matrix Computations, 5.4). One that adds nothing gets 0.
fn least_squares(mut columns: Vec<Vec<f64>>, means: &[f64], mut targets: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let scale = |(column, mean): (&mut Vec<f64>, &f64)| {
        // In two steps, since squares of small numbers may vanish.
        let most = column.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        // What is left of equal numbers without their mean is rounding.
        if most <= 1e-13 * mean.abs() {
            column.fill(0.0);
            return 0.0;
        }
        column.iter_mut().for_each(|value| *value /= most);
        let length = dot(column, column).sqrt();
        column.iter_mut().for_each(|value| *value /= length);
        most * length
    };
    let lengths: Vec<f64> = columns.iter_mut().zip(means).map(scale).collect();
    let n = columns.len();
    let (mut left, mut taken): (Vec<usize>, Vec<usize>) = ((0..n).collect(), Vec::new());
    let mut shares = vec![vec![0.0; n]; n];
    let mut of_targets = vec![Vec::new(); targets.len()];
    while let Some((place, square)) = (left.iter().map(|j| dot(&columns[*j], &columns[*j])).enumerate())
        .reduce(|best, other| if other.1 > best.1 { other } else { best })
        .filter(|(_, square)| square.sqrt() > NOTHING_NEW)
    {
        let pivot = left.remove(place);
        let length = square.sqrt();
        let direction: Vec<f64> = std::mem::take(&mut columns[pivot]).into_iter().map(|v| v / length).collect();
        let without = |values: &mut Vec<f64>| {
            let share = dot(&direction, values);
            values.iter_mut().zip(&direction).for_each(|(value, d)| *value -= share * d);
            share
        };
        shares[pivot][pivot] = length;
        for j in &left {
            shares[pivot][*j] = without(&mut columns[*j]);
        }
        of_targets.iter_mut().zip(&mut targets).for_each(|(list, target)| list.push(without(target)));
        taken.push(pivot);
    }
    let solve = |of_target: Vec<f64>| {
        let mut weights = vec![0.0; n];
        for (i, pivot) in taken.iter().enumerate().rev() {
            let later: f64 = taken[i + 1..].iter().map(|j| shares[*pivot][*j] * weights[*j]).sum();
            weights[*pivot] = (of_target[i] - later) / shares[*pivot][*pivot];
        }
        weights.iter_mut().zip(&lengths).filter(|(_, l)| **l > 0.0).for_each(|(weight, length)| *weight /= length);
        weights
    };
    of_targets.into_iter().map(solve).collect()
}

/// The solution of normal equations, each with its right side at the end, by elimination with pivots, in units in which
/// all columns have the same length; directions without variance get 0.
pub fn solve(mut system: Vec<Vec<f64>>) -> Vec<f64> {
    let n = system.len();
    let length = |i: usize| if system[i][i] > 0.0 { system[i][i].sqrt() } else { 1.0 };
    let lengths: Vec<f64> = (0..n).map(length).collect();
    for (row, a) in system.iter_mut().zip(&lengths) {
        row.iter_mut().zip(lengths.iter().chain([&1.0])).for_each(|(value, b)| *value /= a * b);
    }
    let mut pivots = Vec::new();
    for column in 0..n {
        let rows = (0..n).filter(|row| !pivots.iter().any(|(r, _)| r == row));
        let Some(pivot) = rows.max_by(|&a, &b| system[a][column].abs().total_cmp(&system[b][column].abs())) else {
            break;
        };
        if system[pivot][column].abs() <= 1e-12 {
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
    pivots
        .into_iter()
        .for_each(|(row, column)| weights[column] = system[row][n] / system[row][column] / lengths[column]);
    weights
}
