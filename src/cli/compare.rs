//! `runner compare`: every configuration of a study against a named one, over the seeds that both have.

use super::summary::{aligned, figure};
use super::{Exit, fail, print, refuse_unreadable};
use crate::report::pairs::{LEVEL, Paired, holm, paired, verdict};
use crate::store::manifest::Manifest;
use crate::store::ranking::{Ranked, described, objective_of, rank};
use crate::store::{SummaryRow, manifest_of, tables};
use clap::Args;
use std::collections::HashMap;
use std::path::PathBuf;

/// Options of `runner compare`.
#[derive(Args)]
pub struct CompareArgs {
    /// The result folder of a sweep
    dir: PathBuf,
    /// The configuration that the others are held against, for example hidden=32,optimizer.lr=0.001
    #[arg(long, value_name = "KEY=VALUE,...")]
    baseline: String,
}

/// Configurations that are listed; of more only the first are.
const LISTED: usize = 50;

/// Compares the configurations of a study with one of them.
pub fn compare(args: &CompareArgs) -> Exit {
    let read = manifest_of(&args.dir).and_then(|manifest| Ok((manifest, tables::summary(&args.dir)?)));
    let (manifest, rows) = match read {
        Ok(read) => read,
        Err(error) => return refuse_unreadable(&error, "compare` takes a folder"),
    };
    let ranked = rank(&rows, &manifest);
    let named: Vec<&Ranked> = ranked.iter().filter(|one| is_named(one, &args.baseline)).collect();
    match named.as_slice() {
        [baseline] => {
            print(&table(baseline, &ranked, &rows, &manifest));
            Exit::Fine
        }
        several => {
            let text = format!("`{}` names {} of {} configurations", args.baseline, several.len(), ranked.len());
            let some: Vec<String> =
                ranked.iter().take(3).map(|one| described(&one.params).replace(" = ", "=")).collect();
            let help = format!("the baseline is one of them, such as {}", some.join("; "));
            fail(text, Some(&help), Exit::Request)
        }
    }
}

/// Whether a configuration has every value that is named. Numbers are compared as numbers.
fn is_named(one: &Ranked, names: &str) -> bool {
    let same = |a: &str, b: &str| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b.trim_matches('"'),
    };
    names.split(',').all(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        one.params.iter().any(|(key, held)| key == name.trim() && same(held, value.trim()))
    })
}

/// The objective of each configuration against that of the baseline.
fn table(baseline: &Ranked, ranked: &[Ranked], rows: &[SummaryRow], manifest: &Manifest) -> String {
    // Of several folds a seed has their mean.
    let of = |configs: &[String]| -> HashMap<u64, f64> {
        let mut sums: HashMap<u64, (f64, f64)> = HashMap::new();
        for row in rows.iter().filter(|row| configs.contains(&row.config)) {
            let Some(value) = objective_of(row, manifest) else { continue };
            let (sum, n) = sums.entry(row.seed).or_default();
            (*sum, *n) = (*sum + value, *n + 1.0);
        }
        sums.into_iter().map(|(seed, (sum, n))| (seed, sum / n)).collect()
    };
    let base = of(&baseline.configs);
    let tests: Vec<(&Ranked, Option<Paired>)> = ranked
        .iter()
        .filter(|one| one.configs != baseline.configs)
        .map(|one| {
            let pairs = of(&one.configs).into_iter().filter_map(|(seed, value)| Some((seed, *base.get(&seed)?, value)));
            let mut pairs: Vec<(u64, f64, f64)> = pairs.collect();
            pairs.sort_by_key(|pair| pair.0);
            (one, paired(&pairs.into_iter().map(|(_, base, value)| (base, value)).collect::<Vec<_>>()))
        })
        .collect();
    // All of them are corrected for, also those that are not listed.
    let corrected = holm(&tests.iter().map(|(_, test)| test.as_ref().map_or(1.0, |test| test.p)).collect::<Vec<_>>());
    let objective = &manifest.objective.name;
    let mut lines = vec![
        [
            described(&baseline.params),
            base.len().to_string(),
            figure(median(&base)),
            "baseline".into(),
            String::new(),
            String::new(),
            String::new(),
        ]
        .to_vec(),
    ];
    for ((one, test), p) in tests.iter().zip(&corrected).take(LISTED) {
        let cells = match test {
            None => ["0".into(), "-".into(), "-".into(), "-".into(), "no seed in common".into(), "-".into()],
            Some(test) => [
                test.n.to_string(),
                figure(median(&of(&one.configs))),
                test.change(),
                format!("{p:.4}"),
                verdict(test, *p, tests.len()).into(),
                test.correlation.map_or("-".into(), |r| format!("{r:.2}")),
            ],
        };
        lines.push(std::iter::once(described(&one.params)).chain(cells).collect());
    }
    let heading = ["configuration", "seeds", objective, "against it", "p", "verdict", "correlation"];
    lines.insert(0, heading.map(String::from).to_vec());
    let more = tests.len().saturating_sub(LISTED);
    let more = if more > 0 { format!("... and {more} more configurations\n") } else { String::new() };
    format!(
        "{}{more}medians; against it: geometric mean of ratios (x), or mean of differences, seed by seed; p: sign-flip test \
         with Holm's\ncorrection for {} comparisons, at the level {LEVEL}; correlation: over seeds, what comparing seed by seed \
         gains from\n",
        aligned(&lines),
        tests.len(),
    )
}

fn median(values: &HashMap<u64, f64>) -> Option<f64> {
    crate::report::statistics::summarise(values.values().copied(), crate::report::statistics::Mean::Geometric)
        .map(|summary| summary.median)
}
