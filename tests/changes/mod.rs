//! Changes that make one input of another, always the same ones.

use serde_json::Value;
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

    /// Changes one value of a document, somewhere inside; says what was done.
    pub fn json(&mut self, value: &mut Value) -> String {
        let stop = self.below(6) == 0;
        match value {
            Value::Object(map) if !map.is_empty() && !stop => {
                let keys: Vec<String> = map.keys().cloned().collect();
                let key = self.pick(&keys).clone();
                if self.below(20) == 0 {
                    map.remove(&key);
                    return format!(".{key} removed");
                }
                return format!(".{key}{}", self.json(&mut map[&key]));
            }
            Value::Array(items) if !items.is_empty() && !stop => {
                let place = self.below(items.len());
                match self.below(12) {
                    0 => drop(items.remove(place)),
                    1 => items.push(items[place].clone()),
                    2 => items.clear(),
                    _ => return format!("[{place}]{}", self.json(&mut items[place])),
                }
                return " of other length".into();
            }
            _ => {}
        }
        let numbers = [0_u64, 1, 2, 7, 1 << 20, 1 << 31, 1 << 32, 1_000_000_000_000_000_000, u64::MAX];
        let texts = ["", "../../x", "loss", "nmse", "0123456789abcdef", "\u{1b}[2J", "cuda", "reference", "/dev/zero"];
        *value = match self.below(8) {
            0 => Value::Null,
            1 => (-1).into(),
            2 => 1e308.into(),
            3 => Value::Array(Vec::new()),
            4 => (*self.pick(&texts)).into(),
            5 => (self.below(2) == 0).into(),
            _ => (*self.pick(&numbers)).into(),
        };
        format!(" = {value}")
    }
}

/// Says how the changes of a check that panics are made again.
struct Begin(u64);

impl Drop for Begin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("RUNNER_FUZZ_BEGIN={} begins with what is wrong", self.0);
        }
    }
}

/// Checks so many changes, or with `RUNNER_FUZZ_SECONDS=600` as many as that time takes; their number is printed.
pub fn repeat(name: &str, short: usize, mut check: impl FnMut(&mut Changes)) {
    let number = |name: &str| std::env::var(name).ok().map(|s| s.parse::<u64>().unwrap());
    let seconds = number("RUNNER_FUZZ_SECONDS").map(Duration::from_secs);
    let (begun, mut changes, mut done) = (Instant::now(), Changes(number("RUNNER_FUZZ_BEGIN").unwrap_or(11)), 0);
    while seconds.map_or(done < short, |seconds| begun.elapsed() < seconds) {
        let _begin = Begin(changes.0);
        check(&mut changes);
        done += 1;
    }
    println!("{name}: {done} executions");
}
