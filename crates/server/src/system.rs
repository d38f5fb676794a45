//! Figures of the process and its machine.

use std::num::NonZeroUsize;

/// What the operating system says of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) cpus: usize,
    pub(crate) cpus_used: usize,
    pub(crate) threads: u64,
    /// Resident anonymous memory: the heap, and the stacks of threads other than the first.
    pub(crate) heap_bytes: u64,
    pub(crate) stack_bytes: u64,
}

/// Reads the figures; what the system does not tell is 0.
pub(crate) fn figures() -> Figures {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    let kib = |name: &str| field(name).unwrap_or(0).saturating_mul(1024);
    let cpus_used = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Figures {
        cpus: online_cpus().unwrap_or(cpus_used),
        cpus_used,
        threads: field("Threads").unwrap_or(0),
        heap_bytes: kib("RssAnon"),
        stack_bytes: kib("VmStk"),
    }
}

/// Processors that the machine has online, whatever this process may use of them.
fn online_cpus() -> Option<usize> {
    let ranges = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    ranges
        .trim()
        .split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
            (last + 1).checked_sub(first)
        })
        .sum()
}

/// The operating system in Go's words, as clients know it.
pub(crate) fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

/// The processor architecture in Go's words.
pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        arch => arch,
    }
}
