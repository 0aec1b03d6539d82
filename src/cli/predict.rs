//! `runner predict`: the kept weights of a trial on new rows, in the targets' own units.

use super::{Exit, fail, out_of_order, print, refuse, refuse_unreadable};
use crate::registry::Crate;
use crate::spec::source::{Sources, open, read_large, text_of};
use crate::store::files::replace_tidily;
use crate::store::lost::manifest_with;
use crate::store::ranking::best;
use crate::store::tables::summary;
use crate::store::{StoreError, SummaryRow, parquet as stored, weights_file};
use crate::study::predict::{PredictError, Predictions, predict as apply};
use crate::study::replay;
use clap::Args;
use dfdx::prelude::Cpu;
use polars::prelude::*;
use std::path::{Path, PathBuf};

/// Options of `runner predict`.
#[derive(Args)]
pub struct PredictArgs {
    /// The result folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Rows to predict, with the columns that the experiment reads as inputs: .csv, .parquet or .npy
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Where predictions go: .csv, .parquet, or without an ending both [default: DIR/predictions]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The trial whose weights are used, or how its id begins [default: the best]
    #[arg(long, value_name = "ID")]
    trial: Option<String>,
}

/// Predicts, and writes what was predicted.
pub fn predict(args: &PredictArgs, crates: &[Crate]) -> Exit {
    let read = manifest_with(&args.dir, &["trials.parquet"])
        .and_then(|manifest| Ok((summary(&args.dir, &manifest)?, manifest)));
    let (rows, manifest) = match read {
        Ok(read) => read,
        Err(error) => return refuse_unreadable(&error, "predict` takes a folder"),
    };
    let kept: Vec<SummaryRow> =
        rows.into_iter().filter(|row| args.dir.join(weights_file(&row.trial)).exists()).collect();
    let trial = match &args.trial {
        None => best(&kept, &manifest),
        Some(id) => kept.iter().find(|row| row.trial.starts_with(id.as_str())),
    };
    let Some(trial) = trial else {
        let what = args.trial.as_ref().map_or("no trial".into(), |id| format!("no trial `{id}`"));
        let text = format!("{} has weights of {what}", args.dir.display());
        let help = "`[run] save` says which weights are stored; trials.parquet lists the trials";
        return fail(text, Some(help), Exit::Request);
    };
    let mut sources = Sources::default();
    let registry = match replay::registry(&manifest, crates, &mut sources) {
        Ok(registry) => registry,
        Err(error) => return fail(error, None, Exit::Request),
    };
    match apply::<Cpu>(&args.dir, &manifest, trial, &text_of(&args.data), &registry, &mut sources) {
        Ok(predictions) => write(args, trial, &predictions),
        Err(PredictError::Request(found)) => refuse(&found, &sources),
        Err(error) => fail(error, None, Exit::TrialFailed),
    }
}

/// Whether a file is there that is no predictions of ours.
fn is_foreign(file: &Path) -> bool {
    match file.extension() {
        Some(ending) if ending.eq_ignore_ascii_case("csv") => {
            read_large(file).is_ok_and(|bytes| !bytes.starts_with(b"row,"))
        }
        _ => open(file).is_ok_and(|file| !stored::read(file, Some(&["row"])).is_ok_and(|table| table.width() == 1)),
    }
}

fn write(args: &PredictArgs, trial: &SummaryRow, predictions: &Predictions) -> Exit {
    let out = args.out.clone().unwrap_or_else(|| args.dir.join("predictions"));
    let files = match out.extension().map(|ending| ending.to_string_lossy().to_lowercase()).as_deref() {
        Some("csv" | "parquet") => vec![out],
        _ => ["parquet", "csv"].map(|ending| ended(&out, ending)).to_vec(),
    };
    if let Some(file) = files.iter().find(|file| is_foreign(file)) {
        let text = format!("{} is there, and it holds no predictions; it is not overwritten", file.display());
        return fail(text, Some("`--out FILE` names another file"), Exit::Request);
    }
    for file in &files {
        let written = match file.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("csv") => replace_tidily(file, csv(predictions).as_bytes()),
            _ => parquet(predictions, file).and_then(|bytes| replace_tidily(file, &bytes)),
        };
        if let Err(error) = written {
            let help = "`--out FILE` names a file that can be written";
            return out_of_order(&error).unwrap_or_else(|| fail(error, Some(help), Exit::Storage));
        }
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let (n, id, seed) = (predictions.rows.len(), &trial.trial, trial.seed);
    print(&format!("{n} predictions of trial {id} (seed {seed}): {}\n", names.join(", ")));
    Exit::Fine
}

/// A path with an ending added to its name.
fn ended(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    name.into()
}

fn csv(predictions: &Predictions) -> String {
    let quote = |name: &String| {
        if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.clone() }
    };
    let names: Vec<String> = predictions.targets.iter().map(quote).collect();
    let mut text = format!("row,{}\n", names.join(","));
    for (row, values) in &predictions.rows {
        let values: Vec<String> = values.iter().map(f64::to_string).collect();
        text += &format!("{row},{}\n", values.join(","));
    }
    text
}

fn parquet(predictions: &Predictions, file: &Path) -> Result<Vec<u8>, StoreError> {
    let rows: Vec<u64> = predictions.rows.iter().map(|(row, _)| *row as u64).collect();
    let mut columns: Vec<Column> = vec![Series::new("row".into(), rows).into()];
    for (i, name) in predictions.targets.iter().enumerate() {
        let values: Vec<f64> = predictions.rows.iter().map(|(_, values)| values[i]).collect();
        columns.push(Series::new(name.as_str().into(), values).into());
    }
    let mut bytes = Vec::new();
    let failed = |error: PolarsError| StoreError::Table { dir: file.into(), error: error.to_string() };
    let mut table = DataFrame::new_infer_height(columns).map_err(failed)?;
    ParquetWriter::new(&mut bytes).finish(&mut table).map_err(failed)?;
    Ok(bytes)
}
