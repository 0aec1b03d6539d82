//! Where a run took place: program, machine, device, and the commit of the experiment's folder.

use super::manifest::Environment;
use std::path::Path;
use std::process::Command;

/// Describes the running program and machine; git is asked about the folder of the experiment.
pub fn environment(experiment: &Path, device: &str, executor: &str) -> Environment {
    let (git_commit, git_dirty) = git(experiment);
    Environment {
        runner: env!("CARGO_PKG_VERSION").into(),
        binary: binary_digest().unwrap_or_else(|| "unknown".into()),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        instructions: instructions().into(),
        processor: processor().unwrap_or_else(|| "unknown".into()),
        host: host().unwrap_or_else(|| "unknown".into()),
        device: device.into(),
        executor: executor.into(),
        git_commit,
        git_dirty,
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

fn git(experiment: &Path) -> (Option<String>, Option<bool>) {
    let folder = match experiment.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let ask = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let Some(commit) = ask(&["rev-parse", "HEAD"]) else { return (None, None) };
    let dirty = ask(&["status", "--porcelain", "--untracked-files=no"]).map(|text| !text.is_empty());
    (Some(commit), dirty)
}
