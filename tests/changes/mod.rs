//! Changes that make one input of another, always the same ones.

use std::time::{Duration, Instant};

/// A source of whole numbers.
pub struct Changes(pub u64);

impl Changes {
    /// One below `n`; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }

    /// One of some.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }

    /// A few changes: a stretch taken out, doubled, swapped for one of another input, or a piece of syntax put in.
    pub fn of(&mut self, corpus: &[Vec<u8>], pieces: &[&str]) -> Vec<u8> {
        let mut bytes = self.pick(corpus).clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(12)).min(bytes.len());
            // Without pieces of a syntax, everything stays at its place.
            match if pieces.is_empty() { 4 } else { self.below(5) } {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let twice = bytes[at..end].to_vec();
                    bytes.splice(at..at, twice);
                }
                2 => {
                    let other = self.pick(corpus);
                    let from = self.below(other.len());
                    bytes.splice(at..end, other[from..(from + 20).min(other.len())].to_vec());
                }
                3 => bytes.splice(at..end, self.pick(pieces).bytes()).for_each(drop),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
        bytes
    }
}

/// Checks so many changes, or with `RUNNER_FUZZ_SECONDS=600` as many as that time takes; their number is printed.
pub fn repeat(name: &str, short: usize, mut check: impl FnMut(&mut Changes)) {
    let number = |name: &str| std::env::var(name).ok().map(|s| s.parse::<u64>().unwrap());
    let seconds = number("RUNNER_FUZZ_SECONDS").map(Duration::from_secs);
    let (begun, mut changes, mut done) = (Instant::now(), Changes(number("RUNNER_FUZZ_BEGIN").unwrap_or(11)), 0);
    while seconds.map_or(done < short, |seconds| begun.elapsed() < seconds) {
        check(&mut changes);
        done += 1;
    }
    println!("{name}: {done} executions");
}
