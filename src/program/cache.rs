//! What programs gave, one file for a program's digest and a request: the digest of both and of the values, then these
//! as little-endian f32.
//!
//! It lies in `$XDG_CACHE_HOME/runner`, or `$HOME/.cache/runner`, and nowhere else: what stands in a working directory may
//! be a stranger's. It is only a cache: what is not there, not whole, another request's, or open to others is asked for
//! again, and what cannot be kept is not.

use super::protocol::{self, Request};
use crate::spec::source::read_large;
use crate::store::files::replace_with;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A folder of values that this user alone can change.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// Why nothing is kept of what programs give.
#[derive(Debug, thiserror::Error)]
pub enum NoCache {
    /// Nobody says where.
    #[error("neither XDG_CACHE_HOME nor HOME is the absolute path of a folder")]
    Nowhere,
    /// The folder cannot be made or looked at.
    #[error("{}: {error}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder leads elsewhere, or is none.
    #[error("{} is a link, or no folder", .0.display())]
    NoFolder(PathBuf),
    /// Others than this user can put files there.
    #[error("others can write to {}", .0.display())]
    Open(PathBuf),
}

/// Where the values of a request are kept, and what they must say of themselves.
pub struct Slot {
    path: PathBuf,
    key: blake3::Hash,
}

impl Cache {
    /// This user's cache, as the environment says where it lies. The folder is made if it is not there.
    ///
    /// # Errors
    /// Where there can be none, or one that others may have filled.
    pub fn of_user() -> Result<Cache, NoCache> {
        // Relative paths are to be ignored (XDG Base Directory Specification 0.8).
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        let folder = cache.ok_or(NoCache::Nowhere)?.join("runner");
        let failed = |error| NoCache::Io { path: folder.clone(), error };
        create(&folder).map_err(failed)?;
        let meta = fs::symlink_metadata(&folder).map_err(failed)?;
        match meta.is_dir() {
            false => Err(NoCache::NoFolder(folder)),
            true if !is_ours_alone(&meta) => Err(NoCache::Open(folder)),
            true => Ok(Cache { folder }),
        }
    }

    /// The place for a program's digest and a request.
    pub fn place(&self, digest: &str, request: &Request) -> Slot {
        let mut hasher = blake3::Hasher::new_derive_key("runner 2 request to a program");
        hasher.update(digest.as_bytes()).update(&protocol::line(request));
        let key = hasher.finalize();
        Slot { path: self.folder.join(format!("{}.f32", &key.to_hex()[..32])), key }
    }
}

impl Slot {
    /// So many values, if they are there, whole, and those of this request.
    pub fn load(&self, count: usize) -> Option<Vec<f32>> {
        let meta = fs::symlink_metadata(&self.path).ok()?;
        if !meta.is_file() || !is_ours_alone(&meta) || meta.len() != (blake3::OUT_LEN + 4 * count) as u64 {
            return None;
        }
        let bytes = read_large(&self.path).ok()?;
        let (digest, values) = bytes.split_at_checked(blake3::OUT_LEN)?;
        let whole = values.len() == 4 * count && self.digest(values).as_bytes() == digest;
        let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        whole.then(|| values.chunks_exact(4).map(value).collect())
    }

    /// Keeps values. What cannot be written is asked for again the next time.
    pub fn keep(&self, values: [&[f32]; 2]) {
        let values: Vec<u8> = values.into_iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        let _ = replace_with(&self.path, |file| {
            own(file)?;
            file.write_all(self.digest(&values).as_bytes())?;
            file.write_all(&values)
        });
    }

    /// The digest of the request and its values.
    fn digest(&self, values: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(self.key.as_bytes(), values)
    }
}

/// Makes a folder, and those that it lies in, that this user alone can enter.
fn create(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Lets nobody else write to a new file, whatever the user's other files are like.
fn own(file: &fs::File) -> io::Result<()> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let _ = file;
    Ok(())
}

/// Whether something belongs to this user, and nobody else may write to it.
#[cfg(unix)]
fn is_ours_alone(meta: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    meta.uid() == nix::unistd::geteuid().as_raw() && meta.mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn is_ours_alone(_: &Metadata) -> bool {
    true
}
