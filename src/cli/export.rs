//! `runner export`: the tables of a result folder as CSV, or as event files that TensorBoard reads.

use super::{Exit, fail, out_of_order, print, refuse_unreadable};
use crate::store::export::{self, ExportError, Target};
use crate::store::files::check_inside;
use crate::store::lost::manifest_with;
use crate::store::{FILES, StoreError};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options of `runner export`.
#[derive(Args)]
pub struct ExportArgs {
    /// A result folder
    dir: PathBuf,
    /// What to write
    #[arg(long)]
    format: ExportFormat,
    /// Where to [default: DIR/csv or DIR/tensorboard]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ExportFormat {
    /// A file a table
    Csv,
    /// A folder a trial, with the loss and the metrics of each iteration
    Tensorboard,
}

impl ExportFormat {
    /// Its name, the tables that it needs, and what of a folder it is.
    fn parts(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            ExportFormat::Csv => ("csv", &FILES, "tables"),
            ExportFormat::Tensorboard => {
                ("tensorboard", &["trials.parquet", "history.parquet"], "losses of iterations")
            }
        }
    }
}

/// Exports a folder.
pub fn export(args: &ExportArgs) -> Exit {
    let (_, _, what) = args.format.parts();
    match written(args) {
        Ok(None) => {
            let out = args.out.as_deref().unwrap_or(&args.dir).display();
            let text = format!("{out} is not empty, and nothing in it is overwritten");
            fail(text, Some("`--out DIR` names another folder"), Exit::Request)
        }
        Ok(Some(files)) if files.is_empty() => {
            let text = format!("{} has no {what} yet; nothing was written", args.dir.display());
            fail(text, Some("a run makes its tables when it ends; `runner results` says how far it is"), Exit::Request)
        }
        Ok(Some(files)) => {
            files.iter().for_each(|file| print(&format!("{}\n", file.display())));
            Exit::Fine
        }
        Err(ExportError::CutShort(error)) => {
            out_of_order(&error).unwrap_or_else(|| fail(error, Some("the same command goes on"), Exit::Storage))
        }
        Err(ExportError::Refused(
            error @ (StoreError::Io { .. } | StoreError::Outside { .. } | StoreError::NotOurs { .. }),
        )) => {
            out_of_order(&error).unwrap_or_else(|| fail(error, Some("`--out DIR` names another folder"), Exit::Request))
        }
        Err(ExportError::Refused(error)) => refuse_unreadable(&error, "export` takes a folder"),
    }
}

/// The files that were written; none where something else is in their place.
fn written(args: &ExportArgs) -> Result<Option<Vec<PathBuf>>, ExportError> {
    let (name, tables, _) = args.format.parts();
    let manifest = manifest_with(&args.dir, tables)?;
    let out = args.out.clone().unwrap_or_else(|| args.dir.join(name));
    // A folder that has grown since then is exported to another place.
    let ended = manifest.finished.as_deref().unwrap_or("not finished");
    let target = Target::new(out, format!("{name} of experiment {}, {ended}\n", manifest.identity));
    match &args.out {
        None => check_inside(&args.dir, name)?,
        Some(_) if !target.is_free() => return Ok(None),
        Some(_) => {}
    }
    match args.format {
        ExportFormat::Csv => export::csv(&args.dir, &target),
        ExportFormat::Tensorboard => export::tensorboard(&args.dir, &target),
    }
    .map(Some)
}
