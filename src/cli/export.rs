//! `runner export`: the tables of a result folder as CSV, or as event files that TensorBoard reads.

use super::{Exit, fail, full, print, refuse_unreadable};
use crate::store::files::check_inside;
use crate::store::lost::manifest_with;
use crate::store::{FILES, StoreError, export};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options of `runner export`.
#[derive(Args)]
pub struct ExportArgs {
    /// A result folder
    dir: PathBuf,
    /// What to write
    #[arg(long)]
    format: Format,
    /// Where to [default: DIR/csv or DIR/tensorboard]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A file a table
    Csv,
    /// A folder a trial, with the loss and the metrics of each iteration
    Tensorboard,
}

/// Exports a folder.
pub fn export(args: &ExportArgs) -> Exit {
    if let Some(out) =
        args.out.as_ref().filter(|out| std::fs::read_dir(out).is_ok_and(|mut files| files.next().is_some()))
    {
        let text = format!("{} is not empty, and nothing in it is overwritten", out.display());
        return fail(text, Some("`--out DIR` names another folder"), Exit::Request);
    }
    let out = |name: &str| args.out.clone().unwrap_or_else(|| args.dir.join(name));
    let (name, what) = match args.format {
        Format::Csv => ("csv", "tables"),
        Format::Tensorboard => ("tensorboard", "losses of iterations"),
    };
    let inside = || if args.out.is_none() { check_inside(&args.dir, name) } else { Ok(()) };
    let tables = match args.format {
        Format::Csv => &FILES[..],
        Format::Tensorboard => &["trials.parquet", "history.parquet"],
    };
    let written = manifest_with(&args.dir, tables).and_then(|_| inside()).and_then(|()| match args.format {
        Format::Csv => export::csv(&args.dir, &out(name)),
        Format::Tensorboard => export::tensorboard(&args.dir, &out(name)),
    });
    match written {
        Ok(files) if files.is_empty() => {
            let text = format!("{} has no {what} yet; nothing was written", args.dir.display());
            fail(text, Some("a run makes its tables when it ends; `runner results` says how far it is"), Exit::Request)
        }
        Ok(files) => {
            files.iter().for_each(|file| print(&format!("{}\n", file.display())));
            Exit::Fine
        }
        Err(error @ (StoreError::Io { .. } | StoreError::Outside { .. } | StoreError::NotOurs { .. })) => {
            full(&error).unwrap_or_else(|| fail(error, Some("`--out DIR` names another folder"), Exit::Request))
        }
        Err(error) => refuse_unreadable(&error, "export` takes a folder"),
    }
}
