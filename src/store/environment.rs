//! Where a run took place: program, machine, device, and the commit of the experiment's folder.

use super::manifest::{Environment, Manifest};
use crate::spec::source::read_plain;
use std::path::{Component, Path};

/// Describes the running program and machine, and the commit that the experiment lies in. Starts no program.
pub fn environment(experiment: &Path, device: &str, executor: &str) -> Environment {
    Environment {
        runner: env!("CARGO_PKG_VERSION").into(),
        binary: binary_digest().unwrap_or_else(|| "unknown".into()),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        instructions: instructions().into(),
        processor: processor().unwrap_or_else(|| "unknown".into()),
        host: host().unwrap_or_else(|| "unknown".into()),
        device: device.into(),
        executor: executor.into(),
        git_commit: git(experiment),
        git_dirty: None,
    }
}

/// Relative difference that another binary or processor may make by rounding.
pub const ROUNDING: f64 = 1e-4;

/// How far what runs may be from what a folder's trials were run by.
#[derive(Debug)]
pub enum Tolerance {
    /// Not at all: bits are promised for one binary and one set of instructions.
    SameBits,
    /// By rounding: this runs, which is another one.
    OtherBits(Box<Environment>),
}

impl Tolerance {
    /// For the trials that a manifest describes.
    pub fn of(manifest: &Manifest) -> Tolerance {
        let then = &manifest.environment;
        let now = environment(Path::new("."), manifest.device(), manifest.executor());
        let same = (&then.binary, &then.instructions) == (&now.binary, &now.instructions);
        if same { Tolerance::SameBits } else { Tolerance::OtherBits(Box::new(now)) }
    }

    /// As a relative difference.
    pub fn relative(&self) -> f64 {
        match self {
            Tolerance::SameBits => 0.0,
            Tolerance::OtherBits(_) => ROUNDING,
        }
    }
}

fn binary_digest() -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    // Trials are being trained meanwhile: a mapped file is not copied.
    hasher.update_mmap(std::env::current_exe().ok()?).ok()?;
    Some(hasher.finalize().to_hex()[..16].to_string())
}

/// The widest vector instructions that the matrix products may choose at run time.
fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "avx2, fma";
        }
    }
    std::env::consts::ARCH
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// The name of this machine.
pub fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_string())
}

/// The commit that is checked out where an experiment lies, read from `.git` without git: what git is told by a
/// repository's configuration may start programs, and the repository may be a stranger's. Whether files differ from
/// it only git could tell, so that is not known.
fn git(experiment: &Path) -> Option<String> {
    let folder = std::path::absolute(experiment).ok()?;
    let (root, entry) = folder.ancestors().skip(1).find_map(|root| {
        let entry = root.join(".git");
        entry.exists().then_some((root, entry))
    })?;
    let own = if entry.is_dir() { entry } else { root.join(line(&entry)?.strip_prefix("gitdir:")?.trim()) };
    // A worktree has its own HEAD, and the branches of the repository that it belongs to.
    let common = line(&own.join("commondir")).map_or_else(|| own.clone(), |path| own.join(path));
    let head = line(&own.join("HEAD"))?;
    let Some(branch) = head.strip_prefix("ref:") else { return commit(&head) };
    let branch = branch.trim();
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if !branch.starts_with("refs/") || !Path::new(branch).components().all(plain) {
        return None;
    }
    let loose = [&own, &common].into_iter().find_map(|folder| commit(&line(&folder.join(branch))?));
    loose.or_else(|| {
        let packed = text(&common.join("packed-refs"))?;
        packed.lines().find_map(|line| commit(line.strip_suffix(branch)?.strip_suffix(' ')?))
    })
}

/// A commit's name, if it is one.
fn commit(text: &str) -> Option<String> {
    let whole = [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| text.to_string())
}

/// The first line of a small file.
fn line(path: &Path) -> Option<String> {
    Some(text(path)?.lines().next()?.trim().to_string())
}

/// The text of a file; none of what is no file, such as a pipe, or is too long.
fn text(path: &Path) -> Option<String> {
    read_plain(path, 1 << 26).ok()
}
