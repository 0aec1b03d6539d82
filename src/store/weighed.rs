//! Which weights of a folder are ours: those of trials that some request asked for.
//!
//! A manifest says so by configurations and ranges of seeds, so that it stays small however many trials there are.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Trials whose weights a folder may keep: each of some configurations with each of some seeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// The configurations by their ids, sorted.
    pub configs: Vec<String>,
    /// The first and the last seed of each range, ascending.
    pub seeds: Vec<(u64, u64)>,
}

/// The id of a trial, a digest of its configuration's and the seed.
pub fn trial_id(configuration: &str, seed: u64) -> String {
    digest("trial", &[configuration.to_string(), seed.to_string()])
}

/// A digest of some texts for a purpose, as ids have it: 16 hexadecimal digits.
pub fn digest(purpose: &str, parts: &[String]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(&format!("runner 1 {purpose}"));
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_string()
}

impl Weighed {
    /// Of some configurations and seeds.
    pub fn new(configs: impl IntoIterator<Item = String>, seeds: impl IntoIterator<Item = u64>) -> Weighed {
        let configs: BTreeSet<String> = configs.into_iter().collect();
        Weighed { configs: configs.into_iter().collect(), seeds: ranges(seeds.into_iter().collect()) }
    }

    fn seeds(&self) -> impl Iterator<Item = u64> + '_ {
        self.seeds.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The ids of its trials.
    pub fn trials(&self) -> impl Iterator<Item = String> + '_ {
        self.configs.iter().flat_map(|config| self.seeds().map(|seed| trial_id(config, seed)))
    }

    /// How many trials these are.
    pub fn count(&self) -> u128 {
        let of = |(first, last): &(u64, u64)| u128::from(last.saturating_sub(*first)) + 1;
        self.configs.len() as u128 * self.seeds.iter().map(of).sum::<u128>()
    }

    /// Takes others in, where both together are still each configuration with each seed.
    pub fn absorb(&mut self, other: &Weighed) -> bool {
        if self == other {
            return true;
        }
        if self.configs == other.configs {
            self.seeds = ranges(self.seeds().chain(other.seeds()).collect());
        } else if self.seeds == other.seeds {
            *self = Weighed::new(self.configs.iter().chain(&other.configs).cloned(), self.seeds());
        } else {
            return false;
        }
        true
    }
}

/// Ranges of numbers that follow each other.
fn ranges(numbers: BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(configs: &[&str], seeds: impl IntoIterator<Item = u64>) -> Weighed {
        Weighed::new(configs.iter().map(|config| config.to_string()), seeds)
    }

    /// A folder that grows by seeds, or by configurations, says so in one entry.
    #[test]
    fn what_grows_by_one_side_stays_one_entry() {
        let mut grown = of(&["b", "a"], 0..3);
        assert!(grown.absorb(&of(&["a", "b"], 2..100_000)) && grown.absorb(&of(&["c"], 0..100_000)));
        assert_eq!(grown, of(&["a", "b", "c"], 0..100_000));
        assert_eq!(grown.seeds, [(0, 99_999)]);
        assert!(!grown.absorb(&of(&["d"], [7])));
    }

    #[test]
    fn ranges_hold_every_number_once() {
        let numbers = [5, 1, 2, 9, 3, u64::MAX, u64::MAX - 1];
        assert_eq!(ranges(numbers.into_iter().collect()), [(1, 3), (5, 5), (9, 9), (u64::MAX - 1, u64::MAX)]);
        assert_eq!(of(&["a"], numbers).count(), 7);
    }
}
