//! Records of the journal as the rows of each table.

use super::columns::{DATA_DIGEST, EXECUTOR, PARAMETERS};
use super::record::Record;
use polars::prelude::*;

/// The columns that an experiment gives its tables beside those that all have.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// Names of those that are recorded on the way.
    pub recorded: Vec<String>,
    /// Names of the dimensions that are swept.
    pub swept: Vec<String>,
}

fn column<T, Phantom: ?Sized>(name: &str, values: T) -> Column
where
    Series: NamedFrom<T, Phantom>,
{
    Series::new(name.into(), values).into()
}

/// The values of a dimension: numbers if all are, else text.
fn param(name: &str, records: &[Record]) -> Column {
    let value = |record: &Record| record.params.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    let values: Vec<Option<String>> = records.iter().map(value).collect();
    let title = format!("param.{name}");
    fn parsed<T: std::str::FromStr>(values: &[Option<String>]) -> Option<Vec<Option<T>>> {
        values
            .iter()
            .map(|value| value.as_ref().map(|value| value.parse().ok()).map_or(Some(None), |p| p.map(Some)))
            .collect()
    }
    if let Some(numbers) = parsed::<i64>(&values) {
        return column(&title, numbers);
    }
    if let Some(numbers) = parsed::<f64>(&values) {
        return column(&title, numbers);
    }
    let bare = |value: &String| value.trim_matches('"').to_string();
    column(&title, values.iter().map(|value| value.as_ref().map(bare)).collect::<Vec<Option<String>>>())
}

/// A row a trial.
pub fn trials_of(records: &[Record], columns: &Columns) -> PolarsResult<DataFrame> {
    let Columns { metrics, swept, .. } = columns;
    let text = |f: &dyn Fn(&Record) -> String| records.iter().map(f).collect::<Vec<String>>();
    let time = |name: &str, f: &dyn Fn(&Record) -> i64| {
        let micros = Int64Chunked::from_vec(name.into(), records.iter().map(f).collect());
        Column::from(micros.into_datetime(TimeUnit::Microseconds, None).into_series())
    };
    let status = |r: &Record| if r.completed() { "completed" } else { "failed" }.to_string();
    let mut columns = vec![
        column("trial", text(&|r| r.trial.clone())),
        column("config", text(&|r| r.config.clone())),
        column("seed", records.iter().map(|r| r.seed).collect::<Vec<u64>>()),
    ];
    columns.extend(swept.iter().map(|name| param(name, records)));
    if records.iter().any(|record| record.data_digest.is_some()) {
        columns
            .push(column(DATA_DIGEST, records.iter().map(|r| r.data_digest.clone()).collect::<Vec<Option<String>>>()));
    }
    columns.push(column(PARAMETERS, records.iter().map(|r| r.parameters).collect::<Vec<Option<u64>>>()));
    columns.push(column(EXECUTOR, records.iter().map(|r| r.executor.clone()).collect::<Vec<Option<String>>>()));
    columns.extend([
        column("status", text(&status)),
        column("error", records.iter().map(|r| r.error.clone()).collect::<Vec<Option<String>>>()),
        column("loss", records.iter().map(|r| r.loss.first().copied()).collect::<Vec<Option<f64>>>()),
    ]);
    for (i, name) in metrics.iter().enumerate() {
        columns.push(column(name, records.iter().map(|r| r.metrics.get(i).copied()).collect::<Vec<Option<f64>>>()));
    }
    columns.push(column("iterations", records.iter().map(|r| r.iterations as u64).collect::<Vec<u64>>()));
    columns.push(time("started", &|r| r.started));
    columns.push(time("finished", &|r| r.finished));
    let seconds = |r: &Record| r.duration_s.first().copied();
    columns.push(column("duration_s", records.iter().map(seconds).collect::<Vec<Option<f64>>>()));
    DataFrame::new_infer_height(columns)
}

/// A row an iteration that was recorded.
pub fn history_of(records: &[Record], metrics: &[String]) -> PolarsResult<DataFrame> {
    let width = metrics.len() + 1;
    let trials: Vec<&str> = records.iter().flat_map(|r| r.history.iter().map(|_| r.trial.as_str())).collect();
    let iterations: Vec<u64> = records.iter().flat_map(|r| r.history.iter().map(|&i| i as u64)).collect();
    let mut columns = vec![column("trial", trials), column("iteration", iterations)];
    for (i, name) in std::iter::once("loss").chain(metrics.iter().map(String::as_str)).enumerate() {
        let values = records.iter().flat_map(|r| r.history_values.iter().skip(i).step_by(width).copied());
        columns.push(column(name, values.collect::<Vec<f64>>()));
    }
    // Configurations may have different layers, so that a column may be missing for some trials.
    let mut watched: Vec<&str> = Vec::new();
    for (name, _) in records.iter().flat_map(|r| &r.watched) {
        if !watched.contains(&name.as_str()) {
            watched.push(name);
        }
    }
    for name in watched {
        let of = |r: &Record| -> Vec<Option<f64>> {
            match r.watched.iter().find(|(other, _)| other == name) {
                Some((_, values)) => values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect(),
                None => vec![None; r.history.len()],
            }
        };
        columns.push(column(name, records.iter().flat_map(of).collect::<Vec<Option<f64>>>()));
    }
    DataFrame::new_infer_height(columns)
}

#[derive(Default)]
struct TraceRows<'a> {
    trial: Vec<&'a str>,
    sample: Vec<u32>,
    step: Vec<u32>,
    channel: Vec<u32>,
    values: [Vec<Option<f64>>; 4],
}

/// A row a step and channel of the samples that are kept.
pub fn traces_of(records: &[Record]) -> PolarsResult<DataFrame> {
    let mut rows = TraceRows::default();
    for record in records {
        let Some(traces) = &record.traces else { continue };
        let sequences = [&traces.input, &traces.target, &traces.untrained, &traces.output];
        let widths = sequences.map(|values| values.len() / (traces.steps * traces.samples).max(1));
        for (row, sample, step) in
            (0..traces.samples).flat_map(|s| (0..traces.steps).map(move |t| (s * traces.steps + t, s, t)))
        {
            for channel in 0..widths.into_iter().max().unwrap_or(0) {
                rows.trial.push(&record.trial);
                rows.sample.push(sample as u32);
                rows.step.push(step as u32);
                rows.channel.push(channel as u32);
                for ((to, from), width) in rows.values.iter_mut().zip(sequences).zip(widths) {
                    to.push((channel < width).then(|| from[row * width + channel]).filter(|value| !value.is_nan()));
                }
            }
        }
    }
    let [input, target, untrained, output] = rows.values;
    DataFrame::new_infer_height(vec![
        column("trial", rows.trial),
        column("sample", rows.sample),
        column("step", rows.step),
        column("channel", rows.channel),
        column("input", input),
        column("target", target),
        column("untrained", untrained),
        column("output", output),
    ])
}

/// A row a trial and baseline.
pub fn baselines_of(records: &[Record], columns: &Columns) -> PolarsResult<DataFrame> {
    let rows = || records.iter().flat_map(|r| r.baselines.iter().map(move |(name, metrics)| (r, name, metrics)));
    let mut table = vec![
        column("trial", rows().map(|(r, ..)| r.trial.as_str()).collect::<Vec<&str>>()),
        column("baseline", rows().map(|(_, name, _)| name.as_str()).collect::<Vec<&str>>()),
    ];
    for (i, name) in columns.recorded.iter().enumerate() {
        let name = name.split_once('.').map_or(name.as_str(), |(_, metric)| metric);
        let values = rows().map(|(.., metrics)| metrics.get(i).copied());
        table.push(column(name, values.collect::<Vec<Option<f64>>>()));
    }
    DataFrame::new_infer_height(table)
}

/// A row a step and neuron of the sample whose states are kept.
pub fn layers_of(records: &[Record]) -> PolarsResult<DataFrame> {
    let (mut trial, mut layer, mut neuron, mut step) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut mem, mut spk): (Vec<Option<f32>>, Vec<Option<f32>>) = (Vec::new(), Vec::new());
    for (record, trace) in records.iter().flat_map(|r| r.layers.iter().map(move |trace| (r, trace))) {
        let cells = trace.mem.len().max(trace.spk.len());
        for cell in 0..cells {
            trial.push(record.trial.as_str());
            layer.push(trace.layer.as_str());
            neuron.push((cell % trace.neurons) as u32);
            step.push((cell / trace.neurons) as u32);
            mem.push(trace.mem.get(cell).copied());
            spk.push(trace.spk.get(cell).copied());
        }
    }
    let sample = vec![0u32; trial.len()];
    DataFrame::new_infer_height(vec![
        column("trial", trial),
        column("sample", sample),
        column("layer", layer),
        column("neuron", neuron),
        column("step", step),
        column("mem", mem),
        column("spk", spk),
    ])
}
