//! Metrics: what is recorded, computed on the host in f64. All values `[time, batch, channels]`.

use crate::data::Data;

/// What a metric is computed from.
#[derive(Debug, Clone, Copy)]
pub struct Compared<'a> {
    /// The network's output, `[rows, channels]`, in the target's own unit.
    pub output: &'a [f64],
    /// The target, as its file has it.
    pub target: &'a [f64],
    /// Rows of the first step.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Where the rows stand among all steps and samples; none where they are all of them, `batch` a step.
    pub places: Option<Places<'a>>,
}

/// Where rows stand that count, among others that do not.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Samples of a step, whether they count or not.
    pub samples: usize,
    /// `time * samples + sample` of each row, in this order.
    pub rows: &'a [usize],
}

impl<'a> Places<'a> {
    /// The rows of each step that has any, without empty ones.
    pub fn by_step(self) -> impl Iterator<Item = &'a [usize]> {
        self.rows.chunk_by(move |a, b| a / self.samples == b / self.samples)
    }
}

impl Compared<'_> {
    fn errors(&self) -> impl Iterator<Item = f64> {
        self.output.iter().zip(self.target).map(|(o, t)| o - t)
    }

    /// Mean squared error and population variance of the target of each channel.
    fn by_channel(&self) -> Vec<(f64, f64)> {
        let n = (self.target.len() / self.channels.max(1)) as f64;
        let one = |channel: usize| {
            let targets = || self.target.iter().skip(channel).step_by(self.channels).copied();
            let mean = targets().sum::<f64>() / n;
            let variance = targets().map(|t| (t - mean).powi(2)).sum::<f64>() / n;
            let error = self.errors().skip(channel).step_by(self.channels).map(|e| e * e).sum::<f64>() / n;
            (error, variance)
        };
        (0..self.channels).map(one).collect()
    }
}

/// Room for outputs and targets in the target's own unit, which is used again.
#[derive(Debug, Default)]
pub struct OwnUnits {
    output: Vec<f64>,
    target: Vec<f64>,
    rows: Vec<usize>,
}

impl OwnUnits {
    /// An output `[time, samples, channels]` beside its target: the steps that count, in the target's own unit.
    pub fn compared<'a>(&'a mut self, output: &'a [f32], data: &'a Data, channels: usize) -> Compared<'a> {
        data.in_own_units(output, &mut self.output);
        data.targets_in_own_units(&mut self.target);
        self.rows.clear();
        if data.weights.is_empty() {
            let (output, target) = (&self.output, &self.target);
            return Compared { output, target, batch: data.samples, channels, places: None };
        }
        self.rows.extend((0..data.steps * data.samples).filter(|row| data.counts(*row)));
        for (place, row) in self.rows.iter().enumerate() {
            let range = row * channels..(row + 1) * channels;
            self.output.copy_within(range.clone(), place * channels);
            self.target.copy_within(range, place * channels);
        }
        let rows = self.rows.len();
        let first = self.rows.iter().filter(|row| **row < data.samples).count();
        Compared {
            output: &self.output[..rows * channels],
            target: &self.target[..rows * channels],
            // Where nothing comes after the first step it is what there is to measure.
            batch: if first == rows { 0 } else { first },
            channels,
            places: Some(Places { samples: data.samples, rows: &self.rows }),
        }
    }
}

/// Why a metric cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MetricError(pub String);

/// A metric with its keys read. A function of what is compared is one.
pub trait Metric: Send + Sync {
    /// Its value; `NaN` where it is not defined.
    ///
    /// # Errors
    /// Where something outside of this program computes it and does not answer.
    fn score(&self, compared: Compared<'_>) -> Result<f64, MetricError>;

    /// Whether the rows of the history have it too. If not, it is computed after training only.
    fn in_history(&self) -> bool {
        true
    }

    /// Makes sure that it can be had, before anything is trained.
    ///
    /// # Errors
    /// As [`Metric::score`].
    fn ready(&self) -> Result<(), MetricError> {
        Ok(())
    }
}

impl<F: Fn(Compared<'_>) -> f64 + Send + Sync> Metric for F {
    fn score(&self, compared: Compared<'_>) -> Result<f64, MetricError> {
        Ok(self(compared))
    }
}

/// Mean absolute error.
pub fn l1(compared: Compared<'_>) -> f64 {
    compared.errors().map(f64::abs).sum::<f64>() / compared.target.len() as f64
}

/// Mean squared error.
pub fn mse(compared: Compared<'_>) -> f64 {
    compared.errors().map(|e| e * e).sum::<f64>() / compared.target.len() as f64
}

/// Root of the mean squared error, over everything at once.
pub fn rmse(compared: Compared<'_>) -> f64 {
    mse(compared).sqrt()
}

/// Mean over the steps after the first, and over samples, of |error| / |target|, Euclidean over channels.
/// Source: snnTorch tutorial Regression with SNNs, Part I.
pub fn relative_error(compared: Compared<'_>) -> f64 {
    let rows = compared.output.chunks(compared.channels).zip(compared.target.chunks(compared.channels));
    let ratio = |(output, target): (&[f64], &[f64])| {
        let error: f64 = output.iter().zip(target).map(|(o, t)| (o - t).powi(2)).sum();
        let size: f64 = target.iter().map(|t| t.powi(2)).sum();
        // Of a target that is 0 no error is a share.
        if size > 0.0 { error.sqrt() / size.sqrt() } else { f64::NAN }
    };
    let (sum, count) = rows.skip(compared.batch).map(ratio).fold((0.0, 0.0), |(sum, n), ratio| (sum + ratio, n + 1.0));
    sum / count
}

/// Mean squared error divided by the variance of the target, mean over channels; 1 is what the mean gives.
pub fn nmse(compared: Compared<'_>) -> f64 {
    // A target without variance is no target to explain, however small the error.
    let ratio = |(error, variance): (f64, f64)| if variance > 0.0 { error / variance } else { f64::NAN };
    let ratios: Vec<f64> = compared.by_channel().into_iter().map(ratio).collect();
    ratios.iter().sum::<f64>() / ratios.len() as f64
}

/// Coefficient of determination, mean over channels; 1 is perfect, 0 is what the mean gives.
pub fn r2(compared: Compared<'_>) -> f64 {
    1.0 - nmse(compared)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: [f64; 6] = [9.0, 9.0, 1.0, 2.0, 4.0, 3.0];
    const TARGET: [f64; 6] = [0.0, 0.0, 4.0, 6.0, 4.0, 4.0];

    fn two_channels() -> Compared<'static> {
        Compared { output: &OUTPUT, target: &TARGET, batch: 1, channels: 2, places: None }
    }

    #[test]
    fn relative_error_leaves_the_first_step_out_and_takes_norms_over_channels() {
        let expected = (5.0 / 52f64.sqrt() + 1.0 / 32f64.sqrt()) / 2.0;
        assert!((relative_error(two_channels()) - expected).abs() < 1e-12);
    }

    #[test]
    fn l1_and_mse_are_means_over_everything() {
        assert!((l1(two_channels()) - (9.0 + 9.0 + 3.0 + 4.0 + 0.0 + 1.0) / 6.0).abs() < 1e-12);
        assert!((mse(two_channels()) - (81.0 + 81.0 + 9.0 + 16.0 + 0.0 + 1.0) / 6.0).abs() < 1e-12);
    }

    #[test]
    fn nmse_of_the_mean_is_one_and_r2_is_zero() {
        let target = [1.0, 2.0, 3.0, 6.0];
        let compared = Compared { output: &[3.0; 4], target: &target, batch: 1, channels: 1, places: None };
        assert!((nmse(compared) - 1.0).abs() < 1e-12);
        assert!(r2(compared).abs() < 1e-12);
    }

    #[test]
    fn nmse_of_a_constant_target_is_not_defined() {
        let compared = Compared { output: &[1.0, 2.0], target: &[1.0, 1.0], batch: 1, channels: 1, places: None };
        assert!(nmse(compared).is_nan());
    }
}
