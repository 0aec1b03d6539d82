//! `kind = "table"`: a row of a file is a sample, held for some steps.

use super::encode::Encode;
use super::file::{FileTables, TableError, TableFile};
use super::scale::{Scale, Scaling, Transform};
use super::split::Part;
use super::{Data, DataError, DataShape, Dataset, Reading, Units};
use crate::keys;
use crate::random::Draws;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use crate::spec::key::{Choice, Flat, Key, Placed, list, text};
use crate::spec::source::{Span, path_of};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Names of columns.
fn columns_key() -> Key<Placed<Vec<Placed<String>>>> {
    list(text().placed()).placed()
}

keys! {
    /// The keys of every dataset that is read from a file.
    pub struct FileKeys {
        /// the file: .csv with a header, .parquet or .npy
        path: Placed<String> = path(),
        /// columns that go in
        inputs: Placed<Vec<Placed<String>>> = columns_key(),
        /// columns that are to come out
        targets: Placed<Vec<Placed<String>>> = columns_key(),
        /// `sqrt`: the network sees square roots, which evens out the spread of counts; undone as `scale` is
        transform: Transform = one_of().or(Transform::None),
    }
}

keys! {
    /// The keys of a table.
    pub struct TableKeys {
        /// shared with series
        file: Flat<FileKeys> = flat(),
        /// time steps for which a row is held
        steps: usize = at_least(1),
        /// `current`: a value is the same current at every step; `rate`: spikes, each with the value as its
        /// probability; `latency`: one spike, early for large values. For spikes, inputs are scaled to [0, 1]
        encode: Encode = one_of().or(Encode::Current),
        /// steps that count in losses and metrics: the `last`, which is the prediction, or `all`
        score: Score = one_of().or(Score::Last),
        /// units that the network sees, fitted to training rows and undone for metrics and traces: `standard`
        /// has mean 0 and deviation 1, `minmax` goes from 0 to 1
        scale: Scaling = one_of().or(Scaling::Standard),
    }
}

/// Steps that count in losses and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// The last alone.
    Last,
    /// Every step.
    All,
}

impl Choice for Score {
    const WORDS: &'static [(&'static str, Score)] = &[("last", Score::Last), ("all", Score::All)];
}

/// Columns that an experiment names, as numbers.
pub struct NamedColumns {
    /// The file.
    pub file: Arc<TableFile>,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// Names of the targets.
    pub targets: Vec<String>,
    /// `[input][row]`.
    pub input_values: Vec<Vec<f64>>,
    /// `[target][row]`; empty where they are not known.
    pub target_values: Vec<Vec<f64>>,
    /// `[target][row]` before they were transformed; empty where nothing was done to them.
    own_targets: Vec<Vec<f64>>,
    /// The part of each row, where a column says it.
    pub labels: Option<Vec<Part>>,
    /// How lines are fitted.
    pub scaling: Scaling,
    /// What was done to all values.
    pub transform: Transform,
}

impl NamedColumns {
    /// Reads them. `differences` says that targets are the change since the last known row.
    ///
    /// # Errors
    /// All that is wrong with the file and the names, underlined in the experiment.
    pub fn read(
        keys: &FileKeys,
        scaling: Scaling,
        differences: bool,
        reading: &Reading<'_>,
        tables: &FileTables,
    ) -> Result<NamedColumns, Diagnostics> {
        let at = keys.path.at;
        let path = reading.sources.folder(at).join(path_of(&keys.path.value));
        let unlabelled = reading.unlabelled;
        let file = tables.read(Path::new(&path), unlabelled);
        let file = file.map_err(|error| Diagnostics { list: vec![said(&error, error.help(), at)] })?;
        let mut found = Diagnostics::default();
        // Their units are fitted already.
        let scaling = if unlabelled { Scaling::None } else { scaling };
        let input_values = columns(&file, &keys.inputs, "inputs", scaling, &mut found);
        // Where targets are not known they are of use as what predictions begin from, and for nothing else.
        let known = !unlabelled || differences;
        let target_values =
            if known { columns(&file, &keys.targets, "targets", scaling, &mut found) } else { Vec::new() };
        let labels = reading.parts.and_then(|column| labels(&file, column, &mut found));
        let transform = keys.transform;
        let all = |values: Vec<Vec<f64>>, names: &[Placed<String>], found: &mut Diagnostics| {
            let of = |(column, name)| transformed(&file, column, name, transform, found);
            values.into_iter().zip(names).map(of).collect::<Vec<_>>()
        };
        if !found.is_empty() {
            return Err(found);
        }
        let input_values = all(input_values, &keys.inputs.value, &mut found);
        let own_targets = if transform == Transform::None { Vec::new() } else { target_values.clone() };
        let target_values = all(target_values, &keys.targets.value, &mut found);
        if !found.is_empty() {
            return Err(found);
        }
        let names = |names: &[Placed<String>]| names.iter().map(|name| name.value.clone()).collect();
        let (inputs, targets) = (names(&keys.inputs.value), names(&keys.targets.value));
        Ok(NamedColumns { file, inputs, targets, input_values, target_values, own_targets, labels, scaling, transform })
    }

    /// A target as the file has it.
    pub fn own_target(&self, channel: usize, row: usize) -> f64 {
        self.own_targets.get(channel).unwrap_or(&self.target_values[channel])[row]
    }

    /// A column in words, for an error.
    pub fn described(&self, name: &str) -> String {
        format!("{}: column `{name}`", self.file.file())
    }
}

/// What is wrong with a file, at the place of an experiment that names it.
fn said(error: &TableError, help: Option<String>, at: Span) -> Diagnostic {
    Diagnostic::new(Problem::Data(error.to_string()), at).help(help)
}

/// Adds what is wrong with a column, at the place of an experiment that names it.
pub fn report(file: &TableFile, error: &TableError, at: Span, found: &mut Diagnostics) {
    let help = if found.is_long() { None } else { file.help(error) };
    found.push(said(error, help, at));
}

/// The columns that a key names.
fn columns(
    file: &TableFile,
    names: &Placed<Vec<Placed<String>>>,
    key: &str,
    scaling: Scaling,
    found: &mut Diagnostics,
) -> Vec<Vec<f64>> {
    let Placed { value: names, at, .. } = names;
    if names.is_empty() {
        let problem = Problem::OutOfRange { key: key.into() };
        found.push(Diagnostic::new(problem, *at).label("expected at least one column"));
    }
    let (mut columns, mut known) = (Vec::new(), HashSet::new());
    for Placed { value: name, at, .. } in names {
        if !known.insert(name) {
            let problem = Problem::Duplicate { what: "column".into(), name: name.into() };
            found.push(Diagnostic::new(problem, *at));
        }
        match file.numbers(name) {
            Ok(values) if scaling != Scaling::None && values.iter().all(|value| *value == values[0]) => {
                let (path, column, value) = (file.file().to_string(), name.to_string(), values[0].to_string());
                let error = match file.merges(name) {
                    true => TableError::Merged { file: path, column, value },
                    false => TableError::Constant { file: path, column, value },
                };
                report(file, &error, *at, found);
            }
            Ok(values) => columns.push(values),
            Err(error) => report(file, &error, *at, found),
        }
    }
    columns
}

/// A column with something done to each of its values.
fn transformed(
    file: &TableFile,
    values: Vec<f64>,
    name: &Placed<String>,
    transform: Transform,
    found: &mut Diagnostics,
) -> Vec<f64> {
    if transform == Transform::None {
        return values;
    }
    let changed: Vec<f64> = values.iter().map_while(|value| transform.apply(*value)).collect();
    if let Some(value) = values.get(changed.len()) {
        let (place, Placed { value: name, at, .. }) = (file.place(changed.len()), name);
        let text = format!("{}: {place}, column `{name}`: {value} has no square root", file.file());
        found.push(Diagnostic::new(Problem::Data(text), *at));
    }
    changed
}

/// The parts that a column of the file says.
fn labels(file: &TableFile, column: &Placed<String>, found: &mut Diagnostics) -> Option<Vec<Part>> {
    let Placed { value: name, at, .. } = column;
    let texts = match file.texts(name) {
        Ok(texts) => texts,
        Err(error) => {
            report(file, &error, *at, found);
            return None;
        }
    };
    let known = || Part::ALL.into_iter().map(Part::as_str);
    let part = |text: &String| Part::ALL.into_iter().find(|part| part.as_str() == text);
    let parts: Vec<Part> = texts.iter().map_while(part).collect();
    if let Some(text) = texts.get(parts.len()) {
        let place = file.place(parts.len());
        let problem = Problem::Data(format!("{}: {place}, column `{name}`: unknown part `{text}`", file.file()));
        found.push(Diagnostic::new(problem, *at).help(suggest(text, known().collect::<Vec<_>>(), "")));
        return None;
    }
    Some(parts)
}

/// Rows as samples.
pub struct TableDataset {
    columns: NamedColumns,
    steps: usize,
    encode: Encode,
    /// Whether the last step alone counts.
    last: bool,
}

impl TableDataset {
    /// Reads the dataset of its keys.
    ///
    /// # Errors
    /// As [`NamedColumns::read`].
    pub fn read(keys: TableKeys, reading: &Reading<'_>, tables: &FileTables) -> Result<TableDataset, Diagnostics> {
        let mut found = Diagnostics::default();
        check_targets(&keys.file, &mut found);
        let columns = NamedColumns::read(&keys.file, keys.scale, false, reading, tables);
        if !found.is_empty() {
            found.list.extend(columns.err().map_or(Vec::new(), |more| more.list));
            return Err(found);
        }
        let (steps, encode) = (keys.steps, keys.encode);
        Ok(TableDataset { columns: columns?, steps, encode, last: keys.score == Score::Last })
    }
}

/// Refuses targets that go in: in one row they are known already.
fn check_targets(keys: &FileKeys, found: &mut Diagnostics) {
    let inputs: HashMap<&str, Span> = keys.inputs.value.iter().map(|input| (input.value.as_str(), input.at)).collect();
    for target in &keys.targets.value {
        if let Some(input) = inputs.get(target.value.as_str()) {
            let text = format!("column `{}` is an input and a target", target.value);
            let diagnostic = Diagnostic::new(Problem::Conflict(text), target.at).also(*input, "goes in here");
            let help = "leave it out of one of them; `kind = \"series\"` predicts a column from its own past";
            found.push(diagnostic.label("the network would be given what it is to find").help(help.to_string()));
        }
    }
}

/// All samples of a dataset, in units that are fitted to all of them.
pub fn draw_whole(dataset: &dyn Dataset, draws: &mut dyn Draws) -> Result<Data, DataError> {
    let all: Vec<usize> = (0..dataset.shape().samples).collect();
    let scale = dataset.fit(&all)?.unwrap_or_default();
    dataset.draw_in(&scale, draws)
}

impl Dataset for TableDataset {
    fn shape(&self) -> DataShape {
        let (inputs, targets) = (self.columns.inputs.clone(), self.columns.targets.clone());
        DataShape { steps: self.steps, samples: self.columns.file.rows(), inputs, targets }
    }

    fn draw(&self, draws: &mut dyn Draws) -> Result<Data, DataError> {
        draw_whole(self, draws)
    }

    fn content(&self) -> Option<String> {
        Some(self.columns.file.digest().to_string())
    }

    fn fit(&self, train: &[usize]) -> Result<Option<Scale>, DataError> {
        let columns = &self.columns;
        let line = |scaling: Scaling, name: &String, values: &Vec<f64>| {
            scaling.fit(&columns.described(name), train.iter().map(|row| values[*row]))
        };
        // Codes of spikes need numbers from 0 to 1.
        let of_inputs = if self.encode == Encode::Current { columns.scaling } else { Scaling::MinMax };
        let inputs = columns.inputs.iter().zip(&columns.input_values).map(|(name, v)| line(of_inputs, name, v));
        let targets =
            columns.targets.iter().zip(&columns.target_values).map(|(name, v)| line(columns.scaling, name, v));
        Ok(Some(Scale { inputs: inputs.collect::<Result<_, _>>()?, targets: targets.collect::<Result<_, _>>()? }))
    }

    fn draw_in(&self, scale: &Scale, draws: &mut dyn Draws) -> Result<Data, DataError> {
        scale.check(self.columns.inputs.len(), self.columns.targets.len())?;
        let rows = self.columns.file.rows();
        let by_row = |columns: &[Vec<f64>], lines: &[super::scale::Line]| -> Vec<f32> {
            let cells =
                (0..rows).flat_map(|row| columns.iter().zip(lines).map(move |(column, line)| (row, column, line)));
            cells.map(|(row, column, line)| line.apply(column[row]) as f32).collect()
        };
        let inputs = by_row(&self.columns.input_values, &scale.inputs);
        let targets = match self.columns.target_values.is_empty() {
            true => vec![0.0; rows * self.columns.targets.len()],
            false => by_row(&self.columns.target_values, &scale.targets),
        };
        let known = 0..self.columns.target_values.len();
        let own: Vec<f64> =
            (0..rows).flat_map(|row| known.clone().map(move |channel| self.columns.own_target(channel, row))).collect();
        let mut weights = Vec::new();
        if self.last && self.steps > 1 {
            weights = vec![0.0; (self.steps - 1) * rows];
            weights.resize(self.steps * rows, self.steps as f32);
        }
        Ok(Data {
            steps: self.steps,
            samples: rows,
            inputs: self.encode.sequences(&inputs, self.steps, draws),
            targets: targets.repeat(self.steps),
            weights,
            latest: Vec::new(),
            own: own.repeat(self.steps),
            units: Some(Arc::new(Units {
                inputs: if self.encode == Encode::Current { scale.inputs.clone() } else { Vec::new() },
                targets: scale.targets.clone(),
                difference: false,
                transform: self.columns.transform,
            })),
        })
    }

    fn parts(&self) -> Option<Vec<Part>> {
        self.columns.labels.clone()
    }

    fn predicted(&self) -> Vec<(usize, usize)> {
        let rows = self.columns.file.rows();
        (0..rows).map(|row| ((self.steps - 1) * rows + row, row)).collect()
    }
}
