//! `runner diff`: what differs between two result folders: configuration, environment, and results, seed by seed.

use super::summary::{aligned, figure};
use super::{Exit, print, refuse_unreadable};
use crate::statistics::pairs::{Paired, advice, judged, paired, shown};
use crate::statistics::{Mean, median_of};
use crate::store::lost::manifest_with;
use crate::store::manifest::Manifest;
use crate::store::ranking::{by_seed, described, rank};
use crate::store::{StoreError, tables};
use crate::study::explain::{changes, flattened};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Options of `runner diff`.
#[derive(Args)]
pub struct DiffArgs {
    /// A result folder
    a: PathBuf,
    /// Another
    b: PathBuf,
}

/// A result folder as far as it is compared.
struct Side {
    manifest: Manifest,
    /// Values of the best configuration, or of the only one.
    params: Vec<(String, String)>,
    /// Its loss and metrics by seed.
    by_seed: Vec<BTreeMap<u64, f64>>,
}

/// A quantity over common seeds.
struct SideBySide {
    name: String,
    medians: [Option<f64>; 2],
    test: Paired,
}

/// Compares two folders.
pub fn diff(args: &DiffArgs) -> Exit {
    match (side(&args.a), side(&args.b)) {
        (Ok(a), Ok(b)) => {
            print(&format!("configuration\n{}", listed(&changes(&spec(&a), &spec(&b)))));
            print(&format!("\nenvironment\n{}", listed(&changes(&environment(&a), &environment(&b)))));
            print(&format!("\nresults\n{}", results(&a, &b)));
            Exit::Fine
        }
        (Err(error), _) | (_, Err(error)) => refuse_unreadable(&error, "diff` takes two folders"),
    }
}

fn side(dir: &Path) -> Result<Side, StoreError> {
    let manifest = manifest_with(dir, &["trials.parquet"])?;
    let rows = tables::summary(dir, &manifest)?;
    let best = rank(&rows, &manifest).into_iter().next();
    let by_seed = best.as_ref().map_or(Vec::new(), |best| by_seed(best, &rows, &manifest));
    Ok(Side { manifest, params: best.map_or(Vec::new(), |best| best.params), by_seed })
}

fn spec(side: &Side) -> BTreeMap<String, String> {
    flattened(&side.manifest.spec)
}

fn environment(side: &Side) -> BTreeMap<String, String> {
    let value = serde_json::to_value(&side.manifest.environment).unwrap_or_default();
    let fields = value.as_object().cloned().unwrap_or_default();
    fields.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

fn listed(changes: &[String]) -> String {
    if changes.is_empty() { "  no difference\n".into() } else { changes.iter().map(|c| format!("  {c}\n")).collect() }
}

/// Every quantity that both have, over the seeds that both have.
fn results(a: &Side, b: &Side) -> String {
    let mut text = String::new();
    for (name, side) in [("A", a), ("B", b)].iter().filter(|(_, side)| !side.params.is_empty()) {
        let params = described(&side.params);
        text += &format!("  of {name} the best configuration, which was chosen by these very seeds: {params}\n");
    }
    let compared: Vec<SideBySide> = quantities(a, b)
        .into_iter()
        .filter_map(|(name, of_a, of_b)| {
            let (in_a, in_b) = (a.by_seed.get(of_a)?, b.by_seed.get(of_b)?);
            let pairs: Vec<(f64, f64)> =
                in_a.iter().filter_map(|(seed, value)| Some((*value, *in_b.get(seed)?))).collect();
            let test = paired(&pairs, of_a.checked_sub(1).map_or(Mean::Geometric, |i| a.manifest.metrics[i].mean()))?;
            let medians = [median_of(pairs.iter().map(|pair| pair.0)), median_of(pairs.iter().map(|pair| pair.1))];
            Some(SideBySide { name, medians, test })
        })
        .collect();
    if compared.is_empty() {
        return text + "  no seed completed in both\n";
    }
    let judged = judged(&compared.iter().map(|one| Some(&one.test)).collect::<Vec<_>>());
    let heading = ["", "seeds", "median of A", "median of B", "B against A", "p", "verdict", "correlation"];
    let mut lines = vec![heading.map(String::from).to_vec()];
    for (SideBySide { name, medians, test: one }, judged) in compared.iter().zip(&judged) {
        lines.push(vec![
            format!("  {name}"),
            one.n.to_string(),
            figure(medians[0]),
            figure(medians[1]),
            one.change(),
            shown(judged.p),
            judged.verdict.to_string(),
            one.correlation.map_or("-".into(), |r| format!("{r:.2}")),
        ]);
    }
    let seeds = compared.iter().zip(&judged).map(|(one, judged)| (one.test.n, judged.verdict));
    let advice = advice(seeds).map_or(String::new(), |advice| format!("  {advice}\n"));
    text + &aligned(&lines)
        + &advice
        + "  B against A: geometric mean of ratios (x), or mean of differences, seed by seed; p: sign-flip test, Holm's\n  \
           correction for all rows; correlation: of A and B over seeds, what comparing seed by seed gains from\n"
}

/// Names of the loss and the metrics that both have, with their places in a row.
fn quantities(a: &Side, b: &Side) -> Vec<(String, usize, usize)> {
    let both = a.manifest.metrics.iter().enumerate().filter_map(|(i, metric)| {
        let j = b.manifest.metrics.iter().position(|other| other.name == metric.name)?;
        Some((metric.name.clone(), i + 1, j + 1))
    });
    let loss = (a.manifest.loss.name == b.manifest.loss.name).then(|| ("loss".to_string(), 0, 0));
    loss.into_iter().chain(both).collect()
}
