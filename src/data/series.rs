//! `kind = "series"`: rows of a file are moments in time. A column groups them into sequences, whose lengths may
//! differ; or windows are cut out of one long record, each with a target some rows ahead.

use super::file::FileTables;
use super::scale::{Scale, Scaling};
use super::split::{Part, Reach};
use super::table::{FileKeys, NamedColumns, draw_whole, report};
use super::{Data, DataError, DataShape, Dataset, Reading, Units};
use crate::keys;
use crate::random::Draws;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem};
use crate::spec::key::{Flat, Placed};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

keys! {
    /// The keys of a series.
    pub struct SeriesKeys {
        /// shared with tables
        file: Flat<FileKeys> = flat(),
        /// the column whose values group rows into sequences; or give `window`
        series: Option<Placed<String>> = text().placed().optional(),
        /// rows of a window, of which the last step alone counts in losses and metrics; or give `series`
        window: Option<Placed<usize>> = at_least(1).placed().optional(),
        /// rows from one window to the next
        stride: usize = at_least(1).or(1),
        /// rows from an input to its target; 0: the same row
        horizon: usize = at_least(0).or(1),
        /// the network predicts the change since the last known row; undone for metrics and traces
        difference: Placed<bool> = flag().or(false).placed(),
        /// units that the network sees, fitted to training rows and undone for metrics and traces: `standard`
        /// has mean 0 and deviation 1, `minmax` goes from 0 to 1
        scale: Scaling = one_of().or(Scaling::Standard),
    }
}

/// Sequences of rows.
pub struct SeriesDataset {
    columns: NamedColumns,
    /// Rows of each sample, in the order of time.
    samples: Vec<SampleRows>,
    /// Steps of the longest sample.
    steps: usize,
    horizon: usize,
    difference: bool,
    /// Whether samples are windows, of which the last step counts.
    windows: bool,
}

/// The rows of a sample: inputs of its steps, and targets `horizon` further on.
#[derive(Debug, Clone)]
enum SampleRows {
    /// One after the other.
    Window(Range<usize>),
    /// As a column groups them, the last `horizon` of them for targets alone.
    Sequence(Vec<usize>),
}

impl SampleRows {
    fn at(&self, place: usize) -> Option<usize> {
        match self {
            SampleRows::Window(range) => range.clone().nth(place),
            SampleRows::Sequence(rows) => rows.get(place).copied(),
        }
    }
}

impl SeriesDataset {
    /// Reads the dataset of its keys.
    ///
    /// # Errors
    /// As [`NamedColumns::read`], and where the file has too few rows.
    pub fn read(keys: SeriesKeys, reading: &Reading<'_>, tables: &FileTables) -> Result<SeriesDataset, Diagnostics> {
        let (horizon, difference) = (keys.horizon, keys.difference.value);
        let columns = NamedColumns::read(&keys.file, keys.scale, difference, reading, tables)?;
        let mut found = Diagnostics::default();
        if difference && horizon == 0 {
            let problem = Problem::Conflict("with `horizon = 0` there is no change to predict".into());
            found.push(Diagnostic::new(problem, keys.difference.at));
        }
        let (windows, samples) = match (&keys.series, &keys.window) {
            (Some(series), None) => (false, sequences(&columns, series, horizon, &mut found)),
            (None, Some(window)) => {
                // A window whose target is not there yet can still be predicted from.
                let ahead = if reading.unlabelled { 0 } else { horizon };
                (true, cut(&columns, window, keys.stride, ahead, &mut found))
            }
            (Some(series), Some(window)) => {
                let problem = Problem::Conflict("`series` and `window` exclude each other".into());
                found.push(Diagnostic::new(problem, window.key).also(series.key, "the other one"));
                (true, Vec::new())
            }
            (None, None) => {
                let problem = Problem::MissingKey("window".into());
                found.push(Diagnostic::new(problem, reading.at).label("`window` or `series` is needed here"));
                (true, Vec::new())
            }
        };
        if !found.is_empty() {
            return Err(found);
        }
        let unlabelled = columns.target_values.is_empty();
        let ahead = if windows || unlabelled { 0 } else { horizon };
        let length = |rows: &SampleRows| match rows {
            SampleRows::Window(range) => range.len(),
            SampleRows::Sequence(rows) => rows.len() - ahead,
        };
        let steps = samples.iter().map(length).max().unwrap_or(0);
        Ok(SeriesDataset { columns, samples, steps, horizon, difference, windows })
    }

    /// The row of a step of a sample, and that of its target; none beyond the end.
    fn rows(&self, sample: usize, step: usize) -> Option<(usize, Option<usize>)> {
        let rows = &self.samples[sample];
        let row = rows.at(step)?;
        let target = match rows {
            SampleRows::Window(_) => Some(row + self.horizon).filter(|target| *target < self.columns.file.rows()),
            SampleRows::Sequence(_) => rows.at(step + self.horizon),
        };
        Some((row, target))
    }

    /// A target as the network is to give it, in its own unit.
    fn target(&self, channel: usize, row: usize, target: usize) -> f64 {
        let values = &self.columns.target_values[channel];
        if self.difference { values[target] - values[row] } else { values[target] }
    }

    /// Whether a step of a sample counts in losses and metrics.
    fn counts(&self, step: usize, target: Option<usize>) -> bool {
        target.is_some() && (!self.windows || step + 1 == self.steps)
    }

    /// Rows that some samples read, and steps of theirs that count, as rows of input and target; each once.
    fn rows_of(&self, samples: &[usize]) -> (Vec<usize>, Vec<(usize, usize)>) {
        let (mut read, mut counted) = (vec![false; self.columns.file.rows()], Vec::new());
        for (sample, step) in samples.iter().flat_map(|sample| (0..self.steps).map(move |step| (*sample, step))) {
            let Some((row, target)) = self.rows(sample, step) else { continue };
            if let Some(target) = target.filter(|_| self.counts(step, target)) {
                counted.push((row, target));
            }
            read[row] |= self.windows || target.is_some();
        }
        ((0..read.len()).filter(|row| read[*row]).collect(), counted)
    }
}

/// Windows over the whole file, each with a target some rows ahead.
fn cut(
    columns: &NamedColumns,
    window: &Placed<usize>,
    stride: usize,
    ahead: usize,
    found: &mut Diagnostics,
) -> Vec<SampleRows> {
    let (Placed { value: window, at, .. }, rows) = (window, columns.file.rows());
    if rows < window + ahead {
        let text =
            format!("{} has {rows} rows, but a window and its target take {}", columns.file.file(), window + ahead);
        found.push(Diagnostic::new(Problem::Data(text), *at));
        return Vec::new();
    }
    (0..=rows - window - ahead).step_by(stride).map(|first| SampleRows::Window(first..first + window)).collect()
}

/// Rows by the values of a column, in the order in which these come up.
fn sequences(
    columns: &NamedColumns,
    series: &Placed<String>,
    horizon: usize,
    found: &mut Diagnostics,
) -> Vec<SampleRows> {
    let Placed { value: name, at, .. } = series;
    let texts = match columns.file.texts(name) {
        Ok(texts) => texts,
        Err(error) => {
            report(&columns.file, &error, *at, found);
            return Vec::new();
        }
    };
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        let place = *places.entry(text).or_insert_with(|| {
            groups.push((text, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(row);
    }
    let file = columns.file.file();
    let mut refuse = |text: String| found.push(Diagnostic::new(Problem::Data(format!("{file}: {text}")), *at));
    if let Some((series, rows)) = groups.iter().find(|(_, rows)| rows.len() <= horizon) {
        refuse(format!("series `{series}` has {} rows, but its first target lies {horizon} rows ahead", rows.len()));
    }
    if let Some(labels) = &columns.labels
        && let Some((series, cut)) = groups.iter().find_map(|(series, rows)| Some((series, cut_at(rows, labels)?)))
    {
        let [one, other] = cut.map(|(row, part)| format!("{} is `{}`", columns.file.place(row), part.as_str()));
        refuse(format!("series `{series}` lies in several parts: {one}, and {other}; a sequence belongs to one"));
    }
    groups.into_iter().map(|(_, rows)| SampleRows::Sequence(rows)).collect()
}

/// The first row of a sequence and the first one of another part, with their parts.
fn cut_at(rows: &[usize], labels: &[Part]) -> Option<[(usize, Part); 2]> {
    let of = |row: &usize| (*row, labels[*row]);
    let first = of(rows.first()?);
    Some([first, rows.iter().map(of).find(|(_, part)| *part != first.1)?])
}

impl Dataset for SeriesDataset {
    fn shape(&self) -> DataShape {
        let (inputs, targets) = (self.columns.inputs.clone(), self.columns.targets.clone());
        DataShape { steps: self.steps, samples: self.samples.len(), inputs, targets }
    }

    fn draw(&self, draws: &mut dyn Draws) -> Result<Data, DataError> {
        draw_whole(self, draws)
    }

    fn content(&self) -> Option<String> {
        let digest = self.columns.file.digest().to_string();
        // A version of meaning for these alone.
        let by_column = self.windows && self.columns.labels.is_some();
        Some(if by_column { format!("{digest}, windows that read no later part") } else { digest })
    }

    fn fit(&self, train: &[usize]) -> Result<Option<Scale>, DataError> {
        let columns = &self.columns;
        let (read, counted) = self.rows_of(train);
        let input = |(name, values): (&String, &Vec<f64>)| {
            columns.scaling.fit(&columns.described(name), read.iter().map(|row| values[*row]))
        };
        let target = |(channel, name): (usize, &String)| {
            let what = if self.difference { "the change of " } else { "" };
            let values = counted.iter().map(|(row, target)| self.target(channel, *row, *target));
            columns.scaling.fit(&format!("{what}{}", columns.described(name)), values)
        };
        Ok(Some(Scale {
            inputs: columns.inputs.iter().zip(&columns.input_values).map(input).collect::<Result<_, _>>()?,
            targets: columns.targets.iter().enumerate().map(target).collect::<Result<_, _>>()?,
        }))
    }

    fn draw_in(&self, scale: &Scale, _: &mut dyn Draws) -> Result<Data, DataError> {
        scale.check(self.columns.inputs.len(), self.columns.targets.len())?;
        let (samples, channels) = (self.samples.len(), self.columns.targets.len());
        let known = !self.columns.target_values.is_empty();
        let mut data = Data { steps: self.steps, samples, ..Data::default() };
        for (step, sample) in (0..self.steps).flat_map(|step| (0..samples).map(move |sample| (step, sample))) {
            let rows = self.rows(sample, step);
            let target = rows.and_then(|(_, target)| target).filter(|_| known);
            for (line, values) in scale.inputs.iter().zip(&self.columns.input_values) {
                data.inputs.push(rows.map_or(0.0, |(row, _)| line.apply(values[row]) as f32));
            }
            for (channel, line) in scale.targets.iter().enumerate() {
                let value = rows.zip(target).map(|((row, _), target)| self.target(channel, row, target));
                data.targets.push(value.map_or(0.0, |value| line.apply(value) as f32));
                if known {
                    data.own.push(target.map_or(0.0, |target| self.columns.own_target(channel, target)));
                }
            }
            if self.horizon > 0 && known {
                let latest = |channel: usize| rows.map_or(0.0, |(row, _)| self.columns.target_values[channel][row]);
                data.latest.extend((0..channels).map(latest));
            }
            data.weights.push(f32::from(self.counts(step, target)));
        }
        if data.weights.iter().all(|weight| *weight == 1.0) {
            data.weights.clear();
        }
        let Scale { inputs, targets } = scale.clone();
        data.units =
            Some(Arc::new(Units { inputs, targets, difference: self.difference, transform: self.columns.transform }));
        Ok(data)
    }

    fn reach(&self) -> Option<Reach> {
        let span = |rows: &SampleRows| match rows {
            SampleRows::Window(range) => range.start..range.end + self.horizon,
            SampleRows::Sequence(_) => 0..0,
        };
        let rows = self.columns.file.rows();
        self.windows.then(|| Reach { rows, spans: self.samples.iter().map(span).collect() })
    }

    fn parts(&self) -> Option<Vec<Part>> {
        let labels = self.columns.labels.as_ref()?;
        let first = |rows: &SampleRows| match rows {
            SampleRows::Window(_) => None,
            SampleRows::Sequence(rows) => rows.first().map(|row| labels[*row]),
        };
        // Of windows the split asks for the part of each row.
        Some(if self.windows { labels.clone() } else { self.samples.iter().filter_map(first).collect() })
    }

    fn predicted(&self) -> Vec<(usize, usize)> {
        let samples = self.samples.len();
        let mut list = Vec::new();
        for (sample, step) in (0..samples).flat_map(|sample| (0..self.steps).map(move |step| (sample, step))) {
            if self.windows && step + 1 < self.steps {
                continue;
            }
            let Some((row, target)) = self.rows(sample, step) else { continue };
            match (self.windows, target) {
                (true, _) => list.push((step * samples + sample, row + self.horizon)),
                (false, Some(target)) => list.push((step * samples + sample, target)),
                (false, None) => {}
            }
        }
        list
    }
}
