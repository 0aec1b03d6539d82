//! Two experiments on the same seeds: whether what lies between them could be chance.
//!
//! The same seed means the same task and, where shapes agree, the same initial draws, so differences are taken seed
//! by seed: of logarithms for what is never below zero, which compares ratios. If neither is better each difference
//! is as likely to have the other sign; the test counts how many choices of signs give a mean as far from zero.
//! Sources: Fisher 1935, The Design of Experiments, section 21; Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

use super::{LEVEL, Mean};
use crate::random::Stream;

/// Seeds up to which every choice of signs is counted; beyond, [`DRAWN`] are drawn.
const EXACT: usize = 20;

/// Choices of signs that are drawn where there are too many.
const DRAWN: u32 = 100_000;

/// Two quantities over common seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// Seeds.
    pub n: usize,
    /// Mean of second minus first; of the logarithms, if `ratio`.
    pub mean: f64,
    /// Whether `mean` is of logarithms.
    pub ratio: bool,
    /// How often chance alone gives a mean at least as far from zero, two-sided.
    pub p: f64,
    /// The smallest value that `p` could have had with so many seeds.
    pub least: f64,
    /// Correlation of the two over seeds; none where one of them does not vary.
    pub correlation: Option<f64>,
}

impl Paired {
    /// Second against first: a factor, or a difference.
    pub fn change(&self) -> String {
        if self.ratio { format!("x {:.3}", self.mean.exp()) } else { format!("{:+.4}", self.mean) }
    }
}

/// A probability as tables show it.
pub fn shown(p: f64) -> String {
    if p < 1e-4 { "< 0.0001".into() } else { format!("{p:.4}") }
}

/// What a test says as one of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Its probability, corrected for their number.
    pub p: f64,
    /// What that means.
    pub verdict: Verdict,
}

/// What a corrected probability means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Chance alone seldom gives as much.
    Differs,
    /// Chance alone may have given it.
    Chance,
    /// Chance alone may have given anything that so few seeds can show.
    TooFew,
    /// There is nothing to compare.
    NoSeed,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Differs => "differs",
            Verdict::Chance => "could be chance",
            Verdict::TooFew => "too few seeds",
            Verdict::NoSeed => "no seed in common",
        })
    }
}

/// Judges several tests together; none where there is no seed in common. Whether there are seeds enough for one is asked
/// of the smallest probability that it could have had, corrected as its own is.
pub fn judged(tests: &[Option<&Paired>]) -> Vec<Judged> {
    let all: Vec<f64> = tests.iter().map(|test| test.map_or(1.0, |test| test.p)).collect();
    let corrected = holm(&all);
    let (mut sorted, mut sorted_corrected) = (all, corrected.clone());
    sorted.sort_by(f64::total_cmp);
    sorted_corrected.sort_by(f64::total_cmp);
    let smallest = |test: &Paired| {
        let before = sorted.partition_point(|p| *p < test.least);
        let those = before.checked_sub(1).map_or(0.0, |last| sorted_corrected[last]);
        those.max(test.least * (sorted.len() - before) as f64)
    };
    let verdict = |test: Option<&Paired>, p: f64| match test {
        None => Verdict::NoSeed,
        Some(_) if p <= LEVEL => Verdict::Differs,
        Some(test) if smallest(test) > LEVEL => Verdict::TooFew,
        Some(_) => Verdict::Chance,
    };
    tests.iter().zip(corrected).map(|(test, p)| Judged { p, verdict: verdict(*test, p) }).collect()
}

/// How many seeds would do, where some tests have too few; `seeds` are those of each test, with its verdict.
pub fn advice(seeds: impl IntoIterator<Item = (usize, Verdict)>) -> Option<String> {
    let seeds: Vec<(usize, Verdict)> = seeds.into_iter().collect();
    let comparisons = seeds.len();
    let n = seeds.iter().filter(|(_, verdict)| *verdict == Verdict::TooFew).map(|(n, _)| *n).min()?;
    let correction = match comparisons {
        1 => String::new(),
        m => format!(", times up to {m} as one of {m} comparisons"),
    };
    let enough = (1..=EXACT).find(|n| least(*n) * comparisons as f64 <= LEVEL);
    let enough = match enough {
        Some(enough) => format!("{enough} in common would do"),
        None => "no number of seeds would do; compare fewer".into(),
    };
    Some(format!("too few seeds: with {n} in common p is {} at least{correction}; {enough}", shown(least(n))))
}

/// Compares two quantities, seed by seed; pairs with a value that is not finite are left out. `of` is the mean that says
/// something of them: of ratios, where all are positive, or of differences.
pub fn paired(pairs: &[(f64, f64)], of: Mean) -> Option<Paired> {
    let mut pairs: Vec<(f64, f64)> = pairs.iter().copied().filter(|(a, b)| a.is_finite() && b.is_finite()).collect();
    let ratio = of == Mean::Geometric && pairs.iter().all(|(a, b)| *a > 0.0 && *b > 0.0);
    if ratio {
        pairs.iter_mut().for_each(|(a, b)| (*a, *b) = (a.ln(), b.ln()));
    }
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
    let n = differences.len();
    if n == 0 {
        return None;
    }
    let mean = differences.iter().sum::<f64>() / n as f64;
    Some(Paired { n, mean, ratio, p: sign_flip(&differences), least: least(n), correlation: correlation(&pairs) })
}

/// The smallest probability that so many seeds can give.
pub fn least(seeds: usize) -> f64 {
    if seeds <= EXACT { 0.5_f64.powi(seeds as i32 - 1) } else { 1.0 / f64::from(DRAWN + 1) }
}

/// How often random signs give a sum at least as far from zero.
fn sign_flip(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    let scale: f64 = differences.iter().map(|d| d.abs()).sum();
    // Sums that are equal but for rounding count as equal.
    let reaches = |sum: f64| sum.abs() >= observed - 1e-12 * scale;
    if differences.len() <= EXACT {
        // The first sign stays: the other half of all choices mirrors this one.
        let (left, right) = differences[1..].split_at((differences.len() - 1) / 2);
        let (left, right) = (sums(differences[0], left), sums(0.0, right));
        let hits: usize = left.iter().map(|a| right.iter().filter(|b| reaches(a + *b)).count()).sum();
        return hits as f64 / (left.len() * right.len()) as f64;
    }
    let mut stream = Stream::new(0, "report/sign flips");
    let mut flipped = || differences.iter().map(|d| if stream.unit() < 0.5 { -d } else { *d }).sum::<f64>();
    let hits = (0..DRAWN).filter(|_| reaches(flipped())).count();
    (hits + 1) as f64 / f64::from(DRAWN + 1)
}

/// The sums of a number and of some others with every choice of signs.
fn sums(first: f64, others: &[f64]) -> Vec<f64> {
    others.iter().fold(vec![first], |sums, d| sums.iter().flat_map(|sum| [sum + d, sum - d]).collect())
}

fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let n = pairs.len() as f64;
    let (mean_a, mean_b) = pairs.iter().fold((0.0, 0.0), |(a, b), pair| (a + pair.0 / n, b + pair.1 / n));
    let moment = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(a, b)| f(a - mean_a, b - mean_b)).sum::<f64>();
    let (aa, bb, ab) = (moment(&|a, _| a * a), moment(&|_, b| b * b), moment(&|a, b| a * b));
    (pairs.len() > 2 && aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

/// Probabilities corrected for their number by Holm's method, in their order.
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let mut corrected = vec![0.0; probabilities.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max((probabilities[i] * (order.len() - rank) as f64).min(1.0));
        corrected[i] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_seeds_that_agree_cannot_go_below_a_sixteenth() {
        let pairs: Vec<(f64, f64)> = (1..=5).map(|i| (f64::from(i), f64::from(i) * 2.0)).collect();
        let compared = paired(&pairs, Mean::Geometric).unwrap();
        assert_eq!((compared.p, compared.least, compared.ratio), (0.0625, 0.0625, true));
        assert!((compared.mean - 2f64.ln()).abs() < 1e-12 && (compared.correlation.unwrap() - 1.0).abs() < 1e-12);
        // What may be negative has differences, also where it happens not to be.
        let compared = paired(&pairs, Mean::Arithmetic).unwrap();
        assert_eq!((compared.mean, compared.ratio, compared.change().as_str()), (3.0, false, "+3.0000"));
    }

    #[test]
    fn the_exact_test_is_that_of_a_count_by_hand() {
        // Differences 1, 2, -3: sums of signs are 0, 2, -4, 6 and their mirrors; all of them reach 0.
        assert_eq!(sign_flip(&[1.0, 2.0, -3.0]), 1.0);
        // 3, 2, 1 gives 6, which one of four reaches; 3, 2, -1 gives 4, which two of four reach.
        assert_eq!(sign_flip(&[3.0, 2.0, 1.0]), 0.25);
        assert_eq!(sign_flip(&[3.0, 2.0, -1.0]), 0.5);
    }

    #[test]
    fn where_nothing_differs_the_test_errs_as_often_as_it_says() {
        let mut stream = Stream::new(1, "test");
        let mut wrong = 0;
        for _ in 0..2000 {
            let pairs: Vec<(f64, f64)> = (0..8).map(|_| (stream.unit() - 0.5, stream.unit() - 0.5)).collect();
            wrong += usize::from(paired(&pairs, Mean::Geometric).unwrap().p <= LEVEL);
        }
        assert!((60..140).contains(&wrong), "{wrong} of 2000 at the level 0.05");
    }

    #[test]
    fn many_seeds_are_drawn_and_agree_with_the_count() {
        let differences: Vec<f64> = (0..20).map(|i| f64::from(i) - 6.0).collect();
        let exact = sign_flip(&differences);
        let drawn = sign_flip(&[differences.as_slice(), &[0.0]].concat());
        assert!((exact - drawn).abs() < 0.005, "{exact} {drawn}");
    }

    #[test]
    fn seeds_are_too_few_by_the_correction_that_is_shown() {
        let test = |n: usize, p: f64| Paired { n, mean: 1.0, ratio: false, p, least: least(n), correlation: None };
        let verdicts = |tests: &[Paired]| -> Vec<(f64, Verdict)> {
            let judged = judged(&tests.iter().map(Some).collect::<Vec<_>>());
            judged.iter().map(|judged| (judged.p, judged.verdict)).collect()
        };
        // The last in order is corrected by nothing, so that seven seeds are enough for it.
        let long = || test(20, least(20));
        let with_long = [long(), long(), long(), test(7, 0.015625)];
        assert_eq!(verdicts(&with_long)[3], (0.015625, Verdict::Differs));
        let with_long = [long(), long(), long(), test(7, 0.5)];
        assert_eq!(verdicts(&with_long)[3], (0.5, Verdict::Chance));
        // Four that have seven seeds each could not have differed.
        let four: Vec<Paired> = (0..4).map(|_| test(7, 0.015625)).collect();
        assert!(verdicts(&four).iter().all(|one| *one == (0.0625, Verdict::TooFew)));
        assert_eq!(verdicts(&[test(5, 0.0625)]), [(0.0625, Verdict::TooFew)]);
        assert_eq!(verdicts(&[test(6, 0.03125)]), [(0.03125, Verdict::Differs)]);
    }

    #[test]
    fn as_many_seeds_as_are_advised_are_enough() {
        for comparisons in [1, 2, 3, 10, 1000] {
            let words = advice(vec![(3, Verdict::TooFew); comparisons]).unwrap();
            let enough: usize = words.rsplit("; ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!(least(enough) * comparisons as f64 <= LEVEL && least(enough - 1) * comparisons as f64 > LEVEL);
        }
        assert!(advice(vec![(3, Verdict::TooFew); 100_000]).unwrap().ends_with("compare fewer"));
        assert_eq!(advice([(9, Verdict::Differs), (9, Verdict::Chance)]), None);
    }

    #[test]
    fn holms_correction_is_that_of_his_example_by_hand() {
        assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
        assert_eq!(holm(&[0.5, 0.9]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
