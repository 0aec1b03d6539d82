//! Plots and the page of a result folder, made from its tables and manifest alone.
//!
//! `tables` reads, `baselines` fits what the network is held against, `statistics` sums seeds up, `plots` draws, and
//! `page` fills the template. Nothing here knows how a trial is trained.

mod baselines;
mod page;
mod plots;
mod statistics;
mod tables;

use crate::store::{StoreError, read_manifest, replace};
use std::path::{Path, PathBuf};
use tables::Results;

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is no manifest.
    #[error("{} is not a result folder: it has no manifest.json", .0.display())]
    NoResults(PathBuf),
    /// A file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table lacks something.
    #[error("{}: {error}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// A plot cannot be drawn.
    #[error("plot {name}: {error}")]
    Plot {
        /// Which.
        name: String,
        /// Why.
        error: String,
    },
    /// The page cannot be filled in.
    #[error("page: {0}")]
    Page(String),
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// All files, relative to the folder.
    pub files: Vec<String>,
}

/// A plot with its words.
#[derive(Debug)]
struct Figure {
    /// Name of its file, without the ending.
    name: String,
    /// What it shows, as a heading and for those who cannot see it.
    title: String,
    /// How to read it.
    caption: String,
    /// The picture.
    svg: String,
}

/// Makes plots and page of a result folder.
pub fn write(dir: &Path) -> Result<Written, ReportError> {
    let manifest = read_manifest(dir)?.ok_or_else(|| ReportError::NoResults(dir.into()))?;
    let results = Results::read(dir)?;
    let comparison = baselines::compare(&results);
    let figures = plots::all(&manifest, &results, &comparison)?;
    let plots = dir.join("plots");
    std::fs::create_dir_all(&plots).map_err(|error| StoreError::Io { path: plots.clone(), error })?;
    let mut files = Vec::new();
    for figure in &figures {
        let name = format!("plots/{}.svg", figure.name);
        replace(&dir.join(&name), figure.svg.as_bytes())?;
        files.push(name);
    }
    let page = dir.join("report.html");
    replace(&page, page::fill(&manifest, &results, &comparison, &figures)?.as_bytes())?;
    files.push("report.html".into());
    Ok(Written { page, files })
}
