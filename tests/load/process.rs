//! Processor time, memory and CPU affinity of server processes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::process::Command;

use crate::number::float;

/// Linux reports times to user space in hundredths of a second.
const NANOS_PER_TICK: u64 = 10_000_000;

/// Processor time of the threads of a process, in nanoseconds by thread.
///
/// It is kept by thread because the time of a thread that ends is no longer listed.
#[derive(Debug)]
pub(crate) struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// Reads it in nanoseconds from `/proc/<pid>/task/*/schedstat`, or in ticks from
    /// `/proc/<pid>/stat` where the kernel does not have the former.
    pub(crate) fn of(pid: u32) -> Self {
        let mut threads = BTreeMap::new();
        let folder = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
        for thread in folder.flatten() {
            // A thread may have ended since the folder was read.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let time = text.split_whitespace().next().and_then(|time| time.parse().ok());
            threads.insert(thread.file_name().to_string_lossy().into_owned(), time.unwrap_or(0));
        }
        if threads.is_empty() {
            threads.insert("all".to_owned(), ticks(&pid.to_string(), 2) * NANOS_PER_TICK);
        }
        Self(threads)
    }

    /// The processor time that was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let used = self.0.iter().map(|(thread, time)| {
            time.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        });
        Duration::from_nanos(used.sum())
    }
}

/// Sums up the first `times` of utime, stime, cutime and cstime of `/proc/<process>/stat`.
pub(crate) fn ticks(process: &str, times: usize) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The process's name is in parentheses and may hold any character.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_whitespace().skip(11).take(times);
    times.map(|ticks| ticks.parse::<u64>().expect("times are ticks")).sum()
}

/// Reads a field of `/proc/<pid>/status` that is in KiB and converts it to megabytes (10^6 bytes).
pub(crate) fn megabytes(pid: u32, name: &str) -> f64 {
    float(kes_harness::status(pid, name)) * 1024.0 / 1e6
}

/// Resets the peak of a process's resident memory (`VmHWM`) to its current size; returns whether
/// that was permitted.
pub(crate) fn reset_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

/// Raises this process's soft limit of open files to the hard limit.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Without permission the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// CPU pinning of servers and of clients: to the first two processors that this process may use, or
/// no pinning where there is only one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pinning(Option<Processors>);

#[derive(Clone, Copy, Debug)]
struct Processors {
    all: CpuSet,
    server: usize,
    client: usize,
}

impl Pinning {
    /// Chooses the processors and pins this thread to the clients' processor.
    pub(crate) fn take() -> Self {
        let pinning = Self(Processors::choose());
        pinning.pin_this_thread();
        pinning
    }

    /// Pins this thread to the clients' processor.
    pub(crate) fn pin_this_thread(self) {
        if let Some(processors) = self.0 {
            let mut set = CpuSet::new();
            set.set(processors.client);
            sched_setaffinity(None, &set).expect("this process may use it");
        }
    }

    /// Lets this thread and the processes that it starts run on any processor.
    pub(crate) fn unpin_this_thread(self) {
        if let Some(processors) = self.0 {
            sched_setaffinity(None, &processors.all).expect("this process may use them");
        }
    }

    /// Pins a command to the servers' processor.
    pub(crate) fn pin(self, command: Command) -> Command {
        match self.0 {
            None => command,
            Some(processors) => {
                under(&["taskset", "--cpu-list", &processors.server.to_string()], &command)
            }
        }
    }
}

impl Processors {
    fn choose() -> Option<Self> {
        let all = sched_getaffinity(None).ok()?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        Some(Self { all, server: allowed.next()?, client: allowed.next()? })
    }
}

/// Removes the capability `CAP_IPC_LOCK` from a command of root, so that the server runs as for an
/// ordinary user, whose limit of locked memory holds.
pub(crate) fn without_memory_locking(command: &Command) -> Command {
    under(&["setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock"], command)
}

/// Wraps a command in another program, which replaces itself by the command (`exec`).
fn under(starter: &[&str], command: &Command) -> Command {
    let inner = command.as_std();
    let mut outer = Command::new(starter[0]);
    outer.args(&starter[1..]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}
