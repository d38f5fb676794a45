//! Reads the resource usage of the process and the properties of its machine.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kes_types::lock;

/// How long figures are cached.
const FIGURES_MAX_AGE: Duration = Duration::from_secs(1);

/// The resource usage of this process, as the operating system reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) cpus: usize,
    pub(crate) cpus_used: usize,
    pub(crate) threads: u64,
    /// Resident anonymous memory: the heap, and the stacks of threads other than the first.
    pub(crate) heap_bytes: u64,
    pub(crate) stack_bytes: u64,
}

/// Reads the figures of the process at most once a second, because reading them takes more CPU time than a
/// request.
#[derive(Debug)]
pub(crate) struct System {
    cpus: usize,
    cpus_used: usize,
    last: Mutex<Option<(Instant, Figures)>>,
}

impl System {
    /// Counts the processors, once.
    pub(crate) fn new() -> Self {
        let cpus_used = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { cpus: online_cpus().unwrap_or(cpus_used), cpus_used, last: Mutex::new(None) }
    }

    /// Returns figures that are at most [`FIGURES_MAX_AGE`] old at `now`; a figure that the system does not
    /// report is 0.
    pub(crate) fn figures(&self, now: Instant) -> Figures {
        self.figures_by(now, || self.read())
    }

    fn figures_by(&self, now: Instant, read: impl FnOnce() -> Figures) -> Figures {
        let mut last = lock(&self.last);
        match &*last {
            Some((at, figures)) if now.saturating_duration_since(*at) < FIGURES_MAX_AGE => *figures,
            _ => last.insert((now, read())).1,
        }
    }

    fn read(&self) -> Figures {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
        };
        let kib = |name: &str| field(name).unwrap_or(0).saturating_mul(1024);
        Figures {
            cpus: self.cpus,
            cpus_used: self.cpus_used,
            threads: field("Threads").unwrap_or(0),
            heap_bytes: kib("RssAnon"),
            stack_bytes: kib("VmStk"),
        }
    }
}

/// Returns the number of processors that are online, including those that this process may not use.
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

/// Returns Go's name of the operating system, which clients expect.
pub(crate) fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

/// Returns Go's name of the processor architecture.
pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        arch => arch,
    }
}

#[cfg(test)]
mod tests {
    use kes_types::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn figures_are_read_at_most_once_a_second() {
        let (system, begin) = (System::new(), SystemClock.monotonic());
        let at = |millis: u64, threads: u64| {
            let now = begin + Duration::from_millis(millis);
            system.figures_by(now, || Figures { threads, ..Figures::default() }).threads
        };
        assert_eq!([at(0, 1), at(0, 2), at(999, 3)], [1, 1, 1]);
        assert_eq!([at(1000, 4), at(1999, 5), at(2500, 6)], [4, 4, 6]);
    }

    #[test]
    fn the_figures_of_this_process_are_read() {
        let figures = System::new().figures(SystemClock.monotonic());
        assert!(figures.cpus >= figures.cpus_used && figures.cpus_used > 0, "{figures:?}");
        assert!(figures.threads > 0 && figures.heap_bytes > 0 && figures.stack_bytes > 0);
    }
}
