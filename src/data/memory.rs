//! Memory that this process may use: what the machine has, and what limits leave of it.
//!
//! Whoever is about to ask for much asks here first, so that it is refused with two numbers and not ended by the system.

use std::path::Path;

/// Memory that there is for this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// What it may use in all.
    pub there: usize,
    /// What it may use beside what it has now.
    pub left: usize,
}

/// What was asked for is more than there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it takes about {} of memory, and this process may use {}", bytes(*needed), bytes(*left))]
pub struct NoRoom {
    /// Bytes that were asked for.
    pub needed: usize,
    /// Bytes that are left.
    pub left: usize,
}

/// Bytes that are never asked about: there are as many for any process that runs.
const LITTLE: usize = 1 << 20;

/// Makes sure that so many bytes may be asked for.
///
/// # Errors
/// Where fewer are left.
pub fn check(needed: usize) -> Result<(), NoRoom> {
    let room = if needed < LITTLE { None } else { room() };
    match room {
        Some(Allowance { left, .. }) if needed > left => Err(NoRoom { needed, left }),
        _ => Ok(()),
    }
}

/// The least that one of the limits leaves; none where that cannot be told.
pub fn room() -> Option<Allowance> {
    room_by(&|path| std::fs::read_to_string(path).ok())
}

fn room_by(read: &dyn Fn(&str) -> Option<String>) -> Option<Allowance> {
    let status = read("/proc/self/status").unwrap_or_default();
    let used = |name: &str| kilobytes(&status, name).unwrap_or(0);
    let machine = kilobytes(&read("/proc/meminfo")?, "MemTotal:")?;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let groups = groups.lines().filter_map(|line| group_limit(line, read));
    let resident = groups.fold(machine, usize::min);
    let limits = read("/proc/self/limits").unwrap_or_default();
    let limit = |name: &str| {
        let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<usize>().ok()
    };
    let all = [
        (Some(resident), used("VmRSS:")),
        (limit("Max address space"), used("VmSize:")),
        (limit("Max data size"), used("VmData:")),
    ];
    let room = |(there, used): (Option<usize>, usize)| {
        there.map(|there| Allowance { there, left: there.saturating_sub(used) })
    };
    all.into_iter().filter_map(room).min_by_key(|room| room.left)
}

/// The smallest limit of a control group and of those above it: `0::PATH` in version 2, `N:memory:PATH` in version 1.
fn group_limit(line: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<usize> {
    let (root, file, path) = match line.splitn(3, ':').collect::<Vec<_>>()[..] {
        [_, "", path] => ("/sys/fs/cgroup", "memory.max", path),
        [_, names, path] if names.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path)
        }
        _ => return None,
    };
    let limit = |group: &Path| read(&format!("{root}{}/{file}", group.display().to_string().trim_end_matches('/')));
    Path::new(path).ancestors().filter_map(|group| limit(group)?.trim().parse().ok()).min()
}

/// The bytes of a line such as `VmRSS:    1234 kB`.
fn kilobytes(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()?.saturating_mul(1024))
}

/// Bytes in words.
pub fn bytes(bytes: usize) -> String {
    match bytes {
        usize::MAX => "more than can be counted".into(),
        0..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room_of(files: &[(&str, &str)]) -> Option<Allowance> {
        room_by(&|path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| text.to_string()))
    }

    const THERE: (&str, &str) = ("/proc/meminfo", "MemTotal:       8000 kB\nMemFree: 7 kB\n");

    #[test]
    fn the_smallest_of_the_limits_counts_and_none_is_needed() {
        let there = |files: &[(&str, &str)]| room_of(files).map(|room| room.there);
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax address space   4096000   unlimited   bytes\n";
        assert_eq!(there(&[]), None);
        assert_eq!(there(&[THERE]), Some(8_192_000));
        let none = ("/sys/fs/cgroup/a/b/memory.max", "max\n");
        let second = ("/proc/self/cgroup", "0::/a/b\n");
        assert_eq!(there(&[THERE, second, none]), Some(8_192_000));
        assert_eq!(there(&[THERE, second, none, ("/sys/fs/cgroup/a/memory.max", "5000000\n")]), Some(5_000_000));
        assert_eq!(there(&[THERE, second, ("/sys/fs/cgroup/memory.max", "3000\n")]), Some(3000));
        let first = ("/proc/self/cgroup", "8:pids:/x\n4:cpu,memory:/x\n0::/\n");
        let own = ("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "4000\n");
        assert_eq!(there(&[THERE, first, own, ("/proc/self/limits", limits)]), Some(4000));
        assert_eq!(there(&[THERE, first, ("/proc/self/limits", limits)]), Some(4_096_000));
        let data = "Max data size   2048000   unlimited   bytes\nMax address space   4096000   unlimited   bytes\n";
        assert_eq!(there(&[THERE, ("/proc/self/limits", data)]), Some(2_048_000));
    }

    #[test]
    fn each_limit_is_held_against_what_it_counts() {
        let status = ("/proc/self/status", "VmSize:    3000 kB\nVmData: 500 kB\nVmRSS:     1000 kB\n");
        assert_eq!(room_of(&[THERE, status]).unwrap().left, 7000 * 1024);
        let limits = ("/proc/self/limits", "Max address space   4096000   unlimited   bytes\n");
        assert_eq!(room_of(&[THERE, status, limits]), Some(Allowance { there: 4_096_000, left: 1000 * 1024 }));
    }
}
