//! `runner compare`: every configuration of a study against a named one, over the seeds that both have.

use super::summary::{aligned, figure};
use super::{Exit, fail, print, refuse_unreadable};
use crate::report::contrast::{advice, against};
use crate::spec::sweep::split;
use crate::statistics::pairs::shown;
use crate::statistics::{LEVEL, median_of};
use crate::store::lost::manifest_with;
use crate::store::manifest::Manifest;
use crate::store::ranking::{Ranked, described, rank};
use crate::store::tables;
use clap::Args;
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
    let read = manifest_with(&args.dir, &["trials.parquet"])
        .and_then(|manifest| Ok((tables::summary(&args.dir, &manifest)?, manifest)));
    let (rows, manifest) = match read {
        Ok(read) => read,
        Err(error) => return refuse_unreadable(&error, "compare` takes a folder"),
    };
    if manifest.swept.is_empty() {
        let text = format!("nothing was swept in {}, so it has one configuration", args.dir.display());
        let help = "`runner diff A B` compares two folders; `--sweep` and `[sweep]` run several configurations";
        return fail(text, Some(help), Exit::Request);
    }
    let ranked = rank(&rows, &manifest);
    if ranked.is_empty() {
        let text = format!("{} has no finished configuration yet", args.dir.display());
        return fail(text, Some("the command that made the folder goes on where it was stopped"), Exit::Request);
    }
    if let Some(key) = unknown_key(&args.baseline, &ranked[0]) {
        if ranked[0].params.is_empty() {
            let text = format!("{} was swept over parts of the data alone, which belong together", args.dir.display());
            return fail(text, Some("`runner diff A B` compares two folders"), Exit::Request);
        }
        let swept: Vec<String> = ranked[0].params.iter().map(|(name, _)| format!("`{name}`")).collect();
        let help = format!("swept are {}", swept.join(", "));
        return fail(format!("`{key}` is not swept in {}", args.dir.display()), Some(&help), Exit::Request);
    }
    let named: Vec<&Ranked> = ranked.iter().filter(|one| is_named(one, &args.baseline)).collect();
    match named.as_slice() {
        [baseline] => {
            print(&table(baseline, &ranked, &manifest));
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

/// The first key of a baseline that no configuration has.
fn unknown_key<'a>(names: &'a str, one: &Ranked) -> Option<&'a str> {
    let mut keys = split(names).into_iter().map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key).trim());
    keys.find(|key| one.params.iter().all(|(name, _)| name != key))
}

/// Whether a configuration has every value that is named. Numbers are compared as numbers.
fn is_named(one: &Ranked, names: &str) -> bool {
    let same = |a: &str, b: &str| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b.trim_matches('"'),
    };
    split(names).into_iter().all(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        one.params.iter().any(|(key, held)| key == name.trim() && same(held, value.trim()))
    })
}

/// The objective of each configuration against that of the baseline.
fn table(baseline: &Ranked, ranked: &[Ranked], manifest: &Manifest) -> String {
    let others: Vec<&Ranked> = ranked.iter().filter(|one| one.configs != baseline.configs).collect();
    // All of them are corrected for, also those that are not listed.
    let contrasts = against(baseline, &others, manifest.objective_mean());
    let objective = &manifest.objective.name;
    let mut lines = vec![
        [
            described(&baseline.params),
            baseline.by_seed.len().to_string(),
            figure(median_of(baseline.by_seed.values().copied())),
            "baseline".into(),
            String::new(),
            String::new(),
            String::new(),
        ]
        .to_vec(),
    ];
    for (one, contrast) in others.iter().zip(&contrasts).take(LISTED) {
        let cells = match &contrast.test {
            None => ["0".into(), "-".into(), "-".into(), "-".into(), contrast.verdict.to_string(), "-".into()],
            Some(test) => [
                test.n.to_string(),
                figure(contrast.median),
                test.change(),
                shown(contrast.p),
                contrast.verdict.to_string(),
                test.correlation.map_or("-".into(), |r| format!("{r:.2}")),
            ],
        };
        lines.push(std::iter::once(described(&one.params)).chain(cells).collect());
    }
    let heading = ["configuration", "seeds", objective, "against it", "p", "verdict", "correlation"];
    lines.insert(0, heading.map(String::from).to_vec());
    let more = others.len().saturating_sub(LISTED);
    let more = if more > 0 { format!("... and {more} more configurations\n") } else { String::new() };
    let advice = advice(&contrasts).map_or(String::new(), |advice| format!("{advice}\n"));
    format!(
        "{}{more}{advice}medians over the seeds that the configuration and the baseline have; against it: geometric mean of ratios (x), or mean of differences, seed by seed; p: sign-flip test \
         with Holm's\ncorrection for {} comparisons, at the level {LEVEL}; correlation: over seeds, what comparing seed by seed \
         gains from\n",
        aligned(&lines),
        others.len(),
    )
}
