//! What a network is held against: predictions that need no network, fitted to the same samples.

use super::tables::{Baseline, Results, Sample, TrialRow, TrialTraces};
use crate::statistics::Mean;
use crate::store::manifest::Manifest;
use crate::store::ranking::resampled;
use crate::train::metric::{Compared, l1, mse, nmse, relative_error};
use crate::train::rivals::{self, solve};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

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

/// Metrics of the network, which comes first, and of each rival, for each trial that they are known of.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The metrics.
    pub metrics: Vec<String>,
    /// Which mean of each says something.
    pub means: Vec<Mean>,
    /// The network and its rivals, each with a few words.
    pub rivals: Vec<(String, String)>,
    /// `[rival][metric][trial]`.
    pub values: Vec<Vec<Vec<f64>>>,
    /// Ids of the trials.
    pub trials: Vec<String>,
    /// The rival that figures show.
    pub shown: usize,
    /// How rivals were fitted, and what all were measured on.
    pub note: String,
}

/// What was scored while trials ran, or else what can be fitted to the sequences that were kept.
pub fn compare(manifest: &Manifest, results: &Results) -> Comparison {
    if results.baselines.is_empty() { fitted(manifest, results) } else { scored(manifest, results) }
}

/// Rivals that were fitted to training rows and scored where the network is judged.
fn scored(manifest: &Manifest, results: &Results) -> Comparison {
    let part = manifest.data.parts.last().map(|(part, _)| part.as_str());
    let metrics: Vec<String> = results.baselines[0].metrics.iter().map(|(name, _)| name.clone()).collect();
    let column = |metric: &String| {
        let name = part.map_or(metric.clone(), |part| format!("{part}.{metric}"));
        manifest.metrics.iter().position(|quantity| quantity.name == name)
    };
    let columns: Vec<Option<usize>> = metrics.iter().map(column).collect();
    let mean = |column: &Option<usize>| column.map_or(Mean::Geometric, |column| manifest.metrics[column].mean());
    let means = columns.iter().map(mean).collect();
    let trials: Vec<&TrialRow> = results.completed().collect();
    let of_network = |column: &Option<usize>| {
        let value = |trial: &&TrialRow| trial.metrics.get((*column)?).copied().flatten();
        trials.iter().map(|trial| value(trial).unwrap_or(f64::NAN)).collect()
    };
    let mut rivals = vec![(RIVALS[0].0.to_string(), RIVALS[0].1.to_string())];
    let mut values: Vec<Vec<Vec<f64>>> = vec![columns.iter().map(of_network).collect()];
    for rival in rivals::ALL.iter().filter(|rival| results.baselines.iter().any(|row| row.name == rival.name)) {
        let rows = results.baselines.iter().filter(|row| row.name == rival.name);
        let rows: HashMap<&str, &Baseline> = rows.map(|row| (row.trial.as_str(), row)).collect();
        let value =
            |trial: &TrialRow, metric: usize| rows.get(trial.id.as_str()).map_or(f64::NAN, |row| row.metrics[metric].1);
        let of = |metric: usize| trials.iter().map(|trial| value(trial, metric)).collect();
        rivals.push((rival.name.into(), rival.about.into()));
        values.push((0..metrics.len()).map(of).collect());
    }
    let called = manifest.swept.iter().find_map(|name| resampled(name));
    let (trials, values) = if called.is_some() { over_folds(&trials, values) } else { (trials, values) };
    let folds = called.map_or(String::new(), |called| format!(" Values are means over the {called} of a seed."));
    let on = match part {
        Some(part) => format!("Measured on the {part} part; baselines are fitted to the part that is trained on."),
        None => {
            "Baselines are fitted to the very rows they are measured on, and so is the network: nothing is split off."
                .to_string()
        }
    };
    Comparison {
        shown: values.len() - 1,
        trials: trials.iter().map(|trial| trial.id.clone()).collect(),
        note: format!("{on}{folds} Everything is in the targets' own units."),
        means,
        metrics,
        rivals,
        values,
    }
}

/// Means over the folds or origins of each seed, which stands for its first trial.
fn over_folds<'a>(trials: &[&'a TrialRow], values: Vec<Vec<Vec<f64>>>) -> (Vec<&'a TrialRow>, Vec<Vec<Vec<f64>>>) {
    let mut seeds: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    trials.iter().enumerate().for_each(|(place, trial)| seeds.entry(trial.seed).or_default().push(place));
    let mean = |values: &Vec<f64>, places: &Vec<usize>| {
        places.iter().map(|place| values[*place]).sum::<f64>() / places.len() as f64
    };
    let means = |values: Vec<f64>| seeds.values().map(|places| mean(&values, places)).collect();
    let values = values.into_iter().map(|metrics| metrics.into_iter().map(means).collect()).collect();
    (seeds.values().map(|places| trials[places[0]]).collect(), values)
}

/// Fits the baselines of every trial and computes all metrics on the same samples.
fn fitted(manifest: &Manifest, results: &Results) -> Comparison {
    let mut values = vec![vec![Vec::new(); METRICS.len()]; RIVALS.len()];
    fit_all(results, &mut values);
    let samples = results.traces.first().map_or(0, |trial| trial.samples.len());
    let part = match manifest.data.samples {
        all if samples < all => format!("Computed on the first {samples} of {all} samples. "),
        _ => String::new(),
    };
    let compared = results.traces.iter().filter(|trial| has_output(trial));
    Comparison {
        means: vec![Mean::Geometric; METRICS.len()],
        metrics: METRICS.map(String::from).to_vec(),
        rivals: RIVALS.map(|(name, about)| (name.to_string(), about.to_string())).to_vec(),
        values,
        trials: compared.map(|trial| trial.trial.clone()).collect(),
        shown: 4,
        note: format!(
            "{part}Every baseline is fitted to the very samples it is measured on, and so is the network. Lower is \
             better; nmse is the mean squared error over the variance of the target, 1 for its mean."
        ),
    }
}

fn fit_all(results: &Results, values: &mut [Vec<Vec<f64>>]) {
    let of = |trial: &TrialTraces| -> Vec<[f64; 4]> {
        predictions(trial).iter().map(|predictions| metrics(trial, predictions)).collect()
    };
    let trials: Vec<Vec<[f64; 4]>> = results.traces.par_iter().filter(|trial| has_output(trial)).map(of).collect();
    for (rival, metrics) in trials.into_iter().flat_map(|trial| trial.into_iter().enumerate()) {
        metrics.into_iter().enumerate().for_each(|(metric, value)| values[rival][metric].push(value));
    }
}

/// Products that the fits of a trial may take; a trial that would take more is not compared.
const MOST_PRODUCTS: usize = 100_000_000_000;

/// Decays that are tried for one channel, at most.
const DECAYS: usize = 140;

/// Whether the output of a trial can be held against its target, sample by sample.
fn has_output(trial: &TrialTraces) -> bool {
    let Some(first) = trial.samples.first() else { return false };
    let (channels, inputs) = (first.target.len(), first.input.len());
    let as_long = |sequence: &Vec<Vec<f64>>, width: usize, steps: usize| {
        sequence.len() == width && sequence.iter().all(|values| values.len() == steps && is_finite(values))
    };
    let whole = |sample: &Sample| {
        let steps = sample.target.first().map_or(0, Vec::len);
        let same = [(&sample.target, channels), (&sample.output, channels), (&sample.input, inputs)];
        steps > 0 && same.into_iter().all(|(sequence, width)| as_long(sequence, width, steps))
    };
    let steps = || trial.samples.iter().filter_map(|sample| Some(sample.target.first()?.len())).sum::<usize>();
    let products = || [inputs + 1, inputs + 1, DECAYS, channels].into_iter().fold(steps(), usize::saturating_mul);
    trial.samples.iter().all(whole) && products() <= MOST_PRODUCTS
}

fn is_finite(values: &[f64]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// Predictions `[sample][channel][step]`.
type Outputs = Vec<Vec<Vec<f64>>>;

/// Predicts one channel of every sample, `[sample][step]`.
type Fit = fn(&[Sample], usize) -> Vec<Vec<f64>>;

fn predictions(trial: &TrialTraces) -> Vec<Outputs> {
    let channels = trial.samples[0].target.len();
    let by_channel = |fit: Fit| -> Outputs {
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
    solve(system)
}

/// The metrics of predictions, over the same samples.
fn metrics(trial: &TrialTraces, predictions: &Outputs) -> [f64; 4] {
    let channels = trial.samples[0].target.len();
    let batch = trial.samples.len();
    let lengths: Vec<usize> = trial.samples.iter().map(|sample| sample.target[0].len()).collect();
    let steps = lengths.iter().max().copied().unwrap_or(0);
    let flat = |value: &dyn Fn(usize, usize, usize) -> f64| -> Vec<f64> {
        let there = |t: usize| (0..batch).filter(|s| t < lengths[*s]).collect::<Vec<usize>>();
        let cells =
            (0..steps).flat_map(|t| there(t).into_iter().flat_map(move |s| (0..channels).map(move |c| (t, s, c))));
        cells.map(|(t, s, c)| value(t, s, c)).collect()
    };
    let output = flat(&|t, s, c| predictions[s][c][t]);
    let target = flat(&|t, s, c| trial.samples[s].target[c][t]);
    let compared = Compared { output: &output, target: &target, batch, channels, places: None };
    [nmse(compared), relative_error(compared), l1(compared), mse(compared)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(results: &Results) -> Comparison {
        let mut values = vec![vec![Vec::new(); METRICS.len()]; RIVALS.len()];
        fit_all(results, &mut values);
        Comparison { values, ..Comparison::default() }
    }

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
            let comparison = fit(&sqrt_task(end, slope));
            let relative = comparison.values[4][1][0];
            assert!((relative - 0.0136).abs() < 0.0015, "{end} {slope}: {relative}");
        }
    }

    #[test]
    fn the_mean_has_nmse_one_and_a_perfect_network_zero() {
        let comparison = fit(&sqrt_task(0.5, 0.5));
        assert!((comparison.values[1][0][0] - 1.0).abs() < 1e-5);
        assert!(comparison.values[0][0][0] < 1e-9);
    }

    #[test]
    fn a_linear_map_fits_a_linear_target_exactly() {
        let mut results = sqrt_task(0.5, 0.5);
        let sample = &mut results.traces[0].samples[0];
        sample.target = vec![sample.input[0].iter().map(|x| 2.0 * x - 1.0).collect()];
        assert!(fit(&results).values[3][3][0] < 1e-12);
    }

    #[test]
    fn an_input_without_variance_is_no_obstacle() {
        let mut results = sqrt_task(0.5, 0.5);
        results.traces[0].samples[0].input = vec![vec![0.0; 50]];
        assert!((fit(&results).values[3][0][0] - 1.0).abs() < 1e-5);
    }
}
