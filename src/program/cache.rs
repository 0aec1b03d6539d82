//! What programs produced, one file for a digest, keys and seed: the digest of the rest, then values as little-endian f32.
//!
//! It lies in `$XDG_CACHE_HOME/runner`, else in `$HOME/.cache/runner`, else in `.runner-cache` of the working directory.
//! It is only a cache: what is not there, or not whole, is asked for again, and what cannot be kept is not.

use super::protocol::{self, Request};
use crate::spec::source::read_large;
use crate::store::replace;
use std::path::{Path, PathBuf};

/// The file for a program's digest and a request.
pub fn place(digest: &str, request: &Request) -> Option<PathBuf> {
    let mut hasher = blake3::Hasher::new_derive_key("runner 1 produced data");
    hasher.update(digest.as_bytes()).update(&protocol::line(request));
    Some(folder()?.join(format!("{}.f32", &hasher.finalize().to_hex()[..32])))
}

fn folder() -> Option<PathBuf> {
    let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
    let folder = cache.map_or_else(|| PathBuf::from(".runner-cache"), |cache| cache.join("runner"));
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}

/// So many values, if they are there and whole.
pub fn load(place: &Path, count: usize) -> Option<Vec<f32>> {
    let bytes = read_large(place).ok()?;
    let (digest, values) = bytes.split_at_checked(blake3::OUT_LEN)?;
    let whole = values.len() == 4 * count && blake3::hash(values).as_bytes() == digest;
    let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    whole.then(|| values.chunks_exact(4).map(value).collect())
}

/// Keeps values. What cannot be written is asked for again the next time.
pub fn keep(place: &Path, values: [&[f32]; 2]) {
    let values: Vec<u8> = values.into_iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    let bytes = [blake3::hash(&values).as_bytes().as_slice(), &values].concat();
    let _ = replace(place, &bytes);
}
