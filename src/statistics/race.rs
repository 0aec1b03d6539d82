//! A race: configurations are compared on common seeds again and again, and those that are clearly worse are dropped.
//!
//! At each look every configuration that is left is held against the best of them, seed by seed, by a sign-flip test
//! ([`super::pairs`]). A look's tests share `LEVEL / looks` of all error, each of them a part of that as large as the
//! others' (Bonferroni's inequality, over configurations and looks), so that the configuration that is truly best is
//! dropped in at most [`LEVEL`] of all races. Source: Maron & Moore 1997, Artificial Intelligence Review 11, 193-225,
//! with a test in place of a bound.

use super::pairs::{least, paired};
use super::{LEVEL, Mean, precision};
use rayon::prelude::*;

/// The numbers of seeds at which so many configurations are compared; none where no look could drop anything, because
/// too few seeds give no small probability. Of very many configurations there are fewer looks, where otherwise the last
/// one could drop nothing.
pub fn looks(min: usize, seeds: usize, configurations: usize) -> Option<Vec<usize>> {
    let could = |looks: &[usize], n: usize| least(n) <= level(looks.len(), configurations);
    let thinned = |first: usize| {
        let all = precision::looks(first, seeds);
        let mut fewer = all.clone();
        while fewer.len() > 2 && !could(&fewer, seeds) {
            fewer.remove(fewer.len() - 2);
        }
        if could(&fewer, seeds) { fewer } else { all }
    };
    (min..=seeds).map(thinned).find(|looks| could(looks, looks[0]))
}

/// Below which probability a comparison counts, where there are so many looks at so many configurations.
pub fn level(looks: usize, configurations: usize) -> f64 {
    LEVEL / (looks * configurations.saturating_sub(1).max(1)) as f64
}

/// Which of some configurations are worse than the best of them, with the probability that this is chance. Each has the
/// values of the same seeds, not a number where its trial failed: that counts as much as the worst value of all.
pub fn worse(values: &[&[f64]], of: Mean, maximize: bool, level: f64) -> Vec<(usize, f64)> {
    let values = filled(values, maximize);
    let Some(best) = best(&values, of, maximize) else { return Vec::new() };
    let worse = |(place, other): (usize, &Vec<f64>)| {
        let test = paired(&values[best].iter().copied().zip(other.iter().copied()).collect::<Vec<_>>(), of)?;
        let sign = if maximize { -1.0 } else { 1.0 };
        (place != best && sign * test.mean > 0.0 && test.p <= level).then_some((place, test.p))
    };
    values.par_iter().enumerate().filter_map(worse).collect()
}

/// The values with the worst of them in place of those that are not finite.
fn filled(values: &[&[f64]], maximize: bool) -> Vec<Vec<f64>> {
    let there = values.iter().flat_map(|values| values.iter()).copied().filter(|value| value.is_finite());
    let worst = if maximize { there.reduce(f64::min) } else { there.reduce(f64::max) }.unwrap_or(f64::NAN);
    let fill = |value: &f64| if value.is_finite() { *value } else { worst };
    values.iter().map(|values| values.iter().map(fill).collect()).collect()
}

/// The configuration with the best mean; of equal ones the first.
fn best(values: &[Vec<f64>], of: Mean, maximize: bool) -> Option<usize> {
    let scaled = |value: &f64| if of == Mean::Geometric { value.ln() } else { *value };
    let mean = |values: &Vec<f64>| values.iter().map(scaled).sum::<f64>() / values.len() as f64;
    let sign = if maximize { -1.0 } else { 1.0 };
    let means = values.iter().map(|values| sign * mean(values)).enumerate().filter(|(_, mean)| !mean.is_nan());
    means.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn the_first_look_is_the_first_that_could_drop_something() {
        let looks = looks(5, 40, 10).unwrap();
        let level = level(looks.len(), 10);
        assert_eq!(looks, [11, 17, 26, 40]);
        assert!(least(11) <= level && least(10) > level);
        assert_eq!(super::looks(5, 8, 10), None);
    }

    #[test]
    fn what_is_worse_on_every_seed_is_dropped_and_the_best_never() {
        let best: Vec<f64> = (1..=12).map(f64::from).collect();
        let worse_one: Vec<f64> = best.iter().map(|v| v * 1.1).collect();
        let failed = vec![f64::NAN; 12];
        let values = [worse_one.as_slice(), &best, &failed];
        let dropped = worse(&values, Mean::Geometric, false, 0.001);
        assert_eq!(dropped, [(0, 0.5_f64.powi(11)), (2, 0.5_f64.powi(11))]);
        assert_eq!(worse(&values, Mean::Arithmetic, true, 0.001).len(), 2);
    }

    #[test]
    fn trials_that_fail_help_nobody() {
        let good: Vec<f64> = (0..20).map(|i| 1.0 + f64::from(i % 4)).collect();
        // As good where it completes, and better by one lucky seed than the mean of the other.
        let mut fails: Vec<f64> = vec![f64::NAN; 20];
        fails[3] = 0.5;
        assert_eq!(worse(&[&fails, &good], Mean::Geometric, false, 0.05)[0].0, 0);
        let never = vec![f64::NAN; 20];
        assert!(worse(&[&never, &never], Mean::Geometric, false, 0.05).is_empty());
    }

    #[test]
    fn of_very_many_configurations_there_are_fewer_looks() {
        for configurations in [1300, 2000] {
            let looks = looks(5, 500, configurations).unwrap();
            assert!(least(500) <= level(looks.len(), configurations) && looks[0] <= 20, "{looks:?}");
        }
        // So many that only an exact test is fine enough.
        assert!(looks(5, 500, 10_000).is_none_or(|looks| looks[0] <= 20));
    }

    /// Where all are equal any of them may be called the best, and a race drops a given one rarely.
    #[test]
    fn the_best_is_dropped_at_most_as_often_as_promised() {
        let looks = looks(5, 20, 4).unwrap();
        let level = level(looks.len(), 4);
        let mut stream = Stream::new(3, "race");
        let races = 400;
        let lost = (0..races).filter(|_| {
            let values: Vec<Vec<f64>> = (0..4).map(|_| (0..20).map(|_| 1.0 + stream.unit()).collect()).collect();
            let mut left: Vec<usize> = (0..4).collect();
            for n in &looks {
                let first: Vec<&[f64]> = left.iter().map(|place| &values[*place][..*n]).collect();
                let dropped = worse(&first, Mean::Geometric, false, level);
                for (place, _) in dropped.iter().rev() {
                    left.remove(*place);
                }
            }
            !left.contains(&0)
        });
        let lost = lost.count() as f64 / races as f64;
        assert!(lost <= 0.05, "{lost}");
    }
}
