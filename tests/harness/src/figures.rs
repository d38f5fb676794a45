//! Resource usage of a process.

use std::fs;

/// Resource usage of a process at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Resident memory, KiB.
    pub resident_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub files: usize,
}

impl Figures {
    /// Reads them from `/proc`, as `proc_pid_status(5)` and `proc_pid_fd(5)` have them.
    ///
    /// # Panics
    /// If there is no such process.
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            resident_kib: status(pid, "VmRSS"),
            threads: status(pid, "Threads"),
            files: fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count(),
        }
    }
}

/// Reads a number of `/proc/<pid>/status`; sizes are in KiB.
///
/// # Panics
/// If there is no such process or no such number.
pub fn status(pid: u32, name: &str) -> u64 {
    try_status(pid, name).unwrap_or_else(|| panic!("process {pid} does not run, or has no {name}"))
}

/// Reads a number of `/proc/<pid>/status`, if the process still exists and has it.
pub fn try_status(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}
