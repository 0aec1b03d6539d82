//! What reads the world outside, against bytes that nobody meant: experiments, formulas, plugins, tables, weights, what
//! a result folder holds, and what programs answer.
//!
//! A few hundred changed inputs each, or with `RUNNER_FUZZ_SECONDS=600` as many as that time takes; the number of
//! executions is printed (`--nocapture`). Beside these are inputs made to be large. What is asked: no panic, an end
//! within seconds, no more memory than 512 MiB beyond the input, and what is refused is refused with a reason.

mod answers;
#[path = "../changes/mod.rs"]
mod changes;
mod large;
mod memory;
mod plugins;
mod stored;
mod tables;
mod texts;
mod weights;

use changes::{Changes, repeat};
use runner::spec::diagnostic::{Diagnostic, Diagnostics};
use runner::spec::source::{Sources, Span};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest that an input of 1 MB may take: a second, of a machine that does much else, and code that may not be optimised.
const LONGEST: Duration = Duration::from_secs(5);

/// Bytes of memory that reading may take beyond the size of an input.
const MEMORY: usize = 512 << 20;

/// Checks an input of so many bytes: within memory and time, of which the shorter of two counts; gives the time.
fn bounded(size: usize, mut check: impl FnMut()) -> Duration {
    let mut timed = || {
        let begun = Instant::now();
        let most = memory::most_during(&mut check);
        assert!(most <= MEMORY + size, "{} MiB were held for an input of {size} bytes", most >> 20);
        begun.elapsed()
    };
    let mut took = timed();
    if took > LONGEST {
        took = timed().min(took);
        assert!(took <= LONGEST, "an input of {size} bytes took {took:?}");
    }
    took
}

/// Checks changes of a corpus.
fn fuzz(name: &str, short: usize, corpus: &[Vec<u8>], pieces: &[&str], mut check: impl FnMut(&[u8])) {
    repeat(name, short, |changes| {
        let bytes = changes.of(corpus, pieces);
        bounded(bytes.len(), || check(&bytes));
    });
}

/// A text with a few lines changed so that it may still be TOML: another value of a key, a line twice, away, or of another
/// text.
fn with_other_lines(changes: &mut Changes, corpus: &[Vec<u8>], values: &[&str]) -> Vec<u8> {
    let lines = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).lines().map(String::from).collect::<Vec<_>>();
    let mut changed = lines(changes.pick(corpus));
    for _ in 0..=changes.below(3) {
        let at = changes.below(changed.len());
        match (changes.below(8), changed.get(at).and_then(|line| line.split_once('='))) {
            (0, _) if !changed.is_empty() => drop(changed.remove(at)),
            (1, Some(_)) => changed.insert(at, changed[at].clone()),
            (2, _) => {
                let others = lines(changes.pick(corpus));
                changed.insert(at, changes.pick(&others).clone());
            }
            (_, Some((key, _))) => changed[at] = format!("{key}= {}", changes.pick(values)),
            _ => {}
        }
    }
    (changed.join("\n") + "\n").into_bytes()
}

/// The files of a folder of this crate whose names have an ending.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let named = paths.iter().filter(|path| path.extension().is_some_and(|e| e == ending));
    named.map(|path| std::fs::read(path).unwrap()).collect()
}

/// Makes sure that whatever was refused has a reason, and that its places lie in the texts.
fn reasoned(found: &Diagnostics, sources: &Sources) {
    assert!(!found.list.is_empty(), "refused without a reason");
    let lies_in = |span: &Span| {
        let text = &sources.get(*span).text;
        span.start <= span.end && text.is_char_boundary(span.start) && text.is_char_boundary(span.end)
    };
    for Diagnostic { problem, span, also, .. } in &found.list {
        assert!(!problem.to_string().is_empty());
        for span in span.iter().chain(also.iter().map(|also| &also.0)) {
            assert!(lies_in(span), "{problem} is said of {span:?}, which is no place in {:?}", sources.get(*span).text);
        }
    }
}
