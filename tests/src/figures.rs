//! What a process takes of the machine.

use std::fs;

/// What a process takes of the machine at some moment.
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
        let folder = format!("/proc/{pid}");
        let status = fs::read_to_string(format!("{folder}/status")).expect("the process runs");
        let number = |name: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name));
            let number = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no {name} in {status}"))
        };
        Self {
            resident_kib: number("VmRSS:"),
            threads: number("Threads:"),
            files: fs::read_dir(format!("{folder}/fd")).expect("the process runs").count(),
        }
    }
}
