//! What a network is held against: predictions that need no network, fitted to the same samples.

use super::tables::{Results, Sample, TrialTraces};
use crate::train::metric::{Compared, l1, mse, nmse, relative_error};

/// What is compared, in the order of the table.
pub const METRICS: [&str; 4] = ["nmse", "relative_error", "l1", "mse"];

/// The rivals, after the network itself.
pub const RIVALS: [(&str, &str); 5] = [
    ("network, trained", "what this experiment trained"),
    ("mean of the target", "one number for all steps"),
    ("last value", "the target of the step before; 0 before the first"),
    ("linear map of the input", "least squares with an intercept"),
    ("leaky integrator", "no spikes: y[t] = beta y[t-1] + w x[t] + b, least squares"),
];

/// Metrics of each rival, for each trial with traces.
#[derive(Debug, Default)]
pub struct Comparison {
    /// `[rival][metric][trial]`.
    pub values: Vec<Vec<Vec<f64>>>,
    /// Samples of a trial that they are computed on.
    pub samples: usize,
}

/// Fits the baselines of every trial and computes all metrics on the same samples.
pub fn compare(results: &Results) -> Comparison {
    let mut values = vec![vec![Vec::new(); METRICS.len()]; RIVALS.len()];
    for trial in results.traces.iter().filter(|trial| has_output(trial)) {
        for (rival, predictions) in predictions(trial).into_iter().enumerate() {
            for (metric, value) in metrics(trial, &predictions).into_iter().enumerate() {
                values[rival][metric].push(value);
            }
        }
    }
    Comparison { values, samples: results.traces.first().map_or(0, |trial| trial.samples.len()) }
}

fn has_output(trial: &TrialTraces) -> bool {
    trial.samples.iter().all(|s| !s.target.is_empty() && s.output.len() == s.target.len())
}

/// Predictions `[sample][channel][step]`.
type Predictions = Vec<Vec<Vec<f64>>>;

/// Predicts one channel of every sample, `[sample][step]`.
type Fit = fn(&[Sample], usize) -> Vec<Vec<f64>>;

fn predictions(trial: &TrialTraces) -> Vec<Predictions> {
    let channels = trial.samples[0].target.len();
    let by_channel = |fit: Fit| -> Predictions {
        let fitted: Vec<Vec<Vec<f64>>> = (0..channels).map(|channel| fit(&trial.samples, channel)).collect();
        (0..trial.samples.len()).map(|s| fitted.iter().map(|channel| channel[s].clone()).collect()).collect()
    };
    vec![
        trial.samples.iter().map(|sample| sample.output.clone()).collect(),
        by_channel(mean_of_target),
        by_channel(last_value),
        by_channel(|samples, channel| filtered_map(samples, channel, 0.0).1),
        by_channel(leaky_integrator),
    ]
}

fn mean_of_target(samples: &[Sample], channel: usize) -> Vec<Vec<f64>> {
    let all: Vec<f64> = samples.iter().flat_map(|s| s.target[channel].iter().copied()).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    samples.iter().map(|s| vec![mean; s.target[channel].len()]).collect()
}

fn last_value(samples: &[Sample], channel: usize) -> Vec<Vec<f64>> {
    let shifted = |target: &[f64]| std::iter::once(0.0).chain(target.iter().copied()).take(target.len()).collect();
    samples.iter().map(|s| shifted(&s.target[channel])).collect()
}

/// The best decay by a grid and golden section, with weights by least squares for each.
fn leaky_integrator(samples: &[Sample], channel: usize) -> Vec<Vec<f64>> {
    let error = |beta: f64| filtered_map(samples, channel, beta).0;
    let grid: Vec<f64> = (0..100).map(|i| f64::from(i) / 100.0).collect();
    let errors: Vec<f64> = grid.iter().map(|&beta| error(beta)).collect();
    let best = (0..grid.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b])).unwrap_or(0);
    let (mut low, mut high) = ((grid[best] - 0.01).max(0.0), (grid[best] + 0.01).min(0.9999));
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    while high - low > 1e-6 {
        let (a, b) = (high - ratio * (high - low), low + ratio * (high - low));
        if error(a) < error(b) { high = b } else { low = a }
    }
    filtered_map(samples, channel, (low + high) / 2.0).1
}

/// Least squares of the target on inputs and a constant that went through a leaky integrator of this decay; the
/// squared error, and the predictions `[sample][step]`. Decay 0 is the plain linear map.
fn filtered_map(samples: &[Sample], channel: usize, beta: f64) -> (f64, Vec<Vec<f64>>) {
    let filter = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
        values
            .scan(0.0, |state, x| {
                *state = beta * *state + x;
                Some(*state)
            })
            .collect()
    };
    let features: Vec<Vec<Vec<f64>>> = samples
        .iter()
        .map(|sample| {
            let inputs = sample.input.iter().map(|input| filter(&mut input.iter().copied()));
            let constant = filter(&mut std::iter::repeat_n(1.0, sample.target[channel].len()));
            inputs.chain([constant]).collect()
        })
        .collect();
    let targets: Vec<&[f64]> = samples.iter().map(|sample| sample.target[channel].as_slice()).collect();
    let weights = least_squares(&features, &targets);
    let predict = |features: &Vec<Vec<f64>>| -> Vec<f64> {
        (0..features[0].len()).map(|t| features.iter().zip(&weights).map(|(f, w)| f[t] * w).sum()).collect()
    };
    let predictions: Vec<Vec<f64>> = features.iter().map(predict).collect();
    let pairs = predictions.iter().zip(&targets).flat_map(|(p, t)| p.iter().zip(t.iter()));
    (pairs.map(|(p, t)| (p - t).powi(2)).sum(), predictions)
}

/// Weights of the normal equations, by elimination with pivots; directions without variance get weight 0.
fn least_squares(features: &[Vec<Vec<f64>>], targets: &[&[f64]]) -> Vec<f64> {
    let n = features.first().map_or(0, Vec::len);
    let mut system = vec![vec![0.0; n + 1]; n];
    for (features, target) in features.iter().zip(targets) {
        for i in 0..n {
            for j in 0..n {
                system[i][j] += features[i].iter().zip(&features[j]).map(|(a, b)| a * b).sum::<f64>();
            }
            system[i][n] += features[i].iter().zip(target.iter()).map(|(a, b)| a * b).sum::<f64>();
        }
    }
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

/// The metrics of predictions, over the same samples.
fn metrics(trial: &TrialTraces, predictions: &Predictions) -> [f64; 4] {
    let channels = trial.samples[0].target.len();
    let batch = trial.samples.len();
    let steps = trial.samples[0].target[0].len();
    let flat = |value: &dyn Fn(usize, usize, usize) -> f64| -> Vec<f32> {
        let cells = (0..steps).flat_map(|t| (0..batch).flat_map(move |s| (0..channels).map(move |c| (t, s, c))));
        cells.map(|(t, s, c)| value(t, s, c) as f32).collect()
    };
    let output = flat(&|t, s, c| predictions[s][c][t]);
    let target = flat(&|t, s, c| trial.samples[s].target[c][t]);
    let compared = Compared { output: &output, target: &target, batch, channels };
    [nmse(compared), relative_error(compared), l1(compared), mse(compared)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqrt_task(end: f64, slope: f64) -> Results {
        let input: Vec<f64> = (0..50).map(|t| end * f64::from(t) / 49.0).collect();
        let target: Vec<f64> = input.iter().map(|x| (slope * x).sqrt()).collect();
        let sample = Sample {
            output: vec![target.clone()],
            untrained: vec![target.clone()],
            input: vec![input],
            target: vec![target],
        };
        let traces = vec![TrialTraces { trial: "a".into(), samples: vec![sample] }];
        Results { traces, ..Results::default() }
    }

    #[test]
    fn a_leaky_integrator_follows_the_square_root_equally_well_at_every_draw() {
        for (end, slope) in [(0.9, 0.3), (0.05, 0.8), (0.5, 0.01)] {
            let comparison = compare(&sqrt_task(end, slope));
            let relative = comparison.values[4][1][0];
            assert!((relative - 0.0136).abs() < 0.0015, "{end} {slope}: {relative}");
        }
    }

    #[test]
    fn the_mean_has_nmse_one_and_a_perfect_network_zero() {
        let comparison = compare(&sqrt_task(0.5, 0.5));
        assert!((comparison.values[1][0][0] - 1.0).abs() < 1e-5);
        assert!(comparison.values[0][0][0] < 1e-9);
    }

    #[test]
    fn a_linear_map_fits_a_linear_target_exactly() {
        let mut results = sqrt_task(0.5, 0.5);
        let sample = &mut results.traces[0].samples[0];
        sample.target = vec![sample.input[0].iter().map(|x| 2.0 * x - 1.0).collect()];
        assert!(compare(&results).values[3][3][0] < 1e-12);
    }

    #[test]
    fn an_input_without_variance_is_no_obstacle() {
        let mut results = sqrt_task(0.5, 0.5);
        results.traces[0].samples[0].input = vec![vec![0.0; 50]];
        assert!((compare(&results).values[3][0][0] - 1.0).abs() < 1e-5);
    }
}
