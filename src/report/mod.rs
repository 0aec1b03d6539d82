//! Plots and the page of a result folder, made from its tables and manifest alone.
//!
//! `tables` reads, `baselines` fits what the network is held against, `statistics` sums seeds up, `plots` draws, and
//! `page` fills the template. Nothing here knows how a trial is trained.

mod baselines;
mod configurations;
pub mod contrast;
pub mod neuron;
mod page;
mod plots;
pub mod seeds;
mod tables;
mod words;

use crate::store::files::{create_inside, replace_tidily};
use crate::store::lost::manifest_with;
use crate::store::manifest::{Manifest, StudyStatus};
use crate::store::ranking::{Ranked, Requested};
use crate::store::{FILES, PAGE, PLOTS, StoreError, lock};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tables::{Results, TrialRow};

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was not written to its end.
    #[error(transparent)]
    CutShort(StoreError),
    /// Its run was stopped before it made tables.
    #[error("{} has no tables yet: its run was stopped before the end", .0.display())]
    Unfinished(PathBuf),
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

/// What a page says of all trials together.
struct Report {
    /// Every trial, as the page lists it.
    trials: Vec<TrialRow>,
    /// Configurations of a sweep, the best first; none without one.
    ranked: Vec<Ranked>,
    /// What is said of the number of seeds.
    seeds: Vec<String>,
    /// Seeds of what is shown, where results decided on them: an earlier request may have left others.
    shown: Option<BTreeSet<u64>>,
}

impl Report {
    fn new(manifest: &Manifest, results: &Results) -> Report {
        let mut ranked = results.ranked(manifest);
        let seeds = seeds::notes(manifest, &ranked);
        let asked = Requested::new(manifest);
        let shown =
            ranked.first().filter(|_| manifest.entrants.is_some()).map(|first| first.by_seed.keys().copied().collect());
        if manifest.swept.is_empty() {
            ranked.clear();
        }
        let bare = |trial: &TrialRow| TrialRow { history: Vec::new(), ..trial.clone() };
        let counted = results.trials.iter().filter(|trial| asked.of(&trial.config, trial.seed).is_some());
        Report { trials: counted.map(bare).collect(), ranked, seeds, shown }
    }
}

/// Makes plots and page of a result folder.
pub fn write(dir: &Path) -> Result<Written, ReportError> {
    write_as(dir, &manifest_with(dir, &FILES)?)
}

/// Makes plots and page of a result folder of which a manifest says what it is.
pub fn write_as(dir: &Path, manifest: &Manifest) -> Result<Written, ReportError> {
    if !dir.join("trials.parquet").exists() {
        return Err(ReportError::Unfinished(dir.into()));
    }
    let all = Results::read(dir, manifest)?;
    let study = Report::new(manifest, &all);
    // Of a sweep the figures show the best configuration, which alone has one story to tell.
    let results = match study.ranked.first() {
        Some(best) => all.of(&best.configs),
        None => all,
    };
    let results = match &study.shown {
        Some(seeds) => results.on(seeds),
        None => results,
    };
    let comparison = baselines::compare(manifest, &results);
    let figures = plots::all(manifest, &results, &comparison)?;
    // A run that makes its own page says how it ended.
    let running = manifest.status == StudyStatus::Running && lock::holder(dir).is_some();
    let page = page::fill(manifest, &study, &results, &comparison, &figures, running)?;
    create_inside(dir, PLOTS)?;
    let mut files = Vec::new();
    let figures = figures.into_iter().map(|figure| (format!("{PLOTS}/{}.svg", figure.name), figure.svg));
    for (name, text) in figures.chain([(PAGE.to_string(), page)]) {
        let failed = if files.is_empty() { ReportError::Store } else { ReportError::CutShort };
        replace_tidily(&dir.join(&name), text.as_bytes()).map_err(failed)?;
        files.push(name);
    }
    Ok(Written { page: dir.join(PAGE), files })
}
