//! `kind = "table"`: a row of a file is a sample, held for some steps.

use super::encode::Encode;
use super::file::{TableError, TableFile, Tables};
use super::scale::{Scale, Scaling, Transform};
use super::split::{self, Part};
use super::{Data, DataError, DataShape, Dataset, Units};
use crate::random::Draws;
use crate::spec::Component;
use crate::spec::diagnostic::{Diagnostic, Diagnostics, Problem, suggest};
use crate::spec::fields::{Field, Type};
use crate::spec::source::{Sources, Span, path_of};
use crate::spec::tree::{Node, Table, Value};
use std::path::Path;
use std::sync::Arc;

/// A key that nobody writes: rows whose targets are not known, as `runner predict` reads them.
pub const UNLABELLED: &str = "unlabelled";

/// The keys of every dataset that is read from a file.
pub fn file_fields() -> Vec<Field> {
    let list = || Type::List(Box::new(Type::Text));
    vec![
        Field::required("path", Type::Path, "the file: .csv with a header, .parquet or .npy"),
        Field::required("inputs", list(), "columns that go in"),
        Field::required("targets", list(), "columns that are to come out"),
        Transform::field(),
    ]
}

/// The keys that it takes.
pub fn fields() -> Vec<Field> {
    let mut fields = file_fields();
    let scores = Type::Choice(["last", "all"].map(String::from).to_vec());
    fields.extend([
        Field::required("steps", Type::at_least(1), "time steps for which a row is held"),
        Encode::field(),
        Field::default(
            "score",
            scores,
            Value::Text("last".into()),
            "steps that count in losses and metrics: the `last`, which is the prediction, or `all`",
        ),
        Scaling::field(),
    ]);
    fields
}

/// Columns that an experiment names, as numbers.
pub struct Columns {
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

impl Columns {
    /// Reads them. The path is relative to the file in which it stands.
    ///
    /// # Errors
    /// All that is wrong with the file and the names, underlined in the experiment.
    pub fn read(component: &Component, sources: &Sources, tables: &Tables) -> Result<Columns, Diagnostics> {
        let args = &component.args;
        let at = args.get("path").map_or(component.span, |node| node.span);
        let path = sources.folder(at).join(path_of(&args.string("path")));
        let file = tables
            .read(Path::new(&path), args.get(UNLABELLED).is_some())
            .map_err(|error| Diagnostics { list: vec![said(&error, at)] })?;
        let scaling = Scaling::read(&args.string("scale"));
        let mut found = Diagnostics::default();
        let unlabelled = args.get(UNLABELLED).is_some();
        // Their units are fitted already.
        let scaling = if unlabelled { Scaling::None } else { scaling };
        let input_values = columns(&file, args, "inputs", scaling, &mut found);
        // Where targets are not known they are of use as what predictions begin from, and for nothing else.
        let begins = matches!(args.get("difference").map(|node| &node.value), Some(Value::Bool(true)));
        let known = !unlabelled || begins;
        let target_values = if known { columns(&file, args, "targets", scaling, &mut found) } else { Vec::new() };
        let labels = split::column(component).and_then(|node| labels(&file, node, &mut found));
        let transform = Transform::read(&args.string("transform"));
        let transformed = |values: Vec<Vec<f64>>, key: &str, found: &mut Diagnostics| {
            let of = |(column, node): (Vec<f64>, &Node)| transformed(&file, column, node, transform, found);
            values.into_iter().zip(args.nodes(key)).map(of).collect::<Vec<_>>()
        };
        if !found.is_empty() {
            return Err(found);
        }
        let input_values = transformed(input_values, "inputs", &mut found);
        let own_targets = if transform == Transform::None { Vec::new() } else { target_values.clone() };
        let target_values = transformed(target_values, "targets", &mut found);
        if !found.is_empty() {
            return Err(found);
        }
        let names = |key: &str| args.nodes(key).iter().filter_map(Node::as_text).map(String::from).collect();
        let (inputs, targets) = (names("inputs"), names("targets"));
        Ok(Columns { file, inputs, targets, input_values, target_values, own_targets, labels, scaling, transform })
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
pub fn said(error: &TableError, at: Span) -> Diagnostic {
    Diagnostic::new(Problem::Data(error.to_string()), at).help(error.help())
}

/// The columns that a key names.
fn columns(file: &TableFile, args: &Table, key: &str, scaling: Scaling, found: &mut Diagnostics) -> Vec<Vec<f64>> {
    let names = args.nodes(key);
    if let Some(node) = args.get(key).filter(|_| names.is_empty()) {
        let problem = Problem::OutOfRange { key: key.into() };
        found.push(Diagnostic::new(problem, node.span).label("expected at least one column"));
    }
    let mut columns = Vec::new();
    for (i, node) in names.iter().enumerate() {
        let name = node.as_text().unwrap_or("");
        if names[..i].iter().any(|other| other.as_text() == Some(name)) {
            let problem = Problem::Duplicate { what: "column".into(), name: name.into() };
            found.push(Diagnostic::new(problem, node.span));
        }
        match file.numbers(name) {
            Ok(values) if scaling != Scaling::None && values.iter().all(|value| *value == values[0]) => {
                let file_merges = file.merges(name);
                let (file, column, value) = (file.file().to_string(), name.to_string(), values[0].to_string());
                let error = match file_merges {
                    true => TableError::Merged { file, column, value },
                    false => TableError::Constant { file, column, value },
                };
                found.push(said(&error, node.span));
            }
            Ok(values) => columns.push(values),
            Err(error) => found.push(said(&error, node.span)),
        }
    }
    columns
}

/// A column with something done to each of its values.
fn transformed(
    file: &TableFile,
    values: Vec<f64>,
    node: &Node,
    transform: Transform,
    found: &mut Diagnostics,
) -> Vec<f64> {
    let changed: Vec<f64> = values.iter().map_while(|value| transform.apply(*value)).collect();
    if let Some(value) = values.get(changed.len()) {
        let (place, name) = (file.place(changed.len()), node.as_text().unwrap_or(""));
        let text = format!("{}: {place}, column `{name}`: {value} has no square root", file.file());
        found.push(Diagnostic::new(Problem::Data(text), node.span));
    }
    changed
}

/// The parts that a column of the file says.
fn labels(file: &TableFile, node: &Node, found: &mut Diagnostics) -> Option<Vec<Part>> {
    let name = node.as_text()?;
    let texts = match file.texts(name) {
        Ok(texts) => texts,
        Err(error) => {
            found.push(said(&error, node.span));
            return None;
        }
    };
    let known = || Part::ALL.into_iter().map(Part::as_str);
    let part = |text: &String| Part::ALL.into_iter().find(|part| part.as_str() == text);
    let parts: Vec<Part> = texts.iter().map_while(part).collect();
    if let Some(text) = texts.get(parts.len()) {
        let place = file.place(parts.len());
        let problem = Problem::Data(format!("{}: {place}, column `{name}`: unknown part `{text}`", file.file()));
        found.push(Diagnostic::new(problem, node.span).help(suggest(text, known().collect::<Vec<_>>(), "")));
        return None;
    }
    Some(parts)
}

/// Rows as samples.
pub struct TableDataset {
    columns: Columns,
    steps: usize,
    encode: Encode,
    /// Whether the last step alone counts.
    last: bool,
}

impl TableDataset {
    /// Reads the dataset of a checked table of keys.
    ///
    /// # Errors
    /// As [`Columns::read`].
    pub fn read(component: &Component, sources: &Sources, tables: &Tables) -> Result<TableDataset, Diagnostics> {
        let args = &component.args;
        let mut found = Diagnostics::default();
        check_targets(args, &mut found);
        let columns = Columns::read(component, sources, tables);
        if !found.is_empty() {
            found.list.extend(columns.err().map_or(Vec::new(), |more| more.list));
            return Err(found);
        }
        Ok(TableDataset {
            columns: columns?,
            steps: args.whole("steps"),
            encode: Encode::read(&args.string("encode")),
            last: args.string("score") == "last",
        })
    }
}

/// Refuses targets that go in: in one row they are known already.
fn check_targets(args: &Table, found: &mut Diagnostics) {
    for target in args.nodes("targets") {
        if let Some(input) = args.nodes("inputs").iter().find(|input| input.value == target.value) {
            let text = format!("column `{}` is an input and a target", target.as_text().unwrap_or(""));
            let diagnostic = Diagnostic::new(Problem::Conflict(text), target.span).also(input.span, "goes in here");
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
